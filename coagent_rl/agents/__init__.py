"""The agents: Stable-Baselines3 algorithm classes, one file each, imported when they are first asked for.

`coagent_rl.registry` names them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from coagent_rl.registry import AGENT_MODULES

_HOMES = {
    **AGENT_MODULES,
    "CoagentAlgorithm": "coagent_rl.agents.base",
    "CoagentPolicy": "coagent_rl.agents.policy",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
