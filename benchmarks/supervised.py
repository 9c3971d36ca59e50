"""The figures of Gupta et al. (2021), and a table of all rules: ``python -m benchmarks.supervised figure3a --data mnist``.

A run is one compact file in ``benchmarks/results/supervised/<data>/<system>/``: curves in float32, and settings. Runs that
are there are not made again, and figures share the systems that they have in common. A run that is stopped, or asked for
more epochs, goes on from its checkpoint (``.pkl``, beside the file, not kept in the repository). Each command then writes
its table and its figure from the files that are there.

``rules --tune N`` first tunes every row of the table: N trials each, the same settings for all, half as many epochs as the
runs, judged by accuracy on the validation set; ``rules`` then trains with the best settings of a row, or the estimator's own
where nothing was tuned.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_search import log_uniform, read_trials
from benchmarks.runs import RESULTS
from benchmarks.supervised_figures import (
    BOSTON,
    FIGURES,
    IMAGES,
    RULES,
    WALK,
    Figure,
    Line,
    System,
    curve_of,
    draw_figure,
)
from benchmarks.tables import with_interval
from coagent_rl.envs.piecewise_random_walk import PiecewiseRandomWalk
from coagent_rl.files import write_whole
from coagent_rl.supervised import CoagentClassifier, CoagentRegressor
from coagent_rl.supervised.data import Data, load
from coagent_rl.training.files import write_text
from coagent_rl.training.hyperparameters import parse_seeds

FOLDER = "supervised"
UPDATES_PER_SEGMENT = 1600
TUNING_SEED = 1000
SECONDS_BETWEEN_CHECKPOINTS = 60.0
EVERY = {BOSTON: 10}
"""Epochs between two entries of a curve; one where nothing is said."""


@dataclass(frozen=True)
class Run:
    """A system with a seed, and for how long it is trained: epochs, or segments of the walk."""

    system: System
    seed: int
    epochs: int

    @property
    def path(self) -> Path:
        """Where the result lies."""
        return RESULTS / FOLDER / self.system.data / self.system.name / f"seed_{self.seed}.npz"


def plain(value: Any) -> Any:
    """Settings as JSON knows them."""
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: asdict(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def read(run: Run) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Curves and facts of a run, or None where there are none, or not yet of as many epochs.

    Raises:
        ValueError: if the file was made with other settings.
    """
    if not run.path.exists():
        return None
    with np.load(run.path) as file:
        facts = json.loads(str(file["facts"]))
        curves = {name: file[name] for name in file.files if name != "facts"}
    wanted = json.loads(json.dumps(plain(run.system.arguments)))
    if wanted != facts["arguments"]:
        different = sorted(key for key in {*wanted, *facts["arguments"]} if wanted.get(key) != facts["arguments"].get(key))
        raise ValueError(f"{run.path} was made with other settings ({', '.join(different)}): delete it to run it anew.")
    return (curves, facts) if curves["epoch"][-1] >= run.epochs else None


class Training:
    """A run on its way: the estimator, its curves, and how fast it learned; its attributes are what a checkpoint holds."""

    def __init__(self, run: Run) -> None:
        arguments = {**run.system.arguments, "random_state": run.seed}
        if run.system.data == WALK:
            self.estimator: Any = CoagentRegressor(**arguments)
        else:
            kind = CoagentRegressor if run.system.data == BOSTON else CoagentClassifier
            self.estimator = kind(**arguments, warm_start=True, max_iter=EVERY.get(run.system.data, 1))
        self.arguments = plain(run.system.arguments)
        self.curves: dict[str, list[float]] = {}
        self.epoch = 0
        self.updates = 0
        self.speeds: list[float] = []

    def learn(self, data: Data) -> None:
        """Train until the next entry of the curves, and add it."""
        started = time.process_time()
        self.estimator.fit(*data.training)
        seconds = time.process_time() - started
        self.epoch += self.estimator.max_iter
        entry = {name: self._score(*part) for name, part in data._asdict().items()}
        for name in ("entropy", "sparsity"):
            entry |= {f"{name}_{layer}": value for layer, value in enumerate(self.estimator.history_[name][-1])}
        self._note(entry, seconds)

    def walk(self, batches: Iterable[tuple[np.ndarray, np.ndarray]], test: tuple[np.ndarray, np.ndarray]) -> None:
        """Learn from the batches of a segment, and add an entry to the curves."""
        X, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        started = time.process_time()
        self.estimator.partial_fit(X, y)  # in batches of its own size, which is that of the walk
        seconds = time.process_time() - started
        self.epoch += 1
        self._note({"test": self._score(*test)}, seconds)

    def _note(self, entry: Mapping[str, float], seconds: float) -> None:
        for name, value in {"epoch": self.epoch, **entry}.items():
            self.curves.setdefault(name, []).append(float(value))
        before, self.updates = self.updates, int(self.estimator.learner_.n_updates)
        self.speeds.append((self.updates - before) / max(seconds, 1e-9))

    def _score(self, X: np.ndarray, y: np.ndarray) -> float:
        """Accuracy, or the mean squared error."""
        if isinstance(self.estimator, CoagentClassifier):
            return float(self.estimator.score(X, y))
        return float(np.mean(np.square(self.estimator.predict(X) - y)))


def execute(run: Run) -> None:
    """Train, from the checkpoint if there is one that fits, and write the run's file whole."""
    checkpoint = run.path.with_suffix(".pkl")
    training = Training(run)
    if checkpoint.exists():
        kept = pickle.loads(checkpoint.read_bytes())
        if kept["arguments"] == training.arguments and kept["epoch"] <= run.epochs:
            vars(training).update(kept)
    if run.system.data == WALK:
        walk = PiecewiseRandomWalk(run.system.correlation, run.epochs, UPDATES_PER_SEGMENT, seed=run.seed)
        stream, test = islice(walk, training.epoch * UPDATES_PER_SEGMENT, None), walk.test_set()
    else:
        data = load(run.system.data)
    saved = time.monotonic()
    while training.epoch < run.epochs:
        if run.system.data == WALK:
            training.walk(islice(stream, UPDATES_PER_SEGMENT), test)
        else:
            training.learn(data)
        if training.epoch >= run.epochs or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            write_whole(checkpoint, lambda beside: beside.write_bytes(pickle.dumps(vars(training))))
            saved = time.monotonic()
    facts = {
        "data": run.system.data,
        "arguments": training.arguments,
        "correlation": run.system.correlation,
        "seed": run.seed,
        "updates": training.updates,
        "updates_per_cpu_second": float(np.median(training.speeds)),
    }
    curves = {name: np.array(values, np.float32) for name, values in training.curves.items()}
    write_whole(run.path, lambda beside: np.savez_compressed(beside, facts=np.array(json.dumps(facts)), **curves))
    print(f"{run.system.data} {run.system.name} seed {run.seed}: {training.curves['test'][-1]:.4g} on test data", flush=True)


def execute_all(runs: Sequence[Run], n_jobs: int) -> None:
    """Make those runs that are not there yet, ``n_jobs`` at a time; a run that fails keeps no other from being made.

    Raises:
        ValueError: for a file made with other settings, before anything is run; at the end, naming the runs that failed.
    """
    from joblib import Parallel, delayed

    missing = [run for run in runs if read(run) is None]
    for name in {run.system.data for run in missing} - {WALK}:
        load(name)  # says at once that it is not there
    print(f"{len(runs) - len(missing)} of {len(runs)} runs are there already.", flush=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failures = [text for text in Parallel(n_jobs=n_jobs)(delayed(_failure)(run) for run in missing) if text]
    if failures:
        raise ValueError("These runs failed:\n" + "\n".join(failures))


def _failure(run: Run) -> str:
    try:
        execute(run)
    except ValueError as error:
        return f"{run.system.data} {run.system.name} seed {run.seed}: {error}"
    return ""


# ---------------------------------------------------------------------- tables and figures


def found(system: System, seeds: Sequence[int]) -> list[tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """Curves and facts of the runs that are there."""
    results = [read(Run(system, seed, 0)) for seed in seeds]
    return [result for result in results if result is not None]


def together(runs: Sequence[Mapping[str, np.ndarray]], curve: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs, and the curve of every run as far as all of them go, shape (n_runs, n_entries)."""
    n = min(len(run["epoch"]) for run in runs)
    return runs[0]["epoch"][:n], np.array([run[curve][:n] for run in runs], np.float64)


def table(figure: Figure, seeds: Sequence[int]) -> str:
    """One row a line of the figure: its mean over the run, and its last value."""
    rows = [
        "| panel | curve | of | runs | epochs | mean over the run [95 %] | last value [95 %] |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in figure.lines:
        runs = [curves for curves, _ in found(line.system, seeds)]
        if not runs:
            rows.append(f"| {line.panel} | {line.label} | {line.curve} | 0 | | | |")
            continue
        epochs, values = together(runs, line.curve)
        most = 1.0 if line.system.data in IMAGES else np.inf
        numbers = f"{with_interval(values.mean(axis=1), 3, most)} | {with_interval(values[:, -1], 3, most)}"
        rows.append(f"| {line.panel} | {line.label} | {line.curve} | {len(runs)} | {epochs[-1]:.0f} | {numbers} |")
    return f"# {figure.title}\n\n" + "\n".join(rows) + "\n"


def draw(path: Path, figure: Figure, seeds: Sequence[int]) -> None:
    """Draw a figure from the runs that are there."""

    def curves(line: Line) -> tuple[np.ndarray, np.ndarray] | None:
        runs = [curves for curves, _ in found(line.system, seeds)]
        return together(runs, line.curve) if runs else None

    draw_figure(path, figure, curves)


def make_figure(arguments: argparse.Namespace) -> None:
    """Run what is missing, then write table and figure."""
    figure, seeds = FIGURES[arguments.command](arguments.data), parse_seeds(arguments.seeds)
    systems = dict.fromkeys(line.system for line in figure.lines if arguments.only in (None, line.system.data))
    if not systems:
        raise SystemExit(f"{arguments.command} has nothing on {arguments.only}.")
    length = {system: arguments.epochs or figure.epochs[system.data] for system in systems}
    execute_all([Run(system, seed, length[system]) for seed in seeds for system in systems], arguments.n_jobs)
    folder = RESULTS / FOLDER
    text = table(figure, seeds)
    write_text(folder / f"{arguments.command}_{arguments.data}.md", text)
    print(text)
    draw(folder / f"{arguments.command}_{arguments.data}.png", figure, seeds)


# ---------------------------------------------------------------------- the table of rules


def trials_path(data: str, row: str, depth: int) -> Path:
    """Where the trials of a row lie."""
    return RESULTS / FOLDER / "tuning" / f"{slug(row)}_{depth}-{data}.jsonl"


def slug(text: str) -> str:
    """Letters and digits of a name, for a file."""
    return "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def rule_system(data: str, row: str, depth: int, drawn: Mapping[str, Any]) -> System:
    """What a row trains."""
    return System(f"rules_{slug(row)}_{depth}", data, {"hidden_layer_sizes": [64] * depth, **RULES[row], **drawn})


def draw_settings(depth: int, trial: int) -> dict[str, Any]:
    """Settings of a trial, the same for every row: one rate of the hidden layers, one of the output layer."""
    rng = np.random.default_rng(trial)
    hidden, output = log_uniform(rng, 2.0**-15, 2.0**-7), log_uniform(rng, 2.0**-13, 2.0**-7)
    return {"learning_rate": [hidden] * depth + [output]}


def tune(data: str, row: str, depth: int, n_trials: int, epochs: int) -> None:
    """Make the trials of a row that are missing: a run that diverges scores 0."""
    path = trials_path(data, row, depth)
    missing = range(len(read_trials(path)), n_trials)
    if not missing:
        return
    parts = load(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in missing:
        drawn = draw_settings(depth, number)
        arguments = rule_system(data, row, depth, drawn).arguments
        try:
            model = CoagentClassifier(**arguments, max_iter=epochs, random_state=TUNING_SEED).fit(*parts.training)
            score = float(model.score(*parts.validation))
        except ValueError:
            score = 0.0
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"trial": number, "score": score, "epochs": epochs, "drawn": drawn}) + "\n")
        print(f"{row}, {depth} layers, trial {number}: {score:.4f} {drawn}", flush=True)


def best_settings(data: str, row: str, depth: int) -> tuple[dict[str, Any], int]:
    """Settings of the best trial, and of how many; none of no trials."""
    trials = read_trials(trials_path(data, row, depth))
    return (max(trials, key=lambda trial: trial["score"])["drawn"] if trials else {}), len(trials)


def make_rules(arguments: argparse.Namespace) -> None:
    """Tune what is to be tuned, train what is missing, and write table and figure."""
    from joblib import Parallel, delayed

    data, seeds, epochs = arguments.data, parse_seeds(arguments.seeds), arguments.epochs or 10
    rows = [(row, depth) for depth in (1, 2) for row in RULES]
    if arguments.tune:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        jobs = (delayed(tune)(data, row, depth, arguments.tune, -(-epochs // 2)) for row, depth in rows)
        Parallel(n_jobs=arguments.n_jobs)(jobs)
    best = {(row, depth): best_settings(data, row, depth) for row, depth in rows}
    systems = {(row, depth): rule_system(data, row, depth, drawn) for (row, depth), (drawn, _) in best.items()}
    execute_all([Run(system, seed, epochs) for seed in seeds for system in systems.values()], arguments.n_jobs)
    lines = [
        f"# One row a rule: {data}, hidden layers of 64 units\n",
        "| hidden layers | rule | trials | rates | runs | epochs | test accuracy [95 %] | validation | updates/CPU s |",
        "|---" * 9 + "|",
    ]
    for (row, depth), system in systems.items():
        results = found(system, seeds)
        epoch, test = together([curves for curves, _ in results], "test")
        _, validation = together([curves for curves, _ in results], "validation")
        speed = np.median([facts["updates_per_cpu_second"] for _, facts in results])
        drawn, n_trials = best[row, depth]
        rates = ", ".join(f"{rate:g}" for rate in drawn.get("learning_rate", ())) or "the estimator's"
        accuracies = f"{with_interval(test[:, -1], 4, 1.0)} | {validation[:, -1].mean():.4f}"
        lines.append(
            f"| {depth} | {row} | {n_trials} | {rates} | {len(results)} | {epoch[-1]:.0f} | {accuracies} | {speed:.0f} |"
        )
    folder = RESULTS / FOLDER
    write_text(folder / f"rules_{data}.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    curves = tuple(Line(f"{depth} × 64 units", row, system, curve_of(data)) for (row, depth), system in systems.items())
    draw(folder / f"rules_{data}.png", Figure("Rules", curves, {data: epochs}), seeds)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(required=True, dest="command")
    for name, figure in FIGURES.items():
        commands.add_parser(name, help=figure.__doc__).set_defaults(run=make_figure)
    rules = commands.add_parser("rules", help="one row a rule, one and two hidden layers")
    rules.set_defaults(run=make_rules)
    rules.add_argument("--tune", type=int, metavar="N", help="trials of every row, on the validation set")
    for name, command in commands.choices.items():
        command.add_argument("--seeds", default="0-4", help="such as 0-9 or 0,3,5 [0-4]")
        command.add_argument("--n-jobs", type=int, default=1, help="processes; the results do not depend on it")
        command.add_argument("--epochs", type=int, help="or segments of the walk [as in the paper, or what is affordable]")
        command.add_argument("--data", choices=IMAGES, default="digits", help="images, where the figure has them [digits]")
        if name != "rules":
            command.add_argument("--only", choices=(*IMAGES, BOSTON), help="make only the runs on this data set")
    arguments = p.parse_args(argv)
    if arguments.epochs is not None and arguments.epochs < 1:
        p.error(f"--epochs must be 1 or more, not {arguments.epochs}.")
    arguments.run(arguments)


if __name__ == "__main__":
    main()
