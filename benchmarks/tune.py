"""Random search for settings that were never published: ``python -m benchmarks.tune reinforce CartPole-v1``.

Every trial draws settings from the ranges of `SPACES`, trains with two seeds that no table uses, and is judged by the
papers' metric, the mean return over all episodes. A trial whose first run stays below half of the best mean so far (below
twice, for negative returns) is not repeated. Trials are appended to ``benchmarks/results/tuning/<name>-<env>.jsonl``, and a
stopped search goes on where it stopped; trial k draws the same settings whenever it is run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import EPISODES, RESULTS

SEEDS = (1000, 1001)
Draw = Callable[[np.random.Generator, int], dict[str, Any]]

DECAY_STEPS = {
    "CartPole-v1": 50_000,
    "Acrobot-v1": 100_000,
    "LunarLander-v3": 1_000_000,
    "coagent_rl/Multiplexer-v0": 800_000,
}
"""Environment steps over which a drawn learning rate decays: about the length of training (CartPole: as in the release)."""


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


def reinforce_rates(rng: np.random.Generator, steps: int) -> dict[str, Any]:
    """Draw for rules that tell every unit the same."""
    return rates(rng, steps, (1e-3, 1e-1), (1e-4, 1e-2), (1e-4, 3e-2))


def thomas_rates(rng: np.random.Generator, steps: int) -> dict[str, Any]:
    """Draw the same, and the probability of exploring."""
    return {**reinforce_rates(rng, steps), "exploration_probability": float(rng.choice([0.1, 0.25, 0.5, 0.75]))}


def backprop_rates(rng: np.random.Generator, steps: int) -> dict[str, Any]:
    """Draw around the released settings of Weight Max, whose hidden layers follow the gradient too."""
    return rates(rng, steps, (5e-3, 1e-1), (1e-4, 5e-3), (1e-5, 5e-3))


def ste_rates(rng: np.random.Generator, steps: int) -> dict[str, Any]:
    """Draw the same, and the slope."""
    return {**backprop_rates(rng, steps), "slope": str(rng.choice(["identity", "sigmoid"]))}


def output_rate(rng: np.random.Generator, steps: int) -> dict[str, Any]:
    """Rate of the output layer alone, and λ."""
    return {
        "actor_learning_rate": [0.0, 0.0, log_uniform(rng, 1e-4, 1e-1)],
        "actor_lambda": float(rng.choice([0.0, 0.8, 0.9])),
    }


SPACES: dict[str, tuple[str, dict[str, Any], Draw]] = {
    "reinforce": ("reinforce", {}, reinforce_rates),
    "reinforce_thomas": ("reinforce_thomas", {}, thomas_rates),
    "ste_backprop": ("ste_backprop", {}, ste_rates),
    "backprop": ("backprop", {}, backprop_rates),
    "frozen": ("reinforce", {"frozen_layers": "hidden"}, output_rate),
}
"""Name of a search → (algorithm, fixed settings, what is drawn)."""


def search(name: str, env_id: str, n_trials: int, n_episodes: int) -> None:
    """Run the trials that are missing."""
    import torch as th

    from coagent_rl.training.hyperparameters import load_hyperparameters
    from coagent_rl.training.run import Options, train

    th.set_num_threads(1)
    algorithm, fixed, draw = SPACES[name]
    path = RESULTS / "tuning" / f"{name}-{env_id.replace('/', '-')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = read_trials(path)
    official = load_hyperparameters("weight_max", env_id)
    official.pop("n_timesteps", None)
    for number in range(len(trials), n_trials):
        drawn = draw(np.random.default_rng([number, *name.encode()]), DECAY_STEPS[env_id])
        settings = {**official, **fixed, **drawn, "n_episodes": n_episodes}
        best = max((trial["score"] for trial in trials), default=None)
        means: list[float] = []
        for seed in SEEDS:
            means.append(float(train(algorithm, env_id, settings, seed, Options(final_eval_episodes=0)).returns.mean()))
            if best is not None and means[0] < (best / 2 if best > 0 else best * 2):
                break
        trial = {"trial": number, "score": float(np.mean(means)), "means": means, "n_episodes": n_episodes, "drawn": drawn}
        trials.append(trial)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(trial) + "\n")
        print(json.dumps(trial), flush=True)


def read_trials(path: Path) -> list[dict[str, Any]]:
    """All trials of a search, in order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=sorted(SPACES))
    p.add_argument("env")
    p.add_argument("--trials", type=int, default=40)
    p.add_argument("--n-episodes", type=int, help="of each run [those of the table]")
    arguments = p.parse_args()
    search(arguments.name, arguments.env, arguments.trials, arguments.n_episodes or EPISODES[arguments.env])


if __name__ == "__main__":
    main()
