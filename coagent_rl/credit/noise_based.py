"""Noise-based reward-modulated learning: did the noise make the action that was taken more probable?"""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named, structure
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, copy, kernel, part
from coagent_rl.networks.forward import local_scores, means_of_layer
from coagent_rl.networks.layout import TEMPERATURE, place
from coagent_rl.networks.likelihood import log_probability
from coagent_rl.networks.units import GAUSSIAN_PREACTIVATION, draw, slope
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate


@kernel
def noise_directions(drawn: Array, means: Array, slopes: Array, growth: float, squared_norm: float, scores: Array) -> None:
    """s_i = (log π_noisy(a) - log π_clean(a)) ξ_i / ‖ξ‖² m'(z_i), the directional derivative along the noise, times it.

    Unit i reads its own noise and slope, and two numbers that all units are told. To first order in ξ the mean over the
    noise is the gradient of log π(a), divided by the number of noisy units.

    Args:
        drawn, means: shape (n,), whose difference is ξ.
        slopes: m'(z), shape (n,).
        growth: log π_noisy(a) - log π_clean(a).
        squared_norm: ‖ξ‖² over all hidden units.
        scores: shape (n,), overwritten.

    Source: García Fernández, Ahmad & van Gerven (2025), arXiv 2503.23972.
    """
    share = scores.dtype.type(growth / squared_norm if squared_norm > 0.0 else 0.0)
    for i in range(scores.size):
        scores[i] = share * (drawn[i] - means[i]) * slopes[i]


@part
def clean_pass(learner: LearnerArrays, row: int, values: Array, means: Array) -> None:
    """The forward pass of a row without the hidden units' noise, into ``values`` and ``means`` of shape (width,)."""
    layout = learner.layout
    n_inputs = place(layout, 0).slot
    copy(learner.values[row, :n_inputs], values[:n_inputs])
    for index in range(layout.shape[0]):
        here = place(layout, index)
        means_of_layer(structure(learner), index, values, means)
        if index < layout.shape[0] - 1:
            draw(here.distribution, False, means[here.slot :], here.n_values, values[here.slot :], values[here.slot :])


@part
def squared_noise(learner: LearnerArrays, row: int) -> float:
    """‖ξ‖² of a row's hidden units."""
    total = 0.0
    for index in range(learner.layout.shape[0] - 1):
        here = place(learner.layout, index)
        own, means = own_noise(learner, row, index)
        for i in range(here.n_values):
            total += (own[i] - means[i]) ** 2
    return total


@part
def own_noise(learner: LearnerArrays, row: int, index: int) -> tuple[Array, Array]:
    """What a layer's Gaussian units drew, and its means; their difference is the noise. Both of shape (n,)."""
    here = place(learner.layout, index)
    first = here.slot + here.n_values if here.distribution == GAUSSIAN_PREACTIVATION else here.slot
    return learner.values[row, first : first + here.n_values], learner.means[row, here.slot : here.slot + here.n_values]


@part
def noise_based_scores(learner: LearnerArrays) -> None:
    """Overwrite the scores of all hidden layers and rows; signals and changes are the room of the clean pass."""
    depth = learner.layout.shape[0]
    output = place(learner.layout, depth - 1)
    for row in range(learner.values.shape[0]):
        values, means = learner.signals[row], learner.changes[row]
        clean_pass(learner, row, values, means)
        action = learner.values[row, output.slot :]
        growth = log_probability(output, action, learner.means[row, output.slot :])
        growth -= log_probability(output, action, means[output.slot :])
        total = squared_noise(learner, row)
        for index in range(depth - 1):
            here = place(learner.layout, index)
            scores = learner.scores[row, here.slot : here.slot + here.n_pre]
            drawn, own = own_noise(learner, row, index)
            slope(here.activation, learner.constants[index, TEMPERATURE], own, scores)
            noise_directions(drawn, own, scores, growth, total, scores)


@kernel
def learn_noise_based(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: a pass without noise → scores → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    local_scores(learner)
    noise_based_scores(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
