"""Reading the episodes of runs from wherever they lie: folders of ``train.py``, studies of many, results of benchmarks."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from coagent_rl.analysis.known import TASKS, in_order, written_name
from coagent_rl.training.files import read_config, whole_returns
from coagent_rl.training.reading import read_summary, read_yaml

_log = logging.getLogger(__name__)

LONGEST_DIFFERENCE = 45  # characters in a label
MONITOR = ".monitor.csv"
LOOKED_FOR = "a run is a folder with a config.yml and a monitor file, as train.py leaves it, or a results file seed_<k>.npz"


@dataclass(frozen=True)
class Curve:
    """The episodes of one training run.

    Attributes:
        label: the method, as it is written in tables and figures.
        env: environment id.
        seed: of the run, where it is known.
        returns: of all finished episodes in the order in which they ended, shape (n_episodes,).
        lengths: in time steps, shape (n_episodes,), where they are known.
        ends: time step of training, of all environments together, at which each episode ended, shape (n_episodes,), where
            that is not the sum of the lengths.
        timesteps: length of training, where it is known.
        final_score: mean return of the evaluation after training, where there was one.
        source: where it was read from.
        algo: name of the algorithm on the command line, where it is known.
    """

    label: str
    env: str
    seed: int | None
    returns: np.ndarray
    lengths: np.ndarray | None = None
    ends: np.ndarray | None = None
    timesteps: int | None = None
    final_score: float | None = None
    source: str = ""
    algo: str = ""

    def end_steps(self) -> np.ndarray:
        """Time step of training at which each episode ended, shape (n_episodes,).

        Raises:
            ValueError: where lengths are not known.
        """
        if self.ends is not None:
            return self.ends
        if self.lengths is None:
            raise ValueError(f"The lengths of the episodes in {self.source} are not known, so there are no time steps.")
        return np.cumsum(self.lengths, dtype=np.int64)


# ---------------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Found:
    """A run, what it was trained with (key → JSON of the value) and the collection that it belongs to."""

    curve: Curve
    settings: Mapping[str, str] = field(default_factory=dict)
    place: str = ""


def read_runs(paths: Iterable[Path | str], labels: Sequence[str] | None = None) -> list[Curve]:
    """Read all runs in and below some folders: runs of ``train.py``, studies of many, results of benchmarks.

    Runs of the same method on the same environment with the same settings (their length aside) have the same label: they
    are the seeds of one curve. Where settings differ, the label says how. Runs without a finished episode are left out; a
    warning names them.

    Args:
        paths: folders, or single results files.
        labels: one per path, instead of the name of the method.

    Raises:
        FileNotFoundError: for a path that is not there.
        ValueError: for a path without any run, or whose runs have all not finished an episode; for a file that cannot be
            read; for another number of labels than of paths.
    """
    folders = [Path(path) for path in paths]
    if labels is not None and len(labels) != len(folders):
        raise ValueError(
            f"Each of the {len(folders)} folders needs a label, but there are {len(labels)}: {', '.join(labels)}."
        )
    found: dict[Path, _Found] = {}
    for index, path in enumerate(folders):
        if not path.exists():
            raise FileNotFoundError(f"There is no folder {path}.")
        read = {place: _read_run(place, path) if place.is_dir() else _read_results(place) for place in _places(path)}
        here = {place: run for place, run in read.items() if run is not None}
        if not here:
            raise ValueError(f"There is no run in {path}: {LOOKED_FOR}.")
        begun = {place: run for place, run in here.items() if run.curve.returns.size}
        if not begun:
            raise ValueError(f"No run in {path} has a finished episode yet ({', '.join(map(str, here))}).")
        for place in here:
            if place not in begun:
                _log.warning("%s has no finished episode yet and is left out.", place)
        if labels is not None:
            several = len({run.curve.label for run in begun.values()}) > 1
            for place, run in begun.items():
                label = f"{run.curve.label}, {labels[index]}" if several else labels[index]
                begun[place] = replace(run, curve=replace(run.curve, label=label))
        for place, run in begun.items():
            found.setdefault(place.resolve(), run)
    curves = _told_apart(list(found.values()))
    for (label, env), group in _grouped(curves).items():
        seeds = [curve.seed for curve in group if curve.seed is not None]
        for seed in sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            _log.warning(
                "%s on %s: seed %d is there %d times, so runs are not independent.", label, env, seed, seeds.count(seed)
            )
    return curves


def _places(path: Path) -> list[Path]:
    """Run folders and results files in and below a path, in alphabetical order; nothing is looked for inside a run."""
    if path.is_file():
        return [path]
    places = []
    for folder, below, files in os.walk(path):
        if "config.yml" in files and any(name.endswith(MONITOR) for name in files):
            places.append(Path(folder))
            below.clear()
        else:
            below.sort()
            places += [Path(folder, name) for name in sorted(files) if name.endswith(".npz")]
    return places


def _read_run(folder: Path, given: Path) -> _Found:
    config = read_config(folder)
    arguments = read_yaml(folder / "args.yml") if (folder / "args.yml").is_file() else {}
    if not isinstance(arguments, dict):
        raise ValueError(f"{folder / 'args.yml'} does not hold the arguments of a run.")
    monitors = sorted(folder.glob(f"*{MONITOR}"), key=lambda path: (len(path.name), path.name))
    parts = [_read_monitor(path) for path in monitors]
    returns, lengths = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
    # Environments side by side step together: an episode that ends after n of its own steps ends at n times their number.
    ends = np.concatenate([np.cumsum(part[1]) for part in parts]) * len(parts)
    order = np.argsort(ends, kind="stable")
    summary = read_summary(folder) or {}
    env = config["env"].rpartition(":")[2]
    final = summary.get("final_evaluation")
    curve = Curve(
        written_name(config["algo"]),
        env,
        summary.get("seed", arguments.get("seed")),
        returns[order],
        lengths[order],
        ends[order],
        None if summary.get("timesteps") is None else int(summary["timesteps"]),
        None if final is None else float(final["mean_return"]),
        str(folder),
        config["algo"],
    )
    settings = {"algo": config["algo"], **config["settings"], "env_kwargs": config["env_kwargs"]}
    if len(parts) > 1:
        settings["n_envs"] = len(parts)
    if arguments.get("trained_agent") is not None:  # it went on from there
        settings["trained_agent"] = arguments["trained_agent"]
    return _Found(curve, _flat(settings), str(given))


def _read_monitor(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths in a monitor file, in the order in which they were written; a last line cut short is left out."""
    text = path.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()[1:]
    try:
        names = lines[0].split(",")
        columns = names.index("r"), names.index("l")
        if len(lines) == 1:
            return np.zeros(0), np.zeros(0, np.int64)
        values = np.loadtxt(lines[1:], delimiter=",", usecols=columns, ndmin=2)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} is not a monitor file with columns r and l: {error}.") from error
    return values[:, 0], values[:, 1].astype(np.int64)


_LENGTHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "CartPole-v1": lambda returns: returns.astype(np.int64),
    "Acrobot-v1": lambda returns: np.minimum(1 - returns.astype(np.int64), 500),
    "MountainCar-v0": lambda returns: -returns.astype(np.int64),
    "Pendulum-v1": lambda returns: np.broadcast_to(np.int64(200), returns.shape),
    "coagent_rl/Multiplexer-v0": lambda returns: np.broadcast_to(np.int64(1), returns.shape),
}
"""Lengths of episodes by their returns, where rewards tell them: believed where they sum up to the run's time steps."""


def _read_results(path: Path) -> _Found | None:
    """Read a results file of the benchmarks; None for one that holds something else than a run."""
    try:
        with np.load(path) as file:
            if "facts" not in file.files or not {"returns", "wins"} & set(file.files):
                return None
            facts = json.loads(str(file["facts"]))
            if "episodes" not in facts and "returns" not in file.files:
                return None
            returns = whole_returns(file, int(facts.get("episodes", 0)))
            lengths = file["lengths"].astype(np.int64) if "lengths" in file.files else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    env, steps, settings = str(facts["env"]), facts.get("timesteps"), facts.get("settings", {})
    if lengths is None and env in _LENGTHS and steps is not None:
        derived = _LENGTHS[env](returns)
        # Training for a number of steps may end within an episode, of at most 500 steps in these environments.
        if 0 <= steps - derived.sum() < (500 if settings.get("n_timesteps") else 1):
            lengths = derived
    final = facts.get("final_evaluation")
    method, table = path.parent.parent, path.parent.parent.parent
    curve = Curve(
        written_name(facts.get("method", method.name)),
        env,
        facts.get("seed"),
        returns,
        lengths,
        timesteps=steps,
        final_score=None if final is None else float(final["mean_return"]),
        source=str(path),
        algo=facts.get("algo", ""),
    )
    return _Found(curve, _flat({"algo": facts.get("algo"), **settings}), str(facts.get("table", table.name)))


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Settings of all depths side by side, except the length of training."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{key}.")
        elif key not in ("n_timesteps", "n_episodes"):
            flat[f"{above}{key}"] = json.dumps(value)
    return flat


def _told_apart(found: Sequence[_Found]) -> list[Curve]:
    """Add to the labels of runs with different settings what tells them apart.

    That is the settings, where it does not take long to say them; otherwise the place, if each has settings of its own;
    otherwise a number, and a warning says what it stands for.
    """
    by_label: dict[str, dict[str, list[_Found]]] = {}
    for (label, env), runs in _grouped(found, lambda run: run.curve).items():
        by_label.setdefault(label, {})[env] = runs
    suffixes: dict[int, str] = {}
    for label, envs in by_label.items():
        said = {env: _differences(runs) for env, runs in envs.items()}
        long = any(len(text) > LONGEST_DIFFERENCE for texts in said.values() for text in texts)
        if long and all(_matches(texts, [run.place for run in envs[env]]) for env, texts in said.items()):
            said = {env: [f" ({run.place})" for run in runs] for env, runs in envs.items()}
        elif long:
            for env, texts in said.items():
                distinct = list(dict.fromkeys(texts))
                if len(distinct) > 1:
                    for number, text in enumerate(distinct, start=1):
                        _log.warning("%s on %s, settings %d: %s.", label, env, number, text.removeprefix(", "))
                    said[env] = [f", settings {distinct.index(text) + 1}" for text in texts]
        for env, runs in envs.items():
            suffixes |= {id(run): suffix for run, suffix in zip(runs, said[env], strict=True)}
    return [replace(run.curve, label=run.curve.label + suffixes[id(run)]) for run in found]


def _differences(runs: Sequence[_Found]) -> list[str]:
    """Say of each run those settings in which the runs differ; nothing where all are the same."""
    keys = sorted({key for run in runs for key in run.settings})
    keys = [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]
    return [
        "".join(f", {key.rpartition('.')[2]} {run.settings.get(key, 'default')}" for key in keys).replace('"', "")
        for run in runs
    ]


def _matches(texts: Sequence[str], places: Sequence[str]) -> bool:
    """Whether each place has one text and each text one place."""
    return len(set(texts)) == len(set(places)) == len(set(zip(texts, places, strict=True)))


def _grouped(items: Iterable[Any], curve: Callable[[Any], Curve] = lambda item: item) -> dict[tuple[str, str], list[Any]]:
    """(label, environment) → the items of it, everything in the order of first appearance."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for item in items:
        groups.setdefault((curve(item).label, curve(item).env), []).append(item)
    return groups


def by_task(curves: Iterable[Curve]) -> dict[str, dict[str, list[Curve]]]:
    """Environment → label → runs; environments in the order of `TASKS`, labels in that of `METHODS`, others as they come."""
    groups = _grouped(curves)
    known = list(TASKS)
    envs = sorted(dict.fromkeys(env for _, env in groups), key=lambda env: known.index(env) if env in known else len(known))
    labels = in_order([label for label, _ in groups])
    return {env: {label: groups[label, env] for label in labels if (label, env) in groups} for env in envs}
