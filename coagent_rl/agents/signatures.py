"""What ``help`` says of an agent: all of its arguments, also those that it hands on to the classes above it."""

from __future__ import annotations

import inspect
import re
from typing import Any

from coagent_rl.registry import nearest

_ARGUMENTS = re.compile(r"^Args:\n((?:    .*\n|\n(?=    ))+)", flags=re.M)
NOT_GIVEN = {"observation_space", "action_space", "lr_schedule", "has_critic", "seed"}
"""Arguments of a policy that the agent gives it."""


def complete_signature(kind: type, end: type) -> inspect.Signature:
    """Arguments of a class's constructor, with those that go on to the classes above as ``**kwargs``, by keyword.

    Args:
        end: the class above which none are looked for.
    """
    found: dict[str, inspect.Parameter] = {}
    for parent in kind.__mro__[: kind.__mro__.index(end)]:
        if "__init__" not in vars(parent):
            continue
        is_first = not found
        own = list(inspect.signature(vars(parent)["__init__"]).parameters.values())[1:]  # without self
        for parameter in own:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, parameter if is_first else parameter.replace(kind=parameter.KEYWORD_ONLY))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in own):
            break  # nothing is handed on
    return inspect.Signature(sorted(found.values(), key=lambda parameter: parameter.kind))


def policy_arguments(kind: Any, policy: type | None = None) -> set[str]:
    """Names of what an agent's ``policy_kwargs`` may hold, without what the agent sets itself.

    Args:
        kind: the agent's class.
        policy: the policy's class; None is the agent's usual one.
    """
    return set(inspect.signature(policy or kind.policy_aliases["MlpPolicy"]).parameters) - NOT_GIVEN


def unknown_argument(kind: Any, name: str, value: object, policy: type | None = None) -> str:
    """What to say of an argument that an agent does not have.

    Args:
        kind: the agent's class.
        policy: the policy's class, whose arguments have a place of their own; None is the agent's usual one.
    """
    says = f"{kind.__name__} has no argument {name!r}."
    if name in policy_arguments(kind, policy):
        return f"{says} It belongs in policy_kwargs: policy_kwargs=dict({name}={value!r})."
    known = [known for known in inspect.signature(kind).parameters if known[0] != "_"]
    return f"{says} {nearest(name, known, f'help({kind.__name__}) lists all.')}"


def show_all_arguments(kind: type, end: type) -> None:
    """Give a class the signature and, in its docstring, the arguments of all classes from which it takes them."""
    setattr(kind, "__signature__", complete_signature(kind, end))  # noqa: B010
    own = inspect.cleandoc(vars(kind).get("__doc__") or "")
    if not own:
        return
    above = [parent for parent in kind.__mro__[1 : kind.__mro__.index(end)] if (vars(parent).get("__doc__") or "")]
    parts = [(parent.__name__, _ARGUMENTS.search(inspect.cleandoc(parent.__doc__ or "") + "\n")) for parent in above]
    kind.__doc__ = "\n\n".join([own, *(f"Args of {name}:\n{match[1].rstrip()}" for name, match in parts if match)])
