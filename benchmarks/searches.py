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
from coagent_rl import MAPProp, WeightMax
from coagent_rl.agents.search import Trial, digits, persistence

N_TRIALS = 16
TUNING_SEEDS = (1000, 1001)
CONFIRM_SEEDS = (2000, 2001, 2002)
N_CONFIRMED = 3


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        base: settings that draws replace.
        objective: see `coagent_rl.training.tuning.tune`.
    """

    algorithm: str
    env_id: str
    base: Mapping[str, Any]
    objective: str = "average"


HELD = {"noise_persistence": [0.5, 0.5, 0.95]}
BOTH, OBSERVATIONS = {"norm_obs": True, "norm_reward": True}, {"norm_obs": True, "norm_reward": False}
CAR, CONTINUOUS, LANDER = "MountainCar-v0", "MountainCarContinuous-v0", "LunarLander-v3"


def near(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest around settings that are known to find the goal: rates up to three times smaller or larger, the scale of
    rewards, the output's temperature, traces, and how long noise stays."""
    drawn: dict[str, Any] = {}
    for name in ("actor_learning_rate", "critic_learning_rate"):
        factors = [trial.suggest_float(f"{name}.{k}", 1 / 3, 3.0, log=True) for k in range(len(settings[name]))]
        drawn[name] = [digits(rate * factor) for rate, factor in zip(settings[name], factors, strict=True)]
    drawn["actor_lambda"] = trial.suggest_categorical("actor_lambda", (0.5, 0.8, 0.9, 0.97))
    drawn["critic_lambda"] = trial.suggest_categorical("critic_lambda", (0.8, 0.9, 0.97))
    drawn["temperature"] = trial.suggest_categorical("temperature", (1.0, 2.0, 4.0))
    drawn["normalize"] = {"norm_obs": True, "norm_reward": trial.suggest_categorical("norm_reward", (True, False))}
    return {**drawn, "policy_kwargs": persistence(trial, settings)}


class Near:
    """Searched around the base."""

    @classmethod
    def search_space(cls, trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `near`."""
        return near(trial, settings)


def with_falling_rates(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest as `near` does, but fresh noise, shorter traces of the actor, and rates that may fall to a tenth."""
    drawn = near(trial, settings)
    del drawn["policy_kwargs"]
    drawn["actor_lambda"] = trial.suggest_categorical("actor_lambda_short", (0.5, 0.7, 0.9))
    end = trial.suggest_categorical("end", (1.0, 0.1))
    for name in ("actor_learning_rate", "critic_learning_rate"):
        start = drawn[name]
        drawn[name] = {"start": start, "end": [digits(rate * end) for rate in start], "steps": 800_000}
    return drawn


class LanderWeightMax(WeightMax):
    """Weight Max, searched around its base with fresh noise."""

    @classmethod
    def search_space(cls, trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `with_falling_rates`."""
        return with_falling_rates(trial, settings)


class NearWeightMax(Near, WeightMax):
    """Weight Max, searched around its base."""


class NearMAPProp(Near, MAPProp):
    """MAP Propagation, searched around its base."""


WEIGHT_MAX_CAR = {
    "n_episodes": 1000,
    "normalize": OBSERVATIONS,
    "actor_learning_rate": [1.9e-2, 6.3e-3, 4.1e-4],
    "critic_learning_rate": [9.9e-3, 5.7e-5, 5.7e-5],
    "gamma": 0.99,
    "policy_kwargs": HELD,
}
WEIGHT_MAX_LANDER = {
    "n_episodes": 2000,
    "normalize": OBSERVATIONS,
    "actor_learning_rate": [8.0e-2, 8.0e-4, 8.0e-5],
    "critic_learning_rate": [2.0e-2, 2.0e-5, 2.0e-6],
    "gamma": 0.99,
}
MAP_PROP_CAR = {
    "n_episodes": 500,
    "normalize": OBSERVATIONS,
    "actor_learning_rate": [6.3e-3, 9.5e-5, 9.5e-5],
    "critic_learning_rate": [4.9e-3, 5.6e-6, 8.1e-7],
    "gamma": 0.99,
    "relaxation_rate": 0.5,
    "policy_kwargs": {"variance": [0.03, 0.1], "critic_variance": [0.03, 0.1, 0.1], **HELD},
}
MAP_PROP_CONTINUOUS = {
    "n_timesteps": 60_000,
    "normalize": OBSERVATIONS,
    "actor_learning_rate": [4.0e-3, 4.0e-6, 4.0e-8],
    "critic_learning_rate": [1.0e-2, 1.0e-5, 1.0e-6],
    "gamma": 0.99,
    "relaxation_rate": 0.5,
    "policy_kwargs": {"variance": [0.03, 0.1, 0.5], "critic_variance": [0.003, 0.01, 0.05], **HELD},
}
SMALL = {"normalize": True, "policy_kwargs": {"net_arch": [64]}}

SEARCHES: dict[str, Search] = {
    f"weight_max-{CONTINUOUS}": Search(
        "weight_max", CONTINUOUS, {"n_timesteps": 100_000, "normalize": BOTH, "policy_kwargs": HELD}
    ),
    f"weight_max-{CAR}": Search("benchmarks.searches:NearWeightMax", CAR, WEIGHT_MAX_CAR),
    f"weight_max-{LANDER}": Search("benchmarks.searches:LanderWeightMax", LANDER, WEIGHT_MAX_LANDER),
    f"map_prop_held-{CAR}": Search("benchmarks.searches:NearMAPProp", CAR, MAP_PROP_CAR),
    f"map_prop_held-{CONTINUOUS}": Search("benchmarks.searches:NearMAPProp", CONTINUOUS, MAP_PROP_CONTINUOUS),
    "decentralized_ddpg-CartPole-v1": Search(
        "decentralized_ddpg", "CartPole-v1", {"n_timesteps": 150_000, **SMALL}, "final"
    ),
    "decentralized_ddpg-Acrobot-v1": Search("decentralized_ddpg", "Acrobot-v1", {"n_timesteps": 150_000, **SMALL}, "final"),
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
                "state": trial.state,
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
        n_startup_trials=4,
        objective=search.objective,
        sampler="random",
        pruner="median",
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
