"""Copies of a compiled environment as a Stable-Baselines3 `VecEnv`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from coagent_rl.envs.compiled.base import NO_LIMIT, CompiledEnvironment
from coagent_rl.envs.compiled.draws import ResetDraws
from coagent_rl.envs.vec_env import MonitoredVecEnv


class CompiledVecEnv(MonitoredVecEnv):
    """``n_envs`` copies of a compiled environment, which step in one call of a kernel and report their episodes themselves.

    Step by step it gives the very numbers that ``SerialVecEnv([lambda: Monitor(gym.make(…))] * n_envs)`` gives with the same
    seed and actions; where environments share a generator, those that their vectorised form gives in a `NativeVecEnv`.
    Actions in a `Box` are float32; others are converted.

    A copy of it, made by ``copy.deepcopy`` or ``pickle``, continues as the original does, but writes no monitor file.

    Args:
        twin: the environment, see `coagent_rl.envs.compiled.twin_of`.
        n_envs: number of copies, at least 1.
        monitor_file: see `MonitoredVecEnv`.

    Attributes:
        state: shape (n_envs, n_state).
        elapsed: steps in the running episode, shape (n_envs,), int64.
        episode_rewards: rewards of the running episode, shape (n_envs, n); those of row i end before ``elapsed[i]``.
        observations: the last ones, shape (n_envs, n_observation), float32.
        draws: numbers for coming resets, and how many of them are used up.

    A compiled loop may take the steps instead: it reads and writes these arrays in place between two calls of `step`, and
    reports through `episode` what ended. (``episode_rewards`` is replaced by a longer array when an episode that nothing
    cuts outgrows it.)

    Raises:
        ValueError: for less than one environment; in a step, for an action that is not in the action space (before any
            environment is stepped).
    """

    def __init__(self, twin: CompiledEnvironment, n_envs: int = 1, monitor_file: Path | None = None) -> None:
        if n_envs < 1:
            raise ValueError(f"n_envs must be at least 1, not {n_envs!r}.")
        self.twin = twin
        super().__init__(n_envs, twin.observation_space, twin.action_space, twin.spec.id, monitor_file)
        is_discrete = isinstance(twin.action_space, spaces.Discrete)
        self._action_dtype = np.dtype(np.int64 if is_discrete else np.float32)
        self._action_shape = (n_envs, *(twin.action_space.shape or ()))
        n_observation = twin.observation_space.shape[0]
        self.state = np.zeros((n_envs, twin.n_state))
        self.elapsed = np.zeros(n_envs, np.int64)
        self.episode_rewards = np.zeros((n_envs, twin.max_episode_steps or 1))
        self.observations = np.zeros((n_envs, n_observation), np.float32)
        self.draws = ResetDraws(twin, n_envs)
        self._is_reset = False
        self._terminal_observations = np.zeros((n_envs, n_observation), np.float32)
        self._rewards = np.zeros(n_envs, np.float32)
        self._dones, self._cut = np.zeros(n_envs, bool), np.zeros(n_envs, bool)
        self._lengths = np.zeros(n_envs, np.int64)
        twin.compile()
        self._collect()

    def _collect(self) -> None:
        """Have at hand what every step needs."""
        self._advance = self.twin.advance
        self._has_limit = self.twin.max_episode_steps is not None
        limit = self.twin.max_episode_steps if self._has_limit else NO_LIMIT
        given = (self.twin.constants, self.twin.permitted_actions, limit, self.draws.block)
        own = (self.draws.cursor, self.state, self.elapsed, self.episode_rewards, self.observations)
        results = (self._terminal_observations, self._rewards, self._dones, self._cut, self._lengths)
        self._arguments = (*given, *own, *results)

    def reset(self) -> VecEnvObs:
        twin, draws = self.twin, self.draws
        draws.seed(self._seeds)
        for row in range(self.num_envs):
            twin.reset(twin.constants, draws.block[row, draws.cursor[row]], self.state[row])
            twin.observe(twin.constants, self.state[row], self.observations[row])
        draws.cursor += 1
        draws.refill()
        self.elapsed[:] = 0
        self._is_reset = True
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        return self.observations.copy()

    def step_wait(self) -> VecEnvStepReturn:
        actions = self._actions
        if (
            type(actions) is not np.ndarray
            or actions.dtype is not self._action_dtype
            or actions.shape != self._action_shape
            or not actions.flags.c_contiguous
        ):
            actions = self._converted(actions)
        if not self._is_reset:
            raise gym.error.ResetNeeded("Call reset before step: no episode has begun.")
        n_ended = self._advance(self._arguments, actions)
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        if n_ended:
            if n_ended < 0:
                self._raise_not_permitted(actions, -1 - n_ended)
            self._report(infos)
        if not self._has_limit:
            self._make_room()
        return self.observations.copy(), self._rewards.copy(), self._dones.copy(), infos

    def _report(self, infos: list[dict[str, Any]]) -> None:
        ends, cut, lengths = self._terminal_observations.copy(), self._cut.tolist(), self._lengths.tolist()
        for row in self._dones.nonzero()[0].tolist():
            length = lengths[row]
            infos[row] = {
                "TimeLimit.truncated": cut[row],
                "terminal_observation": ends[row],
                # Python's own sum, as in Monitor: from Python 3.12 on it rounds otherwise than adding one by one.
                "episode": self.episode(sum(self.episode_rewards[row, :length].tolist()), length),
            }
        self.draws.refill()

    def _make_room(self) -> None:
        """Have room for one more reward in an episode that may last for ever."""
        if self.elapsed.max() == self.episode_rewards.shape[1]:
            self.episode_rewards = np.hstack([self.episode_rewards, np.zeros_like(self.episode_rewards)])
            self._collect()

    def _converted(self, actions: Any) -> np.ndarray:
        given = np.asarray(actions)
        kinds = "iu" if self._action_dtype.kind == "i" else "fiu"
        if given.dtype.kind not in kinds or given.shape != self._action_shape:
            raise ValueError(
                f"Actions in {self.twin.action_space} of shape {self._action_shape} are expected, not {given.tolist()} of "
                f"shape {given.shape} and type {given.dtype}."
            )
        return np.ascontiguousarray(given, self._action_dtype)

    def _raise_not_permitted(self, actions: np.ndarray, index: int) -> None:
        row = index // (actions.size // self.num_envs)
        raise ValueError(f"The action of environment {row} must be in {self.twin.action_space}, not {actions[row]!r}.")

    def set_options(self, options: Any = None) -> None:
        """Take no options for the next reset but empty ones.

        Raises:
            ValueError: for others. A compiled environment resets as its class does without options.
        """
        if any(options if isinstance(options, list) else [options]):
            raise ValueError(f"The compiled {self.twin.spec.id} takes no options for its reset, but {options} was given.")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Attributes that every copy has: spec, observation_space, action_space, render_mode, np_random (as it is now)."""
        rows = list(self._get_indices(indices))
        if attr_name == "np_random":
            return [self.draws.generator(row) for row in rows]
        if attr_name == "render_mode":
            return [None] * len(rows)
        if attr_name in ("spec", "observation_space", "action_space"):
            return [getattr(self.twin, attr_name)] * len(rows)
        raise AttributeError(f"The compiled {self.twin.spec.id} has no attribute {attr_name!r}.")

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raise a ValueError: constants of a compiled environment are set when it is made, by its arguments."""
        raise ValueError(
            f"{attr_name!r} cannot be set on the compiled {self.twin.spec.id}. Make the environment with gym.make and give "
            f"it as an object."
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_advance": None, "_arguments": None, "_monitor_file": None, "_lines": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._collect()
