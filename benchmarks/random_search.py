"""What a random search needs that keeps its trials in a file of lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform, to two digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.2g}")


def read_trials(path: Path) -> list[dict[str, Any]]:
    """All trials of a search, in order; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def trials_then_runs(
    path: Path, n_trials: int, trial_seed: int, seeds: Sequence[int], train: Callable[[int, int], dict[str, Any]], score: str
) -> None:
    """Make what a file of lines of JSON is missing: trials, then runs with the settings of the best.

    Args:
        train: number of a trial and seed → what came of it, and the settings.
        score: by which of these the best is chosen, the earlier of equal ones; None where a run diverged. Without any other
            there are no runs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def add(kind: str, number: int, seed: int) -> None:
        line = {"kind": kind, "trial": number, "seed": seed, **train(number, seed)}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    for number in range(len(read_trials(path)), n_trials):
        add("trial", number, trial_seed)
    lines = read_trials(path)
    finished = [line for line in lines[:n_trials] if line[score] is not None]
    made = {line["seed"] for line in lines if line["kind"] == "run"}
    if finished:
        best = max(finished, key=lambda line: line[score])["trial"]
        for seed in seeds:
            if seed not in made:
                add("run", best, seed)
