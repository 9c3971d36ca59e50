"""Figures in the papers' form. Nothing here needs a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from coagent_rl.training.files import write_whole


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last ``window`` values at each position (of all so far, at the beginning), shape of ``values``."""
    total = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    ends = np.arange(1, total.size)
    starts = np.maximum(ends - window, 0)
    return np.asarray((total[ends] - total[starts]) / (ends - starts))


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all."""
    FigureCanvasAgg(figure)
    write_whole(path, lambda beside: figure.savefig(beside, dpi=120))


def learning_curve(
    path: Path,
    runs: Mapping[str, Sequence[np.ndarray]],
    title: str,
    window: int = 100,
    ylabel: str = "return",
) -> None:
    """Draw running mean returns: the mean over runs, and a band of one standard deviation where there are several.

    Args:
        runs: name of a curve → returns of all episodes, one array a run; longer runs are cut to the shortest.
        window: number of episodes averaged.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for name, returns in runs.items():
        length = min(len(run) for run in returns)
        curves = np.stack([running_mean(run[:length], window) for run in returns])
        # A line of a few thousand points looks the same as one of a million and is drawn at once.
        shown = np.unique(np.linspace(0, length - 1, 2000).astype(int))
        mean, deviation = curves.mean(axis=0)[shown], curves.std(axis=0)[shown]
        label = name if len(returns) == 1 else f"{name} ({len(returns)} runs)"
        (line,) = axes.plot(shown + 1, mean, label=label, linewidth=1.5)
        if len(returns) > 1:
            axes.fill_between(shown + 1, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_title(title)
    axes.set_xlabel("episode")
    axes.set_ylabel(f"{ylabel} (running mean of {window} episodes)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save_figure(figure, path)
