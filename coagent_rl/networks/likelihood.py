"""How probable it is what a layer did."""

from __future__ import annotations

import math

from coagent_rl.kernel import Array, part
from coagent_rl.networks.layout import Place
from coagent_rl.networks.units import BERNOULLI, CATEGORICAL, GAUSSIAN, GAUSSIAN_PREACTIVATION

LEAST = 1e-30
"""Probabilities below this count as this: single precision may round the probability of what another pass chose to zero."""


@part
def log_probability(here: Place, values: Array, means: Array) -> float:
    """log π(values) of one layer of stochastic units, for Gaussian units without the constant -½ log 2π each.

    Args:
        here: where the layer lies.
        values: what the units did, and what they remember of it; shape (≥ n_values,), from the layer's slot on.
        means: as the forward pass leaves them, from the layer's slot on; of this pass or of another.
    """
    total, n = 0.0, here.n_values
    if here.distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
        first = n if here.distribution == GAUSSIAN_PREACTIVATION else 0
        for j in range(n):
            standardised = (values[first + j] - means[j]) / means[n + j]
            total -= 0.5 * standardised * standardised + math.log(means[n + j])
    elif here.distribution == BERNOULLI:
        for j in range(n):
            total += math.log(max(means[j] if values[j] > 0.5 else 1.0 - means[j], LEAST))
    elif here.distribution == CATEGORICAL:
        n_levels = here.n_pre // n
        for j in range(n):
            total += math.log(max(means[j * n_levels + int(values[n + j])], LEAST))
    else:
        for j in range(n):
            if values[j] > 0.5:
                total += math.log(max(means[j], LEAST))
    return total
