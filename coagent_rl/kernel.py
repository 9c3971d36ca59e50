"""How every compiled function of the package is compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy.typing as npt
from numba import config, njit
from numba.extending import register_jitable

from coagent_rl.kept import PARTS, KeptCode

Array = npt.NDArray[Any]
"""Any array that a kernel takes; its docstring says which."""

F = TypeVar("F", bound=Callable[..., Any])
_PACKAGE = Path(__file__).parent


def kernel(function: F) -> F:
    """Compile a module-level function of arrays and scalars, and keep the machine code on disk.

    Only two of the fast-math licences are given: sums may be reordered and a multiplication may be fused with an
    addition, which lets dot products use vector instructions. The others would let the compiler assume that no NaN and
    no infinity occurs, which silently ruins learning.

    A function closed over another compiled function, or taking one as an argument, is compiled anew in every process:
    compose kernels by name at module level.
    """
    return _compiled(function, fastmath={"contract", "reassoc"}, forceinline=True)


def part(function: F) -> F:
    """Make a function a part of kernels, compiled as they are; called from Python it runs as plain Python.

    A part has no entry from Python, which for functions of many arrays costs more to compile than what they do.
    """
    if not config.DISABLE_JIT:  # type: ignore[attr-defined]
        options = {"fastmath": {"contract", "reassoc"}, "forceinline": True, "error_model": "numpy"}
        # Outside the package the machine code is kept as a part of the kernels alone, which know what they consist of.
        register_jitable(cache=_is_of_the_package(function) and _is_kept(function), **options)(function)
        PARTS.add(function)
    return function


def releasing_kernel(function: F) -> F:
    """Compile a function as `kernel` does, which runs without the interpreter's lock: several may run in threads."""
    return _compiled(function, fastmath={"contract", "reassoc"}, nogil=True)


def exact_kernel(function: F) -> F:
    """Compile a function as `kernel` does, but without any fast-math licence, so that it rounds as Python and NumPy do.

    For twins of environments written in Python: a fused multiply-add would change the bits. The function runs without the
    interpreter's lock. (The empty set of licences must be said: a function that says nothing inherits its first caller's.)
    """
    return _compiled(function, fastmath=set(), nogil=True)


def _compiled(function: F, **options: Any) -> F:
    """Compile a function with numba's options, and keep its machine code on disk for as long as it is up to date.

    With the environment variable ``NUMBA_DISABLE_JIT=1`` it is the function itself, which a debugger can enter.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    is_ours = _is_of_the_package(function)
    compiled: Any = njit(cache=is_ours and _is_kept(function), error_model="numpy", **options)(function)
    if not is_ours:
        with suppress(RuntimeError):  # numba finds no folder to keep it in
            compiled._cache = KeptCode(function)
    return cast(F, compiled)


def _is_of_the_package(function: Any) -> bool:
    return _PACKAGE in Path(function.__code__.co_filename).parents


def _is_kept(function: Any) -> bool:
    """Whether there is a folder in which a function's machine code can be kept; what is out of date there is thrown away.

    Numba notices a change of the function's own file only, not of the functions that it calls. So machine code of the
    package is thrown away here if any of its files with kernels in it is newer. (That of functions outside the package
    finds by its name what belongs to it, see `coagent_rl.kept`.)
    """
    try:
        probe: Any = njit(cache=True)(function)
    except RuntimeError:  # numba finds no such folder
        return False
    source = Path(function.__code__.co_filename)
    for index in Path(probe.stats.cache_path).glob(f"{source.stem}.{function.__qualname__}-*.nbi"):
        try:
            if index.stat().st_mtime < _last_change():
                index.unlink()
        except OSError:  # another process was faster, or the folder is read-only
            continue
    return True


@cache
def _last_change() -> float:
    return max(file.stat().st_mtime for file in _PACKAGE.rglob("*.py") if b"kernel" in file.read_bytes())


@part
def copy(source: Array, target: Array) -> None:
    """Copy a vector, entry by entry: an assignment of slices costs a second of compiling, for its error message."""
    for k in range(target.size):
        target[k] = source[k]


TINY = 1e-18
"""Traces, gradients and running means of gradients below this are set to zero, running means of squares below its square.

Left alone they decay into subnormal floats, with which the processor computes twenty times slower. The optimizers' ε of
1e-8 makes anything so small ineffective long before.
"""


@kernel
def flush(x: float, tiny: float, zero: float) -> float:
    """Return x, or zero where |x| ≤ tiny (both of x's type, so that a loop over this becomes vector instructions).

    NaN stays NaN: it must be noticed, not flushed away.
    """
    return zero if abs(x) <= tiny else x
