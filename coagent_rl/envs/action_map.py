"""The action map of the released MAP Propagation code, kept so that its results can be reproduced."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class ReleasedActionMap(gym.ActionWrapper[Any, np.ndarray, np.ndarray]):
    """Turn an action a into a · (high - low) - low, clipped to the bounds.

    With bounds of ±1 that is 2a + 1, probably a slip: zero becomes the largest action. The MountainCarContinuous results of
    Chung (2021) were obtained with it.

    Raises:
        ValueError: if the actions are not a `Box`.
    """

    def __init__(self, env: gym.Env[Any, np.ndarray]) -> None:
        if not isinstance(env.action_space, spaces.Box):
            raise ValueError(f"ReleasedActionMap maps the actions of a Box, not of {env.action_space}.")
        super().__init__(env)
        self._low, self._high = env.action_space.low, env.action_space.high

    def action(self, action: np.ndarray) -> np.ndarray:
        return np.clip(action * (self._high - self._low) - self._low, self._low, self._high)
