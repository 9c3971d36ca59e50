"""A network over batches: forward, losses, gradients and the optimizer's step, each a method of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from coagent_rl.arrays import DIRECTION, FIRST, SECOND
from coagent_rl.networks import Layer, Network
from coagent_rl.optimizers import BATCH_OPTIMIZERS, OPTIMIZERS, adam_corrections, below_limit, step
from coagent_rl.schedules import Rates, constant_schedule
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.deviation import LearnedDeviation
from coagent_rl.supervised.losses import LOSSES


def initialise(network: Network, rng: np.random.Generator) -> None:
    """Draw weights and biases uniform in ±1/√n_in, as torch.nn.Linear does."""
    for index in range(network.depth):
        weights, biases = network.weights(index), network.biases(index)
        bound = 1.0 / np.sqrt(weights.shape[0])
        weights[:] = rng.uniform(-bound, bound, weights.shape)
        biases[:] = rng.uniform(-bound, bound, biases.shape)


class BatchNetwork:
    """A network, room for a batch, and the optimizer's memory.

    An update is `propagate`, `judge`, credit for every layer (given by a subclass), `compute_direction`, `update`.

    Args:
        network: whose parameters learn, in its dtype.
        loss: a name in `coagent_rl.supervised.losses.LOSSES`.
        learning_rate: one for all layers, or one each.
        optimizer: a name in `coagent_rl.optimizers.BATCH_OPTIMIZERS`.
        n_samples: paths an input.
        log_offsets: c of the discrete scores ln(π + c), one for all layers, or one each.
        learned: form of the learned deviations.
        frozen_layers: indices of layers that keep their parameters.

    Attributes:
        layers: one `BatchLayer` each.
        losses: of the last batch, shape (n_rows,); their mean is ``mean_loss``.
        memory: rows DIRECTION, FIRST and SECOND of `coagent_rl.optimizers`; DIRECTION is up the return, minus the gradient
            of the mean loss.

    Raises:
        ValueError: for an unknown loss or optimizer, or learning rates that do not match the layers.
    """

    def __init__(
        self,
        network: Network,
        loss: str,
        learning_rate: Rates,
        optimizer: str = "rmsprop",
        n_samples: int = 1,
        log_offsets: float | Sequence[float] = 0.0,
        learned: LearnedDeviation | None = None,
        frozen_layers: Sequence[int] = (),
    ) -> None:
        if loss not in LOSSES:
            raise ValueError(f"Unknown loss {loss!r}; known losses: {', '.join(LOSSES)}.")
        if not isinstance(optimizer, str) or optimizer not in BATCH_OPTIMIZERS:
            raise ValueError(f"Unknown optimizer {optimizer!r}; known optimizers: {', '.join(BATCH_OPTIMIZERS)}.")
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.n_samples = n_samples
        self.learned = learned
        self.log_offsets = np.broadcast_to(np.asarray(log_offsets, dtype=np.float64), (network.depth,))
        self.memory = np.zeros((3, network.parameters.size), network.parameters.dtype)
        self.n_updates = 0
        self.frozen_layers = list(frozen_layers)
        self._make_room()
        self.set_rates(constant_schedule(learning_rate).table(network.depth, "learning_rate")[0])

    def set_rates(self, rates: np.ndarray) -> None:
        """Learn at these rates from now on, shape (depth,); one with rate zero is frozen, as are ``frozen_layers``."""
        self.rates = rates.copy()
        self.rates[self.frozen_layers] = 0.0
        memory, parameters = self.memory, self.network.parameters
        self._parts = []
        """Of neighbouring layers with the same rate: rate, direction, parameters and the optimizer's running means."""
        for rate, group in groupby(zip(self.rates.tolist(), self.layers, strict=True), lambda pair: pair[0]):
            layers = [layer for _, layer in group]
            part = slice(layers[0].begin, layers[-1].end)
            if rate != 0.0:
                self._parts.append(
                    (rate, memory[DIRECTION, part], parameters[part], memory[FIRST, part], memory[SECOND, part])
                )

    def _make_room(self) -> None:
        network = self.network
        self.layers = [
            BatchLayer(network, index, float(self.log_offsets[index]), self.learned) for index in range(network.depth)
        ]
        for layer in self.layers:
            layer.attach_direction(self.memory[DIRECTION])
        self.output = self.layers[-1]
        self._all_losses = np.zeros(0, network.parameters.dtype)
        self._n_inputs = -1

    def __getstate__(self) -> dict[str, Any]:
        room = ("layers", "output", "losses", "inputs", "targets", "_all_losses", "_n_inputs", "_parts")
        return {name: value for name, value in vars(self).items() if name not in room}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_room()  # views must be of the copy's own arrays
        self.set_rates(self.rates)

    def resize(self, n_inputs: int) -> None:
        """Make room for a batch of ``n_inputs`` inputs; nothing is allocated for a batch no larger than one before."""
        if n_inputs == self._n_inputs:
            return
        self._n_inputs = n_inputs
        n_rows = n_inputs * self.n_samples
        if self._all_losses.size < n_rows:
            self._all_losses = np.zeros(n_rows, self.network.parameters.dtype)
        self.losses = self._all_losses[:n_rows]
        self.layers[0].resize(n_inputs, self.n_samples)
        for layer in self.layers[1:]:
            layer.resize(n_rows, 1)

    def propagate(self, inputs: np.ndarray, draw: Callable[[BatchLayer], None]) -> None:
        """Means and values of every layer, shape of ``inputs`` (n_inputs, n_in); ``draw`` writes a layer's values."""
        self.resize(len(inputs))
        self.inputs = below = inputs
        for layer in self.layers:
            layer.compute_means(below)
            draw(layer)
            below = layer.outputs

    def judge(self, targets: np.ndarray) -> None:
        """Losses of all rows from the output's values, and what would be the output's credit if it predicts exactly.

        Args:
            targets: classes, shape (n_inputs,), or values, shape (n_inputs, n_outputs).
        """
        self.targets = targets
        output = self.output
        self.mean_loss = LOSSES[self.loss](
            output.n_values, output.values, targets, self.n_samples, self.losses, output.credit
        )

    def compute_direction(self) -> None:
        """The direction of every layer that learns, from its credit.

        Raises:
            ValueError: if it is not finite, or beyond what can be squared (`coagent_rl.optimizers.LIMIT`).
        """
        for layer, rate in zip(self.layers, self.rates, strict=True):
            if rate != 0.0:
                layer.write_direction()
        if not below_limit(self.memory[DIRECTION]):
            raise ValueError(
                f"The network diverged: update {self.n_updates + 1} would be too large. Lower the learning rate, or scale "
                f"the inputs and targets."
            )

    def update(self) -> None:
        """One step of the optimizer."""
        self.n_updates += 1
        corrections = adam_corrections(float(self.n_updates))
        for rate, direction, parameters, first, second in self._parts:
            step(OPTIMIZERS[self.optimizer], direction, rate, corrections, 0.0, parameters, first, second)


class ValueNetwork(BatchNetwork):
    """Expected returns of deterministic ReLU layers, learned by the chain rule: a baseline, or a layer's critic.

    Args:
        n_inputs: length of what it reads.
        hidden_layer_sizes: widths of its ReLU layers; none for a linear function.
        dtype: of its parameters.

    The others are those of `BatchNetwork`.
    """

    def __init__(
        self, n_inputs: int, hidden_layer_sizes: Sequence[int], learning_rate: Rates, optimizer: str, dtype: Any
    ) -> None:
        layers = [*(Layer("relu", n) for n in hidden_layer_sizes), Layer("linear", 1)]
        super().__init__(Network(n_inputs, layers, dtype=dtype), "squared_error", learning_rate, optimizer)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Values of inputs of shape (n, n_inputs): shape (n,), a view that the next call overwrites."""
        self.propagate(inputs, lambda layer: layer.draw(False))
        return self.output.outputs[:, 0]

    def learn(self, targets: np.ndarray) -> None:
        """One step down the mean square of what was last predicted minus ``targets``, shape (n,)."""
        self.judge(targets[:, None])
        for above in reversed(self.layers[1:]):
            self.layers[above.index - 1].chain_rule(above)
        self.compute_direction()
        self.update()
