"""The environments of a run: monitored, vectorised, normalised."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from coagent_rl.agents.normaliser import put_normaliser
from coagent_rl.agents.saving import read_normaliser
from coagent_rl.envs.compiled import twin_of
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.states import RepeatableMonitor
from coagent_rl.envs.vec_env import NativeVecEnv, RowMeanStd, SerialVecEnv

MOST_ROWS = 20


def make_environments(
    env_id: str,
    n_envs: int,
    seed: int | None,
    env_kwargs: Mapping[str, Any],
    env_wrapper: Any = None,
    monitor_dir: str | None = None,
) -> VecEnv:
    """Monitored environments in one process.

    The monitor is outside the wrappers: an episode that a wrapper ends is an episode, and its return is what the agent gets.
    An environment that has a compiled twin is made as that, and one that brings a vectorised form in it, if it can be, and
    is neither rendered nor wrapped.

    Args:
        env_wrapper: ``"module.Class"``, ``{"module.Class": {arguments}}`` or a list of these, applied in order.
    """

    monitor_file = Path(monitor_dir) / "0.monitor.csv" if monitor_dir is not None else None
    if not env_wrapper and (twin := twin_of(env_id, env_kwargs)) is not None:
        env: VecEnv = CompiledVecEnv(twin, n_envs, monitor_file)
        env.seed(seed)
        return env
    if resets_natively(env_id) and not env_wrapper and "render_mode" not in env_kwargs:
        vector_env = gym.make_vec(env_id, n_envs, vectorization_mode="vector_entry_point", **env_kwargs)
        env = NativeVecEnv(vector_env, monitor_file)
        env.seed(seed)
        return env

    def make(rank: int) -> gym.Env[Any, Any]:
        env = gym.make(env_id, **env_kwargs)
        for wrapper in env_wrapper if isinstance(env_wrapper, list) else [env_wrapper] if env_wrapper else []:
            name, arguments = next(iter(wrapper.items())) if isinstance(wrapper, dict) else (wrapper, {})
            try:
                env = _wrapper(name)(env, **(arguments or {}))
            except TypeError as error:
                raise ValueError(f"The environment wrapper {name!r} cannot be made with {arguments}: {error}.") from error
        if seed is not None:
            env.action_space.seed(seed + rank)
        return RepeatableMonitor(env, None if monitor_dir is None else str(Path(monitor_dir) / str(rank)))

    vec_env = SerialVecEnv([partial(make, rank) for rank in range(n_envs)])
    vec_env.seed(seed)
    return vec_env


def rows_for(n_episodes: int, env_id: str, env_kwargs: Mapping[str, Any], env_wrapper: Any) -> int:
    """How many environments evaluate side by side: more than one where they need no Python, since acting then costs most."""
    natively = resets_natively(env_id) and "render_mode" not in env_kwargs
    is_cheap = not env_wrapper and (natively or twin_of(env_id, env_kwargs) is not None)
    return min(n_episodes, MOST_ROWS) if is_cheap else 1


def _wrapper(name: str) -> Any:
    module, _, attribute = str(name).rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"There is no environment wrapper {name!r} (module.Class is expected): {error}.") from error
    if not (inspect.isclass(found) and issubclass(found, gym.Wrapper)):
        raise ValueError(f"There is no environment wrapper {name!r}: it is not a subclass of gymnasium.Wrapper.")
    return found


def resets_natively(env_id: str) -> bool:
    """Whether an environment brings a vectorised form that resets in the step that ends an episode, as `VecEnv`s do."""
    entry_point = gym.spec(env_id).vector_entry_point
    if entry_point is None:
        return False
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return getattr(creator, "metadata", {}).get("autoreset_mode") == AutoresetMode.SAME_STEP


def normalised(env: VecEnv, normalize: Any, model_file: Path | None = None, training: bool = True) -> VecEnv:
    """Wrap in `VecNormalize` where the settings ask for it.

    Args:
        normalize: True, or the arguments of `VecNormalize`, or a false value for none.
        model_file: saved model in which the statistics lie with which to go on.
        training: whether they change, and rewards are normalised.

    Raises:
        ValueError: if there are no such statistics, or there are some but ``normalize`` is false: the model would see other
            observations than it learned from; or they cannot be read.
    """
    state = None if model_file is None else read_normaliser(model_file)
    if not normalize:
        if state is not None:
            raise ValueError(f"The model {model_file} learned from normalised observations: normalize must not be false.")
        return env
    if model_file is not None and state is None:
        raise ValueError(f"There are no statistics of the normaliser in {model_file}.")
    wrapped = VecNormalize(env, **(normalize if isinstance(normalize, dict) else {}))
    for name in ("obs_rms", "ret_rms"):
        statistics_so_far = getattr(wrapped, name, None)
        if isinstance(statistics_so_far, RunningMeanStd):  # neither missing, nor a dictionary for Dict observations
            setattr(wrapped, name, RowMeanStd.of(statistics_so_far))
    try:
        put_normaliser(state, wrapped)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"The statistics of the normaliser in {model_file} do not go with {env}: {error!r}") from error
    wrapped.training = training
    if not training:
        wrapped.norm_reward = False
    return wrapped
