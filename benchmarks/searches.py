"""Searches for settings of the cells that had none: ``python -m benchmarks.searches weight_max-MountainCar-v0``.

Every search has as many random trials, each trained with the seeds 1000 and 1001; the best three are trained again with
fresh seeds, by which one is named. All trials are kept in ``results/tuning``, and what the best ones did on fresh seeds
beside them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.runs import RESULTS

N_TRIALS = 16
TUNING_SEEDS = (1000, 1001)
CONFIRM_SEEDS = (2000, 2001, 2002)
N_CONFIRMED = 3


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        base: settings that draws replace.
        fixed: settings that no draw replaces.
        objective: see `coagent_rl.training.tuning.tune`.
    """

    algorithm: str
    env_id: str
    base: Mapping[str, Any]
    fixed: Mapping[str, Any]
    objective: str = "average"


HELD = {"noise_persistence": [0.5, 0.5, 0.95]}
BOTH, OBSERVATIONS = {"norm_obs": True, "norm_reward": True}, {"norm_obs": True, "norm_reward": False}
CAR, CONTINUOUS, MULTIPLEXER = "MountainCar-v0", "MountainCarContinuous-v0", "coagent_rl/Multiplexer-v0"
MAP_PROP_VARIANCES = {"variance": [0.03, 0.1], "critic_variance": [0.03, 0.1, 0.1]}
CONTINUOUS_VARIANCES = {"variance": [0.03, 0.1, 0.5], "critic_variance": [0.03, 0.1, 0.1]}

SEARCHES: dict[str, Search] = {
    f"weight_max-{CONTINUOUS}": Search(
        "weight_max", CONTINUOUS, {"n_timesteps": 100_000, "normalize": BOTH, "policy_kwargs": HELD}, {}
    ),
    f"weight_max-{CAR}": Search(
        "weight_max", CAR, {"n_episodes": 2000, "normalize": BOTH, "policy_kwargs": HELD}, {"gamma": 0.99}
    ),
    f"map_prop_held-{CAR}": Search(
        "map_prop",
        CAR,
        {"n_episodes": 500, "normalize": BOTH, "policy_kwargs": {**MAP_PROP_VARIANCES, **HELD}},
        {"gamma": 0.99},
    ),
    f"map_prop_held-{CONTINUOUS}": Search(
        "map_prop",
        CONTINUOUS,
        {"n_timesteps": 60_000, "normalize": BOTH, "policy_kwargs": {**CONTINUOUS_VARIANCES, **HELD}},
        {"gamma": 0.99},
    ),
    "decentralized_ddpg-CartPole-v1": Search(
        "decentralized_ddpg",
        "CartPole-v1",
        {"n_timesteps": 150_000, "normalize": True, "policy_kwargs": {"net_arch": [64]}},
        {},
        "final",
    ),
    "decentralized_ddpg-Acrobot-v1": Search(
        "decentralized_ddpg",
        "Acrobot-v1",
        {"n_timesteps": 150_000, "normalize": True, "policy_kwargs": {"net_arch": [64]}},
        {},
        "final",
    ),
    f"decentralized_ddpg-{MULTIPLEXER}": Search(
        "decentralized_ddpg", MULTIPLEXER, {"n_timesteps": 200_000, "policy_kwargs": {"net_arch": [64, 32]}}, {}, "final"
    ),
}
"""By the name of its file. The base holds what the hints of earlier runs say: noise that stays, normalised observations."""


def run(name: str) -> None:
    """Search, and write all trials and what the best ones reached on fresh seeds."""
    from coagent_rl.training.files import write_text
    from coagent_rl.training.tuning import describe, tune

    search = SEARCHES[name]
    path = RESULTS / "tuning" / f"{name.replace('/', '-')}.jsonl"

    def write(trials: Sequence[Any], _: Any = None) -> None:
        lines = [
            {
                "trial": trial.number,
                "score": trial.score,
                "means": list(trial.scores.values()),
                **{key: search.base[key] for key in ("n_episodes", "n_timesteps") if key in search.base},
                "drawn": trial.drawn,
            }
            for trial in sorted(trials, key=lambda trial: trial.number)
        ]
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        print(name, len(lines), lines[-1]["score"], flush=True)

    result = tune(
        search.algorithm,
        search.env_id,
        N_TRIALS,
        settings=search.base,
        fixed=search.fixed,
        objective=search.objective,
        sampler="random",
        pruner="none",
        tuning_seeds=TUNING_SEEDS,
        confirm_seeds=CONFIRM_SEEDS,
        n_confirmed=N_CONFIRMED,
        when_finished=write,
    )
    found = {"search": asdict(search), "candidates": [describe(c) for c in result.candidates], "settings": result.settings}
    write_text(path.with_suffix(".json"), json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["candidates"]), json.dumps(found["settings"]), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("names", nargs="+", choices=list(SEARCHES))
    for name in p.parse_args(argv).names:
        run(name)


if __name__ == "__main__":
    main()
