"""The agents in RL Zoo; what runs the Zoo is skipped where it is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from coagent_rl import zoo
from coagent_rl.registry import ALGORITHMS
from coagent_rl.training.hyperparameters import load_hyperparameters, shipped_environments

needs_zoo = pytest.mark.skipif(find_spec("rl_zoo3") is None, reason="needs RL Zoo: pip install 'coagent-rl[zoo]'")
EPISODES = "stable_baselines3.common.callbacks.StopTrainingOnMaxEpisodes"


@pytest.fixture
def command(tmp_path, monkeypatch, capsys) -> Callable[..., str]:
    """Runs a command of the Zoo in a folder of the test's own, and gives what it prints.

    In this process: one of its own imports for seconds what is here already. That `python -m coagent_rl.zoo` does the same
    the test of the page about it shows.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))

    def run(*words: str) -> str:
        assert zoo.main(words) == 0
        return capsys.readouterr().out

    return run


def test_settings_are_as_the_zoo_writes_them() -> None:
    for algorithm in ALGORITHMS:
        table = zoo.zoo_settings(algorithm)
        assert set(table) == {*shipped_environments(algorithm), "default"}
        for settings in table.values():
            assert settings["policy"] == "MlpPolicy"
            assert settings["n_timesteps"] >= 1
            assert "n_episodes" not in settings
    cart_pole = zoo.zoo_settings("weight_max")["CartPole-v1"]
    assert cart_pole["n_timesteps"] == 500_000
    assert cart_pole["callback"] == [{EPISODES: {"max_episodes": 1000}}]
    assert cart_pole["gamma"] == load_hyperparameters("weight_max", "CartPole-v1")["gamma"]


def test_sampler_keeps_what_it_does_not_draw() -> None:
    trial = SimpleNamespace(
        suggest_float=lambda name, low, high, log=False: low,
        suggest_int=lambda name, low, high, log=False: low,
        suggest_categorical=lambda name, choices: choices[0],
    )
    settings = {"n_timesteps": 1000, "policy_kwargs": {"net_arch": [8], "variance": [0.1]}}
    drawn = zoo.sampler("map_prop", settings)(trial, 0, 1, {})
    assert drawn["policy_kwargs"]["net_arch"] == [8]
    assert drawn["policy_kwargs"]["variance"] == [pytest.approx(0.01)]
    assert len(drawn["actor_learning_rate"]) == 2 or len(drawn["actor_learning_rate"]["start"]) == 2


@pytest.mark.skipif(find_spec("rl_zoo3") is not None, reason="RL Zoo is installed")
def test_without_the_zoo_the_extra_is_named(capsys) -> None:
    with pytest.raises(ImportError, match=r"coagent-rl\[zoo\]"):
        zoo.register()
    assert zoo.main(["train"]) == 2
    assert "coagent-rl[zoo]" in capsys.readouterr().err


def test_commands_are_named(capsys) -> None:
    assert zoo.main(["dance"]) == 2
    assert "{train,enjoy}" in capsys.readouterr().err


@needs_zoo
def test_registered_twice_is_as_once() -> None:
    import rl_zoo3.train
    from rl_zoo3 import ALGOS

    zoo.register()
    manager = rl_zoo3.train.ExperimentManager
    zoo.register()
    assert rl_zoo3.train.ExperimentManager is manager
    assert {*ALGORITHMS, "ppo"} <= set(ALGOS)


@needs_zoo
def test_train_and_enjoy(tmp_path, command) -> None:
    where = ("--algo", "weight_max", "--env", "CartPole-v1", "-f", "logs", "--seed", "1")
    text = command("train", *where, "-n", "600", "--eval-freq", "300", "--eval-episodes", "1", "--save-freq", "300")
    assert "critic_lambda" in text  # the settings of the package's own file
    folder = tmp_path / "logs" / "weight_max" / "CartPole-v1_1"
    for name in ("CartPole-v1.zip", "best_model.zip", "rl_model_300_steps.zip", "CartPole-v1/config.yml"):
        assert (folder / name).is_file(), name
    enjoy = ("enjoy", *where, "--no-render", "-n", "600")
    assert "Episode Reward" in command(*enjoy)
    command(*enjoy, "--load-best", "--stochastic")


@needs_zoo
def test_replay_buffer_and_normaliser(tmp_path, command) -> None:
    where = ("train", "--algo", "decentralized_ddpg", "--env", "Pendulum-v1", "-f", "logs", "--eval-freq", "-1", "-n", "300")
    buffered = (*where, "--save-replay-buffer", "-params", "buffer_size:1000")
    command(*buffered)
    folder = tmp_path / "logs" / "decentralized_ddpg" / "Pendulum-v1_1"
    assert (folder / "replay_buffer.pkl").is_file()
    assert (folder / "Pendulum-v1" / "vecnormalize.pkl").is_file()
    assert "Loading replay buffer" in command(*buffered, "-i", str(folder / "Pendulum-v1.zip"))
    assert "There is no replay buffer to save" in command(*where, "--save-replay-buffer")
    assert (folder.with_name("Pendulum-v1_3") / "Pendulum-v1" / "vecnormalize.pkl").is_file()
    enjoy = ("enjoy", "--algo", "decentralized_ddpg", "--env", "Pendulum-v1", "-f", "logs", "--no-render", "-n", "250")
    assert "Loading running average" in command(*enjoy)


@needs_zoo
@pytest.mark.parametrize(
    ("algorithm", "settings", "n_ratios"),
    [("map_prop", (), 2), ("weight_max", ("--hyperparams", "policy_kwargs:dict(net_arch=[8])"), 1)],
)
def test_optimize_and_train_the_winner(command, algorithm, settings, n_ratios) -> None:
    """Also where the network is not of the default depth: a trial is read by the space from which it was drawn."""
    where = ("train", "--algo", algorithm, "--env", "CartPole-v1", "-f", "logs", "--storage", "s.log", "--study-name", "s")
    length = ("-n", "300", "--eval-episodes", "1", *settings)
    text = command(*where, *length, "-optimize", "--n-trials", "2", "--n-evaluations", "1", "--no-optim-plots")
    assert "Best trial" in text
    assert f"actor_learning_rate.ratio_{n_ratios}" in text
    assert f"actor_learning_rate.ratio_{n_ratios + 1}" not in text
    assert "Loading from Optuna study" in command(*where, *length, "--eval-freq", "-1", "--trial-id", "1")
