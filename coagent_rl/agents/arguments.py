"""Arguments of an agent: their checks, and what becomes of one that is assigned to a model."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.agents.rates import LearningRates, RateAttribute

TRUNCATIONS = ("bootstrap", "zero_td_error")
CRITICS = {"td": "softplus", "map_prop": "gaussian_softplus", None: "softplus"}
"""Name of a critic → its hidden units, where the user names none."""
NETWORK_ARGUMENTS = ("critic", "td_source", "policy_kwargs")
"""Arguments that say which networks there are: `load` cannot replace them."""


class Argument(RateAttribute):
    """An argument as an attribute of the model: to assign it takes effect, or is an error.

    Networks and kernels get most arguments as numbers when a model is made, and would not notice.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __set__(self, model: Any, value: Any) -> None:
        own, name, kind = vars(model), self.name, type(model).__name__
        if getattr(model, "policy", None) is None or name not in own:  # it is being made
            own[name] = value
            return
        if name not in model.assignable:
            how = f"Save the model and load it with {kind}.load(path, {name}={value!r}), which replaces what was saved."
            if name in NETWORK_ARGUMENTS:
                how = f"Make a new model with it: {kind}(…, {name}={value!r})."
            raise AttributeError(f"{name} cannot become {value!r} in a model that is made: it would change nothing. {how}")
        before = own[name]
        own[name] = value
        try:
            model._check_arguments()
        except Exception:
            own[name] = before
            raise


class Arguments(LearningRates):
    """The part of `CoagentAlgorithm` that checks its arguments, which are explained there."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": CoagentPolicy,
        "MultiInputPolicy": CoagentPolicy,
    }
    assignable: ClassVar[frozenset[str]] = frozenset({"reward_clip", "truncation"})
    """Arguments that learning reads anew, so that they may be assigned to a model."""
    algorithm: str
    critic: str | None
    critic_kwargs: dict[str, Any] | None
    weight_decay: float
    truncation: str
    reward_clip: float | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        of_stable_baselines3 = set(inspect.signature(BaseAlgorithm.__init__).parameters) - {"policy_kwargs"}
        for name, argument in inspect.signature(cls.__init__).parameters.items():
            is_one = name[0] != "_" and argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
            if is_one and name not in of_stable_baselines3 and not hasattr(cls, name):
                setattr(cls, name, Argument(name))

    @classmethod
    def _check_policy(cls, policy: object) -> None:
        if isinstance(policy, str) and policy in cls.policy_aliases:
            return
        if not (isinstance(policy, type) and issubclass(policy, CoagentPolicy)):
            raise ValueError(
                f"policy must be one of {list(cls.policy_aliases)} or a subclass of CoagentPolicy, not {policy!r}: "
                f"coagent networks are layers of units that take a vector of numbers, no images and no history."
            )

    def _check_arguments(self) -> None:
        """Raise a ValueError for values out of range; called where a model is made and where one is loaded."""
        for name in ("temperature", "weight_decay"):
            self._check_number(name)
        for name in ("gamma", "actor_lambda", "critic_lambda"):
            self._check_share(name, "[0")
        if not 0.0 <= self.weight_decay < np.inf:
            raise ValueError(f"weight_decay must be finite and not negative, not {self.weight_decay!r}.")
        if not isinstance(self.critic, str | None) or self.critic not in CRITICS:
            raise ValueError(f"critic must be one of {tuple(CRITICS)}, not {self.critic!r}.")
        if not isinstance(self.critic_kwargs, Mapping | None):
            raise ValueError(f"critic_kwargs must be a dictionary, not {self.critic_kwargs!r}.")
        if self.critic != "map_prop" and self.critic_kwargs:
            raise ValueError(
                f"critic_kwargs are for the critic 'map_prop'; {self.critic!r} takes none: {self.critic_kwargs}."
            )
        if self.truncation not in TRUNCATIONS:
            raise ValueError(f"truncation must be one of {TRUNCATIONS}, not {self.truncation!r}.")
        if self.reward_clip is not None:
            self._check_number("reward_clip")
            if not self.reward_clip > 0.0:
                raise ValueError(f"reward_clip must be positive or None, not {self.reward_clip!r}.")

    def _check_number(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(f"{name} must be a number, not {value!r}.")

    def _check_share(self, name: str, least: str = "(0") -> None:
        """Check a number up to 1, from ``"[0"`` on or above ``"(0"``."""
        self._check_number(name)
        value = getattr(self, name)
        if not (0.0 < value <= 1.0 or (value == 0.0 and least == "[0")):
            raise ValueError(f"{name} must lie in {least}, 1], not {value!r}.")

    def _check_positive(self, name: str) -> None:
        self._check_number(name)
        if not 0.0 < getattr(self, name) < np.inf:
            raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)!r}.")
