"""Coagent networks that learn from data: estimators for scikit-learn, and the batched networks that they are made of.

The estimators need the extra ``supervised``; they are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coagent_rl.supervised.deviation import DecayedDeviation, LearnedDeviation
    from coagent_rl.supervised.estimators import CoagentClassifier, CoagentRegressor
    from coagent_rl.supervised.history import history_figure
    from coagent_rl.supervised.learner import BatchLearner
    from coagent_rl.supervised.rules import RULES

_HOMES = {
    "RULES": "rules",
    "BatchLearner": "learner",
    "CoagentClassifier": "estimators",
    "CoagentRegressor": "estimators",
    "DecayedDeviation": "deviation",
    "LearnedDeviation": "deviation",
    "history_figure": "history",
}
__all__ = [
    "RULES",
    "BatchLearner",
    "CoagentClassifier",
    "CoagentRegressor",
    "DecayedDeviation",
    "LearnedDeviation",
    "history_figure",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "sklearn":
            raise
        raise ImportError(
            f"{name} is an estimator for scikit-learn, which is not installed: pip install 'coagent-rl[supervised]'."
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
