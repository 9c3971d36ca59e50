"""Do the unbiased relatives of Weight Max learn the multiplexer? Every method with as many trials, then fresh seeds.

    python -m benchmarks.unbiased_relatives

runs what is missing in `results/gradient_quality/learning.json` and writes `learning.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gradient_quality import FOLDER
from benchmarks.tables import with_interval
from coagent_rl.agents.search import digits
from coagent_rl.files import write_whole
from coagent_rl.registry import algorithm_class

ENV = "coagent_rl/Multiplexer-v0"
CRITIC: dict[str, Any] = {"critic": "td", "critic_learning_rate": 1e-3}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "weight_max": ("weight_max", {}),
    "reinforce": ("reinforce", {}),
    "posterior_rule": ("posterior_rule", {}),
    "product_rule": ("product_rule", {}),
    "coordinated_exploration": ("coordinated_exploration", {}),
    "ste_backprop": ("ste_backprop", {}),
    "weight_max, first layer frozen": ("weight_max", {"frozen_layers": [0]}),
    "posterior_rule, first layer frozen": ("posterior_rule", {"frozen_layers": [0]}),
    "reinforce, critic": ("reinforce", CRITIC),
    "ste_backprop, critic": ("ste_backprop", CRITIC),
    "coordinated_exploration, critic": ("coordinated_exploration", CRITIC),
    "frozen": ("reinforce", {"frozen_layers": "hidden"}),
}
"""Name in the table → algorithm and what is different. With a single hidden layer, those whose first one is frozen are left
out: they are all the same."""
NETWORKS: dict[str, list[int]] = {"64": [64], "64-32": [64, 32]}
TRIALS, TRIAL_EPISODES, TRIAL_SEEDS = 12, 50_000, (1000, 1001)
EPISODES, SEEDS = 200_000, range(5)
WINDOW = 10_000
FIRST, RATIO = (1e-3, 1e-1), (1e-3, 1.0)
"""Ranges of the first layer's learning rate, and of the other layers' in units of it; the same for every method."""


def settings_of(rng: np.random.Generator, sizes: Sequence[int]) -> list[float]:
    """Draw a learning rate for each layer, log-uniform, input side first."""
    first = float(np.exp(rng.uniform(*np.log(FIRST))))
    return [digits(first)] + [digits(first * float(np.exp(rng.uniform(*np.log(RATIO))))) for _ in sizes]


def returns_of(method: str, network: str, rates: Sequence[float], episodes: int, seed: int) -> np.ndarray:
    """Train, and return every episode's return."""
    algorithm, changes = METHODS[method]
    model = algorithm_class(algorithm)(
        "MlpPolicy",
        ENV,
        actor_learning_rate=list(rates),
        seed=seed,
        stats_window_size=episodes,
        policy_kwargs={"net_arch": NETWORKS[network]},
        **{"critic": None, **changes},
    ).learn(episodes, log_interval=None)
    return np.array([episode["r"] for episode in model.ep_info_buffer or ()])


def run(method: str, network: str, trials: int, trial_episodes: int, episodes: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Search on the seeds of trials, then train with fresh seeds; the best trial is not trained again before it is taken."""
    rng, tried = np.random.default_rng(0), []
    for _ in range(trials):
        rates = settings_of(rng, NETWORKS[network])
        scores = [float(returns_of(method, network, rates, trial_episodes, seed).mean()) for seed in TRIAL_SEEDS]
        tried.append({"rates": rates, "scores": scores})
    best = max(tried, key=lambda trial: float(np.mean(trial["scores"])))
    runs = [returns_of(method, network, best["rates"], episodes, seed) for seed in seeds]
    return {
        "method": method,
        "network": network,
        "episodes": episodes,
        "trials": tried,
        "rates": best["rates"],
        "all": [round(float(returns.mean()), 4) for returns in runs],
        "last": [round(float(returns[-WINDOW:].mean()), 4) for returns in runs],
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Means over the seeds, with their 95 % confidence intervals."""
    lines = [
        "| network | method | runs | return over all episodes | last 10 000 | learning rates |",
        "|---|---|---|---|---|---|",
    ]
    for network in NETWORKS:
        for method in METHODS:
            for found in results:
                if (found["method"], found["network"]) == (method, network):
                    written = " · ".join(f"{rate:g}" for rate in found["rates"])
                    lines.append(
                        f"| {network} | {method} | {len(found['all'])} | {with_interval(np.array(found['all']), 2, 1.0)} | "
                        f"{with_interval(np.array(found['last']), 2, 1.0)} | {written} |"
                    )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results go")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--trial-episodes", type=int, default=TRIAL_EPISODES)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="number of fresh seeds, from 0")
    given = parser.parse_args(arguments)
    path = given.folder / "learning.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    for network in given.networks:
        for method in given.methods:
            if METHODS[method][1].get("frozen_layers") == [0] and len(NETWORKS[network]) == 1:
                continue
            if any((found["method"], found["network"]) == (method, network) for found in results):
                continue
            found = run(method, network, given.trials, given.trial_episodes, given.episodes, range(given.seeds))
            print(f"{network} {method}: {np.mean(found['all']):.3f}, last {np.mean(found['last']):.3f}", flush=True)
            results.append(found)
            given.folder.mkdir(parents=True, exist_ok=True)
            lines = ",\n".join(json.dumps(one) for one in results)
            write_whole(path, lambda beside, text=f"[\n{lines}\n]\n": beside.write_text(text, encoding="utf-8"))
    text = table(results)
    write_whole(given.folder / "learning.md", lambda beside: beside.write_text(text, encoding="utf-8"))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
