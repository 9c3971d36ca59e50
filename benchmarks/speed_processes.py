"""Two threads side by side, start-up, peak memory, and programs from outside."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.speed_contenders import COMPILED, Contender, agent_settings, contenders
from coagent_rl.registry import algorithm_class

ROOT = Path(__file__).parents[1]
TASK = "CartPole-v1"
ANCHORS = ("A2C", "weight_max", "map_prop")
"""What programs from outside are timed beside."""

FIRST_STEP = f"""
from coagent_rl import WeightMax
WeightMax("MlpPolicy", "{TASK}", seed=0).learn(1)
"""

PEAK = """
import resource, sys
from pathlib import Path
def peak():
    # The kernel's own mark of this process: getrusage would count what the parent had when it made this one.
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""


def _learn_program(name: str) -> str:
    if name == "A2C":
        return f'from stable_baselines3 import A2C\nA2C("MlpPolicy", "{TASK}", device="cpu").learn(2_000)'
    kind = algorithm_class(name).__name__
    return f'from coagent_rl import {kind}\n{kind}("MlpPolicy", "{TASK}").learn(20_000)'


PROGRAMS = {
    "import stable_baselines3": "import stable_baselines3",
    "A2C": _learn_program("A2C"),
    **{name: _learn_program(name) for name in ("weight_max", "map_prop", "decentralized_ddpg")},
}
"""What peak memory is measured of, in a process each."""


# ---------------------------------------------------------------------- threads


def _train_seconds(models: list[Any], n_steps: int) -> tuple[float, float]:
    """Seconds by the clock and of the process, while each model learns in a thread of its own."""
    threads = [Thread(target=model.learn, args=(n_steps,), kwargs={"reset_num_timesteps": False}) for model in models]
    started, process = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, time.process_time() - process


def measure_threads(n_rounds: int, seconds: float) -> dict[str, Any]:
    """Train one Weight Max, then two side by side, in every round.

    Returns:
        ``"one"`` and ``"two"``: seconds by the clock and of the process, a pair a round; the two take twice as many steps.
    """
    models = [
        algorithm_class("weight_max")("MlpPolicy", TASK, seed=seed, **agent_settings("weight_max", TASK)).learn(20_000)
        for seed in (0, 1)
    ]
    started = time.process_time()
    models[0].learn(20_000, reset_num_timesteps=False)
    n_steps = max(20_000, round(20_000 * seconds / (time.process_time() - started)))
    times: dict[str, Any] = {"steps": n_steps, "one": [], "two": []}
    for _ in range(n_rounds):
        times["one"].append(_train_seconds(models[:1], n_steps))
        times["two"].append(_train_seconds(models, n_steps))
    return times


# ---------------------------------------------------------------------- start-up


def _run(code: list[str], **environment: str) -> tuple[str, float, float]:
    """Run Python; returns its output, seconds by the clock and seconds of the process, from its start to its end."""
    before = os.times()
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *code], check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )
    clock, after = time.perf_counter() - started, os.times()
    process = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, clock, process


def measure_start_up(n_rounds: int, cold: bool) -> dict[str, Any]:
    """Start programs anew.

    Args:
        cold: whether one start without machine code on disk is measured too.

    Returns:
        Of ``"help"`` (``train.py --help``), ``"warm"`` and, if asked for, ``"cold"`` (a program that imports, makes an agent
        and learns one step): seconds by the clock and of the process, from its start to its end, a pair a round.
    """
    with tempfile.TemporaryDirectory() as cache:
        folder = cache if cold else os.environ.get("NUMBA_CACHE_DIR", "")
        first = _run(["-c", FIRST_STEP], NUMBA_CACHE_DIR=folder)[1:]
        warm = [_run(["-c", FIRST_STEP], NUMBA_CACHE_DIR=folder)[1:] for _ in range(n_rounds)]
    helps = [_run(["train.py", "--help"])[1:] for _ in range(n_rounds)]
    return {"help": helps, "warm": warm, **({"cold": [first]} if cold else {})}


def measure_memory() -> dict[str, int]:
    """Peak memory of programs, in bytes."""
    return {name: int(_run(["-c", f"{PEAK}\n{program}\nprint(peak())"])[0]) for name, program in PROGRAMS.items()}


# ---------------------------------------------------------------------- programs from outside


def read_outsiders(words: list[str]) -> dict[str, list[str]]:
    """Read ``name=command`` words.

    Raises:
        ValueError: for a word without a name or a command.
    """
    commands = {}
    for word in words:
        name, _, command = word.partition("=")
        if not name or not command.strip():
            raise ValueError(f"An outsider is name=command, not {word!r}.")
        commands[name] = shlex.split(command)
    return commands


def measure_outsiders(commands: Mapping[str, list[str]], n_rounds: int, seconds: float) -> dict[str, Any]:
    """Time commands whose last line of output is ``steps seconds``, in rounds with agents of ours and A2C on CartPole.

    Returns:
        Name → microseconds a step, one number a round; those of A2C and of the compiled agents under ``"beside"``.

    Raises:
        ValueError: for a command that fails or prints something else.
    """
    if not commands:
        return {}
    beside: list[Contender] = [
        other for other in contenders(TASK, [1], ANCHORS) if other.road == COMPILED or other.name == "A2C"
    ]
    for other in beside:
        other.prepare(0, seconds)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(n_rounds):
        for name, command in commands.items():
            times[name].append(_outsider_microseconds(name, command))
        for other in beside:
            other.measure()
    return {**times, "beside": [other.record() for other in beside]}


def _outsider_microseconds(name: str, command: list[str]) -> float:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"The outsider {name!r} failed: {error}. {getattr(error, 'stderr', '')}") from error
    try:
        steps, seconds = map(float, done.stdout.split()[-2:])
    except ValueError as error:
        raise ValueError(f"The outsider {name!r} must print 'steps seconds' last, not {done.stdout[-200:]!r}.") from error
    if not (steps > 0 and seconds > 0):
        raise ValueError(f"The outsider {name!r} printed {steps:g} steps in {seconds:g} seconds; both must be positive.")
    return seconds / steps * 1e6
