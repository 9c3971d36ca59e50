"""Global REINFORCE: every unit is told the same reinforcement."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.credit.backprop import scores_within_coagents
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate


@part
def listen(learner: LearnerArrays, reinforcements: Array) -> None:
    """R_i ← what the critic tells unit i: the TD error δ for all, one number a layer, or one a neuron.

    Args:
        learner: whose signals R are overwritten.
        reinforcements: shape (n_rows, width), one entry per pre-activation.

    Source: Williams (1992); Chung (2022), eq. 3, with the TD error in the place of the return.
    """
    for row in range(reinforcements.shape[0]):
        for k in range(reinforcements.shape[1]):
            learner.signals[row, k] = reinforcements[row, k]


@kernel
def learn_reinforce(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: scores → traces → what the critic says → update.

    Deterministic layers belong to the coagents that end at the next stochastic layer above them. With stochastic layers only
    this is REINFORCE; with deterministic hidden layers only, the whole network is one coagent, and it is backprop.

    Args:
        arrays: the actor's, see `coagent_rl.arrays.LearnerArrays`.
        reinforcements: shape (n_rows, width), what the critic tells every pre-activation.
        episode_starts: shape (n_rows,).
        time: environment steps so far.

    Returns:
        Whether the update is finite; nothing is learned where it is not. (So do all rules.)
    """
    learner = named(arrays)
    local_scores(learner)
    scores_within_coagents(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
