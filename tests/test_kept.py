"""Machine code of functions outside the package is used for the same constants and callees only."""

import enum
import json
import math
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest

from coagent_rl.arrays import named
from coagent_rl.kept import fingerprint
from coagent_rl.kernel import flush, kernel

SETTINGS = "SCALE = 2.0\nPOINTS = (1.0, 2.0)\n"
HELPER = """
from coagent_rl.kernel import kernel, part

@part
def half(x):
    return 0.5 * x

@kernel
def helped(x):
    return half(x) + 10.0
"""
RULE = """
import os
import numpy as np
import settings
from settings import SCALE
from lib.helper import helped
from coagent_rl.kernel import kernel

BETA = float(os.environ.get("BETA", "0"))
TABLE = np.array([BETA, 1.0])

@kernel
def constant(x):
    return x + BETA

@kernel
def array(x):
    return x + TABLE[0]

@kernel
def imported(x):
    return x * SCALE

@kernel
def of_a_module(x):
    return x * settings.SCALE + settings.POINTS[1]

@kernel
def calls(x):
    return helped(x) + constant(x)

@kernel
def untouched(x):
    return np.exp(x) * np.float32(0.0)
"""
ASK = """
import json, rule
names = ("constant", "array", "imported", "of_a_module", "calls", "untouched")
found = {name: [getattr(rule, name)(1.0), sum(getattr(rule, name).stats.cache_hits.values())] for name in names}
print(json.dumps(found))
"""


def run(code: str, folder: Path, **environment: str) -> str:
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "lib").mkdir()
    for name, text in (("settings.py", SETTINGS), ("lib/helper.py", HELPER), ("rule.py", RULE)):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_other_values_and_other_code_are_compiled_anew(folder) -> None:
    def ask(beta: str) -> dict[str, list[float]]:
        return json.loads(run(ASK, folder, BETA=beta))

    first = ask("0")
    assert {name: value for name, (value, _) in first.items()} == {
        "constant": 1.0,
        "array": 1.0,
        "imported": 2.0,
        "of_a_module": 4.0,
        "calls": 11.5,
        "untouched": 0.0,
    }
    assert not any(hits for _, hits in first.values())
    other = ask("5")  # a variable of the environment
    assert [other[name] for name in ("constant", "array", "calls")] == [[6.0, 0], [6.0, 0], [16.5, 0]]
    assert [other[name][1] for name in ("imported", "of_a_module", "untouched")] == [1, 1, 1]
    (folder / "settings.py").write_text(SETTINGS.replace("2.0", "3.0"))  # a file without a kernel
    (folder / "lib" / "helper.py").write_text(HELPER.replace("0.5", "1.5"))  # a part of a kernel in a subfolder
    edited = ask("0")
    assert [edited[name] for name in ("imported", "of_a_module", "calls")] == [[3.0, 0], [6.0, 0], [12.5, 0]]
    assert [edited[name] for name in ("constant", "array", "untouched")] == [[1.0, 1], [1.0, 1], [0.0, 1]]
    assert [hits for _, hits in ask("5").values()] == [1, 1, 1, 1, 0, 1]  # nobody threw away what was another's
    assert all(hits for _, hits in ask("5").values())


def test_a_constant_that_changes_in_a_process_is_not_kept_under_its_new_value(folder) -> None:
    """What is compiled keeps the old value, also as a part of what is compiled later."""
    changed = "import rule\nrule.constant(1.0)\nrule.BETA = 7.0\nassert rule.calls(1.0) == 11.5"
    run(changed, folder)
    assert json.loads(run(ASK, folder, BETA="7"))["calls"] == [18.5, 0]


UNKNOWN = """
from numba.extending import register_jitable
from coagent_rl.kernel import kernel
from coagent_rl.kept import MOST_KEPT, fingerprint

@register_jitable
def any_code(x):
    return x

@kernel
def rule(x):
    return any_code(x)

if __name__ == "__main__":
    print(rule(1.0), fingerprint(rule.py_func))
"""


def test_nothing_is_kept_of_what_is_not_known(tmp_path) -> None:
    (tmp_path / "unknown.py").write_text(UNKNOWN)
    for _ in range(2):
        assert run("import runpy; runpy.run_path('unknown.py', run_name='__main__')", tmp_path) == "1.0 None\n"
    assert not list(tmp_path.rglob("*.nbc"))


MANY = """
import sys
from pathlib import Path
from coagent_rl import kept
import constant
kept.MOST_KEPT = 2
for number in range(4):
    constant.RATE = float(number)
    kept._FIRST.clear()
    constant.rule.recompile() if constant.rule.signatures else constant.rule(1.0)
    assert constant.rule(1.0) == 1.0 + number
print(len(list(Path().rglob("*.nbi"))), len(list(Path().rglob("*.nbc"))))
"""


def test_the_oldest_machine_code_is_forgotten(tmp_path) -> None:
    code = "from coagent_rl.kernel import kernel\nRATE = 0.0\n\n@kernel\ndef rule(x):\n    return x + RATE\n"
    (tmp_path / "constant.py").write_text(code)
    assert run(MANY, tmp_path) == "2 2\n"


class Point(NamedTuple):
    x: int
    y: int


class Other(NamedTuple):
    x: int
    z: int


Colour = enum.IntEnum("Colour", ["RED", "BLUE"])
Shade = enum.IntEnum("Shade", {"RED": 5, "BLUE": 6})


@kernel
def one(x):
    return x


@kernel
def two(x):
    return 2.0 * x


def module(name: str, **attributes: object) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(attributes)
    return made


def reader(value: object, code: str = "lambda x: x + VALUE.a.b") -> Callable[..., object]:
    return eval(code, {"VALUE": value, "__name__": "reader"})


@pytest.mark.parametrize(
    "values",
    [
        (1, 2, 1.0, True, None),
        (0.0, -0.0, 0j, float("nan")),
        ("a", "b", b"a"),
        ((1, 2), (1, 3), (1, (2,)), Point(1, 2), Other(1, 2)),
        (np.zeros(2), np.ones(2), np.zeros(2, np.float32), np.zeros((1, 2)), np.float64(0.0), np.float32(0.0)),
        (np.zeros((2, 2)), np.asfortranarray(np.zeros((2, 2)))),
        (np.dtype("f4"), np.dtype("f8"), numba.float32, numba.float64, np.float32, np.float64),
        (np.sin, np.cos, math.sin, np.clip, np, math),
        (Colour.RED, Colour.BLUE, Colour, Shade),
        (one, two, flush, named, Point, Other),
        (module("m", a=1), module("m", a=2), module("m", a=module("n", b=1)), module("m", a=module("n", b=2))),
    ],
)
def test_another_value_has_another_fingerprint(values) -> None:
    found = [fingerprint(reader(value)) for value in values]
    assert None not in found
    assert len(set(found)) == len(values)
    assert found == [fingerprint(reader(value)) for value in values]


def test_code_closures_and_defaults_belong_to_the_fingerprint() -> None:
    codes = [
        "x + VALUE",
        "x - VALUE",
        "(lambda y: y + VALUE)(x)",
        "(lambda y: y - VALUE)(x)",
        "x + 1 * VALUE",
        "x + 2 * VALUE",
    ]
    made = [reader(1.0, f"lambda x: {code}") for code in codes]
    made += [reader(1.0, f"lambda x, y={number}: x + VALUE") for number in (1, 2)]
    made += [reader(1.0, f"lambda x, *, y={number}: x + VALUE") for number in (1, 2)]
    made += [reader(1.0, f"(lambda y: lambda x: x + y * VALUE)({number})") for number in (1, 2)]
    assert len({fingerprint(function) for function in made} - {None}) == len(made)


def test_what_is_not_known_has_no_fingerprint() -> None:
    first, second = module("first"), module("second")
    first.a, second.b = second, first
    for value in (object(), {"a": 1}, lambda x: x, np.array([None]), numba.vectorize(lambda x: x), first):
        code = "lambda x: x + VALUE" if value is not first else "lambda x: VALUE.a.b.a"
        assert fingerprint(reader(value, code)) is None
