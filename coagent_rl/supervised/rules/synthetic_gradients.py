"""Synthetic gradients: each layer predicts its credit, and learns the prediction from the layer above."""

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
class SyntheticGradients(Rule):
    """c_i = m'(z_i) g_i, g = A (h, c_out, 1) a linear prediction of ∂G/∂h from the layer's values and the output's credit.

    The layer above tells t = W c', with its own prediction or what it was told, c' = m'(z') ((1 - λ) g' + λ t'); then
    A ← A + η mean of (t - g) ⊗ x / ‖x‖², over the rows.

    Attributes:
        predictor_rate: η in (0, 1].
        gradient_lambda: λ in [0, 1]; with 1 predictions are of the true gradient.

    Source: Jaderberg et al. (2017), §2.1 and §3.1; see `coagent_rl.credit.synthetic_gradients`.
    """

    predictor_rate: float = 0.5
    gradient_lambda: float = 0.0

    name = "synthetic_gradients"
    why_all_explore = "its units do not explore"
    kinds = DETERMINISTIC_KINDS
    units = "relu"
    reason = "a value that was drawn has no derivative"

    def __post_init__(self) -> None:
        for name, least in (("predictor_rate", "("), ("gradient_lambda", "[")):
            value = getattr(self, name)
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not is_number or not (0.0 < value <= 1.0 or (value == 0.0 and least == "[")):
                raise ValueError(f"{name} must lie in {least}0, 1], not {value!r}.")

    def attach(self, learner: BatchLearner) -> None:
        """As in the paper, the first predictions are zero."""
        n_out, dtype = learner.output.n_pre, learner.network.parameters.dtype
        self.predictors = [np.zeros((layer.n_values + n_out + 1, layer.n_values), dtype) for layer in learner.layers[:-1]]

    def begin(self, learner: BatchLearner) -> None:
        """What the layer above the next one tells, shape (n_rows, n_pre); the output, which comes first, its credit."""
        self._told: np.ndarray | None = None

    def assign_deterministic(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        told = above.credit_of_values if self._told is None else self._told
        targets = np.matmul(told, above.weights.T)
        scores_out = learner.output.credit_of_values[:, : learner.output.n_pre]
        features = np.hstack([layer.outputs, scores_out, np.ones((layer.n_rows, 1), targets.dtype)])
        predictor = self.predictors[layer.index]
        predictions = features @ predictor
        blended = predictions + targets.dtype.type(self.gradient_lambda) * (targets - predictions)
        self._told = np.empty_like(predictions)
        chain_rule_rows(layer.layout, layer.constants, layer.index, layer.values, blended, self._told)
        chain_rule_rows(layer.layout, layer.constants, layer.index, layer.values, predictions, layer.credit)
        shares = features / np.square(features).sum(axis=1, keepdims=True)
        predictor += targets.dtype.type(self.predictor_rate / layer.n_rows) * (shares.T @ (targets - predictions))
