"""Kernels that call kernels they do not know: any rule with any critic, without compiling a product of them.

A function that takes another function would be compiled anew in every process. Here it takes the address of machine code,
a plain integer. What such code may be given is fixed below, and checked when the caller is compiled: with other types there
is an error of numba's, never a wild call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

_F4, _F8, _I8, _B1 = types.float32, types.float64, types.int64, types.boolean


def _array(kind: types.Type, n_dimensions: int) -> types.Type:
    return types.Array(kind, n_dimensions, "C")


LEARNER = types.Tuple(
    [
        _array(_I8, 2),  # layout
        _array(_F8, 2),  # constants
        _array(_F8, 1),  # settings
        _array(_F8, 1),  # counters
        _array(_F4, 1),  # parameters
        _array(_F4, 2),  # memory
        _array(_F4, 2),  # traces
        _array(_F4, 3),  # activity
        _array(_F4, 3),  # noise
        _array(_F4, 4),  # store
    ]
)
"""Type of `coagent_rl.learner.Learner.arrays` in single precision."""
TRANSITION = types.Tuple([_array(_F4, 2), _array(_F4, 1), _array(_F4, 2), *(_array(_B1, 1) for _ in range(3))])
"""Type of the arrays of `coagent_rl.arrays.Transition`."""
RULE = (LEARNER, _array(_F4, 2), _array(_B1, 1), _F8)
"""Types of a rule's arguments, see `coagent_rl.credit.reinforce.learn_reinforce`."""


def critic_types(n_learners: int) -> tuple[types.Type, ...]:
    """Types of a critic's arguments, see `coagent_rl.critics.critic.Critic`."""
    return (types.Tuple([LEARNER] * n_learners), LEARNER, TRANSITION, _F8, _array(_F8, 1), _array(_F4, 2))


def address(function: Any, argument_types: tuple[types.Type, ...]) -> int:
    """Address of a kernel's machine code for arguments of these types, compiled or found on disk if need be.

    The code stays where it is as long as the kernel lives.
    """
    function.compile(argument_types)
    compiled = function.overloads[argument_types]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


def _call(name: str, allowed: Callable[[Any], bool], given: tuple[Any, ...]) -> Any:
    if not allowed(given[1:]):
        raise TypingError(f"A {name} cannot be called with arguments of the types {given[1:]}.")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in signature.args[1:]]
        function = ir.FunctionType(context.get_value_type(types.boolean), kinds)
        return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

    return types.boolean(*given), generate


@intrinsic
def call_rule(typing: Any, where: Any, arrays: Any, reinforcements: Any, starts: Any, time: Any) -> Any:
    """Call a rule by its address."""
    return _call("rule", lambda given: bool(given == RULE), (where, arrays, reinforcements, starts, time))


@intrinsic
def call_critic(
    typing: Any, where: Any, learners: Any, actor: Any, transition: Any, time: Any, td_errors: Any, reinforcements: Any
) -> Any:
    """Call a critic by its address."""
    given = (where, learners, actor, transition, time, td_errors, reinforcements)
    return _call("critic", lambda given: bool(given == critic_types(given[0].count)), given)
