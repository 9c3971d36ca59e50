"""MAP Propagation: hidden units learn from what they most probably did, given the action, instead of what they drew."""

from __future__ import annotations

import math

from coagent_rl.arrays import Arrays, LearnerArrays, named, structure
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.forward import all_finite, means_of_layer
from coagent_rl.networks.layout import TEMPERATURE, place, weights_of
from coagent_rl.networks.units import score
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

# The rule's options.
RELAXATION_STEPS, STEP_SIZES = range(2)


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
def relax(learner: LearnerArrays, row: int, relaxation_steps: int, step_sizes: Array) -> None:
    """Move all hidden layers at once up log Pr(H, A | S) with the output clamped, and write the relaxed scores of a row.

    Nothing that cannot have changed is computed again: the first layer's means see only the observation.

    Args:
        learner: with hidden units that are Gaussian; its values and means hold a forward pass and become the relaxed ones.
        row: which row.
        relaxation_steps: N; with 0 the scores are those of the values drawn: global REINFORCE.
        step_sizes: α of each layer, shape (depth,); the output's is not used.
    """
    layout, values, means, scores = learner.layout, learner.values[row], learner.means[row], learner.scores[row]
    depth = layout.shape[0]
    for number in range(relaxation_steps + 1):
        if number > 0:
            for index in range(depth - 1):
                here, above = place(layout, index), place(layout, index + 1)
                n, slot = here.n_values, here.slot
                ascend_likelihood(
                    weights_of(above, learner.parameters),
                    scores[above.slot : above.slot + above.n_pre],
                    means[slot : slot + n],
                    means[slot + n : slot + 2 * n],
                    step_sizes[index],
                    values[slot : slot + n],
                )
        # While values still move, only the scores that reach down to a hidden layer are needed: not the first layer's.
        for index in range(0 if number == relaxation_steps else 1, depth):
            if number > 0 and index > 0:
                means_of_layer(structure(learner), index, values, means)
            here = place(layout, index)
            score(
                here.distribution,
                here.activation,
                learner.constants[index, TEMPERATURE],
                here.n_biases > here.n_pre,
                values[here.slot :],
                means[here.slot :],
                here.n_values,
                scores[here.slot : here.slot + here.n_biases],
            )


@kernel
def learn_map_prop(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: relaxation → scores → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`. The options are the number of
    relaxation steps and, from STEP_SIZES on, the step size of each layer.
    """
    learner = named(arrays)
    for row in range(reinforcements.shape[0]):
        relax(learner, row, int(learner.options[RELAXATION_STEPS]), learner.options[STEP_SIZES:])
    if not all_finite(learner.scores):
        return False
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)


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
