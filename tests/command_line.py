"""A short run of train.py, for tests."""

from pathlib import Path

from coagent_rl import train

QUICK = ["--seed", "1", "--final-eval-episodes", "3", "-params", "policy_kwargs:dict(net_arch=[8])"]
RATES = ["actor_learning_rate:[1e-2,1e-3]", "critic_learning_rate:1e-2"]


def run_train(folder: Path, *words: str) -> Path:
    assert train.main(["-f", str(folder), *QUICK, *RATES, *words]) == 0
    return sorted(folder.glob("*/*"), key=lambda path: path.stat().st_mtime)[-1]
