"""Vectorised environments for Stable-Baselines3 whose own cost is small."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn


class SerialVecEnv(DummyVecEnv):
    """`DummyVecEnv` that copies its observations without ``deepcopy``, which costs a third of a step on CartPole."""

    def _obs_from_buf(self) -> VecEnvObs:
        if self.keys == [None]:  # the observation space is neither a Dict nor a Tuple
            return next(iter(self.buf_obs.values())).copy()
        return super()._obs_from_buf()


class RowMeanStd(RunningMeanStd):
    """`RunningMeanStd` that takes a batch of one row for what it is: the same numbers in a third of the time.

    `VecNormalize` updates two of them at every step, which with one environment costs as much as CartPole's own step does.
    """

    def update(self, arr: np.ndarray) -> None:
        """Take a batch into the statistics, shape (n, …)."""
        if len(arr) == 1:
            self.update_from_moments(arr[0], np.zeros_like(arr[0]), 1)
        else:
            super().update(arr)

    @classmethod
    def of(cls, other: RunningMeanStd) -> RowMeanStd:
        """Statistics that go on from others."""
        result = cls(shape=other.mean.shape)
        result.mean, result.var, result.count = other.mean, other.var, other.count
        return result


class MonitoredVecEnv(VecEnv):
    """Base of environments that report their episodes themselves, as a `Monitor` around each of them would.

    A `Monitor` writes and flushes a line an episode, which costs more than a short episode and its learning. Here lines are
    kept and written after ten thousand of them, after a second, or at the end.

    Args:
        n_envs: number of environments.
        observation_space: of one of them.
        action_space: of one of them.
        env_id: name of the environment in the file.
        monitor_file: CSV file of the episodes of all environments, in `Monitor`'s format, or None. Its folder is made.
    """

    LINES_AT_ONCE = 10_000
    SECONDS_BETWEEN_WRITES = 1.0

    def __init__(
        self,
        n_envs: int,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        env_id: str | None,
        monitor_file: Path | None,
    ) -> None:
        super().__init__(n_envs, observation_space, action_space)
        self._started = time.time()
        self._lines: list[str] = []
        self._written_at = 0.0
        self._monitor_file = monitor_file
        self.n_episodes = 0
        if monitor_file is not None:
            monitor_file.parent.mkdir(parents=True, exist_ok=True)
            header = {"t_start": self._started, "env_id": str(env_id)}
            with open(monitor_file, "w", encoding="utf-8", newline="") as file:
                file.write(f"#{json.dumps(header)}\nr,l,t\r\n")

    def episode(self, total: float, length: int) -> dict[str, float]:
        """Note a finished episode, its sum of rewards and its length, and return what ``infos[i]["episode"]`` says of it."""
        r, t = round(total, 6), round(time.time() - self._started, 6)
        self.n_episodes += 1
        if self._monitor_file is not None:
            self._lines.append(f"{r},{length},{t}\r\n")
            if len(self._lines) >= self.LINES_AT_ONCE or t - self._written_at > self.SECONDS_BETWEEN_WRITES:
                self.write()
                self._written_at = t
        return {"r": r, "l": length, "t": t}

    def continue_monitor(self, monitor_file: Path, n_episodes: int, seconds: float) -> None:
        """Go on in a monitor file that ends with the given number of episodes, the last after so many seconds."""
        self._monitor_file, self.n_episodes = monitor_file, n_episodes
        self._started, self._written_at = time.time() - seconds, seconds

    def write(self) -> None:
        """Write the episodes that wait to be written.

        Raises:
            FileNotFoundError: if the folder of the file is gone.
        """
        if self._monitor_file is not None and self._lines:
            with open(self._monitor_file, "a", encoding="utf-8", newline="") as file:
                file.writelines(self._lines)
            self._lines.clear()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def close(self) -> None:
        self.write()

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        raise NotImplementedError(f"{method_name}: the environments of {type(self).__name__} have no methods of their own.")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        # It reports episodes as a Monitor does, which is what Stable-Baselines3 asks for here.
        from stable_baselines3.common.monitor import Monitor

        return [issubclass(Monitor, wrapper_class)] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray | None]:
        return [None] * self.num_envs


class NativeVecEnv(MonitoredVecEnv):
    """A Gymnasium `VectorEnv` (with same-step autoreset) as a Stable-Baselines3 `VecEnv` that also monitors the episodes.

    For tasks with millions of short episodes.

    Args:
        env: the vector environment.
        monitor_file: see `MonitoredVecEnv`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], monitor_file: Path | None = None) -> None:
        if env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"{env} must reset its environments in the step that ends an episode (AutoresetMode.SAME_STEP)."
            )
        self.env = env
        env_id = env.spec.id if env.spec else None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space, env_id, monitor_file)
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)
        self.is_reset = False

    def reset(self) -> VecEnvObs:
        observations, _infos = self.env.reset(seed=self._seeds[0])
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        self._returns[:], self._lengths[:] = 0.0, 0
        self.is_reset = True
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, terminated, truncated, extra = self.env.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(dones).tolist():
            infos[row] = {
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "terminal_observation": extra["final_obs"][row],
                "episode": self.episode(float(self._returns[row]), int(self._lengths[row])),
            }
        self._returns[dones], self._lengths[dones] = 0.0, 0
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        super().close()
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("A vector environment has one attribute for all its environments; indices cannot be chosen.")
        setattr(self.env, attr_name, value)
