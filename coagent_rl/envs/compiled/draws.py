"""Random numbers for the resets of compiled environments, drawn ahead in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding

from coagent_rl.envs.compiled.base import CompiledEnvironment


class ResetDraws:
    """The numbers that coming resets of several environments take, in the order in which Gymnasium's classes draw them.

    Every environment has a generator of its own, or all share one (`CompiledEnvironment.draw_together`). A copy, made by
    ``copy.deepcopy`` or ``pickle``, continues as the original does: what is kept is the state of the generators before the
    block, and the place in it.

    Args:
        twin: the environment.
        n_envs: number of environments.

    Attributes:
        block: shape (n_envs, n_rows, n_draws), float64.
        cursor: index of the next row, shape (n_envs,), int64. Whoever takes the last row calls `refill`.
    """

    ROWS_AT_ONCE = 64

    def __init__(self, twin: CompiledEnvironment, n_envs: int) -> None:
        self.twin = twin
        together = twin.draw_together
        n_rows = self.ROWS_AT_ONCE if together is None else together(np.random.default_rng(0), n_envs).shape[1]
        self.block = np.zeros((n_envs, n_rows, twin.n_draws))
        self.cursor = np.full(n_envs, n_rows)
        self._generators: list[np.random.Generator | None] = [None] * (n_envs if together is None else 1)
        self._before: list[Any] = [None] * len(self._generators)

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Begin anew where there is a seed, and at random where there is none and has been none before."""
        for index, seed in enumerate(seeds[: len(self._generators)]):
            if seed is not None or self._generators[index] is None:
                self._generators[index] = seeding.np_random(seed)[0]
                self._fill(index)

    def refill(self) -> None:
        """Draw the next block, in place, wherever one is used up."""
        for index, cursor in enumerate(self.cursor[: len(self._generators)].tolist()):
            if cursor == self.block.shape[1]:
                self._fill(index)

    def generator(self, row: int) -> np.random.Generator:
        """Return a copy of an environment's generator as Gymnasium's class would have it at this moment."""
        index = row if self.twin.draw_together is None else 0
        used, generator = int(self.cursor[row]), _restored(self._before[index])
        if self.twin.draw_together is None:
            self.twin.draw(generator, used)
        elif used:
            self.twin.draw_together(generator, len(self.cursor))
        return generator

    def _fill(self, index: int) -> None:
        generator = self._generators[index]
        if generator is None:
            raise ResetNeeded(
                "The environments have never been reset: reset them, or load the model with force_reset=True (the default)."
            )
        self._before[index] = generator.bit_generator.state
        if self.twin.draw_together is None:
            self.block[index] = self.twin.draw(generator, self.ROWS_AT_ONCE)
            self.cursor[index] = 0
        else:
            self.block[:] = self.twin.draw_together(generator, len(self.cursor))
            self.cursor[:] = 0

    def state(self) -> dict[str, Any]:
        """Place in the block and state of the generators before it, as plain values."""
        return {"cursor": self.cursor.copy(), "before": list(self._before)}

    def put(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave.

        Raises:
            ValueError: if it is of other environments.
        """
        cursor, before = np.asarray(state["cursor"]), state["before"]
        n_rows = self.block.shape[1]
        if cursor.shape != self.cursor.shape or cursor.dtype != self.cursor.dtype or len(before) != len(self._before):
            raise ValueError(f"there are resets drawn for {cursor.shape} environments, not for {self.cursor.shape}")
        if cursor.min() < 0 or cursor.max() >= n_rows:  # kernels do not look
            raise ValueError(f"the next resets, {cursor.tolist()}, are not among the {n_rows} drawn at once")
        for index, generator in enumerate(before):
            self._generators[index] = _restored(generator)
            self._fill(index)
        self.cursor[:] = cursor

    def __getstate__(self) -> dict[str, Any]:
        return {"twin": self.twin, "cursor": self.cursor, "before": self._before}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["twin"], len(state["cursor"]))  # type: ignore[misc]
        for index, before in enumerate(state["before"]):
            if before is not None:
                self._generators[index] = _restored(before)
                self._fill(index)
        self.cursor[:] = state["cursor"]


def _restored(state: Any) -> np.random.Generator:
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = state
    return generator
