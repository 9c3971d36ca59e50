"""Figures in the papers' form. Nothing here needs a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from coagent_rl.files import write_whole
from coagent_rl.networks import Network


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
    figure = Figure(figsize=(6.4, 4.0 + 0.2 * len(runs)), layout="constrained")
    axes = figure.add_subplot()
    draw_curves(axes, runs, window, ylabel)
    axes.set_title(title if len(runs) > 1 else f"{axes.get_legend_handles_labels()[1][0]} on {title}")
    if len(runs) > 1:
        figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    save_figure(figure, path)


def learning_curves(
    path: Path, panels: Mapping[str, Mapping[str, Sequence[np.ndarray]]], windows: Mapping[str, int], n_columns: int = 2
) -> None:
    """Draw several `learning_curve`s side by side; a name has the same colour in all of them.

    Args:
        panels: title → what `learning_curve` takes as ``runs``.
        windows: title → number of episodes averaged.
    """
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(5.6 * n_columns, 4.2 * n_rows), layout="constrained")
    colours = {name: f"C{k}" for k, name in enumerate(dict.fromkeys(name for runs in panels.values() for name in runs))}
    for axes, (title, runs) in zip(figure.subplots(n_rows, n_columns, squeeze=False).flat, panels.items(), strict=False):
        draw_curves(axes, runs, windows[title], "return", colours)
        axes.set_title(title)
        axes.legend(fontsize=6, framealpha=0.5)
    save_figure(figure, path)


def draw_curves(
    axes: Axes,
    runs: Mapping[str, Sequence[np.ndarray]],
    window: int,
    ylabel: str,
    colours: Mapping[str, str] | None = None,
) -> None:
    """Draw the curves and bands of `learning_curve` into axes that are there already, in given colours by name."""
    for name, returns in runs.items():
        length = min(len(run) for run in returns)
        curves = np.stack([running_mean(run[:length], window) for run in returns])
        # A line of a few thousand points looks the same as one of a million and is drawn at once.
        # The first points average too few episodes to say anything but would set the scale.
        shown = np.unique(np.linspace(min(window // 10, length - 1), length - 1, 2000).astype(int))
        mean, deviation = curves.mean(axis=0)[shown], curves.std(axis=0)[shown]
        label = name if len(returns) == 1 else f"{name}, {len(returns)} runs"
        (line,) = axes.plot(shown + 1, mean, label=label, linewidth=1.5, color=(colours or {}).get(name))
        if len(returns) > 1:
            axes.fill_between(shown + 1, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel("episode")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylabel(f"{ylabel} (running mean of {window} episodes)")
    axes.grid(alpha=0.3)


def sweep_figure(path: Path, panels: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]], ylabel: str) -> None:
    """Draw means and standard deviations against the values of a setting, a panel a setting.

    Args:
        panels: name of the setting → name of a curve → value of the setting → (mean, standard deviation).
        ylabel: what the means are of.
    """
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for axes, (setting, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name, points in curves.items():
            mean, deviation = np.array(list(points.values())).T
            axes.errorbar(list(points), mean, yerr=deviation, marker="o", capsize=3, label=name)
        axes.set_xlabel(setting)
        axes.set_ylabel(ylabel)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    save_figure(figure, path)


def network_picture(path: Path, network: Network, observation: np.ndarray, seed: int = 0) -> None:
    """Draw a network in the act: what every unit did for one observation, and the weights between them.

    Args:
        network: units are drawn as circles, filled by their value; lines are weights, by sign and size.
        observation: shape (n_inputs,).
        seed: of the sample that is shown.
    """
    values, means = network.activities(observation[None], np.random.default_rng(seed))
    columns: list[tuple[np.ndarray, np.ndarray | None]] = [(values[0, : network.n_inputs], None)]
    columns += [(values[0, network.slot(i)], means[0, network.slot(i)]) for i in range(network.depth)]
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    places = [np.linspace(1, 0, len(shown) + 2)[1:-1] for shown, _ in columns]
    for index in range(network.depth):
        weights = network.weights(index)
        largest = np.abs(weights).max()
        for i, j in np.ndindex(*weights.shape):
            strength = abs(weights[i, j]) / largest
            axes.plot(
                [index, index + 1],
                [places[index][i], places[index + 1][j]],
                color="tab:blue" if weights[i, j] > 0 else "tab:red",
                alpha=0.05 + 0.6 * strength,
                linewidth=0.3 + 1.7 * strength,
                zorder=1,
            )
    names = ["observation", *(layer.kind for layer in network.layers)]
    for index, (shown, mean) in enumerate(columns):
        is_input = mean is None
        fill = np.clip(0.5 + 0.5 * shown / max(np.abs(shown).max(), 1e-9), 0, 1) if is_input else np.clip(shown, 0, 1)
        axes.scatter(
            np.full(len(shown), index),
            places[index],
            c=fill,
            cmap="Greys",
            vmin=0,
            vmax=1.3,
            s=170 if len(shown) < 20 else 60,
            edgecolors="black",
            zorder=2,
        )
        if mean is not None and len(shown) < 20:
            for place, m in zip(places[index], mean, strict=True):
                axes.annotate(f"{m:.2f}", (index, place), (9, -3), textcoords="offset points", fontsize=7)
        axes.annotate(names[index], (index, 1.02), ha="center", fontsize=9)
    axes.set_ylim(-0.02, 1.1)
    axes.set_xlim(-0.4, network.depth + 0.4)
    axes.axis("off")
    save_figure(figure, path)
