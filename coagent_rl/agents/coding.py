"""What a model holds beside its networks, as JSON and arrays: read back, it can be nothing but data."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common import utils

from coagent_rl.noise import Noise
from coagent_rl.schedules import LinearSchedule

TAG = "is"
"""Key of a JSON object that is something else than a dictionary."""


def _known(name: str, kind: type, *fields: str) -> tuple[str, type, tuple[str, ...]]:
    return name, kind, fields


RECORDS = (
    _known("LinearSchedule", LinearSchedule, "start", "end", "steps"),
    _known("Discrete", spaces.Discrete, "n", "start"),
    _known("MultiDiscrete", spaces.MultiDiscrete, "nvec", "start"),
    _known("MultiBinary", spaces.MultiBinary, "n"),
    _known("Box", spaces.Box, "low", "high"),
    _known("Dict", spaces.Dict, "spaces"),
    _known("Tuple", spaces.Tuple, "spaces"),
    *(
        _known(f"stable_baselines3.{name}", getattr(utils, name), *fields)
        for name, fields in (
            ("ConstantSchedule", ("val",)),
            ("LinearSchedule", ("start", "end", "end_fraction")),
            ("FloatSchedule", ("value_schedule",)),
        )
        if hasattr(utils, name)
    ),
)
"""Classes whose objects are made again from a few of their attributes, which are what their constructors take."""

BIT_GENERATORS: dict[str, Any] = {
    kind.__name__: kind for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64)
}


class NotPlainError(TypeError):
    """A value is not one of those that JSON and arrays can hold."""


def generator_from(state: Any) -> np.random.Generator:
    """Return a generator in a given state of its bit generator."""
    bits = BIT_GENERATORS[state["bit_generator"]]()
    bits.state = state
    return np.random.Generator(bits)


@dataclass
class Coder:
    """Writes values as JSON, arrays beside, and reads them.

    Attributes:
        arrays: the arrays, in the order in which the JSON names them.
        classes: name → class, of those that may be named.
    """

    arrays: list[np.ndarray] = field(default_factory=list)
    classes: dict[str, type] = field(default_factory=dict)

    def encode(self, value: Any) -> Any:
        """Return a value as JSON.

        Raises:
            NotPlainError: if it cannot be.
        """
        if value is None or isinstance(value, (bool, str)):
            return value
        if type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {TAG: "float", "value": repr(value)}
        if type(value) is list:
            return [self.encode(item) for item in value]
        if type(value) in (tuple, set, frozenset):
            return {TAG: type(value).__name__, "items": [self.encode(item) for item in value]}
        if type(value) in (dict, OrderedDict):
            if all(type(key) is str for key in value) and TAG not in value:
                return {key: self.encode(item) for key, item in value.items()}
            return {TAG: "dict", "items": [[self.encode(key), self.encode(item)] for key, item in value.items()]}
        if isinstance(value, type):
            if self.classes.get(value.__name__) is value:
                return {TAG: "class", "name": value.__name__}
            raise NotPlainError(f"the class {value.__name__}")
        return self._encode_object(value)

    def _encode_object(self, value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf" and type(value) is not np.matrix:
            self.arrays.append(np.asarray(value))
            kind = "array" if isinstance(value, np.ndarray) else "number"
            return {TAG: kind, "index": len(self.arrays) - 1}
        if type(value) is deque:
            return {TAG: "deque", "items": [self.encode(item) for item in value], "longest": value.maxlen}
        if type(value) is np.random.Generator and type(value.bit_generator).__name__ in BIT_GENERATORS:
            return {TAG: "generator", "state": self.encode(value.bit_generator.state)}
        if type(value) is Noise:
            _, (rng, cursor, last) = value.__reduce__()
            return {TAG: "noise", "rng": self.encode(rng), "cursor": cursor, "last": self.encode(last)}
        for name, record, fields in RECORDS:
            if type(value) is record:
                parts = {key: self.encode(getattr(value, key)) for key in fields}
                if record is spaces.Dict:
                    parts = {"spaces": [[key, self.encode(space)] for key, space in vars(value)["spaces"].items()]}
                if isinstance(value, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete)):
                    parts["dtype"] = np.dtype(value.dtype or np.int64).str
                return {TAG: "record", "kind": name, **parts}
        raise NotPlainError(f"a {type(value).__name__}")

    def decode(self, value: Any) -> Any:
        """Read what `encode` gave.

        Raises:
            ValueError, TypeError, KeyError, IndexError: if it gave no such thing.
        """
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if TAG not in value:
            return {key: self.decode(item) for key, item in value.items()}
        makers: dict[str, Callable[[], Any]] = {
            "float": lambda: float(value["value"]),
            "tuple": lambda: tuple(self.decode(value["items"])),
            "set": lambda: set(self.decode(value["items"])),
            "frozenset": lambda: frozenset(self.decode(value["items"])),
            "dict": lambda: {self.decode(key): self.decode(item) for key, item in value["items"]},
            "class": lambda: self.classes[value["name"]],
            "array": lambda: self.arrays[value["index"]],
            "number": lambda: self.arrays[value["index"]][()],
            "deque": lambda: deque(self.decode(value["items"]), value["longest"]),
            "generator": lambda: generator_from(self.decode(value["state"])),
            "noise": lambda: Noise(self.decode(value["rng"]), value["cursor"], self.decode(value["last"])),
            "record": lambda: self._record(value),
        }
        return makers[value[TAG]]()

    def _record(self, value: dict[str, Any]) -> Any:
        kind = {name: kind for name, kind, _ in RECORDS}[value["kind"]]
        parts = {key: self.decode(part) for key, part in value.items() if key not in (TAG, "kind")}
        if "dtype" in parts:
            parts["dtype"] = np.dtype(parts["dtype"]).type
        if kind is spaces.Dict:
            return spaces.Dict([(key, space) for key, space in parts["spaces"]])  # pairs keep their order
        return kind(**parts)
