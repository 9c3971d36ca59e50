"""Greedy passes over any number of inputs: predictions, and how random and how active the hidden layers are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.networks import Network
from coagent_rl.networks.layout import place
from coagent_rl.networks.units import BERNOULLI, CATEGORICAL, GAUSSIAN, GAUSSIAN_PREACTIVATION
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.deviation import LearnedDeviation

CHUNK = 512
"""Inputs taken at once: enough for BLAS, and their activities stay in the processor's cache."""


@kernel
def entropy_of_rows(layout: Array, index: int, means: Array) -> float:
    """Sum over rows and units of the entropy of what a unit draws, in nats: -Σ p ln(p + 1e-9), or ln(σ √(2πe)).

    Args:
        layout, index: see `Network`; which layer.
        means: shape (n_rows, width), see `Network`.

    Returns:
        The sum; NaN for deterministic units, which draw nothing.

    Source: Gupta et al. (2021), figure 3b, as in the official code.
    """
    here = place(layout, index)
    distribution, n_values, n_pre = here.distribution, here.n_values, here.n_pre
    total = 0.0
    for row in range(means.shape[0]):
        if distribution == BERNOULLI:
            for j in range(n_values):
                p = np.float64(means[row, j])
                total -= p * np.log(p + 1e-9) + (1.0 - p) * np.log(1.0 - p + 1e-9)
        elif distribution == CATEGORICAL:
            for k in range(n_pre):
                p = np.float64(means[row, k])
                total -= p * np.log(p + 1e-9)
        elif distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
            for j in range(n_values):
                total += np.log(np.float64(means[row, n_values + j])) + 0.5 * np.log(2.0 * np.pi * np.e)
        else:
            return np.nan
    return total


@kernel
def count_active(n_values: int, values: Array) -> int:
    """Number of entries of the first ``n_values`` columns that are positive."""
    count = 0
    for row in range(values.shape[0]):
        for j in range(n_values):
            if values[row, j] > 0.0:
                count += 1
    return count


@dataclass
class LayerActivity:
    """Means over inputs and units: entropy of what a unit draws, in nats, and the share of positive greedy values."""

    entropy: float
    sparsity: float


class GreedyPass:
    """Every unit takes its most likely value, a Gaussian one its mean.

    Args:
        network: whose parameters are read.
        learned: form of the learned deviations.
    """

    @classmethod
    def in_double(cls, network: Network, learned: LearnedDeviation | None = None) -> GreedyPass:
        """A pass in float64 with a copy of the parameters.

        What BLAS makes of a row depends in its last bits on the rows beside it. In float32 that shows in predictions, most
        of all where a unit is undecided.
        """
        copy = Network(network.n_inputs, network.layers, dtype=np.float64)
        copy.constants[:] = network.constants
        copy.parameters[:] = network.parameters
        return cls(copy, learned)

    def __init__(self, network: Network, learned: LearnedDeviation | None = None) -> None:
        self.network = network
        self.layers = [BatchLayer(network, index, 0.0, learned, learning=False) for index in range(network.depth)]
        self._gathered = np.zeros((0, network.n_inputs), network.parameters.dtype)

    def outputs(self, inputs: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Outputs of one chunk, shape (n, n_outputs), a view that the next call overwrites; sampled with ``rng``."""
        below = inputs
        for layer in self.layers:
            layer.resize(len(inputs), 1)
            layer.compute_means(below)
            sampled = rng is not None and layer.is_sampled
            if rng is not None and sampled:
                layer.draw_noise(rng)
            layer.draw(sampled)
            below = layer.outputs
        return below

    def chunks(self, inputs: np.ndarray, indices: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs (start, inputs of at most `CHUNK` rows) of all inputs, or of those with ``indices``."""
        n = len(inputs) if indices is None else len(indices)
        if indices is not None and not len(self._gathered):
            self._gathered = np.zeros((CHUNK, self.network.n_inputs), self.network.parameters.dtype)
        for start in range(0, n, CHUNK):
            if indices is None:
                yield start, np.asarray(inputs[start : start + CHUNK], dtype=self._gathered.dtype)
            else:
                chosen = indices[start : start + CHUNK]
                yield start, np.take(inputs, chosen, axis=0, out=self._gathered[: len(chosen)], mode="clip")

    def predict(
        self, inputs: np.ndarray, indices: np.ndarray | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Outputs of all inputs, or of those with ``indices``: shape (n, n_outputs); sampled where ``rng`` is given."""
        n = len(inputs) if indices is None else len(indices)
        result = np.empty((n, self.layers[-1].n_values), self.network.parameters.dtype)
        for start, chunk in self.chunks(inputs, indices):
            result[start : start + len(chunk)] = self.outputs(chunk, rng)
        return result

    def describe(self, inputs: np.ndarray, indices: np.ndarray | None = None) -> tuple[np.ndarray, list[LayerActivity]]:
        """What `predict` returns, and the activity of every hidden layer."""
        n = len(inputs) if indices is None else len(indices)
        result = np.empty((n, self.layers[-1].n_values), self.network.parameters.dtype)
        hidden = self.layers[:-1]
        totals = np.zeros((len(hidden), 2))
        for start, chunk in self.chunks(inputs, indices):
            result[start : start + len(chunk)] = self.outputs(chunk)
            for total, layer in zip(totals, hidden, strict=True):
                total[0] += entropy_of_rows(layer.layout, layer.index, layer.means)
                total[1] += count_active(layer.n_values, layer.values)
        widths = [n * layer.n_values for layer in hidden]
        return result, [
            LayerActivity(float(entropy / width), float(active / width))
            for (entropy, active), width in zip(totals, widths, strict=True)
        ]
