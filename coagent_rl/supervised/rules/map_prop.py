"""MAP Propagation: hidden units learn from what they most probably did, given the output, instead of what they drew."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.forward import all_finite
from coagent_rl.networks.layout import DEVIATION
from coagent_rl.schedules import is_positive
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.losses import LOSSES
from coagent_rl.supervised.rules.base import GAUSSIAN_KINDS, Rule, register
from coagent_rl.supervised.rules.reinforce import reinforce

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def ascend_likelihood_rows(n_values: int, step_size: float, means: Array, back: Array, values: Array) -> None:
    """h_i ← h_i + α (Σ_j w_ij s_j + (m_i - h_i) / σ_i²): `coagent_rl.credit.map_prop.ascend_likelihood` for all rows.

    Args:
        n_values: number of units.
        step_size: α.
        means: m, and σ in the n_values columns after them; shape (n_rows, 2 n_values).
        back: Σ_j w_ij s_j with the scores of the layer above, shape (n_rows, n_values).
        values: h, shape (n_rows, ≥ n_values), updated in place.

    Source: Chung (2021).
    """
    α = values.dtype.type(step_size)
    for row in range(values.shape[0]):
        for i in range(n_values):
            σ = means[row, n_values + i]
            values[row, i] += α * (back[row, i] + (means[row, i] - values[row, i]) / (σ * σ))


@register
@dataclass
class MAPPropagation(Rule):
    """c = A ∂ ln π / ∂z of the values that make the whole network's doings most probable, with the output held fast.

    A sampled output is held at what it drew. An exact output is held at the target, whose likelihood is exp(-loss): then
    every layer climbs ∂ ln Pr(H, y | x) / ∂z at the most probable H, and needs no return.

    Attributes:
        relaxation_steps: N ≥ 0.
        relaxation_rate: step size of the relaxation in units of each layer's variance.

    Source: Chung (2021).
    """

    relaxation_steps: int = 20
    relaxation_rate: float = 0.5

    name = "map_prop"
    why_all_explore = "all units move to their most probable values"
    kinds = GAUSSIAN_KINDS
    units = "gaussian_softplus"
    deviation = 0.3
    reason = "it moves values in small steps to where they are most probable, which takes values that are Gaussian"

    def __post_init__(self) -> None:
        if isinstance(self.relaxation_steps, bool) or not isinstance(self.relaxation_steps, int | np.integer):
            raise ValueError(f"relaxation_steps must be a whole number, not {self.relaxation_steps!r}.")
        if self.relaxation_steps < 0:
            raise ValueError(f"relaxation_steps must not be negative, not {self.relaxation_steps!r}.")
        if not is_positive(self.relaxation_rate):
            raise ValueError(f"relaxation_rate must be positive and finite, not {self.relaxation_rate!r}.")

    def begin(self, learner: BatchLearner) -> None:
        """Relax all hidden layers at once, as `coagent_rl.credit.map_prop.relax` does, and write the output's credit."""
        layers, output = learner.layers, learner.output
        losses = np.empty_like(learner.losses)
        for number in range(self.relaxation_steps + 1):
            if number > 0:
                # Every layer moves by the scores of the values before any of them moved: from the first one upwards.
                for layer, above in pairwise(layers):
                    scored = above.credit_of_values if above is output and not output.is_sampled else above.scores_of_values
                    back = np.matmul(scored, above.weights.T, out=layer.back)
                    step_size = self.relaxation_rate * float(layer.constants[layer.index, DEVIATION]) ** 2
                    ascend_likelihood_rows(layer.n_values, step_size, layer.means, back, layer.values)
                for layer in layers[1:]:
                    layer.compute_means(layer.inputs)
            for layer in layers[1:-1]:
                layer.compute_scores()
            if output.is_sampled:
                output.compute_scores()
            else:
                if number > 0:
                    output.draw(False)
                LOSSES[learner.loss](
                    output.n_values, output.values, learner.targets, learner.n_samples, losses, output.credit
                )
        if not all(all_finite(layer.values) for layer in layers[:-1]):
            raise ValueError(
                f"The relaxation of the hidden units diverged. Lower relaxation_rate ({self.relaxation_rate}) or "
                f"learning_rate."
            )

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        advantages = learner.advantages[-1]
        if advantages is None:  # the target itself was held fast
            advantages = np.ones_like(learner.losses)
        reinforce(layer, advantages)
