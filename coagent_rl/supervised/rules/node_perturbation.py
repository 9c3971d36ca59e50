"""Node perturbation: was the network with noise better than without it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, GAUSSIAN_KINDS, register
from coagent_rl.supervised.rules.reinforce import Reinforce

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@register
class NodePerturbation(Reinforce):
    """c = (G - G₀) (ξ / σ²) m'(z), with the units' noise ξ and the return G₀ of the same input without any noise.

    Noise may be added before or after the activation. The score of a Gaussian unit is (ξ / σ²) m'(z): this is REINFORCE with
    the best guess at the return that a second, noiseless pass can give.

    Source: Werfel, Xie & Seung (2005); Fiete & Seung (2006).
    """

    name = "node_perturbation"
    kinds = (*GAUSSIAN_KINDS, "gaussian_preactivation_relu", *DETERMINISTIC_KINDS)
    units = "gaussian_preactivation_relu"
    reason = "the noise that is judged is added to a smooth unit"
    uses_advantages = False

    def begin(self, learner: BatchLearner) -> None:
        better = learner.noiseless_losses() - learner.losses
        learner.advantages = [better if layer.is_sampled else None for layer in learner.layers]
