"""Bias, noise and direction of every rule's updates against the exact gradient, over width and depth of the network.

    python -m benchmarks.gradient_quality

writes `results/gradient_quality`: `quality.json`, the table `quality.md` and the figure `quality.png`. All agents of the
registry take part whose rule is told a TD error; each with its own kind of hidden units, on states of the multiplexer. With
``--algos`` or ``--networks`` only these are measured, and what the folder holds of the others stays.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.runs import RESULTS
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.analysis.gradients import ExactGradient, exact_gradient
from coagent_rl.analysis.known import in_order, written_name
from coagent_rl.analysis.quality import gradient_quality, quality_row, quality_table
from coagent_rl.analysis.style import applied, footnote, looks, save_figure
from coagent_rl.files import write_whole
from coagent_rl.registry import ALGORITHMS, algorithm_class, check_algorithm

FOLDER = RESULTS / "gradient_quality"
ENV, ADDRESS_BITS = "coagent_rl/Multiplexer-v0", 4
WIDTHS = {f"{n}-{n}": [n, n] for n in (2, 4, 8, 16, 32, 64)}
DEPTHS = {"-".join(["16"] * depth): [16] * depth for depth in (1, 2, 3, 4)}
ON_THE_WAY = {"64-32": [64, 32]}
"""Network in the table → widths of its hidden layers; the last at several moments of training."""
MOMENTS = (0, 10_000)
"""Episodes that Weight Maximization has trained the network before the others are judged on it."""
RATES = [1e-2, 1e-3, 1e-4]
N_STATES, N_SAMPLES = 3, 10_000
N_EXACT = {1: 8000, 2: 8000, 3: 80_000, 4: 800_000}
"""Number of hidden layers → samples for the exact gradient, which is a third of the size in every layer further down."""
_EXACT: dict[Any, ExactGradient] = {}
"""What is known already: many rules have the same networks."""
LEAST = 1e-3
"""Smaller cosines are not in the figure."""
COLUMNS = ("bias", "noise", "direction", "cosine", "error", "gradient_norm")


def state_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A question of the multiplexer, shape (20,), and the rewards of the two answers."""
    bits = np.random.default_rng(number).integers(0, 2, ADDRESS_BITS + 2**ADDRESS_BITS)
    address = int(bits[:ADDRESS_BITS] @ 2 ** np.arange(ADDRESS_BITS - 1, -1, -1))
    rewards = np.full(2, -1.0)
    rewards[bits[ADDRESS_BITS + address]] = 1.0
    return bits * 2.0 - 1.0, rewards


def agent(algorithm: str, sizes: Sequence[int], seed: int) -> CoagentAlgorithm:
    """A fresh agent with a network of these widths."""
    return algorithm_class(algorithm)("MlpPolicy", ENV, critic=None, seed=seed, policy_kwargs={"net_arch": list(sizes)})


@cache
def trained_parameters(sizes: tuple[int, ...], episodes: int, seed: int) -> np.ndarray:
    """A network's parameters after ``episodes`` of Weight Maximization."""
    model = algorithm_class("weight_max")(
        "MlpPolicy", ENV, RATES, critic=None, seed=seed, policy_kwargs={"net_arch": list(sizes)}
    )
    return np.array(model.learn(episodes, log_interval=None).policy.actor.parameters)


def measure(
    algorithm: str, network: str, sizes: Sequence[int], episodes: int, n_samples: int, n_states: int, most_exact: int
) -> Any:
    """Rows of a rule in a network, means over initial networks, each in a state of its own; or why there are none."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(n_states):
        x, rewards = state_of(number)
        try:
            model = agent(algorithm, sizes, number)
            own = model.policy.actor
            if episodes > 0:
                if any(layer.kind != "bernoulli" for layer in own.layers[:-1]):
                    return "its units are not Bernoulli"
                own.parameters[:] = trained_parameters(tuple(sizes), episodes, number)
            key = (*((layer.kind, layer.n_values) for layer in own.layers), own.parameters.tobytes(), number)
            if key not in _EXACT:
                _EXACT[key] = exact_gradient(own, x, rewards, min(N_EXACT[len(sizes)], most_exact))
            exact = _EXACT[key]
            qualities = gradient_quality(
                model, x, rewards, n_samples=n_samples, warm_up=n_samples // 5, exact=exact, seed=number
            )
        except ValueError as error:
            return str(error)
        for part, quality in qualities.items():
            found.setdefault(part, []).append(quality_row(algorithm, network, part, quality))
    rows = []
    for several in found.values():
        means = {name: float(f"{np.mean([row[name] for row in several]):.4g}") for name in COLUMNS}
        rows.append({**several[0], **means, "episodes": episodes, "n_states": n_states, "n_samples": n_samples})
    return rows


def measure_all(
    algorithms: Sequence[str], n_samples: int, n_states: int, networks: Sequence[str], most_exact: int
) -> dict[str, Any]:
    """All rows, and what was left out and why."""
    rows: list[dict[str, Any]] = []
    left_out: dict[str, dict[str, str]] = {}
    tasks = [(name, sizes, 0) for name, sizes in {**WIDTHS, **DEPTHS}.items()]
    tasks += [(name, sizes, episodes) for name, sizes in ON_THE_WAY.items() for episodes in MOMENTS]
    for network, sizes, episodes in tasks:
        if networks and network not in networks:
            continue
        for algorithm in algorithms:
            got = measure(algorithm, network, sizes, episodes, n_samples, n_states, most_exact)
            if isinstance(got, str):
                left_out.setdefault(algorithm, {})[f"{network}, {episodes}"] = got
            else:
                rows += got
        print(f"{network} after {episodes} episodes: {len(rows)} rows", flush=True)
    return {"rows": rows, "left_out": left_out}


def together(
    before: Mapping[str, Any], result: Mapping[str, Any], algorithms: Sequence[str], networks: Sequence[str]
) -> Any:
    """What was measured before and not again, and what was measured now, in the order of networks and agents."""
    everywhere = [*WIDTHS, *DEPTHS, *ON_THE_WAY]
    again = {(name, network) for name in algorithms for network in networks or everywhere}
    rows = [row for row in before["rows"] if (row["rule"], row["network"]) not in again] + list(result["rows"])
    names = [*ALGORITHMS, *algorithms]
    rows.sort(key=lambda row: (row["episodes"], everywhere.index(row["network"]), names.index(row["rule"])))
    left_out: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(names):
        old = before["left_out"].get(name, {}).items()
        kept = {where: why for where, why in old if (name, where.partition(",")[0]) not in again}
        if found := {**kept, **result["left_out"].get(name, {})}:
            left_out[name] = found
    return {"rows": rows, "left_out": left_out}


def markdown(result: Mapping[str, Any]) -> str:
    """The tables, over width, depth and training, and what is not in them."""
    parts = []
    for episodes in sorted({row["episodes"] for row in result["rows"]}):
        title = f"After {episodes} episodes of Weight Maximization" if episodes else "Initial networks"
        chosen = [row for row in result["rows"] if row["episodes"] == episodes]
        parts.append(f"## {title}\n\n{quality_table(chosen)}")
    reasons: dict[str, list[str]] = {}
    for algorithm, where in result["left_out"].items():
        for network, why in where.items():
            reasons.setdefault(f"{algorithm}: {why}", []).append(network.partition(",")[0])
    if reasons:
        lines = [f"- {reason} ({', '.join(dict.fromkeys(networks))})" for reason, networks in reasons.items()]
        parts.append("## Left out\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def points_of(rows: Sequence[Mapping[str, Any]], rule: str, networks: Mapping[str, Sequence[int]], last: bool) -> np.ndarray:
    """Width, or number, of hidden layers, and the cosine of one update in the first or in the last of them, shape (n, 2)."""
    points = []
    for network, sizes in networks.items():
        part = f"layer_{len(sizes) if last else 1}"
        for row in rows:
            if (row["network"], row["part"], row["rule"], row["episodes"]) == (network, part, rule, 0):
                cosine = float(row["cosine"])
                points.append((sizes[0] if networks is WIDTHS else len(sizes), cosine if cosine > LEAST else np.nan))
    return np.array(points).reshape(-1, 2)


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """What a single update has in common with the gradient, in the first and the last hidden layer, over width and depth.

    Returns:
        The figure; None where neither is among the rows.
    """
    measured = {row["network"] for row in rows}
    columns = [(WIDTHS, "width of two layers"), (DEPTHS, "layers of 16 units")]
    columns = [(networks, label) for networks, label in columns if measured & set(networks)]
    if not columns:
        return None
    names = in_order(list(dict.fromkeys(str(row["rule"]) for row in rows)))
    style = looks([written_name(name) for name in names])
    with applied():
        figure = Figure(figsize=(8.0, 5.0), layout="constrained")
        grid = figure.subplots(2, len(columns), sharex="col", sharey=True, squeeze=False)
        for line, title in enumerate(("first hidden layer", "last hidden layer")):
            for column, (networks, x_label) in enumerate(columns):
                axes = grid[line][column]
                for name in names:
                    look, written = style[written_name(name)], written_name(name)
                    points = points_of(rows, name, networks, line == 1)
                    axes.plot(*points.T, color=look.colour, linestyle=look.dashes, marker=".", label=written)
                axes.set_yscale("log")
                axes.set_ylim(LEAST, 1.1)
                axes.set_title(title if column == 0 else "")
                axes.set_ylabel("cosine" if column == 0 else "")
                if line == 1:
                    axes.set_xlabel(x_label)
                    ticks = [sizes[0] if networks is WIDTHS else len(sizes) for sizes in networks.values()]
                    if networks is WIDTHS:
                        axes.set_xscale("log", base=2)
                    axes.set_xticks(ticks, [str(tick) for tick in ticks])
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper")
        footnote(
            figure,
            "Cosine of one update Δ with the exact gradient g, E[Δ·g] / √(E‖Δ‖² ‖g‖²): about 1 / cosine² updates must be "
            "averaged for signal and noise to be equal. Initial networks, states of the multiplexer; what is "
            "not above 0.001 is not shown.",
        )
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write tables and figure; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--algos", nargs="+", default=list(ALGORITHMS), help="names, or module:Class of your own")
    parser.add_argument("--networks", nargs="+", choices=[*WIDTHS, *DEPTHS, *ON_THE_WAY], default=[], help="all")
    parser.add_argument("--samples", type=int, default=N_SAMPLES, help="updates of each rule in each network and state")
    parser.add_argument("--most-exact", type=int, default=max(N_EXACT.values()), help="samples of the gradient at most")
    parser.add_argument("--states", type=int, default=N_STATES, help="states, each with a network of its own")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results go")
    given = parser.parse_args(arguments)
    try:
        algorithms = [check_algorithm(name) for name in given.algos]
    except ValueError as error:
        parser.error(str(error))
    result = measure_all(algorithms, given.samples, given.states, given.networks, given.most_exact)
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / "quality.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": [], "left_out": {}}
    result = together(before, result, algorithms, given.networks)
    lines = ",\n".join(json.dumps(row) for row in result["rows"])
    text = f'{{"left_out": {json.dumps(result["left_out"])},\n"rows": [\n{lines}\n]}}\n'
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    page = markdown(result)
    write_whole(given.folder / "quality.md", lambda beside: beside.write_text(page, encoding="utf-8"))
    figure = draw(result["rows"])
    if figure is not None:
        save_figure(figure, given.folder / "quality.png")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
