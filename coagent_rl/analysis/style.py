"""One style for all figures: colours that stay with a method, names at the ends of lines, a thin grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import ScaledTranslation

from coagent_rl.analysis.known import METHODS, method_of
from coagent_rl.files import write_whole

DPI = 200
NOTE_SIZE = 7.0
MOST_LABELS = 9
"""With more curves than this a panel has a legend below the figure instead of names at the ends of its lines."""
MOST_VARIANTS = 3
_LABEL_WIDTH = 26  # characters, after which a name goes on in the next line
GREY = "#606060"
"""Of axes, notes and frozen networks."""
INK, EXCITES, INHIBITS, CHOSEN = "#1A1A1A", "#0072B2", "#D55E00", "#009E73"
"""Of drawn networks: units that fire, positive and negative weights (or values), the chosen action."""

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: figures look the same everywhere
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "coagent_rl",  # the same figure is the same file
}


@contextmanager
def applied() -> Iterator[None]:
    """Figures are made and saved in this style inside the ``with`` block; the user's settings come back after it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        # Laid out at the resolution at which it is saved: the widths of letters are rounded to pixels.
        mpl.rcParams.update({**_SETTINGS, "figure.dpi": DPI})
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all, as the suffix says (``.png``, ``.svg``); the same figure is the same file."""
    FigureCanvasAgg(figure)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with applied():
        write_whole(path, lambda beside: figure.savefig(beside, dpi=DPI, metadata=metadata))


# ---------------------------------------------------------------------- colours


@dataclass(frozen=True)
class Look:
    """How a curve is drawn.

    Attributes:
        colour: ``"#rrggbb"``.
        dashes: a line style of matplotlib. Dotted is left for what was published.
    """

    colour: str
    dashes: Any = "-"

    @property
    def text_colour(self) -> tuple[float, ...]:
        """The colour a shade darker, in which small letters can be read on white."""
        return tuple(0.75 * part for part in to_rgb(self.colour))


_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1.2)), (0, (8, 1.5, 1, 1.5, 1, 1.5)))
_LOOKS = {
    "weight_max": Look("#0072B2"),
    "weight_max_traces": Look("#0072B2", _DASHES[1]),
    "weight_max_pipelined": Look("#0072B2", _DASHES[2]),
    "map_prop": Look("#D55E00"),
    "decentralized_ddpg": Look("#009E73"),
    "node_perturbation": Look("#56B4E9"),
    "reinforce": Look("#E69F00"),
    "reinforce_untuned": Look("#E69F00", _DASHES[1]),
    "reinforce_thomas": Look("#CC79A7"),
    "coordinated_exploration": Look("#99BB66"),
    "posterior_rule": Look("#AA77FF"),
    "product_rule": Look("#773377"),
    "ste_backprop": Look("#661100"),
    "hindsight": Look("#995533"),
    "disarm": Look("#9933EE"),
    "rebar": Look("#CC00AA"),
    "noise_based": Look("#440044"),
    "evolution_strategies": Look("#A24200"),
    "synthetic_gradients": Look("#0000FF"),
    "equilibrium_propagation": Look("#333333"),
    "feedback_alignment": Look("#332288"),
    "backprop": Look("#000000"),
    "frozen": Look(GREY),
}
"""A colour an algorithm, a dash pattern a variant: Okabe & Ito's palette without yellow, brown, indigo, grey and others.

Any two differ by at least 15 in CIELAB, also as seen without one of the three kinds of cones.
"""
PALETTE = ("#332288", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00", "#661100", "#0072B2", "#000000")
"""The first of them without the grey, in the order in which names that are not known get those that are free."""


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """Give every curve of a figure its look.

    A label that begins with the name of a method (see `method_of`) has that method's colour in every figure, and variants of
    a method differ in their dashes; of more than three only the method itself keeps the colour. All others get, in their
    order, the colours that no label of this figure has. Two curves never look the same while there are patterns left.
    """
    known = {label: _LOOKS[method] for label in labels if (method := method_of(label)) is not None}
    colours = [look.colour for look in known.values()]
    plain = {label for label in known if label == METHODS.get(method_of(label) or "")}
    known = {label: look for label, look in known.items() if label in plain or colours.count(look.colour) <= MOST_VARIANTS}
    used = {look.colour for look in known.values()}
    free = [colour for colour in PALETTE if colour not in used] or PALETTE
    others = [label for label in labels if label not in known]
    wanted = {label: Look(free[k % len(free)]) for k, label in enumerate(others)} | known
    # The plain name of a method comes first, so that the pattern that is its own stays its own.
    taken: set[Look] = set()
    result: dict[str, Look] = {}
    for label in sorted(labels, key=lambda label: label not in plain):
        own = wanted[label]
        patterns = [own.dashes, *(dashes for dashes in _DASHES if dashes != own.dashes)]
        possible = [Look(own.colour, dashes) for dashes in patterns]
        result[label] = next((look for look in possible if look not in taken), own)
        taken.add(result[label])
    return {label: result[label] for label in labels}


# ---------------------------------------------------------------------- names at the ends of lines


def spread_out(centres: Sequence[float], heights: Sequence[float], low: float, high: float) -> np.ndarray:
    """Move intervals as little as possible, in the sense of least squares, so that none overlaps another.

    Args:
        centres: where the intervals would like to be, shape (n,).
        heights: their lengths, shape (n,).
        low, high: all end up between these, where there is room for them; otherwise they begin at ``low``.

    Returns:
        Their centres, shape (n,); the order stays, ties in the order given.

    With the stacked positions subtracted this is isotonic regression, solved by pooling adjacent violators (Barlow et al.
    1972); bounds then only clip the solution.
    """
    order = np.argsort(centres, kind="stable")
    wanted, sizes = np.asarray(centres, float)[order], np.asarray(heights, float)[order]
    stacked = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])
    blocks: list[list[float]] = []  # [mean, number of members]
    for value in wanted - stacked:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (left, n), (right, m) = blocks[-2:]
            blocks[-2:] = [[(left * n + right * m) / (n + m), n + m]]
    level = np.concatenate([np.full(int(n), mean) for mean, n in blocks])
    bottom, top = low + sizes[0] / 2, high - sizes[-1] / 2 - stacked[-1]
    result = np.empty_like(wanted)
    result[order] = np.maximum(np.minimum(level, top), bottom) + stacked
    return result


@dataclass(frozen=True)
class EndLabel:
    """A name that stands beside the end of its line.

    Attributes:
        text: what is written; a long name takes several lines.
        x, y: end of the line, in the units of the axes.
        look: of the line.
        small: for what matters less.
    """

    text: str
    x: float
    y: float
    look: Look
    small: bool = False


def label_ends(figure: Figure, axes: Axes, labels: Sequence[EndLabel]) -> list[Annotation]:
    """Write names to the right of the axes, each as near to the end of its line as the others let it.

    `settle_labels` moves them apart once the figure is complete.
    """
    beside = axes.transAxes + ScaledTranslation(15 / 72, 0, figure.dpi_scale_trans)  # x from 15 points right of the axes
    return [
        axes.annotate(
            fill(label.text, _LABEL_WIDTH),
            (label.x, label.y),
            xytext=(1.0, 0.5),
            textcoords=beside,
            ha="left",
            va="center",
            fontsize=NOTE_SIZE if label.small else 8.0,
            linespacing=1.0,
            color=label.look.text_colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": label.look.colour,
                "linewidth": 0.5,
                "alpha": 0.7,
                # It begins left of the name; matplotlib's own clipping of lines is by bisection, and slow.
                "relpos": (-0.03, 0.5),
                "patchA": None,
                "shrinkA": 0.0,
                "shrinkB": 0.0,
            },
        )
        for label in labels
    ]


def settle_labels(figure: Figure, columns: Mapping[Axes, Sequence[Annotation]]) -> None:
    """Lay the figure out and move the names of each axes apart, to where nothing overlaps.

    Args:
        columns: axes → what `label_ends` returned.
    """
    FigureCanvasAgg(figure)
    gap = 2 / 72 * figure.dpi
    # Names decide how much room there is for the axes, and the axes where the names go: twice is enough for both.
    for _ in range(2):
        figure.draw_without_rendering()
        for axes, names in columns.items():
            if not names:
                continue
            frame = axes.get_window_extent()
            ends = [axes.transData.transform(np.array([name.xy], float))[0, 1] for name in names]
            heights = [Text.get_window_extent(name).height + gap for name in names]
            room = sum(heights) - frame.height
            low, high = frame.y0 - max(room, 0) / 2, frame.y1 + max(room, 0) / 2
            for name, y in zip(names, spread_out(ends, heights, low, high), strict=True):
                name.set_position((1.0, (y - frame.y0) / frame.height))
    figure.set_layout_engine("none")  # as it is now it stays


def footnote(figure: Figure, text: str) -> None:
    """Write what the reader must know below the figure, in lines as long as it is wide."""
    width = int(figure.get_figwidth() * 72 / (0.5 * NOTE_SIZE))
    note = figure.supxlabel(fill(text, width), x=0.01, ha="left", fontsize=NOTE_SIZE, color=GREY)
    while note.get_window_extent().x1 > 0.99 * figure.bbox.width and width > 20:
        width -= 1
        note.set_text(fill(text, width))
