"""What training was like, epoch by epoch, and a figure of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

History = dict[str, list[Any]]
"""One entry an epoch in every list; the first is from before training:

- ``epoch``: how many were over.
- ``loss``: mean loss of the sampled paths that the epoch learned from; NaN before training.
- ``training_score``, ``validation_score``: of greedy predictions, accuracy or R²; NaN without a validation set.
- ``entropy``: of what a unit draws, in nats, a list with the mean of each hidden layer; NaN for deterministic layers.
- ``sparsity``: share of the units whose greedy value is positive, a list with the mean of each hidden layer.
"""


def new_history() -> History:
    """A history without any epoch."""
    return {name: [] for name in ("epoch", "loss", "training_score", "validation_score", "entropy", "sparsity")}


def history_figure(path: str | Path, history: Mapping[str, Sequence[Any]], title: str = "") -> Figure:
    """Draw scores, loss, entropy and sparsity against epochs, one panel each.

    Args:
        path: of the figure, written whole or not at all; its suffix says the format.
        history: `CoagentClassifier.history_`.
        title: of the figure.

    Returns:
        The figure that was written.

    Raises:
        ValueError: for a history without any epoch.
    """
    from matplotlib.figure import Figure

    from coagent_rl.analysis.style import PALETTE, EndLabel, Look, applied, label_ends, save_figure, settle_labels

    if not history["epoch"]:
        raise ValueError("The history holds no epoch: fit the estimator first.")
    epochs = np.asarray(history["epoch"])
    layered = {name: np.asarray(history[name], dtype=float).T for name in ("entropy", "sparsity")}
    panels: dict[str, dict[str, np.ndarray]] = {
        "score": {name: np.asarray(history[f"{name}_score"], dtype=float) for name in ("training", "validation")},
        "loss of the sampled paths": {"": np.asarray(history["loss"], dtype=float)},
        "entropy of a unit (nats)": {f"hidden layer {k + 1}": one for k, one in enumerate(layered["entropy"])},
        "share of active units": {f"hidden layer {k + 1}": one for k, one in enumerate(layered["sparsity"])},
    }
    with applied():
        figure = Figure(figsize=(9.6, 6.0), layout="constrained")
        columns = {}
        for axes, (measured, lines) in zip(figure.subplots(2, 2, sharex=True).flat, panels.items(), strict=True):
            ends = []
            for (name, values), colour in zip(lines.items(), PALETTE, strict=False):
                if np.any(np.isfinite(values)):
                    axes.plot(epochs, values, color=colour, marker="" if len(epochs) > 1 else "o")
                    ends.append(EndLabel(name, float(epochs[-1]), float(values[np.isfinite(values)][-1]), Look(colour)))
            axes.set_ylabel(measured)
            columns[axes] = label_ends(figure, axes, [end for end in ends if end.text])
        for axes in figure.axes[2:]:
            axes.set_xlabel("epoch")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        settle_labels(figure, columns)
        save_figure(figure, Path(path))
    return figure
