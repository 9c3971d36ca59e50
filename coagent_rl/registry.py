"""All agents, one line each. Whatever else lists them is made of this table."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coagent_rl.agents.base import CoagentAlgorithm

ALGORITHMS = {
    "weight_max": "coagent_rl.agents.weight_max:WeightMax",
    "map_prop": "coagent_rl.agents.map_prop:MAPProp",
    "decentralized_ddpg": "coagent_rl.agents.decentralized_ddpg:DecentralizedDDPG",
    "node_perturbation": "coagent_rl.agents.node_perturbation:NodePerturbation",
    "reinforce": "coagent_rl.agents.reinforce:Reinforce",
    "reinforce_thomas": "coagent_rl.agents.thomas:ReinforceThomas",
    "coordinated_exploration": "coagent_rl.agents.coordinated_exploration:CoordinatedExploration",
    "posterior_rule": "coagent_rl.agents.posterior:PosteriorRule",
    "product_rule": "coagent_rl.agents.product:ProductRule",
    "ste_backprop": "coagent_rl.agents.straight_through:STEBackprop",
    "hindsight": "coagent_rl.agents.hindsight:Hindsight",
    "disarm": "coagent_rl.agents.disarm:DisARM",
    "rebar": "coagent_rl.agents.rebar:REBAR",
    "noise_based": "coagent_rl.agents.noise_based:NoiseBased",
    "evolution_strategies": "coagent_rl.agents.evolution_strategies:EvolutionStrategies",
    "synthetic_gradients": "coagent_rl.agents.synthetic_gradients:SyntheticGradients",
    "equilibrium_propagation": "coagent_rl.agents.equilibrium_propagation:EquilibriumPropagation",
    "feedback_alignment": "coagent_rl.agents.feedback_alignment:FeedbackAlignment",
    "backprop": "coagent_rl.agents.backprop:Backprop",
}
"""Name on the command line → ``module:Class``, which is imported when it is first asked for."""

AGENT_MODULES = {target.partition(":")[2]: target.partition(":")[0] for target in ALGORITHMS.values()}
"""Class → module."""


def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Say which known names come closest to ``name``, for error messages; where none is close, ``otherwise`` or all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known names: {', '.join(known)}." if otherwise is None else otherwise


def import_own(module: str) -> ModuleType:
    """Import a module that the user names; the current folder is searched too, wherever the command itself lies.

    Raises:
        ImportError: if it, or what it imports, is not found.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise ImportError(f"{module!r} is not the name of a module")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return import_module(module)


def check_algorithm(name: str) -> str:
    """Return ``name`` if it is an algorithm's, or ``module:Class`` of one that can be imported.

    Raises:
        ValueError: otherwise; it lists all names.
    """
    if ":" in name:
        algorithm_class(name)
    elif name not in ALGORITHMS:
        guess = nearest(name, ALGORITHMS, otherwise="")
        names = f"Algorithms: {', '.join(ALGORITHMS)}, or module:Class for one of your own."
        raise ValueError(f"Unknown algorithm {name!r}. {guess} {names}".replace("  ", " "))
    return name


def algorithm_class(name: str) -> type[CoagentAlgorithm]:
    """Import the class of an algorithm.

    Args:
        name: one of `ALGORITHMS`, or ``module:Class``.

    Raises:
        ValueError: if there is no such class, or it is not a subclass of `CoagentAlgorithm` that can learn.
    """
    import inspect

    from coagent_rl.agents.base import CoagentAlgorithm

    module_name, _, class_name = ALGORITHMS.get(name, name).partition(":")
    try:
        module = import_own(module_name)
    except ImportError as error:
        raise ValueError(f"The module {module_name!r} of the algorithm {name!r} cannot be imported: {error}.") from error
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, CoagentAlgorithm)):
        kinds = [key for key, kind in vars(module).items() if inspect.isclass(kind) and issubclass(kind, CoagentAlgorithm)]
        raise ValueError(
            f"{name!r} names no subclass of CoagentAlgorithm. Those in {module_name!r}: {', '.join(kinds) or 'none'}."
        )
    if inspect.isabstract(found):
        raise ValueError(
            f"The algorithm {name!r} cannot learn: it does not define {', '.join(sorted(found.__abstractmethods__))}."
        )
    return found


def algorithm_folder(name: str) -> str:
    """Name of an algorithm in file names: the ``:`` of ``module:Class`` becomes a dot."""
    return name.replace(":", ".")


def summary_of(name: str) -> str:
    """First sentence of an algorithm's docstring."""
    import inspect

    return " ".join((inspect.getdoc(algorithm_class(name)) or "").partition("\n\n")[0].split())


def markdown_table() -> str:
    """All agents as a Markdown table: class, name on the command line, first sentence of the class's docstring."""
    lines = ["| agent | `--algo` | rule for the hidden units |", "|---|---|---|"]
    for name in ALGORITHMS:
        lines.append(f"| `{algorithm_class(name).__name__}` | `{name}` | {summary_of(name)} |")
    return "\n".join(lines) + "\n"
