"""When runs were made: ``python -m benchmarks.dates`` writes it down of runs that do not say so themselves.

Runs know their day since `benchmarks.runs` notes it. Of older ones it is the day on which they were put into the repository,
which only its history knows; it is kept in ``results/dates.json``, for a copy without history.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runs import RESULTS, facts_of
from coagent_rl.training.files import write_text

FILE = RESULTS / "dates.json"
NOT_MADE_IN = ("2b154ca",)
"""Commits that wrote runs' files anew without making a run: the same numbers in fewer bytes."""


def noted(folder: Path) -> str | None:
    """The latest day that the runs of a folder say themselves."""
    days = (facts_of(path).get("date") for path in folder.glob("seed_*.npz"))
    return max(filter(None, days), default=None)


def date_of(folder: Path) -> str:
    """The day of the latest run of a folder of results, ``YYYY-MM-DD``.

    Raises:
        KeyError: if neither the runs nor `FILE` say it.
    """
    name = folder.relative_to(RESULTS).as_posix()
    return noted(folder) or str(json.loads(FILE.read_text(encoding="utf-8"))[name])


def from_history() -> dict[str, str]:
    """Folder of runs → day of the last commit that made one of them, of all folders in the repository."""
    format_and_paths = ["--format=@%h %cs", "--name-only", "--diff-filter=AM", "--", f"{RESULTS}/**/seed_*.npz"]
    command = ["git", "-C", str(RESULTS), "log", "--relative", *format_and_paths]
    found: dict[str, str] = {}
    commit = day = ""
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        if line.startswith("@"):
            commit, day = line[1:].split()
        elif line and commit not in NOT_MADE_IN:
            found.setdefault(Path(line).parent.as_posix(), day)  # the newest commit comes first
    return {name: found[name] for name in sorted(found) if (RESULTS / name).is_dir()}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the days of runs that do not say theirs."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    days = {name: day for name, day in from_history().items() if noted(RESULTS / name) is None}
    write_text(FILE, json.dumps(days, indent=0) + "\n")
    print(f"{len(days)} folders of runs")


if __name__ == "__main__":
    main()
