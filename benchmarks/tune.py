"""Random search for settings that were never published: ``python -m benchmarks.tune reinforce CartPole-v1``.

Every trial draws settings from the ranges of `SEARCHES`, trains with two seeds that no table uses, and is judged by the
papers' metric, the mean return over all episodes, or, where exploring costs return, by the mean return of 30 episodes after
training. A trial whose first run stays below half of the best mean so far (below
twice, for negative returns) is not repeated. Trials are appended to ``benchmarks/results/tuning/<name>-<env>.jsonl``, and a
stopped search goes on where it stopped; trial k draws the same settings whenever it is run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import RESULTS

SEEDS = (1000, 1001)

DECAY_STEPS = {
    "CartPole-v1": 50_000,
    "Acrobot-v1": 100_000,
    "LunarLander-v3": 1_000_000,
    "coagent_rl/Multiplexer-v0": 800_000,
    "MountainCar-v0": 200_000,
    "MountainCarContinuous-v0": 500_000,
}
"""Environment steps over which a drawn learning rate decays: about the length of training (CartPole: as in the release)."""


@dataclass(frozen=True)
class Task:
    """What a draw depends on: over how many environment steps rates decay, and how many hidden layers there are."""

    steps: int
    n_hidden: int


Draw = Callable[[np.random.Generator, Task], dict[str, Any]]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform, to two digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.2g}")


def rates(rng: np.random.Generator, steps: int, *ranges: tuple[float, float]) -> dict[str, Any]:
    """Rates of the layers that decay to 1, 1/10 or 1/100, and λ."""
    start = [log_uniform(rng, low, high) for low, high in ranges]
    decay = float(rng.choice([1.0, 0.1, 0.01]))
    return {
        "actor_learning_rate": {"start": start, "end": [float(f"{rate * decay:.2g}") for rate in start], "steps": steps},
        "actor_lambda": float(rng.choice([0.0, 0.8, 0.9])),
    }


def reinforce_rates(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw for rules that tell every unit the same."""
    return rates(rng, task.steps, (1e-3, 1e-1), (1e-4, 1e-2), (1e-4, 3e-2))


def thomas_rates(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw the same, and the probability of exploring."""
    return {**reinforce_rates(rng, task), "exploration_probability": float(rng.choice([0.1, 0.25, 0.5, 0.75]))}


def gradient_rates(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw around the released settings of Weight Max, for it and for rules whose hidden layers follow the gradient too."""
    return rates(rng, task.steps, (5e-3, 1e-1), (1e-4, 5e-3), (1e-5, 5e-3))


def ste_rates(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw the same, and the slope."""
    return {**gradient_rates(rng, task), "slope": str(rng.choice(["identity", "sigmoid"]))}


def output_rate(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Rate of the output layer alone, and λ."""
    return {
        "actor_learning_rate": [0.0, 0.0, log_uniform(rng, 1e-4, 1e-1)],
        "actor_lambda": float(rng.choice([0.0, 0.8, 0.9])),
    }


def map_prop_rates(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw around the released settings of MAP Propagation, in which the first layer learns fastest; the critic too."""
    decay = float(rng.choice([1.0, 0.1]))
    first, others = log_uniform(rng, 1e-3, 3e-2), log_uniform(rng, 1e-6, 1e-3)
    start = [first, others, others]
    end = [float(f"{rate * decay:.2g}") for rate in start]
    return {
        "actor_learning_rate": {"start": start, "end": end, "steps": task.steps},
        "critic_learning_rate": [log_uniform(rng, 3e-3, 3e-2), log_uniform(rng, 1e-6, 1e-4), log_uniform(rng, 1e-7, 1e-5)],
        "temperature": float(rng.choice([1.0, 2.0, 4.0])),
    }


def map_prop_rates_and_λ(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw the same, and λ of actor and critic."""
    λ = float(rng.choice([0.9, 0.95, 0.97]))
    return {"actor_lambda": λ, "critic_lambda": λ, **map_prop_rates(rng, task)}


def noisy_output(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw what deterministic output neurons and the shared critic need; the hidden layers are frozen and quiet."""
    return {
        "actor_learning_rate": [0.0] * task.n_hidden + [log_uniform(rng, 5e-5, 3e-3)],
        "neuron_critic_learning_rate": log_uniform(rng, 1e-3, 1e-2),
        "critic_learning_rate": log_uniform(rng, 1e-3, 1e-2),
        "critic_lambda": (λ := float(rng.choice([0.8, 0.9, 0.95]))),
        "neuron_critic_lambda": λ,
        "hidden_noise": 0.01,
        "output_noise": float(rng.choice([0.25, 0.4, 0.7])),
        "noise_correlation_rate": float(rng.choice([0.25, 1.0])),
        "gamma": float(rng.choice([0.95, 0.98, 0.99])),
    }


def noisy_neurons(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw the same, the noise of the hidden neurons, and how much slower than the output neurons they learn."""
    drawn = noisy_output(rng, task)
    output, share = drawn["actor_learning_rate"][-1], float(rng.choice([0.1, 0.3, 1.0]))
    return {
        **drawn,
        "actor_learning_rate": [float(f"{output * share:.2g}")] * task.n_hidden + [output],
        "hidden_noise": float(rng.choice([0.05, 0.1, 0.2, 0.3])),
    }


def noisy_neurons_alone(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw the same for neurons whose critics bootstrap on their own, which need less noise (no shared critic)."""
    drawn = {**noisy_neurons(rng, task), "hidden_noise": float(rng.choice([0.02, 0.05, 0.1]))}
    del drawn["critic_learning_rate"], drawn["critic_lambda"]
    return drawn


def node_perturbation(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Draw the same for neurons without critics."""
    drawn = noisy_neurons(rng, task)
    del drawn["neuron_critic_learning_rate"]
    drawn["actor_lambda"] = drawn.pop("neuron_critic_lambda")
    return drawn


@dataclass(frozen=True)
class Search:
    """What is trained, whose YAML file gives the settings that are not drawn, what else is fixed, and what is drawn.

    ``final`` says that trials are judged by the return after training.
    """

    algorithm: str
    settings: str
    fixed: dict[str, Any]
    draw: Draw
    final: bool = False


DDPG = "decentralized_ddpg"
FROZEN = {"frozen_layers": "hidden"}
SEARCHES: dict[str, Search] = {
    "weight_max": Search("weight_max", "weight_max", {}, gradient_rates),
    "reinforce": Search("reinforce", "weight_max", {}, reinforce_rates),
    "reinforce_thomas": Search("reinforce_thomas", "weight_max", {}, thomas_rates),
    "ste_backprop": Search("ste_backprop", "weight_max", {}, ste_rates),
    "backprop": Search("backprop", "weight_max", {}, gradient_rates),
    "frozen": Search("reinforce", "weight_max", FROZEN, output_rate),
    "map_prop": Search("map_prop", "map_prop", {}, map_prop_rates),
    "map_prop_lambda": Search("map_prop", "map_prop", {}, map_prop_rates_and_λ),
    "map_prop_frozen": Search("map_prop", "map_prop", FROZEN, output_rate),
    "decentralized_ddpg": Search(DDPG, DDPG, {}, noisy_neurons, True),
    "decentralized_ddpg_quadratic": Search(DDPG, DDPG, {"critic_kind": "quadratic"}, noisy_neurons, True),
    "decentralized_ddpg_linear": Search(DDPG, DDPG, {"critic_kind": "linear"}, noisy_neurons, True),
    "decentralized_ddpg_alone": Search(DDPG, DDPG, {"td_source": "neuron"}, noisy_neurons_alone, True),
    "decentralized_ddpg_frozen": Search(DDPG, DDPG, FROZEN, noisy_output, True),
    "node_perturbation": Search("node_perturbation", "node_perturbation", {}, node_perturbation, True),
}


def search(name: str, env_id: str, n_trials: int, lengths: dict[str, int]) -> None:
    """Run the trials that are missing; runs are as long as the settings say unless ``lengths`` has another length."""
    import torch as th

    from coagent_rl.agents.policy import DEFAULT_NET_ARCH, hidden_sizes
    from coagent_rl.training.hyperparameters import load_hyperparameters, override
    from coagent_rl.training.run import Options, train

    th.set_num_threads(1)
    searched = SEARCHES[name]
    path = RESULTS / "tuning" / f"{name}-{env_id.replace('/', '-')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = read_trials(path)
    settings = {**load_hyperparameters(searched.settings, env_id), **searched.fixed}
    settings = override(settings, lengths)
    architecture = settings.get("policy_kwargs", {}).get("net_arch", DEFAULT_NET_ARCH)
    task = Task(DECAY_STEPS.get(env_id, 0), len(hidden_sizes(architecture)[0]))
    for number in range(len(trials), n_trials):
        drawn = searched.draw(np.random.default_rng([number, *name.encode()]), task)
        best = max((trial["score"] for trial in trials), default=None)
        means: list[float] = []
        for seed in SEEDS:
            options = Options(final_eval_episodes=30 if searched.final else 0)
            result = train(searched.algorithm, env_id, {**settings, **drawn}, seed, options)
            after = result.summary["final_evaluation"]
            means.append(after["mean_return"] if searched.final else float(result.returns.mean()))
            if best is not None and means[0] < (best / 2 if best > 0 else best * 2):
                break
        trial = {"trial": number, "score": float(np.mean(means)), "means": means, "drawn": drawn, "others": settings}
        trials.append(trial)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(trial) + "\n")
        print(json.dumps(trial), flush=True)


def read_trials(path: Path) -> list[dict[str, Any]]:
    """All trials of a search, in order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=sorted(SEARCHES))
    p.add_argument("env")
    p.add_argument("--trials", type=int, default=40)
    p.add_argument("--n-episodes", type=int, help="of each run [what the settings say]")
    p.add_argument("--n-timesteps", type=int, help="of each run instead")
    arguments = p.parse_args(argv)
    lengths = {key: vars(arguments)[key] for key in ("n_episodes", "n_timesteps") if vars(arguments)[key] is not None}
    search(arguments.name, arguments.env, arguments.trials, lengths)


if __name__ == "__main__":
    main()
