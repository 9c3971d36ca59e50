"""Tables of the pages about tasks: what an environment is, and what the settings that are shipped for it reached."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from benchmarks import cells, decentralized_ddpg, deterministic
from benchmarks.reached import runs_with_shipped_settings, scores
from benchmarks.tables import statistics
from coagent_rl.analysis.known import TASKS
from coagent_rl.registry import ALGORITHMS, algorithm_class
from coagent_rl.training.hyperparameters import has_settings

PAGES = {
    "cartpole": ("CartPole-v1",),
    "acrobot": ("Acrobot-v1",),
    "lunarlander": ("LunarLander-v3", "LunarLanderContinuous-v3"),
    "mountaincar": ("MountainCar-v0",),
    "mountaincar_continuous": ("MountainCarContinuous-v0",),
    "pendulum": ("Pendulum-v1",),
    "multiplexer": ("coagent_rl/Multiplexer-v0",),
    "corridor": ("coagent_rl/Corridor-v0",),
}
"""Page in ``docs/tasks`` → the environments that it is about."""


def space(space: spaces.Space[Any]) -> str:
    """A space in words."""
    if isinstance(space, spaces.Discrete):
        return f"one of {space.n}"
    assert isinstance(space, spaces.Box)
    n, least, most = int(np.prod(space.shape)), space.low.min(), space.high.max()
    bounds = f" from {least:g} to {most:g}" if (space.low == least).all() and (space.high == most).all() else ""
    return f"{n} number{'s' * (n > 1)}{bounds}"


def facts(env_ids: Sequence[str]) -> str:
    """What Gymnasium and the analysis know of environments."""
    lines = []
    for env_id in env_ids:
        env, task = gym.make(env_id), TASKS[env_id]
        limit = gym.spec(env_id).max_episode_steps
        possible = "unbounded" if np.isinf(task.low) else f"{task.low:g} … {task.high:g}"
        ends = "one step" if limit is None else f"at most {limit} steps"
        cells = [f"`{env_id}`", space(env.observation_space), space(env.action_space), ends, possible]
        lines.append([*cells, f"{task.random:g}", f"{task.reference:g} ({task.source})"])
        env.close()
    heads = ["environment", "observations", "actions", "an episode", "possible returns", "random actions", "a good return"]
    return table(heads, lines)


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [heads, ["---"] * len(heads), *lines])


def control(algorithm: str, env_id: str) -> np.ndarray | None:
    """Final scores of the same network with hidden layers that do not learn, where there are such runs."""
    if algorithm in cells.AGENTS and env_id in cells.LEVELS:
        found = cells.cell_of(algorithm, env_id, cells.FROZEN)
    elif algorithm == "decentralized_ddpg":
        found = statistics(decentralized_ddpg.TABLE.runs("frozen", env_id, range(10)))
    else:
        return None
    return None if found is None else found["final returns"]


def length(settings: dict[str, Any]) -> str:
    """How long a run with these settings is."""
    name = "n_episodes" if "n_episodes" in settings else "n_timesteps"
    return f"{settings[name]:,} {'episodes' if name == 'n_episodes' else 'steps'}".replace(",", " ")


def reached(env_ids: Sequence[str]) -> str:
    """Agents for which settings are shipped and were run; in each environment the one that learned fastest first."""
    lines = []
    for env_id in env_ids:
        digits = 1 if abs(TASKS[env_id].reference) > 10 else 3
        rows = []
        for algorithm in ALGORITHMS:
            runs = runs_with_shipped_settings().get(algorithm, {}).get(env_id)
            if not runs:
                continue
            found = scores(runs)
            numbers = [mean_and_deviation(values, digits) for values in found.values()]
            frozen = control(algorithm, env_id)
            numbers.append("" if frozen is None else mean_and_deviation(frozen, digits))
            name = f"`{algorithm_class(algorithm).__name__}`"
            cells_ = [name, f"`{algorithm}`", length(runs[0]["settings"]), str(len(runs)), *numbers]
            rows.append((found["mean_return_all_episodes"].mean(), [*([env_id] if len(env_ids) > 1 else []), *cells_]))
        lines += [row for _, row in sorted(rows, key=lambda row: -row[0])]
    heads = ["agent", "`--algo`", "training", "runs", "all episodes", "last 100", "after training", "hidden layers frozen"]
    return table(["task", *heads] if len(env_ids) > 1 else heads, lines)


def pendulum_defaults() -> str:
    """What agents without settings for Pendulum reached with their defaults, in the study of evaluation modes."""
    found: dict[str, list[float]] = {}
    for run, modes in json.loads(deterministic.FILE.read_text(encoding="utf-8"))["mean_returns"].items():
        algorithm, env_id, _ = run.split()
        if env_id == "Pendulum-v1" and not has_settings(algorithm, env_id):
            found.setdefault(algorithm, []).append(modes["marginal 32"])  # the default for Box actions
    order = sorted(found, key=lambda algorithm: -np.mean(found[algorithm]))
    lines = [
        [
            f"`{algorithm_class(name).__name__}`",
            f"`{name}`",
            str(len(found[name])),
            mean_and_deviation(np.array(found[name]), 1),
        ]
        for name in order
    ]
    return table(["agent", "`--algo`", "runs", "after training"], lines)


def mean_and_deviation(values: np.ndarray, digits: int) -> str:
    """Mean ± standard deviation (n - 1)."""
    return f"{values.mean():.{digits}f}" + (f" ± {values.std(ddof=1):.{digits}f}" if values.size > 1 else "")


TABLES: dict[str, Callable[[], str]] = {
    f"{page}_{name}": partial(make, env_ids)
    for page, env_ids in PAGES.items()
    for name, make in (("facts", facts), ("reached", reached))
} | {"pendulum_defaults": pendulum_defaults}
"""Name in a page → what makes the table."""
