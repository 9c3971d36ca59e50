"""Stable-Baselines3's PPO, A2C and DQN on the tasks of the cells: ``python -m benchmarks.other_agents --seeds 0-2``.

Settings are those of RL Baselines3 Zoo (the extra ``zoo``), on the multiplexer, which the Zoo does not know,
Stable-Baselines3's defaults; lengths are those of the best of our agents (`benchmarks.cells`), PPO's also where that
is longer than what others report. Runs are files in ``results/other_agents``; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

from benchmarks.runs import RESULTS, Run, read
from coagent_rl.training.files import compact_returns
from coagent_rl.training.hyperparameters import parse_seeds

STEPS = {
    "Acrobot-v1": 1_000_000,
    "CartPole-v1": 450_000,
    "MountainCarContinuous-v0": 100_000,
    "MountainCar-v0": 1_000_000,
    "coagent_rl/Multiplexer-v0": 800_000,
    "LunarLander-v3": 1_340_000,
}
"""Time steps that the best of our three agents took on a task when these runs began, rounded; cheap tasks first."""
LONGER = {("ppo", "Acrobot-v1"): 4_000_000}
"""Algorithm and task → a second length, in time steps: that of the best of our agents now."""
ALGORITHMS = {"ppo": "PPO", "a2c": "A2C", "dqn": "DQN"}
EVALUATION_SEED_OFFSET = 10_000


def runs_of(algorithm: str, env_id: str, seeds: Sequence[int], *, longer: bool = False) -> list[Run]:
    """The runs of a cell, or those of its second length; none where there is none, or no discrete actions for DQN."""
    if (algorithm == "dqn" and env_id == "MountainCarContinuous-v0") or (longer and (algorithm, env_id) not in LONGER):
        return []
    settings = {"n_timesteps": LONGER[algorithm, env_id] if longer else STEPS[env_id]}
    method = f"{algorithm}_longer" if longer else algorithm
    return [Run("other_agents", method, env_id, seed, algorithm, settings) for seed in seeds]


class Returns(BaseCallback):
    """Keeps what every episode of training reached."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True


def make(run: Run, folder: str) -> tuple[BaseAlgorithm, dict[str, Any]]:
    """The agent as the Zoo makes it, and its settings. ``folder`` is where the Zoo puts its logs."""
    from rl_zoo3.exp_manager import ExperimentManager

    import coagent_rl  # noqa: F401  registers the multiplexer

    config = None
    if run.env_id == "coagent_rl/Multiplexer-v0":
        config = f"{folder}/defaults.yml"
        with open(config, "w", encoding="utf-8") as file:
            json.dump({run.env_id: {"policy": "MlpPolicy", **run.settings}}, file)  # JSON is YAML
    manager = ExperimentManager(
        Namespace(), run.algorithm, run.env_id, folder, seed=run.seed, eval_freq=-1, verbose=0, device="cpu", config=config
    )
    result = manager.setup_experiment()
    assert result is not None
    return result[0], dict(result[1])


def execute(run: Run, command: str) -> None:
    """Train, evaluate greedily over 100 episodes and write the run's file whole."""
    import torch as th

    from coagent_rl.files import write_whole
    from coagent_rl.training.run import versions

    th.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model, zoo_settings = make(run, folder)
        kept, started = Returns(), time.perf_counter()
        model.learn(run.settings["n_timesteps"], callback=kept)
        seconds = time.perf_counter() - started
        env = model.get_env()
        assert env is not None
        if (normaliser := model.get_vec_normalize_env()) is not None:
            normaliser.training = normaliser.norm_reward = False
        env.seed(run.seed + EVALUATION_SEED_OFFSET)
        returns, _ = evaluate_policy(model, env, 100, deterministic=True, return_episode_rewards=True)
    final = float(np.mean(returns))
    facts = {
        "command": command,
        "settings": dict(run.settings),
        "zoo": json.loads(json.dumps(zoo_settings, default=str)),
        "algo": run.algorithm,
        "env": run.env_id,
        "seed": run.seed,
        "episodes": len(kept.returns),
        "timesteps": model.num_timesteps,
        "final_evaluation": {"mean_return": final, "episodes": 100, "deterministic": True},
        "steps_per_second": model.num_timesteps / seconds,
        "versions": versions(),
    }
    arrays = {**compact_returns(np.array(kept.returns)), "facts": np.array(json.dumps(facts))}
    run.path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(run.path, lambda beside: np.savez_compressed(beside, **arrays))
    print(f"{run.algorithm} {run.env_id} seed {run.seed}: {np.mean(kept.returns):.2f} over all episodes, {final:.2f} after "
          f"training, {facts['steps_per_second']:.0f} steps/s", flush=True)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--envs", nargs="+", default=list(STEPS), choices=list(STEPS))
    p.add_argument("--algos", nargs="+", default=list(ALGORITHMS), choices=list(ALGORITHMS))
    p.add_argument("--seeds", default="0-9", help="such as 0-9 or 0,3,5")
    p.add_argument("--longer", action="store_true", help="the second length of a task, where it has one")
    given = p.parse_args(argv)
    command = " ".join(["python -m benchmarks.other_agents", *(argv or sys.argv[1:])])
    for env_id, seed, algorithm in product(given.envs, parse_seeds(given.seeds), given.algos):
        for run in runs_of(algorithm, env_id, [seed], longer=given.longer):
            if read(run) is None:
                execute(run, command)
    print(f"Runs are in {RESULTS / 'other_agents'}.")


if __name__ == "__main__":
    main()
