"""One training run: environments, model, training, final evaluation, and the files that it leaves."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, sync_envs_normalization

import coagent_rl
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.decentralized_ddpg import DecentralizedDDPG
from coagent_rl.files import held
from coagent_rl.registry import algorithm_class
from coagent_rl.training.callbacks import EpisodeRecorder, ProgressBar, WholeFileEvalCallback
from coagent_rl.training.checkpoints import (
    Interruption,
    Run,
    SaveCheckpoint,
    check_folder,
    going_on_from,
    identity,
    replay_file,
)
from coagent_rl.training.clock import Clock
from coagent_rl.training.environments import make_environments, normalised, rows_for
from coagent_rl.training.evaluation import evaluate
from coagent_rl.training.files import folder_name, write_json
from coagent_rl.training.hyperparameters import RUN_KEYS

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
    """Time steps between two checkpoints; 0 for one a minute."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    trained_agent: str | None = None
    final_eval_episodes: int = 100
    progress: bool = False
    render: bool = False
    """Show the environments that the agent learns from in windows; they are then not compiled."""
    verbose: int = 0
    callbacks: Sequence[BaseCallback] = ()
    checkpoint: str | None = None
    """Go on from this checkpoint of the very same run, in its folder."""
    trust: bool = False
    """Unpickle what is pickled in the model to go on with."""
    interruption: Interruption | None = None
    """Who may ask the run to end."""


@dataclass
class Result:
    """What a run gave: the model, every training episode's return and length, and the summary that is written."""

    model: CoagentAlgorithm
    returns: np.ndarray
    lengths: np.ndarray
    summary: dict[str, Any]


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
    if options.checkpoint is not None and options.folder is None:
        raise ValueError("A run goes on in its folder, but the options name none.")
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with nullcontext() if options.folder is None else held(options.folder):
        return _train(algorithm, env_id, settings, seed, options)


def _train(algorithm: str, env_id: str, settings: Mapping[str, Any], seed: int | None, options: Options) -> Result:
    folder, name = options.folder, folder_name(env_id)
    arguments = {key: value for key, value in settings.items() if key not in RUN_KEYS}
    wrapper, normalize = settings.get("env_wrapper"), settings.get("normalize")
    # A run that goes on appends to its monitor files, when they have been cut back to the checkpoint.
    monitored = folder is not None and options.checkpoint is None
    shown = {"render_mode": "human"} if options.render else {}
    env_kwargs = {**options.env_kwargs, **shown}
    env = make_environments(env_id, options.n_envs, seed, env_kwargs, wrapper, str(folder) if monitored else None)
    evaluation_envs: list[VecEnv] = []
    clock = Clock()

    def evaluation_environment(n_episodes: int) -> VecEnv:
        n_rows = rows_for(n_episodes, env_id, options.env_kwargs, wrapper)
        for made in evaluation_envs:
            if made.num_envs == n_rows:
                return made
        other = None if seed is None else seed + EVALUATION_SEED_OFFSET
        inner = make_environments(env_id, n_rows, other, options.env_kwargs, wrapper)
        evaluation_envs.append(normalised(inner, normalize, training=False))
        return evaluation_envs[-1]

    try:
        started_from = options.checkpoint or options.trained_agent
        recorder, interruption = EpisodeRecorder(settings.get("n_episodes")), options.interruption or Interruption()
        callbacks: list[BaseCallback] = [recorder, *options.callbacks]
        with going_on_from(options.checkpoint):
            env = normalised(env, normalize, None if started_from is None else Path(started_from))
            model = _model(algorithm, env, seed, options, arguments)
        total = settings.get("n_timesteps") or FOREVER
        evaluating = None
        if folder is not None and options.eval_freq > 0:
            evaluating = WholeFileEvalCallback(
                evaluation_environment(options.eval_episodes),
                folder,
                clock,
                n_eval_episodes=options.eval_episodes,
                eval_freq=max(options.eval_freq // options.n_envs, 1),
                verbose=options.verbose,
            )
            callbacks.append(evaluating)
        kept = {name: getattr(options, name) for name in ("n_envs", "env_kwargs", "eval_freq", "eval_episodes")}
        run = Run(env, recorder, evaluating, clock, identity(algorithm, env_id, settings, seed, **kept))
        run.steps_before = model.num_timesteps
        if options.checkpoint is not None:
            with going_on_from(options.checkpoint):
                said = run.put(model, Path(options.checkpoint))
            for sentence in said:
                print(sentence, file=sys.stderr)
        if folder is not None:
            for path in folder.glob(".*.partial*"):  # what was being written when the run was killed
                path.unlink(missing_ok=True)
        steps_before, saving = run.steps_before, None
        if options.progress:
            in_episodes = recorder.n_episodes is not None
            length = recorder.n_episodes or total
            callbacks.append(ProgressBar(recorder, length, in_episodes, steps_before=steps_before, clock=clock))
        callbacks.append(interruption)
        if folder is not None and options.save_freq >= 0:
            saving = SaveCheckpoint(run, folder, options.save_freq)
            callbacks.append(saving)
        remaining = total - (model.num_timesteps - steps_before)
        is_complete = recorder.n_episodes is not None and len(recorder.returns) >= recorder.n_episodes
        if options.checkpoint is None:
            clock.start()
        interrupted = False
        try:
            if remaining > 0 and not is_complete:
                model.learn(remaining, callback=callbacks, reset_num_timesteps=started_from is None)
        except KeyboardInterrupt:  # in the middle of a step: what was learned is kept, but a checkpoint is made between two
            interrupted = True
        except Exception:
            if folder is not None and folder.is_dir() and model.num_timesteps > steps_before and model.is_finite():
                save_run(model, folder, name, {**run.progress(model), "of": run.of})
            raise
        finally:
            for callback in callbacks:
                if isinstance(callback, ProgressBar):
                    callback.close()
        seconds, training_seconds, steps = clock.seconds, clock.training_seconds, model.num_timesteps - steps_before
        clock.stop()
        returns, lengths = np.array(recorder.returns), np.array(recorder.lengths)
        if interruption.signal is not None and not interrupted:
            interrupted = not (steps >= total or (recorder.n_episodes or FOREVER) <= len(returns))
            if interrupted and saving is not None and steps > 0:
                saving.save()
        summary: dict[str, Any] = {
            "algo": algorithm,
            "env": env_id,
            "seed": seed,
            "interrupted": interrupted,
            "episodes": len(returns),
            "timesteps": steps,
            "mean_return_all_episodes": float(returns.mean()) if returns.size else None,
            "mean_return_last_100": float(returns[-100:].mean()) if returns.size else None,
            "final_evaluation": None,
            "road": road(model),
            "seconds": seconds,
            "training_seconds": training_seconds,
            "steps_per_second": steps / training_seconds,
            "versions": versions(),
        }
        if folder is not None:
            save_run(model, folder, name, {**run.progress(model), "of": run.of})
        if options.final_eval_episodes > 0 and not interrupted:
            other = evaluation_environment(options.final_eval_episodes)
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
        clock.stop()
        env.close()
        for other in evaluation_envs:
            other.close()


def _model(
    algorithm: str, env: VecEnv, seed: int | None, options: Options, arguments: Mapping[str, Any]
) -> CoagentAlgorithm:
    """A new model, one that learns on, or the one of the checkpoint."""
    kind = algorithm_class(algorithm)
    logs: dict[str, Any] = {"tensorboard_log": options.tensorboard_log, "verbose": options.verbose}
    if options.checkpoint is not None:
        return kind.load(options.checkpoint, env, force_reset=False, trust=options.trust, **logs)
    if options.trained_agent is None:
        policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"
        return kind(policy, env, seed=seed, **logs, **arguments)
    model = kind.load(options.trained_agent, env, seed=seed, trust=options.trust, **logs, **arguments)
    model.set_random_seed(seed)
    replay = replay_file(Path(options.trained_agent))
    if isinstance(model, DecentralizedDDPG) and model.replay_buffer is not None and replay.is_file():
        model.load_replay_buffer(replay)
    return model


def road(model: CoagentAlgorithm) -> str:
    """Which road the last training of a model took: ``"compiled"``, or ``"step by step"`` and why."""
    return "compiled" if model.why_step_by_step is None else f"step by step: {model.why_step_by_step}"


def save_run(model: CoagentAlgorithm, folder: Path, name: str, run: Mapping[str, Any]) -> None:
    """Save the last model with how far its run is and which it is, and the transitions that it replays beside it."""
    check_folder(folder)
    if isinstance(model, DecentralizedDDPG) and model.replay_buffer is not None:
        model.save_replay_buffer(replay_file(folder / f"{name}.zip"))
    model.save_with(folder / f"{name}.zip", run)


def versions() -> dict[str, str]:
    """Versions of the package and of what its numbers depend on."""
    import platform

    packages = ("gymnasium", "numpy", "numba", "stable-baselines3", "torch")
    found = {"python": platform.python_version(), "coagent-rl": coagent_rl.__version__}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
