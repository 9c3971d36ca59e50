"""What is kept of two studies, one rate for all layers and small multiplexers, and what their commands make of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import small_multiplexers, step_sizes
from benchmarks.random_search import read_trials
from coagent_rl import WeightMax


def committed(module, folder: Path) -> None:
    assert module.table() == (folder / "table.md").read_text(encoding="utf-8")


def test_tables_are_made_of_the_runs() -> None:
    committed(step_sizes, step_sizes.FOLDER)
    committed(small_multiplexers, small_multiplexers.FOLDER)


@pytest.mark.parametrize("path", sorted(step_sizes.FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_rates_are_those_that_were_drawn_and_the_best_was_run_again(path) -> None:
    name = path.stem.partition("-")[0]
    lines = read_trials(path)
    trials, runs = lines[: step_sizes.N_TRIALS], lines[step_sizes.N_TRIALS :]
    assert [line["trial"] for line in trials] == list(range(step_sizes.N_TRIALS))
    assert {line["seed"] for line in trials} == {step_sizes.TRIAL_SEED}
    assert [line["seed"] for line in runs] == [0, 1, 2, 3, 4]
    for line in lines:
        rates = step_sizes.drawn(step_sizes.WAYS[name], line["trial"])
        assert {key: line[key] for key in rates} == rates
    best = max(trials, key=lambda line: -np.inf if line["score"] is None else line["score"])
    assert {line["trial"] for line in runs} == {best["trial"]}


@pytest.mark.parametrize("path", sorted(small_multiplexers.FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_settings_are_those_that_were_drawn_and_the_best_was_run_again(path) -> None:
    lines = read_trials(path)
    trials, runs = lines[: small_multiplexers.N_TRIALS], lines[small_multiplexers.N_TRIALS :]
    assert [line["trial"] for line in trials] == list(range(small_multiplexers.N_TRIALS))
    assert [line["seed"] for line in runs] == list(range(10))
    for line in lines:
        settings = small_multiplexers.drawn(line["trial"])
        assert {key: line[key] for key in settings} == settings
    assert {line["trial"] for line in runs} == {max(trials, key=lambda line: line["final"])["trial"]}


def test_sparse_networks_begin_with_one_input_in_ten() -> None:
    model = step_sizes.SparseWeightMax("MlpPolicy", "coagent_rl/Multiplexer-v0", seed=0)
    for network in (model.policy.actor, model.policy.critic):
        assert np.all((network.weights(0) != 0.0).sum(axis=0) == 2)
        assert np.all((network.weights(1) != 0.0).sum(axis=0) == 6)
        assert np.all(network.weights(2) != 0.0)
    assert np.all(WeightMax("MlpPolicy", "coagent_rl/Multiplexer-v0", seed=0).policy.actor.weights(0) != 0.0)


def test_commands_make_what_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(step_sizes, "FOLDER", tmp_path)
    monkeypatch.setattr(step_sizes, "N_TRIALS", 2)
    monkeypatch.setattr(step_sizes, "TASKS", {"CartPole-v1": step_sizes.Task("CartPole", 300)})
    words = ["--ways", "adam", "frozen", "--tasks", "CartPole-v1", "--seeds", "0-1"]
    step_sizes.main(words)
    made = (tmp_path / "adam-CartPole-v1.jsonl").read_text()
    assert len(made.splitlines()) == 4
    step_sizes.main(words)
    assert (tmp_path / "adam-CartPole-v1.jsonl").read_text() == made
    monkeypatch.setattr(small_multiplexers, "FOLDER", tmp_path / "multiplexers")
    monkeypatch.setattr(small_multiplexers, "N_TRIALS", 1)
    monkeypatch.setattr(small_multiplexers, "N_EVALUATED", 5)
    monkeypatch.setattr(small_multiplexers, "STEPS", {1: 200})
    small_multiplexers.main(["--seeds", "0-1"])
    lines = (tmp_path / "multiplexers" / "learned-1.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["trial", "run", "run"]
