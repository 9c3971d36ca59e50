"""The piecewise random walk: a regression whose inputs are correlated in time, as a stream and as an environment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
from gymnasium import spaces

from coagent_rl.envs.samples import BLOCK, SampleEnv, SampleTask, SampleVectorEnv

VARIANCE = 0.25
"""B₀ = (1/2)²: the variance of inputs over the whole stream, whatever the correlation."""


class Walk:
    """Means S of the segments and inputs around them: S₁ ~ N(0, dB₀), S ← √(1-d) S + N(0, d²B₀), x ~ N(S, (1-d)B₀).

    Args:
        correlation: d.

    Raises:
        ValueError: if d is not in [0, 1].
    """

    KEPT = ("mean", "is_new")

    def __init__(self, correlation: float) -> None:
        if isinstance(correlation, bool) or not isinstance(correlation, (int, float)) or not 0.0 <= correlation <= 1.0:
            raise ValueError(f"correlation must be a number from 0 to 1, not {correlation!r}.")
        self.correlation = float(correlation)
        self.mean, self.is_new = 0.0, True

    def next_segment(self, rng: np.random.Generator) -> float:
        """Draw the mean of the next segment, and return it."""
        d = self.correlation
        if self.is_new:
            self.mean, self.is_new = math.sqrt(d * VARIANCE) * rng.standard_normal(), False
        else:
            self.mean = math.sqrt(1.0 - d) * self.mean + d * math.sqrt(VARIANCE) * rng.standard_normal()
        return self.mean

    def samples(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw inputs of the running segment, shape (n, 1), and their targets, shape (n,), float32."""
        spread = math.sqrt((1.0 - self.correlation) * VARIANCE)
        return with_targets(self.mean + spread * rng.standard_normal(n))


def with_targets(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, shape (n, 1), and y = sin(2πx²), shape (n,), in float32."""
    return x.astype(np.float32)[:, None], np.sin(2.0 * math.pi * x * x).astype(np.float32)


class PiecewiseRandomWalk:
    """A stream of batches for `partial_fit`: within a segment inputs lie around one mean, which walks from one to the next.

    With the correlation d = 0 the inputs are independent; with d = 1 all inputs of a segment are the same point. Over the
    whole stream they are N(0, 1/4) in every case. Targets are y = sin(2πx²) without noise: predicting 0 costs 0.349 in mean
    squared error, and the best constant 0.243.

    Args:
        correlation: d, from 0 to 1.
        segments: number of segments.
        updates_per_segment: batches a segment.
        batch_size: samples a batch.
        seed: of means and inputs; the same stream every time that it is iterated over.

    Raises:
        ValueError: for arguments out of range.

    Source: Gupta et al. (2021), figures 4b and 4c; the task is from Pan, Banman & White (2021), Fuzzy tiling activations.

    Example:
        >>> from coagent_rl.envs.piecewise_random_walk import PiecewiseRandomWalk
        >>> walk = PiecewiseRandomWalk(correlation=0.95, segments=2, updates_per_segment=3, seed=0)
        >>> [X.shape for X, y in walk]
        [(32, 1), (32, 1), (32, 1), (32, 1), (32, 1), (32, 1)]
    """

    def __init__(
        self,
        correlation: float = 0.95,
        segments: int = 200,
        updates_per_segment: int = 1600,
        batch_size: int = 32,
        seed: int | None = None,
    ) -> None:
        Walk(correlation)
        self.correlation = float(correlation)
        self.segments = _count("segments", segments)
        self.updates_per_segment = _count("updates_per_segment", updates_per_segment)
        self.batch_size = _count("batch_size", batch_size)
        self._training, self._test = np.random.SeedSequence(seed).spawn(2)

    def __len__(self) -> int:
        """Number of batches."""
        return self.segments * self.updates_per_segment

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches from the first on: inputs, shape (batch_size, 1), and targets, shape (batch_size,), float32."""
        rng, walk = np.random.default_rng(self._training), Walk(self.correlation)
        for _ in range(self.segments):
            walk.next_segment(rng)
            for _ in range(self.updates_per_segment):
                yield walk.samples(rng, self.batch_size)

    def batches(self, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The first ``n`` batches.

        Raises:
            ValueError: if there are fewer.
        """
        if _count("n", n) > len(self):
            raise ValueError(f"The stream has {len(self)} batches, {n} were asked for: give it more segments.")
        return islice(iter(self), n)

    def test_set(self, n: int = 1800) -> tuple[np.ndarray, np.ndarray]:
        """Independent inputs N(0, B₀), shape (n, 1), and targets, shape (n,): the same at every call."""
        rng = np.random.default_rng(self._test)
        return with_targets(math.sqrt(VARIANCE) * rng.standard_normal(_count("n", n)))


class WalkTask(SampleTask):
    """The walk without an end, sample after sample."""

    KEPT = (*SampleTask.KEPT, "_walk", "_left")

    def __init__(self, correlation: float, updates_per_segment: int, batch_size: int) -> None:
        self.correlation = Walk(correlation).correlation
        self.segment_length = _count("updates_per_segment", updates_per_segment) * _count("batch_size", batch_size)
        super().__init__(
            spaces.Box(-np.inf, np.inf, (1,), np.float32),
            spaces.Box(-1.0, 1.0, (1,), np.float32),
        )

    def forget(self) -> None:
        super().forget()
        self._walk, self._left = Walk(self.correlation), 0

    def block(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if self._left == 0:
            self._walk.next_segment(rng)
            self._left = self.segment_length
        n = min(BLOCK, self._left)
        self._left -= n
        inputs, targets = self._walk.samples(rng, n)
        return inputs, targets[:, None]


class PiecewiseRandomWalkEnv(SampleEnv):
    """The walk as one-step episodes: the observation is x, the action ŷ, the reward -(ŷ - sin 2πx²)².

    Observations are ``Box(-∞, ∞, (1,))``, actions ``Box(-1, 1, (1,))``. The walk goes on from episode to episode without an
    end; only a reset with a seed begins it anew. The environments of a vectorised form walk together.

    Args:
        correlation: d, see `PiecewiseRandomWalk`.
        updates_per_segment, batch_size: a segment is as long as their product, in samples.
        render_mode: nothing is rendered.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> import gymnasium as gym, coagent_rl
        >>> env = gym.make("coagent_rl/PiecewiseRandomWalk-v0", correlation=1.0)
        >>> first, second = env.reset(seed=0)[0], env.reset()[0]
        >>> bool(first == second)
        True
    """

    def __init__(
        self,
        correlation: float = 0.95,
        updates_per_segment: int = 1600,
        batch_size: int = 32,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(WalkTask(correlation, updates_per_segment, batch_size), render_mode)


class PiecewiseRandomWalkVectorEnv(SampleVectorEnv):
    """Many at once; see `PiecewiseRandomWalkEnv`."""

    def __init__(
        self,
        num_envs: int = 1,
        correlation: float = 0.95,
        updates_per_segment: int = 1600,
        batch_size: int = 32,
        render_mode: None = None,
    ) -> None:
        super().__init__(WalkTask(correlation, updates_per_segment, batch_size), num_envs)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, not {value!r}.")
    return int(value)
