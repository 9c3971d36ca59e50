"""Three agents on six tasks at the shipped settings, and what their networks reach with hidden layers that do not learn.

``python -m benchmarks.cells --n-jobs 1``. Runs of the other tables that were made with the very same settings are read, not
made again; the rest lies in ``results/cells``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import decentralized_ddpg, map_prop, other_agents, weight_max
from benchmarks.runs import RESULTS, Run, execute_all
from benchmarks.tables import SEEDS, Table, base_settings, interval, statistics
from coagent_rl.training.hyperparameters import has_settings, load_hyperparameters, override, parse_seeds

CARTPOLE, ACROBOT, LANDER, CAR = "CartPole-v1", "Acrobot-v1", "LunarLander-v3", "MountainCar-v0"
CONTINUOUS, MULTIPLEXER = "MountainCarContinuous-v0", "coagent_rl/Multiplexer-v0"
PAGE = Path(__file__).parents[1] / "docs" / "cells.md"
LEVELS = {CARTPOLE: 475.0, ACROBOT: -100.0, LANDER: 150.0, CAR: -130.0, CONTINUOUS: 90.0, MULTIPLEXER: 0.9}
"""Task → the mean final score from which its cell counts as reached."""
ABOVE_CONTROL = (("decentralized_ddpg", MULTIPLEXER),)
"""Cells that count as reached where the interval of the mean lies above that of the frozen control, whatever the score: the
question there is whether hidden neurons learn at all."""

AGENTS = {"weight_max": "Weight Max", "map_prop": "MAP Propagation", "decentralized_ddpg": "Decentralized DDPG"}
LEARNED, FROZEN, DEFAULTS, NO_BACKPROP = "learned", "frozen", "defaults", "no_backprop"
KINDS = (LEARNED, FROZEN, DEFAULTS, NO_BACKPROP)
NO_BACKPROP_TASKS = (CARTPOLE, ACROBOT, CONTINUOUS)
"""Where Weight Max was run with the critic of MAP Propagation, whose settings it has there."""

BACKPROP = {"ste_backprop": "STE backprop", "backprop": "Backprop (ReLU)"}
"""Comparators on the same network, at the settings that are shipped for them: mostly rows of table 1."""
ARTIFICIAL_DOPAMINE = {CARTPOLE: "≈ 495", ACROBOT: "≈ -70", LANDER: "≈ 265", CAR: "≈ -110"}
"""Final scores after a million steps, with replay, read off the figure of Guan et al. (2024)."""

ZOO = {CARTPOLE: "500", ACROBOT: "-73.5", LANDER: "242 (v2)", CAR: "-110", CONTINUOUS: "88"}
"""PPO's final scores in RL Baselines3 Zoo's own report, after a million steps (CartPole 100 000, Continuous 20 000)."""

FREEZE: dict[str, dict[str, Any]] = {
    "weight_max": {"frozen_layers": "hidden"},
    "map_prop": {"frozen_layers": "hidden"},
    "decentralized_ddpg": decentralized_ddpg.FROZEN,
}
"""What is different where hidden layers do not learn; neurons of Decentralized DDPG are quiet then."""

MADE: dict[tuple[str, str], tuple[Table, tuple[str, ...]]] = {
    ("weight_max", LEARNED): (weight_max.TABLE1, ("weight_max",)),
    ("weight_max", FROZEN): (weight_max.TABLE1, ("frozen",)),
    ("map_prop", LEARNED): (map_prop.TABLE, ("map_prop", "map_prop_2")),
    ("map_prop", FROZEN): (map_prop.TABLE, ("frozen",)),
    ("decentralized_ddpg", LEARNED): (decentralized_ddpg.TABLE, ("compatible", "quadratic")),
    ("decentralized_ddpg", FROZEN): (decentralized_ddpg.TABLE, ("frozen",)),
    ("ste_backprop", LEARNED): (weight_max.TABLE1, ("ste_backprop",)),
    ("backprop", LEARNED): (weight_max.TABLE1, ("backprop",)),
}
"""Where runs may be already. The controls of the first two tables have an output layer whose rate was searched: they are
read as they are where they are as long, a stronger control than the shipped rate."""
TUNED_CONTROLS = ("weight_max", "map_prop")
TASK = ("env_wrapper", "n_episodes", "n_timesteps")
"""What a control of another table must share with the agent that learns, beside the widths of its layers: its actions, and
how long it trains."""

DEFAULT_STEPS = {**dict.fromkeys(LEVELS, 100_000), MULTIPLEXER: 200_000}
"""Length of the runs without any settings."""


def settings_of(agent: str, env_id: str, kind: str) -> dict[str, Any]:
    """What a run of ``cells`` is trained with."""
    if kind == DEFAULTS:
        return {"n_timesteps": DEFAULT_STEPS[env_id]}
    if kind == NO_BACKPROP:
        return override(base_settings(agent, env_id), map_prop_critic(env_id))
    shipped = load_hyperparameters(agent, env_id)
    return shipped if kind == LEARNED else override(shipped, FREEZE[agent])


def map_prop_critic(env_id: str) -> dict[str, Any]:
    """What is different where MAP Propagation trains the critic of another agent's actor."""
    shipped = load_hyperparameters("map_prop", env_id)
    changes = {name: shipped[name] for name in ("critic_learning_rate", "critic_lambda")}
    return {
        **changes,
        "critic": "map_prop",
        "policy_kwargs": {"critic_variance": shipped["policy_kwargs"]["critic_variance"]},
    }


def run_of(agent: str, env_id: str, kind: str, seed: int) -> Run:
    """The run of a cell: one of another table, where it is there, or its own."""
    settings = settings_of(agent, env_id, kind)
    if (agent, kind) in MADE:
        table, methods = MADE[agent, kind]
        for method in methods:
            for run in table.runs(method, env_id, [seed]) if env_id in table.tasks else []:
                as_wide = widths(run.settings) == widths(settings)
                same_task = as_wide and all(run.settings.get(name) == settings.get(name) for name in TASK)
                is_control = kind == FROZEN and agent in TUNED_CONTROLS and same_task
                if run.path.exists() and (is_control or plain(run.settings) == plain(settings)):
                    return run
    return Run("cells", f"{agent}_{kind}", env_id, seed, agent, settings)


def widths(settings: dict[str, Any]) -> Any:
    """Widths of the hidden layers as the settings say them; None for the default."""
    return settings.get("policy_kwargs", {}).get("net_arch")


def plain(settings: Any) -> Any:
    """Settings as a file holds them."""
    return json.loads(json.dumps(settings))


def runs_of(agent: str, env_id: str, kind: str, seeds: Sequence[int] | None = None) -> list[Run]:
    """All runs of a cell, by default of all seeds of the table; none where it is not for a kind."""
    if kind == NO_BACKPROP and (agent != "weight_max" or env_id not in NO_BACKPROP_TASKS):
        return []
    if agent in BACKPROP and (kind != LEARNED or not has_settings(agent, env_id)):
        return []
    return [run_of(agent, env_id, kind, seed) for seed in (SEEDS if seeds is None else seeds)]


@cache
def cell_of(agent: str, env_id: str, kind: str) -> dict[str, Any] | None:
    """Statistics of a cell's runs that are there, which are read once; None without any."""
    return statistics(runs_of(agent, env_id, kind))


def numbers(values: Any, digits: int) -> list[str]:
    """Mean ± standard deviation (ddof 1), and the 95 % interval of the mean, as a table shows them."""
    low, high = interval(values)
    deviation = values.std(ddof=1) if values.size > 1 else float("nan")
    return [f"{values.mean():.{digits}f} ± {deviation:.{digits}f}", f"{low:.{digits}f} … {high:.{digits}f}"]


def markdown(kind: str = LEARNED) -> str:
    """The cells, beside each its frozen control; or the runs without any settings."""
    heads = ["task", "agent", "runs", "final score", "95 % interval", "all episodes"]
    if kind == LEARNED:
        heads += ["level", "hidden layers frozen: runs", "final score", "all episodes"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for env_id, (agent, label) in product(LEVELS, AGENTS.items()):
        found = cell_of(agent, env_id, kind)
        if found is None:
            lines.append(f"| {env_id} | {label} | 0 |" + " |" * (len(heads) - 3))
            continue
        digits = 3 if env_id == MULTIPLEXER else 1
        all_episodes = "{:.{d}f} ± {:.{d}f}".format(*found["all"], d=digits)
        cells = [env_id, label, str(found["n"]), *numbers(found["final returns"], digits), all_episodes]
        if kind == LEARNED:
            level = "above the control" if (agent, env_id) in ABOVE_CONTROL else f"{LEVELS[env_id]:g}"
            cells.append(f"{level}: {'reached' if is_reached(agent, env_id) else 'missed'}")
            control = cell_of(agent, env_id, FROZEN)
            cells += (
                ["0", "", ""]
                if control is None
                else [str(control["n"])]
                + ["{:.{d}f} ± {:.{d}f}".format(*control[key], d=digits) for key in ("final", "all")]
            )
        lines.append(f"| {' | '.join(cells)} |".replace(" ± nan", "").replace("nan … nan", ""))
    return "\n".join(lines) + "\n"


def is_reached(agent: str, env_id: str) -> bool:
    """Whether a cell's runs reach its level."""
    found, control = cell_of(agent, env_id, LEARNED), cell_of(agent, env_id, FROZEN)
    if found is None:
        return False
    if (agent, env_id) not in ABOVE_CONTROL:
        return bool(found["final"][0] >= LEVELS[env_id])
    return control is not None and interval(found["final returns"])[0] > interval(control["final returns"])[1]


def best_of_three(env_id: str) -> tuple[str, dict[str, Any]]:
    """The agent with the best mean final score on a task, and its cell; of those whose interval reaches it, the faster."""
    found = {agent: cell_of(agent, env_id, LEARNED) for agent in AGENTS}
    there = {agent: cell for agent, cell in found.items() if cell is not None}
    highest = max(cell["final"][0] for cell in there.values())
    as_good = [
        agent
        for agent, cell in there.items()
        if max(cell["final"][0], interval(cell["final returns"])[1]) >= highest  # the interval of one run is NaN
    ]
    best = max(as_good, key=lambda agent: there[agent]["all"][0])
    return best, there[best]


def pair(found: dict[str, Any] | None, digits: int) -> list[str]:
    """Final score and all episodes of a cell, mean ± standard deviation; how many runs, where they are not ten."""
    if found is None:
        return ["", ""]
    final, average = ("{:.{d}f} ± {:.{d}f}".format(*found[key], d=digits).replace(" ± nan", "") for key in ("final", "all"))
    runs = "" if found["n"] == 10 else f" ({found['n']} run{'s' if found['n'] > 1 else ''})"
    return [final + runs, average]


def flagship() -> str:
    """Per task the best of the three agents, beside STE backprop and backprop on the same network."""
    heads = ["task", "best of the three", "runs", "final score", "95 % interval", "all episodes"]
    heads += [f"{label}: {number}" for label in BACKPROP.values() for number in ("final score", "all episodes")]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for env_id in LEVELS:
        digits = 3 if env_id == MULTIPLEXER else 1
        agent, best = best_of_three(env_id)
        cells = [env_id, AGENTS[agent], str(best["n"]), *numbers(best["final returns"], digits), pair(best, digits)[1]]
        for method in BACKPROP:
            cells += pair(cell_of(method, env_id, LEARNED), digits)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def others() -> str:
    """Per task the best of the three agents beside Stable-Baselines3's agents, and what was published elsewhere."""
    labels = other_agents.ALGORITHMS
    heads = ["task", "best of the three: final score", "all episodes", "time steps"]
    heads += [f"{label}: {number}" for label in labels.values() for number in ("final score", "all episodes")]
    heads += ["PPO, as the Zoo reports it", "Artificial Dopamine"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for env_id in LEVELS:
        digits = 3 if env_id == MULTIPLEXER else 1
        ours = pair(best_of_three(env_id)[1], digits)
        for longer in (True, False):
            theirs = [other_agents.runs_of(algorithm, env_id, SEEDS, longer=longer) for algorithm in labels]
            if not any(theirs):
                continue
            steps = next(runs[0].settings["n_timesteps"] for runs in theirs if runs)
            cells = [env_id, *ours, f"{steps:,}".replace(",", " ")]
            ours = ["", ""]  # said beside the length that is ours
            for runs in theirs:
                cells += pair(statistics(runs), digits)
            cells += ["", ""] if longer else [ZOO.get(env_id, ""), ARTIFICIAL_DOPAMINE.get(env_id, "")]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def without_backprop() -> str:
    """Weight Max with the critic of MAP Propagation, with its own, and MAP Propagation; final score and all episodes."""
    columns = {
        "Weight Max, MAP Propagation's critic": ("weight_max", NO_BACKPROP),
        "Weight Max, critic by backprop": ("weight_max", LEARNED),
        "MAP Propagation": ("map_prop", LEARNED),
    }
    heads = ["task", *(f"{label}: {number}" for label in columns for number in ("final score", "all episodes"))]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for env_id in NO_BACKPROP_TASKS:
        cells = [env_id]
        for agent, kind in columns.values():
            cells += pair(cell_of(agent, env_id, kind), 1)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "table.md": markdown,
    "defaults.md": lambda: markdown(DEFAULTS),
    "flagship.md": flagship,
    "others.md": others,
    "no_backprop.md": without_backprop,
}
"""File → what makes it of the runs that are there."""


def page(text: str) -> str:
    """The page with its tables made anew: what stands between a comment with a table's name and ``<!-- end -->``."""
    for name, make in TABLES.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        if mark:
            text = before + mark + make() + rest[rest.index("<!-- end -->") :]
    return text


def write() -> None:
    """Write the tables of the runs that are there, and the page that shows them."""
    from coagent_rl.training.files import write_text

    folder = RESULTS / "cells"
    folder.mkdir(exist_ok=True)
    for name, make in TABLES.items():
        text = make()
        write_text(folder / name, text)
        print(text)
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8")))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--envs", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    p.add_argument("--agents", nargs="+", default=[*AGENTS, *BACKPROP], choices=[*AGENTS, *BACKPROP])
    p.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    p.add_argument("--seeds", help="such as 0-9 or 0,3,5; by default those of the table")
    p.add_argument("--n-jobs", type=int, default=1, help="processes; the results do not depend on it")
    p.add_argument("--table-only", action="store_true", help="write the tables of what is there")
    arguments = p.parse_args(argv)
    if not arguments.table_only:
        seeds = None if arguments.seeds is None else parse_seeds(arguments.seeds)
        # MountainCar and the multiplexer cost minutes a run, the lander more: what is cheap comes first.
        order = [env_id for env_id in (CARTPOLE, CONTINUOUS, ACROBOT, CAR, MULTIPLEXER, LANDER) if env_id in arguments.envs]
        cells = product(order, arguments.agents, arguments.kinds)
        execute_all([run for env_id, agent, kind in cells for run in runs_of(agent, env_id, kind, seeds)], arguments.n_jobs)
    write()


if __name__ == "__main__":
    main()
