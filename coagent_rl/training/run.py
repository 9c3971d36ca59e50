"""One training run: environments, model, training, final evaluation, and the files that it leaves."""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, sync_envs_normalization

import coagent_rl
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.decentralized_ddpg import DecentralizedDDPG
from coagent_rl.envs.compiled import twin_of
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import NativeVecEnv, RowMeanStd, SerialVecEnv
from coagent_rl.files import write_whole
from coagent_rl.registry import algorithm_class
from coagent_rl.training.callbacks import EpisodeRecorder, ProgressBar, SaveCheckpoint, SaveNormaliser, WholeFileEvalCallback
from coagent_rl.training.evaluation import evaluate
from coagent_rl.training.files import folder_name, write_json
from coagent_rl.training.hyperparameters import RUN_KEYS

REPLAY_BUFFER = "replay_buffer.pkl"  # beside the last model
FOREVER = 2**62  # time steps; the episode recorder stops earlier
EVALUATION_SEED_OFFSET = 1_000_000  # evaluation environments never see a training seed


@dataclass
class Options:
    """What a run does besides training; the names and defaults of the command line, and callbacks of one's own."""

    folder: Path | None = None
    tensorboard_log: str | None = None
    n_envs: int = 1
    eval_freq: int = 25_000
    eval_episodes: int = 5
    save_freq: int = -1
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    trained_agent: str | None = None
    final_eval_episodes: int = 100
    progress: bool = False
    verbose: int = 0
    callbacks: Sequence[BaseCallback] = ()


@dataclass
class Result:
    """What a run gave: the model, every training episode's return and length, and the summary that is written."""

    model: CoagentAlgorithm
    returns: np.ndarray
    lengths: np.ndarray
    summary: dict[str, Any]


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

    def make(**kwargs: Any) -> gym.Env[Any, Any]:
        env = gym.make(env_id, **kwargs)
        for wrapper in env_wrapper if isinstance(env_wrapper, list) else [env_wrapper] if env_wrapper else []:
            name, arguments = next(iter(wrapper.items())) if isinstance(wrapper, dict) else (wrapper, {})
            try:
                env = _wrapper(name)(env, **(arguments or {}))
            except TypeError as error:
                raise ValueError(f"The environment wrapper {name!r} cannot be made with {arguments}: {error}.") from error
        return env

    return make_vec_env(
        make, n_envs=n_envs, seed=seed, env_kwargs=dict(env_kwargs), monitor_dir=monitor_dir, vec_env_cls=SerialVecEnv
    )


def _wrapper(name: str) -> Any:
    module, _, attribute = str(name).rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"There is no environment wrapper {name!r} (module.Class is expected): {error}.") from error


def resets_natively(env_id: str) -> bool:
    """Whether an environment brings a vectorised form that resets in the step that ends an episode, as `VecEnv`s do."""
    entry_point = gym.spec(env_id).vector_entry_point
    if entry_point is None:
        return False
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return getattr(creator, "metadata", {}).get("autoreset_mode") == AutoresetMode.SAME_STEP


def statistics_file(model_file: Path) -> Path:
    """Where the normaliser's statistics of a saved model lie, be it the last, the best or an intermediate one."""
    steps = re.fullmatch(r"rl_model_(\d+)_steps", model_file.stem)
    if steps:
        return model_file.with_name(f"rl_model_vecnormalize_{steps[1]}_steps.pkl")
    return model_file.with_name("best_model_vecnormalize.pkl" if model_file.stem == "best_model" else "vecnormalize.pkl")


def normalised(env: VecEnv, normalize: Any, statistics: Path | None = None, training: bool = True) -> VecEnv:
    """Wrap in `VecNormalize` where the settings ask for it.

    Args:
        normalize: True, or the arguments of `VecNormalize`, or a false value for none.
        statistics: saved statistics to go on with.
        training: whether they change, and rewards are normalised.

    Raises:
        FileNotFoundError: if there are no such statistics: the model would see other observations than it learned from.
        ValueError: if there are some but ``normalize`` is false, for the same reason, or they cannot be read.
    """
    if not normalize:
        if statistics is not None and statistics.is_file():
            raise ValueError(f"The model learned from observations normalised by {statistics}: normalize must not be false.")
        return env
    if statistics is None:
        wrapped = VecNormalize(env, **(normalize if isinstance(normalize, dict) else {}))
    elif statistics.is_file():
        try:
            wrapped = VecNormalize.load(str(statistics), env)
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, AssertionError) as error:
            raise ValueError(f"The statistics of the normaliser in {statistics} cannot be read: {error}") from error
    else:
        raise FileNotFoundError(f"There are no statistics of the normaliser at {statistics}, beside the model.")
    for name in ("obs_rms", "ret_rms"):
        statistics_so_far = getattr(wrapped, name, None)
        if isinstance(statistics_so_far, RunningMeanStd):  # neither missing, nor a dictionary for Dict observations
            setattr(wrapped, name, RowMeanStd.of(statistics_so_far))
    wrapped.training = training
    if not training:
        wrapped.norm_reward = False
    return wrapped


def train(
    algorithm: str,
    env_id: str,
    settings: Mapping[str, Any],
    seed: int | None = None,
    options: Options | None = None,
) -> Result:
    """Train one model.

    Args:
        algorithm: one of `coagent_rl.registry.ALGORITHMS`, or ``module:Class``.
        settings: constructor arguments and run settings, as `load_hyperparameters` gives them.
        seed: of parameters, units' noise and environments.
        options: what else to do; files are written only where they name a folder.
    """
    options = options or Options()
    folder, name = options.folder, folder_name(env_id)
    arguments = {key: value for key, value in settings.items() if key not in RUN_KEYS}
    wrapper, normalize = settings.get("env_wrapper"), settings.get("normalize")
    env = make_environments(
        env_id, options.n_envs, seed, options.env_kwargs, wrapper, str(folder) if folder is not None else None
    )
    statistics = statistics_file(Path(options.trained_agent)) if options.trained_agent else None
    env = normalised(env, normalize, statistics)
    recorder = EpisodeRecorder(settings.get("n_episodes"))
    callbacks: list[BaseCallback] = [recorder, *options.callbacks]
    evaluation_envs: list[VecEnv] = []

    def evaluation_environment() -> VecEnv:
        if not evaluation_envs:
            other = None if seed is None else seed + EVALUATION_SEED_OFFSET
            evaluation_envs.append(
                normalised(make_environments(env_id, 1, other, options.env_kwargs, wrapper), normalize, training=False)
            )
        return evaluation_envs[0]

    try:
        kind = algorithm_class(algorithm)
        if options.trained_agent:
            logs = {"tensorboard_log": options.tensorboard_log, "verbose": options.verbose}
            model = kind.load(options.trained_agent, env, seed=seed, **logs, **arguments)
            model.set_random_seed(seed)
            replay = Path(options.trained_agent).with_name(REPLAY_BUFFER)
            if isinstance(model, DecentralizedDDPG) and model.replay_buffer is not None and replay.is_file():
                model.load_replay_buffer(replay)
        else:
            model = kind(
                "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy",
                env,
                seed=seed,
                verbose=options.verbose,
                tensorboard_log=options.tensorboard_log,
                **arguments,
            )
        total = settings.get("n_timesteps") or FOREVER
        if folder is not None and options.eval_freq > 0:
            callbacks.append(
                WholeFileEvalCallback(
                    evaluation_environment(),
                    folder,
                    callback_on_new_best=SaveNormaliser(folder / "best_model_vecnormalize.pkl"),
                    n_eval_episodes=options.eval_episodes,
                    eval_freq=max(options.eval_freq // options.n_envs, 1),
                    verbose=options.verbose,
                )
            )
        if folder is not None and options.save_freq > 0:
            callbacks.append(EveryNTimesteps(options.save_freq, SaveCheckpoint(folder)))
        bar = None
        if options.progress:
            bar = ProgressBar(recorder, recorder.n_episodes or total, recorder.n_episodes is not None)
            callbacks.append(bar)
        started, steps_before = time.perf_counter(), model.num_timesteps
        try:
            with suppress(KeyboardInterrupt):  # stop early and keep what was learned
                model.learn(total, callback=callbacks, reset_num_timesteps=not options.trained_agent)
        except Exception:
            if folder is not None and model.num_timesteps > steps_before and model.is_finite():
                save_run(model, env, folder, name)
            raise
        finally:
            if bar is not None:
                bar.close()
        seconds = time.perf_counter() - started
        steps = model.num_timesteps - steps_before
        returns, lengths = np.array(recorder.returns), np.array(recorder.lengths)
        summary: dict[str, Any] = {
            "algo": algorithm,
            "env": env_id,
            "seed": seed,
            "episodes": len(returns),
            "timesteps": steps,
            "mean_return_all_episodes": float(returns.mean()) if returns.size else None,
            "mean_return_last_100": float(returns[-100:].mean()) if returns.size else None,
            "final_evaluation": None,
            "road": road(model),
            "seconds": seconds,
            "steps_per_second": steps / seconds,
            "versions": versions(),
        }
        if folder is not None:
            save_run(model, env, folder, name)
        if options.final_eval_episodes > 0:
            other = evaluation_environment()
            if isinstance(other, VecNormalize):
                sync_envs_normalization(env, other)
            # From a fixed state, so that the score does not depend on what was evaluated during training.
            other.seed(None if seed is None else seed + EVALUATION_SEED_OFFSET)
            model.policy.seed_predictions(None)
            with suppress(KeyboardInterrupt):  # then there is no final score, but the summary is written
                outcome, _ = evaluate(model, other, options.final_eval_episodes)
                summary["final_evaluation"] = {
                    "mean_return": float(outcome.mean()),
                    "std_return": float(outcome.std()),
                    "episodes": len(outcome),
                }
        if folder is not None:
            write_json(folder / "summary.json", summary)
        return Result(model, returns, lengths, summary)
    finally:
        env.close()
        for other in evaluation_envs:
            other.close()


def road(model: CoagentAlgorithm) -> str:
    """Which road the last training of a model took: ``"compiled"``, or ``"step by step"`` and why."""
    return "compiled" if model.why_step_by_step is None else f"step by step: {model.why_step_by_step}"


def save_run(model: CoagentAlgorithm, env: VecEnv, folder: Path, name: str) -> None:
    """Save the last model and what it needs to go on: replayed transitions, statistics of the normaliser."""
    model.save(folder / f"{name}.zip")
    if isinstance(model, DecentralizedDDPG) and model.replay_buffer is not None:
        write_whole(folder / REPLAY_BUFFER, model.save_replay_buffer)
    if isinstance(env, VecNormalize):
        write_whole(folder / "vecnormalize.pkl", lambda beside: env.save(str(beside)))


def versions() -> dict[str, str]:
    """Versions of the package and of what its numbers depend on."""
    import platform

    packages = ("gymnasium", "numpy", "numba", "stable-baselines3", "torch")
    found = {"python": platform.python_version(), "coagent-rl": coagent_rl.__version__}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
