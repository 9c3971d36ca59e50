"""The statistics of `VecNormalize` as numbers, so that they can lie in the model's own file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from coagent_rl.agents.attributes import NORMALISER, check, check_rows

SETTINGS = ("training", "norm_obs", "norm_reward", "clip_obs", "clip_reward", "gamma", "epsilon", "norm_obs_keys")
STATISTICS = ("obs_rms", "ret_rms")
PER_ENVIRONMENT = ("returns", "old_obs", "old_reward")


def state_of_normaliser(env: VecNormalize | None) -> dict[str, Any] | None:
    """Settings, statistics and what is kept between two steps; None without a normaliser."""
    if env is None:
        return None
    state: dict[str, Any] = {name: getattr(env, name) for name in SETTINGS}
    for name in STATISTICS:
        found = getattr(env, name, None)
        if isinstance(found, Mapping):
            state[name] = {key: _moments(part) for key, part in found.items()}
        else:
            state[name] = None if found is None else _moments(found)
    for name in PER_ENVIRONMENT:
        value = getattr(env, name, None)
        state[name] = dict(value) if isinstance(value, Mapping) else value
    return state


def put_normaliser(state: Mapping[str, Any] | None, env: VecEnv) -> VecEnv:
    """Give an environment the statistics of a state: a `VecNormalize` takes them over, any other is wrapped in one.

    Raises:
        ValueError: if the statistics are not those of such an environment.
    """
    if state is None:
        return env
    made = {name: state[name] for name in SETTINGS}
    check(made, NORMALISER)
    wrapper = env if isinstance(env, VecNormalize) else VecNormalize(env, **made)
    for name in STATISTICS:
        mine, saved = getattr(wrapper, name, None), state[name]
        if mine is None or saved is None:
            continue
        if isinstance(mine, Mapping):
            if set(mine) != set(saved):
                raise ValueError(f"its {name} are of {sorted(saved)}, not of {sorted(mine)}")
            for key, part in mine.items():
                _put(part, saved[key], f"{name} of {key}")
        else:
            _put(mine, saved, name)
    for name in ("returns", "old_reward"):
        value = state[name]
        if value is not None and not (np.ndim(value) == 1 and np.isfinite(value).all()):
            raise ValueError(f"its {name} are not finite numbers, one for each environment")
    if np.shape(state["returns"]) == (wrapper.num_envs,):
        check_rows(state["old_obs"], wrapper.observation_space, wrapper.num_envs, "its old_obs")
        wrapper.returns = np.array(state["returns"], np.float64)
        wrapper.old_reward = np.asarray(state["old_reward"])
        if state["old_obs"] is not None:
            wrapper.old_obs = state["old_obs"]
    return wrapper


class BeforeStep:
    """What a normaliser was before the last step, so that one that was not finite leaves nothing behind.

    `VecNormalize` puts new arrays in the place of old ones, so that to keep it is to keep references.

    Args:
        env: None is no normaliser, with which nothing is done.
    """

    def __init__(self, env: VecNormalize | None) -> None:
        self.env = env
        self.keep()

    def keep(self) -> None:
        """Keep what there is now."""
        self._kept = [(part, vars(part).copy()) for part in self._parts()]

    def put_back(self) -> None:
        """Go back to what was kept, if what there is now is not finite."""
        if self.env is not None and not _is_finite(state_of_normaliser(self.env)):
            for part, before in self._kept:
                vars(part).update(before)

    def _parts(self) -> list[Any]:
        if self.env is None:
            return []
        statistics = [getattr(self.env, name, None) for name in STATISTICS]
        parts = [part for found in statistics for part in (found.values() if isinstance(found, Mapping) else [found])]
        return [self.env, *(part for part in parts if part is not None)]


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_finite(part) for part in value.values())
    return not isinstance(value, np.ndarray) or value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _moments(statistics: RunningMeanStd) -> dict[str, Any]:
    return {"mean": np.asarray(statistics.mean), "var": np.asarray(statistics.var), "count": float(statistics.count)}


def _put(mine: RunningMeanStd, saved: Mapping[str, Any], name: str) -> None:
    mean, var, count = np.asarray(saved["mean"], np.float64), np.asarray(saved["var"], np.float64), float(saved["count"])
    if mean.shape != np.shape(mine.mean) or var.shape != np.shape(mine.var):
        raise ValueError(f"its {name} have the shape {mean.shape}, not {np.shape(mine.mean)}")
    if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all() and 0 < count < np.inf):
        raise ValueError(f"its {name} are not finite, or negative")
    mine.mean, mine.var, mine.count = mean, var, count
