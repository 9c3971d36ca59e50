"""Synthetic gradients: each layer predicts the gradient that it would be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.synthetic_gradients import learn_synthetic_gradients
from coagent_rl.networks import Network
from coagent_rl.networks.units import BERNOULLI, DETERMINISTIC, GAUSSIAN, kinds_of
from coagent_rl.schedules import LearningRate


class SyntheticGradients(CoagentAlgorithm):
    """Synthetic gradients: each hidden layer predicts its gradient from its activity and the action (Jaderberg et al. 2017).

    No layer waits for the layers above to learn. Its linear predictor learns afterwards, from what the layer above would
    have told it: that layer's own prediction, passed down through the weights between them (TD learning across layers), or
    the true gradient. In Bernoulli layers gradients are straight-through ones.

    Args:
        predictor_rate: η in (0, 1], the share of a prediction's error that one step takes away.
        gradient_lambda: λ in [0, 1]: 0 learns from the layer above's prediction, 1 from the true gradient.

    The others are those of `CoagentAlgorithm`; hidden units are of kind ``relu`` unless ``policy_kwargs`` say otherwise.
    """

    rule = staticmethod(learn_synthetic_gradients)
    hidden_kinds = kinds_of(DETERMINISTIC, BERNOULLI, GAUSSIAN)
    """Those whose value has a derivative: its own, that of its mean at fixed noise, or straight-through."""

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        predictor_rate: float = 0.1,
        gradient_lambda: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.predictor_rate = predictor_rate
        self.gradient_lambda = gradient_lambda
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, the predictors' rate, and λ across layers."""
        drawn = search.actor_critic(trial, settings, search.GRADIENT_RULE)
        drawn["predictor_rate"] = trial.suggest_categorical("predictor_rate", (0.01, 0.1, 0.5))
        return {**drawn, "gradient_lambda": trial.suggest_categorical("gradient_lambda", (0.0, 0.5, 1.0))}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_share("predictor_rate")
        self._check_share("gradient_lambda", "[0")

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "relu"}

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.predictor_rate), float(self.gradient_lambda)]

    def _rule_store(self, network: Network, n_rows: int) -> np.ndarray:
        # As in the paper, the first predictions are zero.
        widest = max((layer.n_values for layer in network.layers[:-1]), default=0)
        return np.zeros((1, 1, widest + network.layers[-1].n_pre + 1, network.width))
