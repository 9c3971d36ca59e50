"""Equilibrium propagation: hidden units settle again while the output is nudged towards the target."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.forward import all_finite
from coagent_rl.networks.layout import TEMPERATURE, place
from coagent_rl.networks.units import slope
from coagent_rl.schedules import is_positive
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.losses import LOSSES
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, Rule, register

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner


@kernel
def descend_energy_rows(nudge: float, step_size: float, means: Array, back: Array, values: Array) -> None:
    """h_i ← h_i + α (m_i - h_i + β Σ_j w_ij c_j): `coagent_rl.credit.equilibrium_propagation.descend_energy` for all rows.

    Args:
        nudge, step_size: β and α.
        means: m given the layer below, shape (n_rows, ≥ n).
        back: Σ_j w_ij c_j with the credit of the layer above, shape (n_rows, n).
        values: h, shape (n_rows, ≥ n), updated in place.
    """
    α, β = values.dtype.type(step_size), values.dtype.type(nudge)
    for row in range(back.shape[0]):
        for i in range(back.shape[1]):
            values[row, i] += α * (means[row, i] - values[row, i] + β * back[row, i])


@kernel
def contrast_rows(
    layout: Array, constants: Array, index: int, nudge: float, values: Array, means: Array, credit: Array
) -> None:
    """c_i = (h_i - m_i) m'(z_i) / β: the nudged phase minus the free phase, over β, for all rows.

    Args:
        layout, constants, index: see `Network`; which layer.
        nudge: β.
        values, means: shape (n_rows, ≥ n_values).
        credit: shape (n_rows, n_values), overwritten.
    """
    here = place(layout, index)
    over = credit.dtype.type(1.0 / nudge)
    for row in range(credit.shape[0]):
        slope(here.activation, constants[index, TEMPERATURE], means[row, : here.n_values], credit[row])
        for i in range(here.n_values):
            credit[row, i] *= over * (values[row, i] - means[row, i])


@register
@dataclass
class EquilibriumPropagation(Rule):
    """c = (h - m(z)) m'(z) / β after settling down ½ Σ_l ‖h^l - m(z^l)‖² + β loss, from the forward pass.

    See `coagent_rl.credit.equilibrium_propagation`. The output is exact: it is nudged by the gradient of the loss.

    Attributes:
        nudge: β > 0.
        relaxation_steps: from 1.
        relaxation_rate: α > 0.

    Source: Scellier & Bengio (2017); the energy is that of Whittington & Bogacz (2017).
    """

    nudge: float = 0.1
    relaxation_steps: int = 20
    relaxation_rate: float = 0.1

    name = "equilibrium_propagation"
    why_all_explore = "its units do not explore"
    kinds = DETERMINISTIC_KINDS
    units = "tanh"
    reason = "values that were drawn are in no equilibrium"

    def __post_init__(self) -> None:
        for name in ("nudge", "relaxation_rate"):
            if not is_positive(getattr(self, name)):
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)!r}.")
        steps = self.relaxation_steps
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise ValueError(f"relaxation_steps must be a whole number from 1, not {steps!r}.")

    def attach(self, learner: BatchLearner) -> None:
        if learner.output.is_sampled:
            raise ValueError(
                f"The rule {self.name!r} nudges an output that predicts exactly: use output='exact', not 'sampled'."
            )

    def begin(self, learner: BatchLearner) -> None:
        """Settle all hidden layers at once, as `coagent_rl.credit.equilibrium_propagation.settle` does."""
        layers, output, losses = learner.layers, learner.output, np.empty_like(learner.losses)
        for layer in layers[:-1]:
            layer.credit[:] = 0.0  # in the free equilibrium
        for _ in range(self.relaxation_steps):
            for layer, above in pairwise(layers):
                back = layer.pull_back(above)
                descend_energy_rows(self.nudge, self.relaxation_rate, layer.means, back, layer.values)
            for layer in layers:
                if layer.index > 0:
                    layer.compute_means(layer.inputs)
                if layer is not output:
                    contrast_rows(
                        layer.layout, layer.constants, layer.index, self.nudge, layer.values, layer.means, layer.credit
                    )
            output.draw(False)
            LOSSES[learner.loss](output.n_values, output.values, learner.targets, learner.n_samples, losses, output.credit)
        if not all(all_finite(layer.values) for layer in layers[:-1]):
            raise ValueError(
                f"The relaxation of the hidden units diverged. Lower relaxation_rate ({self.relaxation_rate}), nudge "
                f"({self.nudge}) or learning_rate."
            )

    def assign_deterministic(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        """It has its credit since `begin`."""
