"""Weight Maximization: a hidden unit is rewarded by the growth of its outgoing weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coagent_rl.credit.weight_max import growth_of_norm
from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.rules.base import Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def norm_slopes(weights: Array, norm_order: float, out: Array) -> None:
    """p |w|^(p-1) sgn(w), the derivative of |w|^p; all of shape (n, n_above)."""
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            out[i, j] = growth_of_norm(weights[i, j], 1.0, norm_order)


@kernel
def growth_rows(n_values: int, norm_factor: float, values: Array, back: Array, signals: Array) -> None:
    """R_i = h_i Σ_j p |w_ij|^(p-1) sgn(w_ij) c_j: `present_weight_growth` for all rows, with c_j = s_j R_j or, of an
    exact output, its negative gradient.

    Args:
        n_values: number of units.
        norm_factor: p where ``back`` holds no more than the sum over w_ij (p = 2), else 1.
        values: h, shape (n_rows, ≥ n_values).
        back: the sum over j, shape (n_rows, n_values).
        signals: shape (n_rows, ≥ n_values), overwritten with R.

    Source: Chung (2022), eq. 4, for one path of one input; appendix C for p other than 2.
    """
    for row in range(signals.shape[0]):
        for i in range(n_values):
            signals[row, i] = norm_factor * values[row, i] * back[row, i]


@register
@dataclass
class WeightMax(Rule):
    """c_i = R_i ∂ ln π / ∂z_i, R_i the growth of unit i's outgoing weights on this path, from the output's credit down.

    Attributes:
        norm_order: p ≥ 1 of the norm that grows.
    """

    norm_order: float = 2.0

    name = "weight_max"

    def __post_init__(self) -> None:
        if isinstance(self.norm_order, bool) or not (1.0 <= self.norm_order < np.inf):
            raise ValueError(f"norm_order must be a number from 1, not {self.norm_order!r}.")

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        if self.norm_order == 2.0:
            back = layer.pull_back(above)
        else:
            slopes = np.empty_like(above.weights)
            norm_slopes(above.weights, self.norm_order, slopes)
            back = np.matmul(above.credit_of_values, slopes.T, out=layer.back)
        factor = 2.0 if self.norm_order == 2.0 else 1.0
        growth_rows(layer.n_values, factor, layer.values, back, layer.signals)
        layer.compute_scores()
        layer.multiply_signals()
