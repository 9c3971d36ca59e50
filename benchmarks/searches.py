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
from coagent_rl import Backprop, MAPProp, STEBackprop, WeightMax
from coagent_rl.agents.search import Trial, digits, persistence

N_TRIALS = 16
N_LANDER, N_CHEAP = 4, 48
TUNING_SEEDS = (1000, 1001)
CONFIRM_SEEDS = (2000, 2001, 2002)
N_CONFIRMED = 3


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        base: settings that draws replace.
        objective: see `coagent_rl.training.tuning.tune`.
        n_trials: how many; as many for all methods that stand in one table.
    """

    algorithm: str
    env_id: str
    base: Mapping[str, Any]
    objective: str = "average"
    n_trials: int = N_TRIALS


HELD = {"noise_persistence": [0.5, 0.5, 0.95]}
BOTH, OBSERVATIONS = {"norm_obs": True, "norm_reward": True}, {"norm_obs": True, "norm_reward": False}
CAR, CONTINUOUS, LANDER = "MountainCar-v0", "MountainCarContinuous-v0", "LunarLander-v3"
ACROBOT, POLE = "Acrobot-v1", "CartPole-v1"


RATES = ("actor_learning_rate", "critic_learning_rate")


def rates_around(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest rates up to three times smaller or larger than those that are given."""
    drawn: dict[str, Any] = {}
    for name in RATES:
        factors = [trial.suggest_float(f"{name}.{k}", 1 / 3, 3.0, log=True) for k in range(len(settings[name]))]
        drawn[name] = [digits(rate * factor) for rate, factor in zip(settings[name], factors, strict=True)]
    return drawn


def falling(rates: Sequence[float], share: float, steps: int) -> dict[str, Any]:
    """A schedule from the rates to a share of them."""
    return {"start": rates, "end": [digits(rate * share) for rate in rates], "steps": steps}


def near(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest around settings that are known to find the goal: rates up to three times smaller or larger, the scale of
    rewards, the output's temperature, traces, and how long noise stays. Observations are normalised, unless a wrapper
    scales them."""
    drawn = rates_around(trial, settings)
    drawn["actor_lambda"] = trial.suggest_categorical("actor_lambda", (0.5, 0.8, 0.9, 0.97))
    drawn["critic_lambda"] = trial.suggest_categorical("critic_lambda", (0.8, 0.9, 0.97))
    drawn["temperature"] = trial.suggest_categorical("temperature", (1.0, 2.0, 4.0))
    norm_obs = "env_wrapper" not in settings
    drawn["normalize"] = {"norm_obs": norm_obs, "norm_reward": trial.suggest_categorical("norm_reward", (True, False))}
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
    for name in RATES:
        drawn[name] = falling(drawn[name], end, 800_000)
    return drawn


def with_held_noise(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest rates up to three times smaller or larger than those that are given, γ, λ, the temperature, and how long noise
    stays: in hidden units that draw, and in the output."""
    drawn = rates_around(trial, settings)
    drawn["gamma"] = trial.suggest_categorical("gamma", (0.98, 0.99))
    drawn["actor_lambda"] = trial.suggest_categorical("actor_lambda", (0.0, 0.5, 0.8))
    drawn["critic_lambda"] = trial.suggest_categorical("critic_lambda", (0.8, 0.9, 0.95))
    drawn["temperature"] = trial.suggest_categorical("temperature", (1.0, 2.0))
    hidden = trial.suggest_categorical("noise_persistence.hidden", (0.0, 0.5))
    output = trial.suggest_categorical("noise_persistence.output", (0.0, 0.5, 0.8, 0.9))
    return {**drawn, "policy_kwargs": {"noise_persistence": [hidden, hidden, output]}}


def with_held_noise_and_falling_rates(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest as `with_held_noise` does, and how far the rates fall in 50 000 time steps."""
    drawn = with_held_noise(trial, settings)
    for name in RATES:
        drawn[name] = falling(drawn[name], trial.suggest_categorical(f"{name}.end", (0.1, 0.01)), 50_000)
    return drawn


def wide(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest rates from a third of those that are given to ten times (upper layers a hundred times) as much, whether they
    fall in 50 000 time steps, one λ for both networks, γ, the temperature, the size of the actor's hidden noise, and
    normalised observations."""
    drawn: dict[str, Any] = {}
    for name in RATES:
        upper = trial.suggest_float(f"{name}.upper", 1 / 3, 100.0, log=True)
        factors = [trial.suggest_float(f"{name}.first", 1 / 3, 10.0, log=True), upper, upper]
        rates = [digits(rate * factor) for rate, factor in zip(settings[name], factors, strict=True)]
        drawn[name] = falling(rates, trial.suggest_categorical(f"{name}.end", (1.0, 0.1)), 50_000)
    drawn["actor_lambda"] = drawn["critic_lambda"] = trial.suggest_categorical("actor_lambda", (0.8, 0.9, 0.95))
    drawn["gamma"] = trial.suggest_categorical("gamma", (0.98, 0.99))
    drawn["temperature"] = trial.suggest_categorical("temperature", (1.0, 2.0, 4.0))
    if trial.suggest_categorical("norm_obs", (True, False)):
        drawn["normalize"] = OBSERVATIONS
    size = trial.suggest_float("variance", 0.2, 3.0, log=True)
    return {**drawn, "policy_kwargs": {"variance": [digits(size * v) for v in settings["policy_kwargs"]["variance"]]}}


class PoleWeightMax(WeightMax):
    """Weight Max, searched around its base with noise that may stay and rates that fall."""

    @classmethod
    def search_space(cls, trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `with_held_noise_and_falling_rates`."""
        return with_held_noise_and_falling_rates(trial, settings)


class PoleMAPProp(MAPProp):
    """MAP Propagation, searched around its base for learning sooner."""

    @classmethod
    def search_space(cls, trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `wide`."""
        return wide(trial, settings)


class Held:
    """Searched around the base with noise that may stay."""

    @classmethod
    def search_space(cls, trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `with_held_noise`."""
        return with_held_noise(trial, settings)


class HeldWeightMax(Held, WeightMax):
    """Weight Max, searched around its base."""


class HeldSTEBackprop(Held, STEBackprop):
    """STE backprop, searched around its base."""


class HeldBackprop(Held, Backprop):
    """Backprop, searched around its base."""


class Lander:
    """Searched around the base with fresh noise."""

    @classmethod
    def search_space(cls, trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `with_falling_rates`."""
        return with_falling_rates(trial, settings)


class LanderWeightMax(Lander, WeightMax):
    """Weight Max, searched around its base."""


class LanderSTEBackprop(Lander, STEBackprop):
    """STE backprop, searched around its base."""


class LanderBackprop(Lander, Backprop):
    """Backprop, searched around its base."""


class LanderMAPProp(Lander, MAPProp):
    """MAP Propagation, searched around its base."""


class NearWeightMax(Near, WeightMax):
    """Weight Max, searched around its base."""


class NearMAPProp(Near, MAPProp):
    """MAP Propagation, searched around its base."""


class NearSTEBackprop(Near, STEBackprop):
    """STE backprop, searched around its base."""


class NearBackprop(Near, Backprop):
    """Backprop, searched around its base."""


WEIGHT_MAX_CAR = {
    "n_episodes": 1000,
    "normalize": OBSERVATIONS,
    "actor_learning_rate": [1.9e-2, 6.3e-3, 4.1e-4],
    "critic_learning_rate": [9.9e-3, 5.7e-5, 5.7e-5],
    "gamma": 0.99,
    "policy_kwargs": HELD,
}
BACKPROP_CAR = {
    **WEIGHT_MAX_CAR,
    "env_wrapper": {"gymnasium.wrappers.RescaleObservation": {"min_obs": -1, "max_obs": 1}},
    "critic_learning_rate": [9.9e-3, 5.7e-5, 5.7e-4],
}
"""What was found for Weight Max in the end."""
WEIGHT_MAX_CONTINUOUS = {"n_timesteps": 100_000, "normalize": BOTH, "policy_kwargs": HELD}
SWINGING_CRITIC = {"n_episodes": 1000, "critic_learning_rate": [3.5e-2, 8.8e-5, 8.8e-5]}
WEIGHT_MAX_ACROBOT = {**SWINGING_CRITIC, "actor_learning_rate": [9.5e-3, 5.5e-4, 5.5e-4]}
"""One of the draws for defaults (`benchmarks.default_settings`) that was good on Acrobot."""
STE_ACROBOT = {**SWINGING_CRITIC, "slope": "identity", "actor_learning_rate": [7.9e-2, 1.2e-4, 9.9e-4]}
BACKPROP_ACROBOT = {**SWINGING_CRITIC, "actor_learning_rate": [8.6e-3, 4.0e-4, 2.9e-4]}
"""The rates of the actors that were found with fresh noise."""
AGAIN_CRITIC = {"n_episodes": 1000, "critic_learning_rate": [4.5e-2, 6.0e-5, 1.3e-4]}
"""Found for STE backprop; the second search of each method begins with what the first of all found."""
WEIGHT_MAX_AGAIN = {**AGAIN_CRITIC, "actor_learning_rate": [4.0e-2, 3.0e-4, 5.0e-4]}
STE_AGAIN = {**AGAIN_CRITIC, "slope": "identity", "actor_learning_rate": [7.6e-2, 3.0e-4, 6.8e-4]}
BACKPROP_AGAIN = {**AGAIN_CRITIC, "actor_learning_rate": [3.6e-3, 1.1e-3, 2.3e-4]}
WEIGHT_MAX_POLE = {
    "n_episodes": 1000,
    "actor_learning_rate": [2.0e-2, 4.0e-4, 1.0e-4],
    "critic_learning_rate": [4.0e-2, 6.0e-5, 6.0e-5],
}
WEIGHT_MAX_LANDER = {
    "n_episodes": 2000,
    "normalize": OBSERVATIONS,
    "actor_learning_rate": [8.0e-2, 8.0e-4, 8.0e-5],
    "critic_learning_rate": [2.0e-2, 2.0e-5, 2.0e-6],
    "gamma": 0.99,
}
STE_LANDER = {**WEIGHT_MAX_LANDER, "slope": "identity", "actor_learning_rate": [8.4e-2, 5.3e-4, 2.2e-4]}
BACKPROP_LANDER = {**WEIGHT_MAX_LANDER, "actor_learning_rate": [1.1e-2, 1.6e-4, 1.2e-4]}
"""The rates of the actors that were found without normalised observations; the critic is Weight Max's."""
MAP_PROP_LANDER = {
    "n_episodes": 1500,
    "normalize": OBSERVATIONS,
    "actor_learning_rate": [4.0e-3, 4.0e-6, 4.0e-8],
    "critic_learning_rate": [2.0e-2, 2.0e-5, 2.0e-6],
    "gamma": 0.99,
    "relaxation_rate": 0.5,
    "policy_kwargs": {"variance": [0.06, 0.2], "critic_variance": [0.003, 0.01, 0.01]},
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
MAP_PROP_POLE = {
    "n_episodes": 300,
    "actor_learning_rate": [1.0e-2, 1.0e-5, 1.0e-6],
    "critic_learning_rate": [2.0e-2, 2.0e-5, 2.0e-6],
    "relaxation_rate": 0.5,
    "truncation": "zero_td_error",
    "policy_kwargs": {"variance": [0.03, 0.1], "critic_variance": [0.03, 0.1, 0.1]},
}
SMALL = {"normalize": True, "policy_kwargs": {"net_arch": [64]}}

SEARCHES: dict[str, Search] = {
    f"weight_max-{CONTINUOUS}": Search("weight_max", CONTINUOUS, WEIGHT_MAX_CONTINUOUS),
    f"ste_backprop-{CONTINUOUS}": Search("ste_backprop", CONTINUOUS, WEIGHT_MAX_CONTINUOUS),
    f"backprop-{CONTINUOUS}": Search("backprop", CONTINUOUS, WEIGHT_MAX_CONTINUOUS),
    f"ste_backprop-{CAR}": Search("benchmarks.searches:NearSTEBackprop", CAR, {**BACKPROP_CAR, "slope": "identity"}),
    f"backprop-{CAR}": Search("benchmarks.searches:NearBackprop", CAR, BACKPROP_CAR),
    f"weight_max-{CAR}": Search("benchmarks.searches:NearWeightMax", CAR, WEIGHT_MAX_CAR),
    f"weight_max_held-{ACROBOT}": Search("benchmarks.searches:HeldWeightMax", ACROBOT, WEIGHT_MAX_ACROBOT),
    f"ste_backprop_held-{ACROBOT}": Search("benchmarks.searches:HeldSTEBackprop", ACROBOT, STE_ACROBOT),
    f"backprop_held-{ACROBOT}": Search("benchmarks.searches:HeldBackprop", ACROBOT, BACKPROP_ACROBOT),
    f"weight_max_again-{ACROBOT}": Search("benchmarks.searches:HeldWeightMax", ACROBOT, WEIGHT_MAX_AGAIN),
    f"ste_backprop_again-{ACROBOT}": Search("benchmarks.searches:HeldSTEBackprop", ACROBOT, STE_AGAIN),
    f"backprop_again-{ACROBOT}": Search("benchmarks.searches:HeldBackprop", ACROBOT, BACKPROP_AGAIN),
    f"weight_max_held-{POLE}": Search("benchmarks.searches:PoleWeightMax", POLE, WEIGHT_MAX_POLE),
    f"weight_max-{LANDER}": Search("benchmarks.searches:LanderWeightMax", LANDER, WEIGHT_MAX_LANDER, n_trials=N_LANDER),
    f"ste_backprop_normalised-{LANDER}": Search(
        "benchmarks.searches:LanderSTEBackprop", LANDER, STE_LANDER, n_trials=N_LANDER
    ),
    f"backprop_normalised-{LANDER}": Search(
        "benchmarks.searches:LanderBackprop", LANDER, BACKPROP_LANDER, n_trials=N_LANDER
    ),
    f"map_prop_wide-{POLE}": Search("benchmarks.searches:PoleMAPProp", POLE, MAP_PROP_POLE, n_trials=N_CHEAP),
    f"map_prop-{LANDER}": Search("benchmarks.searches:LanderMAPProp", LANDER, MAP_PROP_LANDER, n_trials=N_LANDER),
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
        search.n_trials,
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
