"""Figures in the papers' form. Nothing here needs a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coagent_rl.analysis.curves import Panel, band_of, comparison_figure, draw_panel, fitting_window, running_mean
from coagent_rl.analysis.known import in_order, written_name
from coagent_rl.analysis.runs import Curve
from coagent_rl.analysis.style import EndLabel, Look, applied, footnote, label_ends, looks, save_figure, settle_labels

__all__ = [
    "draw_curves",
    "learning_curve",
    "learning_curves",
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
) -> Figure:
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
    return comparison_figure(path, [panel])


def learning_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, Sequence[np.ndarray]]],
    windows: Mapping[str, int],
    n_columns: int = 2,
    env_id: str | None = None,
) -> Figure:
    """Draw several `learning_curve`s side by side; a name looks the same in all of them.

    Args:
        panels: title → what `learning_curve` takes as ``runs``.
        windows: title → number of episodes averaged.
        env_id: environment of all panels, where the titles say something else.
    """
    drawn = [_panel(title, runs, windows[title], env_id or title) for title, runs in panels.items()]
    return comparison_figure(path, drawn, n_columns=n_columns)


def draw_curves(
    axes: Axes,
    runs: Mapping[str, Sequence[np.ndarray]],
    window: int,
    ylabel: str,
    colours: Mapping[str, str] | None = None,
) -> None:
    """Draw the curves and bands of `learning_curve` into axes that are there already, in given colours by name."""
    panel = _panel("", runs, window, "", ylabel)
    styles = looks([band.label for band in panel.bands])
    styles |= {written_name(name): Look(colour) for name, colour in (colours or {}).items()}
    draw_panel(axes, panel, styles)


def _panel(title: str, runs: Mapping[str, Sequence[np.ndarray]], window: int, env_id: str, ylabel: str = "return") -> Panel:
    curves = {
        written_name(name): [Curve(written_name(name), env_id, seed, returns) for seed, returns in enumerate(runs[name])]
        for name in in_order(list(runs))
    }
    window = fitting_window(window, [curve for group in curves.values() for curve in group])
    bands = [band_of(name, group, window) for name, group in curves.items()]
    return Panel(title, [band for band in bands if band is not None], window, ylabel=ylabel)


def sweep_figure(path: Path, panels: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]], ylabel: str) -> Figure:
    """Draw means and standard deviations against the values of a setting, a panel a setting.

    Args:
        panels: name of the setting → name of a curve → value of the setting → (mean, standard deviation).
        ylabel: what the means are of.

    Returns:
        The figure that was written.
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
    return figure
