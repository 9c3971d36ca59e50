"""What training was like, epoch by epoch, and a figure of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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


def history_figure(path: str | Path, history: Mapping[str, Sequence[Any]], title: str = "") -> None:
    """Draw scores, loss, entropy and sparsity against epochs, one panel each.

    Args:
        path: of the figure, written whole or not at all; its suffix says the format.
        history: `CoagentClassifier.history_`.
        title: of the figure.

    Raises:
        ValueError: for a history without any epoch.
    """
    from matplotlib.figure import Figure

    from coagent_rl.analysis.plots import save_figure

    if not history["epoch"]:
        raise ValueError("The history holds no epoch: fit the estimator first.")
    epochs = np.asarray(history["epoch"])
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    scores, losses, entropies, sparsities = figure.subplots(2, 2, sharex=True).flat
    for name in ("training_score", "validation_score"):
        values = np.asarray(history[name], dtype=float)
        if np.any(np.isfinite(values)):
            scores.plot(epochs, values, label=name.replace("_score", ""))
    scores.set_ylabel("score")
    scores.legend(frameon=False)
    losses.plot(epochs, np.asarray(history["loss"], dtype=float))
    losses.set_ylabel("loss of the sampled paths")
    for axes, name, label in (
        (entropies, "entropy", "entropy of a unit (nats)"),
        (sparsities, "sparsity", "share of active units"),
    ):
        for index, values in enumerate(np.asarray(history[name], dtype=float).T):
            if np.any(np.isfinite(values)):
                axes.plot(epochs, values, label=f"hidden layer {index + 1}")
        axes.set_ylabel(label)
        axes.set_xlabel("epoch")
        if axes.lines:
            axes.legend(frameon=False)
    for axes in (scores, losses, entropies, sparsities):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    save_figure(figure, Path(path))
