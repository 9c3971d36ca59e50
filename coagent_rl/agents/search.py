"""What tuning draws: the search spaces of the agents, in functions of a trial that suggests numbers.

A suggestion is named after the setting that it is for, ``"gamma"``, or after a part of it, ``"actor_learning_rate.decay"``;
the setting of a user's own search space that is named so can be fixed from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from coagent_rl.agents.policy import hidden_sizes

Range = tuple[float, float]


class Trial(Protocol):
    """What suggests values; an Optuna trial is one."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Suggest a number in [low, high]."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Suggest a whole number in [low, high]."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the choices."""


@dataclass(frozen=True)
class RateRanges:
    """Ranges of a network's learning rates: of the first layer's, and of the other layers' in units of the first layer's."""

    first: Range
    middle: Range
    output: Range


ANY_RULE = RateRanges((1e-3, 1e-1), (5e-3, 1.0), (5e-4, 3.0))
"""For a rule of which nothing is known."""
REINFORCE_RULE = RateRanges((1e-3, 1e-1), (1e-2, 1.0), (1e-2, 3.0))
"""For rules that tell every unit the same."""
GRADIENT_RULE = RateRanges((5e-3, 1e-1), (5e-3, 2e-1), (5e-4, 2e-1))
"""For Weight Max, and rules whose hidden layers follow the gradient too: around the released settings."""
TD_CRITIC = RateRanges((3e-3, 1e-1), (1e-4, 1e-1), (1e-5, 1e-1))
MAP_PROP_RULE = RateRanges((1e-3, 3e-2), (1e-4, 1e-1), (1e-5, 1e-1))
MAP_PROP_CRITIC = RateRanges((3e-3, 3e-2), (1e-4, 1e-2), (1e-5, 1e-3))
OUTPUT_ALONE: Range = (1e-4, 1e-1)
"""Of the output layer's rate where the hidden layers are frozen."""
DECAYS = (1.0, 0.1, 0.01)
"""What a rate may have fallen to when the schedule ends, in units of its start."""


def log_uniform(trial: Trial, name: str, bounds: Range) -> float:
    """Suggest a number whose logarithm is uniform."""
    return trial.suggest_float(name, *bounds, log=True)


def digits(value: float) -> float:
    """Round to three significant digits, so that what is trained with is what a file shows."""
    return float(f"{value:.3g}")


def depths(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Number of layers of actor and critic, the output layers included."""
    actor, critic = hidden_sizes((settings.get("policy_kwargs") or {}).get("net_arch"))
    return len(actor) + 1, len(critic) + 1


def layer_rates(trial: Trial, name: str, depth: int, ranges: RateRanges) -> list[float]:
    """Suggest the first layer's learning rate, and each other layer's as a ratio to it; shape (depth,), input side first."""
    first = log_uniform(trial, name, ranges.first)
    rates = [first]
    for layer in range(1, depth):
        bounds = ranges.output if layer == depth - 1 else ranges.middle
        rates.append(first * log_uniform(trial, f"{name}.ratio_{layer}", bounds))
    return [digits(rate) for rate in rates]


def scheduled(trial: Trial, name: str, rates: list[float], settings: Mapping[str, Any]) -> Any:
    """Suggest how far the rates fall, where it is known over how many environment steps.

    It is where the settings give a schedule, or the length of training in time steps rather than in episodes.
    """
    given = settings.get(name)
    steps = given["steps"] if isinstance(given, Mapping) else settings.get("n_timesteps")
    if steps is None:
        return rates
    decay = trial.suggest_categorical(f"{name}.decay", DECAYS)
    return rates if decay == 1.0 else {"start": rates, "end": [digits(rate * decay) for rate in rates], "steps": steps}


def actor_space(trial: Trial, settings: Mapping[str, Any], ranges: RateRanges) -> dict[str, Any]:
    """Suggest the actor's learning rates; of the output layer alone where the hidden ones are frozen."""
    name, depth = "actor_learning_rate", depths(settings)[0]
    if settings.get("frozen_layers") == "hidden":
        return {name: [0.0] * (depth - 1) + [digits(log_uniform(trial, name, OUTPUT_ALONE))]}
    return {name: scheduled(trial, name, layer_rates(trial, name, depth, ranges), settings)}


def critic_space(trial: Trial, settings: Mapping[str, Any], ranges: RateRanges) -> dict[str, Any]:
    """Suggest the critic's learning rates, if there is a critic."""
    if settings.get("critic", "td") is None:
        return {}
    name = "critic_learning_rate"
    return {name: scheduled(trial, name, layer_rates(trial, name, depths(settings)[1], ranges), settings)}


def persistence(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest how likely hidden and output units keep their noise for another step, where the settings let any of them."""
    given = (settings.get("policy_kwargs") or {}).get("noise_persistence", 0.0)
    if not any(given if isinstance(given, Sequence) else [given]):
        return {}
    name = "policy_kwargs.noise_persistence"
    hidden = trial.suggest_categorical(f"{name}.hidden", (0.0, 0.5, 0.8))
    output = trial.suggest_categorical(f"{name}.output", (0.8, 0.9, 0.95, 0.98))
    return {"noise_persistence": [hidden] * (depths(settings)[0] - 1) + [output]}


def actor_critic(
    trial: Trial, settings: Mapping[str, Any], ranges: RateRanges = ANY_RULE, has_traces: bool = True
) -> dict[str, Any]:
    """Suggest what every agent has: rates of actor and critic, λ of both, γ, the temperature of the output layer, and how
    long noise stays."""
    drawn = {**actor_space(trial, settings, ranges), **critic_space(trial, settings, TD_CRITIC)}
    if has_traces:
        drawn["actor_lambda"] = trial.suggest_categorical("actor_lambda", (0.0, 0.8, 0.9))
    if "critic_learning_rate" in drawn:
        drawn["critic_lambda"] = trial.suggest_categorical("critic_lambda", (0.8, 0.9, 0.95))
    drawn["gamma"] = trial.suggest_categorical("gamma", (0.95, 0.98, 0.99))
    drawn["temperature"] = trial.suggest_categorical("temperature", (1.0, 2.0, 4.0))
    return {**drawn, **({"policy_kwargs": held} if (held := persistence(trial, settings)) else {})}


def map_prop(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest around the released settings of MAP Propagation, in which the first layer learns fastest.

    Actor and critic have the same λ. Variances are those of the settings (or the defaults) times a factor.
    """
    drawn = {**actor_space(trial, settings, MAP_PROP_RULE), **critic_space(trial, settings, MAP_PROP_CRITIC)}
    λ = trial.suggest_categorical("actor_lambda", (0.9, 0.95, 0.97))
    given = settings.get("policy_kwargs") or {}
    names = {"variance": "actor_learning_rate", "critic_variance": "critic_learning_rate"}
    variances = {}
    for name in [name for name, rate in names.items() if rate in drawn]:
        factor, base = log_uniform(trial, f"policy_kwargs.{name}", (0.1, 3.0)), given.get(name, 0.1)
        scaled = [digits(factor * float(variance)) for variance in (base if isinstance(base, Sequence) else [base])]
        variances[name] = scaled if isinstance(base, Sequence) else scaled[0]
    return {
        **drawn,
        "actor_lambda": λ,
        **({"critic_lambda": λ} if "critic_learning_rate" in drawn else {}),
        "gamma": trial.suggest_categorical("gamma", (0.95, 0.98, 0.99)),
        "temperature": trial.suggest_categorical("temperature", (1.0, 2.0, 4.0)),
        "relaxation_rate": trial.suggest_categorical("relaxation_rate", (0.25, 0.5, 1.0)),
        "policy_kwargs": {**variances, **persistence(trial, settings)},
    }


def noisy_neurons(trial: Trial, settings: Mapping[str, Any], has_shared_critic: bool = True) -> dict[str, Any]:
    """Suggest for deterministic neurons with noise: the output's rate, how much slower the others learn, and the noise.

    Neurons whose critics bootstrap on their own (without the shared critic) need less noise.
    """
    name, n_hidden = "actor_learning_rate", depths(settings)[0] - 1
    output = digits(log_uniform(trial, name, (5e-5, 3e-3)))
    if settings.get("frozen_layers") == "hidden":
        share, noise = 0.0, 0.01
    else:
        share = trial.suggest_categorical(f"{name}.share_of_hidden", (0.1, 0.3, 1.0))
        choices = (0.05, 0.1, 0.2, 0.3) if has_shared_critic else (0.02, 0.05, 0.1)
        noise = trial.suggest_categorical("hidden_noise", choices)
    drawn = {
        name: [digits(output * share)] * n_hidden + [output],
        "hidden_noise": noise,
        "output_noise": trial.suggest_categorical("output_noise", (0.25, 0.4, 0.7)),
        "noise_correlation_rate": trial.suggest_categorical("noise_correlation_rate", (0.25, 1.0)),
        "gamma": trial.suggest_categorical("gamma", (0.95, 0.98, 0.99)),
    }
    if has_shared_critic and settings.get("critic", "td") is not None:
        drawn["critic_learning_rate"] = digits(log_uniform(trial, "critic_learning_rate", (1e-3, 1e-2)))
        drawn["critic_lambda"] = trial.suggest_categorical("critic_lambda", (0.8, 0.9, 0.95))
    return drawn


def decentralized_ddpg(trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest the same for `DecentralizedDDPG`, and the rate of the neurons' critics; all critics have the same λ."""
    drawn = noisy_neurons(trial, settings, settings.get("td_source", "shared") == "shared")
    name = "neuron_critic_learning_rate"
    drawn[name] = digits(log_uniform(trial, name, (1e-3, 1e-2)))
    choices = (0.8, 0.9, 0.95)
    λ = drawn["critic_lambda"] if "critic_lambda" in drawn else trial.suggest_categorical("neuron_critic_lambda", choices)
    return {**drawn, "neuron_critic_lambda": λ}
