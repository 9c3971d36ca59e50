"""Weight Maximization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.weight_max import learn_weight_max, learn_weight_max_pipelined
from coagent_rl.networks import Network
from coagent_rl.schedules import LearningRate

TRACE_FORMS = ("synchronous", "pipelined")


class WeightMax(CoagentAlgorithm):
    """Weight Maximization: each hidden unit maximises the norm of its outgoing weights (Chung, AAAI 2022).

    The output layer learns by REINFORCE from the TD error; unit i of a hidden layer learns by REINFORCE from
    R_i = Σ_j p |w_ij|^(p-1) sgn(w_ij) Δw_ij, the growth of its outgoing weights' L^p norm. The layers are swept from the
    output down within one time step, as in the released code, or all learn at once from what the step before gave them.

    Args:
        norm_order: p ≥ 1 of the L^p norm.
        trace_form: ``"synchronous"`` (the released code) or ``"pipelined"`` (eqs. 13-17: every layer's trace and signal lag
            one step more behind than those of the layer above, and traces have the factor 1 - λ).

    The others are those of `CoagentAlgorithm`.

    Example:
        >>> from coagent_rl import WeightMax
        >>> model = WeightMax("MlpPolicy", "CartPole-v1", seed=0).learn(1_000)
        >>> model.num_timesteps
        1000
    """

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        norm_order: float = 2.0,
        trace_form: str = "synchronous",
        **kwargs: Any,
    ) -> None:
        self.norm_order = norm_order
        self.trace_form = trace_form
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, and the norm."""
        drawn = search.actor_critic(trial, settings, search.GRADIENT_RULE)
        return {**drawn, "norm_order": trial.suggest_categorical("norm_order", (1.0, 2.0, 3.0))}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_number("norm_order")
        if not 1.0 <= self.norm_order < np.inf:
            raise ValueError(f"norm_order is the p of an L^p norm and must be at least 1, not {self.norm_order!r}.")
        if self.trace_form not in TRACE_FORMS:
            raise ValueError(f"trace_form must be one of {TRACE_FORMS}, not {self.trace_form!r}.")
        if self.trace_form == "pipelined" and self.actor_lambda == 1.0:
            raise ValueError("actor_lambda must be below 1 with pipelined traces, whose factor 1 - λ would be zero.")

    def _check_networks(self, policy: CoagentPolicy) -> None:
        super()._check_networks(policy)
        if any(layer.is_coupled for layer in policy.actor.layers[:-1]):
            raise ValueError(
                "Weight Max has no signal for the connections among 'boltzmann' units: it is not defined for them."
            )
        if any(layer.kind == "categorical" for layer in policy.actor.layers[:-1]):
            raise ValueError(
                "Weight Max gives every hidden unit one signal, but 'categorical' units have one pre-activation per level: "
                "the rule is not defined for them."
            )

    @property
    def rule(self) -> Callable[..., bool]:
        """The compiled learning step."""
        return learn_weight_max if self.trace_form == "synchronous" else learn_weight_max_pipelined

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.norm_order), 1.0 - self.actor_lambda]

    def _rule_store(self, network: Network, n_rows: int) -> np.ndarray | None:
        # The delay line of `coagent_rl.traces.accumulate_delayed`.
        return np.zeros((network.depth, 3, n_rows, network.width)) if self.trace_form == "pipelined" else None

    def _rule_has_traces(self) -> bool:
        return self.trace_form == "pipelined"
