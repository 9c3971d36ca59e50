"""MAP Propagation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.map_prop import learn_map_prop
from coagent_rl.critics.map_prop import relaxation_options
from coagent_rl.networks import Network
from coagent_rl.networks.units import GAUSSIAN, kinds_of
from coagent_rl.schedules import LearningRate


class MAPProp(CoagentAlgorithm):
    """MAP Propagation: all units get the same TD error for what they most probably did (Chung 2021).

    Hidden units are Gaussian. After an action they move to the values that make the whole network's doings most probable,
    each by what the layers right below and above it do; the scores of these values replace those of the values drawn, which
    takes most of REINFORCE's variance away. The critic learns in the same way.

    Args:
        relaxation_steps: N ≥ 0 steps up log Pr(H, A | S); 0 is `Reinforce`.
        relaxation_rate: step size of the relaxation in units of each layer's variance.

    The others are those of `CoagentAlgorithm`, with ``critic="map_prop"`` (relaxed as the actor unless ``critic_kwargs`` say
    otherwise), λ of 0.95 for both, rates of 3.9e-3 and 9.4e-3 for the first layer of actor and critic, 8.6e-7 and 2.6e-6
    for all layers above it, and, in ``policy_kwargs``, ``units="gaussian_softplus"``, ``output_units="softmax"``,
    ``learned_deviation=False``, ``variance=0.06`` and ``critic_variance=0.06`` as defaults. These were searched for CartPole
    and Acrobot together (`benchmarks/default_settings.py`); larger rates above the first layer let the relaxation diverge.

    Raises:
        ValueError: also if the relaxation diverges, before the network that diverged learns from it.

    Example:
        >>> from coagent_rl import MAPProp
        >>> model = MAPProp("MlpPolicy", "CartPole-v1", seed=0).learn(1_000)
        >>> model.num_timesteps
        1000
    """

    rule = staticmethod(learn_map_prop)
    hidden_kinds = kinds_of(GAUSSIAN)
    default_rates = {"actor_learning_rate": (3.9e-3, 8.6e-7), "critic_learning_rate": (9.4e-3, 2.6e-6)}  # noqa: RUF012

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        relaxation_steps: int = 20,
        relaxation_rate: float = 0.25,
        actor_lambda: float = 0.95,
        critic_lambda: float = 0.95,
        critic: str | None = "map_prop",
        **kwargs: Any,
    ) -> None:
        self.relaxation_steps = relaxation_steps
        self.relaxation_rate = relaxation_rate
        arguments = {"actor_lambda": actor_lambda, "critic_lambda": critic_lambda, "critic": critic, **kwargs}
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **arguments)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw rates, λ, γ, temperature, variances and the rate of the relaxation."""
        return search.map_prop(trial, settings)

    def _policy_arguments(self) -> dict[str, Any]:
        units = {"units": "gaussian_softplus", "output_units": "softmax"}
        return {**units, "learned_deviation": False, "variance": 0.06, "critic_variance": 0.06}

    def _critic_arguments(self) -> dict[str, Any]:
        return {"relaxation_steps": self.relaxation_steps, "relaxation_rate": self.relaxation_rate}

    def _rule_options(self, network: Network) -> list[float]:
        return relaxation_options(network, self.relaxation_steps, self.relaxation_rate)

    def _rule_diverged(self) -> str:
        return (
            "The relaxation of the hidden units diverged. Lower relaxation_rate "
            f"({self.relaxation_rate}) or the actor's learning rates"
        )
