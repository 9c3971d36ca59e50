"""How fast everything is, in one paired run: ``python -m benchmarks.speed`` (``make bench``).

In every round all contenders of a task take their transitions, one after the other: bare loops with random actions, every
agent compiled and step by step, Stable-Baselines3's A2C, PPO, DQN and DDPG; then learning steps of networks of many sizes
beside two ways through memory, and two threads beside one. Compared is within a round, in process time of one thread, and
the medians of these ratios are reported: a machine whose speed drifts, or that others use too, does not matter much.

A whole run writes ``benchmarks/results/speed.json`` (every round's numbers), ``speed.md``, ``speed.png`` and the tables in
``docs/speed.md``; one that leaves something out writes to ``logs/speed`` instead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coagent_rl.files import check_writable, write_whole

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "speed.md"
QUICK_NAMES = ("DummyVecEnv + Monitor", "SerialVecEnv + Monitor", "CompiledVecEnv", "A2C", "weight_max", "map_prop")
QUICK_SIZES = [(64, 2), (256, 2), (1024, 2)]


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measure_tasks(
    tasks: Sequence[str], n_envs: Sequence[int], only: Sequence[str], n_rounds: int, n_steps: int, seconds: float
) -> list[dict[str, Any]]:
    """Time all contenders of every task in rounds; returns their records."""
    from benchmarks.speed_contenders import contenders

    records = []
    for task in tasks:
        started = time.perf_counter()
        there = contenders(task, n_envs, only)
        for contender in there:
            contender.prepare(n_steps, seconds)
        for _ in range(n_rounds):
            for contender in there:
                contender.measure()
        records += [contender.record() for contender in there]
        print(f"{task}: {len(there)} contenders, {time.perf_counter() - started:.0f} s", flush=True)
        for contender in there:
            if contender.why_not is not None:
                print(f"  not {contender.name}, {contender.road}, {contender.n_envs}: {contender.why_not}", flush=True)
    return records


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what the command line asks for."""
    import torch as th

    from benchmarks import speed_parts, speed_processes, speed_weights
    from benchmarks.speed_contenders import N_ENVS
    from coagent_rl.training.run import versions

    th.set_num_threads(1)
    quick, n_rounds = arguments.quick, arguments.rounds or (3 if arguments.quick else 5)
    seconds = 0.05 if quick else 0.12
    outsiders = speed_processes.read_outsiders(arguments.outsider)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    results: dict[str, Any] = {
        "command": "python -m benchmarks.speed" + (f" {' '.join(arguments.words)}" if arguments.words else ""),
        "rounds": n_rounds,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load": load, "versions": versions()},
    }
    n_envs = (1, 8) if quick else N_ENVS
    results["contenders"] = measure_tasks(
        arguments.tasks, n_envs, arguments.only or (QUICK_NAMES if quick else ()), n_rounds, arguments.steps, seconds
    )
    if not arguments.only:
        results["parts"] = speed_parts.measure(n_rounds, seconds)
        sizes = [(width, speed_weights.DEPTH) for width in speed_weights.WIDTHS]
        sizes += [(speed_weights.WIDTH, depth) for depth in speed_weights.DEPTHS if depth != speed_weights.DEPTH]
        results["weights"] = speed_weights.measure(n_rounds, seconds / 2, QUICK_SIZES if quick else sizes)
        results["threads"] = speed_processes.measure_threads(n_rounds, 0.5 if quick else 2.0)
        results["start_up"] = speed_processes.measure_start_up(n_rounds, cold=not quick)
        if not quick:
            results["memory"] = speed_processes.measure_memory()
    if outsiders:
        results["outsiders"] = speed_processes.measure_outsiders(outsiders, n_rounds, seconds)
    return results


def write(results: dict[str, Any], folder: Path, page: Path | None) -> None:
    """Write the JSON, the tables, the figure and, where it is given, the tables of a page."""
    from benchmarks.speed_report import draw, filled, markdown

    text = _numbers_in_a_line(json.dumps(results, indent=1, ensure_ascii=False, default=list)) + "\n"
    results = json.loads(text)  # as whoever reads the file finds it
    write_whole(folder / "speed.json", lambda beside: beside.write_text(text, encoding="utf-8"))
    write_whole(folder / "speed.md", lambda beside: beside.write_text(markdown(results), encoding="utf-8"))
    draw(results, folder / "speed.png")
    if page is not None:
        made = filled(page.read_text(encoding="utf-8"), results)
        write_whole(page, lambda beside: beside.write_text(made, encoding="utf-8"))


def _numbers_in_a_line(text: str) -> str:
    """Put lists of numbers in one line each, with five digits."""
    import re

    def line(match: re.Match[str]) -> str:
        return "[" + ", ".join(f"{float(number):.5g}" for number in match[1].split(",")) + "]"

    return re.sub(r"\[\s*((?:-?[\d.]+(?:e[-+]?\d+)?,?\s*)+)\]", line, text)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=0, help="number of rounds [5; with --quick 3]")
    p.add_argument("--steps", type=int, default=0, help="transitions of a contender in a round [as many as take 0.12 s]")
    p.add_argument("--only", nargs="+", default=[], metavar="NAME", help="contenders, and nothing else")
    p.add_argument("--tasks", nargs="+", default=[], metavar="ID", help="environments [all four; with --quick CartPole-v1]")
    p.add_argument("--quick", action="store_true", help="a minute: a few contenders, sizes and rounds, no cold start")
    p.add_argument(
        "--outsider",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="time a command too that prints 'steps seconds'; it appears in the JSON only",
    )
    p.add_argument("--output", type=Path, metavar="FOLDER", help="where the files go [benchmarks/results; parts logs/speed]")
    arguments = p.parse_args(argv)
    arguments.words = list(sys.argv[1:] if argv is None else argv)
    from benchmarks.speed_contenders import TASKS, known_names
    from benchmarks.speed_processes import read_outsiders

    if unknown := [name for name in arguments.only if name not in (names := known_names())]:
        p.error(f"--only: unknown {', '.join(unknown)}; there are {', '.join(names)}")
    if unknown := [task for task in arguments.tasks if task not in TASKS]:
        p.error(f"--tasks: unknown {', '.join(unknown)}; there are {', '.join(TASKS)}")
    for name in ("rounds", "steps"):
        if getattr(arguments, name) < 0:
            p.error(f"--{name} must not be negative")
    try:
        read_outsiders(arguments.outsider)
    except ValueError as error:
        p.error(str(error))
    is_whole = not (arguments.only or arguments.tasks or arguments.quick)
    arguments.tasks = arguments.tasks or (["CartPole-v1"] if arguments.quick else list(TASKS))
    folder = arguments.output or (RESULTS if is_whole else Path("logs") / "speed")
    check_writable(folder / "speed.json", "--output")
    started = time.perf_counter()
    results = measure(arguments)
    write(results, folder, PAGE if is_whole and arguments.output is None else None)
    print((folder / "speed.md").read_text(encoding="utf-8"))
    print(f"{time.perf_counter() - started:.0f} s; written to {folder}.")


if __name__ == "__main__":
    main()
