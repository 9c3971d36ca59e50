"""Learning curves: running means over the runs of each method, and figures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, MaxNLocator

from coagent_rl.analysis.compare import (
    Spread,
    interquartile_mean,
    performance_profile,
    stratified_bootstrap_interval,
)
from coagent_rl.analysis.known import Published, possible_range
from coagent_rl.analysis.runs import Curve
from coagent_rl.analysis.style import (
    MOST_LABELS,
    EndLabel,
    Look,
    applied,
    footnote,
    label_ends,
    looks,
    save_figure,
    settle_labels,
)

N_POINTS = 600
"""Points of a curve: a line of so many looks the same as one of a million, and is drawn at once."""


@dataclass(frozen=True)
class Band:
    """The running mean of a method over its runs, on a common axis of episodes or time steps.

    Attributes:
        n_runs: how many runs there are.
        x: episode, or time step of training, shape (n_points,).
        mean: over the runs that reach so far, shape (n_points,).
        low, high: ends of the band, inside the task's possible range, shape (n_points,); NaN where some run does not reach,
            and everywhere for a single run or without a spread.
        n: how many runs reach so far, shape (n_points,).
        reached: the last point that all runs reach, or None where there is no such point.
    """

    label: str
    n_runs: int
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray

    @property
    def reached(self) -> float | None:
        common = self.x[self.n == self.n_runs]
        return float(common[-1]) if common.size else None


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last ``window`` values at each position (of all so far, at the beginning), shape of ``values``."""
    total = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    ends = np.arange(1, total.size)
    starts = np.maximum(ends - window, 0)
    return np.asarray((total[ends] - total[starts]) / (ends - starts))


def fitting_window(window: int, runs: Sequence[Curve]) -> int:
    """Return ``window``, or half the episodes of the longest run where that is less: a curve needs room to begin and end."""
    return min(window, max(1, max(run.returns.size for run in runs) // 2))


def band_of(label: str, runs: Sequence[Curve], window: int, x: str = "episodes", spread: Spread = "std") -> Band | None:
    """Average the running mean returns of several runs.

    A running mean begins with the episode that fills its window. It changes where an episode ends; between those ends, and
    until the run is over, it keeps its value.

    Args:
        runs: of one method on one task.
        window: number of episodes averaged.
        x: ``"episodes"`` or ``"steps"``.
        spread: what the band is; the interval resamples whole runs.

    Returns:
        The curve from where all those runs have begun that ever fill the window; None if no run does.

    Raises:
        ValueError: for time steps of a run whose lengths are not known.
    """
    filling = [run for run in runs if run.returns.size >= window]
    if not filling:
        return None
    if x == "episodes":
        starts, reaches = [window], [run.returns.size for run in filling]
    else:
        starts = [int(run.end_steps()[window - 1]) for run in filling]
        reaches = [max(int(run.end_steps()[-1]), run.timesteps or 0) for run in filling]
    grid = np.linspace(max(starts), max(reaches), N_POINTS).astype(np.int64)
    grid = np.union1d(grid, [reach for reach in reaches if reach >= max(starts)])
    values = np.full((len(filling), grid.size), np.nan)
    for row, run, reach in zip(values, filling, reaches, strict=True):
        there = grid <= reach
        ended = grid[there] if x == "episodes" else np.searchsorted(run.end_steps(), grid[there], side="right")
        row[there] = running_mean(run.returns, window)[ended - 1]
    n = np.count_nonzero(np.isfinite(values), axis=0)
    mean = np.nansum(values, axis=0) / n
    low, high = np.full(grid.size, np.nan), np.full(grid.size, np.nan)
    common = n == len(runs)
    if len(runs) > 1 and spread != "none" and common.any():
        low[common], high[common] = _ends(values[:, common], spread)
        least, most = possible_range(runs[0].env, [run.returns for run in runs])
        low, high = np.maximum(low, least), np.minimum(high, most)
    return Band(label, len(runs), grid, mean, low, high, n)


def _ends(values: np.ndarray, spread: Spread, n_resamples: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    mean = values.mean(axis=0)
    if spread == "std":
        deviation = values.std(axis=0, ddof=1)
        return mean - deviation, mean + deviation
    n = len(values)
    # How often each run is drawn: the means of all resamples are one matrix product.
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples)
    low, high = np.quantile(times @ values / n, [0.025, 0.975], axis=0)
    return low, high


# ---------------------------------------------------------------------- figures


@dataclass(frozen=True)
class Panel:
    """One task of a figure.

    Attributes:
        title: above the panel.
        bands: its curves.
        window: number of episodes that they average.
        x: ``"episodes"`` or ``"steps"``.
        published: what was published of its methods: label → value.
        ylabel: what is averaged.
    """

    title: str
    bands: Sequence[Band]
    window: int
    x: str = "episodes"
    published: Mapping[str, Published] = field(default_factory=dict)
    ylabel: str = "return"


@dataclass(frozen=True)
class Profile:
    """Normalised scores of several methods on the same tasks.

    Attributes:
        scores: label → environment → scores, shape (n_runs,), as `normalised_scores` gives them.
        name: which scores they are.
    """

    scores: Mapping[str, Mapping[str, np.ndarray]]
    name: str

    @property
    def tasks(self) -> list[str]:
        """The tasks, the same for every method."""
        return list(next(iter(self.scores.values())))

    def means(self) -> dict[str, tuple[float, float, float]]:
        """Label → interquartile mean and the ends of its 95 % interval."""
        found = {}
        for label, tasks in self.scores.items():
            values = list(tasks.values())
            low, high = stratified_bootstrap_interval(values, interquartile_mean)
            found[label] = (float(interquartile_mean(values)), float(low), float(high))
        return found


def comparison_figure(
    path: Path,
    panels: Sequence[Panel],
    spread: Spread = "std",
    profile: Profile | None = None,
    title: str | None = None,
    n_columns: int = 2,
) -> Figure:
    """Draw learning curves, a panel a task, and write them to a file; a name has the same look in all panels.

    Args:
        path: ends in ``.png`` or ``.svg``.
        spread: what the bands are.
        profile: below the panels, interquartile means and performance profiles of these scores.
        title: above them all.

    Returns:
        The figure that was written.
    """
    names = list(dict.fromkeys(band.label for panel in panels for band in panel.bands))
    styles = looks(list(dict.fromkeys([*names, *(profile.scores if profile else ())])))
    in_legend = max(len(panel.bands) for panel in panels) > MOST_LABELS
    numbers = [band.n_runs for panel in panels for band in panel.bands]
    usual = max(numbers, key=numbers.count)
    n_columns = min(n_columns, len(panels))
    n_rows = -(-len(panels) // n_columns)
    most = 0 if in_legend else max(len(panel.bands) + len(panel.published) for panel in panels)
    heights = [n_rows * max(3.2, 0.25 * most + 0.8)]
    heights += [max(2.6, 0.22 * len(profile.scores) + 1.0)] if profile else []
    width = 6.4 if n_columns == 1 else 5.6 * n_columns
    n_names = max(1, int(width / (0.6 + 0.07 * max(len(name) for name in names))))  # columns of the legend
    below = 0.3 + (0.18 * -(-len(names) // n_names) if in_legend else 0.0)
    with applied():
        figure = Figure(figsize=(width, sum(heights) + below), layout="constrained")
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        columns: dict[Axes, list[Annotation]] = {}
        for axes, panel in zip(parts[0].subplots(n_rows, n_columns, squeeze=False).flat, panels, strict=False):
            labels = draw_panel(axes, panel, styles, usual)
            if in_legend or len(labels) == 1:
                labels = [label for label in labels if label.small]
            columns[axes] = label_ends(figure, axes, labels)
        for axes in parts[0].axes[len(panels) :]:
            axes.remove()
        if profile is not None:
            means, profiles = parts[1].subplots(1, 2)
            draw_means(means, profile, styles)
            draw_profiles(profiles, profile, styles)
        if in_legend:
            lines = {str(line.get_label()): line for axes in columns for line in axes.get_lines()}
            parts[0].legend([lines[name] for name in names], names, loc="outside lower center", ncols=n_names)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        footnote(figure, _note(panels, spread, usual, profile, in_legend))
        settle_labels(figure, columns)
        save_figure(figure, path)
    return figure


def draw_panel(axes: Axes, panel: Panel, styles: Mapping[str, Look], usual: int | None = None) -> list[EndLabel]:
    """Draw curves, bands and published values into axes; return the names that belong at their ends.

    Args:
        styles: look of each label.
        usual: number of runs that names need not say; None if none says it.
    """
    labels = []
    opacity = 0.18 if len(panel.bands) < 5 else 0.1
    for band in panel.bands:
        look = styles[band.label]
        full = band.n == band.n_runs
        line = {"color": look.colour, "linestyle": look.dashes, "marker": "" if band.x.size > 1 else "."}
        axes.plot(band.x, np.where(full, band.mean, np.nan), label=band.label, **line)
        if not full.all():
            rest = ~full
            rest[:-1] |= ~full[1:]  # joined to the line of all runs
            axes.plot(band.x, np.where(rest, band.mean, np.nan), linewidth=0.6, **line)
        axes.fill_between(band.x, band.low, band.high, color=look.colour, alpha=opacity, linewidth=0)
        number = "" if usual in (None, band.n_runs) else f" ({band.n_runs}\N{NO-BREAK SPACE}run{'s' * (band.n_runs > 1)})"
        labels.append(EndLabel(band.label + number, float(band.x[-1]), float(band.mean[-1]), look))
    right = max(float(band.x[-1]) for band in panel.bands)
    drawn: set[float] = set()
    for label, row in panel.published.items():
        if row.mean not in drawn:
            drawn.add(row.mean)
            look = styles[label]
            axes.axhline(row.mean, color=look.colour, linestyle=":", linewidth=1.0)
            labels.append(EndLabel(f"published {row.mean:g}", right, row.mean, look, small=True))
    axes.set_xlim(0, right)
    axes.set_title(panel.title)
    axes.set_xlabel("episode" if panel.x == "episodes" else "time step")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    window = f"{panel.window:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    axes.set_ylabel(panel.ylabel if panel.window == 1 else f"{panel.ylabel}, mean of last {window} episodes")
    return labels


def draw_means(axes: Axes, profile: Profile, styles: Mapping[str, Look]) -> None:
    """Draw interquartile means with their intervals, a row a method."""
    found = profile.means()
    for row, (label, (mean, low, high)) in enumerate(found.items()):
        axes.plot([low, high], [row, row], color=styles[label].colour, linewidth=5.0, alpha=0.35, solid_capstyle="butt")
        axes.plot([mean], [row], "|", color=styles[label].colour, markersize=9, markeredgewidth=2)
    axes.set_yticks(range(len(found)), list(found))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_title("interquartile mean")
    axes.set_xlabel(f"normalised {profile.name}")


def draw_profiles(axes: Axes, profile: Profile, styles: Mapping[str, Look]) -> None:
    """Draw the share of runs above each score, with its interval, a curve a method."""
    scores = np.concatenate([values for tasks in profile.scores.values() for values in tasks.values()])
    thresholds = np.linspace(min(0.0, float(scores.min())), max(1.0, float(scores.max())), 201)
    for label, tasks in profile.scores.items():
        values = list(tasks.values())
        low, high = stratified_bootstrap_interval(
            values, lambda drawn: performance_profile(drawn, thresholds), n_resamples=500
        )
        look = styles[label]
        axes.plot(thresholds, performance_profile(values, thresholds), color=look.colour, linestyle=look.dashes)
        axes.fill_between(thresholds, low, high, color=look.colour, alpha=0.12, linewidth=0)
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.set_ylim(-0.02, 1.02)
    axes.set_title("performance profile")
    axes.set_xlabel(f"τ, normalised {profile.name}")
    axes.set_ylabel("share of runs above τ")


def _note(panels: Sequence[Panel], spread: Spread, usual: int, profile: Profile | None, in_legend: bool) -> str:
    """Say what lines and bands are, as far as they are there."""
    bands = [band for panel in panels for band in panel.bands]
    sentences = []
    numbers = {band.n_runs for band in bands}
    if numbers != {1}:
        number = f"{usual}" if not in_legend or len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"
        unless = "" if in_legend or len(numbers) == 1 else ", or as many as the name says"
        sentences.append(f"Lines: mean over {number} run{'s' * (number != '1')}{unless}.")
        if any(np.isfinite(band.low).any() for band in bands):
            what = "± one standard deviation (ddof 1)" if spread == "std" else "95 % bootstrap interval of the mean"
            sentences.append(f"Bands: {what}, within the possible returns.")
        if any((band.n < band.n_runs).any() for band in bands):
            sentences.append("Thin: mean over those runs that reach so far.")
    if sources := sorted({row.source for panel in panels for row in panel.published.values()}):
        sentences.append(f"Dotted: mean return over all training episodes in {'; '.join(sources)}.")
    if profile is not None:
        sentences.append(f"Normalised: random actions 0, reference 1, over {', '.join(profile.tasks)}; 95 % intervals.")
    return " ".join(sentences)
