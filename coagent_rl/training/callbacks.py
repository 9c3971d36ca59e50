"""Callbacks of a training run."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from coagent_rl.training.clock import Clock


class EpisodeRecorder(BaseCallback):
    """Keep the return and the length of every finished episode, and stop after ``n_episodes`` of them.

    Counts episodes of all environments together. Reads what SB3's Monitor reports, so the environments need one.

    Args:
        n_episodes: stop after so many, or None.
    """

    def __init__(self, n_episodes: int | None = None) -> None:
        super().__init__()
        self.n_episodes = n_episodes
        self.returns: list[float] = []
        self.lengths: list[int] = []

    def steps_until_needed(self) -> float:
        """It is never asked for the sake of steps."""
        return np.inf

    def episodes_until_needed(self) -> float:
        """Finished episodes until it stops training."""
        return np.inf if self.n_episodes is None else self.n_episodes - len(self.returns)

    def take_episodes(self, episodes: Sequence[Mapping[str, float]]) -> None:
        """Note finished episodes, as a Monitor reports them; compiled training does not show every step."""
        for episode in episodes:
            self.returns.append(float(episode["r"]))
            self.lengths.append(int(episode["l"]))

    def _on_step(self) -> bool:
        if np.count_nonzero(self.locals["dones"]):
            if not self.locals.get("compiled"):
                self.take_episodes([info["episode"] for info in self.locals["infos"] if "episode" in info])
            return self.n_episodes is None or len(self.returns) < self.n_episodes
        return True


class ProgressBar(BaseCallback):
    """A progress bar, drawn five times a second whatever the speed of training.

    It shows time left, the speed of training alone (without compilation, evaluation and checkpoints) and the running return.

    Args:
        recorder: where the returns are.
        total: number of episodes (if the recorder stops after some) or of time steps.
        in_episodes: which of the two.
        window: number of episodes that the running return averages.
        steps_before: time steps that the model had when the run began, if it has gone on since.
        clock: of the run; one of its own without.
    """

    def __init__(
        self,
        recorder: EpisodeRecorder,
        total: int,
        in_episodes: bool,
        window: int = 100,
        steps_before: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.clock = clock or Clock()
        self.steps_before = steps_before
        self.recorder, self.total, self.in_episodes, self.window = recorder, total, in_episodes, window
        self._progress: Progress | None = None

    def _on_training_start(self) -> None:
        self._progress = Progress(
            BarColumn(bar_width=12),  # so that 80 letters are enough for a line
            MofNCompleteColumn(),
            TextColumn("episodes," if self.in_episodes else "steps,"),
            TimeRemainingColumn(),
            TextColumn("left,"),
            TextColumn("{task.fields[running]}"),
            auto_refresh=False,
        )
        if not self.clock.started:
            self.clock.start()
        self._steps_before = self.num_timesteps if self.steps_before is None else self.steps_before
        self._task = self._progress.add_task("", total=self.total, completed=self._done(), running="")
        self._drawn = 0.0
        self._progress.start()

    def steps_until_needed(self) -> float:
        """It is content with being asked whenever compiled training comes by, some hundredths of a second apart."""
        return np.inf

    def _on_step(self) -> bool:
        if (self.n_calls % 64 == 0 or self.locals.get("compiled")) and time.perf_counter() - self._drawn > 0.2:
            self._draw()
        return True

    def _done(self) -> int:
        done = len(self.recorder.returns) if self.in_episodes else self.num_timesteps - self._steps_before
        return min(done, self.total)

    def _draw(self) -> None:
        if self._progress is None:
            return
        returns = self.recorder.returns[-self.window :]
        steps = self.num_timesteps - self._steps_before
        parts = [f"{steps / self.clock.training_seconds:.0f} steps/s"] if steps else []
        parts += [f"return {np.mean(returns):.1f}"] if returns else []
        self._progress.update(self._task, completed=self._done(), running=", ".join(parts))
        self._progress.refresh()
        self._drawn = time.perf_counter()

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Draw a last time and give the terminal back, also after an error; nothing if training never started."""
        if self._progress is not None:
            self._draw()
            self._progress.stop()
            self._progress = None


class WholeFileEvalCallback(EvalCallback):
    """`EvalCallback` whose ``evaluations.npz`` appears whole or not at all, and whose time is not that of training.

    Args:
        clock: of the run.
    """

    def __init__(self, eval_env: Any, folder: Path, clock: Clock | None = None, **kwargs: Any) -> None:
        self._clock = clock or Clock()
        self._whole = folder / "evaluations.npz"
        self._beside = folder / ".evaluations.partial.npz"
        super().__init__(eval_env, log_path=str(folder), best_model_save_path=str(folder), **kwargs)
        self.log_path = str(self._beside.with_suffix(""))

    def _init_callback(self) -> None:
        with warnings.catch_warnings():
            # Both are made the same way; one that is shown in a window is stepped one by one, and so of another class.
            warnings.filterwarnings("ignore", "Training and eval env are not of the same type")
            super()._init_callback()

    KEPT = ("n_calls", "best_mean_reward", "last_mean_reward")
    LISTS = ("evaluations_timesteps", "evaluations_results", "evaluations_length", "evaluations_successes")

    def state(self) -> dict[str, Any]:
        """What it must know to go on in another process, its environment's state not included."""
        lists = {name: [np.asarray(entry) for entry in getattr(self, name)] for name in self.LISTS}
        return {**{name: getattr(self, name) for name in self.KEPT}, **lists}

    def put(self, state: Mapping[str, Any], n_calls: int) -> None:
        """Put back what `state` gave.

        Args:
            n_calls: how often it must have been called.

        Raises:
            ValueError: if it makes no sense.
        """
        if state["n_calls"] != n_calls:
            raise ValueError(f"its evaluations were made in {state['n_calls']!r} calls, not in {n_calls}")
        if not all(type(state[name]) is float and not np.isnan(state[name]) for name in self.KEPT[1:]):
            raise ValueError("the means of its evaluations are no numbers")
        times, results, lengths, successes = (state[name] for name in self.LISTS)
        n = len(times)
        for name, entries, shape in (
            ("times", times, ()),
            ("results", results, (self.n_eval_episodes,)),
            ("lengths", lengths, (self.n_eval_episodes,)),
            ("successes", successes, (self.n_eval_episodes,)),
        ):
            if len(entries) != n and (entries or entries is not successes):
                raise ValueError(f"there are {len(entries)} {name} of {n} evaluations")
            if not all(entry.shape == shape and np.isfinite(entry).all() for entry in entries):
                raise ValueError(f"the {name} of its evaluations are not those of {self.n_eval_episodes} episodes")
        for name in self.KEPT:
            setattr(self, name, state[name])
        for name in self.LISTS:
            setattr(self, name, [np.asarray(entry).tolist() for entry in state[name]])

    def steps_until_needed(self) -> float:
        """Steps until the next evaluation."""
        return self.eval_freq - self.n_calls % self.eval_freq if self.eval_freq > 0 else np.inf

    def _on_step(self) -> bool:
        with self._clock.aside():
            go_on = super()._on_step()
        if self._beside.exists():
            os.replace(self._beside, self._whole)
        return go_on
