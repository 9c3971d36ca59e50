"""The product rule: a unit that fired is told how much less likely, without it, what the layer above did had been."""

from __future__ import annotations

import math

from coagent_rl.arrays import Arrays, named
from coagent_rl.credit.posterior import write_ratios
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import place
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate


@part
def product_scores(values: Array, ratios: Array, scores: Array) -> None:
    """s_i ← s_i h_i (1 - Π_j Pr(h'_j | z_j - w_ij) / Pr(h'_j | z_j)), so that R s_i is R_i times the score of REINFORCE.

    Args:
        values: h, shape (n,).
        ratios: L of `coagent_rl.credit.posterior.log_ratios`, shape (n,); of a unit that fired the product is exp(-L).
        scores: shape (n,), updated in place.

    To first order in w it is R_i = R h_i Σ_j w_ij ∂ log Pr(h'_j) / ∂z_j: Weight Maximization, without its factor of two. And
    E[R_i (h_i - p_i)] = p_i (1 - p_i) (E[R | h_i = 1] - E[R | h_i = 0]), which is REINFORCE's E[R (h_i - p_i)].
    """
    for i in range(scores.size):
        scores[i] *= values[i] * (1.0 - math.exp(-float(ratios[i])))


@kernel
def learn_product(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: scores times what the unit's firing meant → traces → what the critic says → update.

    Hidden units are Bernoulli. The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    local_scores(learner)
    write_ratios(learner)
    for row in range(learner.values.shape[0]):
        for index in range(learner.layout.shape[0] - 1):
            here = place(learner.layout, index)
            own = slice(here.slot, here.slot + here.n_values)
            product_scores(learner.values[row, own], learner.signals[row, own], learner.scores[row, own])
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
