"""REBAR: REINFORCE with the relaxed network as a control variate that tunes itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.rebar import learn_rebar
from coagent_rl.networks import Network
from coagent_rl.schedules import LearningRate


class REBAR(CoagentAlgorithm):
    """REBAR: REINFORCE of what a relaxed twin of the layer does not explain, which the chain rule says (Tucker et al. 2017).

    For each hidden layer a second pass with smooth units, of the same noise, says how probable the action is then, and its
    derivative what each unit has to do with it. Given that, REINFORCE only has to make up for the difference between the
    smooth and the drawn network: the estimate is unbiased, and about as noisy as straight-through backprop where both agree.
    Each unit learns how much it trusts its twin, so that its own squared estimate is least, as in RELAX (Grathwohl et al.
    2018). Not local: the derivative reads outgoing weights.

    Args:
        relaxation: τ > 0, temperature of the smooth units: towards zero they are like the drawn ones, and their derivative
            noisier.
        tuning_rate: η in (0, 1], how fast units forget what they know of their twins.

    The others are those of `CoagentAlgorithm`; hidden units must be of kind ``bernoulli``.
    """

    rule = staticmethod(learn_rebar)
    hidden_kinds = ("bernoulli",)

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        relaxation: float = 0.25,
        tuning_rate: float = 0.01,
        **kwargs: Any,
    ) -> None:
        self.relaxation = relaxation
        self.tuning_rate = tuning_rate
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, and the temperature of the smooth units."""
        drawn = search.actor_critic(trial, settings, search.REINFORCE_RULE)
        return {**drawn, "relaxation": trial.suggest_categorical("relaxation", (0.1, 0.25, 0.5))}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_positive("relaxation")
        self._check_share("tuning_rate")

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.relaxation), float(self.tuning_rate)]

    def _rule_store(self, network: Network, n_rows: int) -> np.ndarray:
        return np.zeros((1, 2, 1, network.width))
