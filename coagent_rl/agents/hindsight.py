"""Hindsight credit: units learn how probable their firing was, given the action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.hindsight import learn_with_hindsight
from coagent_rl.networks import Network
from coagent_rl.schedules import LearningRate


class Hindsight(CoagentAlgorithm):
    """Hindsight credit: units learn from how much likelier the action makes it that they fired (after Young 2021).

    Each Bernoulli hidden unit has a small logistic model of its own: from what its layer reads and the action that was
    taken, it predicts whether the unit fired. REINFORCE's score h - p becomes q - p: a unit that has nothing to do with
    the action has nothing to learn from what followed it. No unit reads a weight but its own. With the true q there is no
    bias; a learned one lags behind, and is linear.

    Args:
        hindsight_rate: η > 0, learning rate of the models, normalised by the size of their inputs.

    The others are those of `CoagentAlgorithm`; hidden units must be of kind ``bernoulli``.
    """

    rule = staticmethod(learn_with_hindsight)
    hidden_kinds = ("bernoulli",)

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        hindsight_rate: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.hindsight_rate = hindsight_rate
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, and the rate of the models."""
        drawn = search.actor_critic(trial, settings, search.REINFORCE_RULE)
        return {**drawn, "hindsight_rate": trial.suggest_categorical("hindsight_rate", (0.01, 0.1, 1.0))}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_positive("hindsight_rate")

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.hindsight_rate)]

    def _rule_store(self, network: Network, n_rows: int) -> np.ndarray:
        most_inputs = max([network.n_inputs, *(layer.n_values for layer in network.layers[:-1])])
        return np.zeros((1, network.layers[-1].n_values, most_inputs + 1, network.width))
