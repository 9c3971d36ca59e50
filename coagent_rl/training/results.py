"""What a study gave: its runs, their table and figure, and what can be read again from its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coagent_rl.training.files import write_text
from coagent_rl.training.reading import read_summary, read_yaml

STUDY_FILE = "study.yml"
Key = tuple[str, int]
"""A run of a study: name of the variant (empty where there are none) and seed."""
SCORES = {
    "mean_return_all_episodes": "over all episodes",
    "mean_return_last_100": "over the last 100",
    "final_evaluation": "after training",
}
"""Keys of a summary → how the table calls them."""


@dataclass
class StudyRun:
    """A finished run: returns and lengths of all training episodes, shape (n_episodes,), and the run's summary."""

    returns: np.ndarray
    lengths: np.ndarray
    summary: dict[str, Any]

    def score(self, name: str) -> float | None:
        """One of `SCORES`, or None where the run has none."""
        value = self.summary.get(name)
        value = value["mean_return"] if isinstance(value, Mapping) else value
        return None if value is None else float(value)


@dataclass
class Study:
    """What a study gave.

    Attributes:
        algorithm, env: what was trained on what, as it was given.
        variants: name → complete settings; without variants there is one, whose name is empty.
        seeds: of the runs of each variant.
        runs: (variant, seed) → finished run.
        failures: (variant, seed) → why the run failed.
        folder: where the files lie, or None.
    """

    algorithm: str
    env: str
    variants: dict[str, dict[str, Any]]
    seeds: list[int]
    runs: dict[Key, StudyRun] = field(default_factory=dict)
    failures: dict[Key, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def env_id(self) -> str:
        """The environment's id, without the module that registers it."""
        return self.env.rpartition(":")[2]

    def expected(self) -> list[Key]:
        """All runs that belong to the study, finished or not, in the order of the table."""
        return [(variant, seed) for variant in self.variants for seed in self.seeds]

    def name(self, key: Key) -> str:
        """How a run is called in the table and in messages."""
        variant, seed = key
        return f"{variant}, seed {seed}" if variant else f"seed {seed}"

    def returns(self, variant: str = "") -> list[np.ndarray]:
        """Returns of the finished runs of a variant, one array a run."""
        return [self.runs[variant, seed].returns for seed in self.seeds if (variant, seed) in self.runs]

    def scores(self, name: str, variant: str = "") -> np.ndarray:
        """One of `SCORES` of every finished run of a variant that has it, in the order of the seeds."""
        runs = [self.runs[variant, seed] for seed in self.seeds if (variant, seed) in self.runs]
        return np.array([score for run in runs if (score := run.score(name)) is not None])

    def table(self) -> str:
        """Mean ± standard deviation over the finished runs of every variant, then all runs; Markdown."""
        lines = [
            f"# {self.algorithm} on {self.env_id}",
            "",
            "Returns; in the first table mean ± standard deviation over runs.",
            "",
        ]
        lines += _header("variant", "runs", *SCORES.values())
        for variant in self.variants:
            n_runs = sum((variant, seed) in self.runs for seed in self.seeds)
            entries = [_spread(self.scores(name, variant)) for name in SCORES]
            lines.append(_line(variant or self.algorithm, f"{n_runs} of {len(self.seeds)}", *entries))
        lines += ["", *_header("run", "episodes", "time steps", *SCORES.values())]
        for key in self.expected():
            if key in self.runs:
                run = self.runs[key]
                scores = ["" if (score := run.score(name)) is None else f"{score:.2f}" for name in SCORES]
                lines.append(_line(self.name(key), run.summary["episodes"], run.summary["timesteps"], *scores))
            else:
                why = f"failed: {self.failures[key]}" if key in self.failures else "not finished"
                lines.append(_line(self.name(key), why, *[""] * (1 + len(SCORES))))
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """All runs as comma-separated values."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["variant", "seed", "episodes", "timesteps", *SCORES, "error"])
        for variant, seed in self.expected():
            run = self.runs.get((variant, seed))
            found: list[Any] = [None] * (2 + len(SCORES))
            if run is not None:
                found = [run.summary["episodes"], run.summary["timesteps"], *map(run.score, SCORES)]
            writer.writerow([variant, seed, *found, self.failures.get((variant, seed), "")])
        return text.getvalue()

    def figure(self, path: Path) -> None:
        """Draw the learning curve of every variant, with the spread over its runs.

        Raises:
            ValueError: if no run has finished an episode.
        """
        from coagent_rl.analysis.plots import learning_curve

        curves = {
            variant or self.algorithm: [returns for returns in self.returns(variant) if returns.size]
            for variant in self.variants
        }
        curves = {name: returns for name, returns in curves.items() if returns}
        if not curves:
            raise ValueError("There is no learning curve: no run of the study has finished an episode.")
        learning_curve(path, curves, title=self.env_id)

    def write(self) -> None:
        """Write table and figure of what there is into the study's folder, if it has one."""
        if self.folder is not None:
            write_text(self.folder / "table.md", self.table())
            write_text(self.folder / "table.csv", self.csv())
            if any(run.returns.size for run in self.runs.values()):
                self.figure(self.folder / "figure.png")


def run_folder(folder: Path, key: Key) -> Path:
    """Folder of a run in a study's folder."""
    variant, seed = key
    return folder / variant / f"seed_{seed}"


def _header(*names: str) -> list[str]:
    return [_line(*names), "|" + "---|" * len(names)]


def _line(*entries: Any) -> str:
    return f"| {' | '.join(str(entry).replace('|', '/') for entry in entries)} |"


def _spread(scores: np.ndarray) -> str:
    if not scores.size:
        return ""
    return f"{scores.mean():.2f}" + (f" ± {scores.std(ddof=1):.2f}" if scores.size > 1 else "")


# ---------------------------------------------------------------------- reading


def read_study(folder: Path) -> dict[str, Any]:
    """Read a study's ``study.yml``: algo, env, seeds, settings (variant → settings) and options.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it cannot be read, or something is missing.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a study's folder: it has no {STUDY_FILE}.")
    described = read_yaml(path)
    for key, kind in {"algo": str, "env": str, "seeds": list, "settings": dict, "options": dict}.items():
        if not isinstance(described, dict) or not isinstance(described.get(key), kind):
            raise ValueError(f"{path} does not describe a study: {key!r} is missing or not a {kind.__name__}.")
    return dict(described)


def read_finished(folder: Path) -> StudyRun | None:
    """Read a run's folder, or None where the run has not been finished."""
    from coagent_rl.analysis.runs import read_runs

    summary = read_summary(folder)
    if summary is None:
        return None
    if "episodes" not in summary:
        raise ValueError(f"{folder / 'summary.json'} is damaged: it has no episodes.")
    if not summary["episodes"]:
        return StudyRun(np.zeros(0), np.zeros(0, int), summary)
    try:
        (curve,) = read_runs([folder])
    except ValueError:
        return None
    if curve.lengths is None or len(curve.returns) != summary["episodes"]:
        return None  # the process died while it closed the monitor's file
    return StudyRun(curve.returns, curve.lengths, summary)
