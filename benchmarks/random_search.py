"""What a random search needs that keeps its trials in a file of lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform, to two digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.2g}")


def read_trials(path: Path) -> list[dict[str, Any]]:
    """All trials of a search, in order; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
