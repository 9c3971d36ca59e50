"""The forward pass: observations → values and means of every layer; and the scores of what the units did."""

from __future__ import annotations

import math

from coagent_rl.arrays import MEANS, NOISE_STEP, VALUES, Arrays, LearnerArrays, named, structure
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.coupled import DRAWN, LIKELY, MEAN_FIELD, settle
from coagent_rl.networks.layout import DEVIATION, LEVELS, SWEEPS, TEMPERATURE, Place, place, weights_of
from coagent_rl.networks.units import (
    BOLTZMANN,
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


@kernel
def all_finite(rows: Array) -> bool:
    """Whether a 2-D array holds neither NaN nor infinity."""
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            if not math.isfinite(rows[i, j]):
                return False
    return True


@part
def n_means(here: Place) -> int:
    """How many entries of the means a layer has: means and standard deviations, means and pre-activations (Boltzmann units),
    all probabilities, or one a value."""
    if here.distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION, BOLTZMANN):
        return 2 * here.n_values
    return max(here.n_pre, here.n_values)


@part
def means_of_pre_activations(here: Place, temperature: float, deviation: float, biases: Array, means: Array) -> None:
    """Replace the pre-activations that ``means`` begins with by what `layer_means` leaves there."""
    n_pre, n = here.n_pre, here.n_values
    if here.distribution == SOFTMAX:
        softmax(temperature, means)
    elif here.distribution == SOFTMAX_REFERENCE:
        means[n_pre] = 0.0
        softmax(temperature, means)
    elif here.distribution == CATEGORICAL:
        n_levels = n_pre // n
        for j in range(n):
            softmax(temperature, means[j * n_levels : (j + 1) * n_levels])
    else:
        if here.distribution == BOLTZMANN:
            for j in range(n):
                means[n + j] = means[j]
        activate(here.activation, temperature, means[:n])
        if here.distribution in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
            learned = here.n_biases > n_pre
            for j in range(n):
                means[n + j] = math.exp(biases[n_pre + j]) if learned else deviation


@part
def layer_means(
    here: Place, temperature: float, deviation: float, weights: Array, biases: Array, inputs: Array, means: Array
) -> None:
    """Means of one layer; for Gaussian units their standard deviations in the n_values entries after them, for categorical
    ones the probabilities of all levels.

    ``biases`` holds more entries than ``weights`` has columns where the log standard deviations are learned.
    """
    pre_activations(weights, biases, inputs, means)
    means_of_pre_activations(here, temperature, deviation, biases, means)


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
        means[here.slot : here.slot + n_means(here)],
    )


@kernel
def forward(network: Arrays, activity: Array, observations: Array, noise: Array, noise_step: int, mode: int) -> bool:
    """Sample a network, or take the values that ``mode`` says, for each row of observations.

    Args:
        network: its structure, see `coagent_rl.networks.layout`.
        activity: shape (≥ 2, n_rows, width), whose VALUES and MEANS are written.
        observations: shape (n_rows, n_inputs).
        noise: shape (n_steps, n_rows, width), see `Network.draw_noise`; ``noise_step`` chooses the step. Of twice that width
            (`coagent_rl.noise.firing`), the second half says who fires: where it is zero, a sampled unit holds what is in
            VALUES.
        mode: SAMPLE, MOST_LIKELY, MEAN or SAMPLE_HIDDEN.

    Returns:
        Whether all observations and means are finite; nothing is written where an observation is not.
    """
    if not all_finite(observations):
        return False
    layout, constants = network[0], network[1]
    depth = layout.shape[0]
    values, means = activity[VALUES], activity[MEANS]
    width = values.shape[1]
    may_hold = noise.shape[2] > width
    for row in range(observations.shape[0]):
        for i in range(observations.shape[1]):
            values[row, i] = observations[row, i]
        held = values[row].copy() if may_hold else values[row]  # where all fire, nothing is allocated
        for index in range(depth):
            means_of_layer(network, index, values[row], means[row])
            here = place(layout, index)
            is_output = index == depth - 1
            sampled = mode == SAMPLE or (mode == SAMPLE_HIDDEN and not is_output)
            slot, n, passes_means = here.slot, here.n_values, mode == MEAN and not is_output
            own, source = values[row, slot:], noise[noise_step, row, slot:]
            if here.distribution == CATEGORICAL:
                levels = constants[index, LEVELS : LEVELS + here.n_pre // n]
                draw_levels(sampled, means[row, slot:], levels, n, source, own)
                if passes_means:
                    mean_levels(means[row, slot:], levels, n, own)
            elif here.distribution == BOLTZMANN:
                way = MEAN_FIELD if passes_means else DRAWN if sampled else LIKELY
                couplings = network[2][here.biases + n : here.end]
                means_here, z = means[row, slot : slot + n], means[row, slot + n : slot + 2 * n]
                sweeps = int(constants[index, SWEEPS])
                settle(way, constants[index, TEMPERATURE], sweeps, couplings, z, means_here, source, own)
            else:
                how = DETERMINISTIC if passes_means and here.distribution != GAUSSIAN_PREACTIVATION else here.distribution
                draw(how, sampled, means[row, slot:], n, source, own)
            if may_hold and sampled:
                for k in range(slot, slot + n):
                    if noise[noise_step, row, width + k] == 0.0:
                        values[row, k] = held[k]
    return all_finite(means[: observations.shape[0], observations.shape[1] :])


@kernel
def act(arrays: Arrays, observations: Array, noise_step: int) -> bool:
    """Sample the network of a learner (`coagent_rl.arrays.LearnerArrays`) with a step of its noise. See `forward`."""
    learner = named(arrays)
    learner.counters[NOISE_STEP] = noise_step
    return forward(structure(learner), learner.activity, observations, learner.noise, noise_step, SAMPLE)


@part
def local_scores(learner: LearnerArrays) -> None:
    """Write the scores ∂ log π(values) / ∂z of every stochastic layer and row, from values and means. See `units.score`.

    A deterministic layer has none of its own; see `coagent_rl.credit.backprop.scores_within_coagents`. A unit that held its
    value did nothing: its score is zero.

    Source: Kostas, Nota & Thomas (2020), asynchronous coagent networks.
    """
    layout, constants = learner.layout, learner.constants
    values, means, scores = learner.values, learner.means, learner.scores
    width, step = values.shape[1], int(learner.counters[NOISE_STEP])
    may_hold = learner.noise.shape[2] > width
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
                if may_hold:
                    for k in range(here.n_biases):
                        per_unit = here.n_pre // here.n_values if here.distribution == CATEGORICAL else 1
                        unit = k // per_unit if per_unit > 1 else k % here.n_values
                        if learner.noise[step, row, width + here.slot + unit] == 0.0:
                            scores[row, here.slot + k] = 0.0
