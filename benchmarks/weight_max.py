"""The tables and figures of Chung (AAAI 2022): ``python -m benchmarks.weight_max table1 --seeds 0-9 --n-jobs 2``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.runs import EPISODES, RESULTS, Run, execute_all, parse_seeds, read, trained_model
from coagent_rl.training.hyperparameters import has_settings, load_hyperparameters, override

if TYPE_CHECKING:
    from coagent_rl.agents import CoagentAlgorithm


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes:
        label: its name in tables and figures.
        algorithm: what is trained.
        settings: whose YAML file gives the settings.
        changes: what is different, for every environment.
        tuned: what is different for one environment, released or found by a search; without it every environment in the YAML
            file is run.
    """

    label: str
    algorithm: str
    settings: str
    changes: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, dict[str, Any]] | None = None


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
DECAYS = [Variation("c", str(c), {"weight_decay": c} if c else {}) for c in (0, 0.0001, 0.001, 0.01, 0.1)]


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
            MULTIPLEXER: {"actor_learning_rate": [0.0, 0.0, 1.9e-3]},
        },
    ),
}
"""The rows of table 1."""

PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "weight_max": {
        "CartPole-v1": (390.38, 43.25),
        "Acrobot-v1": (-97.05, 2.90),
        "LunarLander-v3": (111.23, 16.58),
        MULTIPLEXER: (0.81, 0.01),
    },
    "weight_max_traces": {
        "CartPole-v1": (373.11, 17.86),
        "Acrobot-v1": (-105.00, 4.38),
        "LunarLander-v3": (39.04, 14.39),
    },
    "weight_max_pipelined": {
        "CartPole-v1": (373.11, 17.86),
        "Acrobot-v1": (-105.00, 4.38),
        "LunarLander-v3": (39.04, 14.39),
    },
    "reinforce_thomas": {
        "CartPole-v1": (363.71, 24.07),
        "Acrobot-v1": (-112.26, 8.85),
        "LunarLander-v3": (-66.19, 67.14),
        MULTIPLEXER: (0.28, 0.02),
    },
    "ste_backprop": {
        "CartPole-v1": (420.73, 18.30),
        "Acrobot-v1": (-98.55, 5.05),
        "LunarLander-v3": (47.53, 35.04),
        MULTIPLEXER: (0.76, 0.01),
    },
    "backprop": {
        "CartPole-v1": (411.82, 25.98),
        "Acrobot-v1": (-91.82, 5.24),
        "LunarLander-v3": (71.77, 21.02),
        MULTIPLEXER: (0.84, 0.01),
    },
    "reinforce": {
        "CartPole-v1": (163.92, 64.43),
        "Acrobot-v1": (-134.15, 8.87),
        "LunarLander-v3": (-94.23, 19.03),
        MULTIPLEXER: (0.29, 0.01),
    },
}
"""Mean and standard deviation of the average return over all episodes, 10 runs (Chung 2022, table 1)."""


def is_defined(method: str, env_id: str) -> bool:
    """Whether a method has settings for an environment."""
    tuned = METHODS[method].tuned
    return has_settings(METHODS[method].settings, env_id) and (tuned is None or env_id in tuned)


def runs_of(method: str, env_id: str, seeds: Sequence[int], variation: Variation | None = None) -> list[Run]:
    """Return the runs of one cell of table 1, or of a variation of it, which has a folder of its own."""
    row = METHODS[method]
    changes = {**row.changes, **(row.tuned or {}).get(env_id, {}), "n_episodes": EPISODES[env_id]}
    settings = override(load_hyperparameters(row.settings, env_id), changes)
    if variation is None or not variation.changes:
        return [Run("table1", method, env_id, seed, row.algorithm, settings) for seed in seeds]
    varied, folder = {**settings, **variation.changes}, f"{method}_{variation.setting}_{variation.value}"
    return [Run("variations", folder, env_id, seed, row.algorithm, varied) for seed in seeds]


def cell(method: str, env_id: str, seeds: Sequence[int]) -> dict[str, Any] | None:
    """Statistics of one cell over the seeds that have been run; None without any."""
    if not is_defined(method, env_id):
        return None
    return statistics(runs_of(method, env_id, seeds))


def statistics(runs: Sequence[Run]) -> dict[str, Any] | None:
    """Statistics over those runs that have been run; None without any."""
    found = [result for run in runs if (result := read(run)) is not None]
    if not found:
        return None
    averages = np.array([returns.mean() for returns, _ in found])
    last = np.array([returns[-100:].mean() for returns, _ in found])
    final = np.array([facts["final_evaluation"]["mean_return"] for _, facts in found])
    return {
        "returns": [returns for returns, _ in found],
        "n": len(found),
        **{
            name: (float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan"))
            for name, values in (("all", averages), ("last", last), ("final", final))
        },
        "speed": float(np.median([facts["steps_per_second"] for _, facts in found])),
    }


def standard_errors(ours: tuple[float, float], n: int, published: tuple[float, float], n_published: int = 10) -> float:
    """Difference of two means in standard errors of the difference."""
    return (ours[0] - published[0]) / np.sqrt(ours[1] ** 2 / n + published[1] ** 2 / n_published)


def render(seeds: Sequence[int], environments: Sequence[str], methods: Sequence[str]) -> str:
    """Markdown: ours, published, and the difference in standard errors."""
    lines = [
        "| task | method | runs | return over all episodes | published | difference (s.e.) | last 100 | after training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for env_id in environments:
        for method in methods:
            found = cell(method, env_id, seeds)
            if found is None:
                continue
            published = PUBLISHED.get(method, {}).get(env_id)
            difference = f"{standard_errors(found['all'], found['n'], published):+.1f}" if published else ""
            there = f"{published[0]:.2f} ± {published[1]:.2f}" if published else ""
            digits = 3 if abs(found["all"][0]) < 1 else 2
            ours = [
                f"{mean:.{digits}f} ± {sd:.{digits}f}" for mean, sd in (found[name] for name in ("all", "last", "final"))
            ]
            lines.append(
                f"| {env_id} | {METHODS[method].label} | {found['n']} | {ours[0]} | {there} | {difference} | "
                f"{ours[1]} | {ours[2]} |"
            )
    return "\n".join(lines) + "\n"


def table1(arguments: argparse.Namespace) -> None:
    """Run what is missing and write the table and a figure for each task."""
    from coagent_rl.analysis.plots import learning_curve
    from coagent_rl.training.files import write_text

    seeds = parse_seeds(arguments.seeds)
    execute_all(
        [
            run
            for env_id in arguments.envs
            for method in arguments.methods
            if is_defined(method, env_id)
            for run in runs_of(method, env_id, seeds)
        ],
        arguments.n_jobs,
    )
    text = render(seeds, list(EPISODES), list(METHODS))
    folder = RESULTS / "table1"
    write_text(folder / "table.md", text)
    print(text)
    for env_id in EPISODES:
        curves = {METHODS[m].label: found["returns"] for m in METHODS if (found := cell(m, env_id, seeds)) is not None}
        if curves:
            path = Path(folder / f"{env_id.replace('/', '-')}.png")
            learning_curve(path, curves, env_id, window(env_id))


def window(env_id: str) -> int:
    """Number of episodes that the paper's figures average over."""
    return 10_000 if env_id == MULTIPLEXER else 100


def figure2(arguments: argparse.Namespace) -> None:
    """Draw the learning curves of the four tasks side by side, from the runs of table 1."""
    from coagent_rl.analysis import learning_curves

    seeds = parse_seeds(arguments.seeds)
    execute_all(
        [run for env in EPISODES for m in METHODS if is_defined(m, env) for run in runs_of(m, env, seeds)], arguments.n_jobs
    )
    panels = {
        env: {METHODS[m].label: found["returns"] for m in METHODS if (found := cell(m, env, seeds)) is not None}
        for env in EPISODES
    }
    learning_curves(RESULTS / "table1" / "figure2.png", panels, {env: window(env) for env in EPISODES})


def measured(method: str, variations: Sequence[Variation], arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Run what is missing of a sweep on the multiplexer and return the statistics of each point by the setting's value."""
    seeds = parse_seeds(arguments.seeds)
    execute_all([run for v in variations for run in runs_of(method, MULTIPLEXER, seeds, v)], arguments.n_jobs)
    found = {v.value: statistics(runs_of(method, MULTIPLEXER, seeds, v)) for v in variations}
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
        METHODS[method].label: measured(method, WIDTHS, arguments) for method in ("weight_max", "backprop", "reinforce")
    }
    panels = {label: {f"M = {m}": found["returns"] for m, found in points.items()} for label, points in sweep.items()}
    folder = RESULTS / "variations"
    learning_curves(folder / "figure3.png", panels, {label: window(MULTIPLEXER) for label in panels}, n_columns=3)
    sweep_table(folder / "figure3.md", {"width multiplier M": sweep})


def figure4(arguments: argparse.Namespace) -> None:
    """Average returns on the multiplexer against the order of the norm and the weight decay."""
    from coagent_rl.analysis import sweep_figure

    label = METHODS["weight_max"].label
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


def observations_of(model: CoagentAlgorithm, env_id: str, seed: int, n_steps: int = 5000) -> np.ndarray:
    """What a trained agent meets: observations of ``n_steps`` steps of its sampled policy, shape (n_steps, n_inputs)."""
    from coagent_rl.training.run import EVALUATION_SEED_OFFSET, make_environments

    env = make_environments(env_id, 1, seed + EVALUATION_SEED_OFFSET, {})
    observation, seen = env.reset(), []
    for _ in range(n_steps):
        seen.append(observation[0])
        observation, _, _, _ = env.step(model.predict(observation)[0])
    env.close()
    return np.array(seen)


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
    for method in METHODS:
        if not is_defined(method, env_id) or method == "backprop":  # whose units do not draw
            continue
        found = []
        for run in runs_of(method, env_id, seeds):
            if run.path.exists():
                model = trained_model(run)
                network, seen = model.policy.actor, observations_of(model, env_id, run.seed)
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
    c = commands.add_parser("table1", help="average return over all episodes, every method and task")
    c.add_argument("--envs", nargs="+", default=list(EPISODES), choices=list(EPISODES))
    c.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    c.set_defaults(run=table1)
    for name, command in (
        ("figure2", figure2),
        ("figure3", figure3),
        ("figure4", figure4),
    ):
        commands.add_parser(name, help=command.__doc__).set_defaults(run=command)
    c = commands.add_parser("correlations", help="between the units of a layer, of the trained networks of table1")
    c.set_defaults(run=correlations)
    for command in commands.choices.values():
        command.add_argument("--seeds", default="0-9", help="such as 0-9 or 0,3,5")
        command.add_argument("--n-jobs", type=int, default=1, help="processes; the results do not depend on it")
    arguments = p.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
