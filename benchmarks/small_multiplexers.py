"""Do the hidden neurons of Decentralized DDPG learn? ``python -m benchmarks.small_multiplexers --n-jobs 1``.

Multiplexers with one, two and three address bits, one hidden layer of 32 neurons. Three rows: Decentralized DDPG, node
perturbation, and the control, in which only the output neurons learn. For each row and size eight settings are drawn, the
same for all rows, and trained with the seed 1000; the best by what the greedy policy then reaches is trained again with the
seeds 0 to 9. Every run is a line of a file in ``results/decentralized_ddpg/multiplexers``; what is there is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_search import log_uniform, read_trials, trials_then_runs
from benchmarks.rules import MULTIPLEXER
from benchmarks.runs import RESULTS
from benchmarks.tables import interval
from coagent_rl.training.files import write_text
from coagent_rl.training.hyperparameters import parse_seeds

FOLDER = RESULTS / "decentralized_ddpg" / "multiplexers"
STEPS = {1: 100_000, 2: 200_000, 3: 400_000}
"""Address bits → time steps, each of which is an episode."""
N_TRIALS, TRIAL_SEED, N_EVALUATED = 8, 1000, 500
ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "learned": ("Decentralized DDPG", "decentralized_ddpg", {}),
    "node_perturbation": ("node perturbation", "node_perturbation", {}),
    "frozen": ("hidden neurons frozen at random", "decentralized_ddpg", {"frozen_layers": "hidden", "hidden_noise": 0.01}),
}
"""Row → its label, the agent, and what is different."""
ONE_STEP = {"gamma": 0.0, "critic_lambda": 0.0, "noise_correlation_rate": 1.0}
"""Every episode is one step: nothing is to be predicted, and noise that stays would only join questions."""


def drawn(number: int) -> dict[str, Any]:
    """Settings of a trial."""
    rng = np.random.default_rng([3000, number])
    hidden = log_uniform(rng, 3e-4, 1e-2)
    return {
        "actor_learning_rate": [hidden, float(f"{hidden * log_uniform(rng, 0.1, 1.0):.2g}")],
        "neuron_critic_learning_rate": log_uniform(rng, 2e-3, 2e-2),
        "hidden_noise": log_uniform(rng, 0.1, 1.0),
    }


def trained(name: str, bits: int, settings: Mapping[str, Any], seed: int) -> dict[str, float]:
    """What the greedy policy reaches, and the mean over all episodes."""
    from coagent_rl.training.run import Options, train

    _, algorithm, changes = ROWS[name]
    own = {**ONE_STEP, "n_timesteps": STEPS[bits], "policy_kwargs": {"net_arch": {"pi": [32], "vf": [64, 32]}}}
    own |= {**settings, **changes}
    if algorithm == "decentralized_ddpg":
        own["neuron_critic_lambda"] = 0.0
    else:
        del own["neuron_critic_learning_rate"]
    options = Options(final_eval_episodes=N_EVALUATED, env_kwargs={"address_bits": bits})
    result = train(algorithm, MULTIPLEXER, own, seed, options)
    final = result.summary["final_evaluation"]["mean_return"]
    return {"final": round(float(final), 4), "all": round(float(result.returns.mean()), 4)}


def path_of(name: str, bits: int) -> Path:
    """Where the runs of a cell lie."""
    return FOLDER / f"{name}-{bits}.jsonl"


def make(name: str, bits: int, seeds: Sequence[int]) -> None:
    """Make what is missing of a cell: trials, then runs with the settings of the best."""

    def train(number: int, seed: int) -> dict[str, Any]:
        settings = drawn(number)
        return {**trained(name, bits, settings, seed), **settings}

    trials_then_runs(path_of(name, bits), N_TRIALS, TRIAL_SEED, seeds, train, "final")
    print(bits, name, "done", flush=True)


def table() -> str:
    """One line a row: what the greedy policy reaches, mean ± standard deviation (ddof 1) and 95 % interval of the mean."""
    heads = ["hidden neurons", *(f"{bits} address bit{'s' if bits > 1 else ''}" for bits in STEPS)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, (label, _, _) in ROWS.items():
        cells = [label]
        for bits in STEPS:
            found = np.array([line["final"] for line in read_trials(path_of(name, bits)) if line["kind"] == "run"])
            low, high = interval(found) if found.size > 1 else (np.nan, np.nan)
            cells.append(f"{found.mean():.2f} ± {found.std(ddof=1):.2f} [{low:.2f}, {high:.2f}]" if found.size > 1 else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from joblib import Parallel, delayed

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", default="0-9", help="such as 0-9")
    p.add_argument("--n-jobs", type=int, default=1, help="processes; the results do not depend on it")
    given = p.parse_args(argv)
    seeds = parse_seeds(given.seeds)
    Parallel(n_jobs=given.n_jobs)(delayed(make)(name, bits, seeds) for bits, name in product(STEPS, ROWS))
    write_text(FOLDER / "table.md", table())
    print(table())


if __name__ == "__main__":
    main()
