"""Checkpoints: everything from which a run goes on as if it had never stopped, and how a run ends when it is asked to."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.decentralized_ddpg import DecentralizedDDPG
from coagent_rl.agents.saving import WRONG, read_run
from coagent_rl.archive import names_in
from coagent_rl.envs.states import (
    continue_monitors,
    fresh_observations,
    inner_of,
    kept_monitor,
    n_episodes_of,
    restore,
    state_of,
)
from coagent_rl.envs.vec_env import MonitoredVecEnv
from coagent_rl.files import sync
from coagent_rl.training.callbacks import EpisodeRecorder, WholeFileEvalCallback
from coagent_rl.training.clock import Clock
from coagent_rl.training.files import plain
from coagent_rl.training.reading import read_summary, read_yaml

SECONDS_BETWEEN = 60.0
KEPT_CHECKPOINTS = 2
NAME = r"rl_model_(\d+)_steps\.zip"
"""Of a checkpoint, with the number of the model's time steps."""


def replay_file(model_file: Path) -> Path:
    """Where the replayed transitions of a saved model lie, if it replays any."""
    return model_file.with_name(f"{model_file.stem}_replay_buffer.npz")


def checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints in a run's folder by their number of time steps, oldest first."""
    found = {}
    for path in folder.glob("rl_model_*_steps.zip"):
        if match := re.fullmatch(NAME, path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


@contextmanager
def going_on_from(checkpoint: str | None) -> Iterator[None]:
    """Say of an error about a checkpoint, or about what lies beside it, how the run goes on without it.

    Raises:
        ValueError: for such an error.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if checkpoint is None:
            raise
        file = Path(checkpoint)
        older = [path for path in checkpoints(file.parent).values() if path != file]
        names = f"{file.name} and {replay_file(file).name}" if replay_file(file).is_file() else file.name
        where = f"from {older[-1].name}" if older else "from its beginning"
        said = str(error).rstrip(".")
        raise ValueError(f"{said}. If the checkpoint is damaged, delete {names}: then the run goes on {where}.") from error


def identity(algorithm: str, env_id: str, settings: Mapping[str, Any], seed: int | None, **others: Any) -> dict[str, Any]:
    """What makes a run that run and no other, as JSON holds it."""
    said = plain({"algo": algorithm, "env": env_id, "settings": settings, "seed": seed, **others})
    found: dict[str, Any] = json.loads(re.sub(r" at 0x[0-9a-f]+", "", json.dumps(said)))  # where an object lay is no part
    return found


def check_identity(mine: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Raise a ValueError that names what differs between two runs, see `identity`."""
    for name in sorted({*mine, *saved}):
        one, other = mine.get(name), saved.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            check_identity(one, other)
        elif one != other:
            raise ValueError(f"it was saved in a run with {name} {other!r}, not {one!r} as config.yml and args.yml say")


def check_model(model: CoagentAlgorithm, file: Path, algorithm: str, env_id: str, config: Mapping[str, Any]) -> None:
    """Check that a loaded model is one of the run whose folder it lies in.

    The last model and checkpoints say of which run they are; of others (the best model, files of older versions) it is known
    by the seed.

    Raises:
        ValueError: if it is of another run.
    """
    saved: dict[str, Any] = {"seed": model.seed}
    if "data" not in names_in(file):  # not of an older version
        saved = (read_run(file) or {}).get("of") or saved
    mine = identity(algorithm, env_id, config["settings"], seed_of(file.parent), env_kwargs=config["env_kwargs"])
    common = {name for name in mine.keys() & saved.keys() if name != "seed" or mine["seed"] is not None}
    try:
        check_identity({name: mine[name] for name in common}, {name: saved[name] for name in common})
    except ValueError as error:
        said = str(error).replace(" as config.yml and args.yml say", f" as the files in {file.parent} say")
        raise ValueError(f"{file} is not a model of this run: {said}.") from error


def seed_of(folder: Path) -> int | None:
    """The seed of the run in a folder by its ``summary.json``, or its ``args.yml``; None where neither says one."""
    said = read_summary(folder)
    if said is None and (folder / "args.yml").is_file():
        said = read_yaml(folder / "args.yml")
    seed = said.get("seed") if isinstance(said, dict) else None
    return seed if isinstance(seed, int) else None


def check_folder(folder: Path) -> None:
    """Raise a FileNotFoundError if the folder of a run that is under way has been deleted."""
    if not folder.is_dir():
        raise FileNotFoundError(f"The run's folder {folder} has been deleted while it was training: nothing can be saved.")


class Run:
    """A run in progress: gathers what a checkpoint must hold, and puts it back.

    Args:
        env: of training, `VecNormalize` included.
        recorder: of the episodes.
        evaluation: the callback that evaluates during training, or None.
        clock: how long it takes.
        of: what makes it that run and no other, see `identity`.
    """

    def __init__(
        self,
        env: VecEnv,
        recorder: EpisodeRecorder,
        evaluation: WholeFileEvalCallback | None,
        clock: Clock,
        of: Mapping[str, Any],
    ) -> None:
        self.env, self.recorder, self.evaluation, self.of = env, recorder, evaluation, of
        self.steps_before = 0
        self.clock = clock

    def progress(self, model: CoagentAlgorithm) -> dict[str, int]:
        """Time steps and episodes of this run, for whoever goes on from its model."""
        return {"steps": model.num_timesteps - self.steps_before, "episodes": len(self.recorder.returns)}

    def save(self, model: CoagentAlgorithm, file: Path) -> None:
        """Write a checkpoint: the replayed transitions beside first, so that a checkpoint that is there has them."""
        check_folder(file.parent)
        episodes = n_episodes_of(self.env)
        for rank in range(len(episodes)):
            sync(file.parent / f"{rank}.monitor.csv")
        state: dict[str, Any] = {
            **self.progress(model),
            "of": self.of,
            "steps_before": self.steps_before,
            "seconds": self.clock.seconds,
            "training_seconds": self.clock.training_seconds,
            "env": state_of(self.env),
            "monitored": episodes,
            "returns": np.array(self.recorder.returns, np.float64),
            "lengths": np.array(self.recorder.lengths, np.int64),
            "predictions": model.policy._prediction_rng.bit_generator.state,
            "evaluation": None,
            "replay_buffer": None,
        }
        if self.evaluation is not None:
            state["evaluation"] = {**self.evaluation.state(), "env": state_of(self.evaluation.eval_env)}
        if isinstance(model, DecentralizedDDPG) and model.replay_buffer is not None:
            state["replay_buffer"] = model.save_replay_buffer(replay_file(file))
        model.save_with(file, state)

    def put(self, model: CoagentAlgorithm, file: Path) -> list[str]:
        """Put back what a checkpoint holds; the model has been loaded from it.

        Nothing on the disk is changed before all has been checked.

        Returns:
            What could not be put back, in sentences for the user.

        Raises:
            ValueError: if the checkpoint, or what lies beside it, is damaged or of another run.
        """
        state = read_run(file)
        if state is None:
            raise ValueError(f"{file} is a model, but no checkpoint from which a run goes on.")
        try:
            return self._put(model, file, state)
        except (OSError, MemoryError):
            raise
        except WRONG as error:
            said = str(error) if isinstance(error, ValueError) else repr(error)
            raise ValueError(f"{file} does not hold the state of such a run: {said.rstrip('.')}.") from error

    def _put(self, model: CoagentAlgorithm, file: Path, state: Mapping[str, Any]) -> list[str]:
        check_identity(self.of, state["of"])
        self._check_progress(model, file, state)
        returns, lengths = state["returns"].tolist(), state["lengths"].tolist()
        files = [file.parent / f"{rank}.monitor.csv" for rank in range(len(state["monitored"]))]
        monitors = [kept_monitor(path, n) for path, n in zip(files, state["monitored"], strict=True)]
        written = sorted(episode for kept in monitors for episode in kept.episodes)
        if written != sorted(zip(returns, lengths, strict=True)):
            raise ValueError(f"{', '.join(path.name for path in files)} holds other episodes than were made until then")
        replays = isinstance(model, DecentralizedDDPG) and model.replay_buffer is not None
        if replays and model.load_replay_buffer(replay_file(file)) != state["replay_buffer"]:  # type: ignore[attr-defined]
            raise ValueError(f"{replay_file(file)} was not saved with it")
        failed = restore(self.env, state["env"])
        if self.evaluation is not None:
            self.evaluation.put(state["evaluation"], state["steps"] // self.env.num_envs)
            restore(self.evaluation.eval_env, state["evaluation"]["env"])
        model.policy._prediction_rng.bit_generator.state = state["predictions"]
        self.recorder.returns, self.recorder.lengths = returns, lengths
        self.steps_before = state["steps_before"]
        if failed:
            self._begin_episodes(model, list(failed))
        continue_monitors(self.env, monitors)
        self.clock.start(state["seconds"], state["training_seconds"])
        return [
            f"The running episode of environment {row} cannot be repeated ({why}): a new one begins there, so the run goes "
            f"on, but not bit for bit."
            for row, why in failed.items()
        ]

    def _check_progress(self, model: CoagentAlgorithm, file: Path, state: Mapping[str, Any]) -> None:
        """Check that the numbers of how far a run is agree with each other, with the model and with the file's name."""
        for name in ("steps", "steps_before", "episodes"):
            if type(state[name]) is not int or state[name] < 0:
                raise ValueError(f"its {name} must be a whole number, not {state[name]!r}")
        steps, named = state["steps"], re.fullmatch(NAME, file.name)
        if steps + state["steps_before"] != model.num_timesteps:
            raise ValueError(f"its {steps} steps of the run are not those of a model after {model.num_timesteps}")
        if named and int(named[1]) != model.num_timesteps:
            raise ValueError(f"its model has made {model.num_timesteps} steps, not {named[1]} as its name says")
        for name, kind in (("returns", np.float64), ("lengths", np.int64)):
            array = state[name]
            if not isinstance(array, np.ndarray) or array.shape != (state["episodes"],) or array.dtype != kind:
                raise ValueError(f"its {name} are not those of {state['episodes']} episodes")
        returns, lengths, counts = state["returns"], state["lengths"], state["monitored"]
        if not np.isfinite(returns).all() or (lengths < 1).any() or (lengths > steps).any() or lengths.sum() > steps:
            raise ValueError(f"its episodes have returns that are not finite, or lengths that {steps} steps cannot have")
        n_files = 1 if isinstance(inner_of(self.env), MonitoredVecEnv) else self.env.num_envs
        is_list = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
        if not is_list or len(counts) != n_files or sum(counts) != len(returns):
            raise ValueError(f"{n_files} monitor files cannot have {counts!r} of {len(returns)} episodes")
        if not all(type(state[name]) is float for name in ("seconds", "training_seconds")) or not (
            0.0 <= state["training_seconds"] <= state["seconds"] + 1.0 < np.inf
        ):
            raise ValueError(f"it cannot have taken {state['seconds']!r} seconds, {state['training_seconds']!r} to train")

    def _begin_episodes(self, model: CoagentAlgorithm, rows: list[int]) -> None:
        observations = fresh_observations(self.env)
        if isinstance(self.env, VecNormalize):
            self.env.returns[rows] = 0.0
            observations = self.env.normalize_obs(observations)  # type: ignore[assignment]
        assert model._last_episode_starts is not None
        for key in observations if isinstance(observations, dict) else (...,):
            model._last_obs[key][rows] = observations[key][rows]  # type: ignore[index]
        model._last_episode_starts[rows] = True


class SaveCheckpoint(BaseCallback):
    """Write checkpoints ``rl_model_<n>_steps.zip`` of a run, and keep the last two.

    Args:
        run: what they hold.
        folder: where they are written.
        frequency: time steps between two, or 0 for one a minute.
    """

    def __init__(self, run: Run, folder: Path, frequency: int) -> None:
        super().__init__()
        self.run, self.folder, self.frequency = run, folder, frequency

    def _on_training_start(self) -> None:
        self._saved_at, self._next = time.monotonic(), self._multiple()

    def _multiple(self) -> int:
        """The next multiple of the frequency: which one does not depend on where a run was interrupted."""
        return (self.model.num_timesteps // self.frequency + 1) * self.frequency if self.frequency > 0 else 0

    def steps_until_needed(self) -> float:
        """Steps until the next checkpoint; one a minute is content with being asked whenever training comes by."""
        if self.frequency <= 0:
            return np.inf
        return max(1, -(-(self._next - self.model.num_timesteps) // self.training_env.num_envs))

    def _on_step(self) -> bool:
        if self.frequency > 0:
            if self.model.num_timesteps >= self._next:
                self.save()
        elif time.monotonic() - self._saved_at >= SECONDS_BETWEEN:
            self.save()
        return True

    def save(self) -> None:
        """Write a checkpoint now, between two steps."""
        model = self.model
        assert isinstance(model, CoagentAlgorithm)
        with self.run.clock.aside():
            self.run.save(model, self.folder / f"rl_model_{model.num_timesteps}_steps.zip")
        for path in list(checkpoints(self.folder).values())[:-KEPT_CHECKPOINTS]:
            path.unlink(missing_ok=True)
            replay_file(path).unlink(missing_ok=True)
        self._saved_at, self._next = time.monotonic(), self._multiple()


class Interruption(BaseCallback):
    """Let training end between two steps when the process is asked to end: Ctrl-C, SIGTERM, SIGHUP. Asked again, at once.

    As a context it handles these signals, where it is in the main thread; outside of training they are a
    `KeyboardInterrupt`, all three.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signal: int | None = None
        self._is_training = False
        self._before: dict[int, Any] = {}

    def steps_until_needed(self) -> float:
        """It is content with being asked whenever compiled training comes by."""
        return np.inf

    def _on_training_start(self) -> None:
        self._is_training = True

    def _on_training_end(self) -> None:
        self._is_training = False

    def _on_step(self) -> bool:
        return self.signal is None

    def _take(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal is not None, number
        if again or not self._is_training:
            self._is_training = False
            raise KeyboardInterrupt

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # such as under nohup
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
