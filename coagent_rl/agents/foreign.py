"""What `load` refuses: files of other algorithms, libraries or versions, and arguments that there are not."""

from __future__ import annotations

import inspect
import json
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

from coagent_rl.agents.signatures import unknown_argument
from coagent_rl.archive import BROKEN


def check_given(cls: type, given: Mapping[str, Any], attributes: Iterable[str]) -> None:
    """Raise a TypeError for what is neither an argument of the constructor nor an attribute of the file."""
    for name in given:
        if name not in attributes and name not in inspect.signature(cls).parameters:
            raise TypeError(unknown_argument(cls, name, given[name]))


def check_algorithm(saved: object, where: str, cls: type) -> None:
    """Raise a ValueError unless ``saved`` names the class that loads, or one that it inherits from."""
    if saved not in [kind.__name__ for kind in cls.__mro__]:
        raise ValueError(
            f"{where} holds a model of {saved or 'another library'}, not of {cls.__name__}: load it with its own class."
        )


def check_older(file: Any, where: str, cls: type, trust: bool, given: Mapping[str, Any]) -> None:
    """Check a file in Stable-Baselines3's format, in which older versions saved, and what is given to `load` with it."""
    try:
        with zipfile.ZipFile(file) as archive:
            data = json.loads(archive.read("data"))
    except BROKEN as error:
        raise ValueError(f"{where} is not a saved model: {error}.") from error
    finally:
        if hasattr(file, "seek"):
            file.seek(0)
    saved = data.get("algorithm") if isinstance(data, dict) else None
    check_algorithm(saved if isinstance(saved, str) else None, where, cls)
    check_given(cls, given, data)
    if not trust:
        raise ValueError(
            f"{where} was saved by an older version and is pickled, and unpickling may run any code: load it with "
            f"trust=True (--trust on the command line) if you know where it comes from, and save it again."
        )
