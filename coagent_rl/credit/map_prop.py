"""MAP Propagation: hidden units learn from what they most probably did, given the action, instead of what they drew."""

from __future__ import annotations

import math

from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.forward import MEANS, SCORES, VALUES, means_of_layer
from coagent_rl.networks.layout import BIASES, N_PRE, N_VALUES, SLOT, TEMPERATURE, WEIGHTS
from coagent_rl.networks.units import score


@kernel
def ascend_likelihood(
    weights_above: Array, scores_above: Array, means: Array, deviations: Array, step_size: float, values: Array
) -> None:
    """h_i ← h_i + α (Σ_j w_ij s_j + (m_i - h_i) / σ_i²), one step up log Pr(H_above | H) + log Pr(H | H_below).

    Unit i reads its own value, mean and outgoing weights, and the scores of the layer above.

    Args:
        weights_above: w, shape (n, n_above), from this layer's units to the layer above.
        scores_above: s = ∂ log Pr(H_above | H) / ∂z_above, shape (n_above,).
        means, deviations: m and σ of this layer's Gaussian units, given the layer below; shape (n,).
        step_size: α.
        values: h, shape (n,), updated in place.

    Source: Chung (2021), MAP Propagation; Chung, "Training a neural network without backpropagation", the equation of H^l.
    """
    n, n_above = weights_above.shape
    α = values.dtype.type(step_size)
    for i in range(n):
        total = (means[i] - values[i]) / (deviations[i] * deviations[i])
        for j in range(n_above):
            total += weights_above[i, j] * scores_above[j]
        values[i] += α * total


@kernel
def relax(
    layout: Array, constants: Array, parameters: Array, activity: Array, row: int, n_steps: int, step_sizes: Array
) -> None:
    """Move all hidden layers at once ``n_steps`` up log Pr(H, A | S) with the output clamped, and write the relaxed SCORES.

    Nothing that cannot have changed is computed again: the first layer's means see only the observation.

    Args:
        layout, constants, parameters: see `coagent_rl.networks.Network`; hidden units are Gaussian.
        activity: shape (4, n_rows, width), whose VALUES and MEANS hold a forward pass and become the relaxed ones.
        row: which row.
        n_steps: N; with 0 the scores are those of the values drawn: global REINFORCE.
        step_sizes: α of each layer, shape (depth,); the output's is not used.
    """
    values, means, scores = activity[VALUES, row], activity[MEANS, row], activity[SCORES, row]
    depth = layout.shape[0]
    for number in range(n_steps + 1):
        if number > 0:
            for index in range(depth - 1):
                n, slot = layout[index, N_VALUES], layout[index, SLOT]
                n_above, slot_above = layout[index + 1, N_PRE], layout[index + 1, SLOT]
                w, b = layout[index + 1, WEIGHTS], layout[index + 1, BIASES]
                ascend_likelihood(
                    parameters[w:b].reshape(n, n_above),
                    scores[slot_above : slot_above + n_above],
                    means[slot : slot + n],
                    means[slot + n : slot + 2 * n],
                    step_sizes[index],
                    values[slot : slot + n],
                )
        # While values still move, only the scores that reach down to a hidden layer are needed: not the first layer's.
        for index in range(0 if number == n_steps else 1, depth):
            if number > 0 and index > 0:
                means_of_layer(layout, constants, parameters, index, values, means)
            distribution, activation, _, n_pre, n_values, n_biases, _, _, _, _, slot = layout[index]
            score(
                distribution,
                activation,
                constants[index, TEMPERATURE],
                n_biases > n_pre,
                values[slot:],
                means[slot:],
                n_values,
                scores[slot : slot + n_biases],
            )


@kernel
def divide_by_noise(noise: float, guard: float, scores: Array) -> None:
    """Divide a critic's scores by output value - output mean, so that trace × TD error moves the mean as TD learning does.

    The output's score is (v - m) / σ², so this leaves 1 / σ² there and, in a relaxed network, the hidden units' share of
    ∂m. A difference smaller than ``guard`` is taken as ``guard`` with its sign (plus for zero).

    Args:
        noise: v - m, of the relaxed network.
        guard: at least so much is divided by.
        scores: shape (width,), updated in place.

    Source: Chung (2021), the critic of MAP Propagation.
    """
    divisor = noise
    if abs(noise) < guard:
        divisor = math.copysign(guard, noise)
    for k in range(scores.size):
        scores[k] /= divisor
