"""Evolution strategies: a network acts with perturbed parameters, which are credited with what comes of it."""

from __future__ import annotations

import math

from coagent_rl.arrays import NOISE_STEP, TRACE_DECAY, Arrays, LearnerArrays, named
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import TINY, Array, flush, kernel, part
from coagent_rl.networks.layout import place
from coagent_rl.optimizers import rate_of, update

# The rule's options.
DEVIATION = 0

# What is remembered, ``store`` of shape (1, 2, 1, n_parameters + 1): the perturbation σε of every parameter, and at the end
# how many individuals there were; the parameters θ + σε that act.
PERTURBATION, ACTING = range(2)

# The two congruential generators of L'Ecuyer (1988), figure 3; their difference has a period of 2.3e18.
FIRST_FACTOR, FIRST_MODULUS = 40014, 2147483563
SECOND_FACTOR, SECOND_MODULUS = 40692, 2147483399
N_COUNTED = 2.0**20
"""Individuals are counted up to here, which single precision holds, and then from zero on."""


@kernel
def normal_numbers(first: int, second: int, deviation: float, numbers: Array) -> tuple[int, int]:
    """Fill a vector with normal numbers of mean 0, from the states of two generators of whole numbers.

    Parameters are far more than units, and are perturbed once an episode: their noise is not drawn ahead, but here.

    Args:
        first, second: states, from 1 to the moduli less one.
        deviation: σ.
        numbers: shape (n,), overwritten.

    Returns:
        The states of the generators afterwards.

    Source: L'Ecuyer (1988), "Efficient and portable combined random number generators"; Box & Muller (1958).
    """
    for k in range(0, numbers.size, 2):
        first = first * FIRST_FACTOR % FIRST_MODULUS
        second = second * SECOND_FACTOR % SECOND_MODULUS
        radius = math.sqrt(-2.0 * math.log(((first - second - 1) % (FIRST_MODULUS - 1) + 1) / FIRST_MODULUS))
        first = first * FIRST_FACTOR % FIRST_MODULUS
        second = second * SECOND_FACTOR % SECOND_MODULUS
        angle = 2.0 * math.pi * ((first - second - 1) % (FIRST_MODULUS - 1) + 1) / FIRST_MODULUS
        numbers[k] = deviation * radius * math.cos(angle)
        if k + 1 < numbers.size:
            numbers[k + 1] = deviation * radius * math.sin(angle)
    return first, second


@part
def next_individual(learner: LearnerArrays, time: float) -> None:
    """Draw the perturbation of the next episode, or, every second time, turn the last one round (mirrored sampling).

    The generators begin with the noise of the output unit at this step and the number of the individual: so the same noise
    gives the same individuals, and nothing else needs to be kept. Layers that do not learn are not perturbed.
    """
    perturbation = learner.store[0, PERTURBATION, 0]
    size, layout = learner.parameters.size, learner.layout
    count = float(perturbation[size])
    if count % 2.0 == 1.0:
        for k in range(size):
            perturbation[k] = -perturbation[k]
    else:
        output = place(layout, layout.shape[0] - 1)
        drawn = float(learner.noise[int(learner.counters[NOISE_STEP]), 0, output.slot])
        first, second = 1 + int(drawn * 2.0**24) % (FIRST_MODULUS - 1), 1 + int(count)
        for _ in range(4):  # states that are alike are far apart after some steps
            first, second = first * FIRST_FACTOR % FIRST_MODULUS, second * SECOND_FACTOR % SECOND_MODULUS
        for index in range(layout.shape[0]):
            here = place(layout, index)
            deviation = learner.options[DEVIATION] if rate_of(learner, index, time) > 0.0 else 0.0
            first, second = normal_numbers(first, second, deviation, perturbation[here.weights : here.end])
    perturbation[size] = (count + 1.0) % N_COUNTED


@part
def accumulate_perturbation(learner: LearnerArrays, start: bool) -> None:
    """e ← γλ e + ε / σ, cleared first at a start; ε / σ = ∂ log N(θ + σε; θ, σ²) / ∂θ is the acting parameters' score."""
    trace, perturbation = learner.traces[0], learner.store[0, PERTURBATION, 0]
    real = trace.dtype.type
    decay = real(0.0 if start else learner.settings[TRACE_DECAY])
    precision, tiny, zero = real(1.0 / learner.options[DEVIATION] ** 2), real(TINY), real(0.0)
    for k in range(trace.size):
        trace[k] = flush(decay * trace[k] + precision * perturbation[k], tiny, zero)


@part
def perturb(learner: LearnerArrays) -> None:
    """θ + σε of every parameter, with which the next action is taken."""
    acting, perturbation = learner.store[0, ACTING, 0], learner.store[0, PERTURBATION, 0]
    for k in range(learner.parameters.size):
        acting[k] = learner.parameters[k] + perturbation[k]


@kernel
def learn_evolution_strategies(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: the acting parameters' score → traces → what the critic says → update → who acts next.

    The sum of Δθ over an episode is Σ_t δ_t ε/σ where λ = 0: without a critic, F(θ + σε) ε/σ with F the sum of the rewards,
    the estimate of Salimans et al. (2017); with one, F is the sum of the TD errors. It is not summed up first: every step is
    learned from at once, and the perturbation stays. The first action of an episode is still taken, and credited, by the
    individual before, because an episode's end is known only when the next has begun.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`; there is one row.

    Source: Salimans et al. (2017), "Evolution strategies as a scalable alternative to reinforcement learning", algorithm 1;
    Sehnke et al. (2010), parameter-exploring policy gradients.
    """
    learner = named(arrays)
    start = bool(episode_starts[0])
    accumulate_perturbation(learner, start)
    listen(learner, reinforcements)
    fine = update(learner, time)
    if fine:
        if start:
            next_individual(learner, time)
        perturb(learner)
    return fine
