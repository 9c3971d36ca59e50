"""What the units of a trained network do: firing rates, entropies, correlations, outgoing weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coagent_rl.analysis.style import EXCITES, applied, save_figure
from coagent_rl.networks import Network


@dataclass(frozen=True)
class LayerStatistics:
    """Statistics of one hidden layer of n units over a batch of observations.

    Attributes:
        firing_rate: mean value of each unit, shape (n,).
        entropy: entropy of each Bernoulli unit's values in bits, shape (n,): 1 at a rate of one half, 0 if it never
            changes. NaN for units of other kinds.
        correlation: absolute Pearson correlation between every two units, shape (n, n); NaN with a unit that never changes.
        outgoing_norm: L² norm of each unit's outgoing weights, shape (n,).
    """

    firing_rate: np.ndarray
    entropy: np.ndarray
    correlation: np.ndarray
    outgoing_norm: np.ndarray

    @property
    def mean_correlation(self) -> float:
        """Mean absolute correlation over all pairs of different units that both change; NaN without such a pair."""
        pairs = self.correlation[np.triu_indices(len(self.correlation), 1)]
        pairs = pairs[np.isfinite(pairs)]
        return float(pairs.mean()) if pairs.size else float("nan")


def absolute_correlation(values: np.ndarray) -> np.ndarray:
    """Absolute Pearson correlation between columns.

    Args:
        values: shape (n_samples, n_units).

    Returns:
        Shape (n_units, n_units); NaN where a column is constant.
    """
    centred = values - values.mean(axis=0)
    deviation = np.sqrt(np.mean(centred**2, axis=0))
    deviation[deviation < 1e-12] = np.nan
    standardised = centred / deviation
    return np.asarray(np.abs(standardised.T @ standardised) / len(values))


def unit_statistics(
    network: Network, observations: np.ndarray, rng: np.random.Generator, of_means: bool = False
) -> list[LayerStatistics]:
    """Sample the network once for every observation and describe its hidden layers.

    Args:
        network: trained or not.
        observations: shape (n_samples, n_inputs), at least two; take those that the agent meets.
        rng: source of the units' noise.
        of_means: correlate the units' means (firing probabilities) instead of what they drew, whose own noise decorrelates.

    Returns:
        One entry per hidden layer, from the input side.

    Raises:
        ValueError: for fewer than two observations, or what `Network.activities` refuses.
    """
    if len(observations) < 2:
        raise ValueError(f"Statistics need at least two observations, not {len(observations)}.")
    values, means = network.activities(observations, rng)
    result = []
    for index, layer in enumerate(network.layers[:-1]):
        shown = values[:, network.slot(index)].astype(float)
        rate = shown.mean(axis=0)
        entropy = np.full(layer.n_values, np.nan)
        if layer.kind == "bernoulli":
            entropy = sum(-p * np.log2(np.where(p > 0, p, 1.0)) for p in (rate, 1 - rate))
        outgoing = np.linalg.norm(network.weights(index + 1), axis=1)
        correlated = means[:, network.slot(index)].astype(float) if of_means else shown
        result.append(LayerStatistics(rate, entropy, absolute_correlation(correlated), outgoing))
    return result


def unit_statistics_figure(path: Path, statistics: list[LayerStatistics], title: str) -> Figure:
    """Draw the statistics of all hidden layers: a row a layer, with the correlation matrix ordered by firing rate.

    Returns:
        The figure that was written.
    """
    with applied():
        figure = Figure(figsize=(10.0, 2.5 * len(statistics) + 0.5), layout="constrained")
        axes = figure.subplots(len(statistics), 4, squeeze=False)
        bars: dict[str, Any] = {"bins": 20, "color": EXCITES}
        for index, layer in enumerate(statistics):
            rates, entropies, correlations, norms = axes[index]
            rates.hist(layer.firing_rate, range=(0, max(1.0, layer.firing_rate.max())), **bars)
            rates.set_xlabel("firing rate")
            rates.set_ylabel(f"hidden layer {index + 1}\nnumber of units")
            if np.isfinite(layer.entropy).any():
                entropies.hist(layer.entropy[np.isfinite(layer.entropy)], range=(0, 1), **bars)
            entropies.set_xlim(-0.02, 1.02)
            entropies.set_xlabel("entropy of a unit (bits)")
            order = np.argsort(layer.firing_rate)
            image = correlations.imshow(layer.correlation[np.ix_(order, order)], vmin=0, vmax=1, cmap="cividis")
            correlations.set_title(f"mean {layer.mean_correlation:.2f}", fontsize=8)
            correlations.set_xlabel("units, by firing rate")
            correlations.set(xticks=[], yticks=[])
            correlations.grid(visible=False)
            figure.colorbar(image, ax=correlations, shrink=0.8, label="absolute correlation")
            norms.hist(layer.outgoing_norm, **bars)
            norms.set_xlim(left=0)
            norms.set_xlabel("norm of outgoing weights")
            for counted in (rates, entropies, norms):
                counted.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        save_figure(figure, path)
    return figure
