"""Checkpoints: everything from which a run goes on as if it had never stopped, and how a run ends when it is asked to."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.decentralized_ddpg import DecentralizedDDPG
from coagent_rl.agents.saving import read_run
from coagent_rl.envs.states import continue_monitors, fresh_observations, n_episodes_of, restore, state_of
from coagent_rl.files import sync
from coagent_rl.training.callbacks import EpisodeRecorder, WholeFileEvalCallback
from coagent_rl.training.clock import Clock

SECONDS_BETWEEN = 60.0
KEPT_CHECKPOINTS = 2


def replay_file(model_file: Path) -> Path:
    """Where the replayed transitions of a saved model lie, if it replays any."""
    return model_file.with_name(f"{model_file.stem}_replay_buffer.npz")


def checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints in a run's folder by their number of time steps, oldest first."""
    found = {}
    for path in folder.glob("rl_model_*_steps.zip"):
        if match := re.fullmatch(r"rl_model_(\d+)_steps", path.stem):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


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
    """

    def __init__(
        self, env: VecEnv, recorder: EpisodeRecorder, evaluation: WholeFileEvalCallback | None, clock: Clock
    ) -> None:
        self.env, self.recorder, self.evaluation = env, recorder, evaluation
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

        Returns:
            What could not be put back, in sentences for the user.

        Raises:
            ValueError: if the checkpoint, or what lies beside it, is damaged or of another run.
        """
        state = read_run(file)
        if state is None:
            raise ValueError(f"{file} is a model, but no checkpoint from which a run goes on.")
        try:
            said = self._put(model, file, state)
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ValueError(f"{file} does not hold the state of such a run: {error!r}.") from error
        return said

    def _put(self, model: CoagentAlgorithm, file: Path, state: Mapping[str, Any]) -> list[str]:
        replays = isinstance(model, DecentralizedDDPG) and model.replay_buffer is not None
        if replays and model.load_replay_buffer(replay_file(file)) != state["replay_buffer"]:  # type: ignore[attr-defined]
            raise ValueError(f"{replay_file(file)} was not saved with {file}.")
        failed = restore(self.env, state["env"])
        continue_monitors(self.env, file.parent, state["monitored"])
        self.recorder.returns, self.recorder.lengths = state["returns"].tolist(), state["lengths"].tolist()
        self.steps_before = int(state["steps_before"])
        if (state["evaluation"] is None) != (self.evaluation is None):
            raise ValueError(f"{file} was saved with another --eval-freq.")
        if self.evaluation is not None:
            self.evaluation.put(state["evaluation"])
            restore(self.evaluation.eval_env, state["evaluation"]["env"])
        model.policy._prediction_rng.bit_generator.state = state["predictions"]
        self.clock.start(float(state["seconds"]), float(state.get("training_seconds", state["seconds"])))
        if failed:
            self._begin_episodes(model, list(failed))
        return [
            f"The running episode of environment {row} cannot be repeated ({why}): a new one begins there, so the run goes "
            f"on, but not bit for bit."
            for row, why in failed.items()
        ]

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
