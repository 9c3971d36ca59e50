"""DisARM: what would the action's probability have been, had all units of a layer drawn with the opposite noise?"""

from __future__ import annotations

import math

from coagent_rl.arrays import NOISE_STEP, Arrays, LearnerArrays, named, structure
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores, means_of_layer
from coagent_rl.networks.layout import TEMPERATURE, place
from coagent_rl.networks.likelihood import log_probability
from coagent_rl.networks.units import draw
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate


@kernel
def disarm(values: Array, antithetic: Array, means: Array, temperature: float, ratio: float, scores: Array) -> None:
    """s_i = ½ (1 - ρ) (h_i - h̃_i) max(p_i, 1 - p_i) / T, in the place of the score (h_i - p_i) / T.

    With f(h) = Σ_a π(a|h) A(a), DisARM is the estimate ½ (f(h) - f(h̃)) (h_i - h̃_i) σ(|z_i/T|) / T of ∂E[f] / ∂z_i, from a
    second sample h̃ that draws with the noise 1 - u. Only one action can be taken, a ~ π(·|h); but δ is an unbiased estimate
    of f(h), and ρ δ with ρ = π(a|h̃) / π(a|h) one of f(h̃), since what follows the action does not depend on h. So s δ is
    unbiased, as is the trace of s with later TD errors. Given h and h̃ the mean of s is zero: no baseline adds noise to it.

    Args:
        values, antithetic: h and h̃, shape (n,).
        means: p, shape (n,).
        temperature: T.
        ratio: ρ.
        scores: shape (n,), overwritten.

    Source: Dong, Mnih & Tucker (2020), eq. 6; Yin et al. (2020). The ratio is ours.
    """
    real = scores.dtype.type
    share, one = real(0.5 * (1.0 - ratio) / temperature), real(1.0)
    for i in range(scores.size):
        scores[i] = share * (values[i] - antithetic[i]) * max(means[i], one - means[i])


@part
def opposite(noise: Array, means: Array, values: Array) -> None:
    """h̃_i = 1 if 1 - u_i < p_i, else 0; all of shape (n,). A unit that did not explore, u = ½, stays what it was."""
    one = noise.dtype.type(1.0)
    for i in range(values.size):
        values[i] = 1.0 if one - noise[i] < means[i] else 0.0


@part
def disarm_scores(learner: LearnerArrays) -> None:
    """Overwrite the scores of all hidden layers and rows; signals and changes are the room of the antithetic passes.

    Layer by layer: its units take the opposite values, the layers above draw again, with the noise that they had. That noise
    is independent of the layer's, so the estimate is unbiased given it, and only the action's probabilities are compared.
    """
    layout, depth = learner.layout, learner.layout.shape[0]
    output, step = place(layout, depth - 1), int(learner.counters[NOISE_STEP])
    for row in range(learner.values.shape[0]):
        values, means, noise = learner.signals[row], learner.changes[row], learner.noise[step, row]
        action = learner.values[row, output.slot :]
        before = log_probability(output, action, learner.means[row, output.slot :])
        for index in range(depth - 1):
            here = place(layout, index)
            own = slice(here.slot, here.slot + here.n_values)
            opposite(noise[own], learner.means[row, own], values[own])
            for higher in range(index + 1, depth):
                above = place(layout, higher)
                means_of_layer(structure(learner), higher, values, means)
                if higher < depth - 1:
                    slot = above.slot
                    draw(above.distribution, True, means[slot:], above.n_values, noise[slot:], values[slot:])
            ratio = math.exp(log_probability(output, action, means[output.slot :]) - before)
            temperature = learner.constants[index, TEMPERATURE]
            disarm(
                learner.values[row, own], values[own], learner.means[row, own], temperature, ratio, learner.scores[row, own]
            )


@kernel
def learn_disarm(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: an antithetic pass for every hidden layer → scores → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    local_scores(learner)
    disarm_scores(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
