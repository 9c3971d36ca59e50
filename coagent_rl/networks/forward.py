"""The forward pass: observations → values and means of every layer; and the scores of what the units did."""

from __future__ import annotations

import math

from coagent_rl.arrays import MEANS, NOISE_STEP, VALUES, Arrays, LearnerArrays, named, structure
from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.layout import DEVIATION, TEMPERATURE, Place, place, weights_of
from coagent_rl.networks.units import (
    DETERMINISTIC,
    GAUSSIAN,
    MEAN,
    SAMPLE,
    SAMPLE_HIDDEN,
    SOFTMAX,
    SOFTMAX_REFERENCE,
    activate,
    draw,
    pre_activations,
    score,
    softmax,
)


@kernel
def all_finite(rows: Array) -> bool:
    """Whether a 2-D array holds neither NaN nor infinity."""
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            if not math.isfinite(rows[i, j]):
                return False
    return True


@kernel
def layer_means(
    here: Place, temperature: float, deviation: float, weights: Array, biases: Array, inputs: Array, means: Array
) -> None:
    """Means of one layer; for Gaussian units their standard deviations in the n_values entries after them.

    ``biases`` holds more entries than ``weights`` has columns where the log standard deviations are learned.
    """
    n_pre, n = here.n_pre, here.n_values
    pre_activations(weights, biases, inputs, means)
    if here.distribution == SOFTMAX:
        softmax(temperature, means)
    elif here.distribution == SOFTMAX_REFERENCE:
        means[n_pre] = 0.0
        softmax(temperature, means)
    else:
        activate(here.activation, temperature, means[:n])
        if here.distribution == GAUSSIAN:
            learned = here.n_biases > n_pre
            for j in range(n):
                means[n + j] = math.exp(biases[n_pre + j]) if learned else deviation


@kernel
def means_of_layer(network: Arrays, index: int, values: Array, means: Array) -> None:
    """Means of layer ``index`` of one row, from the values below it; both of shape (width,). See `layer_means`."""
    layout, constants, parameters = network
    here = place(layout, index)
    layer_means(
        here,
        constants[index, TEMPERATURE],
        constants[index, DEVIATION],
        weights_of(here, parameters),
        parameters[here.biases : here.end],
        values[here.inputs : here.inputs + here.n_inputs],
        means[here.slot : here.slot + (2 * here.n_values if here.distribution == GAUSSIAN else here.n_values)],
    )


@kernel
def forward(network: Arrays, activity: Array, observations: Array, noise: Array, noise_step: int, mode: int) -> bool:
    """Sample a network, or take the values that ``mode`` says, for each row of observations.

    Args:
        network: its structure, see `coagent_rl.networks.layout`.
        activity: shape (≥ 2, n_rows, width), whose VALUES and MEANS are written.
        observations: shape (n_rows, n_inputs).
        noise: shape (n_steps, n_rows, width), see `Network.draw_noise`; ``noise_step`` chooses the step.
        mode: SAMPLE, MOST_LIKELY, MEAN or SAMPLE_HIDDEN.

    Returns:
        Whether all observations and means are finite; nothing is written where an observation is not.
    """
    if not all_finite(observations):
        return False
    layout = network[0]
    depth = layout.shape[0]
    values, means = activity[VALUES], activity[MEANS]
    for row in range(observations.shape[0]):
        for i in range(observations.shape[1]):
            values[row, i] = observations[row, i]
        for index in range(depth):
            means_of_layer(network, index, values[row], means[row])
            here = place(layout, index)
            is_output = index == depth - 1
            sampled = mode == SAMPLE or (mode == SAMPLE_HIDDEN and not is_output)
            how = DETERMINISTIC if mode == MEAN and not is_output else here.distribution
            slot, n = here.slot, here.n_values
            draw(how, sampled, means[row, slot:], n, noise[noise_step, row, slot:], values[row, slot : slot + n])
    return all_finite(means[: observations.shape[0], observations.shape[1] :])


@kernel
def act(arrays: Arrays, observations: Array, noise_step: int) -> bool:
    """Sample the network of a learner (`coagent_rl.arrays.LearnerArrays`) with a step of its noise. See `forward`."""
    learner = named(arrays)
    learner.counters[NOISE_STEP] = noise_step
    return forward(structure(learner), learner.activity, observations, learner.noise, noise_step, SAMPLE)


@kernel
def local_scores(learner: LearnerArrays) -> None:
    """Write the scores ∂ log π(values) / ∂z of every stochastic layer and row, from values and means. See `units.score`.

    A deterministic layer has none of its own; see `coagent_rl.credit.backprop.scores_within_coagents`.
    """
    layout, constants = learner.layout, learner.constants
    values, means, scores = learner.values, learner.means, learner.scores
    for row in range(values.shape[0]):
        for index in range(layout.shape[0]):
            here = place(layout, index)
            if here.distribution != DETERMINISTIC:
                score(
                    here.distribution,
                    here.activation,
                    constants[index, TEMPERATURE],
                    here.n_biases > here.n_pre,
                    values[row, here.slot :],
                    means[row, here.slot :],
                    here.n_values,
                    scores[row, here.slot : here.slot + here.n_biases],
                )
