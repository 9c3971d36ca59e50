"""Comparing methods: tables over seeds, and aggregates over tasks as Agarwal et al. (2021) define them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from coagent_rl.analysis.known import TASKS, normalised, published_value
from coagent_rl.analysis.runs import Curve, by_task, read_runs
from coagent_rl.training.evaluation import bootstrap_interval

__all__ = [
    "SCORES",
    "Curve",
    "Row",
    "Score",
    "Spread",
    "by_task",
    "compare",
    "interquartile_mean",
    "normalised_scores",
    "performance_profile",
    "read_runs",
    "stratified_bootstrap_interval",
    "table",
]

Spread = str
"""``"std"`` (sample standard deviation, ddof 1), ``"interval"`` (95 % bootstrap interval of the mean) or ``"none"``."""

LAST = 100
"""Episodes at the end of training that the second score averages over."""
SCORES: dict[str, str] = {"all": "all episodes", "last": f"last {LAST} episodes", "final": "after training"}
"""Score of a run → how it is written: mean return over all training episodes, over the last, in the evaluation after."""


def score_of(curve: Curve, score: str) -> float | None:
    """Return one of the `SCORES` of a run; None for a final score that is not known."""
    if score == "final":
        return curve.final_score
    return float(curve.returns.mean() if score == "all" else curve.returns[-LAST:].mean())


@dataclass(frozen=True)
class Score:
    """A score over runs.

    Attributes:
        n: number of runs that have it.
        mean: over them.
        deviation: their sample standard deviation (ddof 1); NaN for a single run.
        low, high: ends of the 95 % bootstrap interval of the mean; NaN for a single run.
    """

    n: int
    mean: float
    deviation: float
    low: float
    high: float

    def ends(self, spread: Spread) -> tuple[float, float]:
        """Ends of what a spread says, NaN where there is none."""
        if spread == "std":
            return self.mean - self.deviation, self.mean + self.deviation
        return (self.low, self.high) if spread == "interval" else (float("nan"), float("nan"))


@dataclass(frozen=True)
class Row:
    """A method on a task.

    Attributes:
        episodes: least and greatest number of episodes of a run.
        scores: key in `SCORES` → the score, of those that some run has.
        algo: name of the algorithm on the command line, where it is known.
    """

    env: str
    label: str
    n: int
    episodes: tuple[int, int]
    scores: dict[str, Score]
    algo: str = ""


def compare(curves: Iterable[Curve]) -> list[Row]:
    """Summarise the runs of every method on every task, in the order of `by_task`.

    Raises:
        ValueError: for a run without an episode.
    """
    rows = []
    for env, methods in by_task(curves).items():
        for label, runs in methods.items():
            for run in runs:
                if not run.returns.size:
                    raise ValueError(f"A run of {label} on {env} has no episode ({run.source}).")
            scores = {}
            for name in SCORES:
                values = np.array([value for run in runs if (value := score_of(run, name)) is not None])
                if values.size:
                    several = values.size > 1
                    deviation = float(values.std(ddof=1)) if several else float("nan")
                    low, high = bootstrap_interval(values) if several else (float("nan"), float("nan"))
                    scores[name] = Score(values.size, float(values.mean()), deviation, low, high)
            sizes = [run.returns.size for run in runs]
            rows.append(Row(env, label, len(runs), (min(sizes), max(sizes)), scores, runs[0].algo))
    return rows


def table(rows: Sequence[Row], spread: Spread = "std", published: bool = False) -> str:
    """Write rows as a Markdown table with aligned columns.

    Args:
        published: add what was published of a method (mean ± population standard deviation of 10 runs), where it is known.
    """
    heads = ["task", "method", "runs", "episodes", *SCORES.values()]
    if published:
        heads.insert(5, "published")
    cells = [heads]
    for row in rows:
        least, most = row.episodes
        line = [row.env, row.label, str(row.n), str(most) if least == most else f"{least}-{most}"]
        line += [_written(row.scores[name], spread, row.n) if name in row.scores else "" for name in SCORES]
        if published:
            value = published_value(row.label, row.env, row.algo)
            line.insert(5, f"{value.mean:.2f} ± {value.deviation:.2f}" if value else "")
        cells.append(line)
    widths = [max(len(line[k]) for line in cells) for k in range(len(heads))]
    lines = [f"| {' | '.join(text.ljust(width) for text, width in zip(line, widths, strict=True))} |" for line in cells]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def _written(score: Score, spread: Spread, n_runs: int) -> str:
    digits = 3 if abs(score.mean) < 1 else 2
    text = f"{score.mean:.{digits}f}"
    if score.n > 1 and spread == "std":
        text += f" ± {score.deviation:.{digits}f}"
    elif score.n > 1 and spread == "interval":
        text += f" [{score.low:.{digits}f}, {score.high:.{digits}f}]"
    return text if score.n == n_runs else f"{text} (of {score.n})"


# ---------------------------------------------------------------------- aggregates over tasks


def normalised_scores(
    curves: Iterable[Curve], score: str = "all", tasks: Sequence[str] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Scores of all runs on the scale of `normalised`, on the tasks that every method was run on.

    Args:
        score: key in `SCORES`.
        tasks: those wanted; without it all that every method was run on and that have levels to normalise by.

    Returns:
        Label → environment → scores, shape (n_runs,).

    Raises:
        ValueError: if there is no such task, for a task wanted that lacks a method or has no levels, or for a run without a
            final score where that is asked for.
    """
    found = by_task(curves)
    labels = list(dict.fromkeys(label for methods in found.values() for label in methods))
    if tasks is None:
        tasks = [env for env, methods in found.items() if env in TASKS and len(methods) == len(labels)]
        if not tasks:
            raise ValueError(
                f"There is no task with levels to normalise by on which all methods were run ({', '.join(labels)}); "
                f"the tasks are {', '.join(found)}."
            )
    result: dict[str, dict[str, np.ndarray]] = {}
    for label in labels:
        result[label] = {}
        for env in tasks:
            if label not in found.get(env, {}):
                raise ValueError(f"There is no run of {label} on {env}.")
            values = [(run, score_of(run, score)) for run in found[env][label]]
            if missing := [run.source for run, value in values if value is None]:
                raise ValueError(f"There is no final score in {', '.join(missing)}.")
            result[label][env] = np.array([normalised(env, value) for _, value in values if value is not None])
    return result


def interquartile_mean(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of the middle half of all scores: of n scores of all runs on all tasks, ⌊n/4⌋ are dropped at either end.

    Where tasks have different numbers of runs, which the definition does not provide for, a score weighs the less the more
    its task has, so that every task weighs the same; then ⌊n/4⌋ / n of the weight are dropped at either end.

    Args:
        scores: one array a task, of normalised scores, shape (…, n_runs); leading dimensions are resamples.

    Returns:
        Shape (…).

    Source: Agarwal et al. (2021), section 4.3.

    Example:
        >>> round(float(interquartile_mean([np.array([0.0, 1.0, 2.0]), np.array([3.0, 4.0, 100.0])])), 9)
        2.5
    """
    pooled = np.concatenate([np.asarray(task, float) for task in scores], axis=-1)
    shares = np.concatenate([np.full(task.shape[-1], 1 / (len(scores) * task.shape[-1])) for task in scores])
    order = np.argsort(pooled, axis=-1)
    ordered, weights = np.take_along_axis(pooled, order, axis=-1), shares[order]
    dropped = (shares.size // 4) / shares.size
    above = np.cumsum(weights, axis=-1)
    kept = np.clip(np.minimum(above, 1 - dropped) - np.maximum(above - weights, dropped), 0.0, None)
    return np.asarray((kept * ordered).sum(axis=-1) / kept.sum(axis=-1))


def performance_profile(scores: Sequence[np.ndarray], thresholds: np.ndarray) -> np.ndarray:
    """Share of runs with a score above each threshold τ: 1/M Σ_m 1/N_m Σ_n 1[x_mn > τ] over M tasks of N_m runs.

    Args:
        scores: one array a task, shape (…, n_runs); leading dimensions are resamples.
        thresholds: shape (n_thresholds,).

    Returns:
        Shape (…, n_thresholds).

    Source: Agarwal et al. (2021), section 4.2: the run-score distribution.

    Example:
        >>> performance_profile([np.array([0.2, 0.6]), np.array([0.6, 0.8])], np.array([0.1, 0.6, 0.7]))
        array([1.  , 0.25, 0.25])
    """
    shares = [np.mean(np.asarray(task)[..., :, None] > thresholds, axis=-2) for task in scores]
    return np.asarray(np.mean(shares, axis=0))


def stratified_bootstrap_interval(
    scores: Sequence[np.ndarray],
    statistic: Callable[[Sequence[np.ndarray]], np.ndarray],
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of a statistic of all scores; runs are drawn with replacement task by task.

    Args:
        scores: one array a task, shape (n_runs,).
        statistic: takes one array a task, shape (n_resamples, n_runs), and returns shape (n_resamples, …).
        level: coverage wanted.
        seed: of the resampling, so that the same scores give the same interval.

    Returns:
        Lower and upper ends, shape (…).

    Raises:
        ValueError: without any task, or for a task without any run.

    Source: Agarwal et al. (2021), section 4.1.
    """
    if not scores or any(task.size == 0 for task in scores):
        raise ValueError(f"Every task needs a score to draw from; their numbers are {[task.size for task in scores]}.")
    rng = np.random.default_rng(seed)
    resamples = [rng.choice(np.asarray(task, float), size=(n_resamples, task.size)) for task in scores]
    low, high = np.quantile(statistic(resamples), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
