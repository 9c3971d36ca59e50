"""TD(λ) with a multilayer network trained by backprop: the critic of the papers."""

from __future__ import annotations

import math

import numpy as np

from coagent_rl.credit.backprop import backpropagate
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import SCORES, SIGNALS, VALUES, all_finite, forward
from coagent_rl.networks.layout import SLOT
from coagent_rl.networks.units import MEAN
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.traces import accumulate, three_factor_update


@kernel
def td_lambda(
    layout: Array,
    constants: Array,
    settings: Array,
    rates: Array,
    parameters: Array,
    memory: Array,
    traces: Array,
    activity: Array,
    observations: Array,
    rewards: Array,
    next_observations: Array,
    terminated: Array,
    ignored: Array,
    episode_starts: Array,
    discount: float,
    time: float,
    td_errors: Array,
) -> bool:
    """One step of semi-gradient TD(λ) on the state values v(s; w), and the TD errors that it gives.

        δ = R + γ v(S'; w) - v(S; w),  z ← γλ z + ∇v(S; w),  w ← w + α δ z

    Args:
        layout … activity: the network and its learner, see `Network` and `Learner`; traces decay by γλ.
        observations, next_observations: S and S', shape (n_rows, n_inputs); S' is the terminal observation where an
            episode was cut.
        rewards: R, shape (n_rows,).
        terminated: shape (n_rows,), where v(S') is zero by definition.
        ignored: shape (n_rows,), where the TD error is taken as zero.
        episode_starts: shape (n_rows,), where S is an episode's first state.
        discount: γ.
        time: environment steps so far, for the learning rate's schedule.
        td_errors: shape (n_rows,), overwritten.

    Returns:
        Whether observations, rewards and TD errors are finite; nothing is learned where one is not.

    Source: Sutton & Barto (2018), §13.5.
    """
    if not (all_finite(next_observations) and all_finite(observations)):
        return False
    for row in range(rewards.size):
        if not math.isfinite(rewards[row]):
            return False
    top = layout.shape[0] - 1
    output = layout[top, SLOT]
    # Deterministic units read no noise: any array of its type will do.
    forward(layout, constants, parameters, activity, next_observations, activity, 0, MEAN)
    for row in range(rewards.size):
        td_errors[row] = rewards[row]
        if not terminated[row]:
            td_errors[row] += discount * activity[VALUES, row, output]
    forward(layout, constants, parameters, activity, observations, activity, 0, MEAN)
    for row in range(rewards.size):
        td_errors[row] = 0.0 if ignored[row] else td_errors[row] - activity[VALUES, row, output]
        if not math.isfinite(td_errors[row]):
            return False
    for row in range(rewards.size):
        activity[SIGNALS, row] = td_errors[row]
        activity[SCORES, row, output] = 1.0
        backpropagate(layout, constants, parameters, activity, row, False)
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)
    return True


class TDLambdaCritic:
    """State values learned by TD(λ).

    Args:
        learner: of a network with one linear output and deterministic units.
        discount: γ.
    """

    def __init__(self, learner: Learner, discount: float) -> None:
        self.learner = learner
        self.discount = float(discount)
        self.td_errors = np.zeros(learner.traces.shape[0])

    def learn(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        next_observations: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
        time: int,
    ) -> bool:
        """Learn from one transition per environment and write ``td_errors``. See `td_lambda` for arguments and result."""
        return bool(
            td_lambda(
                *self.learner.arguments,
                observations,
                rewards,
                next_observations,
                terminated,
                ignored,
                episode_starts,
                self.discount,
                time,
                self.td_errors,
            )
        )
