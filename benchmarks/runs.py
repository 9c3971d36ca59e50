"""Many training runs: in processes, resumable, one compressed file a run.

A run's file holds every episode's return and, as JSON, the settings, the versions, the speed and the command that made it;
the trained actor's parameters only where a command reads them. What is there already is not run again; delete a file to run
it anew.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coagent_rl.training.files import compact_returns, whole_returns

if TYPE_CHECKING:
    from coagent_rl.agents import CoagentAlgorithm

RESULTS = Path(__file__).parent / "results"
THEN = {"map_prop": {"relaxation_rate": 0.5, "actor_lambda": 0.0}}
"""Agent → defaults of its constructor that have changed since the first runs were made: where such a run says nothing of
them, this is what it was trained with. (Settings name them now.)"""

EVALUATED, EVALUATED_OF = 100, {"coagent_rl/Multiplexer-v0": 1000}
"""Greedy episodes after training, and where they are more: an episode of the multiplexer is one step of reward ±1, and the
mean of 100 of them has a standard error of up to 0.1, as large as what runs differ by. (Earlier runs have 100, too.)"""


@dataclass(frozen=True)
class Run:
    """One training run of a table: what is trained how, and where its file lies."""

    table: str
    method: str
    env_id: str
    seed: int
    algorithm: str
    settings: Mapping[str, Any]
    watch_every: int | None = None
    """Time steps between two looks at the neurons of Decentralized DDPG; their states are kept with the run."""
    keeps_parameters: bool = False
    """Whether the trained actor's parameters are kept, see `trained_model`."""

    @property
    def path(self) -> Path:
        """Where the result lies."""
        return RESULTS / self.table / self.method / self.env_id.replace("/", "-") / f"seed_{self.seed}.npz"


def execute(run: Run, command: str) -> None:
    """Train, evaluate and write the run's file whole."""
    import torch as th

    from coagent_rl.analysis import NeuronWatch
    from coagent_rl.files import write_whole
    from coagent_rl.training.run import Options, train

    th.set_num_threads(1)
    watch = NeuronWatch(run.watch_every) if run.watch_every else None
    options = Options(final_eval_episodes=EVALUATED_OF.get(run.env_id, EVALUATED), callbacks=[watch] if watch else [])
    result = train(run.algorithm, run.env_id, run.settings, run.seed, options)
    facts = {
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "table": run.table,
        "method": run.method,
        "settings": dict(run.settings),
        **result.summary,
    }
    returns = result.returns
    arrays = {**compact_returns(returns), "facts": np.array(json.dumps(facts))}
    if run.keeps_parameters:
        arrays["parameters"] = result.model.policy.actor.parameters
    if watch is not None:
        arrays["lengths"] = result.lengths
        arrays["watch_timesteps"] = np.array(watch.timesteps)
        arrays["saturation"] = np.array([states.saturation for states in watch.states])
        arrays["one_sign"] = np.array([states.one_sign for states in watch.states])
    write_whole(run.path, lambda beside: np.savez_compressed(beside, **arrays))
    final = result.summary["final_evaluation"]["mean_return"]
    print(
        f"{run.method} {run.env_id} seed {run.seed}: {returns.mean():.2f} over all episodes, {returns[-100:].mean():.2f} "
        f"over the last 100, {final:.2f} after training, {result.summary['steps_per_second']:.0f} steps/s",
        flush=True,
    )


def execute_all(runs: Sequence[Run], n_jobs: int) -> None:
    """Execute those runs that have no file yet, ``n_jobs`` at a time; the results do not depend on ``n_jobs``.

    A run that fails (its parameters diverge, say) keeps no other from being made.

    Raises:
        ValueError: for a file made with other settings, before anything is run; at the end, naming the runs that failed.
    """
    from joblib import Parallel, delayed

    missing = [run for run in runs if read(run) is None]
    print(f"{len(runs) - len(missing)} of {len(runs)} runs are there already.", flush=True)
    command = "python -m " + " ".join([Path(sys.argv[0]).parent.name + "." + Path(sys.argv[0]).stem, *sys.argv[1:]])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failures = Parallel(n_jobs=n_jobs)(delayed(_failure)(run, command) for run in missing)
    if any(failures):
        raise ValueError("These runs failed:\n" + "\n".join(failure for failure in failures if failure))


def _failure(run: Run, command: str) -> str:
    try:
        execute(run, command)
    except ValueError as error:
        return f"{run.method} {run.env_id} seed {run.seed}: {error}"
    return ""


def read(run: Run) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Episode returns and facts of a run, or None where it has not been run.

    Raises:
        ValueError: if the file was made with other settings.
    """
    if not run.path.exists():
        return None
    with np.load(run.path) as file:
        facts = json.loads(str(file["facts"]))
        returns = whole_returns(file, facts["episodes"])
    wanted, made = complete(run.algorithm, dict(run.settings)), complete(run.algorithm, facts["settings"])
    if different := {key for key in {*wanted, *made} if wanted.get(key) != made.get(key)}:
        raise ValueError(
            f"{run.path} was made with other settings ({', '.join(sorted(different))}): delete it to run it anew."
        )
    return returns, facts


def complete(algorithm: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file holds them, and what was meant where they say nothing (`THEN`)."""
    return {**THEN.get(algorithm, {}), **json.loads(json.dumps(settings))}


def facts_of(path: Path) -> dict[str, Any]:
    """The facts in a run's file, read once as long as it does not change; none where it has none."""
    return _facts(path, path.stat().st_mtime_ns)


@cache
def _facts(path: Path, changed: int) -> dict[str, Any]:
    with np.load(path) as file:
        facts: dict[str, Any] = json.loads(str(file["facts"])) if "facts" in file.files else {}
    return facts


def initial_model(run: Run) -> CoagentAlgorithm:
    """Return the model of a run as it was before training."""
    from coagent_rl.registry import algorithm_class
    from coagent_rl.training.hyperparameters import RUN_KEYS
    from coagent_rl.training.run import make_environments

    if run.settings.get("normalize"):
        raise ValueError("The statistics of the normaliser are not kept with a run: its model cannot be made again.")
    settings = {key: value for key, value in run.settings.items() if key not in RUN_KEYS}
    env = make_environments(run.env_id, 1, run.seed, {}, run.settings.get("env_wrapper"))
    return algorithm_class(run.algorithm)("MlpPolicy", env, seed=run.seed, **settings)


def trained_model(run: Run) -> CoagentAlgorithm:
    """Return the model of a run as it was after training, for prediction.

    Raises:
        FileNotFoundError: if the run has no file.
        ValueError: if the parameters were not kept.
    """
    model = initial_model(run)
    with np.load(run.path) as file:
        if "parameters" not in file.files:
            raise ValueError(f"{run.path} holds no parameters: the table does not list it among its networks.")
        model.policy.actor.parameters[:] = file["parameters"]
    return model


def observations_of(model: CoagentAlgorithm, run: Run, n_steps: int = 5000) -> np.ndarray:
    """What a trained agent meets: observations of ``n_steps`` steps of its sampled policy, shape (n_steps, n_inputs)."""
    from coagent_rl.training.run import EVALUATION_SEED_OFFSET, make_environments

    env = make_environments(run.env_id, 1, run.seed + EVALUATION_SEED_OFFSET, {}, run.settings.get("env_wrapper"))
    observation, seen = env.reset(), []
    for _ in range(n_steps):
        seen.append(observation[0])
        observation, _, _, _ = env.step(model.predict(observation)[0])
    env.close()
    return np.array(seen)
