"""What is known of methods and tasks beforehand: names, possible returns, levels to normalise by, published values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, pi

import numpy as np

METHODS = {
    "weight_max": "Weight Max",
    "weight_max_traces": "Weight Max with traces",
    "weight_max_pipelined": "Weight Max with traces, pipelined",
    "map_prop": "MAP Propagation",
    "decentralized_ddpg": "Decentralized DDPG",
    "node_perturbation": "node perturbation",
    "reinforce": "REINFORCE",
    "reinforce_untuned": "REINFORCE (global), Weight Max's settings",
    "reinforce_thomas": "REINFORCE with Thomas (2011)",
    "coordinated_exploration": "coordinated exploration",
    "posterior_rule": "posterior rule",
    "product_rule": "product rule",
    "ste_backprop": "STE backprop",
    "hindsight": "hindsight credit",
    "disarm": "DisARM",
    "rebar": "REBAR",
    "noise_based": "noise-based learning",
    "evolution_strategies": "evolution strategies",
    "synthetic_gradients": "synthetic gradients",
    "equilibrium_propagation": "equilibrium propagation",
    "feedback_alignment": "feedback alignment",
    "backprop": "backprop",
    "frozen": "hidden units frozen",
}
"""Name on the command line and of results' folders → how it is written; in the order of tables and figures."""


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


_SLUGS = {slug: method for method, name in METHODS.items() for slug in (method, _slug(name))}
_SLUGS |= {
    "hidden_neurons_frozen": "frozen",
    "hidden_layers_frozen": "frozen",
    "thomas": "reinforce_thomas",
    "straight_through": "ste_backprop",
}


def method_of(label: str) -> str | None:
    """Return the key in `METHODS` of the longest name that a label begins with, or None.

    Example:
        >>> method_of("Weight Max with traces, synchronous"), method_of("REINFORCE (global), tuned"), method_of("PPO")
        ('weight_max_traces', 'reinforce', None)
    """
    words = _slug(label) + "_"
    fitting = [slug for slug in _SLUGS if words.startswith(slug + "_")]
    return _SLUGS[max(fitting, key=len)] if fitting else None


def written_name(name: str) -> str:
    """How a method is written in figures and tables.

    Example:
        >>> written_name("weight_max"), written_name("weight_max_width_2"), written_name("my_rule")
        ('Weight Max', 'Weight Max, width 2', 'my rule')
    """
    known = [method for method in METHODS if f"{name}_".startswith(f"{method}_")]
    if not known:
        return name.replace("_", " ")
    method = max(known, key=len)
    return ", ".join([METHODS[method], *filter(None, [name[len(method) + 1 :].replace("_", " ")])])


def in_order(labels: Sequence[str]) -> list[str]:
    """Each label once, in the order of `METHODS`, then those that it does not know in the order given."""
    methods = list(METHODS)
    found = {label: method_of(label) for label in labels}
    return sorted(found, key=lambda label: len(methods) if found[label] is None else methods.index(str(found[label])))


@dataclass(frozen=True)
class Task:
    """What is known of an environment.

    Attributes:
        low, high: least and greatest possible return of an episode.
        random: mean return of uniformly random actions, measured over 1000 episodes with the resets of the seeds 0 to 999
            (standard errors below 1 % of the distance to the reference), or what it must be.
        reference: a good return, the other end of the normalised scale.
        source: where the reference comes from.
        window: episodes that running means average over unless one says otherwise.
    """

    low: float
    high: float
    random: float
    reference: float
    source: str
    window: int = 100


_THRESHOLD = "Gymnasium's reward threshold"
_OPTIMUM = "the optimal return"
TASKS = {
    "CartPole-v1": Task(0, 500, 22.2, 475, _THRESHOLD),
    "Acrobot-v1": Task(-500, 0, -499.1, -100, _THRESHOLD),
    "LunarLander-v3": Task(-inf, inf, -181.7, 200, _THRESHOLD),
    "LunarLanderContinuous-v3": Task(-inf, inf, -209.8, 200, _THRESHOLD),
    "MountainCar-v0": Task(-200, 0, -200.0, -110, _THRESHOLD),
    # At most 0.1 is lost in each of 999 steps.
    "MountainCarContinuous-v0": Task(-99.9, 100, -33.3, 90, _THRESHOLD),
    # The costs of a step are at most π² for the angle, 0.1 · 8² for the speed and 0.001 · 2² for the torque.
    "Pendulum-v1": Task(-200 * (pi**2 + 6.404), 0, -1230.7, -152.1, "DDPG in RL Baselines3 Zoo's benchmark.md"),
    "coagent_rl/Multiplexer-v0": Task(-1, 1, 0, 1, _OPTIMUM, window=10_000),
    "coagent_rl/Corridor-v0": Task(-1000, 100, -498.9, 100, _OPTIMUM),
}
"""Environment id → what is known of it; in the order of figures."""


def window_of(env_id: str) -> int:
    """Number of episodes that a task's running means average over, as in the papers' figures."""
    return TASKS[env_id].window if env_id in TASKS else 100


def possible_range(env_id: str, returns: Sequence[np.ndarray]) -> tuple[float, float]:
    """Least and greatest possible return of a task; infinite where it is not known.

    An end that one of the given returns lies beyond is not believed: the environment was made with other arguments.

    Args:
        returns: of all episodes, one array a run.
    """
    if env_id not in TASKS:
        return -inf, inf
    low, high = TASKS[env_id].low, TASKS[env_id].high
    least, most = min(run.min() for run in returns), max(run.max() for run in returns)
    return low if least >= low else -inf, high if most <= high else inf


def normalised(env_id: str, score: float) -> float:
    """Score on a scale on which random actions have 0 and the task's reference 1.

    Raises:
        ValueError: for an environment without levels.
    """
    if env_id not in TASKS:
        raise ValueError(f"{env_id} has no levels to normalise scores by; tasks that have: {', '.join(TASKS)}.")
    task = TASKS[env_id]
    return (score - task.random) / (task.reference - task.random)


@dataclass(frozen=True)
class Published:
    """A published average return over all training episodes: mean and population standard deviation over 10 runs.

    Attributes:
        method: a key in `METHODS`.
        n_episodes: length of each run.
    """

    method: str
    env_id: str
    mean: float
    deviation: float
    n_episodes: int
    source: str


def _rows(source: str, tasks: dict[str, int], values: dict[str, Sequence[tuple[float, float]]]) -> list[Published]:
    return [
        Published(method, env_id, mean, deviation, n, source)
        for method, cells in values.items()
        for (env_id, n), (mean, deviation) in zip(tasks.items(), cells, strict=False)
    ]


_CHUNG_2022 = {"CartPole-v1": 1000, "Acrobot-v1": 1000, "LunarLander-v3": 3000, "coagent_rl/Multiplexer-v0": 800_000}
_CHUNG_2021 = {"CartPole-v1": 1000, "Acrobot-v1": 500, "LunarLander-v3": 2500, "MountainCarContinuous-v0": 500}
_TRACES = [(373.11, 17.86), (-105.00, 4.38), (39.04, 14.39)]
PUBLISHED = _rows(
    "Chung (2022), table 1",
    _CHUNG_2022,
    {
        "weight_max": [(390.38, 43.25), (-97.05, 2.90), (111.23, 16.58), (0.81, 0.01)],
        "weight_max_traces": _TRACES,
        "weight_max_pipelined": _TRACES,
        "reinforce": [(163.92, 64.43), (-134.15, 8.87), (-94.23, 19.03), (0.29, 0.01)],
        "reinforce_thomas": [(363.71, 24.07), (-112.26, 8.85), (-66.19, 67.14), (0.28, 0.02)],
        "ste_backprop": [(420.73, 18.30), (-98.55, 5.05), (47.53, 35.04), (0.76, 0.01)],
        "backprop": [(411.82, 25.98), (-91.82, 5.24), (71.77, 21.02), (0.84, 0.01)],
    },
) + _rows(
    "Chung (2021)",
    _CHUNG_2021,
    {"map_prop": [(459.70, 13.89), (-100.29, 5.40), (127.88, 24.57), (39.45, 30.48)]},
)
"""LunarLander was version 2 then. The paper does not say which form of traces its row is of: it stands for both."""


def published_value(label: str, env_id: str, algo: str = "") -> Published | None:
    """Return what was published of the method that a label begins with, or None.

    Args:
        algo: what was trained; nothing was published of it where the label is the name of another algorithm.
    """
    method = method_of(label) or ""
    rows = (row for row in PUBLISHED if row.method == method and row.env_id == env_id)
    return next(rows, None) if method.startswith(algo) else None
