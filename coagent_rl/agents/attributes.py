"""What a file may say of a model's attributes: checked where they are read, for what reads them later expects them so."""

from __future__ import annotations

import numbers
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from coagent_rl.noise import NOISE_BLOCK, Noise
from coagent_rl.schedules import is_positive


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))


def _are_episodes(value: object) -> bool:
    return _is_bounded(value) and all(
        isinstance(info, dict) and all(_is_number(info.get(key)) for key in "rlt")
        for info in value  # type: ignore[attr-defined]
    )


def _are_successes(value: object) -> bool:
    return _is_bounded(value) and all(isinstance(item, (bool, np.bool_)) or _is_number(item) for item in value)  # type: ignore[attr-defined]


def _is_bounded(value: object) -> bool:
    return isinstance(value, deque) and value.maxlen is not None and value.maxlen > 0


Check = tuple[Callable[[Any], bool], str]
ATTRIBUTES: dict[str, Check] = {
    **dict.fromkeys(
        ("num_timesteps", "_num_timesteps_at_start", "_total_timesteps", "_episode_num", "_n_updates", "verbose", "n_envs"),
        (_is_count, "a whole number"),
    ),
    **dict.fromkeys(("transitions_since", "episodes_since"), (_is_count, "a whole number")),
    "_stats_window_size": (lambda value: _is_count(value) and value > 0, "a whole number from 1"),
    "start_time": (_is_number, "a number"),
    "seed": (lambda value: value is None or _is_count(value), "a whole number"),
    "tensorboard_log": (lambda value: isinstance(value, str | None), "a path"),
    "why_step_by_step": (lambda value: isinstance(value, str | None), "text"),
    "ep_info_buffer": (lambda value: value is None or _are_episodes(value), "a deque of episodes"),
    "ep_success_buffer": (lambda value: value is None or _are_successes(value), "a deque of successes"),
    "replay_rng": (lambda value: isinstance(value, np.random.Generator | None), "a generator"),
}
"""Attributes that no argument's own check looks at → what they must be."""
NORMALISER: dict[str, Check] = {
    **dict.fromkeys(("training", "norm_obs", "norm_reward"), (lambda value: isinstance(value, bool), "true or false")),
    **dict.fromkeys(("clip_obs", "clip_reward", "epsilon"), (is_positive, "a positive number")),
    "gamma": (lambda value: _is_number(value) and 0.0 <= value <= 1.0, "a number in [0, 1]"),
    "norm_obs_keys": (
        lambda value: value is None or (isinstance(value, list) and all(isinstance(key, str) for key in value)),
        "a list of names",
    ),
}
"""Settings of a normaliser → what they must be."""


def check_attributes(found: Mapping[str, Any], kind: type) -> None:
    """Check the attributes that a file gives a model of class ``kind``.

    Raises:
        ValueError: naming the first that makes no sense.
    """
    check(found, ATTRIBUTES)
    for name in found:
        if callable(getattr(kind, name, None)):
            raise ValueError(f"{name} is what a {kind.__name__} does, and no value")
    buffers = [found.get(name) for name in ("ep_info_buffer", "ep_success_buffer")]
    if (buffers[0] is None) != (buffers[1] is None):
        raise ValueError("ep_info_buffer and ep_success_buffer go together")
    n_envs = found["n_envs"]
    for name in ("noise", "critic_noise"):
        noise = found.get(name)
        if noise is not None and not _is_noise(noise, n_envs):
            raise ValueError(f"{name} is no noise of {n_envs} environments")
    starts = found.get("_last_episode_starts")
    if starts is not None and not (isinstance(starts, np.ndarray) and starts.shape == (n_envs,) and starts.dtype == bool):
        raise ValueError(f"_last_episode_starts is not one truth value for each of {n_envs} environments")
    check_rows(found.get("_last_obs"), found["observation_space"], n_envs, "_last_obs")
    check_rows(found.get("_last_original_obs"), found["observation_space"], n_envs, "_last_original_obs")


def check(found: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Raise a ValueError for the first value that is not what it must be."""
    for name, (is_right, what) in checks.items():
        if name in found and not is_right(found[name]):
            raise ValueError(f"{name} must be {what}, not {str(found[name])[:40]!r}")


def check_rows(value: Any, space: spaces.Space[Any], n_envs: int, name: str) -> None:
    """Raise a ValueError for anything but None or numbers of the space's shape for each environment."""
    if value is None:
        return
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            raise ValueError(f"{name} does not have the parts {sorted(space.spaces)}")
        for key, part in space.spaces.items():
            check_rows(value[key], part, n_envs, f"{name} of {key}")
    elif not isinstance(value, np.ndarray) or value.shape != (n_envs, *(space.shape or ())):
        raise ValueError(f"{name} must have the shape {(n_envs, *(space.shape or ()))}, not {np.shape(value)}")


def _is_noise(value: object, n_envs: int) -> bool:
    if not isinstance(value, Noise) or not isinstance(value.rng, np.random.Generator):
        return False
    last, longest = value.last, max(2, NOISE_BLOCK // max(n_envs, 1)) + 1
    is_last = last is None or (isinstance(last, np.ndarray) and last.ndim == 2 and last.dtype == np.float32)
    return is_last and _is_count(value.cursor) and value.cursor <= longest
