"""Every rule of the package on the same network and the same tasks: ``python -m benchmarks.rules --n-jobs 1``.

For each rule and task a number of settings is drawn at random, the same for all rules; the best of them, by a seed that
nothing else uses, is trained again with fresh seeds. Trials are lines of ``benchmarks/results/rules/tuning``, runs one file
each in ``benchmarks/results/rules/<rule>/<task>``; what is there is not made again. Then the table is written and drawn.

A task's score is the return at an average time step (of an episode, weighted with its length): how soon the agent is how
good, whatever the length of episodes. Of digits it is the accuracy on test data after the last epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.random_search import log_uniform, read_trials
from benchmarks.runs import RESULTS
from benchmarks.tables import base_settings
from coagent_rl.training.files import compact_returns, whole_returns, write_text
from coagent_rl.training.hyperparameters import override, parse_seeds

FOLDER = RESULTS / "rules"
NET_ARCH = [64, 32]
MULTIPLEXER, DIGITS = "coagent_rl/Multiplexer-v0", "digits"
N_TRIALS, TRIAL_SEED = 8, 1000


@dataclass(frozen=True)
class Rule:
    """A row: what is trained, and what one of its hidden units must know besides its own input and output.

    Attributes:
        label: how it is written.
        algorithm: of `coagent_rl.registry`.
        knows: beside the TD error, which all units are told in one form or another.
        changes: constructor arguments that are different.
        estimator: arguments of the estimator; None where the rule has none.
    """

    label: str
    algorithm: str
    knows: str
    changes: Mapping[str, Any]
    estimator: Mapping[str, Any] | None = None


def _rule(label: str, algorithm: str, knows: str, estimator: str | None = None, **changes: Any) -> Rule:
    if estimator is None:
        return Rule(label, algorithm, knows, changes)
    # As in the agents, one path an input. Two rules ask what the output drew; for the others it is exact.
    output = "sampled" if estimator in ("posterior_rule", "product_rule") else "exact"
    return Rule(label, algorithm, knows, changes, {"rule": estimator, "n_samples": 1, "output": output, **changes})


OUTGOING = "outgoing weights"
RULES: dict[str, Rule] = {
    "weight_max": _rule("Weight Max", "weight_max", f"{OUTGOING} and how they just changed", "weight_max"),
    "map_prop": _rule("MAP Propagation", "map_prop", f"{OUTGOING}, neighbours' values; a second, settling pass", "map_prop"),
    "node_perturbation": _rule("node perturbation", "node_perturbation", "nothing more", "node_perturbation"),
    "reinforce": _rule("REINFORCE", "reinforce", "nothing more", "reinforce"),
    "reinforce_thomas": _rule("REINFORCE with Thomas (2011)", "reinforce_thomas", "nothing more", "thomas"),
    "coordinated_exploration": _rule("coordinated exploration", "coordinated_exploration", "what its layer's units drew"),
    "posterior_rule": _rule("posterior rule", "posterior_rule", f"{OUTGOING}; what the layer above drew", "posterior_rule"),
    "product_rule": _rule("product rule", "product_rule", f"{OUTGOING}; what the layer above drew", "product_rule"),
    "ste_backprop": _rule("STE backprop", "ste_backprop", f"{OUTGOING}; credit of the layer above", "straight_through"),
    "hindsight": _rule("hindsight credit", "hindsight", "the action, broadcast; a model of its own"),
    "disarm": _rule("DisARM", "disarm", "one number a layer, broadcast; a second pass a layer", "disarm"),
    "rebar": _rule("REBAR", "rebar", f"{OUTGOING}; credit of the layer above; a second pass a layer", "rebar"),
    "noise_based": _rule("noise-based learning", "noise_based", "one number, broadcast; a second pass", "noise_based"),
    "evolution_strategies": _rule("evolution strategies", "evolution_strategies", "not even its input"),
    "synthetic_gradients": _rule(
        "synthetic gradients", "synthetic_gradients", f"{OUTGOING}; another network, which predicts; the action, broadcast",
        "synthetic_gradients",
    ),
    "equilibrium_propagation": _rule(
        "equilibrium propagation", "equilibrium_propagation", f"{OUTGOING}, neighbours' values; a second, settling pass",
        "equilibrium_propagation",
    ),
    "feedback_alignment": _rule(
        "feedback alignment", "feedback_alignment", "the output's errors, broadcast through weights of its own",
        "feedback_alignment",
    ),
    "backprop": _rule("backprop", "backprop", f"{OUTGOING}; credit of the layer above", "backprop"),
    "frozen": _rule("hidden units frozen (Bernoulli)", "reinforce", "does not learn", "reinforce", frozen_layers="hidden"),
    "frozen_relu": _rule("hidden units frozen (ReLU)", "backprop", "does not learn", "backprop", frozen_layers="hidden"),
}  # fmt: skip
"""Folder of a row → the row; in each the hidden units are of the kind that is the rule's own."""


@dataclass(frozen=True)
class Task:
    """How long runs and trials are, in time steps (of digits, in epochs), and how many runs there are at most."""

    name: str
    length: int
    trial_length: int
    most_seeds: int = 10


TASKS = {
    MULTIPLEXER: Task("multiplexer", 100_000, 40_000),
    "CartPole-v1": Task("CartPole", 40_000, 20_000),
    "Acrobot-v1": Task("Acrobot", 40_000, 20_000),
    DIGITS: Task("digits", 20, 10),
    "LunarLander-v3": Task("LunarLander", 100_000, 50_000, most_seeds=5),
}
"""In the order in which they are run. Digits are classified by the estimators of `coagent_rl.supervised`."""

# ---------------------------------------------------------------------- settings


def drawn(number: int) -> dict[str, Any]:
    """Settings of a trial, the same for every rule and task: rates, how far they fall, trace decay, temperature."""
    rng = np.random.default_rng(number)
    first = log_uniform(rng, 1e-3, 1e-1)
    rates = [first, first * log_uniform(rng, 1e-3, 1.0), first * log_uniform(rng, 1e-4, 1.0)]
    return {
        "actor_learning_rate": [float(f"{rate:.2g}") for rate in rates],
        "decay": float(rng.choice([1.0, 0.1])),
        "actor_lambda": float(rng.choice([0.0, 0.8, 0.9])),
        "temperature": float(rng.choice([1.0, 2.0])),
    }


def settings_of(rule: Rule, env_id: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is trained with: critic and discount as released with Weight Max, and what was drawn.

    On the multiplexer, for which no critic was released, there is one with the rate 0.001.
    """
    task = TASKS[env_id]
    shared = base_settings("weight_max", env_id)
    if env_id == MULTIPLEXER:
        shared = override(shared, {"critic": "td", "critic_learning_rate": 1e-3})
    rates, decay = chosen["actor_learning_rate"], chosen["decay"]
    end = [float(f"{rate * decay:.2g}") for rate in rates]
    changes = {
        "n_timesteps": task.length,
        "policy_kwargs": {"net_arch": NET_ARCH},
        "actor_learning_rate": {"start": rates, "end": end, "steps": task.length},
        "actor_lambda": chosen["actor_lambda"],
        "temperature": chosen["temperature"],
        **rule.changes,
    }
    settings = override(shared, changes)
    if rule.algorithm == "map_prop":  # what its constructor had when the runs were made
        settings["relaxation_rate"] = 0.5
        settings["policy_kwargs"] = {**settings["policy_kwargs"], "variance": 0.1, "critic_variance": 0.1}
    if rule.changes.get("frozen_layers"):
        for key in ("start", "end"):
            settings["actor_learning_rate"][key] = [0.0, 0.0, settings["actor_learning_rate"][key][-1]]
    return settings


def estimator_of(rule: Rule, chosen: Mapping[str, Any], epochs: int, seed: int) -> Any:
    """The estimator of a run on digits: the drawn rates, and everything else its own."""
    from coagent_rl.supervised import CoagentClassifier

    rates = chosen["actor_learning_rate"]
    arguments = {"hidden_layer_sizes": NET_ARCH, "learning_rate": rates, "max_iter": epochs, **(rule.estimator or {})}
    return CoagentClassifier(**arguments, random_state=seed)


# ---------------------------------------------------------------------- training


class CpuTime(BaseCallback):
    """Processor time of training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def _on_training_start(self) -> None:
        self.seconds -= time.process_time()

    def _on_training_end(self) -> None:
        self.seconds += time.process_time()

    def steps_until_needed(self) -> float:
        """It needs none."""
        return np.inf

    def _on_step(self) -> bool:
        return True


def at_an_average_step(returns: np.ndarray, lengths: np.ndarray) -> float:
    """Mean return of episodes, weighted with their lengths; both of shape (n_episodes,)."""
    return float(returns @ lengths / lengths.sum())


def trained(rule: Rule, env_id: str, chosen: Mapping[str, Any], seed: int, is_trial: bool) -> tuple[dict[str, Any], Any]:
    """Train once: the score and how fast it was, and the episodes' returns and lengths.

    Raises:
        ValueError: if training diverges.
    """
    task = TASKS[env_id]
    length = task.trial_length if is_trial else task.length
    if env_id == DIGITS:
        return learned_digits(rule, chosen, length, seed), None
    from coagent_rl.training.run import Options, train

    settings = {**settings_of(rule, env_id, chosen), "n_timesteps": length}
    clock = CpuTime()
    result = train(rule.algorithm, env_id, settings, seed, Options(final_eval_episodes=0, callbacks=[clock]))
    score = at_an_average_step(result.returns, result.lengths)
    late = np.cumsum(result.lengths) > 0.9 * length
    last = at_an_average_step(result.returns[late], result.lengths[late]) if late.any() else float(result.returns[-1])
    facts = {"settings": settings, "score": score, "last": last, "per_cpu_second": length / clock.seconds}
    return {**facts, "road": result.summary["road"]}, (result.returns, result.lengths)


def learned_digits(rule: Rule, chosen: Mapping[str, Any], epochs: int, seed: int) -> dict[str, Any]:
    """Accuracy on test data (``last``: on the validation set, by which settings are chosen), and samples per second."""
    from coagent_rl.supervised.data import load

    data, model = load(DIGITS), estimator_of(rule, chosen, epochs, seed)
    started = time.process_time()
    model.fit(*data.training)
    seconds = time.process_time() - started
    test, validation = float(model.score(*data.test)), float(model.score(*data.validation))
    speed = epochs * len(data.training[0]) / seconds
    settings = {"epochs": epochs, **{key: value for key, value in model.get_params().items() if key != "random_state"}}
    return {"settings": json.loads(json.dumps(settings, default=str)), "score": test, "last": validation,
            "per_cpu_second": speed}  # fmt: skip


def trials_path(name: str, env_id: str) -> Path:
    """Where the trials of a cell lie."""
    return FOLDER / "tuning" / f"{name}-{env_id.replace('/', '-')}.jsonl"


def run_path(name: str, env_id: str, seed: int) -> Path:
    """Where a run lies; a run that diverged has a text file there."""
    return FOLDER / name / env_id.replace("/", "-") / f"seed_{seed}.npz"


def tune(name: str, env_id: str, n_trials: int) -> None:
    """Make the trials of a cell that are missing; one that diverges has no score."""
    path = trials_path(name, env_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(len(read_trials(path)), n_trials):
        chosen, line = drawn(number), {"trial": number, "seed": TRIAL_SEED, "length": TASKS[env_id].trial_length}
        try:
            facts, _ = trained(RULES[name], env_id, chosen, TRIAL_SEED, True)
            line |= {"score": facts["last" if env_id == DIGITS else "score"]}
        except ValueError as error:
            line |= {"score": None, "error": str(error)}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "drawn": chosen}) + "\n")


def best_trial(name: str, env_id: str) -> dict[str, Any] | None:
    """The trial with the best score, the earlier of equal ones; None where there are none that did not diverge."""
    scored = [trial for trial in read_trials(trials_path(name, env_id)) if trial["score"] is not None]
    return max(scored, key=lambda trial: trial["score"]) if scored else None


def execute(name: str, env_id: str, seed: int, chosen: Mapping[str, Any], command: str) -> None:
    """Make a run and write its file."""
    from coagent_rl.files import write_whole
    from coagent_rl.training.run import versions

    path = run_path(name, env_id, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        facts, episodes = trained(RULES[name], env_id, chosen, seed, False)
    except ValueError as error:
        write_text(path.with_suffix(".txt"), f"It diverged: {error}\n")
        return
    facts = {
        "command": command,
        "rule": name,
        "task": env_id,
        "seed": seed,
        "drawn": chosen,
        **facts,
        "versions": versions(),
    }
    arrays: dict[str, Any] = {}
    if episodes is not None:
        returns, lengths = episodes
        arrays = dict(compact_returns(returns))
        facts["episodes"] = len(returns)
        if lengths.max() > 1:
            arrays["lengths"] = lengths.astype(np.int16)
    write_whole(path, lambda beside: np.savez_compressed(beside, facts=np.array(json.dumps(facts)), **arrays))


def read(name: str, env_id: str, seed: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray] | None:
    """Facts of a run, returns and lengths of its episodes (none on digits); None where there is no run."""
    path = run_path(name, env_id, seed)
    if not path.exists():
        return None
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
        if "episodes" not in facts:
            return facts, np.empty(0), np.empty(0)
        returns = whole_returns(file, facts["episodes"])
        lengths = file["lengths"].astype(float) if "lengths" in file.files else np.ones(len(returns))
    return facts, returns, lengths


def make(name: str, env_id: str, n_trials: int, seeds: Sequence[int], command: str) -> None:
    """Make what is missing of a cell: trials, then runs with the best of them."""
    if env_id == DIGITS and RULES[name].estimator is None:
        return
    tune(name, env_id, n_trials)
    best = best_trial(name, env_id)
    if best is None:
        print(f"{env_id} {name}: every trial diverged", flush=True)
        return
    for seed in seeds[: TASKS[env_id].most_seeds]:
        path = run_path(name, env_id, seed)
        if not (path.exists() or path.with_suffix(".txt").exists()):
            execute(name, env_id, seed, best["drawn"], command)
    found = [run[0] for seed in seeds if (run := read(name, env_id, seed)) is not None]
    if found:
        scores, speed = [facts["score"] for facts in found], np.median([facts["per_cpu_second"] for facts in found])
        print(f"{env_id} {name}: {np.mean(scores):.3g} ± {np.std(scores):.2g} ({len(found)}), {speed:.0f}/s", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    from joblib import Parallel, delayed

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    p.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    p.add_argument("--trials", type=int, default=N_TRIALS, help="of every rule on every task")
    p.add_argument("--seeds", default="0-9", help="such as 0-9; of LunarLander the first five")
    p.add_argument("--n-jobs", type=int, default=1, help="processes; the results do not depend on it")
    given = p.parse_args(argv)
    seeds, command = parse_seeds(given.seeds), " ".join(["python -m benchmarks.rules", *(argv or sys.argv[1:])])
    jobs = (delayed(make)(name, env_id, given.trials, seeds, command) for env_id, name in product(given.tasks, given.rules))
    Parallel(n_jobs=given.n_jobs)(jobs)
    from benchmarks.rules_table import write

    write(seeds)


if __name__ == "__main__":
    main()
