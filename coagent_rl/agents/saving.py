"""Saving and loading models."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from coagent_rl.files import write_whole

SelfSaved = TypeVar("SelfSaved", bound="SavedAlgorithm")


class SavedAlgorithm(BaseAlgorithm):
    """A Stable-Baselines3 algorithm whose files appear whole, are checked when they are read, and hold finite numbers."""

    def is_finite(self) -> bool:
        """Whether all parameters of actor and critic are."""
        return all(bool(np.isfinite(tensor.numpy()).all()) for tensor in self.policy.state_dict().values())

    def save(
        self,
        path: str | Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """As in Stable-Baselines3, but the file appears whole or not at all: it is written beside and then renamed.

        Raises:
            ValueError: if parameters are not finite; nothing is written.
        """
        if not self.is_finite():
            raise ValueError("The model's parameters are not all finite: it has diverged, and is not saved.")
        if isinstance(path, io.BufferedIOBase):
            super().save(path, exclude, include)
            return
        target = Path(path)
        if target.suffix == "":
            target = target.with_name(target.name + ".zip")
        write_whole(target, lambda beside: super(SavedAlgorithm, self).save(beside, exclude, include))

    @classmethod
    def load(cls: type[SelfSaved], path: str | Path | io.BufferedIOBase, *args: Any, **kwargs: Any) -> SelfSaved:
        """As in Stable-Baselines3. With ``force_reset=False`` and the environment as it was, training goes on bit for bit.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a model, or one of another algorithm, or its parameters are not finite.
        """
        where = "the given file" if isinstance(path, io.BufferedIOBase) else _existing(path)
        _check_model_file(where if isinstance(where, Path) else path, str(where), [kind.__name__ for kind in cls.__mro__])
        try:
            model = super().load(path, *args, **kwargs)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"The parameters in {where} cannot be read, or are of another network: {error}") from error
        if not model.is_finite():
            raise ValueError(f"The parameters in {where} are not all finite: the model has diverged.")
        return model


def _existing(path: str | Path) -> Path:
    for candidate in (Path(path), Path(f"{path}.zip")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"There is no model at {path} (nor at {path}.zip).")


def _check_model_file(file: Any, name: str, algorithms: Sequence[str]) -> None:
    """Raise a ValueError unless a file is a model of one of the algorithms: a class, and those that it inherits from."""
    try:
        with zipfile.ZipFile(file) as archive:
            data = json.loads(archive.read("data"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{name} is not a saved model: {error}.") from error
    finally:
        if hasattr(file, "seek"):
            file.seek(0)
    saved = data.get("algorithm") if isinstance(data, dict) else None
    if saved not in algorithms:
        raise ValueError(
            f"{name} holds a model of {saved or 'another library'}, not of {algorithms[0]}: load it with its own class."
        )
