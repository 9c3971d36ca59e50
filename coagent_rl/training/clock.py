"""How long a run has trained: without what it compiled, evaluated and saved on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

_RUNNING = threading.local()
"""Of each thread, the clock that runs in it."""


class Clock:
    """Measures a run, which may be one of several in threads.

    Attributes:
        started: whether it runs.
    """

    def __init__(self) -> None:
        self._before = self._aside = 0.0
        self._began = self._left = time.perf_counter()
        self._depth = 0
        self.started = False

    def start(self, seconds: float = 0.0, training_seconds: float | None = None) -> None:
        """Start it in this thread.

        Args:
            seconds, training_seconds: what it showed when the run was interrupted.
        """
        _listen()
        self._before, self._began, self._depth, self.started = seconds, time.perf_counter(), 0, True
        self._aside = 0.0 if training_seconds is None else seconds - training_seconds
        _RUNNING.clock = self

    def stop(self) -> None:
        """Let what this thread compiles be no concern of it any more."""
        if getattr(_RUNNING, "clock", None) is self:
            _RUNNING.clock = None

    @property
    def seconds(self) -> float:
        """Time of the run, that before interruptions included."""
        return self._before + time.perf_counter() - self._began

    @property
    def training_seconds(self) -> float:
        """Of it, the time of training alone; more than nothing."""
        aside = self._aside + (time.perf_counter() - self._left if self._depth else 0.0)
        return max(self.seconds - aside, 1e-6)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done here is no training."""
        self.leave()
        try:
            yield
        finally:
            self.come_back()

    def leave(self) -> None:
        """Training stops for something else, which may be within something else."""
        if self._depth == 0:
            self._left = time.perf_counter()
        self._depth += 1

    def come_back(self) -> None:
        """It goes on, if this was the outermost."""
        self._depth = max(self._depth - 1, 0)
        if self._depth == 0:
            self._aside += time.perf_counter() - self._left


class _Compilation(event.Listener):
    """Tells the clock of the thread that compiles, or loads what was compiled."""

    def on_start(self, event: Any) -> None:
        if (clock := getattr(_RUNNING, "clock", None)) is not None:
            clock.leave()

    def on_end(self, event: Any) -> None:
        if (clock := getattr(_RUNNING, "clock", None)) is not None:
            clock.come_back()


_LISTENER = _Compilation()
_LOCK = threading.Lock()


def _listen() -> None:
    # Once and for all threads: numba's list of listeners must not change while it is gone through.
    with _LOCK:
        if not getattr(_LISTENER, "registered", False):
            event.register("numba:compiler_lock", _LISTENER)
            _LISTENER.registered = True  # type: ignore[attr-defined]
