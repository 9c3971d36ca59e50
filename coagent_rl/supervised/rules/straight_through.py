"""Straight-through: backprop through a binary unit as if its sample had been a smooth function of z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coagent_rl.credit.straight_through import surrogate_slopes
from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner

IDENTITY, SMOOTH, SAMPLE = range(3)
SLOPES = {"identity": IDENTITY, "sigmoid": SMOOTH, "sample": SAMPLE}


@kernel
def straight_through_rows(
    slope: int, temperature: float, n_values: int, values: Array, means: Array, back: Array, credit: Array
) -> None:
    """c_i = s_i Σ_j w_ij c_j with s_i = 1, σ'(z_i/T)/T or, as in Gupta's code, the sample h_i itself.

    Args:
        slope: IDENTITY, SMOOTH or SAMPLE.
        temperature, n_values: the layer's.
        values, means: h and σ(z/T), shape (n_rows, ≥ n_values).
        back: Σ_j w_ij c_j, shape (n_rows, n_values).
        credit: shape (n_rows, ≥ n_values), overwritten.

    Source: Bengio, Léonard & Courville (2013), §4; the official code of Gupta et al. (2021) for the sample, with which only
    units that fired learn.
    """
    for row in range(values.shape[0]):
        if slope != SAMPLE:
            surrogate_slopes(means[row, :n_values], temperature, slope == SMOOTH, credit[row, :n_values])
        for i in range(n_values):
            credit[row, i] = (values[row, i] if slope == SAMPLE else credit[row, i]) * back[row, i]


@register
@dataclass
class StraightThrough(Rule):
    """c_i = s_i Σ_j w_ij c_j; see `straight_through_rows`.

    Attributes:
        slope: s, ``"sample"``, ``"identity"`` or ``"sigmoid"``.
    """

    slope: str = "sample"

    name = "straight_through"
    why_all_explore = "it does not learn from exploration"
    kinds = ("bernoulli", *DETERMINISTIC_KINDS)
    reason = "it is a derivative put in the place of that of a binary sample"

    def __post_init__(self) -> None:
        if self.slope not in SLOPES:
            raise ValueError(f"slope must be one of {', '.join(SLOPES)}, not {self.slope!r}.")

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        straight_through_rows(
            SLOPES[self.slope],
            layer.spec.temperature,
            layer.n_values,
            layer.values,
            layer.means,
            layer.pull_back(above),
            layer.credit,
        )
