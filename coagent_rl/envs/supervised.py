"""Samples (X, y) as an environment, so that agents learn from data through the ordinary loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from coagent_rl.envs.samples import BLOCK, SampleEnv, SampleTask, SampleVectorEnv


class DataTask(SampleTask):
    """Shows the samples in random order, all of them before any comes again."""

    KEPT = (*SampleTask.KEPT, "_order")

    def __init__(self, X: npt.ArrayLike | None, y: npt.ArrayLike | None, data: str | None, split: str) -> None:
        inputs, targets = _given(X, y, data, split)
        self.X = inputs
        space: spaces.Box | spaces.Discrete
        if targets.dtype.kind == "f":
            self.y = np.ascontiguousarray(targets, np.float32).reshape(len(targets), -1)
            if np.any(self.y.min(axis=0) == self.y.max(axis=0)):
                raise ValueError("y needs two different values at least in every output: the action space spans them.")
            space = spaces.Box(self.y.min(axis=0), self.y.max(axis=0), dtype=np.float32)
        else:
            classes, encoded = np.unique(targets, return_inverse=True)
            self.y = encoded.astype(np.int64)
            if targets.ndim != 1 or len(classes) < 2:
                raise ValueError(f"Classes must have the shape (n_samples,) and be two at least, not {targets!r}.")
            space = spaces.Discrete(len(classes))
        super().__init__(spaces.Box(inputs.min(), inputs.max(), inputs.shape[1:], np.float32), space)

    def forget(self) -> None:
        super().forget()
        self._order = np.zeros(0, np.int64)

    def block(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if not len(self._order):
            self._order = rng.permutation(len(self.X))
        chosen, self._order = self._order[:BLOCK], self._order[BLOCK:]
        return self.X[chosen], self.y[chosen]


def _given(X: npt.ArrayLike | None, y: npt.ArrayLike | None, data: str | None, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, checked."""
    if (X is None) != (y is None) or (X is None) == (data is None):
        raise ValueError('Supervised-v0 needs either X and y or data, such as data="digits".')
    if data is not None:
        from coagent_rl.supervised.data import SPLITS, load

        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}.")
        X, y = getattr(load(data), split)
    inputs, targets = np.ascontiguousarray(X, np.float32), np.asarray(y)
    if inputs.ndim != 2 or not len(inputs) or targets.ndim not in (1, 2) or len(targets) != len(inputs):
        raise ValueError(
            f"X must have the shape (n_samples, n_features) and y (n_samples,) or (n_samples, n_outputs) with at least one "
            f"sample, not {inputs.shape} and {targets.shape}."
        )
    if not np.all(np.isfinite(inputs)) or (targets.dtype.kind == "f" and not np.all(np.isfinite(targets))):
        raise ValueError("X and y must be finite numbers, but they contain NaN or infinity.")
    return inputs, targets


class SupervisedEnv(SampleEnv):
    """Samples as one-step episodes: the observation is x; classes make it a contextual bandit, real numbers a regression.

    If y holds floats, actions are a ``Box`` from the smallest to the largest target and the reward is minus the squared
    error (scale targets to [-1, 1] for agents that like it best). All else are classes: actions are ``Discrete``, the index
    of a class among the sorted ones, and the reward is 1 for the right one and 0 otherwise; which one would have been right
    is not told. Samples come in random order, all of them before any comes again.

    Args:
        X: inputs, shape (n_samples, n_features).
        y: classes, shape (n_samples,), or values, shape (n_samples,) or (n_samples, n_outputs).
        data: instead of the two, a name that `coagent_rl.supervised.data.load` knows, such as ``"digits"``.
        split: of ``data``: ``"training"``, ``"validation"`` or ``"test"``.
        render_mode: nothing is rendered.

    Raises:
        ValueError: for arrays of the wrong shape, with NaN, of a single class or value; for an unknown name.

    Source: the formulation of Gupta et al. (2021), with the network as a whole as the agent.

    Example:
        >>> import gymnasium as gym, coagent_rl
        >>> env = gym.make("coagent_rl/Supervised-v0", X=[[0.0], [1.0]], y=["no", "yes"])
        >>> x, _ = env.reset(seed=0)
        >>> env.step(int(x[0]))[1]
        1.0
    """

    def __init__(
        self,
        X: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        data: str | None = None,
        split: str = "training",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(DataTask(X, y, data, split), render_mode)


class SupervisedVectorEnv(SampleVectorEnv):
    """Many at once, which share the samples; see `SupervisedEnv`."""

    def __init__(
        self,
        num_envs: int = 1,
        X: npt.ArrayLike | None = None,
        y: npt.ArrayLike | None = None,
        data: str | None = None,
        split: str = "training",
        render_mode: Any = None,
    ) -> None:
        super().__init__(DataTask(X, y, data, split), num_envs)
