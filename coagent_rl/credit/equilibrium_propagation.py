"""Equilibrium propagation: hidden units settle again while the output is nudged, and learn from how they moved."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named, structure
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import all_finite, local_scores, means_of_layer
from coagent_rl.networks.layout import TEMPERATURE, place, weights_of
from coagent_rl.networks.units import score, slope
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

# The rule's options.
RELAXATION_STEPS, RELAXATION_RATE, NUDGE = range(3)


@kernel
def descend_energy(
    weights_above: Array, scores_above: Array, means: Array, nudge: float, rate: float, values: Array
) -> None:
    """h_i ← h_i + α (m_i - h_i + β Σ_j w_ij s_j), one step down the energy of a nudged network.

    The energy is ½ Σ_l ‖h^l - m(z^l)‖² - β log π(a|h). Its free equilibrium (β = 0) is the forward pass. The score of a
    hidden unit is s_j = (h_j - m_j) m'(z_j) / β, minus the derivative of the energy by z_j, over β.

    Args:
        weights_above: w, shape (n, n_above), from this layer's units to the layer above.
        scores_above: s of the layer above, shape (n_above,).
        means: m given the layer below, shape (n,).
        nudge: β.
        rate: α.
        values: h, shape (n,), updated in place.

    Source: Scellier & Bengio (2017), for a general energy; this one is that of Whittington & Bogacz (2017).
    """
    n, n_above = weights_above.shape
    α, β = values.dtype.type(rate), values.dtype.type(nudge)
    for i in range(n):
        total = values.dtype.type(0.0)
        for j in range(n_above):
            total += weights_above[i, j] * scores_above[j]
        values[i] += α * (means[i] - values[i] + β * total)


@part
def contrast(values: Array, means: Array, slopes: Array, nudge: float, scores: Array) -> None:
    """s_i = (h_i - m_i) m'(z_i) / β: the nudged phase minus the free phase, where h = m, over β. All of shape (n,)."""
    over = scores.dtype.type(1.0 / nudge)
    for i in range(scores.size):
        scores[i] = over * (values[i] - means[i]) * slopes[i]


@part
def settle(learner: LearnerArrays, row: int) -> None:
    """Move all hidden layers at once down the nudged energy, from the free equilibrium, and write the scores of a row.

    Args:
        learner: with deterministic hidden units; its values and means hold a forward pass and become those of the nudged
            phase.
        row: which row.
    """
    layout, values, means, scores = learner.layout, learner.values[row], learner.means[row], learner.scores[row]
    depth, nudge, rate = layout.shape[0], learner.options[NUDGE], learner.options[RELAXATION_RATE]
    output = place(layout, depth - 1)
    for k in range(place(layout, 0).slot, output.slot):
        scores[k] = 0.0  # in the free equilibrium
    for _ in range(int(learner.options[RELAXATION_STEPS])):
        for index in range(depth - 1):
            here, above = place(layout, index), place(layout, index + 1)
            own = slice(here.slot, here.slot + here.n_values)
            above_scores = scores[above.slot : above.slot + above.n_pre]
            weights = weights_of(above, learner.parameters)
            descend_energy(weights, above_scores, means[own], nudge, rate, values[own])
        for index in range(depth):
            here = place(layout, index)
            if index > 0:
                means_of_layer(structure(learner), index, values, means)
            if index < depth - 1:
                own = slice(here.slot, here.slot + here.n_values)
                slope(here.activation, learner.constants[index, TEMPERATURE], means[own], scores[own])
                contrast(values[own], means[own], scores[own], nudge, scores[own])
        score(
            output.distribution,
            output.activation,
            learner.constants[depth - 1, TEMPERATURE],
            output.n_biases > output.n_pre,
            values[output.slot :],
            means[output.slot :],
            output.n_values,
            scores[output.slot : output.slot + output.n_biases],
        )


@kernel
def learn_equilibrium_propagation(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: the nudged phase → scores → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    local_scores(learner)
    for row in range(reinforcements.shape[0]):
        settle(learner, row)
    if not all_finite(learner.scores):
        return False
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
