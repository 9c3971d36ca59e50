"""Named streams of random numbers: everything that is drawn from one seed, each from a stream of its own.

No stream depends on how much another was read, so evaluating or replaying changes nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STREAMS = ("initial_parameters", "predictions", "actor_noise", "critic_noise", "replay", "feedback")
"""The streams; new ones are added at the end, because a stream's numbers depend on its place."""
LARGEST_SEED = 2**32 - 1
"""NumPy's."""


def as_seed(seed: Any) -> int | None:
    """Read a seed; a ValueError for anything but None or a whole number that environments and NumPy take."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed must be None or a whole number from 0 to 2**32 - 1, not {seed!r}.")
    return int(seed)


def stream(seed: int | None, name: str) -> np.random.SeedSequence:
    """Seed of a named stream, the child of that number of ``SeedSequence(seed)``.

    Raises:
        ValueError: for a name that is not in `STREAMS`.
    """
    return np.random.SeedSequence(seed, spawn_key=(STREAMS.index(name),))


def generator(seed: int | None, name: str) -> np.random.Generator:
    """Random generator at the beginning of a named stream."""
    return np.random.default_rng(stream(seed, name))
