"""Training runs and studies of many: hyperparameters, run folders, callbacks, evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coagent_rl.training.studies import study as study

__all__ = ["study"]


def __getattr__(name: str) -> Any:
    if name != "study":  # which needs torch, as nothing does that --help needs
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from coagent_rl.training.studies import study

    return study
