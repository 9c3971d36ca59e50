"""What the shipped settings reached, for ``train.py --list``: ``python -m benchmarks.reached`` writes it anew.

Only results count that were made with exactly the settings that the package ships.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import RESULTS, complete, facts_of
from coagent_rl.registry import ALGORITHMS
from coagent_rl.training.files import write_yaml
from coagent_rl.training.hyperparameters import load_hyperparameters, shipped_environments

FILE = Path(__file__).parents[1] / "coagent_rl" / "training" / "reached.yml"


@cache
def runs_with_shipped_settings() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Agent → environment → facts of the runs, of the table that has most seeds; read once."""

    @cache
    def shipped(algorithm: str, env_id: str) -> dict[str, Any]:
        return complete(algorithm, load_hyperparameters(algorithm, env_id))

    environments = {algorithm: shipped_environments(algorithm) for algorithm in ALGORITHMS}
    found: dict[tuple[str, str], dict[Path, list[dict[str, Any]]]] = {}
    for path in sorted(RESULTS.rglob("seed_*.npz")):
        facts = facts_of(path)
        algorithm, env_id = facts.get("algo", ""), facts.get("env", "")
        if env_id in environments.get(algorithm, ()) and complete(algorithm, facts["settings"]) == shipped(
            algorithm, env_id
        ):
            found.setdefault((algorithm, env_id), {}).setdefault(path.parent, []).append(facts)
    result: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for algorithm, env_ids in environments.items():
        for env_id in env_ids:
            if tables := found.get((algorithm, env_id)):
                result.setdefault(algorithm, {})[env_id] = max(tables.values(), key=len)
    return result


def scores(runs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Mean returns of runs, shape (n_runs,) each: over all episodes, over the last 100, after training."""
    return {
        "mean_return_all_episodes": np.array([run["mean_return_all_episodes"] for run in runs]),
        "mean_return_last_100": np.array([run["mean_return_last_100"] for run in runs]),
        "final_evaluation": np.array([run["final_evaluation"]["mean_return"] for run in runs]),
    }


def reached() -> dict[str, dict[str, dict[str, Any]]]:
    """Agent → environment → number of seeds and means over them."""
    return {
        algorithm: {
            env_id: {"seeds": len(runs), **{name: round(float(values.mean()), 2) for name, values in scores(runs).items()}}
            for env_id, runs in tasks.items()
        }
        for algorithm, tasks in runs_with_shipped_settings().items()
    }


if __name__ == "__main__":
    write_yaml(FILE, reached())
