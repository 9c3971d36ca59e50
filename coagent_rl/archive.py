"""Files of arrays and JSON: a zip in which nothing runs, whose members are known by their SHA-256 sums.

Members are stored as they are, never compressed: so none is longer than the file, and a small file cannot become a large
one. Arrays are NumPy's ``.npy`` without objects; reading one makes an array of bytes that are there, nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MANIFEST = "manifest.json"
LONGEST_JSON = 2**24
"""Bytes of a JSON member at most; whatever is long is an array."""
BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,  # of a compression that Python does not know
    RuntimeError,  # of an encrypted member, or nested too deeply
    EOFError,
    OSError,
    OverflowError,
    IndexError,
    KeyError,
    struct.error,
    ValueError,
)
"""What Python raises for a zip that is not one."""

File = str | Path | BinaryIO | io.BufferedIOBase


def array_bytes(array: np.ndarray) -> bytes:
    """An array as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return buffer.getvalue()


def array_from(content: bytes, name: str) -> np.ndarray:
    """Read a ``.npy`` file of numbers.

    Raises:
        ValueError: naming the member, for anything else, and where the content is not as long as the header says.
    """
    buffer = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(buffer)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(buffer)
    except Exception as error:  # the header is read by NumPy's own parser, which raises what it likes
        raise ValueError(f"the member {name} is not an array: {error}") from error
    if dtype.kind not in "biuf" or fortran:
        raise ValueError(f"the member {name} is not an array of numbers in C order, but of {dtype}")
    n, there = dtype.itemsize, len(content) - buffer.tell()
    for length in shape:
        n *= length
    if n != there or any(length < 0 for length in shape):
        raise ValueError(f"the member {name} holds {there} bytes where its shape {shape} of {dtype} needs {n}")
    return np.frombuffer(content, dtype, offset=buffer.tell()).reshape(shape).copy()


def json_bytes(value: Any) -> bytes:
    """A JSON file; infinity and NaN are refused."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()


def write_archive(file: File, members: Mapping[str, bytes], kind: str) -> str:
    """Write members and the manifest of their sums; returns the sum that `manifest_sum` gives.

    Args:
        kind: what the file is, such as ``"model"``.
    """
    sums = _sums(members)
    manifest = json_bytes({"format": f"coagent_rl {kind} 1", "sha256": sums})
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((MANIFEST, manifest), *members.items()):
            archive.writestr(zipfile.ZipInfo(name), content)
    return manifest_sum(members)


def manifest_sum(members: Mapping[str, bytes]) -> str:
    """A sum that tells the members of one file from those of another."""
    return hashlib.sha256(json_bytes(_sums(members))).hexdigest()


def _sums(members: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}


def read_archive(file: File, kind: str, allowed: str, name: str | None = None) -> dict[str, bytes]:
    """Read all members of a file that `write_archive` wrote.

    Args:
        kind: what the file must be.
        allowed: regular expression of the names of members.
        name: of the file, for messages.

    Raises:
        ValueError: naming file and member, if anything is not as it was written.
        OSError: if the file cannot be opened.
    """
    name = name or str(file)
    if isinstance(file, (str, Path)):
        with open(file, "rb") as handle:
            return read_archive(handle, kind, allowed, name)
    start = file.tell()
    try:
        return _members(file, kind, allowed)
    except BROKEN as error:
        said = str(error).rstrip(".") or type(error).__name__
        raise ValueError(f"{name} is not a saved {kind}, or is damaged: {said}.") from error
    finally:
        file.seek(start)


def names_in(file: File) -> list[str]:
    """Names of the members of a zip; none for another file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except BROKEN:
        return []
    finally:
        if not isinstance(file, (str, Path)):
            file.seek(0)


def _members(file: Any, kind: str, allowed: str) -> dict[str, bytes]:
    length = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if len({info.filename for info in infos}) != len(infos):
            names = [info.filename for info in infos]
            raise ValueError(f"the member {next(name for name in names if names.count(name) > 1)} is there twice")
        for info in infos:  # before anything is unpacked
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
                raise ValueError(f"the member {info.filename} is compressed or encrypted ({info.file_size} bytes)")
            if info.filename.endswith(".json") and info.file_size > LONGEST_JSON:
                raise ValueError(f"the member {info.filename} has {info.file_size} bytes, more than {LONGEST_JSON}")
            if info.filename != MANIFEST and not re.fullmatch(allowed, info.filename):
                raise ValueError(f"a {kind} has no member {info.filename!r}")
        if sum(info.file_size for info in infos) > length:
            raise ValueError("its members are longer than the file")
        if MANIFEST not in archive.namelist():
            raise ValueError(f"it has no member {MANIFEST}")
        manifest = json_from(_read(archive, MANIFEST), MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("format") != f"coagent_rl {kind} 1":
            raise ValueError(f"the member {MANIFEST} does not describe a {kind} that this version reads")
        sums = manifest.get("sha256")
        there = {info.filename for info in infos} - {MANIFEST}
        if not isinstance(sums, dict) or set(sums) != there:
            wrong = sorted(there ^ set(sums if isinstance(sums, dict) else ()))
            raise ValueError(f"the member {', '.join(wrong[:3])} is missing, or not in {MANIFEST}")
        members = {member: _read(archive, member) for member in sums}
    for member, content in members.items():
        if hashlib.sha256(content).hexdigest() != sums[member]:
            raise ValueError(f"the member {member} is not as it was saved: its SHA-256 sum differs")
    return members


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except BROKEN as error:
        raise ValueError(f"the member {name} cannot be read: {error}") from error


def json_from(content: bytes, name: str) -> Any:
    """Read a JSON member.

    Raises:
        ValueError: naming it, if it is none; NaN and infinity, which Python would read, are not JSON.
    """
    try:
        return json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the member {name} is not JSON: {error}") from error


def _refuse(name: str) -> Any:
    raise ValueError(f"it has the value {name}")
