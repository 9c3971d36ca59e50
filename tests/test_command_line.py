"""train.py, as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml

from coagent_rl import WeightMax, evaluate, train
from coagent_rl.agents.saving import read_normaliser
from coagent_rl.files import write_whole
from coagent_rl.registry import ALGORITHMS, algorithm_class
from coagent_rl.training.evaluation import bootstrap_interval
from coagent_rl.training.files import new_run
from coagent_rl.training.hyperparameters import RUN_KEYS, check_environment, load_hyperparameters, override, parse_pairs
from coagent_rl.training.jobs import BACKENDS
from tests.command_line import QUICK, RATES, run_train

ROOT = Path(__file__).parents[1]


def test_a_run_leaves_all_its_files(tmp_path, capsys) -> None:
    folder = run_train(
        tmp_path,
        "-n",
        "1000",
        "--eval-freq",
        "400",
        "--eval-episodes",
        "2",
        "--save-freq",
        "500",
        "-P",
        "-tb",
        str(tmp_path / "tb"),
    )
    assert folder == tmp_path / "weight_max" / "CartPole-v1_1"
    assert {path.name for path in folder.iterdir()} == {
        "config.yml",
        "args.yml",
        "command.txt",
        "CartPole-v1.zip",
        "best_model.zip",
        "evaluations.npz",
        "0.monitor.csv",
        "rl_model_500_steps.zip",
        "rl_model_1000_steps.zip",
        "learning_curve.png",
        "summary.json",
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["algo"] == "weight_max"
    assert summary["env"] == "CartPole-v1"
    assert summary["seed"] == 1
    assert summary["timesteps"] == 1000
    monitor = np.genfromtxt(folder / "0.monitor.csv", delimiter=",", skip_header=2)
    assert summary["episodes"] == len(monitor)
    assert summary["mean_return_all_episodes"] == pytest.approx(monitor[:, 0].mean())
    assert summary["mean_return_last_100"] == pytest.approx(monitor[-100:, 0].mean())
    assert summary["final_evaluation"]["episodes"] == 3
    assert {"numpy", "numba", "gymnasium", "stable-baselines3"} <= set(summary["versions"])
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert config["settings"]["n_timesteps"] == 1000
    assert "n_episodes" not in config["settings"]
    assert yaml.safe_load((folder / "args.yml").read_text())["eval_freq"] == 400
    assert "train.py" in (folder / "command.txt").read_text()
    assert list(np.load(folder / "evaluations.npz")["timesteps"]) == [400, 800]
    printed = capsys.readouterr().out
    assert str(folder) in printed
    assert "final score" in printed
    assert (tmp_path / "tb").exists()


def test_episodes_environments_and_numbering(tmp_path) -> None:
    first = run_train(tmp_path, "--n-episodes", "12", "--n-envs", "2", "--env", "CartPole-v1", "--eval-freq", "-1")
    assert json.loads((first / "summary.json").read_text())["episodes"] in (12, 13)  # two may end in the same step
    episodes = (first / "0.monitor.csv").read_text().splitlines()[2:]  # of both environments
    assert len(episodes) == json.loads((first / "summary.json").read_text())["episodes"]
    assert run_train(tmp_path, "-n", "50").name == "CartPole-v1_2"


def test_same_command_same_result(tmp_path) -> None:
    first, second = (run_train(tmp_path, "-n", "400", "--eval-freq", "-1") for _ in range(2))
    read = [json.loads((folder / "summary.json").read_text()) for folder in (first, second)]
    for name in ("episodes", "mean_return_all_episodes", "final_evaluation"):
        assert read[0][name] == read[1][name]


def test_training_goes_on_from_a_trained_agent(tmp_path) -> None:
    first = run_train(tmp_path, "-n", "300")
    second = run_train(tmp_path, "-n", "200", "-i", str(first / "CartPole-v1.zip"))
    assert WeightMax.load(second / "CartPole-v1.zip").num_timesteps == 500
    assert json.loads((second / "summary.json").read_text())["timesteps"] == 200
    third = run_train(tmp_path, "-n", "200", "-i", str(first / "CartPole-v1.zip"), "--seed", "2")
    episodes = [np.genfromtxt(folder / "0.monitor.csv", delimiter=",", skip_header=2)[:, 1] for folder in (second, third)]
    assert episodes[0].tolist() != episodes[1].tolist()


def test_training_goes_on_with_the_settings_of_the_run(tmp_path, capsys) -> None:
    words = ["--env-kwargs", "gravity:-8.0", "-params", "gamma:0.5", "normalize:true", *RATES, *QUICK[-1:]]
    first = run_train(tmp_path, "-n", "200", "--env", "LunarLander-v3", *words)
    agent = str(first / "LunarLander-v3.zip")
    assert (
        train.main(["-f", str(tmp_path), "--env", "LunarLander-v3", "-i", agent, "-n", "100", "-params", "gamma:0.6"]) == 0
    )
    old, new = (yaml.safe_load((first.with_name(f"LunarLander-v3_{k}") / "config.yml").read_text()) for k in (1, 2))
    assert new == {**old, "settings": {**old["settings"], "gamma": 0.6, "n_timesteps": 100}}
    state = read_normaliser(first.with_name("LunarLander-v3_2") / "LunarLander-v3.zip")
    assert round(state["obs_rms"]["count"]) == 302  # 200 steps, 100 steps, two resets
    for words, message in (
        (["--algo", "reinforce"], "was trained by weight_max, not by reinforce"),
        (["-params", "normalize:false", "-n", "9"], "normalize must not be false"),
    ):
        assert train.main(["-f", str(tmp_path), "--env", "LunarLander-v3", "-i", agent, *words]) == 2
        assert message in capsys.readouterr().err


class Breaks(gym.Wrapper):
    """Its rewards turn into NaN after 300 steps."""

    clock = 0

    def step(self, action):
        self.clock += 1
        observation, reward, *others = self.env.step(action)
        return observation, float("nan") if self.clock > 300 else reward, *others


def test_a_run_that_fails_later_keeps_what_was_learned(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    words = [
        "-f",
        str(tmp_path),
        *QUICK,
        *RATES,
        "-n",
        "600",
        "-params",
        "normalize:true",
        "env_wrapper:test_command_line.Breaks",
    ]
    assert train.main(words) == 2
    assert "What was learned until then is in" in capsys.readouterr().err
    folder = tmp_path / "weight_max" / "CartPole-v1_1"
    assert WeightMax.load(folder / "CartPole-v1.zip").num_timesteps == 300
    assert read_normaliser(folder / "CartPole-v1.zip") is not None
    # Divergence is noticed before it reaches the parameters: what was learned until then is kept, and the episodes.
    words = [
        "--env",
        "Pendulum-v1",
        "-n",
        "4000",
        "-params",
        "optimizer:sgd",
        "actor_learning_rate:0.03",
        "critic_learning_rate:1e-4",
    ]
    assert train.main(["-f", str(tmp_path), "--seed", "0", *words]) == 2
    assert "parameters have diverged" in capsys.readouterr().err
    left = {path.name for path in (tmp_path / "weight_max" / "Pendulum-v1_1").iterdir()}
    assert left == {"config.yml", "args.yml", "command.txt", "0.monitor.csv", "Pendulum-v1.zip"}


def test_an_environment_of_the_users_own(tmp_path, monkeypatch) -> None:
    (tmp_path / "own_task.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('OwnTask-v0', 'gymnasium.envs.classic_control.cartpole:CartPoleEnv', max_episode_steps=9)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = run_train(tmp_path, "--env", "own_task:OwnTask-v0", "-n", "40", "--env-kwargs", "max_episode_steps:4")
    assert folder.name == "OwnTask-v0_1"
    assert json.loads((folder / "summary.json").read_text())["episodes"] == 10
    for words in ([str(folder), "--trust"], ["-f", str(tmp_path), "--env", "own_task:OwnTask-v0"]):
        assert evaluate.main([*words, "--n-episodes", "2"]) == 0


def test_a_run_that_fails_at_once_does_not_hide_the_others(tmp_path, capsys) -> None:
    folder = run_train(tmp_path, "-n", "50")
    assert train.main(["-f", str(tmp_path), *QUICK[:-2], "-params", "gamma:7"]) == 2
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    (folder.parent / "CartPole-v1_9").mkdir()  # a run in progress
    assert evaluate.main(["-f", str(tmp_path), "--n-episodes", "1"]) == 0


def test_final_score_does_not_depend_on_evaluations_during_training(tmp_path) -> None:
    scores = []
    for frequency in ("-1", "70", "110"):
        folder = run_train(tmp_path, "-n", "300", "--eval-freq", frequency)
        scores.append(json.loads((folder / "summary.json").read_text())["final_evaluation"])
    assert scores[0] == scores[1] == scores[2]


def test_normalised_run_is_evaluated_with_its_statistics(tmp_path) -> None:
    words = ["--env", "Pendulum-v1", "-params", "normalize:true", *RATES, *QUICK[-1:]]
    folder = run_train(tmp_path, "-n", "600", "--save-freq", "300", "--eval-freq", "400", *words)
    names = ["Pendulum-v1", "best_model", "rl_model_300_steps", "rl_model_600_steps"]
    counts = [round(read_normaliser(folder / f"{name}.zip")["obs_rms"]["count"]) for name in names]
    assert counts == [601, 401, 301, 601]
    assert evaluate.main([str(folder), "--n-episodes", "2"]) == 0
    run_train(tmp_path, "-n", "50", "-i", str(folder / "rl_model_300_steps.zip"), *words)
    (folder / "config.yml").write_text((folder / "config.yml").read_text().replace("normalize: true", "normalize: false"))
    assert evaluate.main([str(folder), "--n-episodes", "2"]) == 2


def test_env_kwargs_wrapper_and_slashes(tmp_path) -> None:
    conf = tmp_path / "conf.yml"
    conf.write_text(
        yaml.safe_dump(
            {
                "default": {
                    "n_timesteps": 60,
                    "env_wrapper": [{"gymnasium.wrappers.TimeLimit": {"max_episode_steps": 5}}],
                    "actor_learning_rate": 0.01,
                    "critic_learning_rate": 0.01,
                }
            }
        )
    )
    folder = run_train(tmp_path, "-conf", str(conf), "--env", "LunarLander-v3", "--env-kwargs", "gravity:-5.0")
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert config["env_kwargs"] == {"gravity": -5.0}
    assert json.loads((folder / "summary.json").read_text())["episodes"] == 12
    assert new_run(tmp_path, "weight_max", "some/Env-v0").name == "some-Env-v0_1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "CartPol-v1"], "Unknown environment 'CartPol-v1'. Did you mean CartPole-v1"),
        (["--algo", "weightmax"], "Unknown algorithm 'weightmax'. Did you mean weight_max"),
        (["-params", "gama:0.9"], "Unknown key 'gama' in -params for weight_max. Did you mean gamma"),
        (["-params", "gamma"], "Expected key:value, not 'gamma'"),
        (
            ["-params", "gamma:__import__('os')"],
            "of 'gamma', \"__import__('os')\", is neither a Python literal nor a plain word",
        ),
        (["-params", "gamma:0,9)"], "Write for example gamma:0.9, critic:td, actor_learning_rate:[1e-2,1e-3] or"),
        (["--env-kwargs", "gravity:("], "The value of 'gravity', '(', is neither"),
        (["--env", "ALE/Pong-v5"], "Name it ale_py:ALE/Pong-v5"),
        (["--env", "PongNoFrameskip-v4"], "the package ale-py"),
        (["--env", "MiniGrid-Empty-5x5-v0"], "the package minigrid"),
        (["--env", "Nothing"], "Unknown environment 'Nothing'. One of your own is module:id"),
        (["-params", "gamma:2"], "gamma must lie in"),
        (["-params", "gamma:high"], "gamma must be a number"),
        (["-params", "actor_learning_rate:fast"], "actor_learning_rate must be a number"),
        (["-params", "n_timesteps:0"], "n_timesteps in -params must be a whole number from 1, not 0"),
        (["-params", "normalize:yes"], "normalize in -params must be true, false or a mapping"),
        (["-params", "env_wrapper:gymnasium.wrappers.Nope"], "no environment wrapper 'gymnasium.wrappers.Nope'"),
        (["--env-kwargs", "gravty:1"], "CartPole-v1 takes no argument 'gravty'"),
        (["--seed", "-1"], "--seed must not be negative"),
        (["--seed", "99999999999"], "--seed must be at most 4294967295, not 99999999999"),
        (["--seeds", "0-99999999999"], "Seeds are whole numbers from 0 to 4294967295; '0-99999999999' in"),
        (["--backend", "gpu"], "Unknown backend 'gpu'. Known names: auto, dask, loky, ray, threads"),
        (["--n-jobs", "0"], "--n-jobs must be a whole number from 1, or -1 for one a processor, not 0"),
        (["--eval-freq", "0"], "--eval-freq must be at least 1, or -1 for never, not 0"),
        (["--eval-freq", "-7"], "--eval-freq must be at least 1, or -1 for never, not -7"),
        (["--save-freq", "-7"], "--save-freq must be at least 1, or 0 for one a minute, or -1 for none, not -7"),
        (["--verbose", "-3"], "--verbose must be at least 0, not -3"),
        (["--resume", "nowhere", "--verbose", "-3"], "--verbose must be at least 0, not -3"),
        (["-params", "gamma:0.9", "gamma:0.8"], "'gamma' is there twice, as 0.9 and as 0.8"),
        (["--env-kwargs", "gravity:1", "gravity:2"], "'gravity' is there twice, as 1 and as 2"),
        (["--env", "Foo-v0"], "Unknown environment 'Foo-v0'. One of your own is module:id"),
        (["-params", "noise_persistence:0.5"], 'write "policy_kwargs:dict(noise_persistence=0.5)", in the place of all'),
        (["-params", "units:relu"], """write "policy_kwargs:dict(units='relu')\""""),
        (["-n", "0"], "--n-timesteps must be at least 1"),
        (["-n", "5", "--n-episodes", "5"], "not both"),
        (["-n", "5", "-params", "n_episodes:5"], "not both"),
        (["--eval-episodes", "0"], "--eval-episodes must be at least 1"),
        (["--final-eval-episodes", "-1"], "--final-eval-episodes must be at least 0"),
        (
            ["-params", "normalize:dict(norm_rewards=True)"],
            "'norm_rewards' of normalize in -params. Did you mean norm_reward",
        ),
        (["-params", "env_wrapper:gymnasium.wrappers.TimeLimit"], "wrapper 'gymnasium.wrappers.TimeLimit' cannot be made"),
        (["-params", "policy_kwargs:3"], "policy_kwargs must be a dictionary, not 3"),
        (["--env", "no_module:Task-v0"], "The module 'no_module', which should register Task-v0, cannot be imported"),
        (["-i", "nothing.zip"], "There is no trained agent at nothing.zip"),
        (["-conf", "nothing.yml"], "nothing.yml cannot be read"),
    ],
)
def test_wrong_arguments_of_train(tmp_path, capsys, words, message) -> None:
    assert train.main(["-f", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.zip"))


def test_which_package_brings_an_environment(monkeypatch) -> None:
    where = "coagent_rl.training.hyperparameters.find_spec"
    monkeypatch.setattr(where, lambda _: None)
    with pytest.raises(ValueError, match=r"the package ale-py, which is not installed \(pip install ale-py\). Name it"):
        check_environment("ALE/Pong-v5")
    monkeypatch.setattr(where, lambda _: "found")
    with pytest.raises(ValueError, match=r"the package highway-env\. Name it highway_env:highway-fast-v0"):
        check_environment("highway-fast-v0")


def test_a_length_of_training_is_needed(tmp_path, capsys) -> None:
    (tmp_path / "conf.yml").write_text("default: {actor_learning_rate: [1e-2, 1e-3, 1e-3]}")
    words = ["-f", str(tmp_path), "-conf", str(tmp_path / "conf.yml")]
    assert train.main(words) == 2
    assert "neither n_timesteps nor n_episodes" in capsys.readouterr().err
    assert train.main([*words, "-n", "30", "--final-eval-episodes", "0"]) == 0  # and 1e-2 is read as a number


def test_unwritable_log_folder(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert train.main(["-f", str(tmp_path / "file" / "logs"), "-n", "10"]) == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_unknown_keys_in_yaml(tmp_path) -> None:
    path = tmp_path / "conf.yml"
    for text, message in (
        ("default: {gama: 1}", "Unknown key 'gama' .* Did you mean gamma"),
        ("default: {net_arch: [8]}", r"'net_arch' in .* belongs in .* of weight_max: write .*: {net_arch: \[8\]}"),
        ("default: {n_timesteps: 1, n_episodes: 1}", "both n_timesteps and n_episodes"),
        ("Pendulum-v1: {}", "neither for CartPole-v1 nor for 'default'"),
        ("- 1", "must map environment ids to settings"),
        ("a: [", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_hyperparameters("weight_max", "CartPole-v1", str(path))


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_shipped_hyperparameters_are_valid(algorithm) -> None:
    for env_id in ("CartPole-v1", "Acrobot-v1", "LunarLander-v3", "coagent_rl/Multiplexer-v0", "Pendulum-v1"):
        if not isinstance(gym.make(env_id).action_space, algorithm_class(algorithm).supported_action_spaces):
            continue
        settings = override(load_hyperparameters(algorithm, env_id), {})
        arguments = {key: value for key, value in settings.items() if key not in RUN_KEYS}
        algorithm_class(algorithm)("MlpPolicy", env_id, **arguments)


def test_pairs() -> None:
    assert parse_pairs(["a:1e-3", "b:[1, 2]", "c:relu", "d:dict(x=dict(y=1))", "e:None", "f:{'k': (1,)}"]) == {
        "a": 1e-3,
        "b": [1, 2],
        "c": "relu",
        "d": {"x": {"y": 1}},
        "e": None,
        "f": {"k": (1,)},
    }


def test_the_command_line_knows_all_backends() -> None:
    """It names them itself, because where they are made torch is imported."""
    assert ("auto", *BACKENDS) == train.BACKENDS


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from coagent_rl import train, evaluate; train.parser().format_help(); evaluate.parser().format_help();"
        "assert not {'torch', 'numba', 'stable_baselines3', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for script in ("train.py", "evaluate.py"):
        done = subprocess.run([sys.executable, ROOT / script, "--help"], check=True, capture_output=True, text=True)
        assert "usage" in done.stdout


def test_interrupted_writing_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(beside: Path) -> None:
        beside.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_bootstrap_interval() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        low, high = bootstrap_interval(rng.normal(3.0, 1.0, 50), n_resamples=1000, seed=seed)
        covered += low < 3.0 < high
    assert 85 <= covered <= 100
    assert bootstrap_interval(np.full(5, 2.0)) == (2.0, 2.0)
    with pytest.raises(ValueError, match="empty"):
        bootstrap_interval(np.array([]))
