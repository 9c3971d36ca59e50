"""TD(λ) with a multilayer network trained by backprop: the critic of the papers."""

from __future__ import annotations

import math

from coagent_rl.arrays import Arrays, named, structure, transition_of
from coagent_rl.credit.backprop import scores_within_coagents
from coagent_rl.critics.critic import Critic
from coagent_rl.critics.reward import take_value, tell_all
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.forward import all_finite, forward
from coagent_rl.networks.layout import place
from coagent_rl.networks.units import MEAN
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

DISCOUNT = 0
"""Which of a critic's options is γ."""


@kernel
def td_lambda(
    learners: tuple[Arrays, ...], actor: Arrays, transition: Arrays, time: float, td_errors: Array, reinforcements: Array
) -> bool:
    """One step of semi-gradient TD(λ) on the state values v(s; w), and the TD errors that it gives.

        δ = R + γ v(S'; w) - v(S; w),  z ← γλ z + ∇v(S; w),  w ← w + α δ z

    Args:
        learners: the critic's only learner, of deterministic units with one linear output; its traces decay by γλ, its
            option DISCOUNT is γ.
        actor: not read.
        transition, time, td_errors, reinforcements: see `coagent_rl.critics.critic.Critic`.

    Returns:
        Whether observations, rewards, TD errors and the update are finite; nothing is learned where one is not.

    Source: Sutton & Barto (2018), §13.5.
    """
    learner, given = named(learners[0]), transition_of(transition)
    observations, rewards = given.observations, given.rewards
    if not (all_finite(given.next_observations) and all_finite(observations)):
        return False
    for row in range(rewards.size):
        if not math.isfinite(rewards[row]):
            return False
    output = place(learner.layout, learner.layout.shape[0] - 1).slot
    for is_present in range(2):  # a loop, so that the forward pass is compiled into this function once
        states = observations if is_present else given.next_observations
        # Deterministic units read no noise: any array and any step of it will do. Constants in this call, which int() makes
        # a number like others, would have the forward pass compiled once more for them alone.
        forward(structure(learner), learner.activity, states, learner.activity, is_present, int(MEAN))
        take_value(given, learner.options[DISCOUNT], learner.values, output, is_present, td_errors)
    for row in range(rewards.size):
        if not math.isfinite(td_errors[row]):
            return False
        learner.scores[row, output] = 1.0
        learner.signals[row] = td_errors[row]
    scores_within_coagents(learner)
    accumulate(learner, given.episode_starts)
    tell_all(td_errors, reinforcements)
    return update(learner, time)


class TDLambdaCritic(Critic):
    """State values learned by TD(λ).

    Args:
        actor: the network that is judged.
        learner: of a network with one linear output and deterministic units, with the option γ.
    """

    kernel = staticmethod(td_lambda)
    diverged = "The TD error is not finite: the parameters of the critic have diverged. Lower critic_learning_rate"

    def __init__(self, actor: Network, learner: Learner) -> None:
        super().__init__(actor, learner.n_rows)
        self.learner = learner

    @property
    def learners(self) -> tuple[Arrays, ...]:
        return (self.learner.arrays,)
