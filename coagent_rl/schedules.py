"""Schedules: learning rates that are constant or go linearly from a start to an end, one value per layer."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Rates = float | Sequence[float]


def is_positive(value: object) -> bool:
    """Whether something is a positive, finite number."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0.0 < float(value) < np.inf


@dataclass(frozen=True)
class LinearSchedule:
    """Linear from ``start`` to ``end`` over ``steps`` environment steps, then constant.

    The time is counted in environment steps since training began, not as a fraction of one call of ``learn``, so that
    training in several calls equals training in one.

    Attributes:
        start, end: a number for all layers, or one per layer from the input side to the output.
        steps: length in environment steps, > 0.

    Example:
        >>> LinearSchedule([0.02, 2e-4], [2e-4, 2e-6], 50_000).table(2)[1].tolist()
        [0.0002, 2e-06]
    """

    start: Rates
    end: Rates
    steps: float

    def __post_init__(self) -> None:
        if not is_positive(self.steps):
            raise ValueError(f"A schedule must take a positive number of environment steps, not {self.steps!r}.")

    def at(self, time: float, total: float) -> LinearSchedule:
        """The schedule itself, whatever the moment and the length of training."""
        return self

    def table(self, depth: int, name: str = "learning rate") -> np.ndarray:
        """Start and end rates of ``depth`` layers, shape (2, depth).

        Raises:
            ValueError: if there are neither one nor ``depth`` rates, or one is negative or not finite.
        """
        return np.stack([_per_layer(rates, depth, name) for rates in (self.start, self.end)])


LearningRate = Rates | LinearSchedule | Mapping[str, Any] | str | Callable[[float], Any]
"""What a learning rate of an agent may be, see `coagent_rl.agents.rates.as_rates`."""


def constant_schedule(rates: Rates) -> LinearSchedule:
    """The same rates for ever."""
    return LinearSchedule(rates, rates, 1.0)


def as_schedule(value: object, name: str) -> LinearSchedule:
    """Read a learning rate: a number, one per layer, a schedule, or a mapping ``{start, end, steps}``.

    Raises:
        ValueError: naming the argument ``name`` and what was expected.
    """
    if isinstance(value, LinearSchedule):
        return value
    if isinstance(value, Mapping):
        if set(value) != {"start", "end", "steps"}:
            raise ValueError(f"{name}: a schedule has the keys start, end and steps, not {sorted(map(str, value))}.")
        return LinearSchedule(value["start"], value["end"], value["steps"])
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return constant_schedule(float(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return constant_schedule(value)
    raise ValueError(f"{name} must be a number, one number per layer, or a LinearSchedule, not {value!r}.")


def _per_layer(rates: Rates, depth: int, name: str) -> np.ndarray:
    try:
        table = np.asarray(rates, dtype=np.float64)
        if table.ndim > 1 or any(isinstance(rate, bool) for rate in np.asarray(rates, object).reshape(-1)):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {rates!r} is neither a number nor a list of numbers.") from None
    if table.ndim == 1 and table.size != depth:
        raise ValueError(
            f"{name}: {table.size} values were given ({rates!r}) for {depth} layers; give one number for all layers or "
            f"{depth}, from the input side to the output (the output layer counts)."
        )
    if not np.all(np.isfinite(table)) or np.any(table < 0):
        raise ValueError(f"{name}: learning rates must be finite and not negative, not {rates!r}.")
    return np.broadcast_to(table, (depth,))
