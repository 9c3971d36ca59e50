"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def is_about_input(error: Exception) -> bool:
    """Whether an error is about what the user gave or has (a file, an argument, a package), and its message says it all."""
    from gymnasium.error import Error

    return isinstance(error, (ValueError, OSError, ImportError, Error))


def check_writable(path: Path, name: str) -> None:
    """Make the folder of a file that is written later, when work would be lost if it could not be.

    Args:
        name: what the user calls the file, for the error message.

    Raises:
        ValueError: if there can be no such file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{name} {path} cannot be written: {error}.") from error
    if path.is_dir():
        raise ValueError(f"{name} takes a file, but {path} is a folder.")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{name} {path} cannot be written: no permission for {path.parent}.")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` write a file beside ``path``, of the same suffix, then rename it to ``path``. Makes its folder.

    The content is on the disk before the name is: whenever the machine stops, there is the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        write(beside)
        sync(beside)
        os.replace(beside, path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk itself; nothing where the system does not do that for folders."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
