"""No critic: the reward itself is the reinforcement, for one-step tasks."""

from __future__ import annotations

import math

from coagent_rl.arrays import Arrays, Transition, transition_of
from coagent_rl.critics.critic import Critic
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import all_finite


@part
def tell_all(td_errors: Array, reinforcements: Array) -> None:
    """R_i = δ for every unit i: td_errors of shape (n_rows,) into reinforcements of shape (n_rows, width)."""
    for row in range(td_errors.size):
        for k in range(reinforcements.shape[1]):
            reinforcements[row, k] = td_errors[row]


@part
def take_value(given: Transition, discount: float, values: Array, k: int, is_present: int, td_errors: Array) -> None:
    """δ = R + γ v(S'), where ``values[:, k]`` are those of S', then with ``is_present`` δ ← δ - v(S), or 0 where ignored."""
    for row in range(td_errors.size):
        if is_present:
            td_errors[row] = 0.0 if given.ignored[row] else td_errors[row] - values[row, k]
        else:
            td_errors[row] = given.rewards[row]
            if not given.terminated[row]:
                td_errors[row] += discount * values[row, k]


@kernel
def rewards_as_reinforcements(
    learners: tuple[Arrays, ...], actor: Arrays, transition: Arrays, time: float, td_errors: Array, reinforcements: Array
) -> bool:
    """δ = R; see `coagent_rl.critics.critic.Critic`. A reward needs no bootstrapping, so the ends do not matter."""
    given = transition_of(transition)
    for row in range(given.rewards.size):
        if not math.isfinite(given.rewards[row]):
            return False
    if not all_finite(given.next_observations):
        return False
    for row in range(given.rewards.size):
        td_errors[row] = given.rewards[row]
    tell_all(td_errors, reinforcements)
    return True


class RewardCritic(Critic):
    """δ = R: the TD error of a state value that is zero everywhere."""

    kernel = staticmethod(rewards_as_reinforcements)
