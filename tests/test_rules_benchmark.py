"""The table of all rules: the same for all of them, resumable, and what it says is what was run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import rules, rules_table
from coagent_rl.analysis.known import METHODS
from coagent_rl.registry import ALGORITHMS, algorithm_class

SEEDS = range(3)


@pytest.fixture
def short(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "FOLDER", tmp_path)
    monkeypatch.setattr(rules_table, "FOLDER", tmp_path)
    lengths = {name: 1 if name == rules.DIGITS else 600 for name in rules.TASKS}
    for name, task in rules.TASKS.items():
        monkeypatch.setitem(rules.TASKS, name, replace(task, length=2 * lengths[name], trial_length=lengths[name]))
    return tmp_path


def test_every_rule_of_discrete_actions_has_a_row() -> None:
    rows = {rule.algorithm for rule in rules.RULES.values()}
    assert rows == set(ALGORITHMS) - {"decentralized_ddpg"}  # of continuous actions only
    for name, rule in rules.RULES.items():
        assert name in METHODS or "frozen_layers" in rule.changes
        assert name not in METHODS or name == "frozen" or rule.label == METHODS[name]
    assert {name for name, rule in rules.RULES.items() if "frozen_layers" in rule.changes} == {"frozen", "frozen_relu"}


def test_all_rules_are_tried_with_the_same_settings() -> None:
    """But for what the row says, and the rates of frozen layers."""
    for number in range(rules.N_TRIALS):
        chosen = rules.drawn(number)
        assert chosen == rules.drawn(number)
        assert (chosen == rules.drawn(number + 1)) is False
        found = {name: rules.settings_of(rule, "CartPole-v1", chosen) for name, rule in rules.RULES.items()}
        for name, settings in found.items():
            if name.startswith("frozen"):
                assert settings.pop("frozen_layers") == "hidden"
                assert settings["actor_learning_rate"]["start"] == [0.0, 0.0, chosen["actor_learning_rate"][-1]]
                settings["actor_learning_rate"] = found["weight_max"]["actor_learning_rate"]
            if name == "map_prop":  # its defaults when the runs were made
                assert settings.pop("relaxation_rate") == 0.5
                assert [settings["policy_kwargs"].pop(key) for key in ("variance", "critic_variance")] == [0.1, 0.1]
            assert settings == found["weight_max"]
            assert settings["policy_kwargs"] == {"net_arch": rules.NET_ARCH}


def test_trials_and_runs_are_resumed(short, capsys) -> None:
    words = ["--tasks", "CartPole-v1", rules.DIGITS, "--rules", "reinforce", "frozen", "hindsight", "--trials", "2"]
    rules.main([*words, "--seeds", "0"])
    trials = short / "tuning" / "reinforce-CartPole-v1.jsonl"
    lines = [json.loads(line) for line in trials.read_text(encoding="utf-8").splitlines()]
    assert [(line["trial"], line["seed"], line["drawn"]) for line in lines] == [
        (number, rules.TRIAL_SEED, rules.drawn(number)) for number in range(2)
    ]
    best = max(lines, key=lambda line: line["score"])["drawn"]
    first = short / "reinforce" / "CartPole-v1" / "seed_0.npz"
    before = trials.read_bytes(), first.read_bytes(), first.stat().st_mtime_ns
    rules.main([*words, "--seeds", "0-1"])
    assert (trials.read_bytes(), first.read_bytes(), first.stat().st_mtime_ns) == before
    facts, returns, lengths = rules.read("reinforce", "CartPole-v1", 1)
    assert facts["drawn"] == best
    assert facts["settings"]["actor_learning_rate"]["start"] == best["actor_learning_rate"]
    assert facts["road"] == "compiled"
    assert facts["command"].startswith("python -m benchmarks.rules --tasks CartPole-v1")
    np.testing.assert_array_equal(returns, lengths)  # CartPole's reward is one a step
    assert facts["score"] == pytest.approx(np.sum(returns**2) / np.sum(returns))
    assert not rules.trials_path("hindsight", rules.DIGITS).exists()
    text = (short / "table.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| hindsight credit | the action")]
    assert "not defined" in row
    assert "| CartPole | REINFORCE | 2 | 2 (0) |" in text
    assert "Not run: multiplexer, Acrobot, LunarLander." in text
    assert (short / "table.png").read_bytes().startswith(b"\x89PNG")


def test_what_diverges_is_said(short, monkeypatch, capsys) -> None:
    def trained(rule, env_id, chosen, seed, is_trial):
        if seed == 1 or chosen == rules.drawn(0):
            raise ValueError("too large")
        return {"settings": {}, "score": 2.0 * chosen["actor_lambda"], "last": 1.0, "per_cpu_second": 5.0}, None

    monkeypatch.setattr(rules, "trained", trained)
    rules.make("reinforce", "Acrobot-v1", 4, [0, 1, 2], "command")
    assert (short / "reinforce" / "Acrobot-v1" / "seed_1.txt").read_text(encoding="utf-8") == "It diverged: too large\n"
    assert rules.best_trial("reinforce", "Acrobot-v1")["trial"] != 0
    found = rules_table.cell("reinforce", "Acrobot-v1", SEEDS)
    assert (len(found.scores), found.diverged) == (2, 1)
    assert "(1 of 3 diverged)" in found.written(0)
    rules.make("disarm", "Acrobot-v1", 1, [0], "command")
    assert rules_table.why_empty("disarm", "Acrobot-v1") == "every trial diverged"


def test_an_average_step_counts_episodes_by_their_lengths() -> None:
    assert rules.at_an_average_step(np.array([1.0, 4.0]), np.array([10.0, 30.0])) == pytest.approx(3.25)


def test_rank_correlation() -> None:
    assert rules_table.rank_correlation([1, 5, 9, 10], [0.1, 0.2, 30, 31]) == pytest.approx(1.0)
    assert rules_table.rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    np.testing.assert_array_equal(rules_table.ranks([5.0, 1.0, 5.0]), [2.5, 1.0, 2.5])


def test_rows_name_agents() -> None:
    for rule in rules.RULES.values():
        assert "Discrete" in [space.__name__ for space in algorithm_class(rule.algorithm).supported_action_spaces]
