"""The package as it is installed: its files, its compiled kernels, its lazy imports."""

import email
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import coagent_rl
from tests.plain_python import printed_by

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that the checkout stays clean."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "coagent_rl", source / "coagent_rl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", target, source]
    subprocess.run(command, check=True, cwd=source)
    return next(target.glob("*.whl"))


def test_wheel_contents(wheel) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "coagent_rl/py.typed" in names
    for path in (ROOT / "coagent_rl").rglob("*"):
        if path.suffix in (".py", ".yml", ".html", ".css", ".js"):
            assert path.relative_to(ROOT).as_posix() in names
    assert all(name.split("/")[0] == "coagent_rl" or ".dist-info/" in name for name in names)


def test_wheel_metadata(wheel) -> None:
    """The version stands in the package alone; the licence goes with it."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Version"] == coagent_rl.__version__
    assert metadata["License-Expression"] == "MIT"
    assert name.replace("METADATA", "licenses/LICENSE") in archive.namelist()


def test_installed_package_works_outside_the_checkout(wheel, tmp_path) -> None:
    """As `pip install` would leave it, with the dependencies that are here, in a folder without the checkout.

    As plain Python: there is no machine code for files of this place, and compiling it anew would show nothing more.
    """
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
    subprocess.run(command, check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import coagent_rl; from coagent_rl import train;"
        f"assert coagent_rl.__file__.startswith({str(site)!r});"
        "sys.exit(train.main(['-n', '30', '--final-eval-episodes', '0', '-f', 'logs']))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    assert (tmp_path / "logs/weight_max/CartPole-v1_1/CartPole-v1.zip").exists()


def test_links_at_the_root() -> None:
    for name in ("agents", "envs"):
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).readlink() == Path("coagent_rl") / name


LEARN = """
import json
from numba.core.registry import CPUDispatcher
from coagent_rl import Reinforce, WeightMax
for agent in (WeightMax, Reinforce):
    agent("MlpPolicy", "CartPole-v1", seed=0).learn(20)
from coagent_rl.credit.weight_max import learn_weight_max
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.critics.td_lambda import td_lambda
from coagent_rl.agents.block import train_block
kernels = (learn_weight_max, learn_reinforce, td_lambda, train_block)
print(json.dumps([[sum(k.stats.cache_hits.values()), sum(k.stats.cache_misses.values())] for k in kernels]))
"""


def test_kernels_are_found_in_the_cache_by_a_second_process() -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", LEARN], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [[1, 0]] * 4


def test_an_edited_callee_is_compiled_into_its_callers(tmp_path) -> None:
    """Numba alone would go on with the machine code of the old rule."""
    (tmp_path / "rule.py").write_text("from coagent_rl.kernel import kernel\n\n@kernel\ndef rule(x):\n    return x + 1.0\n")
    (tmp_path / "agent.py").write_text(
        "from coagent_rl.kernel import kernel\nfrom rule import rule\n\n@kernel\ndef agent(x):\n    return rule(x)\n"
    )
    call = [sys.executable, "-B", "-c", "from agent import agent; print(agent(1.0), sum(agent.stats.cache_hits.values()))"]

    def output() -> str:
        return subprocess.run(call, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()

    assert output() == "2.0 0"
    assert output() == "2.0 1"
    (tmp_path / "rule.py").write_text((tmp_path / "rule.py").read_text().replace("1.0", "5.0"))
    assert output() == "6.0 0"


def test_an_edited_callee_is_compiled_into_the_parts_that_call_it(tmp_path) -> None:
    """Machine code of parts lies on disk too."""
    (tmp_path / "rule.py").write_text("from coagent_rl.kernel import part\n\n@part\ndef rule(x):\n    return x + 1.0\n")
    for caller, callee, kind in (("sweep", "rule", "part"), ("agent", "sweep", "kernel")):
        (tmp_path / f"{caller}.py").write_text(
            f"from coagent_rl.kernel import {kind}\nfrom {callee} import {callee}\n\n"
            f"@{kind}\ndef {caller}(x):\n    return {callee}(x)\n"
        )

    def output() -> str:
        call = [sys.executable, "-B", "-c", "from agent import agent; print(agent(1.0))"]
        return subprocess.run(call, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()

    assert output() == "2.0"
    (tmp_path / "rule.py").write_text((tmp_path / "rule.py").read_text().replace("1.0", "5.0"))
    assert output() == "6.0"


NO_FOLDER = """
from coagent_rl.kernel import kernel, part

@part
def rule(x):
    return x + 1.0

@kernel
def agent(x):
    return rule(x)

print(agent(1.0))
"""


def test_kernels_and_parts_without_a_folder_for_their_machine_code() -> None:
    """Code from no file has none: it is compiled all the same."""
    done = subprocess.run([sys.executable, "-c", NO_FOLDER], check=True, capture_output=True, text=True)
    assert done.stdout == "2.0\n"


PLAIN = """
from coagent_rl.kernel import flush
from coagent_rl.registry import ALGORITHMS, algorithm_class
assert {jit} == hasattr(flush, "py_func")
for name in ALGORITHMS:
    model = algorithm_class(name)("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs=dict(net_arch=[3, 2])).learn(12)
    print(name, *(f"{{value:.4f}}" for value in model.policy.actor.parameters))
"""


def test_kernels_run_as_plain_python_too() -> None:
    """So that a debugger can enter them; and they compute the same."""
    printed = [printed_by(PLAIN, jit) for jit in (False, True)]
    assert printed[0] == printed[1]
    assert printed[0].startswith("weight_max ")


def test_unknown_attribute() -> None:
    assert set(coagent_rl.__all__) <= set(dir(coagent_rl))
    with pytest.raises(AttributeError, match="no attribute 'WeightMin'"):
        _ = coagent_rl.WeightMin
