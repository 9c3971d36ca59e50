"""One rate for all layers: which optimizer, normalisation and initialisation does without a table of rates.

``python -m benchmarks.step_sizes --n-jobs 1`` trains Weight Max with one learning rate for all layers of the actor and one
for all layers of the critic. For every way and task six pairs of rates are drawn, each trained with the seed 1000; the best
pair is trained again with the seeds 0 to 4. Every run is a line of a file in ``results/step_sizes``; what is there is not
made again.

A score is the return at an average time step (of an episode, weighted with its length).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_search import log_uniform, read_trials, trials_then_runs
from benchmarks.rules import MULTIPLEXER, at_an_average_step
from benchmarks.runs import RESULTS
from coagent_rl import WeightMax
from coagent_rl.networks import Network
from coagent_rl.training.files import write_text
from coagent_rl.training.hyperparameters import override, parse_seeds

FOLDER = RESULTS / "step_sizes"
N_TRIALS, TRIAL_SEED = 6, 1000
SPARSITY = 0.9
ADAPTIVE, PLAIN, BOUNDED = (1e-4, 3e-2), (1e-4, 1e-1), (1e-3, 3.0)
"""Ranges of the rates: of steps of about the rate's size, of steps of the update's size, of an upper bound."""
OBSERVATIONS, BOTH = {"norm_obs": True, "norm_reward": False}, {"norm_obs": True, "norm_reward": True}


def make_sparse(network: Network, rng: np.random.Generator) -> None:
    """Cut all but a tenth of every unit's inputs, at least one, in the hidden layers.

    Source: Elsayed, Vasan & Mahmood (2024), sparse initialisation.
    """
    for index in range(network.depth - 1):
        weights = network.weights(index)
        n_cut = min(int(np.ceil(SPARSITY * len(weights))), len(weights) - 1)
        for column in weights.T:
            column[rng.permutation(len(weights))[:n_cut]] = 0.0


class SparseWeightMax(WeightMax):
    """Weight Max whose hidden units begin with a few inputs each, in the actor and in the critic."""

    def _setup_model(self) -> None:
        super()._setup_model()
        rng = np.random.default_rng(self.seed)
        for network in (self.policy.actor, self.policy.critic):
            if network is not None:
                make_sparse(network, rng)


@dataclass(frozen=True)
class Way:
    """A row.

    Attributes:
        rates: range of the learning rates of actor and critic.
        changes: settings that are different.
        by_layer: shares of the rates that the layers have, for the row with rates that fall from layer to layer.
    """

    label: str
    rates: tuple[float, float]
    changes: Mapping[str, Any]
    by_layer: Sequence[float] | None = None
    algorithm: str = "weight_max"


SPARSE = "benchmarks.step_sizes:SparseWeightMax"
WAYS = {
    "adam_by_layer": Way("Adam, rates that fall (1 : 10⁻² : 10⁻³)", (3e-3, 1e-1), {}, (1.0, 1e-2, 1e-3)),
    "adam": Way("Adam", ADAPTIVE, {}),
    "adam_normalised": Way("Adam, observations normalised", ADAPTIVE, {"normalize": OBSERVATIONS}),
    "adam_both": Way("Adam, observations and rewards normalised", ADAPTIVE, {"normalize": BOTH}),
    "adam_sparse": Way("Adam, observations normalised, sparse", ADAPTIVE, {"normalize": OBSERVATIONS}, algorithm=SPARSE),
    "rmsprop_normalised": Way(
        "RMSprop, observations normalised", ADAPTIVE, {"normalize": OBSERVATIONS, "optimizer": "rmsprop"}
    ),
    "sgd_normalised": Way("plain steps, both normalised", PLAIN, {"normalize": BOTH, "optimizer": "sgd"}),
    "obgd": Way("ObGD", BOUNDED, {"optimizer": "obgd"}),
    "obgd_normalised": Way("ObGD, both normalised", BOUNDED, {"normalize": BOTH, "optimizer": "obgd"}),
    "obgd_sparse": Way("ObGD, both normalised, sparse", BOUNDED, {"normalize": BOTH, "optimizer": "obgd"}, algorithm=SPARSE),
    "frozen": Way(
        "Adam, observations normalised, hidden layers frozen",
        ADAPTIVE,
        {"normalize": OBSERVATIONS, "frozen_layers": "hidden"},
    ),
}


@dataclass(frozen=True)
class Task:
    """How long runs are, and what is the same in all."""

    name: str
    n_timesteps: int
    settings: Mapping[str, Any] = field(default_factory=dict)


HELD = {"gamma": 0.99, "policy_kwargs": {"noise_persistence": [0.5, 0.5, 0.95]}}
TASKS = {
    "CartPole-v1": Task("CartPole", 50_000),
    "Acrobot-v1": Task("Acrobot", 50_000),
    MULTIPLEXER: Task("multiplexer", 100_000, {"actor_lambda": 0.0, "gamma": 0.0}),
    "MountainCarContinuous-v0": Task("MountainCarContinuous", 50_000, HELD),
}
"""Where an agent's noise has to stay so that the goal is found, it stays, in every row alike."""
COMMON = {"actor_lambda": 0.5, "critic_lambda": 0.8, "gamma": 0.98}


def drawn(way: Way, number: int) -> dict[str, Any]:
    """Rates of actor and critic of a trial."""
    rng = np.random.default_rng([2000, number])
    shares = way.by_layer or (1.0, 1.0, 1.0)
    pair = {key: log_uniform(rng, *way.rates) for key in ("actor_learning_rate", "critic_learning_rate")}
    return {key: [float(f"{rate * share:.2g}") for share in shares] for key, rate in pair.items()}


def trained(way: Way, env_id: str, rates: Mapping[str, Any], seed: int) -> float | None:
    """The score of a run, or None where it diverges."""
    from coagent_rl.training.run import Options, train

    task = TASKS[env_id]
    settings = override({**COMMON, **task.settings, "n_timesteps": task.n_timesteps, **rates}, dict(way.changes))
    try:
        result = train(way.algorithm, env_id, settings, seed, Options(final_eval_episodes=0))
    except ValueError:
        return None
    return round(at_an_average_step(result.returns, result.lengths), 4)


def path_of(name: str, env_id: str) -> Path:
    """Where the runs of a cell lie."""
    return FOLDER / f"{name}-{env_id.replace('/', '-')}.jsonl"


def make(name: str, env_id: str, seeds: Sequence[int]) -> None:
    """Make what is missing of a cell: trials, then runs with the rates of the best."""
    way = WAYS[name]

    def train(number: int, seed: int) -> dict[str, Any]:
        rates = drawn(way, number)
        return {"score": trained(way, env_id, rates, seed), **rates}

    trials_then_runs(path_of(name, env_id), N_TRIALS, TRIAL_SEED, seeds, train, "score")
    print(env_id, name, written(name, env_id), flush=True)


def written(name: str, env_id: str) -> str:
    """What a cell of the table says: mean ± standard deviation (ddof 1) over runs."""
    scores = [line["score"] for line in read_trials(path_of(name, env_id)) if line["kind"] == "run"]
    fine = [score for score in scores if score is not None]
    digits = 3 if env_id == MULTIPLEXER else 0
    text = "diverged" if scores else ""
    if len(fine) > 1:
        text = f"{np.mean(fine):.{digits}f} ± {np.std(fine, ddof=1):.{digits}f}"
    if fine and len(fine) < len(scores):
        text += f" ({len(scores) - len(fine)} of {len(scores)} diverged)"
    return text


def table() -> str:
    """One line a way: the score on every task, and how many of all trials diverged."""
    heads = ["one rate for all layers of a network", *(task.name for task in TASKS.values()), "trials that diverged"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, way in WAYS.items():
        trials = [line for env_id in TASKS for line in read_trials(path_of(name, env_id)) if line["kind"] == "trial"]
        n_diverged = sum(line["score"] is None for line in trials)
        cells = [way.label, *(written(name, env_id) for env_id in TASKS), f"{n_diverged} of {N_TRIALS * len(TASKS)}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from joblib import Parallel, delayed

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    p.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    p.add_argument("--seeds", default="0-4", help="such as 0-4")
    p.add_argument("--n-jobs", type=int, default=1, help="processes; the results do not depend on it")
    given = p.parse_args(argv)
    jobs = product(given.tasks, given.ways)
    Parallel(n_jobs=given.n_jobs)(delayed(make)(name, env_id, parse_seeds(given.seeds)) for env_id, name in jobs)
    write_text(FOLDER / "table.md", table())
    print(table())


if __name__ == "__main__":
    main()
