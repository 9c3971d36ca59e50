"""What ``deterministic=True`` should mean: ``python -m benchmarks.deterministic weight_max --seeds 0-9 --n-jobs 2``.

Evaluates trained networks in every mode, on the same episodes: those that the published tables keep, and those of runs of
``train.py --algo … --env … --seeds … -f FOLDER`` where ``--log-folder FOLDER`` names one. What was evaluated before is not
evaluated again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import map_prop, weight_max
from benchmarks.runs import RESULTS, trained_model
from coagent_rl.training.hyperparameters import parse_seeds

WAYS: dict[str, dict[str, Any]] = {
    "stochastic": {},
    "marginal 8": {"deterministic_mode": "marginal", "marginal_samples": 8},
    "marginal 32": {"deterministic_mode": "marginal", "marginal_samples": 32},
    "marginal 128": {"deterministic_mode": "marginal", "marginal_samples": 128},
    "hashed": {"deterministic_mode": "hashed"},
    "mean": {"deterministic_mode": "mean"},
    "most_likely": {"deterministic_mode": "most_likely"},
    "sample_hidden": {"deterministic_mode": "sample_hidden"},
}
"""Name of a way → attributes of the policy; the first samples everything, as in training."""

TABLES = {
    "weight_max": weight_max.TABLE1,
    "reinforce": weight_max.TABLE1,
    "reinforce_thomas": weight_max.TABLE1,
    "ste_backprop": weight_max.TABLE1,
    "map_prop": map_prop.TABLE,
}
N_ENVS = 20
FILE = RESULTS / "deterministic.json"


def kept(algorithm: str, seeds: Sequence[int]) -> list[tuple[str, int, Path | None]]:
    """Return environment, seed and None of every network that the algorithm's table keeps."""
    table = TABLES.get(algorithm)
    if table is None:
        return []
    runs = [run for env_id in table.networks.get(algorithm, ()) for run in table.runs(algorithm, env_id, seeds)]
    return [(run.env_id, run.seed, None) for run in runs if run.path.exists()]


def trained(algorithm: str, folder: Path, seeds: Sequence[int]) -> list[tuple[str, int, Path | None]]:
    """Return environment, seed and folder of every finished run of the algorithm below a folder."""
    from coagent_rl.training.files import read_config

    found: list[tuple[str, int, Path | None]] = []
    for summary in sorted((folder / algorithm).rglob("summary.json")):
        facts = json.loads(summary.read_text())
        if "seed" in facts and facts["seed"] in seeds:
            found.append((read_config(summary.parent)["env"], facts["seed"], summary.parent))
    return found


def scores(
    algorithm: str, env_id: str, seed: int, folder: Path | None, ways: Sequence[str], n_episodes: int
) -> dict[str, float]:
    """Way → mean return of ``n_episodes`` episodes, the same ones for every way."""
    from coagent_rl.registry import algorithm_class
    from coagent_rl.training.environments import make_environments, normalised
    from coagent_rl.training.evaluation import evaluate
    from coagent_rl.training.files import folder_name, read_config
    from coagent_rl.training.run import EVALUATION_SEED_OFFSET

    file = None
    if folder is None:
        run = TABLES[algorithm].runs(algorithm, env_id, [seed])[0]
        model, settings = trained_model(run), dict(run.settings)
    else:
        file, settings = folder / f"{folder_name(env_id)}.zip", read_config(folder)["settings"]
        model = algorithm_class(algorithm).load(file)
    found = {}
    for way in ways:
        for name, value in WAYS[way].items():
            setattr(model.policy, name, value)
        env = make_environments(env_id, N_ENVS, seed + EVALUATION_SEED_OFFSET, {}, settings.get("env_wrapper"))
        env = normalised(env, settings.get("normalize"), file, training=False)
        model.policy.seed_predictions(seed)
        returns, _ = evaluate(model, env, n_episodes, deterministic=way != "stochastic")
        env.close()
        found[way] = float(returns.mean())
    return found


def markdown(cells: dict[str, dict[str, float]]) -> str:
    """Table of means and standard deviations over networks (their number where it is not all) by algorithm and task."""
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for name, found in cells.items():
        algorithm, env_id, _ = name.split(" ")
        rows.setdefault((algorithm, env_id), []).append(found)
    lines = ["| agent | task | networks | " + " | ".join(WAYS) + " |", "|---" * (3 + len(WAYS)) + "|"]
    for (algorithm, env_id), networks in sorted(rows.items()):
        entries = []
        for way in WAYS:
            values = np.array([found[way] for found in networks if way in found])
            if not values.size:
                entries.append("")
                continue
            digits = 2 if np.abs(values).max() < 10 else 1
            spread = f" ± {values.std(ddof=1):.{digits}f}" if values.size > 1 else ""
            fewer = f" ({values.size})" if values.size < len(networks) else ""
            entries.append(f"{values.mean():.{digits}f}{spread}{fewer}")
        lines.append(f"| {algorithm} | {env_id} | {len(networks)} | " + " | ".join(entries) + " |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from joblib import Parallel, delayed

    from coagent_rl.registry import ALGORITHMS
    from coagent_rl.training.files import write_json, write_text

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("algorithms", nargs="+", choices=list(ALGORITHMS), metavar="algorithm")
    p.add_argument("--seeds", default="0-4")
    p.add_argument("--envs", nargs="+", help="[all for which there are networks]")
    p.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    p.add_argument("--log-folder", type=Path, help="where train.py made runs, whose networks are evaluated too")
    p.add_argument("--n-episodes", type=int, default=50)
    p.add_argument("--n-jobs", type=int, default=1)
    arguments = p.parse_args(argv)
    seeds = parse_seeds(arguments.seeds)
    networks = []
    for algorithm in arguments.algorithms:
        known = kept(algorithm, seeds)
        if arguments.log_folder is not None:
            more = trained(algorithm, arguments.log_folder, seeds)
            known += [run for run in more if run[:2] not in [there[:2] for there in known]]
        networks += [(algorithm, *run) for run in known if arguments.envs is None or run[0] in arguments.envs]
    if not networks:
        p.error(f"there are no networks of {', '.join(arguments.algorithms)} with the seeds {arguments.seeds}")
    before: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    if before and before["n_episodes"] != arguments.n_episodes:
        p.error(f"{FILE} was made with {before['n_episodes']} episodes each: delete it to make it anew")
    cells = before.get("mean_returns", {})
    jobs = []
    for run in networks:
        there = cells.get(f"{run[0]} {run[1]} {run[2]}", {})
        if ways := [way for way in arguments.ways if way not in there]:
            jobs.append((*run, ways))
    results = Parallel(n_jobs=arguments.n_jobs, return_as="generator")(
        delayed(scores)(*job, arguments.n_episodes) for job in jobs
    )
    for (algorithm, env_id, seed, *_), found in zip(jobs, results, strict=True):
        cells.setdefault(f"{algorithm} {env_id} {seed}", {}).update(found)
        write_json(FILE, {"n_episodes": arguments.n_episodes, "mean_returns": cells})
    text = markdown(cells)
    write_text(FILE.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
