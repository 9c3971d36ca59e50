"""No critic: the reward itself is the reinforcement, for one-step tasks."""

from __future__ import annotations

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.forward import all_finite


@kernel
def _copy_rewards(rewards: Array, next_observations: Array, td_errors: Array) -> bool:
    for row in range(rewards.size):
        if not abs(rewards[row]) < np.inf:
            return False
    if not all_finite(next_observations):
        return False
    for row in range(rewards.size):
        td_errors[row] = rewards[row]
    return True


class RewardCritic:
    """δ = R."""

    def __init__(self, n_envs: int) -> None:
        self.td_errors = np.zeros(n_envs)

    def learn(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        next_observations: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
        time: int,
    ) -> bool:
        """Write ``td_errors``; see `TDLambdaCritic.learn`. A reward needs no bootstrapping, so the ends do not matter."""
        return bool(_copy_rewards(rewards, next_observations, self.td_errors))
