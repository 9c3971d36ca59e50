"""What each rule tells a neuron, drawn: ``python -m benchmarks.rule_drawings`` writes the pictures in ``docs/images``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from coagent_rl.analysis.style import EXCITES, GREY, INHIBITS, INK, applied, save_figure

IMAGES = Path(__file__).parents[1] / "docs" / "images"
Point = tuple[float, float]

INPUTS: tuple[Point, ...] = ((0.0, 1.55), (0.0, 0.45))
HIDDEN: tuple[Point, ...] = ((1.0, 2.0), (1.0, 1.0), (1.0, 0.0))
OUTPUTS: tuple[Point, ...] = ((2.0, 1.55), (2.0, 0.45))
UNIT = HIDDEN[1]
"""The hidden unit of which the caption speaks."""
JUDGE = (2.8, 1.0)
"""Where the TD error stands."""
RADIUS = 0.13
SIGNAL, PROBABILITY, FAINT = INHIBITS, EXCITES, "#C8C8C8"


def network(axes: Axes) -> None:
    """Draw weights and units; those that fired are dark, and the unit of the caption has a ring."""
    for source in INPUTS:
        for target in HIDDEN:
            axes.plot(*zip(source, target, strict=True), color=FAINT, linewidth=0.8, zorder=1)
    for source in HIDDEN:
        for target in OUTPUTS:
            axes.plot(*zip(source, target, strict=True), color=FAINT, linewidth=0.8, zorder=1)
    for place in INPUTS:
        axes.add_patch(Circle(place, 0.05, color=GREY, zorder=3))
    for place in (*HIDDEN, *OUTPUTS):
        fired = place in (HIDDEN[0], UNIT, OUTPUTS[0])
        axes.add_patch(Circle(place, RADIUS, facecolor=INK if fired else "white", edgecolor=INK, linewidth=1.0, zorder=3))
    axes.add_patch(Circle(UNIT, RADIUS + 0.07, fill=False, edgecolor=INK, linewidth=0.8, zorder=3))


def arrow(
    axes: Axes, start: Point, end: Point, colour: str = SIGNAL, bend: float = 0.0, look: str = "-|>", **more: object
) -> None:
    """An arrow that leaves room for the units at its ends."""
    settings = {"linewidth": 1.5, "linestyle": "-", **more}
    patch = FancyArrowPatch(
        start,
        end,
        arrowstyle=f"{look},head_length=4,head_width=2.2",
        connectionstyle=f"arc3,rad={bend}",
        color=colour,
        shrinkA=8,
        shrinkB=11 if end == UNIT else 8,
        zorder=2,
        **settings,
    )
    axes.add_patch(patch)


def judge(axes: Axes, text: str = "δ") -> None:
    """The TD error, which comes from outside the network."""
    axes.add_patch(Circle(JUDGE, 0.17, facecolor=SIGNAL, edgecolor="none", zorder=3))
    axes.text(*JUDGE, text, ha="center", va="center", color="white", fontsize=11, fontweight="bold", zorder=4)


def told_all(axes: Axes, hidden: Sequence[Point] = HIDDEN) -> None:
    """δ goes to all outputs and to these hidden units."""
    judge(axes)
    for place in OUTPUTS:
        arrow(axes, JUDGE, place, bend=0.1 if place[1] > 1 else -0.1)
    for place in hidden:
        arrow(axes, JUDGE, place, bend={2.0: 0.28, 1.0: 0.0, 0.0: -0.28}[place[1]])


def reinforce(axes: Axes) -> None:
    """One δ for all."""
    told_all(axes)


def weight_max(axes: Axes) -> None:
    """δ for the outputs; the unit hears how its outgoing weights grew."""
    judge(axes)
    for place in OUTPUTS:
        arrow(axes, JUDGE, place, bend=0.1 if place[1] > 1 else -0.1)
        axes.plot(*zip(UNIT, place, strict=True), color=SIGNAL, linewidth=3.2, alpha=0.45, zorder=1, solid_capstyle="butt")
        arrow(axes, (1.62, 1.0 + 0.42 * (place[1] - 1.0)), UNIT, bend=0.45 if place[1] > 1 else -0.45)
    axes.text(1.72, 1.0, "Δw", color=SIGNAL, ha="center", va="center", fontsize=9, zorder=4)


def map_prop(axes: Axes) -> None:
    """Units settle between what is below and above them; then δ for all."""
    told_all(axes, (HIDDEN[0], HIDDEN[2]))
    for place in (*INPUTS, *OUTPUTS):
        arrow(axes, place, UNIT, PROBABILITY, look="<|-|>" if place in OUTPUTS else "-|>")
    arrow(axes, JUDGE, UNIT)


def thomas(axes: Axes) -> None:
    """Only some explore."""
    told_all(axes, (UNIT,))
    for place in (HIDDEN[0], HIDDEN[2]):
        axes.add_patch(
            Circle(place, RADIUS + 0.03, facecolor="#E4E4E4", edgecolor=GREY, linestyle=":", linewidth=1.2, zorder=4)
        )


def posterior(axes: Axes) -> None:
    """The probability of the unit given all that it touches."""
    told_all(axes)
    for place in (*INPUTS, *OUTPUTS):
        arrow(axes, place, UNIT, PROBABILITY)


def node_perturbation(axes: Axes) -> None:
    """Each has noise of its own."""
    told_all(axes)
    for x, y in HIDDEN:
        axes.text(
            x - 0.27, y + 0.2, "ξ", color=PROBABILITY, ha="center", va="center", fontsize=11, fontweight="bold", zorder=4
        )


def decentralized_ddpg(axes: Axes) -> None:
    """A critic at every neuron."""
    judge(axes)
    for x, y in (*HIDDEN, *OUTPUTS):
        box = (x + 0.27, y + 0.25)
        axes.add_patch(
            FancyBboxPatch(
                (box[0] - 0.1, box[1] - 0.1),
                0.2,
                0.2,
                boxstyle="round,pad=0.03",
                facecolor=PROBABILITY,
                edgecolor="none",
                zorder=4,
            )
        )
        axes.text(*box, "Q", color="white", ha="center", va="center", fontsize=8, fontweight="bold", zorder=5)
        arrow(axes, JUDGE, box, bend=-0.5 if y == 0 else 0.12 if y > 1 else -0.12, linewidth=0.9)
        axes.plot(*zip(box, (x, y), strict=True), color=PROBABILITY, linewidth=2.0, zorder=2)


def straight_through(axes: Axes) -> None:
    """The outputs' errors come back along the weights."""
    judge(axes)
    for place in OUTPUTS:
        arrow(axes, JUDGE, place, bend=0.1 if place[1] > 1 else -0.1)
        arrow(axes, place, UNIT)


def feedback_alignment(axes: Axes) -> None:
    """The same errors, through fixed random weights."""
    judge(axes)
    for place in OUTPUTS:
        arrow(axes, JUDGE, place, bend=0.1 if place[1] > 1 else -0.1)
        arrow(axes, place, UNIT, bend=0.35 if place[1] > 1 else -0.35, linestyle=(0, (3, 1.5)), linewidth=1.3)
        axes.text(
            1.5, 1.0 + 0.62 * (1 if place[1] > 1 else -1), "b", color=SIGNAL, ha="center", va="center", fontsize=9, zorder=4
        )


Panel = tuple[str, Callable[[Axes], None], str, str]
PANELS: tuple[Panel, ...] = (
    ("REINFORCE", reinforce, "δ (h − p)", "All units hear the same TD error\nfor the value that they drew."),
    ("Weight Max", weight_max, "R (h − p),  R = Σ 2 w Δw", "A unit is paid in the growth of\nits outgoing weights."),
    (
        "MAP Propagation",
        map_prop,
        "δ (h* − m) / σ²",
        "Units settle on what they most probably\ndid, given the action; then all hear δ.",
    ),
    ("Thomas (2011)", thomas, "δ (h − p), or nothing", "Only a random part explores at a time,\nand hears δ."),
    ("Posterior rule", posterior, "δ (q − p)", "Instead of the value: its probability\ngiven all that the unit touches."),
    (
        "Node perturbation",
        node_perturbation,
        "δ ξ f′ / σ²",
        "Each has noise of its own; if it went\nwell, the mean follows the noise.",
    ),
    ("Decentralized DDPG", decentralized_ddpg, "f′ ∂Q/∂a", "Each neuron climbs a small critic\nof its own."),
    ("Straight-through", straight_through, "δ Σ w s", "A comparator: the outputs' scores s come\nback along the weights."),
    (
        "Feedback alignment",
        feedback_alignment,
        "δ f′ Σ b s",
        "A comparator: the same scores, through\nfixed random weights b.",
    ),
)
"""Name, drawing, credit c of the unit with the ring (its weights move along c × input), and what that means."""


def draw(path: Path, panels: Sequence[Panel], columns: int = 3) -> Figure:
    """Draw some of the rules, one panel each."""
    rows = -(-len(panels) // columns)
    with applied():
        figure = Figure(figsize=(3.1 * columns, 3.3 * rows))
        for k, (name, paint, credit, meaning) in enumerate(panels):
            axes = figure.add_axes(((k % columns) / columns, 1 - (k // columns + 1) / rows, 1 / columns, 1 / rows))
            axes.set_xlim(-0.55, 3.35)
            axes.set_ylim(-1.35, 2.86)
            axes.set_aspect("equal")
            axes.axis("off")
            network(axes)
            paint(axes)
            axes.text(-0.45, 2.6, name, fontsize=12, fontweight="bold", va="center")
            axes.text(-0.45, -0.5, f"c = {credit}", fontsize=10, va="center")
            axes.text(-0.45, -0.72, meaning, fontsize=9, va="top", color=INK, linespacing=1.25)
        save_figure(figure, path)
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--folder", type=Path, default=IMAGES, help="where the pictures go")
    folder = p.parse_args(argv).folder
    draw(folder / "rules.png", PANELS[:3])
    draw(folder / "more_rules.png", PANELS[3:])


if __name__ == "__main__":
    main()
