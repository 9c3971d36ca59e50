"""Trials of tuning: what is drawn, what is trained with it, and how that is scored. Nothing here needs Optuna."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from coagent_rl.agents.search import Trial
from coagent_rl.registry import algorithm_class
from coagent_rl.training.callbacks import EpisodeRecorder
from coagent_rl.training.files import plain
from coagent_rl.training.hyperparameters import check_keys
from coagent_rl.training.run import Options, train

OBJECTIVES = ("average", "last", "final")
"""Mean return over all training episodes, over the last 100 of them, or of greedy evaluation after training."""
CHECKPOINTS = 10
"""So often in a run it is asked whether the trial is worth going on with; the last time is its end."""

Judge = Callable[[int, np.ndarray], object]
"""Called at a checkpoint with its number, from 1, and the returns so far, shape (n_episodes,); raises to stop the run."""


class Diverged(ValueError):
    """Training had begun, and failed."""


class Stopped(Exception):
    """A run that is no longer wanted."""


class Checkpoints(EpisodeRecorder):
    """Call ``judge`` after every tenth of training but the last; training stays compiled.

    Args:
        n_timesteps, n_episodes: length of training, one of them.
        judge: asked, at every checkpoint after the first episode.
        stop: the run is given up when it is set: the interpreter interrupts its main thread only.
    """

    def __init__(
        self,
        n_timesteps: int | None,
        n_episodes: int | None,
        judge: Judge | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        super().__init__()  # how many episodes are trained, the run's own recorder says
        self.in_episodes, self.judge, self.stop = n_episodes is not None, judge, stop
        self.length, self.passed = n_episodes or n_timesteps or 0, 0

    @property
    def has_begun(self) -> bool:
        """Whether anything was learned."""
        return getattr(self, "model", None) is not None and self.model.num_timesteps > 0

    def _next(self) -> float:
        if self.judge is None or self.passed >= CHECKPOINTS - 1:
            return np.inf
        return -(-(self.passed + 1) * self.length // CHECKPOINTS)

    def steps_until_needed(self) -> float:
        """Steps until the next checkpoint, where the length is one of time steps."""
        missing = np.inf if self.in_episodes else self._next() - self.model.num_timesteps
        return max(1.0, np.ceil(missing / self.training_env.num_envs))

    def episodes_until_needed(self) -> float:
        """Episodes until the next checkpoint, where the length is one of episodes."""
        return self._next() - len(self.returns) if self.in_episodes else np.inf

    def _on_step(self) -> bool:
        super()._on_step()
        if self.stop is not None and self.stop.is_set():
            raise Stopped
        done = len(self.returns) if self.in_episodes else self.num_timesteps
        while done >= self._next():
            self.passed += 1
            if self.returns and self.judge is not None:
                self.judge(self.passed, np.array(self.returns))
        return True


@dataclass(frozen=True)
class Task:
    """What is tuned, and by which score: all that the workers of one study must agree on.

    Attributes:
        settings: constructor arguments and run settings that a trial's draws replace.
        fixed: those among them that no draw replaces.
        final_eval_episodes: number of episodes of the evaluation, where that is the objective.
        seeds: of the runs of every trial.
    """

    algorithm: str
    env_id: str
    settings: Mapping[str, Any]
    fixed: Mapping[str, Any]
    env_kwargs: Mapping[str, Any]
    n_envs: int
    objective: str
    final_eval_episodes: int
    seeds: Sequence[int]

    def as_plain(self) -> dict[str, Any]:
        """Everything as JSON holds it."""
        return dict(plain(asdict(self)))

    def draw(self, trial: Trial) -> dict[str, Any]:
        """Draw what the algorithm's `search_space` says, without what is fixed, and check its names."""
        kind = algorithm_class(self.algorithm)
        drawn = kind.search_space(Unfixed(trial, self.fixed), self.settings)
        try:
            drawn = json.loads(json.dumps(drawn))
        except TypeError as error:
            raise ValueError(f"{kind.__name__}.search_space draws what YAML cannot hold: {drawn} ({error}).") from error
        check_keys(drawn, self.algorithm, f"{kind.__name__}.search_space")
        changed = {key: value for key, value in drawn.items() if key == "policy_kwargs" or key not in self.fixed}
        if "policy_kwargs" in changed:
            parts = (part.get("policy_kwargs") or {} for part in (self.settings, drawn, self.fixed))
            changed["policy_kwargs"] = {key: value for part in parts for key, value in part.items()}
        return changed

    def score(
        self, drawn: Mapping[str, Any], seed: int, judge: Judge | None = None, stop: threading.Event | None = None
    ) -> float:
        """Train one run, writing nothing, and score it.

        Raises:
            Diverged: if training failed.
            ValueError: if it cannot begin, or no episode ended: then no other trial will do better.
        """
        settings = {**self.settings, **drawn}
        checkpoints = Checkpoints(settings.get("n_timesteps"), settings.get("n_episodes"), judge, stop)
        options = Options(
            n_envs=self.n_envs,
            env_kwargs=self.env_kwargs,
            final_eval_episodes=self.final_eval_episodes if self.objective == "final" else 0,
            callbacks=[checkpoints],
        )
        try:
            result = train(self.algorithm, self.env_id, settings, seed, options)
        except ValueError as error:
            if checkpoints.has_begun:
                raise Diverged(str(error)) from error
            raise
        if self.objective == "final":
            return float(result.summary["final_evaluation"]["mean_return"])
        if not result.returns.size:
            raise ValueError("No episode ended during training, so that there is nothing to score: train for longer.")
        return self.running_score(result.returns)

    def running_score(self, returns: np.ndarray) -> float:
        """Score of the episodes until now, shape (n_episodes,); that of the last 100 stands for an evaluation to come."""
        return float((returns if self.objective == "average" else returns[-100:]).mean())


@dataclass(frozen=True)
class Unfixed:
    """A trial that is asked only for what is not fixed; a suggestion is named after its setting (or the setting and a part).

    Of ``policy_kwargs`` the keys are fixed one by one.
    """

    trial: Trial
    fixed: Mapping[str, Any]

    def _is_fixed(self, name: str) -> bool:
        key, *parts = name.split(".")
        given = self.fixed.get("policy_kwargs")
        return parts[0] in (given or {}) if key == "policy_kwargs" and parts else key in self.fixed

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Suggest, or any number where it will not be used."""
        return low if self._is_fixed(name) else self.trial.suggest_float(name, low, high, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Suggest, or any number where it will not be used."""
        return low if self._is_fixed(name) else self.trial.suggest_int(name, low, high, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest, or the fixed value, which another setting may follow."""
        return self.fixed.get(name, choices[0]) if self._is_fixed(name) else self.trial.suggest_categorical(name, choices)


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial.

    Attributes:
        state: ``"complete"``, ``"pruned"`` or ``"failed"``.
        score: mean over the seeds, of a complete trial.
        scores: by seed, those that were reached.
        parameters: what was suggested.
        drawn: what that made of the settings.
        error: why it failed.
    """

    number: int
    state: str
    score: float | None
    scores: Mapping[int, float]
    parameters: Mapping[str, Any]
    drawn: Mapping[str, Any]
    error: str | None
