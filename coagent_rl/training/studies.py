"""Studies: many seeds of one agent, or of several variants of it, in one folder with one table and one figure."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from coagent_rl.files import write_whole
from coagent_rl.registry import check_algorithm, nearest
from coagent_rl.training.files import plain, write_text, write_yaml
from coagent_rl.training.hyperparameters import (
    check_env_kwargs,
    check_environment,
    check_keys,
    load_hyperparameters,
    override,
)
from coagent_rl.training.jobs import BACKENDS, ELSEWHERE, Job, Outcome, import_extra
from coagent_rl.training.results import (
    SCORES,
    STUDY_FILE,
    Key,
    Study,
    StudyRun,
    read_finished,
    read_study,
    run_folder,
)
from coagent_rl.training.run import Options, train, versions

KEPT_OPTIONS = ("n_envs", "env_kwargs", "eval_freq", "eval_episodes", "save_freq", "final_eval_episodes")
"""Options that say what a run is, and are noted in the study's file."""


def study(
    algorithm: str,
    env: str,
    settings: Mapping[str, Any] | None = None,
    seeds: Iterable[int] = range(10),
    *,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    options: Options | None = None,
    folder: Path | str | None = None,
    n_jobs: int = 1,
    backend: str = "auto",
    address: str | None = None,
    resume: bool = False,
    progress: bool = True,
    command: str = "",
) -> Study:
    """Train one model per seed, or per variant and seed. Results depend neither on ``n_jobs`` nor on the backend.

    A run that fails is named in the result and keeps no other from being made. Ctrl-C gives up the runs in progress; those
    that are finished stay.

    Args:
        algorithm: one of `coagent_rl.registry.ALGORITHMS`, or ``module:Class``.
        env: environment id, or ``module:id``.
        settings: as `train` takes them; None for those that `load_hyperparameters` finds.
        seeds: one run each.
        variants: name → settings that are replaced in it: a sweep.
        options: what each run does besides training. Callbacks and a trained agent belong to single runs and are refused.
        folder: where the study's files go, one folder per run; None writes nothing.
        n_jobs: runs at a time, -1 for as many as there are processors. A cluster with an address decides by itself.
        backend: ``"threads"`` of this process, for compiled training; ``"loky"``, processes of this machine; ``"dask"`` or
            ``"ray"``, an existing cluster, whose workers need this package but no shared folder; ``"auto"``: threads if all
            runs are compiled or made one at a time, processes otherwise.
        address: of the cluster; without one, Dask and Ray start ``n_jobs`` local processes.
        resume: complete the study in ``folder``: what is finished stays, other runs are made anew. Seeds and variants may be
            added.
        progress: show a bar over all runs and a line for each.
        command: the command to note in the study's file.

    Raises:
        ValueError: for wrong arguments, or settings with which not even the first step can be made; all before any run.
        ImportError: if the backend's package is missing.
    """
    options = options or Options()
    n_jobs = check_backend(backend, n_jobs, address)
    if options.tensorboard_log is not None and backend in ELSEWHERE:
        raise ValueError(f"A TensorBoard log cannot be written by the workers of a cluster ({backend}).")
    if resume and folder is None:
        raise ValueError("A study without a folder cannot be resumed: name its folder.")
    study = _planned(algorithm, env, settings, seeds, variants, options, folder)
    roads = {}
    for variant, complete in study.variants.items():
        # One step finds wrong settings, tells the road, and compiles in this thread what all runs need.
        trial = replace(options, final_eval_episodes=0, tensorboard_log=None, verbose=0)
        try:
            result = train(algorithm, study.env_id, override(complete, {"n_timesteps": 1}), study.seeds[0], trial)
        except ValueError as error:
            raise ValueError(f"Variant {variant}: {error}" if variant else str(error)) from error
        roads[variant] = str(result.summary["road"])
    interpreted = sorted({road for road in roads.values() if road != "compiled"})
    if backend == "auto":
        backend = "loky" if interpreted and n_jobs > 1 else "threads"
    if backend == "threads" and interpreted and n_jobs > 1:
        raise ValueError(
            f"Threads would only take turns, because training goes {interpreted[0]}. Use the backend loky, or one job."
        )
    if study.folder is not None:
        _begin(study, options, command or " ".join(["python", *sys.argv]), resume)
    missing = [key for key in study.expected() if key not in study.runs]
    jobs = [_job(study, key, options, backend) for key in missing]
    with _display(study, progress) as show:
        if missing:
            for road in sorted(set(roads.values())):
                names = ", ".join(variant for variant in roads if roads[variant] == road)
                show(f"{names or 'Training'}: {road}")
        try:
            if not jobs:
                return study
            with closing(BACKENDS[backend](jobs, min(n_jobs, len(jobs)), address)) as outcomes:
                for position, outcome in outcomes:
                    show(_take(study, missing[position], outcome, jobs[position].sends_files))
        finally:
            study.write()
    return study


def check_backend(backend: str, n_jobs: int, address: str | None) -> int:
    """Return the number of jobs that is meant; raise a ValueError or ImportError for what cannot be."""
    if backend not in ("auto", *BACKENDS):
        raise ValueError(f"Unknown backend {backend!r}. {nearest(backend, ('auto', *BACKENDS))}")
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or (n_jobs < 1 and n_jobs != -1):
        raise ValueError(f"The number of jobs must be a whole number from 1, or -1 for one a processor, not {n_jobs!r}.")
    if address is not None and backend not in ELSEWHERE:
        raise ValueError(f"An address is one of a cluster: give it with the backend dask or ray, not {backend}.")
    if backend in ELSEWHERE:
        import_extra(backend)
    return n_jobs if n_jobs > 0 else os.cpu_count() or 1


def _planned(
    algorithm: str,
    env: str,
    settings: Mapping[str, Any] | None,
    seeds: Iterable[int],
    variants: Mapping[str, Mapping[str, Any]] | None,
    options: Options,
    folder: Path | str | None,
) -> Study:
    """Check all arguments before anything is done."""
    check_algorithm(algorithm)
    env_id = check_environment(env)
    for name in ("folder", "callbacks", "trained_agent", "progress"):
        if getattr(options, name):
            raise ValueError(f"{name} belongs to a single run: the options of a study cannot have it.")
    check_env_kwargs(env_id, options.env_kwargs)
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"A study needs seeds, each of them once, not {seeds}.")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"Seeds are whole numbers from 0 on, not {seed!r}.")
    if settings is None:
        settings = load_hyperparameters(algorithm, env_id)
    check_keys(settings, algorithm, "the study's settings")
    complete = {}
    for name, changes in ({"": {}} if variants is None else variants).items():
        if variants is not None and (not re.fullmatch(r"\w[\w.,=+ -]*", name) or re.fullmatch(r"seed_\d+", name)):
            raise ValueError(
                f"The variant {name!r} needs another name: it names a folder, and may consist of letters, digits and .,=+-_."
            )
        check_keys(changes, algorithm, f"the variant {name}")
        complete[name] = override(settings, changes)
    if not complete:
        raise ValueError("A sweep needs at least one variant.")
    where = None if folder is None else Path(folder)
    return Study(algorithm, env, complete, [int(seed) for seed in seeds], folder=where)


def _job(study: Study, key: Key, options: Options, backend: str) -> Job:
    """Describe a run, and make its folder."""
    variant, seed = key
    sends_files = study.folder is not None and backend in ELSEWHERE
    if options.tensorboard_log is not None:
        options = replace(options, tensorboard_log=str(run_folder(Path(options.tensorboard_log), key)))
    if study.folder is not None:
        folder = run_folder(study.folder, key)
        shutil.rmtree(folder, ignore_errors=True)
        what = {"algo": study.algorithm, "env": study.env}
        config = {**what, "env_kwargs": options.env_kwargs, "settings": study.variants[variant]}
        write_yaml(folder / "config.yml", config)
        write_yaml(folder / "args.yml", {**what, "seed": seed, **_kept(options)})
        options = options if sends_files else replace(options, folder=folder)
    return Job(study.algorithm, study.env, study.variants[variant], seed, options, sends_files)


def _take(study: Study, key: Key, outcome: Outcome, sent: bool) -> str:
    """Put an outcome, and its files, where they belong; returns what to say of it."""
    if study.folder is not None:
        folder = run_folder(study.folder, key)
        if sent:
            for name in sorted(outcome.files, key=lambda name: name == "summary.json"):  # which says that all is there
                content = outcome.files[name]
                write_whole(folder / name, lambda beside, content=content: beside.write_bytes(content))  # type: ignore[misc]
        if outcome.details:
            write_text(folder / "error.txt", outcome.details)
    if outcome.error:
        study.failures[key] = outcome.error
        return f"{study.name(key)} failed: {outcome.error}"
    run = study.runs[key] = StudyRun(outcome.returns, outcome.lengths, outcome.summary)
    facts = [f"{score:.2f} {label}" for name, label in SCORES.items() if (score := run.score(name)) is not None]
    facts.append(f"{run.summary['steps_per_second']:.0f} steps/s")
    return f"{study.name(key)}: {', '.join(facts)}"


# ---------------------------------------------------------------------- the study's folder


def _kept(options: Options) -> dict[str, Any]:
    return {name: plain(getattr(options, name)) for name in KEPT_OPTIONS}


def _begin(study: Study, options: Options, command: str, resume: bool) -> None:
    """Note what the study is, after a look at what is there already.

    Raises:
        ValueError: if it is another study; if it is there and is not to be resumed, or the other way round.
    """
    folder = study.folder
    assert folder is not None
    there = (folder / STUDY_FILE).is_file()
    if there and not resume:
        raise ValueError(f"There is a study in {folder}: resume it, or name another folder.")
    described = {
        "algo": study.algorithm,
        "env": study.env,
        "seeds": study.seeds,
        "settings": plain(study.variants),
        "options": _kept(options),
    }
    if resume:
        before = read_study(folder)
        for name in ("algo", "env", "options"):
            if before[name] != described[name]:
                raise ValueError(f"The study in {folder} has the {name} {before[name]}, not {described[name]}.")
        if missing := sorted({*before["seeds"]} - {*study.seeds}):
            raise ValueError(f"The study in {folder} has the seeds {missing} too: they cannot be taken out of it.")
        for variant, settings in before["settings"].items():
            now = plain(study.variants).get(variant)
            if now is None:
                raise ValueError(f"The study in {folder} has the variant {variant!r} too: it cannot be taken out of it.")
            if different := sorted(name for name in {*now, *settings} if now.get(name) != settings.get(name)):
                raise ValueError(f"The study in {folder} was made with other settings of {', '.join(different)}.")
        for key in study.expected():
            if (run := read_finished(run_folder(folder, key))) is not None:
                study.runs[key] = run
    try:
        write_yaml(folder / STUDY_FILE, {"command": command, **described, "versions": versions()})
    except OSError as error:
        raise ValueError(f"The study's folder {folder} cannot be written to: {error}") from error


@contextmanager
def _display(study: Study, progress: bool) -> Iterator[Callable[[str], None]]:
    """Show a bar over all runs; yields the function that shows a line and what has changed."""
    if not progress:
        yield lambda line: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[running]}"),
        refresh_per_second=2,
    )
    task = bar.add_task("", total=len(study.expected()), completed=len(study.runs), running="")

    def show(line: str) -> None:
        scores = [score for run in study.runs.values() if (score := run.score("mean_return_all_episodes")) is not None]
        running = f"mean return {np.mean(scores):.1f}" if scores else ""
        bar.update(task, completed=len(study.runs) + len(study.failures), running=running)
        bar.console.print(line, soft_wrap=True, markup=False, highlight=False)

    with bar:
        yield show
