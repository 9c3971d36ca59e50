"""The folder of a run and the files in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from coagent_rl.files import write_whole
from coagent_rl.training.reading import read_yaml

_CONTENTS = (
    (r"(?!best_model\.zip|rl_model_\d+_steps\.zip).*\.zip", "the last model"),
    (r"best_model\.zip", "the best model in the evaluations during training"),
    (r"rl_model_\d+_steps\.zip", "a checkpoint, from which --resume goes on"),
    (r".*_replay_buffer\.npz", "the transitions that the model beside it replays"),
    (r"evaluations\.npz", "returns of the evaluations during training"),
    (r"\d+\.monitor\.csv", "return, length and time of every training episode"),
    (r"learning_curve\.png", "the learning curve"),
    (r"summary\.json", "what came of it: scores, speed, versions"),
    (r"config\.yml", "algorithm, environment and settings"),
    (r"args\.yml", "the arguments of the command"),
    (r"command\.txt", "the command"),
)
"""Name of a file in a run's folder, as a regular expression → what it is; the first that fits."""


def contents(folder: Path) -> list[tuple[str, str]]:
    """Names of the files in a run's folder and what they are, in the order in which they matter; "" for others."""
    found = []
    for path in folder.iterdir():
        place = next((k for k, (name, _) in enumerate(_CONTENTS) if re.fullmatch(name, path.name)), len(_CONTENTS))
        found.append((place, path.name, _CONTENTS[place][1] if place < len(_CONTENTS) else ""))
    return [(name, what) for _, name, what in sorted(found)]


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a YAML file whole, keys in the given order."""
    write_text(path, yaml.safe_dump(plain(content), sort_keys=False))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole."""
    write_text(path, json.dumps(plain(content), indent=2) + "\n")


def plain(value: Any) -> Any:
    """Return a value as YAML and JSON hold it; what they cannot hold becomes its `repr`."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, (str, int, float)) else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return repr(value)


def compact_returns(returns: np.ndarray) -> dict[str, np.ndarray]:
    """Put returns of episodes, shape (n,), in the smallest arrays that lose nothing (but what float32 does not hold).

    Wins and losses of ±1 are ``wins``, eight in a byte; others are ``returns``. `whole_returns` reads them.
    """
    if returns.size and np.all(np.abs(returns) == 1):
        return {"wins": np.packbits(returns > 0)}
    whole = np.all(returns % 1 == 0) and np.all(np.abs(returns) <= np.iinfo(np.int16).max)
    return {"returns": returns.astype(np.int16 if whole else np.float32)}


def whole_returns(arrays: Mapping[str, np.ndarray], n_episodes: int) -> np.ndarray:
    """Read what `compact_returns` made, as float64 of shape (n_episodes,).

    Raises:
        KeyError: if it is not among the arrays.
    """
    if "wins" in arrays:
        return 2.0 * np.unpackbits(arrays["wins"], count=n_episodes) - 1.0
    return arrays["returns"].astype(float)


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's ``config.yml``: algo, env, env_kwargs and settings.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it cannot be read, or something is missing.
    """
    path = folder / "config.yml"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a run's folder: it has no config.yml.")
    config = read_yaml(path)
    needed = {"algo": str, "env": str, "env_kwargs": dict, "settings": dict}
    for key, kind in needed.items():
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise ValueError(f"{path} does not describe a run: {key!r} is missing or not a {kind.__name__}.")
    return dict(config)


def folder_name(env_id: str) -> str:
    """Name of an environment in file names: a ``/`` becomes ``-``."""
    return env_id.replace("/", "-")


def existing_runs(log_folder: Path, algorithm: str, env_id: str) -> list[Path]:
    """Folders of the runs of an algorithm on an environment, oldest first."""
    pattern = re.compile(re.escape(folder_name(env_id)) + r"_(\d+)")
    parent = log_folder / algorithm
    found = {}
    if parent.is_dir():
        for path in parent.iterdir():
            match = pattern.fullmatch(path.name)
            if match and path.is_dir():
                found[int(match[1])] = path
    return [found[number] for number in sorted(found)]


def new_run(log_folder: Path, algorithm: str, env_id: str) -> Path:
    """Create the next run's folder, ``<log_folder>/<algorithm>/<env>_<k>``; safe for runs that start side by side.

    Raises:
        ValueError: if the folder cannot be created or written to.
    """
    try:
        parent = log_folder / algorithm
        parent.mkdir(parents=True, exist_ok=True)
        runs = existing_runs(log_folder, algorithm, env_id)
        number = int(runs[-1].name.rpartition("_")[2]) + 1 if runs else 1
        while True:
            folder = parent / f"{folder_name(env_id)}_{number}"
            try:
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
        write_text(folder / "command.txt", "")
    except OSError as error:
        raise ValueError(f"The log folder {log_folder} cannot be written to: {error}") from error
    return folder
