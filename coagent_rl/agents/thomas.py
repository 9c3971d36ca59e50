"""REINFORCE with the variance reduction of Thomas (2011)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.thomas import learn_thomas
from coagent_rl.schedules import LearningRate


class ReinforceThomas(CoagentAlgorithm):
    """Global REINFORCE in which only a random part of the hidden units explores at each step (Thomas 2011).

    Args:
        exploration_probability: q in (0, 1], the chance of each hidden unit to explore; q = 1 is `Reinforce`. Output units
            always explore. See `coagent_rl.credit.thomas` for what the sources leave open.

    The others are those of `CoagentAlgorithm`.
    """

    rule = staticmethod(learn_thomas)

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        exploration_probability: float = 0.5,
        **kwargs: Any,
    ) -> None:
        self.exploration_probability = exploration_probability
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, and the probability of exploring."""
        name, choices = "exploration_probability", (0.1, 0.25, 0.5, 0.75)
        drawn = search.actor_critic(trial, settings, search.REINFORCE_RULE)
        return {**drawn, name: trial.suggest_categorical(name, choices)}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_share("exploration_probability")

    def _check_networks(self, policy: CoagentPolicy) -> None:
        """It is defined for all kinds of units, as `Reinforce` is."""

    def _policy_arguments(self) -> dict[str, Any]:
        return {"exploration_probability": self.exploration_probability}
