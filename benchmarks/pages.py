"""Tables in the pages are those of the results: ``python -m benchmarks.pages`` writes them into README and docs anew.

A page says where: between ``<!-- table NAME -->`` and ``<!-- end of table -->`` stands what `TABLES` makes under that name.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml

from benchmarks import map_prop, tasks, weight_max
from benchmarks.dates import date_of
from benchmarks.runs import RESULTS, facts_of
from benchmarks.tables import Table
from coagent_rl.registry import ALGORITHMS, algorithm_class, markdown_table
from coagent_rl.training.files import write_text
from coagent_rl.training.hyperparameters import shipped_environments

ROOT = Path(__file__).parents[1]
REACHED = ROOT / "coagent_rl" / "training" / "reached.yml"
FRONT = {
    "CartPole-v1": "CartPole-v1",
    "Acrobot-v1": "Acrobot-v1",
    "LunarLander-v3": "LunarLander-v3",
    "coagent_rl/Multiplexer-v0": "multiplexer",
}
"""Tasks of the README's table, and how they are called there."""
PARTS = {
    "table1": "Weight Maximization, table 1",
    "variations": "Weight Maximization, figures 3 and 4",
    "map_prop": "MAP Propagation",
    "decentralized_ddpg": "Decentralized DDPG",
    "cells": "Three agents, six tasks",
    "rules": "All rules side by side",
    "supervised": "Supervised networks",
}
"""Folder of results → what they are, in the table of dates."""
_BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", flags=re.S)


def pages() -> list[Path]:
    """Files that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rows(path: Path) -> list[list[str]]:
    """Cells of a Markdown file's first table, without its head."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def committed(name: str) -> Callable[[], str]:
    """The table that a command has written into the results, as it is there."""
    return lambda: (RESULTS / name).read_text(encoding="utf-8")


def front() -> str:
    """Four tasks: return over all training episodes, published and ours; and the control."""
    table1, table = rows(RESULTS / "table1" / "table.md"), rows(RESULTS / "map_prop" / "table.md")

    def cell(table: list[list[str]], env_id: str, method: str) -> tuple[str, str]:
        ours, published = next(((row[3], row[4]) for row in table if row[:2] == [env_id, method]), ("", ""))
        return ours, published

    lines = []
    for env_id, name in FRONT.items():
        both = [cell(table1, env_id, "Weight Max"), cell(table, env_id, "MAP Propagation")]
        frozen, _ = cell(table1, env_id, "hidden units frozen, output layer tuned")
        lines.append([name, *(value for pair in both for value in pair), frozen])
    heads = ["task", "Weight Max", "published", "MAP Propagation", "published", "hidden units frozen"]
    return tasks.table(heads, lines)


def published(table: Table) -> Callable[[], str]:
    """Rows of which something was published, with the name that the command knows each by."""

    def day(method: str, env_id: str) -> str:
        return date_of(table.folder / method / env_id.replace("/", "-"))

    def text() -> str:
        names = {method.label: name for name, method in table.methods.items()}
        lines = [
            [env_id, method, theirs, ours, n, difference, f"`{names[method]}`", day(names[method], env_id)]
            for env_id, method, n, ours, theirs, difference, *_ in rows(RESULTS / table.name / "table.md")
            if theirs
        ]
        heads = ["task", "method", "published", "ours", "runs", "difference (s.e.)", "`--methods`", "date"]
        return tasks.table(heads, lines)

    return text


def reached() -> str:
    """What the shipped settings reached: all episodes, last 100, after training."""
    lines = []
    for algorithm, environments in yaml.safe_load(REACHED.read_text(encoding="utf-8")).items():
        for env_id, found in environments.items():
            numbers = (found[key] for key in ("mean_return_all_episodes", "mean_return_last_100", "final_evaluation"))
            lines.append([env_id, f"`{algorithm_class(algorithm).__name__}`", str(found["seeds"]), *map(_number, numbers)])
    order = list(dict.fromkeys(line[0] for line in lines))
    lines.sort(key=lambda line: (order.index(line[0]), -float(line[3])))
    return tasks.table(["task", "agent", "runs", "all episodes", "last 100", "after training"], lines)


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def settings() -> str:
    """Environments for which settings are shipped."""
    found: dict[str, list[str]] = {}
    for algorithm in ALGORITHMS:
        for env_id in shipped_environments(algorithm):
            found.setdefault(env_id, []).append(f"`{algorithm}`")
    return tasks.table(["environment", "settings shipped for"], [[f"`{k}`", ", ".join(v)] for k, v in found.items()])


def versions() -> str:
    """Versions with which the runs of the tables were made."""
    seen: dict[str, set[str]] = {}
    for name in ("table1", "map_prop", "decentralized_ddpg"):
        for path in sorted((RESULTS / name).rglob("seed_*.npz")):
            for package, version in facts_of(path).get("versions", {}).items():
                seen.setdefault(package, set()).add(version)
    return tasks.table(["package", "version"], [[package, ", ".join(sorted(found))] for package, found in seen.items()])


def dates() -> str:
    """First and last day of the runs behind each page's tables."""
    lines = []
    for name, what in PARTS.items():
        folders = {path.parent for path in (RESULTS / name).rglob("seed_*.npz")}
        days = sorted(date_of(folder) for folder in folders)
        lines.append([what, days[0], days[-1]])
    return tasks.table(["results", "first runs", "last runs"], lines)


TABLES: dict[str, Callable[[], str]] = {
    "agents": markdown_table,
    "front": front,
    "reached": reached,
    "settings": settings,
    "versions": versions,
    "dates": dates,
    "published_weight_max": published(weight_max.TABLE1),
    "published_map_prop": published(map_prop.TABLE),
    "table1": committed("table1/table.md"),
    "map_prop": committed("map_prop/table.md"),
    "decentralized_ddpg": committed("decentralized_ddpg/table.md"),
    "correlations": committed("correlations/table.md"),
    "step_sizes": committed("step_sizes/table.md"),
    "multiplexers": committed("decentralized_ddpg/multiplexers/table.md"),
    **tasks.TABLES,
}
"""Name in a page → what makes the table."""


def renewed() -> Iterator[tuple[Path, str, str]]:
    """Pages with tables: path, text as it is, text as it should be."""
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if _BLOCK.search(text):
            yield path, text, _BLOCK.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    for path, text, new in renewed():
        if text != new:
            write_text(path, new)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
