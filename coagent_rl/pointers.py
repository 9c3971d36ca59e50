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


FORWARD = (
    types.Tuple([_array(_I8, 2), _array(_F8, 2), _array(_F4, 1)]),
    _array(_F4, 3),
    _array(_F4, 2),
    _array(_F4, 3),
    _I8,
    _I8,
)
"""Types of the arguments of `coagent_rl.networks.forward.forward`."""


def environment_types(is_discrete: bool) -> tuple[types.Type, ...]:
    """Types of the arguments of an environment's step, see `coagent_rl.envs.compiled.base.advance_environments`."""
    vectors = [_array(_F8, 1), _array(_F8, 2), _I8, _array(_F8, 3), _array(_I8, 1), _array(_F8, 2), _array(_I8, 1)]
    results = [_array(_F4, 2), _array(_F4, 2), _array(_F4, 1), _array(_B1, 1), _array(_B1, 1), _array(_I8, 1)]
    actions = _array(_I8, 1) if is_discrete else _array(_F4, 2)
    return (types.Tuple([*vectors, _array(_F8, 2), *results]), actions)


def critic_types(n_learners: int, reads_actor: bool) -> tuple[types.Type, ...]:
    """Types of a critic's arguments, see `coagent_rl.critics.critic.Critic`."""
    judged = LEARNER if reads_actor else types.Tuple([])
    return (types.Tuple([LEARNER] * n_learners), judged, TRANSITION, _F8, _array(_F8, 1), _array(_F4, 2))


def address(function: Any, argument_types: tuple[types.Type, ...], returns: types.Type = types.boolean) -> int:
    """Address of a kernel's machine code for arguments of these types, compiled or found on disk if need be.

    The code stays where it is as long as the kernel lives.

    Raises:
        ValueError: if the kernel does not always return what its callers expect, such as a rule without a ``return``.
    """
    function.compile(argument_types)
    compiled = function.overloads[argument_types]
    if (found := compiled.signature.return_type) != returns:
        hint = ", whether its update was finite: end it with return update(learner, time)" * (returns == types.boolean)
        raise ValueError(f"{function.__name__} returns {str(found).capitalize()} where {returns} is expected{hint}.")
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


def _call(name: str, allowed: Callable[[Any], bool], given: tuple[Any, ...], returns: Any = types.boolean) -> Any:
    if not allowed(given[1:]):
        raise TypingError(f"A {name} cannot be called with arguments of the types {given[1:]}.")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in signature.args[1:]]
        function = ir.FunctionType(context.get_value_type(returns), kinds)
        return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

    return returns(*given), generate


def _call_rule(typing: Any, where: Any, arrays: Any, reinforcements: Any, starts: Any, time: Any) -> Any:
    """Call a rule by its address: ``call_rule(address, arrays, reinforcements, episode_starts, time)``."""
    return _call("rule", lambda given: bool(given == RULE), (where, arrays, reinforcements, starts, time))


def _call_critic(
    typing: Any, where: Any, learners: Any, actor: Any, transition: Any, time: Any, td_errors: Any, reinforcements: Any
) -> Any:
    """Call a critic by its address, then the arguments of its kernel."""
    given = (where, learners, actor, transition, time, td_errors, reinforcements)
    return _call("critic", lambda given: bool(given == critic_types(given[0].count, given[1] == LEARNER)), given)


def _call_environment(typing: Any, where: Any, arrays: Any, actions: Any) -> Any:
    """Call the step of an environment by its address: ``call_environment(address, arrays, actions)``."""
    known = (environment_types(True), environment_types(False))
    return _call("environment", lambda given: given in known, (where, arrays, actions), types.int64)


def _call_forward(
    typing: Any, where: Any, network: Any, activity: Any, observations: Any, noise: Any, noise_step: Any, mode: Any
) -> Any:
    """Call the forward pass by its address, which saves compiling it into every loop."""
    given = (where, network, activity, observations, noise, noise_step, mode)
    return _call("forward pass", lambda given: bool(given == FORWARD), given)


call_forward: Any = intrinsic(_call_forward)
call_rule: Any = intrinsic(_call_rule)
call_critic: Any = intrinsic(_call_critic)
call_environment: Any = intrinsic(_call_environment)
