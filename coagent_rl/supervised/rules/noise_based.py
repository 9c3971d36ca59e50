"""Noise-based learning: what the noise of all units did to the return, shared among them by their noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, GAUSSIAN_KINDS, Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def add_squared_noise(n_values: int, noise: Array, means: Array, totals: Array) -> None:
    """Add ‖ξ‖² of a layer's Gaussian units to the total of each row.

    Args:
        n_values: number of units.
        noise: standard normal, shape (n_rows, n_values).
        means: σ in the n_values columns after the means; shape (n_rows, 2 n_values).
        totals: shape (n_rows,), updated in place.
    """
    for row in range(totals.size):
        for i in range(n_values):
            ξ = means[row, n_values + i] * noise[row, i]
            totals[row] += ξ * ξ


@kernel
def share_by_noise(n_values: int, growth: Array, totals: Array, means: Array, signals: Array) -> None:
    """R_i = (G - G₀) σ_i² / ‖ξ‖²: with the score (ξ_i / σ_i²) m'(z_i), the credit (G - G₀) ξ_i / ‖ξ‖² m'(z_i).

    Args:
        n_values: number of units.
        growth: G - G₀, shape (n_rows,).
        totals: ‖ξ‖² over all hidden units, shape (n_rows,); where it is zero nothing is learned.
        means: as in `add_squared_noise`.
        signals: shape (n_rows, n_values), overwritten.
    """
    for row in range(totals.size):
        share = growth[row] / totals[row] if totals[row] > 0.0 else totals.dtype.type(0.0)
        for i in range(n_values):
            σ = means[row, n_values + i]
            signals[row, i] = share * σ * σ


@register
class NoiseBased(Rule):
    """c = (G - G₀) ξ / ‖ξ‖² m'(z), with the hidden units' noise ξ and the return G₀ of a second pass without any noise.

    Node perturbation, but divided by the size of the noise that was drawn instead of its variance: the directional
    derivative along the noise, times the noise's direction.

    Source: García Fernández, Ahmad & van Gerven (2025), arXiv 2503.23972.
    """

    name = "noise_based"
    kinds = (*GAUSSIAN_KINDS, "gaussian_preactivation_relu", *DETERMINISTIC_KINDS)
    units = "gaussian_preactivation_relu"
    deviation = 0.1
    reason = "the noise that is judged is added to a smooth unit"

    def attach(self, learner: BatchLearner) -> None:
        if learner.learned is not None:
            raise ValueError(f"The rule {self.name!r} does not say how deviations are learned: give a fixed or decayed one.")

    def begin(self, learner: BatchLearner) -> None:
        self._growth = learner.noiseless_losses() - learner.losses
        self._totals = self._growth * 0
        for layer in learner.layers[:-1]:
            if layer.is_sampled:
                add_squared_noise(layer.n_values, layer.noise, layer.means, self._totals)

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        share_by_noise(layer.n_values, self._growth, self._totals, layer.means, layer.signals)
        layer.compute_scores()
        layer.multiply_signals()
