"""What is wrong with a rule, said before anything is learned with it."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

from numba import config
from numba.core.dispatcher import Dispatcher

from coagent_rl.agents.holding import check_firing

if TYPE_CHECKING:
    from coagent_rl.agents.acting import ActingPolicy


def check_rule(policy: ActingPolicy, rule: Any, algorithm: str) -> None:
    """Raise a ValueError where a rule is no compiled function of its four arguments, or not one for the policy's units."""
    name = getattr(rule, "__name__", repr(rule))
    if isinstance(rule, MethodType):
        raise ValueError(
            f"{algorithm}.rule would get the agent as its first argument, but a rule takes arrays, reinforcements, "
            f"episode_starts and time: write rule = staticmethod({name}) in the class."
        )
    if not callable(rule) or not (isinstance(rule, Dispatcher) or config.DISABLE_JIT):  # type: ignore[attr-defined]
        raise ValueError(
            f"{algorithm}.rule must be a compiled function, not {rule!r}: write @kernel (of coagent_rl.kernel) above "
            f"{name}. To run it as plain Python, in a debugger, set the environment variable NUMBA_DISABLE_JIT=1."
        )
    check_firing(policy, rule, algorithm)


def check_result(result: Any, algorithm: str) -> None:
    """Raise a ValueError where a rule does not say whether its update was finite."""
    if result is None:
        raise ValueError(
            f"{algorithm}.rule returned None where True or False is expected, whether its update was finite: end it with "
            f"return update(learner, time)."
        )
