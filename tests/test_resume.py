"""Runs that were stopped, in any way, and go on: they end with the bits of a run that never stopped."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from coagent_rl import WeightMax, evaluate, train
from coagent_rl.files import held
from coagent_rl.training import checkpoints
from coagent_rl.training.checkpoints import Interruption
from coagent_rl.training.run import Options
from coagent_rl.training.run import train as train_once
from tests.same_runs import WORDS, bits_of, lines_of, run_in, same_runs

ROOT = Path(__file__).parents[1]
SETTINGS = {"actor_learning_rate": 1e-2, "critic_learning_rate": 1e-2, "policy_kwargs": {"net_arch": [6]}}
REPLAY = {
    "policy_kwargs": {"net_arch": [6]},
    "buffer_size": 90,
    "learning_starts": 20,
    "batch_size": 8,
}


class Killed(Exception):
    """Stands for a kill: nothing is done after it."""


class Kill(BaseCallback):
    """Ends the run after so many steps, as a kill does: with no file written any more."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def _on_step(self):
        if self.num_timesteps >= self.steps:
            raise Killed
        return True


def options(folder, n_envs, **others):
    return Options(
        folder=folder, n_envs=n_envs, eval_freq=90, eval_episodes=1, save_freq=50, final_eval_episodes=1, **others
    )


@pytest.mark.parametrize("n_envs", [1, 8])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("algorithm", "env", "settings"),
    [
        ("weight_max", "CartPole-v1", SETTINGS),
        ("weight_max", "LunarLander-v3", SETTINGS),
        ("weight_max", "coagent_rl/Supervised-v0", SETTINGS),
        ("map_prop", "Acrobot-v1", {"critic": "map_prop", "policy_kwargs": {"net_arch": [6]}}),
        ("decentralized_ddpg", "Pendulum-v1", REPLAY),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, algorithm, env, settings, normalize, n_envs) -> None:
    settings = {**settings, "n_timesteps": 400, "normalize": normalize}
    kwargs = {"data": "digits"} if "Supervised" in env else {}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_once(algorithm, env, settings, 3, options(whole, n_envs, env_kwargs=kwargs))
    start = None
    for steps in (130, 310):  # the checkpoints before are of 96, 100, 300 or 304 steps, so some steps are made again
        with pytest.raises(Killed):
            train_once(
                algorithm,
                env,
                settings,
                3,
                options(cut, n_envs, env_kwargs=kwargs, checkpoint=start, callbacks=[Kill(steps)]),
            )
        for path in cut.glob("*.zip"):  # what a run saves when an exception ends it, a kill does not
            if not path.name.startswith(("rl_model", "best")):
                path.unlink()
        start = str(list(checkpoints.checkpoints(cut).values())[-1])
    train_once(algorithm, env, settings, 3, options(cut, n_envs, env_kwargs=kwargs, checkpoint=start))
    same_runs(whole, cut)
    assert len(list(cut.glob("rl_model_*_steps.zip"))) == 2


class Drifts(gym.Wrapper):
    """Its rewards depend on how many steps were ever made: no episode of it can be repeated."""

    clock = 0

    def step(self, action):
        self.clock += 1
        observation, _, *others = self.env.step(action)
        return observation, 1.0 / self.clock, *others


def test_where_an_episode_cannot_be_repeated_a_new_one_begins(tmp_path, capsys) -> None:
    settings = {**SETTINGS, "n_timesteps": 300, "env_wrapper": f"{__name__}.Drifts", "normalize": True}
    with pytest.raises(Killed):
        train_once("weight_max", "CartPole-v1", settings, 3, options(tmp_path, 2, callbacks=[Kill(180)]))
    file = list(checkpoints.checkpoints(tmp_path).values())[-1]
    result = train_once("weight_max", "CartPole-v1", settings, 3, options(tmp_path, 2, checkpoint=str(file)))
    said = capsys.readouterr().err
    assert "running episode of environment 1 cannot be repeated (its random numbers or rewards are others now)" in said
    assert sum(map(len, lines_of(tmp_path).values())) == len(result.returns)
    assert result.summary["timesteps"] == 300


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_kill_9(tmp_path, capsys) -> None:
    """A real one, of a real process, at a moment of the system's own choosing."""
    words = ["-n", "60000", "--env", "coagent_rl/Multiplexer-v0", "--save-freq", "500", "-P"]
    command = [sys.executable, str(ROOT / "train.py"), "-f", str(tmp_path / "cut"), *WORDS, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    folder = tmp_path / "cut" / "weight_max" / "coagent_rl-Multiplexer-v0_1"
    while len(list(folder.glob("rl_model_*_steps.zip"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (folder / ".rl_model_7_steps.1.partial.zip").write_bytes(b"half")  # as if it had been killed while it wrote
    assert evaluate.main([str(folder), "--n-episodes", "2"]) == 0  # of the last checkpoint
    assert "rl_model_" in capsys.readouterr().out
    assert train.main(["--resume", str(folder)]) == 0
    assert "Going on with weight_max" in capsys.readouterr().out
    same_runs(folder, run_in(tmp_path / "whole", *words))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_a_run_between_two_steps(tmp_path, capsys, monkeypatch, name) -> None:
    number = getattr(signal, name)

    class Signals(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 130:
                os.kill(os.getpid(), number)
            return True

    whole = run_in(tmp_path / "whole", "-n", "400", "--save-freq", "150")
    with monkeypatch.context() as patch:
        patch.setattr("coagent_rl.training.run.Options", lambda **given: Options(**given, callbacks=[Signals()]))
        folder = run_in(tmp_path / "cut", "-n", "400", "--save-freq", "150")
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == f"Interrupted; all is saved. To go on: python train.py --resume {folder}"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert summary["timesteps"] == 130
    assert WeightMax.load(folder / "CartPole-v1.zip").num_timesteps == 130
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, signal.SIG_IGN)
    assert train.main(["--resume", str(folder)]) == 0
    same_runs(whole, folder)
    assert json.loads((folder / "summary.json").read_text())["interrupted"] is False
    assert train.main(["--resume", str(folder)]) == 2
    assert "is complete" in capsys.readouterr().err


def test_asked_twice_a_run_ends_at_once() -> None:
    with Interruption() as interruption:
        interruption._on_training_start()
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption._on_step() is False
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_without_checkpoint_begins_again(tmp_path, capsys) -> None:
    folder = run_in(tmp_path, "-n", "150")
    before, model = lines_of(folder), bits_of(folder / "CartPole-v1.zip")
    for name in ("summary.json", "CartPole-v1.zip"):
        (folder / name).unlink()
    assert train.main(["--resume", str(folder)]) == 0
    assert "from its beginning" in capsys.readouterr().out
    assert lines_of(folder) == before
    assert bits_of(folder / "CartPole-v1.zip") == model


def test_what_cannot_be_resumed(tmp_path, capsys) -> None:
    folder = run_in(tmp_path, "-n", "200", "--save-freq", "50")
    (folder / "summary.json").unlink()
    checkpoint = folder / "rl_model_200_steps.zip"
    whole, monitor = checkpoint.read_bytes(), (folder / "0.monitor.csv").read_bytes()
    arguments = (folder / "args.yml").read_text()
    cases = [
        (checkpoint, whole[:3000], "rl_model_200_steps.zip is not a saved model"),
        (checkpoint, (folder / "CartPole-v1.zip").read_bytes(), "does not hold the state of such a run"),
        (folder / "0.monitor.csv", monitor[: len(monitor) // 2], "episodes, but the checkpoint was made after"),
        (folder / "args.yml", arguments.replace("n_envs: 1", "n_envs: many").encode(), "n_envs must be a whole number"),
        (folder / "args.yml", arguments.replace("n_envs: 1", "n_envs: 2").encode(), "in a run with n_envs 1, not 2 as"),
        (folder / "args.yml", b"a: [", "args.yml cannot be read"),
    ]
    for file, content, message in cases:
        before = file.read_bytes()
        file.write_bytes(content)
        assert train.main(["--resume", str(folder)]) == 2, message
        error = capsys.readouterr().err
        assert any(part in error for part in message.split("|")), error
        file.write_bytes(before)
    assert train.main(["--resume", str(folder), "-n", "30"]) == 2
    assert "--n-timesteps cannot be given" in capsys.readouterr().err
    assert train.main(["--resume", str(tmp_path / "nothing")]) == 2


def test_damaged_checkpoints_are_refused_by_every_command(tmp_path, capsys) -> None:
    folder = run_in(tmp_path, "-n", "100", "--save-freq", "50")
    checkpoint, rng = folder / "rl_model_100_steps.zip", np.random.default_rng(0)
    whole, (bits, monitor) = checkpoint.read_bytes(), (bits_of(folder / "CartPole-v1.zip"), lines_of(folder))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        starts = [info.header_offset + 30 + len(info.filename) for info in archive.infolist()]
    refused = 0
    for start in rng.choice(starts, 8, replace=False):
        damaged = bytearray(whole)
        damaged[start + 5] ^= 4
        checkpoint.write_bytes(damaged)
        for name in ("summary.json", "CartPole-v1.zip"):
            (folder / name).unlink(missing_ok=True)
        for words in (["--resume", str(folder)], ["-f", str(tmp_path), "-i", str(checkpoint), "-n", "10"]):
            assert train.main(words) == 2
        assert evaluate.main([str(folder), "--n-episodes", "1"]) == 2
        assert capsys.readouterr().err.count("rl_model_100_steps.zip is not a saved model, or is damaged") == 3
        refused += 1
    checkpoint.write_bytes(whole)
    assert train.main(["--resume", str(folder)]) == 0
    assert refused == 8
    assert bits_of(folder / "CartPole-v1.zip") == bits
    assert lines_of(folder) == monitor


def test_a_deleted_folder_is_an_error(tmp_path) -> None:
    import shutil

    class Deletes(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 60:
                shutil.rmtree(tmp_path / "run")
            return True

    for env in ("CartPole-v1", "LunarLander-v3"):
        with pytest.raises(FileNotFoundError, match="run"):
            train_once(
                "weight_max",
                env,
                {**SETTINGS, "n_timesteps": 300},
                0,
                Options(folder=tmp_path / "run", eval_freq=-1, callbacks=[Deletes()]),
            )
        assert not (tmp_path / "run").exists()


def test_a_model_goes_on_as_its_run_did(tmp_path, capsys) -> None:
    folder = run_in(tmp_path, "-n", "90", "--env", "CartPole-v0", "--save-freq", "40")
    second = ["-f", str(tmp_path / "second"), "--eval-freq", "-1", "--final-eval-episodes", "0"]
    assert train.main([*second, "-i", str(folder / "rl_model_40_steps.zip")]) == 0
    summary = json.loads(next((tmp_path / "second").rglob("summary.json")).read_text())
    assert summary["env"] == "CartPole-v0"
    assert summary["timesteps"] == 50
    assert train.main([*second, "-i", str(folder / "CartPole-v0.zip")]) == 2
    assert "was trained for all of its run's 90 timesteps" in capsys.readouterr().err


def test_which_models_a_folder_has(tmp_path, capsys) -> None:
    folder = run_in(tmp_path, "-n", "200", "--save-freq", "50")
    assert evaluate.main([str(folder), "--n-episodes", "1", "--load-checkpoint", "150"]) == 0
    assert "rl_model_150_steps.zip" in capsys.readouterr().out
    for words in (["--load-best"], ["--load-checkpoint", "50"]):
        assert evaluate.main([str(folder), *words]) == 2
        assert "There are CartPole-v1.zip, rl_model_150_steps.zip, rl_model_200_steps.zip." in capsys.readouterr().err
    for path in folder.glob("*.zip"):
        path.unlink()
    assert evaluate.main([str(folder)]) == 2
    assert "has no model at all yet" in capsys.readouterr().err


def test_nothing_else_trains_in_the_folder_of_a_run(tmp_path, capsys) -> None:
    """While a run lasts; a lock is the system's, so that it is gone when the process is."""
    folder = run_in(tmp_path, "-n", "200")
    (folder / "summary.json").unlink()
    capsys.readouterr()
    code = f"import time; from pathlib import Path; from coagent_rl.files import held\nwith held(Path({str(folder)!r})):"
    words = [sys.executable, "-c", f"{code}\n    print(flush=True)\n    time.sleep(60)"]
    other = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert other.stdout.readline()
        before = {path: path.read_bytes() for path in folder.iterdir()}
        assert train.main(["--resume", str(folder)]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith(f"train.py: error: A run is training in {folder} at this moment")
        assert printed.out == ""
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    finally:
        other.kill()
        other.communicate()
    assert train.main(["--resume", str(folder)]) == 0
    with held(folder), pytest.raises(ValueError, match="two in one folder"), held(folder):
        pass
