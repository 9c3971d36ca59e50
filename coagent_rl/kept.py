"""Machine code of functions outside the package, kept on disk under a name that says all that went into it.

Numba writes the values of global constants, and the code of the functions that are called, into the machine code of a
function; but it looks for a change in the function's own file only. Here the name of the kept file contains a fingerprint
of all of these, as they are when the function is compiled. So a constant that is read from the environment, from another
file or set by hand never finds the machine code of another value, and processes with different values do not disturb
each other. Where no fingerprint can be made, nothing is kept.
"""

from __future__ import annotations

import enum
import hashlib
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numba import types as numba_types
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

MOST_KEPT = 20
"""Number of fingerprints of one function for which machine code stays on disk: those that were written last."""
PARTS: WeakSet[Callable[..., Any]] = WeakSet()
"""Plain functions that kernels can call, and whose code is theirs. (Numba's others may stand for any code.)"""
_BY_NAME = {"numpy", "numba", "builtins", *sys.stdlib_module_names}
_FIRST: WeakKeyDictionary[Callable[..., Any], bytes] = WeakKeyDictionary()


class KeptCode(FunctionCache):
    """Numba's cache of a function, with a fingerprint in the names of the files."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load what was compiled with the same constants and callees, or return None."""
        mark = fingerprint(self._py_func)
        if mark is None:
            return None
        name = f"{self._impl.filename_base}.{mark}"
        self._cache_file = IndexDataCacheFile(self._cache_path, name, self._impl.locator.get_source_stamp())
        return super().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save what was just compiled, unless it is not known what went into it."""
        if fingerprint(self._py_func) is not None:
            super().save_overload(sig, data)
            self._forget_old_ones()

    def _forget_old_ones(self) -> None:
        folder, base = Path(self._cache_path), self._impl.filename_base
        try:
            for index in sorted(folder.glob(f"{base}.*.nbi"), key=lambda path: path.stat().st_mtime)[:-MOST_KEPT]:
                for file in (index, *folder.glob(f"{index.stem}.*.nbc")):
                    file.unlink()
        except OSError:  # another process was faster
            pass


def fingerprint(function: Callable[..., Any]) -> str | None:
    """What goes into the machine code of a function, in 16 digits: its code and constants, and those of all that it calls.

    Returns:
        None where that cannot be said: where the function depends on an object of an unknown kind, or where something has
        changed since it was first looked at in this process, so that what is compiled already has other values in it.
    """
    found: dict[Callable[..., Any], bytes] = {}
    waiting = [function]
    try:
        while waiting:
            one = waiting.pop()
            if one in found:
                continue
            own = hashlib.sha256("\0".join(_parts_of(one, waiting)).encode()).digest()
            if _FIRST.setdefault(one, own) != own:
                return None
            found[one] = own
    except (_UnknownError, RecursionError):  # the latter for modules that import each other
        return None
    return hashlib.sha256(b"".join(found.values())).hexdigest()[:16]


class _UnknownError(Exception):
    """An object of which it is not known what numba makes of it."""


def _parts_of(function: Callable[..., Any], called: list[Callable[..., Any]]) -> Iterator[str]:
    """Describe a function's code and what it refers to; functions among that by name, and put on the list."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    defaults = (function.__defaults__, *sorted((function.__kwdefaults__ or {}).items()))
    yield from (_name(function), *(_describe(part, called) for part in (function.__code__, defaults, cells)))
    names = sorted(_names(function.__code__))
    for name in names:
        if name in function.__globals__:
            yield f"{name}={_describe(function.__globals__[name], called, names)}"


def _names(code: types.CodeType) -> set[str]:
    """All names of globals and of attributes, also in functions within the function."""
    within = [_names(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*within)


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _describe(value: Any, called: list[Callable[..., Any]], names: Sequence[str] = ()) -> str:
    """Describe a value so that another one is described otherwise.

    Args:
        called: functions that the value refers to are put on this list.
        names: attributes that are read, of whatever; those of modules count.
    """
    kind = type(value).__name__
    if isinstance(value, enum.Enum | enum.EnumMeta):
        return repr(value) if isinstance(value, enum.Enum) else repr(list(value))
    if value is None or value is ... or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{kind} {value!r}"
    if isinstance(value, tuple | list):
        return f"{kind} {getattr(value, '_fields', '')}({','.join(_describe(item, called, names) for item in value)})"
    if isinstance(value, set | frozenset):
        return f"{kind} {sorted(_describe(item, called) for item in value)}"
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        layout = value.shape, value.dtype.descr, value.flags.c_contiguous, value.flags.f_contiguous
        return f"{kind} {layout} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, np.dtype | numba_types.Type):
        return f"{kind} {value}"
    if isinstance(value, types.CodeType):
        shape = value.co_argcount, value.co_kwonlyargcount, value.co_flags, value.co_names, value.co_varnames
        return f"{value.co_code.hex()} {shape} {_describe(value.co_consts, called)}"
    if isinstance(value, Dispatcher):
        called.append(value.py_func)
        options = sorted((name, _describe(option, called)) for name, option in value.targetoptions.items())
        return f"{kind} {_name(value.py_func)} {options} {value.locals}"
    if isinstance(value, types.ModuleType):
        if value.__name__.partition(".")[0] in _BY_NAME:
            return value.__name__
        read = [name for name in names if hasattr(value, name)]
        return f"{value.__name__}({','.join(f'{name}={_describe(getattr(value, name), called, names)}' for name in read)})"
    if isinstance(value, types.FunctionType) and value in PARTS:
        called.append(value)
        return f"{kind} {_name(value)}"
    if isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields"):
        return f"{_name(value)} {value._fields}"
    if isinstance(value, np.ufunc):
        return f"{kind} {value.__name__}"
    # Only functions and classes have a __qualname__, not the objects of these classes.
    if hasattr(value, "__qualname__") and str(value.__module__).partition(".")[0] in _BY_NAME:
        return f"{kind} {_name(value)}"
    raise _UnknownError(value)
