"""The forward pass: observations → values and means of every layer."""

from __future__ import annotations

import math

from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.layout import DEVIATION, DISTRIBUTION, LEVELS, N_PRE, N_VALUES, SLOT, TEMPERATURE
from coagent_rl.networks.units import (
    CATEGORICAL,
    DETERMINISTIC,
    GAUSSIAN,
    GAUSSIAN_PREACTIVATION,
    MEAN,
    SAMPLE,
    SAMPLE_HIDDEN,
    SOFTMAX,
    SOFTMAX_REFERENCE,
    activate,
    draw,
    draw_levels,
    mean_levels,
    pre_activations,
    score,
    softmax,
)

# What `activity`, of shape (4, n_rows, width), holds for every row and every layer's slot (see `Network`). Signals are the
# reinforcement that a unit receives.
VALUES, MEANS, SCORES, SIGNALS = range(4)


@kernel
def all_finite(rows: Array) -> bool:
    """Whether a 2-D array holds neither NaN nor infinity."""
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            if not math.isfinite(rows[i, j]):
                return False
    return True


@kernel
def n_means(distribution: int, n_pre: int, n_values: int) -> int:
    """How many entries of MEANS a layer has: means and standard deviations, all probabilities, or one a value."""
    if distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
        return 2 * n_values
    return n_pre if distribution == CATEGORICAL else n_values


@kernel
def means_of_pre_activations(
    distribution: int,
    activation: int,
    n_values: int,
    temperature: float,
    deviation: float,
    n_pre: int,
    biases: Array,
    means: Array,
) -> None:
    """Replace the n_pre pre-activations that ``means`` begins with by what `layer_means` leaves there."""
    if distribution == SOFTMAX:
        softmax(temperature, means)
    elif distribution == SOFTMAX_REFERENCE:
        means[n_pre] = 0.0
        softmax(temperature, means)
    elif distribution == CATEGORICAL:
        n_levels = n_pre // n_values
        for j in range(n_values):
            softmax(temperature, means[j * n_levels : (j + 1) * n_levels])
    else:
        activate(activation, temperature, means[:n_values])
        if distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
            learned = biases.size > n_pre
            for j in range(n_values):
                means[n_values + j] = math.exp(biases[n_pre + j]) if learned else deviation


@kernel
def layer_means(
    distribution: int,
    activation: int,
    n_values: int,
    temperature: float,
    deviation: float,
    weights: Array,
    biases: Array,
    inputs: Array,
    means: Array,
) -> None:
    """Means of one layer; for Gaussian units their standard deviations in the n_values entries after them, for categorical
    ones the probabilities of all levels.

    ``biases`` holds more entries than ``weights`` has columns where the log standard deviations are learned.
    """
    pre_activations(weights, biases, inputs, means)
    means_of_pre_activations(distribution, activation, n_values, temperature, deviation, weights.shape[1], biases, means)


@kernel
def means_of_layer(layout: Array, constants: Array, parameters: Array, index: int, values: Array, means: Array) -> None:
    """Means of layer ``index`` of one row, from the values below it; both of shape (width,). See `layer_means`."""
    distribution, activation, n_in, n_pre, n_values, _, w, b, end, inputs, slot = layout[index]
    layer_means(
        distribution,
        activation,
        n_values,
        constants[index, TEMPERATURE],
        constants[index, DEVIATION],
        parameters[w:b].reshape(n_in, n_pre),
        parameters[b:end],
        values[inputs : inputs + n_in],
        means[slot : slot + n_means(distribution, n_pre, n_values)],
    )


@kernel
def forward(
    layout: Array,
    constants: Array,
    parameters: Array,
    activity: Array,
    observations: Array,
    noise: Array,
    noise_step: int,
    mode: int,
) -> bool:
    """Sample a network, or take the values that ``mode`` says, for each row of observations.

    Args:
        layout, constants, parameters: see `Network`.
        activity: shape (≥ 2, n_rows, width), whose VALUES and MEANS are written.
        observations: shape (n_rows, n_inputs).
        noise: shape (n_steps, n_rows, width), see `Network.draw_noise`; ``noise_step`` chooses the step.
        mode: SAMPLE, MOST_LIKELY, MEAN or SAMPLE_HIDDEN.

    Returns:
        Whether all observations and means are finite; nothing is written where an observation is not.
    """
    if not all_finite(observations):
        return False
    depth = layout.shape[0]
    values, means = activity[VALUES], activity[MEANS]
    for row in range(observations.shape[0]):
        for i in range(observations.shape[1]):
            values[row, i] = observations[row, i]
        for index in range(depth):
            means_of_layer(layout, constants, parameters, index, values[row], means[row])
            distribution, n_values, slot = layout[index, DISTRIBUTION], layout[index, N_VALUES], layout[index, SLOT]
            is_output = index == depth - 1
            sampled = mode == SAMPLE or (mode == SAMPLE_HIDDEN and not is_output)
            of_layer, source = values[row, slot:], noise[noise_step, row, slot:]
            if distribution == CATEGORICAL:
                levels = constants[index, LEVELS : LEVELS + layout[index, N_PRE] // n_values]
                draw_levels(sampled, means[row, slot:], levels, n_values, source, of_layer)
                if mode == MEAN and not is_output:
                    mean_levels(means[row, slot:], levels, n_values, of_layer)
            else:
                passes_means = mode == MEAN and not is_output and distribution != GAUSSIAN_PREACTIVATION
                draw(DETERMINISTIC if passes_means else distribution, sampled, means[row, slot:], n_values, source, of_layer)
    return all_finite(means[: observations.shape[0], observations.shape[1] :])


@kernel
def local_scores(layout: Array, constants: Array, activity: Array) -> None:
    """Write SCORES, ∂ log π(values) / ∂z, from VALUES and MEANS of every layer and row. See `units.score`."""
    values, means, scores = activity[VALUES], activity[MEANS], activity[SCORES]
    for row in range(values.shape[0]):
        for index in range(layout.shape[0]):
            distribution, activation, _, n_pre, n_values, n_biases, _, _, _, _, slot = layout[index]
            score(
                distribution,
                activation,
                constants[index, TEMPERATURE],
                n_biases > n_pre,
                values[row, slot:],
                means[row, slot:],
                n_values,
                scores[row, slot : slot + n_biases],
            )
