"""DisARM: how much better was a layer than its twin that drew the opposite noise?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coagent_rl.credit.disarm import opposite
from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.losses import LOSSES
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def opposite_rows(noise: Array, means: Array, values: Array) -> None:
    """`coagent_rl.credit.disarm.opposite` for all rows; arrays of shape (n_rows, ≥ n), the values overwritten."""
    n = noise.shape[1]
    for row in range(noise.shape[0]):
        opposite(noise[row], means[row, :n], values[row, :n])


@kernel
def disarm_rows(
    n_values: int, temperature: float, better: Array, values: Array, twins: Array, means: Array, credit: Array
) -> None:
    """c_i = ½ (f(h) - f(h̃)) (h_i - h̃_i) max(p_i, 1 - p_i) / T for all rows.

    Args:
        n_values, temperature: the layer's.
        better: f(h) - f(h̃), shape (n_rows,).
        values, twins, means: h, h̃ and p, shape (n_rows, ≥ n_values).
        credit: shape (n_rows, ≥ n_values), overwritten.

    Source: Dong, Mnih & Tucker (2020), eq. 6.
    """
    half, one = credit.dtype.type(0.5 / temperature), credit.dtype.type(1.0)
    for row in range(better.size):
        for i in range(n_values):
            p = means[row, i]
            credit[row, i] = half * better[row] * (values[row, i] - twins[row, i]) * max(p, one - p)


@register
class DisARM(Rule):
    """c = ½ (G - G̃) (h - h̃) max(p, 1 - p) / T, h̃ drawn with the noise 1 - u and the layers above with the same noise.

    One more pass for every hidden layer, from it upwards. Unlike the agent, which may try a single action, it knows the
    returns of both.

    Source: Dong, Mnih & Tucker (2020); Yin et al. (2020).
    """

    name = "disarm"
    kinds = ("bernoulli", *DETERMINISTIC_KINDS)
    reason = "its units have a twin, which two-valued ones do"

    def begin(self, learner: BatchLearner) -> None:
        if not hasattr(self, "_twins"):
            network, learned = learner.network, learner.learned
            self._twins = [BatchLayer(network, index, 0.0, learned, learning=False) for index in range(network.depth)]

    def __getstate__(self) -> dict[str, Any]:
        return {}  # the twins' views must be of the copy's own arrays

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        twin, outputs = self._twins[layer.index], self._twins[-1]
        twin.resize(layer.n_rows, 1)
        opposite_rows(layer.noise, layer.means, twin.values)
        below = twin.outputs
        for higher in self._twins[layer.index + 1 :]:
            higher.resize(layer.n_rows, 1)
            higher.compute_means(below)
            higher.noise[:] = learner.layers[higher.index].noise
            higher.draw(higher.is_sampled)
            below = higher.outputs
        losses, unused = np.empty_like(learner.losses), np.empty_like(outputs.outputs)
        LOSSES[learner.loss](outputs.n_values, outputs.values, learner.targets, learner.n_samples, losses, unused)
        better = losses - learner.losses
        disarm_rows(layer.n_values, layer.spec.temperature, better, layer.values, twin.values, layer.means, layer.credit)
