"""Decentralized DDPG on all tasks, and the two experiments of Guss (2016).

``python -m benchmarks.decentralized_ddpg table``, ``depth``, ``correlation`` and ``soak``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.runs import RESULTS, Run, execute_all, read
from benchmarks.sub_critics import correlation
from benchmarks.tables import Method, Table, base_settings, interval, parse, rows_figure, statistics
from coagent_rl import DecentralizedDDPG
from coagent_rl.analysis.known import possible_range
from coagent_rl.analysis.style import applied, looks, save_figure
from coagent_rl.training.hyperparameters import load_hyperparameters, parse_seeds, shipped_environments

DDPG = "decentralized_ddpg"
FOLDER = RESULTS / DDPG
PENDULUM, MOUNTAIN_CAR, CORRIDOR = "Pendulum-v1", "MountainCarContinuous-v0", "coagent_rl/Corridor-v0"
LANDERS = ("LunarLander-v3", "LunarLanderContinuous-v3")
LINEAR = {"critic_kind": "linear"}
QUADRATIC = {"critic_kind": "quadratic"}
ALONE = {"td_source": "neuron"}
DEEP = {"policy_kwargs": {"net_arch": [64, 64, 64]}, "actor_learning_rate": [1e-5, 1e-5, 1e-5, 1e-4]}
FROZEN = {"frozen_layers": "hidden", "hidden_noise": 0.01}

PUBLISHED = {
    **LINEAR,
    **ALONE,
    "buffer_size": 50_000,
    "batch_size": 32,
    "gamma": 0.9,
    "tau": 1e-4,
    "actor_learning_rate": 1e-4,
    "neuron_critic_learning_rate": 1e-2,
    "hidden_noise": 0.03,
}
"""As far as they are known: one-step TD from minibatches of 32, Adam, Ornstein-Uhlenbeck noise in every layer."""

FROZEN_PENDULUM = {
    "actor_learning_rate": [0.0, 0.0, 4.5e-4],
    "neuron_critic_learning_rate": 2.1e-3,
    "critic_learning_rate": 1.9e-3,
    "critic_lambda": 0.8,
    "neuron_critic_lambda": 0.8,
    "output_noise": 0.7,
    "gamma": 0.99,
}
"""The best of a search; elsewhere the frozen network has the settings of the one that learns, and quiet hidden neurons."""

ALL: dict[str, dict[str, Any]] = {env_id: {} for env_id in shipped_environments(DDPG)}
TOYS: dict[str, dict[str, Any]] = {MOUNTAIN_CAR: {}, CORRIDOR: {}}
"""The tasks of the paper, on which the sources of the TD error are compared."""

KINDS: dict[str, dict[str, Any]] = {**TOYS, PENDULUM: {}, "CartPole-v1": {}}
"""Tasks on which the kinds of critics are compared, with the settings that were chosen for one of them."""

METHODS: dict[str, Method] = {
    "compatible": Method(
        "compatible critics, shared TD error (the default)",
        DDPG,
        DDPG,
        {},
        {**ALL, **{env_id: {"critic_kind": "compatible"} for env_id in LANDERS}},
    ),
    "quadratic": Method(
        "quadratic critics, shared TD error", DDPG, DDPG, QUADRATIC, {**KINDS, **{env_id: {} for env_id in LANDERS}}
    ),
    "linear": Method("linear critics, shared TD error", DDPG, DDPG, LINEAR, KINDS),
    "compatible_alone": Method("compatible critics, TD errors of their own", DDPG, DDPG, ALONE, TOYS),
    "linear_alone": Method("linear critics, TD errors of their own", DDPG, DDPG, {**LINEAR, **ALONE}, TOYS),
    "published": Method("linear critics, settings of Guss (2016)", DDPG, DDPG, PUBLISHED, TOYS),
    "subset": Method(
        "compatible critics, half of the hidden neurons exploring at a time",
        DDPG,
        DDPG,
        {"exploration_probability": 0.5},
        {PENDULUM: {}},
    ),
    "deep": Method("compatible critics, three hidden layers of 64", DDPG, DDPG, {}, {MOUNTAIN_CAR: DEEP}),
    "node_perturbation": Method("node perturbation", "node_perturbation", "node_perturbation"),
    "frozen": Method(
        "hidden neurons frozen at random",
        DDPG,
        DDPG,
        FROZEN,
        {**ALL, PENDULUM: FROZEN_PENDULUM},
    ),
}


class FinalTable(Table):
    """Methods × tasks by what the greedy policy reaches after training, whatever exploring cost."""

    def markdown(self, seeds: Sequence[int]) -> str:
        """Mean, standard deviation, 95 % interval of the mean, share of solved runs; cells without any run are left out."""
        heads = ["task", "method", "runs", "after training", "95 % interval of the mean", "solved", "last 100 episodes"]
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for env_id, (name, row) in product(self.tasks, self.methods.items()):
            found = statistics(self.runs(name, env_id, seeds))
            if found is None:
                continue
            final = found["final returns"]
            solved = solved_share(env_id, final)
            digits = 3 if abs(found["final"][0]) < 1 else 1
            ours = [f"{mean:.{digits}f} ± {sd:.{digits}f}" for mean, sd in (found["final"], found["last"])]
            low, high = interval(final)
            cells = [env_id, row.label, str(final.size), ours[0], f"{low:.{digits}f} … {high:.{digits}f}", solved, ours[1]]
            lines.append(f"| {' | '.join(cells)} |".replace(" ± nan", "").replace("nan … nan", ""))
        return "\n".join(lines) + "\n"

    def draw(self, seeds: Sequence[int]) -> None:
        """Draw the return of every run after training: a panel a task, in it a row a method."""
        cells = {
            env_id: {
                row.label: found["final returns"]
                for name, row in self.methods.items()
                if (found := statistics(self.runs(name, env_id, seeds))) is not None
            }
            for env_id in self.tasks
        }
        rows_figure(self.folder / "table.png", {env_id: rows for env_id, rows in cells.items() if rows})


def solved_share(env_id: str, final: np.ndarray) -> str:
    """How many of the returns after training reach the environment's threshold; nothing where it has none."""
    import gymnasium as gym

    threshold = gym.spec(env_id).reward_threshold
    return "" if threshold is None else f"{np.sum(final >= threshold)} of {final.size}"


TABLE = FinalTable(DDPG, ALL, METHODS, {})

# ---------------------------------------------------------------------- experiment 2: depth

WIDTH = 32
DEPTHS = (1, 2, 3, 4)
STEPS = {CORRIDOR: 20_000, MOUNTAIN_CAR: 60_000}
HIDDEN_RATE = 0.1
"""Share of the output neurons' learning rate with which hidden neurons learn, without which deep networks saturate."""

VARIANTS: dict[str, dict[str, Any]] = {
    "linear, own TD errors": {**LINEAR, **ALONE},
    "linear": LINEAR,
    "quadratic": QUADRATIC,
    "compatible": {},
    "compatible, hidden frozen": FROZEN,
}
FAST = {"actor_learning_rate": 1e-3}
"""A rate for all layers at which neurons do saturate, on MountainCarContinuous with two hidden layers."""
FAST_VARIANTS = {
    "linear, fast": {**LINEAR, **FAST},
    "quadratic, fast": {**QUADRATIC, **FAST},
    "compatible, fast": FAST,
}


def variants(env_id: str, depth: int) -> dict[str, dict[str, Any]]:
    """What is trained on a task with so many hidden layers: name of a curve → settings that are different."""
    return {**VARIANTS, **FAST_VARIANTS} if (env_id, depth) == (MOUNTAIN_CAR, 2) else VARIANTS


def depth_runs(env_id: str, variant: str, depth: int, seeds: Sequence[int]) -> list[Run]:
    """Return the runs of one curve: a critic kind with so many hidden layers."""
    shipped = base_settings(DDPG, env_id)
    rate = float(np.ravel(shipped.get("actor_learning_rate", 1e-4))[-1])
    settings = {
        **shipped,
        "n_timesteps": STEPS[env_id],
        "policy_kwargs": {"net_arch": [WIDTH] * depth},
        "actor_learning_rate": [rate * HIDDEN_RATE] * depth + [rate],
        **variants(env_id, depth)[variant],
    }
    folder = f"{variant.replace(', ', '_').replace(' ', '_')}_{depth}"
    return [Run(f"{DDPG}/depth", folder, env_id, seed, DDPG, settings, STEPS[env_id] // 40) for seed in seeds]


def depth(arguments: argparse.Namespace) -> None:
    """Corridor and MountainCarContinuous with one to four hidden layers, for each kind of critic."""
    from coagent_rl.training.files import write_text

    seeds = parse_seeds(arguments.seeds)
    cells = [(env_id, n, name) for env_id in arguments.envs for n in DEPTHS for name in variants(env_id, n)]
    execute_all([run for env_id, n, name in cells for run in depth_runs(env_id, name, n, seeds)], arguments.n_jobs)
    heads = ["task", "hidden layers", "critics", "runs", "after training", "worst run", "solved"]
    heads += ["saturated at the end", "sent one way at the end"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for env_id in STEPS:
        for n, name in [(n_hidden, name) for n_hidden in DEPTHS for name in variants(env_id, n_hidden)]:
            runs = [run for run in depth_runs(env_id, name, n, seeds) if run.path.exists()]
            found = statistics(runs)
            if found is None:
                continue
            final, solved = found["final returns"], solved_share(env_id, found["final returns"])
            mean = "{:.1f} ± {:.1f}".format(*found["final"])
            shares = [f"{np.mean([watched(run, key)[-1] for run in runs]):.2f}" for key in ("saturation", "one_sign")]
            cells_ = [env_id, str(n), name, str(final.size), mean, f"{final.min():.1f}", solved, *shares]
            lines.append(f"| {' | '.join(cells_)} |")
        depth_figure(env_id, seeds)
    write_text(FOLDER / "depth.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


def watched(run: Run, key: str) -> np.ndarray:
    """Mean over the hidden layers of what was seen of their neurons, one value a look."""
    with np.load(run.path) as file:
        return np.asarray(file[key][:, :-1].mean(axis=1))


def returns_in_time(run: Run, looks: np.ndarray, window: int = 10) -> np.ndarray:
    """Mean return of the last ``window`` episodes that ended before each time step in ``looks``."""
    found = read(run)
    assert found is not None
    returns = found[0]
    with np.load(run.path) as file:
        ends = np.cumsum(file["lengths"])
    counts = np.searchsorted(ends, looks, side="right")
    return np.array([returns[max(n - window, 0) : n].mean() if n else np.nan for n in counts])


def depth_figure(env_id: str, seeds: Sequence[int]) -> Figure:
    """Draw returns, saturation and critics' directions over time, a column a depth."""
    rows: tuple[tuple[str, Callable[[Run, np.ndarray], np.ndarray]], ...] = (
        ("return, mean of 10 episodes", returns_in_time),
        ("share saturated", lambda run, _: watched(run, "saturation")),
        ("share with ∂Q/∂a of one sign", lambda run, _: watched(run, "one_sign")),
    )
    styles = looks([*VARIANTS, *FAST_VARIANTS])
    with applied():
        figure = Figure(figsize=(12.0, 7.2), layout="constrained")
        grid = figure.subplots(3, len(DEPTHS), sharex=True, sharey="row")
        handles: dict[str, Any] = {}
        for column, n in enumerate(DEPTHS):
            grid[0, column].set_title(f"{n} hidden layer{'s' * (n > 1)}")
            for name in variants(env_id, n):
                runs = [run for run in depth_runs(env_id, name, n, seeds) if run.path.exists()]
                if not runs:
                    continue
                with np.load(runs[0].path) as file:
                    looked = file["watch_timesteps"]
                look = styles[name]
                for axes, (_, values) in zip(grid[:, column], rows, strict=True):
                    curves = np.stack([values(run, looked) for run in runs])
                    mean, deviation = curves.mean(axis=0), curves.std(axis=0, ddof=min(len(curves) - 1, 1))
                    # Returns lie within what the task can give, shares between 0 and 1.
                    least, most = (
                        possible_range(env_id, [curves[np.isfinite(curves)]]) if axes is grid[0, column] else (0.0, 1.0)
                    )
                    (handles[name],) = axes.plot(looked, mean, color=look.colour, linestyle=look.dashes)
                    low, high = np.maximum(mean - deviation, least), np.minimum(mean + deviation, most)
                    axes.fill_between(looked, low, high, color=look.colour, alpha=0.12, linewidth=0)
            grid[2, column].set_xlabel("time step")
            grid[2, column].set_xlim(0, STEPS[env_id])
            grid[2, column].xaxis.set_major_locator(MaxNLocator(4))
            grid[2, column].xaxis.set_major_formatter(EngFormatter(sep=""))
        for axes, (label, _) in zip(grid[:, 0], rows, strict=True):
            axes.set_ylabel(label)
        figure.legend(handles.values(), list(handles), loc="outside lower center", ncols=4)
        title = (
            f"{env_id}, hidden layers of {WIDTH} neurons: mean ± one standard deviation over runs, within what is possible"
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        save_figure(figure, FOLDER / f"depth_{env_id.split('/')[-1]}.png")
    return figure


# ---------------------------------------------------------------------- soak

SOAK_STEPS, SOAK_LOOKS = 1_000_000, 10
SOAK_COLUMNS = ("env", "seed", "timesteps", "finite", "largest actor weight", "largest neuron critic weight",
                "largest shared critic weight", "largest error", "episodes", "mean return of the last 100")  # fmt: skip


class SoakLog(BaseCallback):
    """Note the largest numbers every tenth of the run, as text."""

    model: DecentralizedDDPG

    def __init__(self, env_id: str, seed: int) -> None:
        super().__init__()
        self.name = f"{env_id},{seed}"
        self.lines: list[str] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % (SOAK_STEPS // SOAK_LOOKS) == 0:
            model, critics = self.model, self.model.neuron_critics
            shared = model.critic_learner.network.parameters if model.critic == "td" else np.zeros(1)
            arrays = [model.policy.actor.parameters, critics.weights, shared, model._td_errors()]
            finite = all(np.isfinite(array).all() for array in [*arrays, critics.memory, critics.traces])
            returns = [info["r"] for info in model.ep_info_buffer or []]
            cells = [str(finite), *(f"{np.abs(array).max():.4g}" for array in arrays), str(model._episode_num)]
            cells.append(f"{np.mean(returns):.2f}" if returns else "")
            self.lines.append(",".join([self.name, str(self.num_timesteps), *cells]))
        return True


def soak_lines(env_id: str, seed: int) -> list[str]:
    """Train with the shipped settings, a million steps long; a run that diverges says so in its last line."""
    import torch as th

    from coagent_rl.training.run import Options, train

    th.set_num_threads(1)
    log = SoakLog(env_id, seed)
    settings = {**load_hyperparameters(DDPG, env_id), "n_timesteps": SOAK_STEPS}
    try:
        train(DDPG, env_id, settings, seed, Options(final_eval_episodes=0, callbacks=[log]))
    except ValueError as error:
        log.lines.append(f"{log.name},{log.num_timesteps},False{',' * (len(SOAK_COLUMNS) - 4)}")
        print(f"{env_id} seed {seed}: {error}", flush=True)
    return log.lines


def soak(arguments: argparse.Namespace) -> None:
    """Train a million steps on every environment with the shipped settings and log the largest numbers on the way."""
    from joblib import Parallel, delayed

    from coagent_rl.training.files import write_text

    path = FOLDER / "soak.csv"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else [",".join(SOAK_COLUMNS)]
    there = {tuple(line.split(",")[:2]) for line in lines}
    missing = [
        (env_id, seed)
        for env_id, seed in product(arguments.envs, parse_seeds(arguments.seeds))
        if (env_id, str(seed)) not in there
    ]
    parallel = Parallel(n_jobs=arguments.n_jobs, return_as="generator_unordered")
    for found in parallel(delayed(soak_lines)(*pair) for pair in missing):
        lines += found
        write_text(path, "\n".join(lines) + "\n")
        print("\n".join(found), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    commands = p.add_subparsers(required=True)
    TABLE.add_command(commands, "table", "return after training on every task, and the controls")
    command = commands.add_parser("depth", help=depth.__doc__)
    command.add_argument("--envs", nargs="+", default=list(STEPS), choices=list(STEPS))
    command.set_defaults(run=depth)
    command = commands.add_parser("correlation", help=correlation.__doc__)
    command.set_defaults(run=correlation)
    command = commands.add_parser("soak", help=soak.__doc__)
    command.add_argument("--envs", nargs="+", default=list(TABLE.tasks), choices=list(TABLE.tasks))
    command.set_defaults(run=soak)
    parse(p, commands, argv)


if __name__ == "__main__":
    main()
