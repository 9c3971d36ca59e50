"""Run folders and results files with given episodes, as train.py and the benchmarks write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coagent_rl.training.files import write_json, write_yaml


def monitor_text(returns: Sequence[float], lengths: Sequence[int], env: str = "CartPole-v1") -> str:
    lines = [f"{float(r)},{n},{0.1 * k:.6f}" for k, (r, n) in enumerate(zip(returns, lengths, strict=True))]
    return "\n".join(["#" + json.dumps({"t_start": 0.0, "env_id": env}), "r,l,t", *lines]) + "\n"


def write_run(
    folder: Path,
    *monitors: str,
    algo: str = "weight_max",
    env: str = "CartPole-v1",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    final: float | None = None,
    timesteps: int | None = None,
    finished: bool = True,
    trained_agent: str | None = None,
) -> Path:
    folder.mkdir(parents=True)
    config = {"algo": algo, "env": env, "env_kwargs": {}, "settings": {"n_episodes": 10, **(settings or {})}}
    write_yaml(folder / "config.yml", config)
    write_yaml(folder / "args.yml", {"algo": algo, "seed": seed, "trained_agent": trained_agent})
    for k, text in enumerate(monitors):
        (folder / f"{k}.monitor.csv").write_text(text)
    if finished:
        evaluation = None if final is None else {"mean_return": final, "std_return": 0.0, "episodes": 5}
        write_json(folder / "summary.json", {"seed": seed, "timesteps": timesteps, "final_evaluation": evaluation})
    return folder


def write_results(
    folder: Path, returns: np.ndarray, method: str = "weight_max", env: str = "CartPole-v1", seed: int = 0, **facts: Any
) -> Path:
    """One file of ``folder/<method>/<env>``; ``lengths`` among the facts is an array of its own."""
    path = folder / method / env.replace("/", "-") / f"seed_{seed}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"lengths": facts.pop("lengths")} if "lengths" in facts else {}
    common = {"table": folder.name, "method": method, "algo": method, "env": env, "seed": seed, "settings": {}}
    np.savez_compressed(path, returns=returns, facts=np.array(json.dumps({**common, **facts})), **arrays)
    return path
