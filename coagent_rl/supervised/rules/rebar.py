"""REBAR: REINFORCE of what a relaxed twin of the layer does not explain; the twin's share by its derivative."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from coagent_rl.credit.rebar import rebar, relaxed_values
from coagent_rl.credit.straight_through import surrogate_slopes
from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.losses import LOSSES
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def relaxed_rows(noise: Array, means: Array, relaxation: float, values: Array) -> None:
    """`coagent_rl.credit.rebar.relaxed_values` for all rows; arrays of shape (n_rows, ≥ n), the values overwritten."""
    n = noise.shape[1]
    for row in range(noise.shape[0]):
        relaxed_values(noise[row], means[row, :n], relaxation, values[row, :n])


@kernel
def relaxed_slopes(values: Array, back: Array, softness: float, credit: Array) -> None:
    """c_i = b_i (1 - b_i) / (τ T) Σ_j w_ij c_j of relaxed units.

    Args:
        values: b, shape (n_rows, ≥ n).
        back: Σ_j w_ij c_j, shape (n_rows, n).
        softness: τ T.
        credit: shape (n_rows, ≥ n), overwritten.
    """
    n = back.shape[1]
    for row in range(back.shape[0]):
        surrogate_slopes(values[row, :n], softness, True, credit[row, :n])
        for i in range(n):
            credit[row, i] *= back[row, i]


@kernel
def rebar_rows(
    layer: tuple[Array, Array, Array],
    advantages: Array,
    relaxed: Array,
    temperature: float,
    rate: float,
    tuning: Array,
    gradient: Array,
    credit: Array,
) -> None:
    """`coagent_rl.credit.rebar.rebar` for all rows, which count alike.

    Args:
        layer: h, p and u, shape (n_rows, ≥ n) each.
        advantages, relaxed: R and R̃, shape (n_rows,).
        temperature: T.
        rate: η, of a batch.
        tuning: shape (2, n), updated in place.
        gradient: ∂R̃ / ∂z, shape (n_rows, ≥ n).
        credit: shape (n_rows, ≥ n), overwritten.
    """
    values, means, noise = layer
    n, n_rows = noise.shape[1], advantages.size
    for row in range(n_rows):
        own = credit[row, :n]
        for i in range(n):
            own[i] = gradient[row, i]
        rebar(
            values[row, :n],
            means[row, :n],
            noise[row],
            float(advantages[row]),
            float(relaxed[row]),
            1.0,
            temperature,
            rate / n_rows,
            tuning,
            own,
        )


@register
@dataclass
class REBAR(Rule):
    """c = (A - φ Ã) (h - p) / T + φ m ∂Ã / ∂z, Ã = G̃ - V of a pass with relaxed units of the same noise.

    One more pass for every hidden layer, up from it and down again. Unlike the agent, which may try a single action, it
    knows both returns. See `coagent_rl.credit.rebar.rebar`.

    Attributes:
        relaxation: τ > 0.
        tuning_rate: η in (0, 1], how fast a unit's φ forgets, per batch.

    Source: Tucker et al. (2017); Grathwohl et al. (2018).
    """

    relaxation: float = 0.25
    tuning_rate: float = 0.1

    name = "rebar"
    kinds = ("bernoulli", *DETERMINISTIC_KINDS)
    reason = "its units have a smooth twin, which two-valued ones do"

    def __post_init__(self) -> None:
        for name, most in (("relaxation", np.inf), ("tuning_rate", 1.0)):
            value = getattr(self, name)
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not is_number or not 0.0 < value <= most or value == np.inf:
                limits = "lie in (0, 1]" if most == 1.0 else "be positive and finite"
                raise ValueError(f"{name} must {limits}, not {value!r}.")

    def attach(self, learner: BatchLearner) -> None:
        """Nothing is known of the twins."""
        dtype = learner.network.parameters.dtype
        self.tuning = [np.zeros((2, layer.n_values), dtype) for layer in learner.layers[:-1]]

    def begin(self, learner: BatchLearner) -> None:
        if not hasattr(self, "_twins"):
            network, learned = learner.network, learner.learned
            self._twins = [BatchLayer(network, index, 0.0, learned) for index in range(network.depth)]

    def __getstate__(self) -> dict[str, Any]:
        # The twins' views must be of the copy's own arrays.
        return {name: value for name, value in vars(self).items() if name != "_twins"}

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        advantages = learner.advantages[layer.index]
        assert advantages is not None
        twins = self._twins[layer.index :]
        twins[0].resize(layer.n_rows, 1)
        relaxed_rows(layer.noise, layer.means, self.relaxation, twins[0].values)
        for below, twin in pairwise(twins):
            twin.resize(layer.n_rows, 1)
            twin.compute_means(below.outputs)
            twin.noise[:] = learner.layers[twin.index].noise
            if twin.spec.kind == "bernoulli":
                relaxed_rows(twin.noise, twin.means, self.relaxation, twin.values)
            else:
                twin.draw(twin.is_sampled)
        output, losses = twins[-1], np.empty_like(learner.losses)
        LOSSES[learner.loss](output.n_values, output.values, learner.targets, learner.n_samples, losses, output.credit)
        for twin, higher in zip(twins[-2::-1], twins[:0:-1], strict=True):
            if twin.spec.kind == "bernoulli":
                softness = self.relaxation * twin.spec.temperature
                relaxed_slopes(twin.values, twin.pull_back(higher), softness, twin.credit)
            else:
                twin.chain_rule(higher)
        rebar_rows(
            (layer.values, layer.means, layer.noise),
            advantages,
            advantages + learner.losses - losses,
            layer.spec.temperature,
            self.tuning_rate,
            self.tuning[layer.index],
            twins[0].credit,
            layer.credit,
        )
