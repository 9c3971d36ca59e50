"""What ``deterministic=True`` should mean: ``python -m benchmarks.deterministic weight_max --seeds 0-4``.

Evaluates the trained networks of a published table in four ways, 100 episodes each: sampled as in training, every unit's
most likely value, hidden units passing their means on, and sampled hidden units with the most likely action.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks import map_prop, weight_max
from benchmarks.runs import RESULTS, trained_model
from coagent_rl.training.hyperparameters import parse_seeds

WAYS = {
    "stochastic": "sampled as in training",
    "most_likely": "every unit most likely",
    "mean": "means passed on",
    "sample_hidden": "hidden sampled, action most likely",
}


TABLES = {"weight_max": weight_max.TABLE1, "map_prop": map_prop.TABLE}


def score(algorithm: str, env_id: str, seed: int, way: str, n_episodes: int) -> float:
    """Mean return of ``n_episodes`` episodes, the same ones for every way."""
    from coagent_rl.training.evaluation import evaluate
    from coagent_rl.training.run import EVALUATION_SEED_OFFSET, make_environments

    run = TABLES[algorithm].runs(algorithm, env_id, [seed])[0]
    model = trained_model(run)
    if way != "stochastic":
        model.policy.deterministic_mode = way
    env = make_environments(env_id, 1, seed + EVALUATION_SEED_OFFSET, {}, run.settings.get("env_wrapper"))
    returns, _ = evaluate(model, env, n_episodes, deterministic=way != "stochastic")
    env.close()
    return float(returns.mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from joblib import Parallel, delayed

    from coagent_rl.training.files import write_json, write_text

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("algorithm", choices=list(TABLES))
    p.add_argument("--seeds", default="0-4")
    p.add_argument("--envs", nargs="+", help="[those of the table]")
    p.add_argument("--n-episodes", type=int, default=100)
    p.add_argument("--n-jobs", type=int, default=1)
    arguments = p.parse_args(argv)
    algorithm, table = arguments.algorithm, TABLES[arguments.algorithm]
    envs = arguments.envs or list(table.tasks)
    if unknown := set(envs) - set(table.tasks):
        p.error(f"unknown environments: {', '.join(sorted(unknown))}; those of the table are {', '.join(table.tasks)}")
    seeds = [
        (env_id, seed)
        for env_id in envs
        for seed in parse_seeds(arguments.seeds)
        if table.runs(algorithm, env_id, [seed])[0].path.exists()
    ]
    cells = [(env_id, seed, way) for env_id, seed in seeds for way in WAYS]
    scores = Parallel(n_jobs=arguments.n_jobs)(delayed(score)(algorithm, *cell, arguments.n_episodes) for cell in cells)
    means = {f"{env_id} seed {seed} {way}": value for (env_id, seed, way), value in zip(cells, scores, strict=True)}
    write_json(RESULTS / f"deterministic_{algorithm}.json", {"n_episodes": arguments.n_episodes, "mean_returns": means})
    lines = ["| task | networks | " + " | ".join(WAYS.values()) + " |", "|---" * (2 + len(WAYS)) + "|"]
    for env_id in envs:
        by_way = [[v for (e, _, w), v in zip(cells, scores, strict=True) if e == env_id and w == way] for way in WAYS]
        if by_way[0]:
            entries = " | ".join(f"{np.mean(v):.1f} ± {np.std(v, ddof=1):.1f}" for v in by_way)
            lines.append(f"| {env_id} | {len(by_way[0])} | {entries} |")
    write_text(RESULTS / f"deterministic_{algorithm}.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
