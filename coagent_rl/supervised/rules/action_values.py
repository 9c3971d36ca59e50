"""Monte-Carlo action values: each unit learns what return to expect of each of its levels, and takes the best one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.schedules import is_positive
from coagent_rl.supervised.batch import BatchLayer, levels_of
from coagent_rl.supervised.rules.base import Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def draw_epsilon_greedy(
    epsilon: float, n_values: int, levels: Array, action_values: Array, noise: Array, values: Array
) -> None:
    """With probability ε a level at random, else the one with the largest action value, for all rows and units.

    Args:
        epsilon: ε.
        n_values: number of units.
        levels: shape (K,).
        action_values: Q, K a unit, unit after unit; shape (n_rows, ≥ K n_values).
        noise: uniforms on [0, 1), shape (n_rows, n_values).
        values: the levels, then their indices; shape (n_rows, ≥ 2 n_values), overwritten.
    """
    n_levels = levels.size
    for row in range(values.shape[0]):
        for j in range(n_values):
            chosen = 0
            if noise[row, j] < epsilon:
                chosen = min(int(noise[row, j] / epsilon * n_levels), n_levels - 1)
            else:
                for k in range(1, n_levels):
                    if action_values[row, j * n_levels + k] > action_values[row, j * n_levels + chosen]:
                        chosen = k
            values[row, j] = levels[chosen]
            values[row, n_values + j] = chosen


@kernel
def action_value_errors(
    n_values: int, n_levels: int, losses: Array, action_values: Array, values: Array, credit: Array
) -> None:
    """c = 2 (G - Q(o, a)) / n for the level that was taken, zero for the others: down the mean square over n units.

    Args:
        n_values, n_levels: n and K.
        losses: -G, shape (n_rows,).
        action_values: Q, shape (n_rows, ≥ K n).
        values: with the index of the level in the n columns after the first n.
        credit: shape (n_rows, ≥ K n), overwritten.

    Source: Gupta et al. (2021), appendix C and F, as in the official code.
    """
    for row in range(losses.size):
        credit[row, : n_values * n_levels] = 0.0
        for j in range(n_values):
            taken = j * n_levels + int(values[row, n_values + j])
            credit[row, taken] = 2.0 * (-losses[row] - action_values[row, taken]) / n_values


@register
@dataclass
class ActionValues(Rule):
    """Q_i(o, level) ← the return G of the path, linear in o; ε-greedy units. See the kernels above.

    Attributes:
        epsilon: ε in (0, 1].
    """

    epsilon: float = 0.1

    name = "action_values"
    n_samples = 10
    keeps_products = True
    why_all_explore = "its units explore by epsilon"
    kinds = ("categorical",)
    units = "categorical"
    reason = "a unit compares the values of its levels"

    def __post_init__(self) -> None:
        if not is_positive(self.epsilon) or self.epsilon > 1.0:
            raise ValueError(f"epsilon must lie in (0, 1], not {self.epsilon!r}.")

    def draw(self, layer: BatchLayer, rng: np.random.Generator) -> None:
        layer.draw_noise(rng)
        levels = levels_of(layer.layout, layer.constants, layer.index)
        draw_epsilon_greedy(self.epsilon, layer.n_values, levels, layer.means, layer.noise, layer.values)

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        n_levels = layer.n_pre // layer.n_values
        action_value_errors(layer.n_values, n_levels, learner.losses, layer.means, layer.values, layer.credit)
