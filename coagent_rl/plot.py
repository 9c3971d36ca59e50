"""Compare runs in one figure and one table from the command line."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coagent_rl.files import is_about_input

if TYPE_CHECKING:
    from coagent_rl.analysis.compare import Row
    from coagent_rl.analysis.curves import Panel, Profile
    from coagent_rl.analysis.runs import Curve

    _Methods = Mapping[str, Sequence[Curve]]  # label → runs

SUFFIXES = (".png", ".svg")


def parser() -> argparse.ArgumentParser:
    """Build the command line; nothing heavy is imported for ``--help``."""
    p = argparse.ArgumentParser(
        prog="coagent-plot",
        description="Draw the learning curves of runs, studies and benchmark results over each other, a panel an "
        "environment, and print a table. Runs that differ only in their seeds are one curve.",
    )
    p.add_argument("folders", nargs="+", metavar="FOLDER", help="run folders, or folders with many of them at any depth")
    p.add_argument("--x", choices=("episodes", "steps"), default="episodes", help="unit of the x axis [episodes]")
    p.add_argument(
        "--spread",
        choices=("std", "interval", "none"),
        default="std",
        help="standard deviation over runs (ddof 1), or 95 %% bootstrap interval of the mean [std]",
    )
    p.add_argument("--window", type=int, help="episodes of the running mean [100; 10 000 for the multiplexer]")
    p.add_argument("--published", action="store_true", help="show what was published of the methods")
    p.add_argument("--profile", action="store_true", help="add interquartile means and performance profiles over tasks")
    p.add_argument(
        "--score",
        choices=("all", "last", "final"),
        default="all",
        help="what --profile is of: mean return of all episodes, of the last 100, of the evaluation after training [all]",
    )
    p.add_argument("-o", "--output", default="compare.png", metavar="FILE", help="figure, .png or .svg [compare.png]")
    p.add_argument("--csv", metavar="FILE", help="write the numbers of table and figure as CSV")
    p.add_argument("--label", nargs="+", metavar="NAME", help="a name for each FOLDER instead of the method's")
    p.add_argument("--title", help="above the figure")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for wrong arguments)."""
    arguments = parser().parse_args(argv)
    try:
        run(arguments)
    except Exception as error:
        if not is_about_input(error):
            raise
        print(f"coagent-plot: error: {error}", file=sys.stderr)
        return 2
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Read, print, draw and write."""
    output = Path(arguments.output)
    if output.suffix not in SUFFIXES:
        raise ValueError(f"--output takes a {' or '.join(SUFFIXES)} file, not {arguments.output!r}.")
    for name in ("output", "csv"):
        given = getattr(arguments, name)
        if given is not None and Path(given).is_dir():
            raise ValueError(f"--{name} takes a file, but {given} is a folder.")
    if arguments.window is not None and arguments.window < 1:
        raise ValueError(f"--window must be at least 1, not {arguments.window}.")

    from coagent_rl.analysis.compare import SCORES, by_task, compare, normalised_scores, read_runs, table
    from coagent_rl.analysis.curves import Profile, comparison_figure

    curves = read_runs(arguments.folders, arguments.label)
    tasks = by_task(curves)
    panels = [_panel(env, methods, arguments) for env, methods in tasks.items()]
    rows = compare(curves)
    profile = None
    if arguments.profile:
        profile = Profile(normalised_scores(curves, arguments.score), f"return, {SCORES[arguments.score]}")
    spreads = {"std": "mean ± standard deviation over runs (ddof 1)", "interval": "mean [95 % bootstrap interval] over runs"}
    print(f"Returns: {spreads.get(arguments.spread, 'mean over runs')}.\n")
    print(table(rows, arguments.spread, arguments.published))
    if sources := sorted({row.source for panel in panels for row in panel.published.values()}):
        print(f"\nPublished: mean ± population standard deviation (ddof 0) of 10 runs, {'; '.join(sources)}.")
    if profile is not None:
        left_out = [panel.title for panel in panels if panel.title not in profile.tasks]
        print(f"\nNormalised scores ({profile.name}) over {', '.join(profile.tasks)}: interquartile mean [95 % interval]")
        for label, (mean, low, high) in profile.means().items():
            print(f"  {label}: {mean:.3f} [{low:.3f}, {high:.3f}]")
        if any(len({values.size for values in scores.values()}) > 1 for scores in profile.scores.values()):
            print("Numbers of runs differ from task to task; every task weighs the same.")
        if left_out:
            print(f"Not in it, for lack of a method's runs or of levels to normalise by: {', '.join(left_out)}.")
    for sentence in _remarks(panels, tasks, arguments):
        print(sentence)
    comparison_figure(output, panels, arguments.spread, profile, arguments.title)
    print(f"Drawn: {output}")
    if arguments.csv is not None:
        _write_csv(Path(arguments.csv), rows, panels, profile, arguments.spread)
        print(f"Written: {arguments.csv}")


def _panel(env: str, methods: _Methods, arguments: argparse.Namespace) -> Panel:
    from coagent_rl.analysis.curves import Panel, band_of, fitting_window
    from coagent_rl.analysis.known import published_value, window_of

    window = fitting_window(arguments.window or window_of(env), [run for runs in methods.values() for run in runs])
    bands = [band_of(label, runs, window, arguments.x, arguments.spread) for label, runs in methods.items()]
    drawn = [band for band in bands if band is not None]
    published = {}
    if arguments.published:
        values = {band.label: published_value(band.label, env, methods[band.label][0].algo) for band in drawn}
        published = {label: value for label, value in values.items() if value is not None}
    return Panel(env, drawn, window, arguments.x, published)


def _remarks(panels: Sequence[Panel], tasks: Mapping[str, _Methods], arguments: argparse.Namespace) -> list[str]:
    """Say what a reader of the figure would not expect, in sentences."""
    from coagent_rl.analysis.known import window_of

    unit = "episode" if arguments.x == "episodes" else "time step"
    sentences = []
    for panel, methods in zip(panels, tasks.values(), strict=True):
        wanted = arguments.window or window_of(panel.title)
        if panel.window < wanted:
            sentences.append(
                f"{panel.title}: running means of {panel.window} episodes, not of {wanted}: the longest run has only "
                f"{max(run.returns.size for runs in methods.values() for run in runs)}."
            )
        bands = {band.label: band for band in panel.bands}
        for label, runs in methods.items():
            name = f"{label} on {panel.title}"
            short = [run.source for run in runs if run.returns.size < panel.window]
            if short:
                sentences.append(f"{name}: fewer than {panel.window} episodes, so not in the curve: {', '.join(short)}.")
            if label in bands and (bands[label].n < len(runs)).any() and len(short) < len(runs):
                reached, end = bands[label].reached, bands[label].x[-1]
                all_runs = f"of all {len(runs)} runs as far as {unit} {reached:.0f}, then" if reached is not None else "only"
                sentences.append(f"{name}: the mean is {all_runs} of those that are there, as a thin line as far as {end}.")
        if arguments.published and not panel.published:
            sentences.append(f"{panel.title}: nothing published of these methods is known.")
    return sentences


def _write_csv(path: Path, rows: Sequence[Row], panels: Sequence[Panel], profile: Profile | None, spread: str) -> None:
    """Write the numbers of table and figure, one a line: of what task and method, which quantity, where on the x axis."""
    import csv

    from coagent_rl.analysis.compare import SCORES
    from coagent_rl.files import write_whole

    lines: list[tuple[object, ...]] = [("task", "method", "quantity", "x", "runs", "mean", "low", "high")]
    for row in rows:
        for name, score in row.scores.items():
            lines.append((row.env, row.label, f"return, {SCORES[name]}", "", score.n, score.mean, *score.ends(spread)))
    for panel in panels:
        quantity = f"return, mean of last {panel.window} episodes, by {panel.x}"
        for band in panel.bands:
            for point in zip(band.x, band.n, band.mean, band.low, band.high, strict=True):
                lines.append((panel.title, band.label, quantity, *point))
    if profile is not None:
        tasks = " ".join(profile.tasks)
        n = {label: sum(values.size for values in scores.values()) for label, scores in profile.scores.items()}
        for label, values in profile.means().items():
            lines.append((tasks, label, f"interquartile mean, {profile.name}", "", n[label], *values))

    def write(beside: Path) -> None:
        with open(beside, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_cell(value) for value in line] for line in lines)

    write_whole(path, write)


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.8g}"
    return value


if __name__ == "__main__":
    sys.exit(main())
