"""Drawings of networks: names, weights by sign and size, units by what they did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from coagent_rl.analysis.names import REFERENCE, kind_in_words, layer_names, unit_names, unit_places, weight_shares
from coagent_rl.analysis.style import CHOSEN, EXCITES, GREY, INHIBITS, INK, applied, footnote, save_figure

if TYPE_CHECKING:
    from coagent_rl.networks import Network

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
MOST_NUMBERS = 20
"""Units of larger layers have no number beside them."""


def draw_network(axes: Axes, network: Network, env_id: str | None, most: int = 120, size: float = 7.5) -> list[np.ndarray]:
    """Draw what stays of a network whatever it does: its strongest weights and the names.

    Args:
        axes: are given limits in which everything has room.
        env_id: of the task, whose inputs and actions may have names.
        most: number of weights drawn between two layers.
        size: of the letters, in points.

    Returns:
        Places of the inputs and of every layer's units, see `unit_places`.
    """
    places = unit_places(network)
    for index, shares in enumerate(weight_shares(network)):
        layer = network.layers[index]
        # A categorical unit has a weight for every level, all of which end at it.
        targets = np.repeat(places[index + 1], len(layer.levels) if layer.kind == "categorical" else 1, axis=0)
        draw_weights(axes, places[index], targets, shares, most)
    axes.set_xlim(-0.34, 1.42)
    axes.set_ylim(-0.06, 1.1)
    axes.axis("off")
    names = unit_names(network, env_id)
    for (x, y), name in zip(places[0], names[0], strict=True):
        axes.text(x - 0.05, y, name, ha="right", va="center", fontsize=size - 1)
    for (x, y), name in zip(places[-1], names[-1], strict=True):
        axes.text(x + 0.045, y, name, ha="left", va="center", fontsize=size)
    if network.layers[-1].kind == "softmax_reference":
        x, y = places[-1][-1]
        axes.text(x + 0.045, y - 0.035, REFERENCE, va="center", fontsize=size - 2, color=GREY)
    return places


def draw_weights(axes: Axes, sources: np.ndarray, targets: np.ndarray, shares: np.ndarray, most: int) -> None:
    """Draw the ``most`` largest weights between two columns of units, by sign and size.

    Args:
        sources, targets: places, shapes (n_in, 2) and (≥ n_pre, 2); the reference of a softmax layer has no weights.
        shares: weights divided by the largest, shape (n_in, n_pre).
    """
    strength = np.abs(shares)
    least = np.sort(strength, axis=None)[-min(most, strength.size)]
    rows, columns = np.nonzero(strength >= max(least, 1e-9))
    order = np.argsort(strength[rows, columns])
    rows, columns = rows[order], columns[order]
    drawn, signs = strength[rows, columns], shares[rows, columns] > 0
    colours = [(*to_rgb(EXCITES if sign else INHIBITS), 0.08 + 0.55 * one) for sign, one in zip(signs, drawn, strict=True)]
    lines = np.stack([sources[rows], targets[columns]], axis=1)
    axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=0.3 + 1.3 * drawn, zorder=1))


def colour_of(value: float, largest: float, is_signed: bool) -> tuple[float, ...]:
    """Colour of a unit on white, RGB from 0 to 1: ink where it fires; blue and orange where a layer's values have signs.

    Args:
        largest: absolute value with the full colour.
    """
    ink = np.array(to_rgb(INK if not is_signed else EXCITES if value > 0 else INHIBITS))
    return tuple((1 + (ink - 1) * (0.04 + 0.96 * min(abs(value) / largest, 1.0))).tolist())


def network_picture(
    path: Path, network: Network, observation: np.ndarray, seed: int = 0, env_id: str | None = None
) -> Figure:
    """Draw a network in the act: what every unit did for one observation, and the weights between them.

    Args:
        network: units are drawn as circles, filled by their value; lines are weights, by sign and size.
        observation: shape (n_inputs,).
        seed: of the sample that is shown.
        env_id: of the task, whose inputs and actions may have names.

    Returns:
        The figure that was written.
    """
    values, means = network.activities(observation[None], np.random.default_rng(seed))
    slots = [slice(0, network.n_inputs), *(network.slot(index) for index in range(network.depth))]
    with applied():
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.add_subplot()
        places = draw_network(axes, network, env_id)
        kinds = ["", *(f"{layer.n_values} {kind_in_words(layer.kind)}" for layer in network.layers[:-1]), ""]
        for index, (place, title) in enumerate(zip(places, layer_names(network), strict=True)):
            x = float(place[:, 0].mean())
            axes.text(x, 1.05, title, ha="center", va="bottom", fontsize=9)
            axes.text(x, 1.045, kinds[index], ha="center", va="top", fontsize=7, color=GREY)
            shown = values[0, slots[index]]
            for unit, (across, up) in enumerate(place):
                is_output = index == network.depth
                is_chosen = is_output and network.layers[-1].kind.startswith("softmax") and shown[unit] > 0
                fill = colour_of(float(shown[unit]), float(np.abs(shown).max()) or 1.0, bool(shown.min() < 0))
                axes.scatter(
                    [across],
                    [up],
                    s=140 if len(place) < MOST_NUMBERS else 40,
                    color=[CHOSEN if is_chosen else fill],
                    edgecolors=GREY,
                    linewidths=0.8,
                    linestyle=(0, (2, 1.5)) if is_output and unit >= network.layers[-1].n_pre else "-",
                    zorder=2,
                )
        how = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": 6, "zorder": 1.5, "bbox": _PAPER}
        for index in range(1, network.depth + 1):
            if len(places[index]) < MOST_NUMBERS and network.layers[index - 1].kind != "categorical":
                for (x, y), mean in zip(places[index], means[0, slots[index]], strict=True):
                    axes.annotate(f"{mean:.2f}", (x, y), (0, -7), **how)  # type: ignore[arg-type]
        fires = all(layer.kind == "bernoulli" for layer in network.layers[:-1])
        units = (
            "Black: fired. Numbers: probability to fire, or to be chosen." if fires else "Numbers: what units draw around."
        )
        footnote(figure, f"{units} Green: the chosen action. Lines: the strongest weights, blue positive, orange negative.")
        save_figure(figure, path)
    return figure
