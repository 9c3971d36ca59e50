"""What the shipped settings reached, for ``train.py --list``: ``python -m benchmarks.reached`` writes it anew.

Only results count that were made with exactly the settings that the package ships.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import RESULTS
from coagent_rl.registry import ALGORITHMS
from coagent_rl.training.files import write_yaml
from coagent_rl.training.hyperparameters import load_hyperparameters, shipped_environments

FILE = Path(__file__).parents[1] / "coagent_rl" / "training" / "reached.yml"


def reached() -> dict[str, dict[str, dict[str, Any]]]:
    """Agent → environment → number of seeds and means over them, of the table that has most seeds."""

    @cache
    def shipped(algorithm: str, env_id: str) -> Any:
        return json.loads(json.dumps(load_hyperparameters(algorithm, env_id)))

    environments = {algorithm: shipped_environments(algorithm) for algorithm in ALGORITHMS}
    found: dict[tuple[str, str], dict[Path, list[dict[str, Any]]]] = {}
    for path in sorted(RESULTS.rglob("seed_*.npz")):
        with np.load(path) as file:
            facts = json.loads(str(file["facts"])) if "facts" in file.files else {}
        algorithm, env_id = facts.get("algo", ""), facts.get("env", "")
        if env_id in environments.get(algorithm, ()) and facts["settings"] == shipped(algorithm, env_id):
            found.setdefault((algorithm, env_id), {}).setdefault(path.parent, []).append(facts)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for algorithm, env_ids in environments.items():
        for env_id in env_ids:
            if tables := found.get((algorithm, env_id)):
                runs = max(tables.values(), key=len)
                result.setdefault(algorithm, {})[env_id] = {
                    "seeds": len(runs),
                    "mean_return_all_episodes": _mean([run["mean_return_all_episodes"] for run in runs]),
                    "mean_return_last_100": _mean([run["mean_return_last_100"] for run in runs]),
                    "final_evaluation": _mean([run["final_evaluation"]["mean_return"] for run in runs]),
                }
    return result


def _mean(scores: list[float]) -> float:
    return round(float(np.mean(scores)), 2)


if __name__ == "__main__":
    write_yaml(FILE, reached())
