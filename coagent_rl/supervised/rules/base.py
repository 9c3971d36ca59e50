"""What a rule is, and the register of rules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from coagent_rl.networks import UNIT_KINDS, Layer
from coagent_rl.supervised.batch import BatchLayer

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner

_HIDDEN = tuple(kind for kind in UNIT_KINDS if kind != "boltzmann" and not kind.startswith("softmax"))
DETERMINISTIC_KINDS = tuple(kind for kind in _HIDDEN if not Layer(kind, 1).is_stochastic)
SAMPLED_KINDS = tuple(kind for kind in _HIDDEN if Layer(kind, 1).is_stochastic)
GAUSSIAN_KINDS = tuple(kind for kind in _HIDDEN if Layer(kind, 1).is_gaussian)

RULES: dict[str, type[Rule]] = {}
"""Name → rule; `register` adds to it."""


@dataclass
class Rule:
    """How hidden layers get their credit; its fields are what ``rule_kwargs`` can set.

    The output layer's credit is there when a rule is asked: the exact gradient, or its advantage times its score. Then the
    rule is asked for one hidden layer after the other, from the output side down.

    Attributes:
        name: under which it is registered.
        kinds: kinds of hidden units that it is defined for.
        units: the kind that it is most natural for.
        deviation: a good standard deviation of Gaussian units.
        n_samples: a good number of paths an input.
        reason: why it is not defined for the others.
        uses_advantages: whether hidden layers learn from their own advantage, so that a critic can give them one.
        why_all_explore: why it cannot let only some units explore; empty where it can.
        keeps_products: whether hidden layers leave their pre-activations where the means would be.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = (*SAMPLED_KINDS, *DETERMINISTIC_KINDS)
    units: ClassVar[str] = "bernoulli"
    deviation: ClassVar[float] = 1.0
    n_samples: ClassVar[int] = 1
    reason: ClassVar[str] = "softmax layers are output layers, and boltzmann units are drawn one by one"
    uses_advantages: ClassVar[bool] = False
    why_all_explore: ClassVar[str] = ""
    keeps_products: ClassVar[bool] = False

    def check(self, layers: Sequence[Layer]) -> None:
        """Raise a ValueError, with the reason, if the rule is not defined for one of the hidden layers."""
        for layer in layers:
            if layer.kind not in self.kinds:
                raise ValueError(
                    f"The rule {self.name!r} is not defined for {layer.kind!r} units: {self.reason}. "
                    f"It is defined for: {', '.join(self.kinds)}."
                )

    def attach(self, learner: BatchLearner) -> None:
        """Called once, when the learner is made."""

    def draw(self, layer: BatchLayer, rng: np.random.Generator) -> None:
        """Write the values of a sampled hidden layer."""
        layer.draw_noise(rng)
        layer.draw(True)

    def begin(self, learner: BatchLearner) -> None:
        """Called for every batch after the losses and advantages, before any layer's credit."""

    def assign(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        """Write the credit of a sampled hidden layer, given that of the layer above."""
        raise NotImplementedError

    def assign_deterministic(self, learner: BatchLearner, layer: BatchLayer, above: BatchLayer) -> None:
        """Write the credit of a deterministic hidden layer: part of the coagent above it, it learns by the chain rule."""
        layer.chain_rule(above)


def register(rule: type[Rule]) -> type[Rule]:
    """Make a rule known by its name."""
    RULES[rule.name] = rule
    return rule


def make_rule(name: str, kwargs: Mapping[str, Any] | None = None) -> Rule:
    """Make a rule by its name.

    Raises:
        ValueError: for an unknown name, or for keyword arguments that it does not take or that are out of range.
    """
    if not isinstance(name, str) or name not in RULES:
        raise ValueError(f"Unknown rule {name!r}; known rules: {', '.join(sorted(RULES))}.")
    known = [field.name for field in fields(RULES[name])]
    if not isinstance(kwargs, Mapping | None) or set(kwargs or {}) - set(known):
        takes = f"takes {', '.join(known)}" if known else "takes none"
        raise ValueError(f"rule_kwargs: the rule {name!r} {takes}, not {kwargs!r}.")
    make: Callable[..., Rule] = RULES[name]
    return make(**(kwargs or {}))
