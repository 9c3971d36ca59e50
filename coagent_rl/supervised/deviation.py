"""How large the Gaussian coagents' noise is: fixed, decayed after every update, or learned by every unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.schedules import is_positive

EXPONENTIAL, SIGMOID, RECTIFIED = range(3)
FORMS = {"exp": EXPONENTIAL, "sigmoid": SIGMOID, "relu": RECTIFIED}
FLOOR = 1e-3


@dataclass(frozen=True)
class DecayedDeviation:
    """σ ← max(rate · σ, floor) after every update, the same for all units.

    Attributes:
        start: σ before the first update.
        rate: in (0, 1].
        floor: σ never falls below it.

    Raises:
        ValueError: for values out of range.

    Source: Gupta et al. (2021), §3.3.
    """

    start: float
    rate: float = 0.999
    floor: float = FLOOR

    def __post_init__(self) -> None:
        if not (is_positive(self.start) and is_positive(self.floor) and is_positive(self.rate) and self.rate <= 1.0):
            raise ValueError(
                f"A decayed deviation needs a positive start and floor and a rate in (0, 1], not {self.start!r}, "
                f"{self.floor!r} and {self.rate!r}."
            )

    def after(self, deviation: float) -> float:
        """σ after one more update."""
        return max(self.rate * deviation, self.floor)


@dataclass(frozen=True)
class LearnedDeviation:
    """Every Gaussian unit learns σ through a bias ρ of its own, by the score of its own noise.

    Attributes:
        start: σ before learning.
        form: ``"exp"``, σ = exp(ρ); ``"sigmoid"``, σ = 2 · start · sigmoid(ρ), so that it can begin at any size;
            ``"relu"``, σ = max(ρ, 0.001), which learns no more once it has fallen there. A `Network` on its own takes ρ for
            ln σ; only with ``"exp"`` does it sample as the learner does.

    Raises:
        ValueError: for values out of range.

    Source: Gupta et al. (2021), §3.3, which names the three forms.
    """

    start: float
    form: str = "exp"

    def __post_init__(self) -> None:
        if not is_positive(self.start):
            raise ValueError(f"A learned deviation needs a positive start, not {self.start!r}.")
        if self.form not in FORMS:
            raise ValueError(f"Unknown form of learned deviations {self.form!r}; known forms: {', '.join(FORMS)}.")

    @property
    def first_parameter(self) -> float:
        """ρ with which σ is ``start``."""
        return {"exp": float(np.log(self.start)), "sigmoid": 0.0, "relu": self.start}[self.form]


@kernel
def deviation_rows(form: int, start: float, n_values: int, rho: Array, means: Array) -> None:
    """Write σ(ρ) of each unit behind the means of all rows, shape (n_rows, ≥ 2 n_values)."""
    for row in range(means.shape[0]):
        for j in range(n_values):
            if form == SIGMOID:
                means[row, n_values + j] = 2.0 * start / (1.0 + math.exp(-rho[j]))
            elif form == RECTIFIED:
                means[row, n_values + j] = FLOOR if rho[j] < FLOOR else rho[j]
            else:
                means[row, n_values + j] = math.exp(rho[j])


@kernel
def deviation_scores(form: int, start: float, n_values: int, rho: Array, means: Array, scores: Array) -> None:
    """∂ ln π/∂ρ = ∂ ln π/∂ ln σ · d ln σ/dρ of all rows: 1 - σ/(2 start) for the sigmoid, 1/σ or 0 for the rectifier.

    Args:
        form, start: of `LearnedDeviation`.
        n_values: number of units.
        rho: ρ, shape (n_values,).
        means: σ in the n_values columns after the first n_values.
        scores: ∂ ln π/∂ ln σ = ε² - 1 in these columns, updated in place.
    """
    for row in range(scores.shape[0]):
        for j in range(n_values):
            σ = means[row, n_values + j]
            if form == SIGMOID:
                scores[row, n_values + j] *= 1.0 - σ / (2.0 * start)
            elif form == RECTIFIED:
                scores[row, n_values + j] *= 0.0 if rho[j] < FLOOR else 1.0 / σ


Deviation = float | DecayedDeviation | LearnedDeviation


def starting_deviation(deviation: Deviation) -> float:
    """σ before learning.

    Raises:
        ValueError: for what is neither a positive number nor one of the two schedules.
    """
    if isinstance(deviation, DecayedDeviation | LearnedDeviation):
        return float(deviation.start)
    if not is_positive(deviation):
        raise ValueError(
            f"deviation must be a positive number, a DecayedDeviation or a LearnedDeviation, not {deviation!r}."
        )
    return float(deviation)
