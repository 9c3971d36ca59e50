"""Direct feedback alignment: the output's score reaches every hidden layer through fixed random weights."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import TEMPERATURE, place
from coagent_rl.networks.units import slope
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate


@kernel
def random_feedback(feedback: Array, scores_out: Array, slopes: Array, scores: Array) -> None:
    """s_i = m'(z_i) Σ_k B_ki s_k, with fixed B in the place of the chain of forward weights.

    Unit i reads its own slope, the output layer's scores, and its own feedback weights, which never change.

    Args:
        feedback: B, shape (n_out, n).
        scores_out: s of the output layer, shape (n_out,).
        slopes: m'(z) of this layer's units, shape (n,).
        scores: shape (n,), overwritten.

    Source: Nøkland (2016), eq. 7; Lillicrap et al. (2016).
    """
    for i in range(scores.size):
        total = feedback.dtype.type(0.0)
        for k in range(scores_out.size):
            total += feedback[k, i] * scores_out[k]
        scores[i] = slopes[i] * total


@part
def feedback_scores(learner: LearnerArrays) -> None:
    """Overwrite the scores of all hidden layers and rows; B lies in ``learner.store``, shape (1, 1, n_out, width)."""
    feedback = learner.store[0, 0]
    output = place(learner.layout, learner.layout.shape[0] - 1)
    for row in range(learner.values.shape[0]):
        scores_out = learner.scores[row, output.slot : output.slot + output.n_pre]
        for index in range(learner.layout.shape[0] - 1):
            here = place(learner.layout, index)
            columns = slice(here.slot, here.slot + here.n_pre)
            scores = learner.scores[row, columns]
            slope(here.activation, learner.constants[index, TEMPERATURE], learner.means[row, columns], scores)
            random_feedback(feedback[:, columns], scores_out, scores, scores)


@kernel
def learn_feedback_alignment(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: the output's score → straight to all layers → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    local_scores(learner)
    feedback_scores(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
