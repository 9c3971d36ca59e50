"""The tables and figures of Chung (AAAI 2022): ``python -m benchmarks.weight_max table1 --seeds 0-9 --n-jobs 2``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runs import RESULTS, Run, execute_all, observations_of, trained_model
from benchmarks.tables import Method, Table, parse, published, statistics
from coagent_rl.analysis.known import window_of
from coagent_rl.training.hyperparameters import parse_seeds


@dataclass(frozen=True)
class Variation:
    """One point of figures 3 and 4: a setting, its value as it is written, and what that changes (nothing: table 1)."""

    setting: str
    value: str
    changes: dict[str, Any] = field(default_factory=dict)


MULTIPLEXER = "coagent_rl/Multiplexer-v0"
WIDTHS = [
    Variation("width", "0.25", {"policy_kwargs": {"net_arch": [16, 8]}}),
    Variation("width", "0.5", {"policy_kwargs": {"net_arch": [32, 16]}}),
    Variation("width", "1"),
    Variation("width", "2", {"policy_kwargs": {"net_arch": [128, 64]}}),
]
"""Width multipliers M: hidden layers of 64 M and 32 M units, and all other settings as they are at M = 1."""

NORMS = [Variation("p", str(p), {} if p == 2 else {"norm_order": float(p)}) for p in (1, 2, 3, 4)]
DECAYS = [Variation("c", str(c), {"weight_decay": c} if c else {}) for c in (0, 0.00001, 0.0001, 0.001, 0.01)]


RELEASED_λ = {
    "CartPole-v1": {"actor_lambda": 0.8},
    "Acrobot-v1": {"actor_lambda": 0.8},
    "LunarLander-v3": {"actor_lambda": 0.9},
}

METHODS: dict[str, Method] = {
    "weight_max": Method("Weight Max", "weight_max", "weight_max"),
    "weight_max_traces": Method("Weight Max with traces, synchronous", "weight_max", "weight_max", tuned=RELEASED_λ),
    "weight_max_pipelined": Method(
        "Weight Max with traces, pipelined", "weight_max", "weight_max", {"trace_form": "pipelined"}, RELEASED_λ
    ),
    "reinforce": Method("REINFORCE (global), tuned", "reinforce", "reinforce"),
    "reinforce_untuned": Method("REINFORCE (global), Weight Max's settings", "reinforce", "weight_max"),
    "reinforce_thomas": Method("REINFORCE with Thomas (2011), tuned", "reinforce_thomas", "reinforce_thomas"),
    "ste_backprop": Method("STE backprop, tuned", "ste_backprop", "ste_backprop"),
    "backprop": Method("Backprop (ReLU units), tuned", "backprop", "backprop"),
    "frozen": Method(
        "hidden units frozen, output layer tuned",
        "reinforce",
        "weight_max",
        {"frozen_layers": "hidden"},
        {
            "CartPole-v1": {"actor_learning_rate": [0.0, 0.0, 8.4e-4], "actor_lambda": 0.8},
            "Acrobot-v1": {"actor_learning_rate": [0.0, 0.0, 3.0e-3], "actor_lambda": 0.8},
            "LunarLander-v3": {"actor_learning_rate": [0.0, 0.0, 4.4e-3], "actor_lambda": 0.8},
            MULTIPLEXER: {"actor_learning_rate": [0.0, 0.0, 1.9e-3]},
        },
    ),
}
"""The rows of table 1."""

LENGTHS = {"CartPole-v1": 1000, "Acrobot-v1": 1000, "LunarLander-v3": 3000, MULTIPLEXER: 800_000}
DRAWING = [method for method in METHODS if method != "backprop"]
"""Methods whose units draw: their correlations on CartPole are measured."""

TABLE1 = Table(
    "table1",
    {env_id: {"n_episodes": n} for env_id, n in LENGTHS.items()},
    METHODS,
    published(*METHODS),
    {**{method: ["CartPole-v1"] for method in DRAWING}, "weight_max": list(LENGTHS)},
)


def varied_runs(method: str, variation: Variation, seeds: Sequence[int]) -> list[Run]:
    """Return the runs of one point of figure 3 or 4 on the multiplexer."""
    if not variation.changes:
        return TABLE1.runs(method, MULTIPLEXER, seeds)
    settings = {**TABLE1.settings(method, MULTIPLEXER), **variation.changes}
    folder = f"{method}_{variation.setting}_{variation.value}"
    return [Run("variations", folder, MULTIPLEXER, seed, METHODS[method].algorithm, settings) for seed in seeds]


def figure2(arguments: argparse.Namespace) -> None:
    """Draw the learning curves of the four tasks side by side, from the runs of table 1 that are there."""
    from coagent_rl.analysis import learning_curves

    panels = {env_id: TABLE1.curves(env_id, parse_seeds(arguments.seeds)) for env_id in TABLE1.tasks}
    learning_curves(TABLE1.folder / "figure2.png", panels, {env_id: window_of(env_id) for env_id in panels})


def measured(method: str, variations: Sequence[Variation], arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Run what is missing of a sweep on the multiplexer and return the statistics of each point by the setting's value."""
    seeds = parse_seeds(arguments.seeds)
    execute_all([run for v in variations for run in varied_runs(method, v, seeds)], arguments.n_jobs)
    found = {v.value: statistics(varied_runs(method, v, seeds)) for v in variations}
    return {value: cell for value, cell in found.items() if cell is not None}


def sweep_table(path: Path, sweeps: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Write and print setting → method → value → statistics as Markdown."""
    from coagent_rl.training.files import write_text

    lines = ["| setting | method | value | runs | return over all episodes | last 100 |", "|---|---|---|---|---|---|"]
    for setting, methods in sweeps.items():
        for method, points in methods.items():
            for value, found in points.items():
                ours = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in (found["all"], found["last"])]
                lines.append(f"| {setting} | {method} | {value} | {found['n']} | {' | '.join(ours)} |")
    write_text(path, "\n".join(lines) + "\n")
    print("\n".join(lines))


def figure3(arguments: argparse.Namespace) -> None:
    """Learning curves on the multiplexer with networks of several widths."""
    from coagent_rl.analysis import learning_curves

    sweep = {
        METHODS[method].label: measured(method, WIDTHS, arguments)
        for method in ("weight_max", "backprop", "reinforce", "reinforce_untuned")
    }
    panels = {label: {f"M = {m}": found["returns"] for m, found in points.items()} for label, points in sweep.items()}
    folder = RESULTS / "variations"
    learning_curves(folder / "figure3.png", panels, {label: window_of(MULTIPLEXER) for label in panels}, env_id=MULTIPLEXER)
    sweep_table(folder / "figure3.md", {"width multiplier M": sweep})


def figure4(arguments: argparse.Namespace) -> None:
    """Average returns on the multiplexer against the order of the norm and the weight decay."""
    from coagent_rl.analysis import sweep_figure

    label = f"{METHODS['weight_max'].label} on the multiplexer"
    sweeps = {
        "order p of the norm": {label: measured("weight_max", NORMS, arguments)},
        "weight decay c": {label: measured("weight_max", DECAYS, arguments)},
    }
    folder = RESULTS / "variations"
    panels = {s: {m: {v: found["all"] for v, found in p.items()} for m, p in ms.items()} for s, ms in sweeps.items()}
    sweep_figure(folder / "figure4.png", panels, "return over all episodes")
    sweep_table(folder / "figure4.md", sweeps)


PUBLISHED_CORRELATIONS = {"weight_max": (0.690, 0.640), "ste_backprop": (0.888, 0.830)}
"""Mean absolute correlation of the first and the second layer on CartPole (Chung 2022, "Experiments")."""


def correlations(arguments: argparse.Namespace) -> None:
    """Correlation between the units of a layer after training on CartPole: a table, and figures of the first seed.

    The paper says neither over which observations it correlates nor whether what units drew or their means; here it is the
    observations that the sampled policy meets, and both.
    """
    from coagent_rl.analysis import unit_statistics, unit_statistics_figure
    from coagent_rl.training.files import write_text

    env_id, seeds = "CartPole-v1", parse_seeds(arguments.seeds)
    folder = RESULTS / "correlations"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "| method | networks | first layer: values | means | published | second layer: values | means | published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method in DRAWING:
        found = []
        for run in TABLE1.runs(method, env_id, seeds):
            if run.path.exists():
                model = trained_model(run)
                network, seen = model.policy.actor, observations_of(model, run)
                drawn, means = (
                    unit_statistics(network, seen, np.random.default_rng(run.seed), of_means) for of_means in (False, True)
                )
                found.append([layer.mean_correlation for pair in zip(drawn, means, strict=True) for layer in pair])
                if run.seed == seeds[0]:
                    title = f"{METHODS[method].label}, CartPole-v1, seed {run.seed}"
                    unit_statistics_figure(folder / f"{method}.png", drawn, title)
        if found:
            pairs = zip(np.mean(found, axis=0), np.std(found, axis=0, ddof=1), strict=True)
            ours = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in pairs]
            first, second = (f"{value:.3f}" for value in PUBLISHED_CORRELATIONS.get(method, (np.nan, np.nan)))
            cells = [METHODS[method].label, str(len(found)), *ours[:2], first, *ours[2:], second]
            lines.append(f"| {' | '.join(cells)} |".replace("nan", ""))
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    commands = p.add_subparsers(required=True)
    TABLE1.add_command(commands, "table1", "average return over all episodes, every method and task")
    for name, command in (
        ("figure2", figure2),
        ("figure3", figure3),
        ("figure4", figure4),
    ):
        commands.add_parser(name, help=command.__doc__).set_defaults(run=command)
    c = commands.add_parser("correlations", help="between the units of a layer, of the trained networks of table1")
    c.set_defaults(run=correlations)
    parse(p, commands, argv)


if __name__ == "__main__":
    main()
