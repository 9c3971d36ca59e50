"""Tuning: many trials on seeds that nothing else uses, the best of them again on fresh seeds, and a winner by these."""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from coagent_rl.files import write_whole
from coagent_rl.registry import algorithm_folder, check_algorithm
from coagent_rl.training.files import new_run, write_json, write_text, write_yaml
from coagent_rl.training.hyperparameters import (
    check_env_kwargs,
    check_environment,
    check_keys,
    load_hyperparameters,
    override,
    parse_seeds,
)
from coagent_rl.training.run import versions
from coagent_rl.training.trials import OBJECTIVES, Diverged, Task, TrialRecord

SAMPLERS = ("tpe", "random", "cmaes")
PRUNERS = ("none", "median", "halving")


@dataclass(frozen=True)
class Candidate:
    """One of the best trials, trained again on fresh seeds.

    Attributes:
        scores: by fresh seed.
        error: why a run failed; then the candidate cannot win.
    """

    trial: TrialRecord
    scores: Mapping[int, float]
    error: str | None = None

    @property
    def score(self) -> float | None:
        """Mean over the fresh seeds."""
        return float(np.mean(list(self.scores.values()))) if self.error is None else None


@dataclass(frozen=True)
class TuningResult:
    """What tuning found.

    Attributes:
        trials: all finished ones of the study, whoever ran them.
        candidates: the best trials by the tuning seeds, best first, with their scores on fresh seeds.
        winner: the candidate with the best mean on the fresh seeds, or None: trials are still running elsewhere, or failed.
        settings: the winner's, as a YAML file for ``-conf`` holds them.
        n_running: trials that other workers of the study still run.
    """

    trials: Sequence[TrialRecord]
    candidates: Sequence[Candidate]
    winner: Candidate | None
    settings: Mapping[str, Any] | None
    n_running: int


def need_optuna(sampler: str = "tpe") -> None:
    """Raise an ImportError that names the extra where Optuna, or what a sampler needs, is missing."""
    for package in ("optuna", *(["cmaes"] if sampler == "cmaes" else [])):
        if find_spec(package) is None:
            raise ImportError(f"Tuning needs the package {package}, which is not installed: pip install 'coagent-rl[tune]'.")


def tune(
    algorithm: str,
    env_id: str,
    n_trials: int = 100,
    *,
    settings: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    objective: str = "average",
    sampler: str = "tpe",
    pruner: str = "median",
    n_startup_trials: int = 10,
    tuning_seeds: Sequence[int] = (1000, 1001),
    n_confirmed: int = 5,
    confirm_seeds: Sequence[int] = (2000, 2001, 2002, 2003, 2004),
    n_jobs: int = 1,
    seed: int = 0,
    storage: str | None = None,
    study_name: str | None = None,
    timeout: float | None = None,
    n_envs: int = 1,
    env_kwargs: Mapping[str, Any] | None = None,
    final_eval_episodes: int = 100,
    when_finished: Callable[[Sequence[TrialRecord], TrialRecord], object] | None = None,
) -> TuningResult:
    """Search for settings of an algorithm on an environment, in the algorithm's ``search_space``.

    Every trial is trained with the same seeds. The best ones are trained again on fresh seeds, by which the winner is named:
    the best of many scores is better than its settings are. (The winner's fresh score is the best of a few; a table needs
    seeds of its own.)

    Args:
        algorithm: one of `coagent_rl.registry.ALGORITHMS`, or ``module:Class``.
        n_trials: that the study shall have, finished in whatever way, those of other workers and earlier calls included.
        settings: what draws replace and what they leave, as `load_hyperparameters` gives it (the default).
        fixed: settings that no draw replaces, e.g. ``{"gamma": 0.99, "n_timesteps": 50_000}``.
        objective: ``"average"`` (mean return over all training episodes: speed of learning), ``"last"`` (over the last 100),
            or ``"final"`` (over ``final_eval_episodes`` of greedy evaluation after training).
        sampler: ``"tpe"``, ``"random"`` or ``"cmaes"`` (which draws what is not a number at random).
        pruner: what ends trials early, ``"median"``, ``"halving"`` or ``"none"``; asked between seeds and at every tenth of
            a run about the mean so far.
        n_startup_trials: that are drawn at random, and not pruned by the median, before anything is concluded from them.
        tuning_seeds, confirm_seeds: of the runs of a trial, and of those of the ``n_confirmed`` best trials.
        n_jobs: runs at a time, in threads, of which compiled ones truly run side by side.
        seed: of the sampler. With one job and one worker the same seed gives the same trials; with more, what a trial draws
            depends on which others have finished, except of the random sampler.
        storage: URL of a database (``sqlite:///study.db``), by which several processes or machines work on one study.
        study_name: in the storage [algorithm and environment].
        timeout: seconds after which no trial is begun.
        when_finished: called after each trial with all finished ones, and this one; never twice at a time.

    Raises:
        ImportError: if Optuna is missing.
        ValueError: for arguments out of range; if training cannot begin with these settings; if no trial was completed.
    """
    least = {"n_trials": (n_trials, 1), "n_jobs": (n_jobs, 1), "n_envs": (n_envs, 1), "n_confirmed": (n_confirmed, 1)}
    least |= {"final_eval_episodes": (final_eval_episodes, 1)} if objective == "final" else {}
    for name, (value, smallest) in {**least, "n_startup_trials": (n_startup_trials, 0), "seed": (seed, 0)}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ValueError(f"{name} must be a whole number from {smallest}, not {value!r}.")
    choices = {"objective": (objective, OBJECTIVES), "sampler": (sampler, SAMPLERS), "pruner": (pruner, PRUNERS)}
    for name, (given, known) in choices.items():
        if given not in known:
            raise ValueError(f"{name} must be one of {known}, not {given!r}.")
    for name, seeds in (("tuning_seeds", tuning_seeds), ("confirm_seeds", confirm_seeds)):
        if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
            raise ValueError(f"{name} must be different whole numbers from 0, not {list(seeds)}.")
    if both := sorted(set(tuning_seeds) & set(confirm_seeds)):
        raise ValueError(f"confirm_seeds must be fresh, but {both} are among tuning_seeds.")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}.")
    if storage is not None and "://" not in storage:
        raise ValueError(f"storage must be the URL of a database, such as sqlite:///study.db, not {storage!r}.")
    need_optuna(sampler)
    check_algorithm(algorithm)
    env_id = check_environment(env_id)
    fixed, env_kwargs = dict(fixed or {}), dict(env_kwargs or {})
    check_env_kwargs(env_id, env_kwargs)
    settings = override(load_hyperparameters(algorithm, env_id) if settings is None else settings, fixed)
    check_keys(settings, algorithm, "settings")

    from coagent_rl.training import optuna_study

    task = Task(algorithm, env_id, settings, fixed, env_kwargs, n_envs, objective, final_eval_episodes, list(tuning_seeds))
    name = study_name or f"{algorithm}-{env_id}"
    lock = threading.Lock()

    def tell(record: TrialRecord) -> None:
        if when_finished is not None:
            with lock:
                when_finished(optuna_study.records(study), record)

    with optuna_study.quiet():  # what there is to say, `when_finished` says
        study = optuna_study.open_study(task, sampler, pruner, n_startup_trials, seed, storage, name)
        optuna_study.run_trials(study, task, n_trials, n_jobs, timeout, tell)
    trials, n_running = optuna_study.records(study), optuna_study.n_running(study)
    if n_running:
        return TuningResult(trials, [], None, None, n_running)
    best = best_trials(trials, n_confirmed)
    if not best:
        why = next((trial.error for trial in trials if trial.error), "no trial was finished in the time given")
        raise ValueError(f"None of {len(trials)} trials was completed ({why}).")
    candidates = confirm(task, best, confirm_seeds, n_jobs)
    winner = choose(candidates)
    return TuningResult(trials, candidates, winner, {**settings, **winner.trial.drawn} if winner else None, 0)


def best_trials(trials: Sequence[TrialRecord], number: int) -> list[TrialRecord]:
    """The best completed trials by their scores on the tuning seeds, best first; of equal ones, the earlier first."""
    complete = [(trial.score, trial) for trial in trials if trial.score is not None]
    return [trial for _, trial in sorted(complete, key=lambda pair: (-pair[0], pair[1].number))[:number]]


def confirm(task: Task, trials: Sequence[TrialRecord], seeds: Sequence[int], n_jobs: int = 1) -> list[Candidate]:
    """Train trials again on fresh seeds, all of them to the end."""
    stop = threading.Event()

    def score(trial: TrialRecord, seed: int) -> float | str:
        try:
            return task.score(trial.drawn, seed, stop=stop)
        except Diverged as error:
            return f"seed {seed}: {error}"

    with ThreadPoolExecutor(n_jobs) as pool:
        try:
            futures = [[pool.submit(score, trial, seed) for seed in seeds] for trial in trials]
            outcomes = [[future.result() for future in row] for row in futures]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    candidates = []
    for trial, outcome in zip(trials, outcomes, strict=True):
        scores = {seed: found for seed, found in zip(seeds, outcome, strict=True) if not isinstance(found, str)}
        error = next((found for found in outcome if isinstance(found, str)), None)
        candidates.append(Candidate(trial, scores, error))
    return candidates


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the best mean on the fresh seeds; None where all failed."""
    eligible = [(candidate.score, candidate) for candidate in candidates if candidate.score is not None]
    return max(eligible, key=lambda pair: pair[0])[1] if eligible else None


# ------------------------------------------------------------------ files


def write_trials(path: Path, trials: Sequence[TrialRecord], seeds: Sequence[int]) -> None:
    """Write all trials as a table: number, state, scores, what was suggested, the settings of that, errors."""
    parameters = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    rows: list[list[Any]] = [
        ["trial", "state", "score", *(f"score_{seed}" for seed in seeds), *parameters, "settings", "error"]
    ]
    for trial in trials:
        scores = [trial.scores.get(seed) for seed in seeds]
        suggested = [trial.parameters.get(name) for name in parameters]
        rows.append([trial.number, trial.state, trial.score, *scores, *suggested, json.dumps(trial.drawn), trial.error])

    def write(beside: Path) -> None:
        with open(beside, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    write_whole(path, write)


def describe(candidate: Candidate) -> dict[str, Any]:
    """A candidate's scores before and after it was trained again."""
    return {
        "trial": candidate.trial.number,
        "tuning_score": candidate.trial.score,
        "tuning_scores": candidate.trial.scores,
        "fresh_score": candidate.score,
        "fresh_scores": candidate.scores,
        "error": candidate.error,
    }


# ------------------------------------------------------------------ the command


def command(
    arguments: argparse.Namespace,
    algorithm: str,
    env_id: str,
    settings: Mapping[str, Any],
    fixed: Mapping[str, Any],
    env_kwargs: Mapping[str, Any],
    words: Sequence[str],
) -> Path:
    """Do what ``train.py --optimize`` says, and return the folder with ``trials.csv``, ``tuning.json`` and the YAML file."""
    need_optuna(arguments.sampler)
    for name in ("trained_agent", "tensorboard_log"):
        if getattr(arguments, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} does not go with --optimize, whose runs start anew and write nothing."
            )
    tuning_seeds, confirm_seeds = parse_seeds(arguments.tuning_seeds), parse_seeds(arguments.confirm_seeds)
    seed = arguments.seed if arguments.seed is not None else int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    folder = new_run(Path(arguments.log_folder), algorithm_folder(algorithm), f"{env_id}_tuning")
    write_text(folder / "command.txt", shlex.join(["python", *words]) + "\n")
    print(f"Tuning {algorithm} on {env_id} (seed {seed}) in {folder}")

    def tell(trials: Sequence[TrialRecord], trial: TrialRecord) -> None:
        write_trials(folder / "trials.csv", trials, tuning_seeds)
        best = best_trials(trials, 1)
        text = {"complete": f"{trial.score}", "failed": f"failed ({trial.error})"}.get(trial.state, trial.state)
        if trial.score is not None:
            text = f"{trial.score:.2f}"
        so_far = f"; best {best[0].score:.2f} (trial {best[0].number})" if best else ""
        print(f"trial {trial.number}: {text}{so_far}; {len(trials)} of {arguments.n_trials}", flush=True)

    try:
        result = tune(
            algorithm,
            env_id,
            arguments.n_trials,
            settings=settings,
            fixed=fixed,
            objective=arguments.objective,
            sampler=arguments.sampler,
            pruner=arguments.pruner,
            n_startup_trials=arguments.n_startup_trials,
            tuning_seeds=tuning_seeds,
            n_confirmed=arguments.confirm,
            confirm_seeds=confirm_seeds,
            n_jobs=arguments.n_jobs,
            seed=seed,
            storage=arguments.storage,
            study_name=arguments.study_name,
            timeout=arguments.timeout,
            n_envs=arguments.n_envs,
            env_kwargs=env_kwargs,
            final_eval_episodes=arguments.final_eval_episodes,
            when_finished=tell,
        )
    except BaseException as error:
        if not (folder / "trials.csv").is_file():
            shutil.rmtree(folder)  # it failed before the first trial ended: leave no empty folder
        elif isinstance(error, KeyboardInterrupt):
            print(f"Interrupted. The trials that finished are in {folder / 'trials.csv'}.", flush=True)
        raise
    write_trials(folder / "trials.csv", result.trials, tuning_seeds)
    write_json(
        folder / "tuning.json",
        {
            "command": ["python", *words],
            "algo": algorithm,
            "env": env_id,
            "env_kwargs": env_kwargs,
            "settings": settings,
            "fixed": fixed,
            "seed": seed,
            **{name: getattr(arguments, name) for name in ("objective", "sampler", "pruner", "n_startup_trials", "n_jobs")},
            "tuning_seeds": tuning_seeds,
            "confirm_seeds": confirm_seeds,
            "trials": dict(Counter(trial.state for trial in result.trials)),
            "running_elsewhere": result.n_running,
            "best_before_confirmation": describe(result.candidates[0]) if result.candidates else None,
            "winner": describe(result.winner) if result.winner else None,
            "candidates": [describe(candidate) for candidate in result.candidates],
            "versions": {**versions(), "optuna": metadata.version("optuna")},
        },
    )
    _report(folder, result, algorithm, env_id)
    return folder


def _report(folder: Path, result: TuningResult, algorithm: str, env_id: str) -> None:
    states = Counter(trial.state for trial in result.trials)
    print(f"{len(result.trials)} trials: {', '.join(f'{number} {state}' for state, number in states.items())}")
    if result.n_running:
        print(f"{result.n_running} more are run elsewhere; the last to finish names the winner, as this command does then.")
        return
    print("trial   tuning seeds   fresh seeds (mean ± standard deviation, ddof 1)")
    for candidate in result.candidates:
        fresh = f"failed: {candidate.error}" if candidate.score is None else f"{candidate.score:.2f}"
        if candidate.score is not None and len(candidate.scores) > 1:
            fresh += f" ± {np.std(list(candidate.scores.values()), ddof=1):.2f}"
        print(f"{candidate.trial.number:5d} {candidate.trial.score:14.2f}   {fresh}")
    if result.winner is None or result.settings is None:
        raise ValueError(f"All of the best trials failed on fresh seeds; they are in {folder / 'tuning.json'}.")
    path = folder / f"{algorithm_folder(algorithm)}.yml"
    write_yaml(path, {env_id: result.settings})
    print(f"The winner on fresh seeds is trial {result.winner.trial.number}. Train with -conf {path}")
