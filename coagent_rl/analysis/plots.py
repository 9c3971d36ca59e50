"""Figures in the papers' form. Nothing here needs a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coagent_rl.analysis.curves import Panel, band_of, comparison_figure, draw_panel, fitting_window, running_mean
from coagent_rl.analysis.known import in_order, written_name
from coagent_rl.analysis.runs import Curve
from coagent_rl.analysis.style import EndLabel, Look, applied, footnote, label_ends, looks, save_figure, settle_labels

if TYPE_CHECKING:
    from coagent_rl.networks import Network

__all__ = [
    "draw_curves",
    "learning_curve",
    "learning_curves",
    "network_picture",
    "running_mean",
    "save_figure",
    "sweep_figure",
]


def learning_curve(
    path: Path,
    runs: Mapping[str, Sequence[np.ndarray]],
    title: str,
    window: int = 100,
    ylabel: str = "return",
) -> None:
    """Draw running mean returns: the mean over runs, and a band of one standard deviation where there are several.

    Runs of different length are averaged as far as all reach, and those that go on are a thin line beyond.

    Args:
        runs: name of a curve → returns of all episodes, one array a run.
        title: the environment's id, which also says between which returns a band can be.
        window: number of episodes averaged; half of those of the longest run where that is less.
    """
    panel = _panel(title, runs, window, title, ylabel)
    if len(runs) == 1:
        panel = replace(panel, title=f"{panel.bands[0].label} on {title}")
    comparison_figure(path, [panel])


def learning_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, Sequence[np.ndarray]]],
    windows: Mapping[str, int],
    n_columns: int = 2,
    env_id: str | None = None,
) -> None:
    """Draw several `learning_curve`s side by side; a name looks the same in all of them.

    Args:
        panels: title → what `learning_curve` takes as ``runs``.
        windows: title → number of episodes averaged.
        env_id: environment of all panels, where the titles say something else.
    """
    drawn = [_panel(title, runs, windows[title], env_id or title) for title, runs in panels.items()]
    comparison_figure(path, drawn, n_columns=n_columns)


def draw_curves(
    axes: Axes,
    runs: Mapping[str, Sequence[np.ndarray]],
    window: int,
    ylabel: str,
    colours: Mapping[str, str] | None = None,
) -> None:
    """Draw the curves and bands of `learning_curve` into axes that are there already, in given colours by name."""
    panel = _panel("", runs, window, "", ylabel)
    styles = looks(list(runs)) | {name: Look(colour) for name, colour in (colours or {}).items()}
    draw_panel(axes, panel, styles)


def _panel(title: str, runs: Mapping[str, Sequence[np.ndarray]], window: int, env_id: str, ylabel: str = "return") -> Panel:
    curves = {
        written_name(name): [Curve(written_name(name), env_id, seed, returns) for seed, returns in enumerate(runs[name])]
        for name in in_order(list(runs))
    }
    window = fitting_window(window, [curve for group in curves.values() for curve in group])
    bands = [band_of(name, group, window) for name, group in curves.items()]
    return Panel(title, [band for band in bands if band is not None], window, ylabel=ylabel)


def sweep_figure(path: Path, panels: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]], ylabel: str) -> None:
    """Draw means and standard deviations against the values of a setting, a panel a setting.

    Args:
        panels: name of the setting → name of a curve → value of the setting → (mean, standard deviation).
        ylabel: what the means are of.
    """
    styles = looks(list(dict.fromkeys(name for curves in panels.values() for name in curves)))
    with applied():
        figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
        columns = {}
        for axes, (setting, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            labels = []
            for name, points in curves.items():
                mean, deviation = np.array(list(points.values())).T
                line = {"color": styles[name].colour, "linestyle": styles[name].dashes}
                axes.errorbar(list(points), mean, yerr=deviation, marker="o", markersize=4, capsize=3, **line)
                labels.append(EndLabel(name, len(points) - 1, float(mean[-1]), styles[name]))
            axes.set_xlabel(setting)
            axes.set_ylabel(ylabel)
            if len(styles) == 1:
                axes.set_title(labels[0].text)
            columns[axes] = label_ends(figure, axes, labels) if len(styles) > 1 else []
        footnote(figure, "Mean ± one standard deviation over runs (ddof 1).")
        settle_labels(figure, columns)
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
