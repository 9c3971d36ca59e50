"""A tuning study in Optuna (the extra ``tune``): sampler, pruner, storage, and workers that may share it."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from coagent_rl.training.trials import CHECKPOINTS, Diverged, Stopped, Task, TrialRecord

SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "tpe": lambda n, seed: optuna.samplers.TPESampler(n_startup_trials=n, seed=seed),
    "random": lambda n, seed: optuna.samplers.RandomSampler(seed=seed),
    "cmaes": lambda n, seed: optuna.samplers.CmaEsSampler(n_startup_trials=n, seed=seed, warn_independent_sampling=False),
}
PRUNERS: dict[str, Callable[[int], optuna.pruners.BasePruner]] = {
    "none": lambda n: optuna.pruners.NopPruner(),
    # Before three tenths of the first run a running mean says more about the initial parameters than about the settings.
    "median": lambda n: optuna.pruners.MedianPruner(n_startup_trials=n, n_warmup_steps=3),
    "halving": lambda n: optuna.pruners.SuccessiveHalvingPruner(min_resource=CHECKPOINTS // 2, reduction_factor=2),
}
FINISHED = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
TASK, ERROR, SCORES, DRAWN = "task", "error", "scores", "drawn"  # attributes in the storage
HEARTBEAT, GRACE = 30, 120  # seconds; a worker that is silent for longer is dead, and its trial does not count


class SeededByTrial(BaseSampler):
    """Draw every trial with a sampler of its own, seeded by ``seed`` and the trial's number.

    What a trial draws depends on its number and on what is known of other trials then, not on the process that runs it; so a
    study that goes on is the study that never stopped, and workers with the same seed do not draw the same.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._samplers: dict[int, BaseSampler] = {}

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._samplers:
            seed = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]
            self._samplers[trial.number] = self._make(int(seed))
        return self._samplers[trial.number]

    def infer_relative_search_space(self, study: Any, trial: FrozenTrial) -> dict[str, Any]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Any, trial: FrozenTrial) -> None:
        self._of(trial).before_trial(study, trial)

    def after_trial(self, study: Any, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._of(trial).after_trial(study, trial, state, values)
        del self._samplers[trial.number]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Optuna prints about every trial."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def open_study(
    task: Task, sampler: str, pruner: str, n_startup_trials: int, seed: int, storage: str | None, name: str
) -> optuna.Study:
    """Create a study, or join the one of this name in the storage.

    Raises:
        ValueError: if the storage cannot be opened, or the study there is about something else.
    """
    study = optuna.create_study(
        storage=None if storage is None else _open_storage(storage),
        sampler=SeededByTrial(lambda of_trial: SAMPLERS[sampler](n_startup_trials, of_trial), seed),
        pruner=PRUNERS[pruner](n_startup_trials),
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )
    ours = task.as_plain()
    theirs = study.user_attrs.get(TASK)
    if theirs is None:
        study.set_user_attr(TASK, ours)
    elif differs := [key for key in ours if ours[key] != theirs.get(key)]:
        what = "; ".join(f"{key} was {theirs.get(key)}, and is {ours[key]} here" for key in differs)
        raise ValueError(f"The study {name!r} in {storage} is another one: {what}. Give it another --study-name.")
    return study


def _open_storage(url: str) -> optuna.storages.BaseStorage:
    # Workers that start together may make the same tables: the slower one finds them there the next time.
    arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    for attempt in range(6):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.storages.RDBStorage(url, arguments, heartbeat_interval=HEARTBEAT, grace_period=GRACE)
        except Exception as error:
            if attempt == 5:
                raise ValueError(f"The storage {url} cannot be opened (sqlite:///study.db is one): {error}") from error
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that run or have finished; not those that were withdrawn, interrupted, or lost with their worker."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state is not TrialState.WAITING and (trial.state is not TrialState.FAIL or ERROR in trial.user_attrs)
    ]


def _give_up_lost(study: optuna.Study) -> None:
    """Fail the trials of dead workers, which Optuna does only when it begins another one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def n_running(study: optuna.Study) -> int:
    """Trials that other workers still run."""
    return sum(not trial.state.is_finished() for trial in counted(study))


def records(study: optuna.Study) -> list[TrialRecord]:
    """The finished trials in the order of their numbers."""
    return [record(trial) for trial in counted(study) if trial.state.is_finished()]


def record(trial: FrozenTrial) -> TrialRecord:
    """What is kept of a trial."""
    return TrialRecord(
        number=trial.number,
        state=FINISHED[trial.state],
        score=trial.value if trial.state is TrialState.COMPLETE else None,
        scores={int(seed): score for seed, score in trial.user_attrs.get(SCORES, {}).items()},
        parameters=dict(trial.params),
        drawn=trial.user_attrs.get(DRAWN, {}),
        error=trial.user_attrs.get(ERROR),
    )


def run_trials(
    study: optuna.Study,
    task: Task,
    n_trials: int,
    n_jobs: int,
    timeout: float | None,
    when_finished: Callable[[TrialRecord], object],
) -> None:
    """Run trials, ``n_jobs`` at a time in threads, until the study has ``n_trials`` or ``timeout`` seconds are over."""
    stop = threading.Event()
    end = np.inf if timeout is None else time.monotonic() + timeout

    def objective(trial: optuna.Trial) -> float:
        if sum(other.number < trial.number for other in counted(study)) >= n_trials:
            raise Stopped  # several workers began what they thought to be the last trial
        drawn = task.draw(trial)
        trial.set_user_attr(DRAWN, drawn)
        scores: dict[int, float] = {}
        for index, seed in enumerate(task.seeds):

            def judge(checkpoint: int, returns: np.ndarray, before: int = index * CHECKPOINTS) -> None:
                trial.report(float(np.mean([*scores.values(), task.running_score(returns)])), before + checkpoint)
                if trial.should_prune():
                    raise optuna.TrialPruned

            try:
                scores[seed] = task.score(drawn, seed, judge, stop)
            except Diverged as error:
                trial.set_user_attr(ERROR, f"seed {seed}: {error}")
                raise
            trial.set_user_attr(SCORES, {str(key): value for key, value in scores.items()})
            trial.report(float(np.mean(list(scores.values()))), (index + 1) * CHECKPOINTS)
            if len(scores) < len(task.seeds) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(list(scores.values())))

    def tell(study: optuna.Study, trial: FrozenTrial) -> None:
        if trial.state is not TrialState.FAIL or ERROR in trial.user_attrs:
            when_finished(record(trial))

    def work() -> None:
        while not stop.is_set() and time.monotonic() < end:
            _give_up_lost(study)
            if len(counted(study)) >= n_trials:
                break
            study.optimize(objective, n_trials=1, catch=(Diverged, Stopped), callbacks=[tell])

    # Always in threads: an interrupt from the keyboard reaches this one, and no run takes it for its own end.
    with ThreadPoolExecutor(n_jobs) as pool:
        try:
            for worker in as_completed([pool.submit(work) for _ in range(n_jobs)]):
                worker.result()
        except BaseException:
            stop.set()
            raise
