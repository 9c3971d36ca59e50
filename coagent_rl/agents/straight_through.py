"""STE backprop: backprop through Bernoulli units with the straight-through estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.straight_through import learn_straight_through
from coagent_rl.networks import Network
from coagent_rl.schedules import LearningRate

SLOPES = ("identity", "sigmoid")


class STEBackprop(CoagentAlgorithm):
    """Straight-through backprop of Bernoulli hidden units (Bengio, Léonard & Courville 2013).

    Args:
        slope: what stands for the derivative of a unit's sample by its pre-activation: ``"identity"`` (one) or ``"sigmoid"``
            (the derivative of the unit's mean).

    The others are those of `CoagentAlgorithm`.
    """

    rule = staticmethod(learn_straight_through)
    hidden_kinds = ("bernoulli",)

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        slope: str = "identity",
        **kwargs: Any,
    ) -> None:
        self.slope = slope
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, and the slope."""
        drawn = search.actor_critic(trial, settings, search.GRADIENT_RULE)
        return {**drawn, "slope": trial.suggest_categorical("slope", SLOPES)}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if self.slope not in SLOPES:
            raise ValueError(f"slope must be one of {SLOPES}, not {self.slope!r}.")

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.slope == "sigmoid")]
