"""Losses: what a prediction costs, and the credit of an output layer that predicts exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

from coagent_rl.kernel import Array, kernel


@kernel
def cross_entropy(n_outputs: int, outputs: Array, targets: Array, n_samples: int, losses: Array, credit: Array) -> float:
    """ℓ = -ln softmax(z)_y and its negative derivative by the logits, 1[k = y] - softmax(z)_k, for all rows.

    Args:
        n_outputs: number of classes.
        outputs: logits z, shape (n_rows, ≥ n_outputs).
        targets: class y of each input, shape (n_inputs,).
        n_samples: rows that share an input.
        losses: shape (n_rows,), overwritten.
        credit: shape (n_rows, ≥ n_outputs), overwritten.

    Returns:
        The mean loss.
    """
    sum_of_losses = 0.0
    for row in range(losses.size):
        wanted = targets[row // n_samples]
        largest = outputs[row, 0]
        for k in range(1, n_outputs):
            largest = max(largest, outputs[row, k])
        total = losses.dtype.type(0.0)
        for k in range(n_outputs):
            credit[row, k] = math.exp(outputs[row, k] - largest)
            total += credit[row, k]
        for k in range(n_outputs):
            credit[row, k] = -credit[row, k] / total
        credit[row, wanted] += 1.0
        losses[row] = math.log(total) - (outputs[row, wanted] - largest)
        sum_of_losses += losses[row]
    return sum_of_losses / losses.size


@kernel
def squared_error(n_outputs: int, outputs: Array, targets: Array, n_samples: int, losses: Array, credit: Array) -> float:
    """ℓ = mean_k (ŷ_k - y_k)² and its negative derivative by the predictions, -2 (ŷ_k - y_k) / n_outputs, for all rows.

    Args:
        n_outputs: number of predicted values.
        outputs: predictions ŷ, shape (n_rows, ≥ n_outputs).
        targets: y of each input, shape (n_inputs, n_outputs).
        n_samples: rows that share an input.
        losses: shape (n_rows,), overwritten.
        credit: shape (n_rows, ≥ n_outputs), overwritten.

    Returns:
        The mean loss.
    """
    sum_of_losses = 0.0
    share = losses.dtype.type(1.0 / n_outputs)
    for row in range(losses.size):
        wanted = targets[row // n_samples]
        total = losses.dtype.type(0.0)
        for k in range(n_outputs):
            error = outputs[row, k] - wanted[k]
            total += error * error
            credit[row, k] = -2.0 * share * error
        losses[row] = share * total
        sum_of_losses += losses[row]
    return sum_of_losses / losses.size


Loss = Callable[[int, Array, Array, int, Array, Array], float]
LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "squared_error": squared_error}
