"""The posterior rule: a unit learns from how likely its value is after the layer above has drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coagent_rl.credit.posterior import log_ratios, posterior_scores
from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.layout import TEMPERATURE, place
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.rules.base import Rule, register
from coagent_rl.supervised.rules.reinforce import broadcast_rows

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def ratio_rows(
    layout: Array,
    constants: Array,
    index: int,
    weights: Array,
    biases: Array,
    values: Array,
    values_above: Array,
    means_above: Array,
    ratios: Array,
) -> None:
    """`coagent_rl.credit.posterior.log_ratios` for all rows.

    Args:
        layout, constants, index: see `Network`; of the layer above.
        weights, biases: of the layer above, shapes (n, n_above) and (n_above,).
        values: of this layer, shape (n_rows, ≥ n).
        values_above, means_above: of the layer above.
        ratios: L, shape (n_rows, n), overwritten.
    """
    above, n = place(layout, index), ratios.shape[1]
    z, moved = np.empty(above.n_pre, ratios.dtype), np.empty(above.n_pre, ratios.dtype)
    for row in range(ratios.shape[0]):
        log_ratios(
            above,
            constants[index, TEMPERATURE],
            weights,
            biases,
            values[row, :n],
            values_above[row],
            means_above[row],
            z,
            moved,
            ratios[row],
        )


@kernel
def posterior_rows(temperature: float, means: Array, ratios: Array, scores: Array) -> None:
    """`coagent_rl.credit.posterior.posterior_scores` for all rows; arrays of shape (n_rows, ≥ n)."""
    for row in range(scores.shape[0]):
        posterior_scores(temperature, means[row], ratios[row], scores[row])


def ratios_of(layer: BatchLayer, above: BatchLayer) -> np.ndarray:
    """L of every unit and row, shape (n_rows, n_values); written where the layer keeps what is pulled back."""
    ratio_rows(
        above.layout,
        above.constants,
        above.index,
        above.weights,
        above.biases,
        layer.values,
        above.values,
        above.means,
        layer.back,
    )
    return layer.back


class RuleOfSampledLayers(Rule):
    """What the posterior and the product rule need: binary hidden units, and an output that is drawn too."""

    kinds = ("bernoulli",)
    reason = "its units either fire or do not"
    uses_advantages = True
    n_samples = 10
    why_all_explore = "it compares what a unit drew with what it could have drawn"

    def attach(self, learner: BatchLearner) -> None:
        if not learner.output.is_sampled:
            raise ValueError(
                f"The rule {self.name!r} asks how likely what the layer above drew is, and an output layer of "
                f"{learner.output.spec.kind!r} units draws nothing: use 'gaussian_linear' (output='sampled')."
            )

    def advantages(self, learner: BatchLearner, layer: BatchLayer) -> None:
        """Write the signal of all units: the advantage of the whole network's return."""
        advantages = learner.advantages[layer.index]
        assert advantages is not None
        broadcast_rows(advantages, layer.signals)


@register
class PosteriorRule(RuleOfSampledLayers):
    """c_i = A (q_i - p_i) / T, q_i the probability of firing given the layers below and above, and A as in `Reinforce`."""

    name = "posterior_rule"

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        self.advantages(learner, layer)
        posterior_rows(layer.spec.temperature, layer.means, ratios_of(layer, above), layer.scores)
        layer.multiply_signals()
