"""Backprop: a hidden unit's share of the output's score, by the chain rule; it reads weights backwards."""

from __future__ import annotations

from coagent_rl.arrays import LearnerArrays
from coagent_rl.kernel import Array, part
from coagent_rl.networks.layout import TEMPERATURE, place, weights_of
from coagent_rl.networks.units import DETERMINISTIC, slope


@part
def chain_rule(weights: Array, scores_above: Array, slopes: Array, scores: Array) -> None:
    """s_i = m'(z_i) Σ_j w_ij s_j, the derivative of log π(action) with respect to z_i.

    Args:
        weights: w, shape (n, n_above), from this layer's units to the layer above.
        scores_above: s of the layer above, shape (n_above,).
        slopes: m'(z) of this layer's units, shape (n,).
        scores: shape (n,), overwritten.

    Source: Rumelhart, Hinton & Williams (1986).
    """
    n, n_above = weights.shape
    for i in range(n):
        total = weights.dtype.type(0.0)
        for j in range(n_above):
            total += weights[i, j] * scores_above[j]
        scores[i] = slopes[i] * total


@part
def scores_within_coagents(learner: LearnerArrays) -> None:
    """Write the scores of the deterministic layers, from those of the layers above, down to the first layer.

    A stochastic layer keeps the score of what it drew: there the chain ends, and another coagent begins. So a coagent may
    span several layers. In a network whose hidden layers are all deterministic this is backprop from the output's score.

    Args:
        learner: with values, and scores of the stochastic layers (`coagent_rl.networks.forward.local_scores`).

    Source: Rumelhart, Hinton & Williams (1986); Gupta et al. (2021), §3.3, for coagents of several layers.
    """
    layout, constants, parameters = learner.layout, learner.constants, learner.parameters
    values, scores = learner.values, learner.scores
    for row in range(values.shape[0]):
        for index in range(layout.shape[0] - 1, 0, -1):
            below = place(layout, index - 1)
            if below.distribution == DETERMINISTIC:
                here, n = place(layout, index), below.n_values
                own = scores[row, here.inputs : here.inputs + n]
                slope(below.activation, constants[index - 1, TEMPERATURE], values[row, here.inputs : here.inputs + n], own)
                above = scores[row, here.slot : here.slot + here.n_pre]
                chain_rule(weights_of(here, parameters), above, own, own)
