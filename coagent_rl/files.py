"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def is_about_input(error: Exception) -> bool:
    """Whether an error is about what the user gave or has (a file, an argument, a package), and its message says it all."""
    from gymnasium.error import Error

    return isinstance(error, (ValueError, OSError, ImportError, Error))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` write a file beside ``path``, of the same suffix, then rename it to ``path``. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
