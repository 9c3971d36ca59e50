"""Searches for what an agent does with nothing said: ``python -m benchmarks.default_settings map_prop``.

One set of constructor arguments must do for several tasks. Every trial is trained on all of them with the seeds 1000, 1001
and 1002, and ends with the first run that diverges, or with the first seed where the score is below 0.3. A task's score is
the mean return of the last 100 training episodes on a scale from nothing learned (0) to the level of `benchmarks.cells` (1),
a trial's the mean over its runs; a trial with a run that diverged has none. The trial 0 is what the agent did before.

Trials are kept in ``results/tuning/defaults-<agent>.jsonl``, one a line, and those that are there are not made again. The
best two are trained again on the same seeds for as long as the table's runs, in ``defaults-<agent>-longer.jsonl``: what
learns at first may be lost later.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_search import log_uniform, read_trials
from benchmarks.runs import RESULTS

N_TRIALS = 13
N_LONGER, LONGER = 2, 100_000
SEEDS = (1000, 1001, 1002)
N_LAST = 100
LEAST = 0.3
"""Score of the first seed below which a trial ends."""
SCALES = {
    "CartPole-v1": (0.0, 475.0),
    "Acrobot-v1": (-500.0, -100.0),
    "MountainCar-v0": (-200.0, -130.0),
    "MountainCarContinuous-v0": (0.0, 90.0),
    "coagent_rl/Multiplexer-v0": (0.0, 0.9),
}
"""Task → mean returns that count as 0 and as 1."""
CONTROL = ("CartPole-v1", "Acrobot-v1")
CARS = ("MountainCar-v0", "MountainCarContinuous-v0")
EVERYTHING = (*CONTROL, *CARS, "coagent_rl/Multiplexer-v0")


def rates(rng: np.random.Generator, first: tuple[float, float], fall: tuple[float, float]) -> list[float]:
    """Draw rates of three layers: the first layer's, and one for all layers above it, as a share of the first layer's."""
    rate = log_uniform(rng, *first)
    above = float(f"{rate * log_uniform(rng, *fall):.2g}")
    return [rate, above, above]


def map_prop(rng: np.random.Generator) -> dict[str, Any]:
    """Draw rates of actor and critic, λ of both, the temperature, the variance, and the step size of the relaxation."""
    λ = float(rng.choice([0.9, 0.95]))
    actor, critic = rates(rng, (2e-3, 2e-2), (1e-4, 1e-2)), rates(rng, (5e-3, 3e-2), (1e-4, 1e-2))
    variance = float(rng.choice([0.03, 0.06, 0.1]))
    return {
        "actor_learning_rate": actor,
        "critic_learning_rate": critic,
        "actor_lambda": λ,
        "critic_lambda": λ,
        "temperature": float(rng.choice([1.0, 2.0, 4.0])),
        "relaxation_rate": float(rng.choice([0.25, 0.5])),
        "policy_kwargs": {"variance": variance, "critic_variance": variance},
    }


def weight_max(rng: np.random.Generator) -> dict[str, Any]:
    """Draw rates of actor and critic, γ, λ of both, the temperature, and how long noise stays in hidden and output units."""
    hidden, output = float(rng.choice([0.0, 0.5, 0.8])), float(rng.choice([0.8, 0.9, 0.95]))
    return {
        "actor_learning_rate": rates(rng, (5e-3, 5e-2), (3e-3, 1e-1)),
        "critic_learning_rate": rates(rng, (5e-3, 5e-2), (3e-4, 3e-2)),
        "gamma": float(rng.choice([0.98, 0.99])),
        "actor_lambda": float(rng.choice([0.0, 0.5, 0.8])),
        "critic_lambda": float(rng.choice([0.8, 0.9, 0.95])),
        "temperature": float(rng.choice([1.0, 2.0])),
        "policy_kwargs": {"noise_persistence": [hidden, hidden, output]},
    }


def weight_max_normalised(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the same with observations normalised, as YAML can say it and a constructor cannot."""
    return {**weight_max(rng), "normalize": {"norm_obs": True, "norm_reward": False}}


def decentralized_ddpg(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the rates, λ of all critics, the kind of the neurons' critics, and the noise."""
    λ = float(rng.choice([0.8, 0.9, 0.95]))
    return {
        "actor_learning_rate": log_uniform(rng, 3e-5, 3e-3),
        "critic_learning_rate": log_uniform(rng, 1e-3, 1e-2),
        "neuron_critic_learning_rate": log_uniform(rng, 1e-3, 1e-2),
        "critic_lambda": λ,
        "neuron_critic_lambda": λ,
        "critic_kind": str(rng.choice(["compatible", "quadratic"])),
        "hidden_noise": float(rng.choice([0.05, 0.1, 0.2])),
        "output_noise": float(rng.choice([0.4, 0.7])),
        "noise_correlation_rate": float(rng.choice([0.05, 0.1, 0.25])),
    }


@dataclass(frozen=True)
class Search:
    """What is searched: how a trial is drawn, what the agent did before, and how long it is trained on which tasks; and the
    agent, where the search has another name."""

    draw: Callable[[np.random.Generator], dict[str, Any]]
    before: Mapping[str, Any]
    n_timesteps: int
    tasks: Sequence[str] = CONTROL
    algorithm: str | None = None


OLD_RATES = [1e-2, 1e-4, 1e-4]
SEARCHES = {
    "map_prop": Search(
        map_prop,
        {
            "actor_learning_rate": OLD_RATES,
            "critic_learning_rate": OLD_RATES,
            "actor_lambda": 0.0,
            "critic_lambda": 0.8,
            "temperature": 1.0,
            "relaxation_rate": 0.5,
            "policy_kwargs": {"variance": 0.1, "critic_variance": 0.1},
        },
        40_000,
    ),
    "weight_max": Search(weight_max, {}, 60_000, EVERYTHING),
    "weight_max_normalised": Search(weight_max_normalised, {}, 60_000, EVERYTHING, "weight_max"),
    "decentralized_ddpg": Search(decentralized_ddpg, {}, 60_000, (*CONTROL, *CARS)),
}
"""Name → search. `N_TRIALS` are those of MAP Propagation, whose runs take longest; the others have twice as many draws."""


def settings_of(agent: str, number: int) -> dict[str, Any]:
    """Constructor arguments of a trial; each is drawn from a generator of its own."""
    search = SEARCHES[agent]
    return dict(search.before) if number == 0 else search.draw(np.random.default_rng([1000, number]))


def try_out(agent: str, number: int, n_timesteps: int) -> dict[str, Any]:
    """Train a trial's runs, until one diverges."""
    from coagent_rl.training.run import Options, train

    search, drawn = SEARCHES[agent], settings_of(agent, number)
    means: dict[str, list[float]] = {env_id: [] for env_id in search.tasks}
    trial = {"trial": number, "score": None, "n_timesteps": n_timesteps, "diverged": None, "means": means}
    scores: list[float] = []
    for seed, env_id in product(SEEDS, search.tasks):
        if seed != SEEDS[0] and len(scores) == len(search.tasks) and np.mean(scores) < LEAST:
            break
        settings = {"n_timesteps": n_timesteps, **drawn}
        try:
            result = train(search.algorithm or agent, env_id, settings, seed, Options(final_eval_episodes=0))
        except ValueError as error:
            return {**trial, "diverged": f"{env_id}, seed {seed}: {error}", "drawn": drawn}
        mean = float(result.returns[-N_LAST:].mean())
        means[env_id].append(round(mean, 4))
        low, high = SCALES[env_id]
        scores.append((mean - low) / (high - low))
    return {**trial, "score": round(float(np.mean(scores)), 4), "drawn": drawn}


def score_of(trial: Mapping[str, Any]) -> float:
    """A trial's score; one that diverged is below all others."""
    return -1.0 if trial["score"] is None else float(trial["score"])


def make_missing(agent: str, path: Path, numbers: Sequence[int], n_timesteps: int) -> list[dict[str, Any]]:
    """Make the trials of these numbers that the file does not hold yet, and return all, the best first."""
    for number in numbers[len(read_trials(path)) :]:
        trial = try_out(agent, number, n_timesteps)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(trial) + "\n")
        print(number, n_timesteps, trial["score"], trial["diverged"], trial["means"], flush=True)
    return sorted(read_trials(path), key=score_of, reverse=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("agent", choices=list(SEARCHES))
    agent = p.parse_args(argv).agent
    path = RESULTS / "tuning" / f"defaults-{agent}.jsonl"
    n_trials = N_TRIALS if agent == "map_prop" else 2 * N_TRIALS - 1
    best = make_missing(agent, path, range(n_trials), SEARCHES[agent].n_timesteps)[:N_LONGER]
    longer = path.with_name(f"defaults-{agent}-longer.jsonl")
    print(json.dumps(make_missing(agent, longer, [trial["trial"] for trial in best], LONGER)[0]))


if __name__ == "__main__":
    main()
