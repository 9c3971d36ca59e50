"""Where the units' noise comes from."""

from __future__ import annotations

import copy

import numpy as np

from coagent_rl.networks import Network

NOISE_BLOCK = 4096  # numbers per unit drawn at once: a Generator costs more to pass to a kernel than a whole step


class Noise:
    """The units' noise for training, drawn in blocks from one generator.

    It pickles as the generator's state before the block and the position in it; the block is drawn again where it is needed.

    Attributes:
        block: shape (n_steps, n_rows, width), see `Network.draw_noise`.
        cursor: the first step of the block that is still unused.
    """

    def __init__(self, rng: np.random.Generator, cursor: int = 0) -> None:
        self.rng = rng
        self.before_block = copy.deepcopy(rng)
        self.block = np.zeros((0, 0, 0), np.float32)
        self.exploring = np.zeros((0, 0, 0), bool)  # only `ReinforceThomas` switches units off
        self.cursor = cursor

    def __reduce__(self) -> tuple[type[Noise], tuple[np.random.Generator, int]]:
        return Noise, (self.before_block, self.cursor)

    def draw_block(self, network: Network, n_rows: int, exploration_probability: float = 1.0) -> None:
        """Draw the next block; the cursor stays where it is."""
        self.before_block = copy.deepcopy(self.rng)
        n_steps = max(2, NOISE_BLOCK // n_rows)
        self.block = network.draw_noise(self.rng, n_steps, n_rows, exploration_probability)
