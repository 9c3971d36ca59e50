"""Tables over many runs: means, standard deviations, and the difference to what was published."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.runs import RESULTS, Run, execute_all, read
from coagent_rl.analysis.known import PUBLISHED, window_of
from coagent_rl.analysis.style import INK, applied, footnote, looks, save_figure
from coagent_rl.training.hyperparameters import has_settings, load_hyperparameters, override, parse_seeds

THEN = Path(__file__).parent / "settings_then.yml"
"""Settings that were shipped when tables were made, and have been replaced since: algorithm → environment id."""


@cache
def settings_then() -> dict[str, dict[str, dict[str, Any]]]:
    """Read `THEN`."""
    return dict(yaml.safe_load(THEN.read_text(encoding="utf-8")))


def base_settings(algorithm: str, env_id: str) -> dict[str, Any]:
    """What the tables of the papers start from: the settings shipped then, or now where they are the same."""
    then = settings_then().get(algorithm, {}).get(env_id)
    return load_hyperparameters(algorithm, env_id) if then is None else deepcopy(then)


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes:
        label: its name in tables and figures.
        algorithm: what is trained.
        settings: whose YAML file gives the settings.
        changes: what is different, for every environment.
        tuned: what is different for one environment, released or found by a search; without it every environment in the YAML
            file is run.
    """

    label: str
    algorithm: str
    settings: str
    changes: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, dict[str, Any]] | None = None


def statistics(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Statistics over those runs that have been run; None without any."""
    found = [result for run in runs if (result := read(run)) is not None]
    if not found:
        return None
    averages = np.array([returns.mean() for returns, _ in found])
    last = np.array([returns[-100:].mean() for returns, _ in found])
    final = np.array([facts["final_evaluation"]["mean_return"] for _, facts in found])
    return {
        "returns": [returns for returns, _ in found],
        "n": len(found),
        "final returns": final,
        **{
            name: (float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan"))
            for name, values in (("all", averages), ("last", last), ("final", final))
        },
        "speed": float(np.median([facts["steps_per_second"] for _, facts in found])),
    }


T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantile of Student's t for one to nine degrees of freedom."""


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the mean (Student's t); NaN for a single value."""
    if values.size < 2:
        return float("nan"), float("nan")
    z, ν = 1.959964, values.size - 1
    # Beyond the table, the expansion around the normal quantile is exact to three digits.
    t = T_975[ν - 1] if ν <= len(T_975) else z + (z**3 + z) / (4 * ν) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * ν**2)
    half = t * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean() - half), float(values.mean() + half)


def with_interval(values: np.ndarray, digits: int, most: float = np.inf) -> str:
    """Mean, and the 95 % confidence interval where there are two runs at least, of values from 0 to ``most``."""
    low, high = np.clip(interval(values), 0.0, most)
    mean = f"{values.mean():.{digits}f}"
    return mean if np.isnan(low) else f"{mean} [{low:.{digits}f}, {high:.{digits}f}]"


def standard_errors(ours: tuple[float, float], n: int, published: tuple[float, float], n_published: int = 10) -> float:
    """Difference of two means in standard errors of the difference."""
    return (ours[0] - published[0]) / np.sqrt(ours[1] ** 2 / n + published[1] ** 2 / n_published)


def published(*methods: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Method → environment id → published mean and standard deviation of the average return over all episodes, 10 runs."""
    return {
        method: {row.env_id: (row.mean, row.deviation) for row in PUBLISHED if row.method == method} for method in methods
    }


SEEDS = range(10)
"""The seeds of a table: a command for some of them does not leave the others out."""


@dataclass(frozen=True)
class Table:
    """Methods × tasks, with what was published, and the runs behind every cell.

    Attributes:
        name: folder of its results.
        tasks: environment id → what is different for all methods, such as the length, in the order of the table.
        methods: name of a method → how it is trained.
        published: method → environment id → mean and standard deviation over ten runs.
        networks: method → environment ids whose trained networks other commands read; no others are kept.
    """

    name: str
    tasks: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, Method]
    published: Mapping[str, Mapping[str, tuple[float, float]]]
    networks: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where table, figures and runs lie."""
        return RESULTS / self.name

    def is_defined(self, method: str, env_id: str) -> bool:
        """Whether a method has settings for an environment."""
        row = self.methods[method]
        return env_id in row.tuned if row.tuned is not None else has_settings(row.settings, env_id)

    def settings(self, method: str, env_id: str) -> dict[str, Any]:
        """What a cell is trained with."""
        row = self.methods[method]
        changes = {**row.changes, **(row.tuned or {}).get(env_id, {}), **self.tasks[env_id]}
        return override(base_settings(row.settings, env_id), changes)

    def runs(self, method: str, env_id: str, seeds: Sequence[int]) -> list[Run]:
        """Return the runs of a cell; none where the method is not defined."""
        if not self.is_defined(method, env_id):
            return []
        settings, kept = self.settings(method, env_id), env_id in self.networks.get(method, ())
        algorithm = self.methods[method].algorithm
        return [Run(self.name, method, env_id, seed, algorithm, settings, keeps_parameters=kept) for seed in seeds]

    def curves(self, env_id: str, seeds: Sequence[int]) -> dict[str, list[np.ndarray]]:
        """Label of a method → returns of its runs that are there, for the methods that have some."""
        found = {row.label: statistics(self.runs(name, env_id, seeds)) for name, row in self.methods.items()}
        return {label: cell["returns"] for label, cell in found.items() if cell is not None}

    def markdown(self, seeds: Sequence[int]) -> str:
        """Ours, published, and the difference in standard errors; cells without any run are left out."""
        numbers = ["return over all episodes", "published", "difference (s.e.)", "last 100", "after training"]
        heads = ["task", "method", "runs", *numbers]
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for env_id, (name, row) in product(self.tasks, self.methods.items()):
            found = statistics(self.runs(name, env_id, seeds))
            if found is None:
                continue
            published = self.published.get(name, {}).get(env_id)
            difference = f"{standard_errors(found['all'], found['n'], published):+.1f}" if published else ""
            there = f"{published[0]:.2f} ± {published[1]:.2f}" if published else ""
            digits = 3 if abs(found["all"][0]) < 1 else 2
            ours = [f"{mean:.{digits}f} ± {sd:.{digits}f}" for mean, sd in (found[key] for key in ("all", "last", "final"))]
            cells = [env_id, row.label, str(found["n"]), ours[0], there, difference, ours[1], ours[2]]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def make(self, envs: Sequence[str], methods: Sequence[str], seeds: Sequence[int], n_jobs: int) -> None:
        """Run what is missing; write and print the table, and draw the figures, of what is there."""
        from coagent_rl.training.files import write_text

        execute_all([run for env_id, name in product(envs, methods) for run in self.runs(name, env_id, seeds)], n_jobs)
        shown = sorted({*SEEDS, *seeds})
        text = self.markdown(shown)
        write_text(self.folder / "table.md", text)
        print(text)
        self.draw(shown)

    def draw(self, seeds: Sequence[int]) -> None:
        """Draw the learning curves of each task."""
        from coagent_rl.analysis import learning_curve

        for env_id in self.tasks:
            if curves := self.curves(env_id, seeds):
                learning_curve(self.folder / f"{env_id.replace('/', '-')}.png", curves, env_id, window_of(env_id))

    def add_command(self, commands: Any, name: str, text: str) -> None:
        """Add the command that makes the table to a command line's subparsers."""
        command = commands.add_parser(name, help=text)
        command.add_argument("--envs", nargs="+", default=list(self.tasks), choices=list(self.tasks))
        command.add_argument("--methods", nargs="+", default=list(self.methods), choices=list(self.methods))
        command.set_defaults(run=lambda a: self.make(a.envs, a.methods, parse_seeds(a.seeds), a.n_jobs))


def rows_figure(
    path: Path,
    panels: Mapping[str, Mapping[str, np.ndarray]],
    n_columns: int = 2,
    x_label: str = "return after training",
    note: str = "A dot a run, the line their mean. Every run is evaluated after training, over many episodes.",
) -> Figure:
    """Draw what every run reached, a panel a task and a row a method with its name, and the means.

    Args:
        panels: environment id → name of a row → returns, shape (n_runs,).
        x_label: what the returns are.
        note: what stands below the figure.

    Returns:
        The figure that was written.
    """
    styles = looks(list(dict.fromkeys(label for rows in panels.values() for label in rows)))
    n_rows = -(-len(panels) // n_columns)
    groups = [list(panels.items())[k * n_columns : (k + 1) * n_columns] for k in range(n_rows)]
    heights = [max(len(rows) for _, rows in group) + 3.0 for group in groups]
    with applied():
        figure = Figure(figsize=(6.2 * n_columns, 0.21 * sum(heights) + 0.3), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, squeeze=False, height_ratios=heights)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes, (env_id, rows) in zip(grid.flat, panels.items(), strict=False):
            for place, (label, returns) in enumerate(rows.items()):
                colour = styles[label].colour
                axes.plot(returns, np.full(returns.size, place), "o", color=colour, alpha=0.45, markersize=4.5, mew=0)
                axes.plot(returns.mean(), place, "|", color=INK, markersize=9, markeredgewidth=1.6)
            axes.set_yticks(range(len(rows)), [fill(label, 54) for label in rows], fontsize=7)
            axes.set_ylim(len(rows) - 0.4, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=False, axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.set_title(env_id)
        for axes in figure.axes[-n_columns:]:
            axes.set_xlabel(x_label)
        footnote(figure, note)
        save_figure(figure, path)
    return figure


def parse(parser: argparse.ArgumentParser, commands: Any, argv: Sequence[str] | None) -> None:
    """Give every command seeds and a number of processes, read the command line and run what it says."""
    for command in commands.choices.values():
        command.add_argument("--seeds", default="0-9", help="such as 0-9 or 0,3,5")
        command.add_argument("--n-jobs", type=int, default=1, help="processes; the results do not depend on it")
    arguments = parser.parse_args(argv)
    arguments.run(arguments)
