"""REINFORCE with fewer explorers: the variance reduction of Thomas (2011)."""

from __future__ import annotations

from coagent_rl.arrays import NOISE_STEP, Arrays, LearnerArrays, named
from coagent_rl.credit.backprop import scores_within_coagents
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import place
from coagent_rl.networks.units import DETERMINISTIC, neutral_noise
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate


@kernel
def explorers_only(noise: Array, neutral: float, score: Array) -> None:
    """s_i ← 0 for every unit that did not explore: what it did was not its choice, so it has nothing to learn from it.

    At every time step each hidden unit explores with probability q, independently; the others take their most likely value.
    So the TD error judges the exploration of a few units at a time and correlates better with each of them.

    Args:
        noise: shape (n,), what the units drew with.
        neutral: the noise of a unit that did not explore.
        score: shape (n k,), ∂ log π / ∂z of k pre-activations a unit, updated in place.

    Source: Thomas (2011), as described by Chung (2022): "disabling exploration randomly". The paper leaves open when the
    switch is drawn anew; here it is at every step, for every hidden unit on its own.
    """
    n_each = score.size // noise.size
    for i in range(score.size):
        if noise[i // n_each] == neutral:
            score[i] = 0.0


@part
def scores_of_explorers(learner: LearnerArrays) -> None:
    """Write the scores of those stochastic units that explored in the present step; output units always do."""
    local_scores(learner)
    step = int(learner.counters[NOISE_STEP])
    for row in range(learner.values.shape[0]):
        for index in range(learner.layout.shape[0] - 1):
            here = place(learner.layout, index)
            if here.distribution != DETERMINISTIC:
                noise = learner.noise[step, row, here.slot : here.slot + here.n_values]
                own = learner.scores[row, here.slot : here.slot + here.n_pre]
                explorers_only(noise, neutral_noise(here.distribution), own)


@kernel
def learn_thomas(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: scores of those units that explored → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    scores_of_explorers(learner)
    scores_within_coagents(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
