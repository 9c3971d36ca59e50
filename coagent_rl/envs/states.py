"""The state of environments as plain values and arrays: taken in the middle of a run, put back in another process.

Compiled environments and those of this package say what their state is. Any other Gymnasium environment is brought back by
repeating its running episode: from the state of its ``np_random`` at the episode's start, with the actions since.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor, ResultsWriter
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper

from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import MonitoredVecEnv, NativeVecEnv
from coagent_rl.files import write_whole

MOST_ACTIONS = 1_000_000
"""A running episode longer than this is not repeated."""
COMPILED = ("state", "elapsed", "observations")


class RepeatableMonitor(Monitor[Any, Any]):
    """A `Monitor` that knows how the running episode came about, and can repeat it in another process."""

    def __init__(self, env: gym.Env[Any, Any], filename: str | None = None, **kwargs: Any) -> None:
        super().__init__(env, filename, **kwargs)
        self.n_written = 0
        self._seed: int | None = None
        self._before: Any = None
        self._actions: list[Any] = []
        self._observation: Any = None
        self._has_begun = False

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        self._seed = kwargs.get("seed")
        self._before = None if self._seed is not None else _rng_state(self.unwrapped)
        self._actions.clear()
        self._has_begun = True
        self._observation, info = super().reset(**kwargs)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if len(self._actions) <= MOST_ACTIONS:
            self._actions.append(action.copy() if type(action) is np.ndarray else action)
        result = super().step(action)
        self._observation = result[0]
        if self.needs_reset:
            self.n_written += 1
        return result

    def state(self) -> dict[str, Any] | None:
        """How the running episode came about; None before the first."""
        if not self._has_begun:
            return None
        env = self.unwrapped
        return {
            "seed": self._seed,
            "before": self._before,
            "actions": np.array(self._actions) if self._can_repeat() else None,
            "observation": np.asarray(self._observation) if not isinstance(self._observation, dict) else None,
            "rewards": np.array(self.rewards),
            "kept": kept_by(env),
            "rng": _rng_state(env),
        }

    def _can_repeat(self) -> bool:
        started = self._seed is not None or self._before is not None
        return started and len(self._actions) <= MOST_ACTIONS

    def repeat(self, state: Mapping[str, Any]) -> str | None:
        """Repeat a running episode; returns why it could not be, after which a new one must begin."""
        writer, self.results_writer = self.results_writer, None
        actions, env = state["actions"], self.unwrapped
        n_written, keeps = self.n_written, state["kept"] is not None
        try:
            if actions is None:
                return f"it is longer than {MOST_ACTIONS} steps, or the environment has no np_random"
            _put_rng(env, state["before"])
            observation, _ = self.reset(seed=state["seed"]) if state["seed"] is not None else self.reset()
            for action in actions:
                observation, _, terminated, truncated, _ = self.step(action)
                if terminated or truncated:
                    return "it ends earlier now"
            if keeps:
                put_kept(env, state["kept"])
                observation = state["observation"]
                self._observation = observation
            elif _rng_state(env) != state["rng"] or not _same(self.rewards, state["rewards"]):
                return "its random numbers or rewards are others now"
            if not keeps and state["observation"] is not None and not _same(observation, state["observation"]):
                return "its observation is another one now"
            return None
        finally:
            # What comes after is drawn as it would have been, whether or not the episode could be repeated.
            _put_rng(env, state["rng"])
            self._seed, self._before = state["seed"], state["before"]
            self.results_writer, self.n_written = writer, n_written


def _rng_state(env: gym.Env[Any, Any]) -> Any:
    """The state of an environment's generator, or None where it has none of NumPy's."""
    try:
        return env.np_random.bit_generator.state
    except AttributeError:
        return None


def _put_rng(env: gym.Env[Any, Any], state: Any) -> None:
    if state is not None:
        env.np_random.bit_generator.state = state


def _same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def kept_by(thing: Any) -> dict[str, Any] | None:
    """The attributes that an environment names as its state in ``KEPT``; None if it names none."""
    names = getattr(type(thing), "KEPT", None)
    if names is None:
        return None
    state = {}
    for name in names:
        value = getattr(thing, name, None)
        inner = kept_by(value)
        state[name] = value if inner is None else inner
    return state


def put_kept(thing: Any, state: Mapping[str, Any]) -> None:
    """Put back what `kept_by` gave.

    Raises:
        ValueError: if it is of another environment.
    """
    if set(state) != set(type(thing).KEPT):
        raise ValueError(f"its state consists of {sorted(type(thing).KEPT)}, not of {sorted(state)}")
    for name, value in state.items():
        mine = getattr(thing, name, None)
        if hasattr(type(mine), "KEPT"):
            put_kept(mine, value)
        else:
            setattr(thing, name, value)


# ---------------------------------------------------------------------- vectorised environments


def inner_of(env: VecEnv) -> VecEnv:
    """The environment within wrappers such as `VecNormalize`."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    return env


def state_of(env: VecEnv) -> dict[str, Any]:
    """State of all environments, of those kinds that `coagent_rl.training.run.make_environments` makes."""
    env = inner_of(env)
    if isinstance(env, CompiledVecEnv):
        state: dict[str, Any] = {name: getattr(env, name).copy() for name in COMPILED}
        state["rewards"] = env.episode_rewards[:, : max(1, int(env.elapsed.max()))].copy()
        return {"kind": "compiled", "is_reset": env._is_reset, **state, **env.draws.state()}
    if isinstance(env, NativeVecEnv):
        rng = env.env.unwrapped.np_random.bit_generator.state
        sums = {"returns": env._returns.copy(), "lengths": env._lengths.copy()}
        return {"kind": "native", "kept": kept_by(env.env.unwrapped), "rng": rng, "is_reset": env.is_reset, **sums}
    if isinstance(env, DummyVecEnv) and all(isinstance(one, RepeatableMonitor) for one in env.envs):
        return {"kind": "serial", "environments": [one.state() for one in env.envs]}  # type: ignore[attr-defined]
    return {"kind": "unknown"}


def restore(env: VecEnv, state: Mapping[str, Any]) -> dict[int, str]:
    """Put a state back into environments made in the same way.

    Returns:
        Environments whose episode could not be brought back, and why: a new one has begun in them, whose observation the
        environment's last observations hold.

    Raises:
        ValueError: if the state is of other environments.
    """
    env = inner_of(env)
    try:
        if isinstance(env, CompiledVecEnv) and state["kind"] == "compiled":
            if state["is_reset"]:
                _restore_compiled(env, state)
            return {}
        if isinstance(env, NativeVecEnv) and state["kind"] == "native":
            return _restore_native(env, state) if state["is_reset"] else {}
        if isinstance(env, DummyVecEnv) and state["kind"] == "serial":
            return _restore_serial(env, state)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"The saved state of the environments does not go with {type(env).__name__}: {error}.") from error
    raise ValueError(f"The saved state is of {state['kind']} environments, not of a {type(env).__name__}.")


def fresh_observations(env: VecEnv) -> np.ndarray:
    """The last observations of all environments, before any wrapper: where a new episode has begun, its first ones."""
    env = inner_of(env)
    if isinstance(env, NativeVecEnv):
        return np.asarray(env.reset())
    assert isinstance(env, DummyVecEnv)
    return np.asarray(env._obs_from_buf())


def _restore_compiled(env: CompiledVecEnv, state: Mapping[str, Any]) -> None:
    for name in COMPILED:
        mine, saved = getattr(env, name), state[name]
        if saved.shape != mine.shape or saved.dtype != mine.dtype:
            raise ValueError(f"{name} has the shape {saved.shape}, not {mine.shape}")
    rewards, elapsed = state["rewards"], state["elapsed"]
    longest = int(elapsed.max())
    if elapsed.min() < 0 or rewards.ndim != 2 or rewards.shape[0] != env.num_envs or longest > rewards.shape[1]:
        raise ValueError(f"there are rewards of shape {rewards.shape} for episodes of {elapsed.tolist()} steps")
    limit = env.twin.max_episode_steps
    if limit is not None and longest >= limit:
        raise ValueError(f"an episode has {longest} steps, and may have {limit}")
    env.draws.put(state)
    if env.episode_rewards.shape[1] < rewards.shape[1] + (limit is None):
        env.episode_rewards = np.zeros((env.num_envs, 2 * rewards.shape[1]))
    env.episode_rewards[:, : rewards.shape[1]] = rewards
    for name in COMPILED:
        getattr(env, name)[...] = state[name]
    env._is_reset = True
    env._reset_seeds()
    env.reset_infos = [{} for _ in range(env.num_envs)]
    env._collect()


def _restore_native(env: NativeVecEnv, state: Mapping[str, Any]) -> dict[int, str]:
    env.reset()
    inner = env.env.unwrapped
    if state["kept"] is None:
        return dict.fromkeys(range(env.num_envs), f"{type(inner).__name__} does not say what its state is (KEPT)")
    put_kept(inner, state["kept"])
    inner.np_random.bit_generator.state = state["rng"]
    for mine, name in ((env._returns, "returns"), (env._lengths, "lengths")):
        if np.shape(state[name]) != mine.shape:
            raise ValueError(f"{name} are of {np.shape(state[name])} environments, not of {mine.shape}")
        mine[:] = state[name]
    return {}


def _restore_serial(env: DummyVecEnv, state: Mapping[str, Any]) -> dict[int, str]:
    failed: dict[int, str] = {}
    if len(state["environments"]) != env.num_envs:
        raise ValueError(f"it is of {len(state['environments'])} environments, not of {env.num_envs}")
    for row, (one, saved) in enumerate(zip(env.envs, state["environments"], strict=True)):
        if saved is None:
            continue
        assert isinstance(one, RepeatableMonitor)
        if why := one.repeat(saved):
            failed[row] = why
            one.needs_reset = True
            observation, env.reset_infos[row] = one.reset()
        else:
            observation = one._observation
        env._save_obs(row, observation)
    if any(saved is not None for saved in state["environments"]):
        env._reset_seeds()
        env._reset_options()
    return failed


# ---------------------------------------------------------------------- monitor files


def n_episodes_of(env: VecEnv) -> list[int]:
    """Number of lines of each monitor file; those that wait to be written are written first."""
    env = inner_of(env)
    if isinstance(env, MonitoredVecEnv):
        env.write()
        return [env.n_episodes]
    assert isinstance(env, DummyVecEnv)
    return [one.n_written if isinstance(one, RepeatableMonitor) else 0 for one in env.envs]


@dataclass(frozen=True)
class KeptMonitor:
    """The part of a monitor file that is kept.

    Attributes:
        episodes: returns and lengths.
        seconds: time at the end of the last one.
        content: what the file must become, or None where it is that already.
    """

    file: Path
    episodes: list[tuple[float, int]]
    seconds: float
    content: bytes | None


def kept_monitor(file: Path, n_episodes: int) -> KeptMonitor:
    """Read the first episodes of a monitor file; nothing is changed.

    Raises:
        ValueError: if the file or episodes are missing, or a line is none of an episode.
    """
    try:
        lines = file.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        raise ValueError(f"The monitor file {file} is missing, without which the run cannot go on.") from None
    kept, episodes, seconds = lines[: 2 + n_episodes], [], 0.0
    if len(kept) < 2 + n_episodes or not kept[-1].endswith(b"\n"):
        raise ValueError(f"{file} has {max(0, len(lines) - 2)} episodes, but the checkpoint was made after {n_episodes}.")
    if not kept[0].startswith(b"#") or kept[1].strip() != b"r,l,t":
        raise ValueError(f"{file} does not begin as a monitor file does.")
    for line in kept[2:]:
        try:
            total, length, seconds = (kind(part) for kind, part in zip((float, int, float), line.split(b","), strict=True))
        except ValueError:
            raise ValueError(f"The line {line!r} of {file} is none of an episode.") from None
        episodes.append((total, length))
    return KeptMonitor(file, episodes, seconds, b"".join(kept) if len(lines) > len(kept) else None)


def continue_monitors(env: VecEnv, monitors: Sequence[KeptMonitor]) -> None:
    """Cut monitor files back to what is kept of them, and let environments made without any go on in them."""
    env = inner_of(env)
    for kept in monitors:
        if (content := kept.content) is not None:
            write_whole(kept.file, lambda beside, content=content: beside.write_bytes(content))  # type: ignore[misc]
    if isinstance(env, MonitoredVecEnv):
        env.continue_monitor(monitors[0].file, len(monitors[0].episodes), monitors[0].seconds)
        return
    assert isinstance(env, DummyVecEnv)
    for one, kept in zip(env.envs, monitors, strict=True):
        assert isinstance(one, RepeatableMonitor)
        one.results_writer = ResultsWriter(str(kept.file), override_existing=False)
        one.n_written, one.t_start = len(kept.episodes), time.time() - kept.seconds
