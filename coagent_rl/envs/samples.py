"""One-step tasks made of samples: the observation is an x, and the reward says how well the action answers it."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

BLOCK = 1024  # samples drawn at once: a call of the generator costs more than a step


class SampleTask:
    """Draws samples and judges answers; what differs between tasks is `block`, the spaces and whether targets are classes.

    Args:
        observation_space: of x.
        action_space: ``Discrete``, classes, the reward is 1 for the right one and 0 for others; or ``Box``, the reward is
            minus the squared error, the mean over outputs.
    """

    KEPT: ClassVar[tuple[str, ...]] = ("_inputs", "_targets", "_next")
    """What must be kept to go on in another process, as in the environments below."""

    def __init__(self, observation_space: spaces.Box, action_space: spaces.Discrete | spaces.Box) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.forget()

    def forget(self) -> None:
        """Drop the samples drawn ahead, and where the task was, because the generator has been seeded anew."""
        self._inputs: np.ndarray | None = None
        self._next = 0

    def block(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The next samples, at least one: inputs, shape (n, n_features), and classes, (n,), or values, (n, n_outputs)."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the next ``n`` samples; copy them before changing them."""
        if self._inputs is None:
            self._inputs, self._targets = self.block(rng)
            self._next = 0
        while self._next + n > len(self._inputs):
            inputs, targets = self.block(rng)
            self._inputs = np.concatenate([self._inputs[self._next :], inputs])
            self._targets = np.concatenate([self._targets[self._next :], targets])
            self._next = 0
        chosen = slice(self._next, self._next + n)
        self._next += n
        return self._inputs[chosen], self._targets[chosen]

    def rewards(self, actions: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Rewards of answers to n samples, shape (n,), float64.

        Raises:
            ValueError: for actions of another shape than the targets have, or that are not numbers.
        """
        given = np.asarray(actions)
        if isinstance(self.action_space, spaces.Discrete):
            if given.shape != targets.shape or not np.all((given >= 0) & (given < self.action_space.n)):
                raise ValueError(f"The action must be a class from 0 to {self.action_space.n - 1}, not {actions!r}.")
            return np.where(given == targets, 1.0, 0.0)
        if given.shape != targets.shape or not np.all(np.isfinite(given)):
            raise ValueError(f"The action must be {targets.shape[1]} finite numbers, not {actions!r}.")
        return -np.mean(np.square(given.astype(np.float64) - targets), axis=1)


class SampleEnv(gym.Env[np.ndarray, Any]):
    """One sample an episode: `reset` shows x, `step` judges the answer and terminates."""

    KEPT = ("task", "_observation", "_target")
    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 1}  # noqa: RUF012  Gymnasium's own declaration

    def __init__(self, task: SampleTask, render_mode: str | None = None) -> None:
        self.render_mode = render_mode  # any: Stable-Baselines3 asks every environment that it makes for "rgb_array"
        self.task = task
        self.observation_space = task.observation_space
        self.action_space: spaces.Space[Any] = task.action_space
        self._observation: np.ndarray | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.task.forget()
        inputs, self._target = self.task.draw(self.np_random, 1)
        self._observation = inputs[0].copy()
        return self._observation.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._observation is None:
            raise gym.error.ResetNeeded("Call reset before step: an episode has a single step.")
        reward = float(self.task.rewards(np.asarray(action)[None], self._target)[0])
        observation, self._observation = self._observation, None
        return observation, reward, True, False, {}

    def render(self) -> None:
        return None


class SampleVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many at once, each of which shows its next sample in the step that judges the last one (same-step autoreset)."""

    KEPT = ("task", "_inputs", "_targets")
    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(self, task: SampleTask, num_envs: int) -> None:
        self.num_envs = num_envs
        self.render_mode = None
        self.task = task
        self.single_observation_space = task.observation_space
        self.single_action_space = task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._truncated = np.zeros(num_envs, dtype=bool)
        self._terminated = np.ones(num_envs, dtype=bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.task.forget()
        self._inputs, self._targets = self.task.draw(self.np_random, self.num_envs)
        return self._inputs.copy(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        rewards = self.task.rewards(actions, self._targets)
        old = self._inputs
        self._inputs, self._targets = self.task.draw(self.np_random, self.num_envs)
        infos = {"final_obs": old, "_final_obs": self._terminated.copy()}
        return self._inputs.copy(), rewards, self._terminated.copy(), self._truncated.copy(), infos
