"""REINFORCE: every coagent learns from the advantage of the whole network's return (Co, Co-G, Co-SG, Co-SL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.rules.base import Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def broadcast_rows(advantages: Array, signals: Array) -> None:
    """R_i = A for every unit i of each path.

    Args:
        advantages: A, shape (n_rows,).
        signals: shape (n_rows, n), overwritten with R.

    Source: Gupta et al. (2021), §2: (G - V) ∂ ln π_j.
    """
    for row in range(advantages.size):
        for i in range(signals.shape[1]):
            signals[row, i] = advantages[row]


def reinforce(layer: BatchLayer, advantages: Array) -> None:
    """c = A ∂ ln π / ∂z of a sampled layer."""
    broadcast_rows(advantages, layer.signals)
    layer.compute_scores()
    layer.multiply_signals()


@register
class Reinforce(Rule):
    """c = A ∂ ln π / ∂z, A = G - V of the layer: none, global, of the state or of the layer; or what its critic says.

    Source: Williams (1992); Gupta et al. (2021).
    """

    name = "reinforce"
    n_samples = 10
    uses_advantages = True

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        advantages = learner.advantages[layer.index]
        assert advantages is not None
        reinforce(layer, advantages)
