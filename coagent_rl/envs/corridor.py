"""The corridor: a hundred steps to the right lies the only reward."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class CorridorEnv(gym.Env[np.ndarray, Any]):
    """Walk ``length`` steps to the right: +100 for reaching the last block, -1 for every move to the left, 0 otherwise.

    An episode begins at the leftmost block, behind which is a wall, and terminates at the goal. The observation is the
    position as a share of the length, ``Box(0, 1, (1,))``. A policy that always walks right gets the best return, 100, and a
    constant one is enough: the task shows that a rule learns at all, not that hidden units do.

    Args:
        length: number of steps from the start to the goal, at least 1.
        continuous: moves are ``Box(-1, 1, (1,))``, in steps, instead of ``Discrete(2)``, 0 left and 1 right.
        render_mode: ``"ansi"`` (a line of text with the agent and the goal); others render nothing.

    Source: Guss (2016), experiment 2.

    Example:
        >>> import gymnasium as gym, coagent_rl
        >>> env = gym.make("coagent_rl/Corridor-v0", length=9, render_mode="ansi")
        >>> _ = env.reset(seed=0)
        >>> _ = env.step(1)
        >>> print(env.render())
        ·A·······G
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 30}  # noqa: RUF012  Gymnasium's own declaration

    def __init__(self, length: int = 100, continuous: bool = False, render_mode: str | None = None) -> None:
        if isinstance(length, bool) or not isinstance(length, (int, np.integer)) or length < 1:
            raise ValueError(f"length must be a whole number from 1, not {length!r}.")
        self.length = int(length)
        self.continuous = continuous
        self.render_mode = render_mode  # any: Stable-Baselines3 asks every environment that it makes for "rgb_array"
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (1,), np.float32) if continuous else spaces.Discrete(2)
        self._position: float | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._position = 0.0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._position is None:
            raise gym.error.ResetNeeded("Call reset before step: the episode is over, or has not begun.")
        if self.continuous:
            move = float(np.asarray(action).reshape(()) if np.size(action) == 1 else np.nan)
            if not -1.0 <= move <= 1.0:
                raise ValueError(f"The action must be one number from -1 to 1, not {action!r}.")
        elif action in (0, 1):
            move = 2.0 * float(action) - 1.0
        else:
            raise ValueError(f"The action must be 0 or 1, not {action!r}.")
        self._position = min(max(self._position + move, 0.0), float(self.length))
        reached = self._position >= self.length
        observation = self._observation()
        if reached:
            self._position = None
        return observation, 100.0 if reached else -1.0 if move < 0.0 else 0.0, reached, False, {}

    def render(self) -> str | None:
        if self.render_mode != "ansi":
            return None
        here = self.length if self._position is None else int(self._position)
        return "".join("A" if k == here else "G" if k == self.length else "·" for k in range(self.length + 1))

    def _observation(self) -> np.ndarray:
        return np.array([(self._position or 0.0) / self.length], dtype=np.float32)
