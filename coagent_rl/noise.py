"""Where the units' noise comes from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from coagent_rl.kernel import Array, kernel
from coagent_rl.networks import Network

NOISE_BLOCK = 4096  # numbers per unit drawn at once: a Generator costs more to pass to a kernel than a whole step


@kernel
def correlate(block: Array, last: Array, rate: float) -> None:
    """Ornstein-Uhlenbeck noise of unit variance, x_t = (1 - θ) x_{t-1} + √(1 - (1 - θ)²) n_t, from white noise n.

    Args:
        block: n, shape (n_steps, n_rows, width), overwritten with x.
        last: x before the block, shape (n_rows, width), overwritten with the block's last.
        rate: θ in (0, 1]; 1 leaves white noise as it is.

    Source: Uhlenbeck & Ornstein (1930), exactly discretised; Lillicrap et al. (2016) for exploration.
    """
    real = block.dtype.type
    keep = real(1.0 - rate)
    fresh = real(np.sqrt(1.0 - (1.0 - rate) ** 2))
    for t in range(block.shape[0]):
        for row in range(block.shape[1]):
            for k in range(block.shape[2]):
                last[row, k] = keep * last[row, k] + fresh * block[t, row, k]
                block[t, row, k] = last[row, k]


@kernel
def persist(block: Array, last: Array, chances: Array, kept: Array) -> None:
    """Noise that stays: x_t = x_{t-1} with a probability of its own for every column, and what was drawn otherwise.

    A unit that keeps its random number acts alike in states alike, so that what it tries lasts for some steps, while at each
    step alone it is as random as ever.

    Args:
        block: fresh noise, shape (n_steps, n_rows, width), overwritten with x.
        last: x before the block, shape (n_rows, width), overwritten with the block's last.
        chances: uniform on [0, 1), of the block's shape.
        kept: probabilities of staying, shape (width,).
    """
    for t in range(block.shape[0]):
        for row in range(block.shape[1]):
            for k in range(block.shape[2]):
                if chances[t, row, k] < kept[k]:
                    block[t, row, k] = last[row, k]
                last[row, k] = block[t, row, k]


def firing(network: Network, rng: np.random.Generator, shape: tuple[int, ...], rates: Sequence[float]) -> np.ndarray:
    """Who fires: one where a unit draws a value, zero where it holds the one it has; shape (…, width), float32.

    Args:
        shape: of the result without its last axis.
        rates: each layer's probability to fire, for every unit by itself; the values of a softmax are one unit.

    Source: Kostas, Nota & Thomas (2020), "Asynchronous coagent networks".
    """
    fires = np.ones((*shape, network.width), np.float32)
    for index, (rate, layer) in enumerate(zip(rates, network.layers, strict=True)):
        if rate < 1.0:
            n_units = 1 if layer.kind.startswith("softmax") else layer.n_values
            fires[..., network.slot(index)] = rng.random((*shape, n_units), dtype=np.float32) < rate
    return fires


class Noise:
    """The units' noise for training, drawn in blocks from one generator.

    It pickles as the state before the block and the position in it; the block is drawn again where it is needed.

    Attributes:
        block: shape (n_steps, n_rows, width), see `Network.draw_noise`; twice as wide where units may hold, see `firing`.
        cursor: the first step of the block that is still unused.
        last: where blocks depend on each other, the noise with which the next one goes on, shape (n_rows, width).
    """

    def __init__(self, rng: np.random.Generator, cursor: int = 0, last: np.ndarray | None = None) -> None:
        self.rng = rng
        self.last = last
        self._before_block = copy.deepcopy((rng, last))
        self.block = np.zeros((0, 0, 0), np.float32)
        self.cursor = cursor

    def __reduce__(self) -> tuple[type[Noise], tuple[np.random.Generator, int, np.ndarray | None]]:
        rng, last = self._before_block
        return Noise, (rng, self.cursor, last)

    def __deepcopy__(self, memo: dict[int, Any]) -> Noise:
        twin = Noise.__new__(Noise)  # not as it pickles: nobody would draw the block again
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    def draw_block(
        self,
        network: Network,
        n_rows: int,
        exploration_probability: float = 1.0,
        correlation_rate: float = 1.0,
        overlapping: bool = False,
        persistence: Sequence[float] = (),
        rates: Sequence[float] = (),
    ) -> None:
        """Draw the next block; the cursor stays where it is.

        Args:
            network, n_rows: whose units, and how many environments.
            exploration_probability: of each hidden unit at each step; the others take their most likely value.
            correlation_rate: θ of `correlate`, in a network of Gaussian units; 1 for white noise.
            overlapping: let the block begin with the last step of the block before.
            persistence: probability of each layer's units to keep their noise from one step to the next; see `persist`.
            rates: probability of each layer's units to fire; see `firing`.
        """
        if overlapping and self.block.size:
            self.last = self.block[-1].copy()
        self._before_block = copy.deepcopy((self.rng, self.last))
        self.block = network.draw_noise(self.rng, max(2, NOISE_BLOCK // n_rows), n_rows)
        if overlapping or correlation_rate < 1.0 or any(persistence):
            if self.last is None or self.last.shape != self.block.shape[1:]:
                self.last = network.draw_noise(self.rng, 1, n_rows)[0]
            if overlapping:
                self.block = np.concatenate([self.last[None], self.block])
            if correlation_rate < 1.0:
                correlate(self.block, self.last, correlation_rate)
            if any(persistence):
                kept = np.zeros(network.width)
                for index, chance in enumerate(persistence):
                    kept[network.slot(index)] = chance
                persist(self.block, self.last, self.rng.random(self.block.shape, dtype=np.float32), kept)
        network.silence(self.block, self.rng, exploration_probability)
        if any(rate < 1.0 for rate in rates):
            fires = firing(network, self.rng, self.block.shape[:2], rates)
            self.block = np.concatenate([self.block, fires], axis=2)
