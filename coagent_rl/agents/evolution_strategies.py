"""Evolution strategies: all parameters are perturbed for an episode, and credited with what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.evolution_strategies import ACTING, PERTURBATION, learn_evolution_strategies
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.schedules import LearningRate


class EvolutionStrategies(CoagentAlgorithm):
    """Evolution strategies: every weight is perturbed for a whole episode and credited with it (Salimans et al. 2017).

    Each weight is its own explorer: it knows its own perturbation and the TD error, which all are told, and not even its
    input. Episodes come in pairs of opposite perturbations. The policy's parameters are the mean, around which the
    perturbed ones lie that act in training: `predict` and exported policies know of the mean alone.

    Without a critic (``critic=None``) and traces, an episode's update is the estimate of the paper; with a critic, its TD
    errors take the place of the rewards. In each case every step is learned from at once.

    Args:
        perturbation: σ > 0, standard deviation of the perturbations. The gradient is that of the expected return of the
            perturbed network, which differs from the mean's the more the larger σ is.

    The others are those of `CoagentAlgorithm`. Hidden units may be of any kind; they are ``relu`` unless ``policy_kwargs``
    say otherwise. Several environments would each need parameters of its own: there is one.
    """

    rule = staticmethod(learn_evolution_strategies)
    supports_multi_env = False
    store_is_learned = False

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        perturbation: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.perturbation = perturbation
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, and how far parameters are perturbed."""
        drawn = search.actor_critic(trial, settings)
        return {**drawn, "perturbation": trial.suggest_categorical("perturbation", (0.03, 0.1, 0.3))}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_positive("perturbation")

    def _check_networks(self, policy: CoagentPolicy) -> None:
        """Any network: nothing is asked of its units."""

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "relu"}

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.perturbation)]

    def _rule_store(self, network: Network, n_rows: int) -> np.ndarray:
        return np.zeros((1, 2, 1, network.parameters.size + 1))

    def _rule_has_traces(self) -> bool:
        return True

    def acting_parameters(self, learner: Learner) -> np.ndarray:
        size = learner.network.parameters.size
        acting: np.ndarray = learner.store[0, ACTING, 0, :size]
        # As the rule does after every step; parameters may have been loaded or assigned since.
        np.add(learner.network.parameters, learner.store[0, PERTURBATION, 0, :size], out=acting)
        return acting
