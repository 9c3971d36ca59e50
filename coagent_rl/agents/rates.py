"""Learning rates of a model: as users write them, given to `load` or assigned, and as learning reads them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import cloudpickle
import numpy as np
from stable_baselines3.common import utils

from coagent_rl.agents.saving import SavedAlgorithm
from coagent_rl.critics import NeuronCritics
from coagent_rl.learner import Learner
from coagent_rl.schedules import LearningRate, LinearSchedule, Rates, as_schedule, constant_schedule, is_positive

FOREVER = 2.0**62
SelfRates = TypeVar("SelfRates", bound="LearningRates")


@dataclass(frozen=True)
class ShareSchedule:
    """Linear from ``start`` to ``end`` over a share of training, then constant: Stable-Baselines3's `LinearSchedule`.

    Training is as long as the call of ``learn``, and with ``reset_num_timesteps=False`` as all calls together.
    """

    start: Rates
    end: Rates
    share: float

    def at(self, time: float, total: float) -> LinearSchedule:
        """What it is in training of ``total`` environment steps, 0 where that is not known yet."""
        if total <= 0:
            return constant_schedule(self.start)
        return LinearSchedule(self.start, self.end, min(self.share * total, FOREVER))


@dataclass(frozen=True)
class FunctionSchedule:
    """Any function of the share of training that remains, from 1 down to 0: a number, or one per layer."""

    function: Callable[[float], Any]

    def at(self, time: float, total: float) -> LinearSchedule:
        """What it says after ``time`` environment steps of ``total``, as a constant."""
        rates = self.function(1.0 - time / total if total > 0 else 1.0)
        rates = rates.tolist() if isinstance(rates, np.ndarray | np.generic) else rates
        return as_schedule(rates, f"The learning rate that {self.function!r} gives")


def as_rates(value: object, name: str) -> LinearSchedule | ShareSchedule | FunctionSchedule:
    """Read a learning rate as users write it.

    Args:
        value: what `coagent_rl.schedules.as_schedule` takes; ``"lin_0.001"``, linear from 0.001 to zero, as in RL Zoo; one
            of Stable-Baselines3's schedules, or any function of the share of training that remains.
        name: of the argument, for error messages.

    Raises:
        ValueError: if it is none of these, or a function that cannot be pickled, so that no model could be saved.
    """
    if isinstance(value, str):
        if not re.fullmatch(r"lin_[0-9.eE+-]+", value) or not _is_number(value[4:]):
            raise ValueError(
                f"{name} must be a number, one number per layer, a schedule or a function, or a string such as 'lin_0.001' "
                f"for a linear schedule, not {value!r}."
            )
        return ShareSchedule(float(value[4:]), 0.0, 1.0)
    if isinstance(value, utils.FloatSchedule):
        return as_rates(value.value_schedule, name)
    if type(value) is utils.ConstantSchedule:
        return as_schedule(value.val, name)
    if type(value) is utils.LinearSchedule:
        if not is_positive(value.end_fraction):
            raise ValueError(f"{name}: end_fraction must be a positive number, not {value.end_fraction!r}.")
        return ShareSchedule(value.start, value.end, float(value.end_fraction))
    if callable(value):
        try:
            cloudpickle.dumps(value)
        except Exception as error:
            raise ValueError(f"{name}: {value!r} cannot be pickled, so no model could be saved: {error}") from error
        return FunctionSchedule(value)
    return as_schedule(value, name)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


class RateAttribute:
    """A learning rate of a model, which takes effect where it is assigned."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        if self.name not in vars(model):
            raise AttributeError(f"{type(model).__name__} has no {self.name} yet.")
        return vars(model)[self.name]

    def __set__(self, model: LearningRates, value: LearningRate | None) -> None:
        model._assign_rate(self.name, value)


class LearningRates(SavedAlgorithm):
    """The part of `CoagentAlgorithm` that knows its learning rates.

    Attributes:
        learning_rate: of all networks that have none of their own. Assigned, or given to `load`, it is that of all networks,
            whatever they had before.
        actor_learning_rate, critic_learning_rate: a network's own, or None.
    """

    default_rates: ClassVar[Mapping[str, float | tuple[float, float]]] = {
        "actor_learning_rate": (1e-2, 1e-4),
        "critic_learning_rate": (1e-2, 1e-4),
    }
    """Names of the networks' own learning rates, and what they are where the user gives none: a number for all layers, or
    the first layer's and that of each layer above it."""
    learning_rate = RateAttribute()
    actor_learning_rate = RateAttribute()
    critic_learning_rate = RateAttribute()
    frozen_layers: str | Sequence[int]

    def _rated(self) -> dict[str, Learner | NeuronCritics]:
        """What learns, by the name of its learning rate."""
        raise NotImplementedError

    @property
    def _current_progress_remaining(self) -> float:
        """The share of training that remains, from 1 down to 0, at any moment."""
        return 1.0 - self.num_timesteps / self._total_timesteps if self._total_timesteps > 0 else 1.0

    @_current_progress_remaining.setter
    def _current_progress_remaining(self, value: float) -> None:
        """Stable-Baselines3 sets it to 1 when a model is made, which is what it is there."""

    @property
    def lr_schedule(self) -> Callable[[float], float]:
        """The share of training that remains → the rate of the actor's output layer; to assign it assigns all rates."""
        return self._output_rate

    @lr_schedule.setter
    def lr_schedule(self, value: LearningRate) -> None:
        self.learning_rate = value

    def _output_rate(self, progress_remaining: float) -> float:
        total, depth = float(self._total_timesteps) or 1.0, self._rated()["actor_learning_rate"].depth
        time = (1.0 - progress_remaining) * total
        schedule = self._rates("actor_learning_rate", depth).at(time, total)
        start, end = schedule.table(depth)[:, -1]
        return float(start + min(time / schedule.steps, 1.0) * (end - start))

    def _rates(self, name: str, depth: int) -> LinearSchedule | ShareSchedule | FunctionSchedule:
        """The learning rate of a network of ``depth`` layers; ``name`` is that of its argument."""
        source = name if vars(self).get(name) is not None else "learning_rate"
        rates = vars(self).get(source)
        if rates is None:
            default = 1.0 if vars(self).get("optimizer") == "obgd" else self.default_rates[name]
            rates = [default[0]] + [default[1]] * (depth - 1) if isinstance(default, tuple) else default
        return as_rates(rates, source)

    def _rates_now(self, name: str, depth: int) -> LinearSchedule:
        return self._rates(name, depth).at(self.num_timesteps, self._total_timesteps)

    def _set_rates(self) -> None:
        """Have all networks learn with the rates of this moment; all are checked before one of them changes."""
        moving, found = False, []
        for name, learner in self._rated().items():
            depth = learner.depth
            rates = self._rates(name, depth)
            moving = moving or isinstance(rates, FunctionSchedule)
            schedule = rates.at(self.num_timesteps, self._total_timesteps)
            found.append((learner, schedule.table(depth, name), schedule.steps))
        for learner, table, steps in found:
            learner.set_rates(table, steps)
        self._rates_move = moving

    def _assign_rate(self, name: str, value: LearningRate | None) -> None:
        own = vars(self)
        if getattr(self, "policy", None) is None:  # it is being made
            own[name] = value
            return
        changed = self._with_all({name: value})
        before = {key: own.get(key) for key in changed}
        own.update(changed)
        try:
            self._check_rates_are_used(changed)
            self._set_rates()
        except Exception:
            own.update(before)
            raise

    def _frozen_indices(self, depth: int) -> tuple[int, ...]:
        if self.frozen_layers == "hidden":
            return tuple(range(depth - 1))
        indices = self.frozen_layers
        is_list = isinstance(indices, Sequence) and not isinstance(indices, str)
        if not is_list or not all(type(index) is int and 0 <= index < depth for index in indices):
            raise ValueError(
                f"frozen_layers must be 'hidden' or indices of layers from 0 to {depth - 1}, not {self.frozen_layers!r}."
            )
        return tuple(index for index in indices if isinstance(index, int))

    def _check_rates_are_used(self, given: Mapping[str, Any]) -> None:
        known = self._rated()
        for name, value in given.items():
            if name != "learning_rate" and name not in known and value is not None:
                raise ValueError(f"{name}={value!r} would do nothing: this model has no such network.")

    @classmethod
    def _with_all(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Rates that were given, and where ``learning_rate`` is among them, none of their own for all other networks."""
        return {**(dict.fromkeys(cls.default_rates) if "learning_rate" in given else {}), **given}

    @classmethod
    def load(
        cls: type[SelfRates],
        path: str | Path | io.BufferedIOBase,
        env: Any = None,
        device: Any = "auto",
        custom_objects: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> SelfRates:
        """As `SavedAlgorithm.load`. A ``learning_rate`` that is given is that of all networks, as if it were assigned.

        Raises:
            ValueError: also for a learning rate that nothing would learn with.
        """
        names = {"learning_rate", *cls.default_rates}
        given = {name: value for name, value in {**(custom_objects or {}), **kwargs}.items() if name in names}
        model = super().load(path, env, device, custom_objects, *args, **{**kwargs, **cls._with_all(given)})
        model._check_rates_are_used(given)
        return model
