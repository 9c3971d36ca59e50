"""Files that are not as they were saved: damage of every kind, and nonsense with right sums."""

import io
import json
import zipfile
from collections.abc import Iterator

import numpy as np

from coagent_rl.archive import MANIFEST, array_bytes, json_bytes, write_archive

NONSENSE = (
    None,
    True,
    -1,
    0,
    7,
    2**31,
    10**30,
    -1e308,
    0.5,
    "",
    "x",
    "../../x",
    [],
    [1, "x"],
    {},
    {"is": "nothing"},
    {"is": "array", "index": -1},
    {"is": "array", "index": 10**9},
    {"is": "array", "index": "x"},
    {"is": "number", "index": 0},
    {"is": "float", "value": "nan"},
    {"is": "float", "value": "inf"},
    {"is": "dict", "items": [[[], 1]]},
    {"is": "dict", "items": 3},
    {"is": "deque", "items": [], "longest": -1},
    {"is": "generator", "state": {}},
    {"is": "generator", "state": {"bit_generator": "PCG64", "state": 3}},
    {"is": "noise", "rng": 3, "cursor": -5, "last": None},
    {"is": "record", "kind": "Discrete", "n": -3, "start": 0, "dtype": "<i8"},
    {"is": "record", "kind": "Box", "low": 0, "high": 1, "dtype": "|O"},
    {"is": "record", "kind": "Dict", "spaces": [["a", 3]]},
    {"is": "record", "kind": "LinearSchedule", "start": "x", "end": 0, "steps": 0},
    {"is": "class", "name": "CoagentPolicy"},
)
"""What may stand where something else stood."""


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with checksums that are right, and the manifest that there was."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_sums(members: dict[str, bytes]) -> bytes:
    """A file whose sums are right, whatever its members are: what someone who means harm would write."""
    buffer = io.BytesIO()
    write_archive(buffer, {name: content for name, content in members.items() if name != MANIFEST}, "model")
    return buffer.getvalue()


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return bytes(damaged)


def damaged(
    whole: bytes, others: list[bytes], libraries: list[bytes], rng: np.random.Generator, n: int
) -> Iterator[tuple[str, bytes]]:
    """Kinds and contents of ``n`` files that are not as they were saved: none may be taken for another model.

    Args:
        others: whole files of other runs.
        libraries: of other libraries.
    """
    members, size = members_of(whole), len(whole)
    names = [name for name in members if name != MANIFEST]
    foreign = [members_of(other) for other in (*others, *libraries)]
    for k in range(n):
        name, another = (str(one) for one in rng.choice(names, 2, replace=False))
        at, other = int(rng.integers(size)), foreign[k % len(foreign)]
        kinds = {
            "bit": lambda: flipped(whole, rng),
            "bits": lambda at=at: whole[:at] + rng.bytes(16) + whole[at + 16 :],
            "truncated": lambda at=at: whole[:at],
            "head cut": lambda at=at: whole[at:],
            "cut out": lambda at=at: whole[:at] + whole[at + int(rng.integers(1, 99)) :],
            "doubled": lambda at=at: whole[:at] + whole[max(0, at - 50) :],
            "zeros": lambda at=at: whole[:at] + bytes(64) + whole[at + 64 :],
            "recomputed CRC": lambda name=name: zipped({**members, name: flipped(members[name], rng)}),
            "swapped": lambda name=name, another=another: zipped(
                {**members, name: members[another], another: members[name]}
            ),
            "renamed": lambda name=name: zipped({("x" + key if key == name else key): c for key, c in members.items()}),
            "missing": lambda name=name: zipped({key: c for key, c in members.items() if key != name}),
            "of another run": lambda name=name, other=other: zipped({**members, name: other.get(name, b"")}),
            "another manifest": lambda other=other: zipped({**members, MANIFEST: other.get(MANIFEST, b"{}")}),
            "another library": lambda k=k: libraries[k % len(libraries)],
            "bomb": lambda name=name: zipped({**members, name: bytes(2_000_000)}, zipfile.ZIP_DEFLATED),
            "traversal": lambda k=k: with_sums({**members, ("../" * (1 + k % 3)) + "etc/passwd": b"x"}),
            "NaN": lambda: with_sums({**members, **{key: not_finite(members[key], rng) for key in parameters(names)}}),
            "empty": lambda: b"",
        }
        kind = list(kinds)[k % len(kinds)]
        yield kind, kinds[kind]()


def parameters(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("parameters/policy/")]


def not_finite(content: bytes, rng: np.random.Generator) -> bytes:
    array = np.load(io.BytesIO(content)).copy()
    array.reshape(-1)[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
    return array_bytes(array)


def nonsensical(whole: bytes, rng: np.random.Generator, n: int) -> Iterator[tuple[str, bytes]]:
    """What was changed, and contents, of ``n`` files whose sums are right, but in which something makes no sense."""
    members = members_of(whole)
    arrays = [name for name in members if name.endswith(".npy")]
    for k in range(n):
        if k % 4 == 0:
            name = str(rng.choice(arrays))
            array = np.load(io.BytesIO(members[name]))
            with np.errstate(invalid="ignore"):  # of numbers that another type does not have
                changes = {
                    "none of it": array.reshape(-1)[:0],
                    "empty rows": np.zeros((0, *array.shape[1:]), array.dtype),
                    "longer": np.concatenate([array.reshape(-1), array.reshape(-1)]),
                    "NaN": np.full(array.shape, np.nan, array.dtype if array.dtype.kind == "f" else np.float64),
                    "huge": np.full(array.shape, 2.0**62).astype(array.dtype),
                    "negative": (-1 - np.abs(array.astype(np.float64))).astype(array.dtype),
                    "other type": array.astype(np.uint8),
                    "complex depth": array.reshape((*array.shape, 1)),
                    "wide type": array.astype(np.longdouble),
                }
            what = list(changes)[k // 4 % len(changes)]
            yield f"{name}: {what}", with_sums({**members, name: array_bytes(changes[what])})
        else:
            data = json.loads(members["data.json"])
            places = list(places_in(data))
            path = places[rng.integers(len(places))]
            value = NONSENSE[rng.integers(len(NONSENSE))]
            holder = data
            for key in path[:-1]:
                holder = holder[key]
            if k % 16 == 1:
                del holder[path[-1]]
                what = f"{path}: gone"
            else:
                holder[path[-1]] = value
                what = f"{path}: {value!r}"
            yield what, with_sums({**members, "data.json": json_bytes(data)})


def places_in(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Ways to all values in a JSON tree."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*path, key)
        yield from places_in(item, (*path, key))
