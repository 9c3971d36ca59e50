"""One line in the registry is all that an agent needs to exist everywhere; one of the user's own needs none."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

import coagent_rl
from coagent_rl import Reinforce, agents, evaluate, train
from coagent_rl.registry import ALGORITHMS, algorithm_class, markdown_table
from coagent_rl.training.hyperparameters import (
    constructor_arguments,
    has_settings,
    load_hyperparameters,
    shipped_environments,
    trust_flag,
)

ROOT = Path(__file__).parents[1]
OWN = """
from coagent_rl import Reinforce
from coagent_rl.agents import CoagentAlgorithm

class OwnRule(Reinforce):
    def __init__(self, policy, env, patience=1, gamma=0.9, actor_learning_rate=1e-3, **others):
        self.patience = patience
        super().__init__(policy, env, gamma=gamma, actor_learning_rate=actor_learning_rate, **others)

class ClosedRule(Reinforce):
    def __init__(self, policy, env, *, patience=1, seed=None, verbose=0, tensorboard_log=None):
        super().__init__(policy, env, seed=seed)

class Unfinished(CoagentAlgorithm):
    pass
"""


@pytest.fixture
def own_rule(tmp_path, monkeypatch) -> str:
    (tmp_path / "own_rule.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_rule", raising=False)
    return "own_rule:OwnRule"


def test_packages_export_what_is_registered() -> None:
    classes = {algorithm_class(name).__name__ for name in ALGORITHMS}
    assert len(classes) == len(ALGORITHMS)
    assert set(coagent_rl.__all__) == classes | {"LinearSchedule"}
    assert set(agents.__all__) == classes | {"CoagentAlgorithm", "CoagentPolicy"}
    for package in (coagent_rl, agents):
        assert set(package.__all__) <= set(dir(package))
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'WeightMin'"):
        _ = agents.WeightMin


def test_one_line_is_all(own_rule, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(ALGORITHMS, "own", own_rule)
    assert "own,ormodule:Class" in "".join(train.parser().format_help().split())
    assert train.main(["-f", str(tmp_path), "--algo", "own", "-n", "40", "--final-eval-episodes", "0"]) == 0
    assert evaluate.main(["-f", str(tmp_path), "--algo", "own", "--n-episodes", "1"]) == 0
    assert "| `OwnRule` | `own` |" in markdown_table()


def test_the_help_names_all() -> None:
    text = "".join(train.parser().format_help().split())
    assert all(name in text for name in ALGORITHMS)


def test_wrong_arguments_need_no_torch(tmp_path) -> None:
    code = """
import sys
from coagent_rl import evaluate, train
for words in (["--algo", "ppo"], ["--env", "CartPol-v1"], ["-n", "0"], ["--seed", "-1"], ["-n", "5", "--n-episodes", "5"],
              ["-i", "nothing.zip"], ["-params", "gamma"], ["-params", "gamma:(("], ["-params", "n_timesteps:0"],
              ["--env-kwargs", "gravty:1"]):
    assert train.main(words) == 2
for words in (["--algo", "ppo"], ["--env", "CartPol-v1"], ["--n-episodes", "0"], ["nowhere"]):
    assert evaluate.main(words) == 2
found = {"torch", "numba", "stable_baselines3", "matplotlib"} & set(sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_settings_without_a_file(own_rule) -> None:
    assert load_hyperparameters(own_rule, "CartPole-v1") == {"n_timesteps": 100_000}
    assert not has_settings(own_rule, "CartPole-v1")
    assert shipped_environments(own_rule) == []
    assert {"patience", "gamma", "actor_lambda", "critic"} <= constructor_arguments(own_rule)
    assert not {"others", "env", "seed", "self"} & constructor_arguments(own_rule)
    assert constructor_arguments("own_rule:ClosedRule") == {"patience"}


def test_a_rule_of_ones_own_is_trained_evaluated_and_goes_on(tmp_path) -> None:
    """By the scripts, from another folder than theirs, which is searched for the module."""
    (tmp_path / "own_rule.py").write_text(OWN)

    def call(script: str, *words: str) -> str:
        command = [sys.executable, ROOT / script, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout

    own = ("--algo", "own_rule:OwnRule")
    quick = (*own, "--seed", "1", "--final-eval-episodes", "0", "-n", "60")
    printed = call("train.py", *quick, "-params", "patience:3").splitlines()[-1]
    assert printed.endswith("/CartPole-v1_1 --trust --page episode.html")
    call("evaluate.py", "--n-episodes", "1", *shlex.split(printed.removeprefix("To watch it: python evaluate.py ")))
    assert (tmp_path / "episode.html").is_file()
    first = tmp_path / "logs" / "own_rule.OwnRule" / "CartPole-v1_1"
    config = yaml.safe_load((first / "config.yml").read_text())
    assert config["algo"] == "own_rule:OwnRule"
    assert config["settings"] == {"n_timesteps": 60, "patience": 3}
    call("train.py", *quick, "-i", str(first / "CartPole-v1.zip"))
    second = first.with_name("CartPole-v1_2")
    assert yaml.safe_load((second / "config.yml").read_text()) == config
    assert json.loads((second / "summary.json").read_text())["algo"] == "own_rule:OwnRule"
    assert "CartPole-v1_2" in call("evaluate.py", *own, "--n-episodes", "1")
    assert "CartPole-v1_1" in call("evaluate.py", *own, "--n-episodes", "1", str(first))


def test_commands_that_are_printed_ask_for_trust_where_it_is_needed() -> None:
    wrapped = {"env_wrapper": [{"own_wrappers.Slow": {"factor": 2}}]}
    assert trust_flag("weight_max", "CartPole-v1", [{}, {"env_wrapper": "gymnasium.wrappers.FlattenObservation"}]) == ""
    assert trust_flag("own_rule:OwnRule", "CartPole-v1", [{}]) == " --trust"
    assert trust_flag("weight_max", "own_envs:Own-v0", [{}]) == " --trust"
    assert trust_flag("weight_max", "CartPole-v1", [{}, wrapped]) == " --trust"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ppo", f"Unknown algorithm 'ppo'.* Algorithms: {', '.join(ALGORITHMS)}, or module:Class"),
        ("no_module:Rule", "The module 'no_module' of the algorithm 'no_module:Rule' cannot be imported: No module named"),
        (
            "own_rule:Rule",
            "'own_rule:Rule' names no subclass of CoagentAlgorithm. Those in 'own_rule': Reinforce, .*OwnRule",
        ),
        ("own_rule:__name__", "names no subclass"),
        ("json:dumps", "names no subclass of CoagentAlgorithm. Those in 'json': none"),
        ("own_rule:Unfinished", "'own_rule:Unfinished' cannot learn: it does not define rule"),
        ("own_rule:", "names no subclass"),
        (":OwnRule", "'' is not the name of a module"),
        ("./own_rule.py:OwnRule", "'./own_rule.py' is not the name of a module"),
    ],
)
@pytest.mark.usefixtures("own_rule")
def test_what_is_no_algorithm(name, message, tmp_path, capsys) -> None:
    assert train.main(["-f", str(tmp_path / "logs"), "--algo", name]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "logs").exists()


def test_arguments_of_a_rule_of_ones_own_are_checked(own_rule, tmp_path, capsys) -> None:
    for name, pair, message in (
        ("OwnRule", "patiense:3", "Unknown key 'patiense' in -params for own_rule:OwnRule. Did you mean patience"),
        ("ClosedRule", "gamma:0.9", "Unknown key 'gamma' in -params for own_rule:ClosedRule. Known names: env_wrapper"),
    ):
        assert train.main(["-f", str(tmp_path), "--algo", f"own_rule:{name}", "-params", pair]) == 2
        assert message in capsys.readouterr().err


def test_what_an_agent_cannot_do_it_says() -> None:
    class Lonely(Reinforce):
        supports_multi_env = False

    class Chooses(Reinforce):
        supported_action_spaces = (spaces.Discrete,)

    with pytest.raises(ValueError, match="Lonely learns from one environment, not from 2"):
        Lonely("MlpPolicy", make_vec_env("CartPole-v1", 2))
    with pytest.raises(ValueError, match=r"Chooses takes Discrete actions, not Box\("):
        Chooses("MlpPolicy", "Pendulum-v1")
    assert Lonely("MlpPolicy", "CartPole-v1").learn(5).num_timesteps == 5
    assert Chooses("MlpPolicy", make_vec_env("CartPole-v1", 2)).learn(6).num_timesteps == 6


def test_what_an_agent_says_is_true() -> None:
    """The class attributes that other tests read: none of them may promise less than the agent does."""
    for name in ALGORITHMS:
        kind = algorithm_class(name)
        if kind.actor_has_traces:
            assert kind("MlpPolicy", "CartPole-v1", actor_lambda=0.5).actor_lambda == 0.5
        else:
            with pytest.raises(ValueError, match="actor_lambda must be 0"):
                kind("MlpPolicy", "CartPole-v1", actor_lambda=0.5)
