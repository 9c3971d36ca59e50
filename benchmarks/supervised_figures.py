"""What each figure of Gupta et al. (2021) shows: systems, and which of their curves lie in which panel."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.ticker import LogFormatter

from coagent_rl.supervised import DecayedDeviation, LearnedDeviation

RATE = 2.0**-11
"""The authors' step size for everything on MNIST, and for backprop on Boston."""

IMAGES = ("mnist", "digits")
BOSTON, WALK = "boston", "walk"
WRITTEN = {"mnist": "MNIST", BOSTON: "Boston Housing"}
"""How data are called in figures."""
DEPTHS = {1: "one hidden layer", 2: "two hidden layers"}


@dataclass(frozen=True)
class System:
    """One system on one data set: what is trained.

    Attributes:
        name: of its folder.
        data: ``"digits"``, ``"mnist"``, ``"boston"`` or ``"walk"``.
        arguments: of the estimator.
        correlation: d of the walk.
    """

    name: str
    data: str
    arguments: Mapping[str, Any] = field(hash=False)
    correlation: float = 0.0


@dataclass(frozen=True)
class Line:
    """One line of a figure: the curve of a system, of those that `benchmarks.supervised` keeps, and its panel and label."""

    panel: str
    label: str
    system: System
    curve: str


@dataclass(frozen=True)
class Figure:
    """A figure: its lines, how long its runs are by data set (epochs, or segments of the walk), and what it shows."""

    title: str
    lines: tuple[Line, ...]
    epochs: Mapping[str, int]


def curve_of(data: str) -> str:
    """What the paper plots: training accuracy, or the mean squared error on test data."""
    return "training" if data in IMAGES else "test"


def gaussian(data: str, depth: int, **changes: Any) -> dict[str, Any]:
    """Gaussian coagents, the output layer too; σ = 1 on images (ours), 4 on Boston (the authors')."""
    shared: dict[str, Any] = {
        "hidden_layer_sizes": [64] * depth,
        "units": "gaussian",
        "output": "sampled",
        "rule": "reinforce",
        "baseline": None,
        "n_samples": 1,
        "deviation": 4.0 if data == BOSTON else 1.0,
        "learning_rate": RATE,
        "batch_size": 404 if data == BOSTON else 32,
    }
    return {**shared, **changes}


def discrete(depth: int, **changes: Any) -> dict[str, Any]:
    """Bernoulli coagents below an exact output layer.

    The authors' units have two logits, the difference of which moves twice as fast as a single one: hence twice their rate.
    """
    shared: dict[str, Any] = {
        "hidden_layer_sizes": [64] * depth,
        "units": "bernoulli",
        "rule": "reinforce",
        "baseline": None,
        "n_samples": 1,
        "learning_rate": [2.0 * RATE] * depth + [RATE],
    }
    return {**shared, **changes}


def backprop(data: str, depth: int) -> System:
    """The comparator of all figures."""
    arguments = {"hidden_layer_sizes": [64] * depth, "rule": "backprop", "learning_rate": RATE}
    return System(f"backprop_{depth}", data, {**arguments, "batch_size": 404 if data == BOSTON else 32})


def co_g(data: str) -> System:
    """Two layers of Gaussian coagents with a global baseline: one of figure 2a, from which 2b and 2c vary one thing."""
    return System("gaussian_global_2", data, gaussian(data, 2, baseline="global"))


BASELINES = {"Co": None, "Co-G": "global", "Co-SG": "state", "Co-SL": "layer"}
PARTITIONS = {"C1-C1-C1": "ss", "C2-C1": "ds", "C1-C2": "sd", "C3": "dd"}
DEVIATIONS = {
    "σ = 4": 4.0,
    "σ decayed × 0.999": DecayedDeviation(4.0, 0.999),
    "σ decayed × 0.99": DecayedDeviation(4.0, 0.99),
    "σ learned, exp": LearnedDeviation(4.0, "exp"),
    "σ learned, sigmoid": LearnedDeviation(4.0, "sigmoid"),
    "σ learned, relu": LearnedDeviation(4.0, "relu"),
}
EPOCHS = {"mnist": 10, "digits": 25, BOSTON: 2500}


def figure2a(images: str) -> Figure:
    """Gaussian coagents with four baselines, and backprop."""
    lines = []
    for data in (images, BOSTON):
        for depth, words in DEPTHS.items():
            panel, curve = f"{data}, {words}", curve_of(data)
            lines.append(Line(panel, "backprop", backprop(data, depth), curve))
            for label, baseline in BASELINES.items():
                name = f"gaussian_{baseline or 'none'}_{depth}"
                system = System(name, data, gaussian(data, depth, baseline=baseline))
                lines.append(Line(panel, label, system, curve))
    return Figure("Figure 2a: Gaussian coagents and their baselines", tuple(lines), EPOCHS)


def figure2b(images: str) -> Figure:
    """Partitions of a network into coagents; gradients averaged over paths."""
    lines = []
    for data in (images, BOSTON):
        curve = curve_of(data)
        for panel in (f"{data}, partitions", f"{data}, averaged gradients"):
            lines.append(Line(panel, "backprop", backprop(data, 2), curve))
        for label, letters in PARTITIONS.items():
            units = ["gaussian" if letter == "s" else "relu" for letter in letters]
            changes = gaussian(data, 2, units=units, baseline="global")
            system = co_g(data) if letters == "ss" else System(f"partition_{letters}", data, changes)
            lines.append(Line(f"{data}, partitions", label, system, curve))
        for n in (1, 5, 10, 25, 50):
            changes = gaussian(data, 2, n_samples=n, baseline="global")
            system = co_g(data) if n == 1 else System(f"averaged_{n}", data, changes)
            lines.append(Line(f"{data}, averaged gradients", f"N = {n}", system, curve))
    return Figure("Figure 2b: partitions, and averaged gradients", tuple(lines), EPOCHS)


def figure2c(images: str) -> Figure:
    """Deviations that are fixed, decayed or learned."""
    lines = []
    for number, (label, deviation) in enumerate(DEVIATIONS.items()):
        changes = gaussian(BOSTON, 2, deviation=deviation, baseline="global")
        system = System(f"deviation_{number}", BOSTON, changes) if number else co_g(BOSTON)
        lines.append(Line("boston, two hidden layers", label, system, "test"))
    return Figure("Figure 2c: the deviation of Gaussian coagents", tuple(lines), EPOCHS)


def figure3a(images: str) -> Figure:
    """Discrete coagents with and without a baseline, and straight-through."""
    lines = []
    for depth, words in DEPTHS.items():
        for label, name, changes in (
            ("Co-G", "discrete_global", {"baseline": "global"}),
            ("Co", "discrete_none", {}),
            ("straight-through", "discrete_straight_through", {"rule": "straight_through"}),
        ):
            system = System(f"{name}_{depth}", images, discrete(depth, **changes))
            lines.append(Line(f"{images}, {words}", label, system, "training"))
    return Figure("Figure 3a: discrete coagents", tuple(lines), dict.fromkeys(IMAGES, 50))


def figure3b(images: str) -> Figure:
    """Entropy and sparsity of three layers of discrete coagents, without a baseline as the authors ran it."""
    system = System("discrete_none_3", images, discrete(3))
    lines = [Line("accuracy", "training", system, "training"), Line("accuracy", "test", system, "test")]
    for curve in ("entropy", "sparsity"):
        lines += [Line(curve, f"layer {layer + 1}", system, f"{curve}_{layer}") for layer in range(3)]
    return Figure("Figure 3b: three layers of discrete coagents", tuple(lines), dict.fromkeys(IMAGES, 10_000))


def figure4a(images: str) -> Figure:
    """Layer critics on-policy and off-policy, and REINFORCE, three hidden layers."""
    lines = []
    kwargs = {"hidden_layer_sizes": [64], "learning_rate": 2.0 * RATE}
    for label, critic in (("off-policy critics", "off_policy"), ("on-policy critics", "on_policy"), ("REINFORCE", None)):
        changes = {"critic": critic, "critic_kwargs": kwargs} if critic else {}
        system = System(f"critic_{critic}_3" if critic else "discrete_none_3", images, discrete(3, **changes))
        lines.append(Line(f"{images}, three hidden layers", label, system, "training"))
    return Figure("Figure 4a: layer critics", tuple(lines), dict.fromkeys(IMAGES, 1000))


def on_walk(d: float, rate: float, deviation: float | None) -> System:
    """A network of 50 hidden units on the walk: Co-G with a deviation, backprop without."""
    shared: dict[str, Any] = {"hidden_layer_sizes": [50], "learning_rate": rate}
    if deviation is None:
        return System(f"backprop_{d}_{rate:.2g}", WALK, {**shared, "rule": "backprop", "optimizer": "adam"}, d)
    arguments = gaussian(WALK, 1, baseline="global", deviation=deviation) | shared
    return System(f"gaussian_global_{d}_{rate:.2g}_{deviation}", WALK, arguments, d)


CHOSEN = {
    0.0: (2.0**-7, 2.0**-7, 0.25),
    0.85: (2.0**-14, 2.0**-9, 2.0),  # not published: those of 0.95
    0.95: (2.0**-14, 2.0**-9, 2.0),
    0.98: (2.0**-14, 2.0**-9, 2.0),
    1.0: (2.0**-14, 2.0**-9, 4.0),
}
"""d → the authors' step size for backprop, theirs for Co-G, and σ."""


def figure4b(images: str) -> Figure:
    """The piecewise random walk with five correlations."""
    lines = []
    for d, (for_backprop, for_coagents, deviation) in CHOSEN.items():
        lines.append(Line(f"d = {d}", "backprop", on_walk(d, for_backprop, None), "test"))
        lines.append(Line(f"d = {d}", "Co-G", on_walk(d, for_coagents, deviation), "test"))
    return Figure("Figure 4b: the piecewise random walk", tuple(lines), {WALK: 200})


def figure4c(images: str) -> Figure:
    """Step sizes on the walk with d = 0.95."""
    lines = []
    for power in (7, 9, 11, 14):
        for panel, deviation in (("Co-G, d = 0.95", 2.0), ("backprop, d = 0.95", None)):
            lines.append(Line(panel, f"α = 2^-{power}", on_walk(0.95, 2.0**-power, deviation), "test"))
    return Figure("Figure 4c: step sizes", tuple(lines), {WALK: 200})


FIGURES = {
    figure.__name__: figure for figure in (figure2a, figure2b, figure2c, figure3a, figure3b, figure4a, figure4b, figure4c)
}

ONE_PATH = {"n_samples": 1}
RULES: dict[str, dict[str, Any]] = {
    "Co": {"rule": "reinforce", "baseline": None, **ONE_PATH},
    "Co-G": {"rule": "reinforce", "baseline": "global", **ONE_PATH},
    "Co-G, 10 paths": {"rule": "reinforce", "baseline": "global", "n_samples": 10},
    "Co-G, off-policy critics": {"rule": "reinforce", "baseline": "global", "critic": "off_policy", **ONE_PATH},
    "Thomas (2011)": {"rule": "thomas", **ONE_PATH},
    "Weight Max": {"rule": "weight_max", **ONE_PATH},
    "Weight Max, 10 paths": {"rule": "weight_max", "n_samples": 10},
    "MAP Propagation": {"rule": "map_prop", **ONE_PATH},
    "node perturbation": {"rule": "node_perturbation", **ONE_PATH},
    "feedback alignment": {"rule": "feedback_alignment"},
    "straight-through": {"rule": "straight_through", **ONE_PATH},
    "backprop": {"rule": "backprop"},
    "hidden layers frozen": {"rule": "reinforce", "frozen_layers": "hidden", **ONE_PATH},
}
"""Rows of the table of rules: what every trial and run of a row has in common."""


# ---------------------------------------------------------------------- drawing


def measured(lines: Sequence[Line]) -> str:
    """What the lines of a panel show, for the axis."""
    layers = {"entropy": "entropy of a unit (nats)", "sparsity": "share of active units"}
    curves = " and ".join(dict.fromkeys(line.curve.partition("_")[0] for line in lines))
    return layers.get(curves, f"{curves} accuracy" if lines[0].system.data in IMAGES else "mean squared error on test data")


class PlainLogFormatter(LogFormatter):
    """Writes 60 and 0.6 where matplotlib writes 6 × 10¹ and 6 × 10⁻¹."""

    def __call__(self, x: float, pos: Any = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def written(label: str) -> str:
    """A label with its exponents as they are printed: 2^-7 is 2⁻⁷."""
    return re.sub(r"\^(-?\d+)", lambda match: match[1].translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")), label)


def draw_figure(
    path: Path, figure: Figure, curves: Callable[[Line], tuple[np.ndarray, np.ndarray] | None]
) -> matplotlib.figure.Figure:
    """One panel beside the other: means over runs, and one standard error to both sides, as in the paper.

    Args:
        curves: epochs and the curve of every run of a line, shapes (n_entries,) and (n_runs, n_entries); None without runs.
    """
    from coagent_rl.analysis.style import (
        MOST_LABELS,
        EndLabel,
        applied,
        footnote,
        label_ends,
        looks,
        save_figure,
        settle_labels,
    )

    panels: dict[str, list[Line]] = {}
    for line in figure.lines:
        panels.setdefault(line.panel, []).append(line)
    in_legend = max(map(len, panels.values())) > MOST_LABELS
    n_columns = min(len(panels), (4 if len(panels) % 2 == 0 and len(panels) > 2 else 3) if in_legend else 2)
    n_rows = -(-len(panels) // n_columns)
    # The paper's agents come first, so that they have the same colours in all figures.
    styles = looks(list(dict.fromkeys([*BASELINES, *(line.label for line in figure.lines)])))
    with applied():
        size = (3.2 * n_columns + 1.8, 3.0 * n_rows) if in_legend else (5.4 * n_columns, 3.0 * n_rows)
        drawn = matplotlib.figure.Figure(figsize=size, layout="constrained")
        ends: dict[Any, list[EndLabel]] = {}
        for axes, (panel, lines) in zip(drawn.subplots(n_rows, n_columns, squeeze=False).flat, panels.items(), strict=False):
            for line in lines:
                found = curves(line)
                if found is None:
                    continue
                epochs, values = found
                mean, error = values.mean(axis=0), values.std(axis=0, ddof=min(len(values) - 1, 1)) / np.sqrt(len(values))
                style = styles[line.label]
                axes.plot(epochs, mean, label=line.label, color=style.colour, linestyle=style.dashes)
                low = np.maximum(mean - error, values.min(axis=0))  # an error is never negative
                high = np.minimum(mean + error, 1.0) if lines[0].system.data in IMAGES else mean + error
                axes.fill_between(epochs, low, high, color=style.colour, alpha=0.2, linewidth=0)
                ends.setdefault(axes, []).append(EndLabel(written(line.label), float(epochs[-1]), float(mean[-1]), style))
            data, comma, words = panel.partition(",")
            axes.set_title(WRITTEN.get(data, data) + comma + words)
            axes.set_xlabel("segments" if lines[0].system.data == WALK else "epochs")
            axes.set_ylabel(measured(lines))
            if lines[0].system.data not in IMAGES:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(PlainLogFormatter())
                axes.yaxis.set_minor_formatter(PlainLogFormatter(minor_thresholds=(2, 0.4)))
        for axes in drawn.axes[len(panels) :]:
            axes.set_axis_off()
        handles = {line.get_label(): line for axes in drawn.axes for line in axes.lines}
        footnote(drawn, "Mean ± one standard error over runs.")
        if in_legend:
            drawn.legend(handles.values(), handles.keys(), loc="outside right upper")
        else:
            settle_labels(drawn, {axes: label_ends(drawn, axes, labels) for axes, labels in ends.items()})
        save_figure(drawn, path)
    return drawn
