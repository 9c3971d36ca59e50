"""coagent_rl: reinforcement learning with coagent networks, actors in which every neuron is a learner of its own.

Importing it registers the package's environments with Gymnasium. The agents are imported when they are first asked for, so
that ``import coagent_rl`` and ``--help`` need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import coagent_rl.envs  # noqa: F401  registers them

if TYPE_CHECKING:
    from coagent_rl.agents import (
        Backprop,
        DecentralizedDDPG,
        MAPProp,
        NodePerturbation,
        Reinforce,
        ReinforceThomas,
        STEBackprop,
        WeightMax,
    )
    from coagent_rl.schedules import LinearSchedule

__version__ = "0.1.0"
__all__ = [
    "Backprop",
    "DecentralizedDDPG",
    "LinearSchedule",
    "MAPProp",
    "NodePerturbation",
    "Reinforce",
    "ReinforceThomas",
    "STEBackprop",
    "WeightMax",
]

_HOMES = {"LinearSchedule": "coagent_rl.schedules"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "coagent_rl.agents")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
