"""Straight-through: backprop through a binary unit as if its sample had been a smooth function of z."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.credit.backprop import chain_rule
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import TEMPERATURE, place, weights_of
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

SMOOTH = 0
"""Which of the rule's options chooses the slope."""


@kernel
def surrogate_slopes(means: Array, temperature: float, smooth: bool, slopes: Array) -> None:
    """The derivative that stands for ∂h/∂z of a Bernoulli unit's sample h: one, or σ'(z/T)/T where ``smooth``.

    Args:
        means: σ(z/T), shape (n,).
        temperature: T.
        smooth: the derivative of the mean instead of the identity's.
        slopes: shape (n,), overwritten; `coagent_rl.credit.backprop.chain_rule` goes on from there.

    Source: Bengio, Léonard & Courville (2013), §4: the identity; the variant with the sigmoid's derivative is theirs too.
    """
    for i in range(means.size):
        slopes[i] = means[i] * (1.0 - means[i]) / temperature if smooth else 1.0


@part
def straight_through_scores(learner: LearnerArrays, smooth: bool) -> None:
    """Go down from the output's scores to the first layer and overwrite the scores of all hidden layers and rows."""
    for row in range(learner.values.shape[0]):
        scores = learner.scores[row]
        for index in range(learner.layout.shape[0] - 1, 0, -1):
            here = place(learner.layout, index)
            below = scores[here.inputs : here.inputs + here.n_inputs]
            means = learner.means[row, here.inputs : here.inputs + here.n_inputs]
            surrogate_slopes(means, learner.constants[index - 1, TEMPERATURE], smooth, below)
            chain_rule(weights_of(here, learner.parameters), scores[here.slot : here.slot + here.n_pre], below, below)


@kernel
def learn_straight_through(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: the output's score → down to all layers → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`; the option SMOOTH chooses the
    slope.
    """
    learner = named(arrays)
    local_scores(learner)
    straight_through_scores(learner, learner.options[SMOOTH] > 0.0)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
