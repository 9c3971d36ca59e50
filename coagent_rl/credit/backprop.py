"""Backprop: a hidden unit's share of the output's score, by the chain rule; it reads weights backwards."""

from __future__ import annotations

from coagent_rl.credit.straight_through import surrogate_slopes
from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.forward import MEANS, SCORES, VALUES
from coagent_rl.networks.layout import ACTIVATION, DISTRIBUTION, TEMPERATURE
from coagent_rl.networks.units import DETERMINISTIC, slope


@kernel
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


@kernel
def backpropagate(layout: Array, constants: Array, parameters: Array, activity: Array, row: int, smooth: bool) -> None:
    """Go down from the output layer, whose SCORES are given, to the first, and write the SCORES of all layers of a row.

    Args:
        layout, constants, parameters: see `coagent_rl.networks.Network`.
        activity: shape (4, n_rows, width).
        row: which row.
        smooth: for stochastic hidden units, see `surrogate_slopes`; deterministic ones have a slope of their own.
    """
    scores = activity[SCORES, row]
    for index in range(layout.shape[0] - 1, 0, -1):
        _, _, n_in, n_pre, _, _, w, b, _, inputs, slot = layout[index]
        below = scores[inputs : inputs + n_in]
        temperature = constants[index - 1, TEMPERATURE]
        if layout[index - 1, DISTRIBUTION] == DETERMINISTIC:
            slope(layout[index - 1, ACTIVATION], temperature, activity[VALUES, row, inputs : inputs + n_in], below)
        else:
            surrogate_slopes(activity[MEANS, row, inputs : inputs + n_in], temperature, smooth, below)
        chain_rule(parameters[w:b].reshape(n_in, n_pre), scores[slot : slot + n_pre], below, below)
