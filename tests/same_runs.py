"""Runs of train.py, and whether two of them are the same bit for bit."""

import json
import zipfile

import numpy as np

from coagent_rl import train

WORDS = [
    "--seed",
    "4",
    "--final-eval-episodes",
    "1",
    "--eval-freq",
    "-1",
    "-params",
    "policy_kwargs:dict(net_arch=[6])",
    "actor_learning_rate:1e-2",
    "critic_learning_rate:1e-2",
]


def run_in(folder, *words):
    assert train.main(["-f", str(folder), *WORDS, *words]) == 0
    return next(path.parent for path in folder.rglob("config.yml"))


def lines_of(folder):
    """Returns and lengths of the monitor files, without the times."""
    return {
        path.name: [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()[2:]]
        for path in sorted(folder.glob("*.monitor.csv"))
    }


def bits_of(file):
    """Parameters, memories, generators and statistics of a saved model."""
    with zipfile.ZipFile(file) as archive:
        data = json.loads(archive.read("data.json"))
        arrays = {name: archive.read(name) for name in archive.namelist() if name.startswith("parameters/")}
        normaliser = data["normaliser"] or {}
        for name in ("obs_rms", "ret_rms"):
            for moment in ("mean", "var") if normaliser.get(name) else ():
                arrays[name, moment] = archive.read(f"arrays/{normaliser[name][moment]['index']}.npy")
    kept = ("noise", "critic_noise", "replay_rng", "num_timesteps", "_episode_num", "_n_updates")
    return arrays, {name: data["attributes"].get(name) for name in kept}


def same_runs(one, other):
    """Whether two folders hold the same run."""
    assert lines_of(one) == lines_of(other)
    models = {path.name for path in one.glob("*.zip")}
    assert models == {path.name for path in other.glob("*.zip")}
    for name in models:
        assert bits_of(one / name) == bits_of(other / name), name
    for path in one.glob("*.npz"):
        a, b = np.load(path), np.load(other / path.name)
        assert all(np.array_equal(a[name], b[name]) for name in a.files if not name.endswith(".json"))
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, other)]
    for summary in summaries:
        del summary["seconds"], summary["training_seconds"], summary["steps_per_second"]
    assert summaries[0] == summaries[1]
