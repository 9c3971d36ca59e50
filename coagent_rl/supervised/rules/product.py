"""The product rule: a unit that fired is told how much less likely, without it, what the layer above drew had been."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coagent_rl.credit.product import product_scores
from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.rules.base import register
from coagent_rl.supervised.rules.posterior import RuleOfSampledLayers, ratios_of

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def product_rows(values: Array, ratios: Array, scores: Array) -> None:
    """`coagent_rl.credit.product.product_scores` for all rows; arrays of shape (n_rows, ≥ n)."""
    for row in range(scores.shape[0]):
        product_scores(values[row], ratios[row], scores[row])


@register
class ProductRule(RuleOfSampledLayers):
    """c_i = A h_i (1 - Π_j Pr(h'_j | h_i = 0) / Pr(h'_j)) ∂ ln π / ∂z_i, h' being the layer above, A as in `Reinforce`."""

    name = "product_rule"

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        self.advantages(learner, layer)
        layer.compute_scores()
        product_rows(layer.values, ratios_of(layer, above), layer.scores)
        layer.multiply_signals()
