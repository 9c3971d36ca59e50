"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a folder to oneself while the context lasts, by a lock of the system on the folder itself.

    It ends with the process, however that ends, and leaves nothing behind. Where the system has no such locks (Windows, some
    network file systems) nothing is kept.

    Raises:
        ValueError: if another process, or another thread of this one, holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"A run is training in {folder} at this moment: two in one folder would spoil each other."
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


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
