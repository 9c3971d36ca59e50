"""Tables and figure of `benchmarks.speed`, made of its JSON alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.speed_contenders import BARE, COMPILED, OTHERS, STEPS
from benchmarks.speed_parts import WHOLE
from benchmarks.speed_weights import BYTES_A_WEIGHT, DEPTH, WIDTH
from coagent_rl.analysis.known import written_name
from coagent_rl.analysis.style import applied, footnote, save_figure

Results = Mapping[str, Any]
BYTES_OF_TRIAD = 12
_COLOURS = {COMPILED: "#0072B2", STEPS: "#56B4E9", BARE: "#606060", OTHERS: "#E69F00"}
_MARK = re.compile(r"(<!-- speed: (?P<name>[^>]+) -->\n).*?(<!-- end -->)", flags=re.S)


# ---------------------------------------------------------------------- numbers


def microseconds(results: Results, task: str, name: str, road: str, n_envs: int) -> np.ndarray | None:
    """Process time a transition took in every round, or None where it was not measured."""
    for record in results["contenders"]:
        if (record["task"], record["name"], record["road"], record["n_envs"]) == (task, name, road, n_envs):
            return np.array(record["microseconds"]) if record.get("microseconds") else None
    return None


def ratio(over: np.ndarray | None, under: np.ndarray | None) -> np.ndarray | None:
    """Ratios within the rounds, or None where one of the two was not measured."""
    return None if over is None or under is None else over / under


def bytes_ratios(results: Results, size: Mapping[str, Any], what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time of ``what`` against what memory needs for 24 bytes a weight, one number a round.

    Returns:
        Against the triad over arrays far larger than the cache, against the triad over arrays as large as the parameters
        and moments, and against reading and writing such arrays.
    """
    times = {key: np.array(values) for key, values in size["nanoseconds"].items()}
    share = BYTES_A_WEIGHT / BYTES_OF_TRIAD
    large = np.array(results["weights"]["large"]["triad"])
    return times[what] / (share * large), times[what] / (share * times["triad"]), times[what] / times["read_and_write"]


def _clock(results: Results, name: str, process: bool) -> np.ndarray | None:
    pairs = results.get("start_up", {}).get(name)
    return np.array(pairs)[:, int(process)] if pairs else None


def efficiency(results: Results, process: bool) -> np.ndarray | None:
    """How much of two threads' work is done in the time of one's: 1 where they do not hinder each other, by the round."""
    threads = results.get("threads")
    if not threads:
        return None
    one, two = np.array(threads["one"])[:, int(process)], np.array(threads["two"])[:, int(process)]
    return 2.0 * one / two if process else one / two


# ---------------------------------------------------------------------- tables


def _rows(header: str, rows: Sequence[str]) -> str:
    return "\n".join([header, "|" + "---|" * (header.count("|") - 1), *rows]) + "\n"


def _range(values: np.ndarray | None, form: str) -> str:
    if values is None:
        return "–"
    middle, low, high = (format(x, form) for x in (np.median(values), values.min(), values.max()))
    return f"{middle} ({low} … {high})"


def _medians(values: Sequence[np.ndarray | None], form: str) -> str:
    medians = [None if v is None else float(np.median(v)) for v in values]
    return " · ".join("–" if x is None else format(x, form if x >= 0.1 else ".1g") for x in medians)


def summary(results: Results) -> str:
    """The figures by which the package's speed is judged: medians of the rounds' ratios, and lowest and highest round."""

    def of(name: str, road: str, n_envs: int = 1, task: str = "CartPole-v1") -> np.ndarray | None:
        return microseconds(results, task, name, road, n_envs)

    bare, lander = "DummyVecEnv + Monitor", "LunarLander-v3"
    rows = []

    def row(what: str, values: np.ndarray | None, form: str = ".1f", unit: str = "") -> None:
        if values is not None:
            rows.append(f"| {what} | {_range(values, form)}{unit} |")

    a2c = of("A2C", OTHERS)
    row("Weight Max, CartPole, compiled, × A2C", ratio(a2c, of("weight_max", COMPILED)))
    row("MAP Propagation, CartPole, compiled, × A2C", ratio(a2c, of("map_prop", COMPILED)))
    row("Weight Max, CartPole, step by step, × A2C", ratio(a2c, of("weight_max", STEPS)))
    row("…, share of the bare loop's speed", ratio(of(bare, BARE), of("weight_max", STEPS)), ".0%")
    row("compiled against step by step, Weight Max", ratio(of("weight_max", STEPS), of("weight_max", COMPILED)))
    row(
        "Weight Max, LunarLander, step by step, share of the bare loop's speed",
        ratio(of(bare, BARE, task=lander), of("weight_max", STEPS, task=lander)),
        ".0%",
    )
    for n in (8, 64):
        what = f"Weight Max, CartPole, step by step, {n} environments, a transition, × one environment"
        row(what, ratio(of("weight_max", STEPS), of("weight_max", STEPS, n)))
    for size in results.get("weights", {}).get("sizes", []):
        if size["width"] == 1024:
            large, same, way = bytes_ratios(results, size, "rule")
            row("Weight Max's rule at width 1024, time against the triad's beyond the cache", large, ".2f")
            row("…, against the triad over arrays of its own size", same, ".2f")
            row("…, against reading and writing arrays of its own size", way, ".2f")
            rule = np.array(size["nanoseconds"]["rule"])
            row("…, against the arithmetic of Adam alone", rule / np.array(results["weights"]["adam"]), ".2f")
    row("two threads of compiled training, efficiency by the clock", efficiency(results, False), ".0%")
    row("…, by process time", efficiency(results, True), ".0%")
    for name, what in (
        ("cold", "start of Python, first learned step, end; no machine code on disk"),
        ("warm", "start of Python, first learned step, end; machine code on disk"),
        ("help", "`train.py --help`"),
    ):
        row(f"{what}, by the clock", _clock(results, name, False), ".2f", " s")
        row("…, process time", _clock(results, name, True), ".2f", " s")
    return _rows("| | median (lowest … highest round) |", rows)


def task_table(results: Results, task: str) -> str:
    """All contenders of a task: time a transition, × A2C, × the bare loop, × one environment of their own."""
    mine = [record for record in results["contenders"] if record["task"] == task]
    n_envs = sorted({record["n_envs"] for record in mine})

    def times(name: str, road: str) -> list[np.ndarray | None]:
        return [microseconds(results, task, name, road, n) for n in n_envs]

    a2c, bare = times("A2C", OTHERS), times("DummyVecEnv + Monitor", BARE)
    rows = []
    for name, road in dict.fromkeys((record["name"], record["road"]) for record in mine):
        own = times(name, road)
        if all(values is None for values in own):
            continue
        cells = [
            _medians(own, ".1f"),
            _medians([ratio(other, values) for other, values in zip(a2c, own, strict=True)], ".1f"),
            _medians([ratio(other, values) for other, values in zip(bare, own, strict=True)], ".2f"),
            _medians([ratio(own[0], values) for values in own], ".1f"),
        ]
        rows.append(f"| {name} | {road} | {' | '.join(cells)} |")
    envs = " · ".join(map(str, n_envs))
    return _rows(f"| {envs} environments | | µs a transition | × A2C | × bare loop | × one environment |", rows)


def weights_table(results: Results) -> str:
    """Time a weight against the number of weights, and what the memory allows."""
    rows = []
    for size in results["weights"]["sizes"]:
        large, same, way = (np.median(values) for values in bytes_ratios(results, size, "rule"))
        rule, step = (np.median(size["nanoseconds"][what]) for what in ("rule", "step"))
        rows.append(
            f"| {size['width']} × {size['depth']} | {size['weights']} | {rule:.2f} | {step:.2f} | "
            f"{rule * size['weights'] / 1000:.1f} | {large:.2f} | {same:.2f} | {way:.2f} |"
        )
    return _rows(
        "| width × hidden layers | weights | rule, ns a weight | whole step, ns a weight | rule, µs | against the triad | "
        "against a triad of its size | against reading and writing |",
        rows,
    )


def parts_table(results: Results) -> str:
    """Parts of a step beside the step as a whole on both roads, in medians of microseconds and of shares."""
    parts = {name: np.array(times) for name, times in results["parts"].items()}
    compiled, ordinary = (parts.pop(name) for name in WHOLE)
    parts["the rest: between these, and Python between blocks"] = compiled - sum(parts.values())
    parts["**compiled step**"] = compiled
    parts["Python, calls of kernels, callback"] = ordinary - compiled
    parts["**ordinary step**"] = ordinary
    return _rows(
        "| | µs | share of the ordinary step |",
        [f"| {name} | {np.median(x):.1f} | {np.median(x / ordinary):.0%} |" for name, x in parts.items()],
    )


def memory_table(results: Results) -> str:
    """Peak memory of programs."""
    return _rows(
        "| program | peak memory, MB |", [f"| {name} | {size / 1e6:.0f} |" for name, size in results["memory"].items()]
    )


def tables(results: Results) -> dict[str, str]:
    """All tables by their names, which are the marks in `docs/speed.md`."""
    found = {"Summary": summary(results)}
    found |= {task: task_table(results, task) for task in dict.fromkeys(record["task"] for record in results["contenders"])}
    if results.get("parts"):
        found["Parts of a step"] = parts_table(results)
    if results.get("weights"):
        found["Cost against weights"] = weights_table(results)
    if results.get("memory"):
        found["Memory"] = memory_table(results)
    return found


def machine_line(results: Results) -> str:
    """On what the numbers were measured, and how."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f} when it began; {versions}. "
        f"One thread; medians over {results['rounds']} paired rounds of process time."
    )


def markdown(results: Results) -> str:
    """Write all tables as a Markdown document."""
    head = f"Made by `{results['command']}`. {machine_line(results)}\n"
    return "\n".join([head, *(f"## {name}\n\n{table}" for name, table in tables(results).items())])


def filled(page: str, results: Results) -> str:
    """Return a page with every table that it marks as ``<!-- speed: name --> … <!-- end -->`` made anew.

    Raises:
        ValueError: for a mark whose table was not measured.
    """
    found = {"machine": machine_line(results) + "\n", **tables(results)}

    def table(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in found:
            raise ValueError(f"The page marks a table {name!r} that was not measured; there are {', '.join(found)}.")
        return f"{match[1]}{found[name]}{match[3]}"

    return _MARK.sub(table, page)


# ---------------------------------------------------------------------- figure


def draw(results: Results, path: Path) -> Figure:
    """Draw what a step of every contender costs on the first task, and what a weight costs."""
    with applied():
        figure = Figure(figsize=(9.5, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        task = results["contenders"][0]["task"]
        kept = [r for r in results["contenders"] if r["task"] == task and r["n_envs"] == 1 and r.get("microseconds")]
        kept.sort(key=lambda record: float(np.median(record["microseconds"])))
        for place, record in enumerate(kept):
            left.barh(-place, np.median(record["microseconds"]), color=_COLOURS[record["road"]], height=0.75)
        left.set_yticks([-k for k in range(len(kept))], [written_name(record["name"]) for record in kept], fontsize=6)
        left.set_xscale("log")
        left.set_xlabel("µs a step, one environment")
        left.set_title(task)
        left.grid(axis="y", visible=False)
        for road in dict.fromkeys(record["road"] for record in kept):
            left.barh([0], [0], color=_COLOURS[road], label=road)
        left.legend(loc="upper right", fontsize=7)
        if results.get("weights"):
            _draw_weights(results, right)
        footnote(figure, f"{machine_line(results)} Made by {results['command']}.")
    save_figure(figure, path)
    return figure


def _draw_weights(results: Results, axes: Any) -> None:
    sizes = [size for size in results["weights"]["sizes"] if size["depth"] == DEPTH]
    deep = [size for size in results["weights"]["sizes"] if size["width"] == WIDTH]
    deep.sort(key=lambda size: size["weights"])
    for what, colour, label in (
        ("rule", _COLOURS[COMPILED], "Weight Max's rule"),
        ("step", _COLOURS[STEPS], "whole compiled step"),
        ("read_and_write", _COLOURS[BARE], "reading and writing parameters and moments"),
    ):
        for chosen, style in ((sizes, "-o"), (deep, "--s")):
            name = label if chosen is sizes else None
            medians = [np.median(size["nanoseconds"][what]) for size in chosen]
            axes.plot([size["weights"] for size in chosen], medians, style, color=colour, label=name, markersize=3)
    limit = BYTES_A_WEIGHT / BYTES_OF_TRIAD * np.median(results["weights"]["large"]["triad"])
    axes.axhline(limit, color="#D55E00", linestyle=":", label="24 bytes at the bandwidth of large arrays")
    axes.axhline(np.median(results["weights"]["adam"]), color="#CC79A7", linestyle=":", label="Adam's arithmetic alone")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"weights (dashed: {WIDTH} units wide, 1 to 8 deep)")
    axes.set_ylabel("ns a weight")
    axes.set_title("Cost against weights, λ = 0")
    axes.legend(fontsize=7)
