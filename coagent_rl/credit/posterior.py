"""The posterior rule: a unit learns from how likely it was to fire, given all that it touches, not from whether it did."""

from __future__ import annotations

import math

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.elementary import exp_of_negative, softplus
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import TEMPERATURE, Place, place, weights_of
from coagent_rl.networks.units import BERNOULLI, CATEGORICAL, GAUSSIAN, SOFTMAX, pre_activations
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate


@part
def log_sum_of_exponentials(z: Array, temperature: float, has_reference: bool) -> float:
    """log Σ_k exp(z_k / T), with one more term of z = 0 where ``has_reference``."""
    largest = 0.0 if has_reference else float(z[0])
    for k in range(z.size):
        largest = max(largest, float(z[k]))
    total = math.exp(-largest / temperature) if has_reference else 0.0
    for k in range(z.size):
        total += math.exp((z[k] - largest) / temperature)
    return largest / temperature + math.log(total)


@part
def log_likelihood(here: Place, temperature: float, z: Array, values: Array, means: Array) -> float:
    """log Pr(values) of one layer with pre-activations ``z``, up to what does not depend on them.

    Args:
        here: where the layer lies; its units are Bernoulli, softmax, categorical, or Gaussian with linear means.
        temperature: the layer's.
        z: shape (n_pre,).
        values: what the units did, and behind it what categorical units remember of it; shape (≥ n_values,).
        means: of Gaussian units the standard deviations are read, behind their means.
    """
    n, total = here.n_values, 0.0
    if here.distribution == BERNOULLI:
        for j in range(n):
            x = z[j] / temperature
            total += values[j] * x - softplus(x)
    elif here.distribution == GAUSSIAN:
        for j in range(n):
            standardised = (values[j] - z[j] / temperature) / means[n + j]
            total -= 0.5 * standardised * standardised
    elif here.distribution == CATEGORICAL:
        n_levels = here.n_pre // n
        for j in range(n):
            own = z[j * n_levels : (j + 1) * n_levels]
            total += own[int(values[n + j])] / temperature - log_sum_of_exponentials(own, temperature, False)
    else:
        for k in range(here.n_pre):
            total += values[k] * z[k] / temperature
        total -= log_sum_of_exponentials(z, temperature, here.distribution != SOFTMAX)
    return total


@part
def log_ratios(
    above: Place,
    temperature: float,
    weights: Array,
    biases: Array,
    units: Array,
    values: Array,
    means: Array,
    z: Array,
    moved: Array,
    ratios: Array,
) -> None:
    """L_i = log Pr(H' | h_i = 1, all other h) - log Pr(H' | h_i = 0, all other h), H' being what the layer above did.

    A unit reads its own value and outgoing weights, and of the layer above what it did and how near each unit was to doing
    otherwise.

    Args:
        above, temperature: the layer above, and its temperature; see `log_likelihood`.
        weights: w, shape (n, n_above), from this layer's units to the layer above.
        biases: of the layer above, shape (≥ n_above,).
        units: h, what this layer did; shape (n,).
        values, means: of the layer above, and what lies behind them.
        z, moved: scratch of shape (n_above,).
        ratios: L, shape (n,), overwritten.
    """
    pre_activations(weights, biases, units, z)
    as_it_is = log_likelihood(above, temperature, z, values, means)
    for i in range(units.size):
        was_one = units[i] > 0.0
        for j in range(moved.size):
            moved[j] = z[j] - weights[i, j] if was_one else z[j] + weights[i, j]
        otherwise = log_likelihood(above, temperature, moved, values, means)
        ratios[i] = as_it_is - otherwise if was_one else otherwise - as_it_is


@part
def posterior_scores(temperature: float, means: Array, ratios: Array, scores: Array) -> None:
    """s_i = (q_i - p_i) / T with q_i = σ(log p_i / (1 - p_i) + L_i), the unit's probability given all that it touches.

    Args:
        temperature: T of this layer.
        means: p, shape (n,).
        ratios: L, see `log_ratios`; shape (n,).
        scores: shape (n,), overwritten.

    The score h - p of REINFORCE, averaged over what else the unit could have done without anyone noticing: where the
    return depends on h only through H', E[R (h - p)] = E[R (q - p)], and the variance is never larger (Rao & Blackwell).
    """
    for i in range(scores.size):
        p = means[i]
        e = exp_of_negative(-abs(ratios[i]))
        one, zero = (p, (1.0 - p) * e) if ratios[i] >= 0.0 else (p * e, 1.0 - p)
        scores[i] = (one / (one + zero) - p) / temperature


@part
def write_ratios(learner: LearnerArrays) -> None:
    """`log_ratios` of all hidden layers and rows, into the signals; those of the layer above and its changes are scratch."""
    signals, changes = learner.signals, learner.changes
    for row in range(learner.values.shape[0]):
        for index in range(learner.layout.shape[0] - 1):
            here, above = place(learner.layout, index), place(learner.layout, index + 1)
            log_ratios(
                above,
                learner.constants[index + 1, TEMPERATURE],
                weights_of(above, learner.parameters),
                learner.parameters[above.biases : above.end],
                learner.values[row, here.slot : here.slot + here.n_values],
                learner.values[row, above.slot :],
                learner.means[row, above.slot :],
                changes[row, above.slot : above.slot + above.n_pre],
                signals[row, above.slot : above.slot + above.n_pre],
                signals[row, here.slot : here.slot + here.n_values],
            )


@kernel
def learn_posterior(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: scores of the posterior → traces → what the critic says → update.

    Hidden units are Bernoulli. The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    local_scores(learner)
    write_ratios(learner)
    for row in range(learner.values.shape[0]):
        for index in range(learner.layout.shape[0] - 1):
            here = place(learner.layout, index)
            own = slice(here.slot, here.slot + here.n_values)
            temperature = learner.constants[index, TEMPERATURE]
            posterior_scores(temperature, learner.means[row, own], learner.signals[row, own], learner.scores[row, own])
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
