"""The table and the figure of `benchmarks.rules`, and how well the quality of single updates predicts them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import gradient_quality
from benchmarks.random_search import read_trials
from benchmarks.rules import DIGITS, FOLDER, MULTIPLEXER, RULES, TASKS, best_trial, read, run_path, trials_path
from benchmarks.tables import rows_figure
from coagent_rl.analysis.known import normalised
from coagent_rl.training.files import write_text

NETWORK = "64-32"
"""The network of the table, by its name among those whose gradients are judged."""


@dataclass(frozen=True)
class Cell:
    """Runs of a rule on a task.

    Attributes:
        scores: of the runs, shape (n,).
        last: return at an average step of the last tenth; of digits, validation accuracy.
        per_second: steps (of digits, samples) per second of processor time.
        diverged: runs that diverged.
    """

    scores: np.ndarray
    last: np.ndarray
    per_second: float
    diverged: int

    def written(self, digits: int) -> str:
        """Mean ± standard deviation, and how many runs diverged."""
        n = len(self.scores)
        text = (
            f"{self.scores.mean():.{digits}f} ± {self.scores.std(ddof=1):.{digits}f}"
            if n > 1
            else f"{self.scores[0]:.{digits}f}"
        )
        return f"{text} ({self.diverged} of {n + self.diverged} diverged)" if self.diverged else text


def cell(name: str, env_id: str, seeds: Sequence[int]) -> Cell | None:
    """What is there of a cell; None without any run."""
    found = [run[0] for seed in seeds if (run := read(name, env_id, seed)) is not None]
    diverged = sum(run_path(name, env_id, seed).with_suffix(".txt").exists() for seed in seeds)
    if not found:
        return None
    scores, last, speed = (np.array([facts[key] for facts in found]) for key in ("score", "last", "per_cpu_second"))
    return Cell(scores, last, float(np.median(speed)), diverged)


def digits_of(env_id: str) -> int:
    """Decimals of a task's scores."""
    return 3 if env_id in (MULTIPLEXER, DIGITS) else 0


def why_empty(name: str, env_id: str) -> str:
    """What stands where there are no runs."""
    if env_id == DIGITS and RULES[name].estimator is None:
        return "not defined"
    trials = read_trials(trials_path(name, env_id))
    return "every trial diverged" if trials and best_trial(name, env_id) is None else "not run"


def overview(seeds: Sequence[int]) -> str:
    """One line a rule: what a unit must know, the score on every task, and the speed on CartPole."""
    tasks = {env_id: task for env_id, task in TASKS.items() if any(cell(name, env_id, seeds) for name in RULES)}
    heads = ["rule", "a hidden unit must know, beside its own", *(task.name for task in tasks.values()), "steps/s"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, rule in RULES.items():
        cells = {env_id: cell(name, env_id, seeds) for env_id in tasks}
        written = [found.written(digits_of(e)) if found else why_empty(name, e) for e, found in cells.items()]
        timed = cells.get("CartPole-v1") or next((found for found in cells.values() if found), None)
        speed = f"{timed.per_second / 1000:.0f} k" if timed else ""
        lines.append(f"| {' | '.join([rule.label, rule.knows, *written, speed])} |")
    missing = [task.name for env_id, task in TASKS.items() if env_id not in tasks]
    note = f"\nNot run: {', '.join(missing)}.\n" if missing else ""
    return "\n".join(lines) + "\n" + note


def details(seeds: Sequence[int]) -> str:
    """One line a cell: runs, trials, the last tenth of training, the settings that won."""
    heads = ["task", "rule", "runs", "trials (diverged)", "score", "last tenth", "per CPU second", "rates", "fall to"]
    heads += ["λ", "temperature"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for env_id, task in TASKS.items():
        for name, rule in RULES.items():
            found, best, n = cell(name, env_id, seeds), best_trial(name, env_id), digits_of(env_id)
            if found is None or best is None:
                continue
            trials, drawn = read_trials(trials_path(name, env_id)), best["drawn"]
            failed = sum(trial["score"] is None for trial in trials)
            rates = " · ".join(f"{rate:g}" for rate in drawn["actor_learning_rate"])
            others = [f"{drawn[key]:g}" for key in ("decay", "actor_lambda", "temperature")]
            row = [task.name, rule.label, str(len(found.scores)), f"{len(trials)} ({failed})", found.written(n)]
            row += [f"{found.last.mean():.{n}f}", f"{found.per_second:.0f}", rates]
            lines.append(f"| {' | '.join([*row, *(['', '', ''] if env_id == DIGITS else others)])} |")
    return "\n".join(lines) + "\n"


def ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1, the mean of them where values are equal; shape (n,)."""
    given = np.asarray(values, float)
    below, equal = given[:, None] > given, given[:, None] == given
    return np.asarray(below.sum(axis=1) + (equal.sum(axis=1) + 1) / 2)


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's ρ."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def means_by_rule(env_id: str, seeds: Sequence[int]) -> dict[str, float]:
    """Mean score of each rule on a task on which it was run, without the controls."""
    found = {name: cell(name, env_id, seeds) for name, rule in RULES.items() if "frozen_layers" not in rule.changes}
    return {name: float(one.scores.mean()) for name, one in found.items() if one is not None}


def predictions(rows: Sequence[Mapping[str, object]], seeds: Sequence[int]) -> dict[tuple[str, str], tuple[float, int]]:
    """Rank correlation over rules of what is known of single updates with the score on a task.

    Args:
        rows: of `benchmarks.gradient_quality`; those of the initial networks of the table's size are taken.

    Returns:
        (measure, task) → ρ and the number of rules; where there are four at least.
    """
    found = {}
    for measure, part in (("cosine", "hidden"), ("cosine", "layer_1"), ("direction", "hidden")):
        known = {
            str(row["rule"]): float(str(row[measure]))
            for row in rows
            if (row["network"], row["part"], row["episodes"]) == (NETWORK, part, 0)
        }
        for env_id, task in TASKS.items():
            scores = means_by_rule(env_id, seeds)
            both = [name for name in scores if name in known]
            if len(both) > 3:
                ρ = rank_correlation([known[name] for name in both], [scores[name] for name in both])
                written = "all hidden layers" if part == "hidden" else "first layer"
                found[f"{measure}, {written}", task.name] = ρ, len(both)
    return found


def prediction_table(found: Mapping[tuple[str, str], tuple[float, int]]) -> str:
    """The correlations, a line a measure and a column a task."""
    tasks, measures = (list(dict.fromkeys(key[k] for key in found)) for k in (1, 0))
    lines = [f"| of single updates | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
    for measure in measures:
        cells = [found[measure, task] for task in tasks]
        lines.append(f"| {measure} | {' | '.join(f'{ρ:+.2f} ({n} rules)' for ρ, n in cells)} |")
    return "\n".join(lines) + "\n"


def ranking(seeds: Sequence[int]) -> dict[str, float]:
    """Rule → mean over the reinforcement learning tasks that every rule was run on of its score, normalised; best first.

    0 is a random policy and 1 the task's reference, see `coagent_rl.analysis.known`.
    """
    cells = {env_id: {name: cell(name, env_id, seeds) for name in RULES} for env_id in TASKS if env_id != DIGITS}
    whole = [env_id for env_id, row in cells.items() if all(found is not None for found in row.values())]
    if not whole:
        return {}
    means = {
        name: float(np.mean([normalised(env_id, float(cells[env_id][name].scores.mean())) for env_id in whole]))  # type: ignore[union-attr]
        for name in RULES
    }
    return dict(sorted(means.items(), key=lambda pair: -pair[1]))


def page(seeds: Sequence[int]) -> str:
    """All tables."""
    quality = json.loads((gradient_quality.FOLDER / "quality.json").read_text(encoding="utf-8"))["rows"]
    parts = [overview(seeds)]
    if ranked := ranking(seeds):
        lines = "\n".join(f"| {RULES[name].label} | {mean:.2f} |" for name, mean in ranked.items())
        parts.append(f"## Mean of the normalised scores\n\n| rule | mean |\n|---|---|\n{lines}\n")
    if found := predictions(quality, seeds):
        parts.append(f"## Rank correlation with the quality of updates\n\n{prediction_table(found)}")
    return "\n".join([*parts, f"## Runs\n\n{details(seeds)}"])


def write(seeds: Sequence[int]) -> None:
    """Write ``table.md`` and ``table.png`` from the runs that are there, and print the tables."""
    text = page(seeds)
    write_text(FOLDER / "table.md", text)
    panels = {
        task.name: {RULES[name].label: found.scores for name in RULES if (found := cell(name, env_id, seeds)) is not None}
        for env_id, task in TASKS.items()
    }
    rows_figure(
        FOLDER / "table.png",
        {name: rows for name, rows in panels.items() if rows},
        x_label="score",
        note="A dot a run, the line their mean. Return at an average time step of training; of digits, test accuracy.",
    )
    print(text)
