"""Direct feedback alignment: the output's credit through fixed random weights, instead of backwards through its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coagent_rl.supervised.batch import BatchLayer, chain_rule_rows
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@register
@dataclass
class FeedbackAlignment(Rule):
    """c_i = m'(z_i) Σ_k B_ik c_k, c_k the credit of the output's pre-activations and B random and fixed.

    Source: Nøkland (2016), direct feedback alignment; Lillicrap et al. (2016).
    """

    name = "feedback_alignment"
    why_all_explore = "its units do not explore"
    kinds = DETERMINISTIC_KINDS
    units = "tanh"
    reason = "a value that was drawn has no derivative"

    def attach(self, learner: BatchLearner) -> None:
        """Draw B uniform in ±1/√n_in of the output layer, the size of its own weights when they begin."""
        output = learner.output
        bound = 1.0 / np.sqrt(output.n_in)
        dtype = learner.network.parameters.dtype
        self.feedback = [
            learner.rng.uniform(-bound, bound, (layer.n_values, output.n_pre)).astype(dtype) for layer in learner.layers[:-1]
        ]

    def assign_deterministic(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        back = np.matmul(learner.output.credit_of_values, self.feedback[layer.index].T, out=layer.back)
        chain_rule_rows(layer.layout, layer.constants, layer.index, layer.values, back, layer.credit)
