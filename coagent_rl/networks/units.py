"""Units: what a neuron's mean, sample and score are.

A unit computes a pre-activation z = b + w·x and has a mean m(z). A stochastic unit then draws its value around that mean;
its *score* is ∂ log π(value) / ∂z, the only quantity that a local rule needs (the eligibility of a weight is score × input).

All functions here work on one layer of one environment row; a kind of unit is a pair of integer codes, a distribution and
an activation, because kernels that take functions as arguments cannot be cached by numba.
"""

from __future__ import annotations

import math

import numpy as np

from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.coupled import coupled_scores
from coagent_rl.networks.elementary import expm1_of_negative, sigmoid, softplus

# Distributions.
DETERMINISTIC, BERNOULLI, GAUSSIAN, SOFTMAX, SOFTMAX_REFERENCE, GAUSSIAN_PREACTIVATION, CATEGORICAL, BOLTZMANN = range(8)
# Activations: m(z) of deterministic and Gaussian units.
LINEAR, SIGMOID, TANH, RELU, SOFTPLUS = range(5)

_ACTIVATIONS = {"linear": LINEAR, "sigmoid": SIGMOID, "tanh": TANH, "relu": RELU, "softplus": SOFTPLUS}

UNIT_KINDS: dict[str, tuple[int, int]] = {
    "bernoulli": (BERNOULLI, SIGMOID),
    "softmax": (SOFTMAX, LINEAR),
    "softmax_reference": (SOFTMAX_REFERENCE, LINEAR),
    **{name: (DETERMINISTIC, code) for name, code in _ACTIVATIONS.items()},
    **{f"gaussian_{name}": (GAUSSIAN, code) for name, code in _ACTIVATIONS.items()},
    "gaussian_preactivation_relu": (GAUSSIAN_PREACTIVATION, LINEAR),
    "categorical": (CATEGORICAL, LINEAR),
    "boltzmann": (BOLTZMANN, SIGMOID),
}
"""Name of a unit kind → (distribution code, activation code).

- ``bernoulli``: values in {0, 1}, mean σ(z/T).
- ``softmax``: one of n values is 1, one logit per value, mean softmax(z/T).
- ``softmax_reference``: the same with the last logit fixed at zero, so n values have n - 1 pre-activations.
- ``gaussian_<activation>``: mean f(z/T), a given or a learned standard deviation.
- ``<activation>``: deterministic, value f(z/T).
- ``gaussian_preactivation_relu``: draws u around its mean z/T, a given or a learned standard deviation, and passes max(u, 0)
  on; it remembers u in the n_values entries after its values (Gupta et al. 2021, continuous coagents).
- ``categorical``: each unit chooses one of K levels and passes that number on; one logit per level, K pre-activations a
  unit, unit after unit, mean softmax(z/T); it remembers the index of the level in the n_values entries after its values
  (Gupta et al. 2021, discrete coagents).
- ``boltzmann``: values in {0, 1} that are drawn together, Pr(h) ∝ exp((h·z + ½ h·Uh) / T) with symmetric connections U
  among a layer's units, by Gibbs sweeps (`coagent_rl.networks.coupled`); the mean is what it would be without them, σ(z/T).
"""


def kinds_of(*distributions: int) -> tuple[str, ...]:
    """Names of the kinds of units with one of these distributions."""
    return tuple(kind for kind, (distribution, _) in UNIT_KINDS.items() if distribution in distributions)


UNDRAWN = -1.0
"""Noise with which a categorical unit takes its most likely level."""

# How a network turns means into values (see `forward`).
SAMPLE, MOST_LIKELY, MEAN, SAMPLE_HIDDEN = range(4)


@part
def pre_activations(weights: Array, biases: Array, inputs: Array, out: Array) -> None:
    """z_j = b_j + Σ_i x_i w_ij, for weights of shape (n_in, n), biases and out of shape (n,)."""
    n = weights.shape[1]
    for j in range(n):
        out[j] = biases[j]
    for i in range(weights.shape[0]):
        x = inputs[i]
        for j in range(n):
            out[j] += x * weights[i, j]


@part
def activate(activation: int, temperature: float, z: Array) -> None:
    """Replace the pre-activations ``z`` of shape (n,) by the means f(z/T)."""
    scale = z.dtype.type(1.0 / temperature)
    if activation == SIGMOID:
        for j in range(z.size):
            z[j] = sigmoid(np.float64(z[j] * scale))
    elif activation == SOFTPLUS:
        for j in range(z.size):
            z[j] = softplus(np.float64(z[j] * scale))
    elif activation == TANH:
        for j in range(z.size):
            z[j] = math.tanh(z[j] * scale)
    elif activation == RELU:
        for j in range(z.size):
            z[j] = max(z[j] * scale, z[j] * 0)
    elif temperature != 1.0:
        for j in range(z.size):
            z[j] *= scale


@part
def softmax(temperature: float, z: Array) -> None:
    """Replace the logits ``z`` of shape (n,) by exp(z/T) / Σ exp(z/T)."""
    largest = z[0]
    for j in range(1, z.size):
        largest = max(largest, z[j])
    total = z.dtype.type(0.0)
    for j in range(z.size):
        z[j] = math.exp((z[j] - largest) / temperature)
        total += z[j]
    for j in range(z.size):
        z[j] /= total


@part
def slope(activation: int, temperature: float, means: Array, out: Array) -> None:
    """∂m/∂z = f'(z/T) / T of shape (n,), computed from the means f(z/T) alone."""
    if activation == SIGMOID:
        for j in range(out.size):
            out[j] = means[j] * (1.0 - means[j]) / temperature
    elif activation == SOFTPLUS:
        # softplus' = σ(z) = 1 - exp(-softplus(z))
        for j in range(out.size):
            out[j] = -expm1_of_negative(-np.float64(means[j])) / temperature
    elif activation == TANH:
        for j in range(out.size):
            out[j] = (1.0 - means[j] * means[j]) / temperature
    elif activation == RELU:
        for j in range(out.size):
            out[j] = 1.0 / temperature if means[j] > 0.0 else 0.0
    else:
        for j in range(out.size):
            out[j] = 1.0 / temperature


@part
def draw(distribution: int, sampled: bool, means: Array, n_values: int, noise: Array, values: Array) -> None:
    """Draw one layer's values from its means, or take the most likely ones where ``sampled`` is False.

    ``means`` holds the n_values means and, for Gaussian units, the n_values standard deviations after them; ``noise``
    holds uniforms on [0, 1) (Bernoulli: one per unit, softmax: the first one) or standard normals (Gaussian). See
    `draw_levels` for categorical units.
    """
    if distribution == BERNOULLI:
        for j in range(n_values):
            threshold = noise[j] if sampled else noise.dtype.type(0.5)
            values[j] = 1.0 if threshold < means[j] else 0.0
    elif distribution == GAUSSIAN:
        for j in range(n_values):
            values[j] = means[j] + means[n_values + j] * noise[j] if sampled else means[j]
    elif distribution == GAUSSIAN_PREACTIVATION:
        for j in range(n_values):
            u = means[j] + means[n_values + j] * noise[j] if sampled else means[j]
            values[j] = 0.0 if u < 0.0 else u
            values[n_values + j] = u
    elif distribution == DETERMINISTIC:
        for j in range(n_values):
            values[j] = means[j]
    else:
        chosen = 0
        if sampled:
            # The last value takes what rounding leaves of the unit interval.
            cumulated = means[0]
            while chosen < n_values - 1 and noise[0] >= cumulated:
                chosen += 1
                cumulated += means[chosen]
        else:
            for j in range(1, n_values):
                if means[j] > means[chosen]:
                    chosen = j
        for j in range(n_values):
            values[j] = 0.0
        values[chosen] = 1.0


@part
def draw_levels(sampled: bool, means: Array, levels: Array, n_values: int, noise: Array, values: Array) -> None:
    """Draw the levels of categorical units, or take the most likely ones where ``sampled`` is False.

    Args:
        means: probabilities, K a unit, unit after unit; shape (≥ n_values · K,).
        levels: shape (K,).
        noise: uniforms on [0, 1), one a unit, or `UNDRAWN`; shape (≥ n_values,).
        values: the levels, then their indices; shape (≥ 2 n_values,), overwritten.
    """
    n_levels = levels.size
    for j in range(n_values):
        first = j * n_levels
        chosen = 0
        if sampled and noise[j] >= 0.0:
            cumulated = means[first]
            while chosen < n_levels - 1 and noise[j] >= cumulated:
                chosen += 1
                cumulated += means[first + chosen]
        else:
            for k in range(1, n_levels):
                if means[first + k] > means[first + chosen]:
                    chosen = k
        values[j] = levels[chosen]
        values[n_values + j] = chosen


@part
def mean_levels(means: Array, levels: Array, n_values: int, values: Array) -> None:
    """Σ_k p_k level_k of each categorical unit, its expected value; shapes as in `draw_levels`."""
    for j in range(n_values):
        values[j] = 0.0
        for k in range(levels.size):
            values[j] += means[j * levels.size + k] * levels[k]


@kernel
def neutral_noise(distribution: int) -> float:
    """The noise with which a unit takes its most likely value: zero for Gaussian units, `UNDRAWN` or a half for others."""
    if distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
        return 0.0
    return UNDRAWN if distribution == CATEGORICAL else 0.5


@part
def score(
    distribution: int,
    activation: int,
    temperature: float,
    learned_deviation: bool,
    values: Array,
    means: Array,
    n_values: int,
    out: Array,
) -> None:
    """∂ log π(values) / ∂z of one layer of stochastic units, and ∂ log π / ∂ log σ after it where σ is learned.

    Args:
        distribution, activation, temperature: the layer's kind.
        learned_deviation: whether Gaussian units learn the logarithm of their standard deviation.
        values: shape (n_values,), what the units did; what they remember of it in the next n_values entries.
        means: shape (n_values,), and for Gaussian units the standard deviations in the next n_values entries; for
            categorical units all probabilities.
        out: one entry per pre-activation (n_values; n_values - 1 for ``softmax_reference``; K n_values for categorical
            units; 2 n_values with a learned deviation).

    Source: Williams (1992), characteristic eligibilities; of Boltzmann units `coagent_rl.networks.coupled.coupled_scores`.
    """
    if distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
        slope(activation, temperature, means[:n_values], out[:n_values])
        drawn = values[n_values:] if distribution == GAUSSIAN_PREACTIVATION else values
        for j in range(n_values):
            standardised = (drawn[j] - means[j]) / means[n_values + j]
            out[j] *= standardised / means[n_values + j]
            if learned_deviation:
                out[n_values + j] = standardised * standardised - 1.0
    elif distribution == CATEGORICAL:
        n_levels = out.size // n_values
        for j in range(n_values):
            for k in range(n_levels):
                is_chosen = 1.0 if values[n_values + j] == k else 0.0
                out[j * n_levels + k] = (is_chosen - means[j * n_levels + k]) / temperature
    elif distribution == BOLTZMANN:
        coupled_scores(temperature, values, means, n_values, out)
    else:
        n = n_values - 1 if distribution == SOFTMAX_REFERENCE else n_values
        for j in range(n):
            out[j] = (values[j] - means[j]) / temperature
