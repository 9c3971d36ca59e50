"""Baselines: what return is expected, so that a coagent learns from the difference G - V."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.supervised.network import ValueNetwork

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner

Advantages = list[np.ndarray | None]
"""A = G - V of every layer, shape (n_rows,); None for layers that draw nothing."""


@kernel
def advantages_over(losses: Array, values: Array, n_samples: int, out: Array) -> None:
    """A = G - V with G = -loss, for all rows; V, shape (n_rows / n_samples,), is shared by the rows of an input."""
    for row in range(losses.size):
        out[row] = -losses[row] - values[row // n_samples]


@kernel
def mean_returns(losses: Array, n_samples: int, out: Array) -> None:
    """Mean of G = -loss over the rows of each input, shape (n_rows / n_samples,)."""
    for source in range(out.size):
        total = losses.dtype.type(0.0)
        for row in range(source * n_samples, (source + 1) * n_samples):
            total -= losses[row]
        out[source] = total / n_samples


class NoBaseline:
    """V = 0."""

    def advantages(self, learner: BatchLearner) -> Advantages:
        """The advantages of a batch, with the baseline as it was before it."""
        shared = -learner.losses
        return [shared if layer.is_sampled else None for layer in learner.layers]

    def learn(self, learner: BatchLearner) -> None:
        """Learn from the batch that was judged last."""

    def set_rates(self, learner: BatchLearner) -> None:
        """Learn at the rates that the learner has now."""


class GlobalBaseline(NoBaseline):
    """A running mean b of the batches' mean returns: none in the first update, then b ← G̅ and b ← λb + (1 - λ)G̅.

    Source: Gupta et al. (2021), Co-G, as in the official code.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self.value: float | None = None

    def advantages(self, learner: BatchLearner) -> Advantages:
        shared = -learner.losses
        if self.value is not None:
            shared -= shared.dtype.type(self.value)
        return [shared if layer.is_sampled else None for layer in learner.layers]

    def learn(self, learner: BatchLearner) -> None:
        mean = -learner.mean_loss
        self.value = mean if self.value is None else self.decay * self.value + (1.0 - self.decay) * mean


class StateBaseline(NoBaseline):
    """Linear values of what layers read, V = w·o + c from zero, learned from the mean square to G.

    Args:
        learner: the network that it is for.
        layers: the layers that have a value of what their coagent reads; None for one value of x that all layers share.

    Source: Gupta et al. (2021), Co-SG and Co-SL.
    """

    def __init__(self, learner: BatchLearner, layers: Sequence[int] | None) -> None:
        def linear(n_inputs: int) -> ValueNetwork:
            return ValueNetwork(n_inputs, (), 0.0, learner.optimizer, learner.network.parameters.dtype)

        self.shared = layers is None
        if layers is None:
            self.values = {0: linear(learner.network.n_inputs)}
        else:
            self.values = {index: linear(learner.layers[learner.bottom(index)].n_in) for index in layers}
        self.set_rates(learner)

    def set_rates(self, learner: BatchLearner) -> None:
        for index, value in self.values.items():
            value.set_rates(learner.base_rates[-1:] if self.shared else learner.base_rates[index : index + 1])

    def advantages(self, learner: BatchLearner) -> Advantages:
        advantages: Advantages = [None] * learner.network.depth
        for index, value in self.values.items():
            inputs = learner.inputs if self.shared else learner.coagent_inputs(index)
            advantage = np.empty_like(learner.losses)
            advantages_over(learner.losses, value.predict(inputs), len(learner.losses) // len(inputs), advantage)
            advantages[index] = advantage
        if self.shared:
            return [advantages[0] if layer.is_sampled else None for layer in learner.layers]
        return [advantage if layer.is_sampled else None for advantage, layer in zip(advantages, learner.layers, strict=True)]

    def learn(self, learner: BatchLearner) -> None:
        for value in self.values.values():
            returns = np.empty(len(value.inputs), learner.losses.dtype)
            mean_returns(learner.losses, len(learner.losses) // len(returns), returns)
            value.learn(returns)


BASELINES = (None, "global", "state", "layer")
"""Names of baselines: none, of the whole batch (Co-G), of the state x (Co-SG), of what each layer reads (Co-SL)."""


def make_baseline(name: str | None, learner: BatchLearner) -> NoBaseline:
    """Make a baseline by its name.

    Raises:
        ValueError: for an unknown name.
    """
    if name is None:
        return NoBaseline()
    if name == "global":
        return GlobalBaseline()
    if name == "state":
        return StateBaseline(learner, None)
    if name == "layer":
        return StateBaseline(learner, learner.sampled)
    raise ValueError(f"Unknown baseline {name!r}; known baselines: {', '.join(map(repr, BASELINES))}.")
