"""coagent_rl: reinforcement learning with coagent networks, actors in which every neuron is a learner of its own.

Importing it registers the package's environments with Gymnasium. The agents are imported when they are first asked for, so
that ``import coagent_rl`` and ``--help`` need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import coagent_rl.envs  # noqa: F401  registers them
from coagent_rl.registry import AGENT_MODULES

if TYPE_CHECKING:
    from coagent_rl.schedules import LinearSchedule as LinearSchedule

__version__ = "0.1.0"

_HOMES = {**AGENT_MODULES, "LinearSchedule": "coagent_rl.schedules"}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
