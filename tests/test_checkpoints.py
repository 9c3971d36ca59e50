"""Checkpoints that make no sense: the run does not go on from them, nothing changes, and the error says what does help."""

import json
import shutil

import numpy as np
import pytest

from coagent_rl import train
from coagent_rl.agents.saving import MEMBERS
from coagent_rl.archive import array_bytes, json_bytes, read_archive, write_archive
from coagent_rl.training.checkpoints import check_identity, checkpoints, identity, replay_file
from tests.same_runs import lines_of, run_in, same_runs

NEWEST, OLDER = "rl_model_300_steps.zip", "rl_model_200_steps.zip"
NAN = {"is": "float", "value": "nan"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that ended."""
    return run_in(tmp_path_factory.mktemp("whole"), "-n", "350", "--save-freq", "100", "--eval-freq", "90")


@pytest.fixture
def killed(whole, tmp_path):
    """The same run, killed before its end."""
    folder = tmp_path / "killed"
    shutil.copytree(whole, folder)
    for name in ("summary.json", "CartPole-v1.zip"):
        (folder / name).unlink()
    return folder


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rewrite(file, change):
    """Change the state of the run in a checkpoint, with right sums."""
    members = read_archive(file, "model", MEMBERS)
    data = json.loads(members["data.json"])
    change(data["run"], members)
    write_archive(file, {**members, "data.json": json_bytes(data)}, "model")


def put(value, *keys):
    """A change: put a value at a place in the state; an array in place of an array."""

    def change(run, members):
        for key in keys[:-1]:
            run = run[key]
        if isinstance(value, np.ndarray):
            members[f"arrays/{run[keys[-1]]['index']}.npy"] = array_bytes(value)
        else:
            run[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(-1, "steps"), "its steps must be a whole number, not -1"),
        (put("many", "episodes"), "its episodes must be a whole number, not 'many'"),
        (put(250, "steps"), "its 250 steps of the run are not those of a model after 300"),
        (put(2, "episodes"), "its returns are not those of 2 episodes"),
        (put(np.zeros(0), "returns"), "its returns are not those of"),
        (put([1.0], "returns"), "its returns are not those of"),
        (put(np.full(3, np.nan), "returns"), "its returns are not those of"),
        (put(np.full(2, 2**62), "lengths"), "its lengths are not those of"),
        (put([0, 0], "monitored"), "1 monitor files cannot have [0, 0]"),
        (put([10**9], "monitored"), "1 monitor files cannot have [1000000000]"),
        (put([True], "monitored"), "1 monitor files cannot have [True]"),
        (put(NAN, "seconds"), "it cannot have taken nan seconds"),
        (put(-1.0, "training_seconds"), "it cannot have taken"),
        (put("long", "seconds"), "it cannot have taken 'long' seconds"),
        (put({}, "predictions"), "does not hold the state of such a run"),
        (put(3, "predictions"), "does not hold the state of such a run"),
        (put(None, "evaluation"), "does not hold the state of such a run"),
        (put(7, "evaluation", "n_calls"), "its evaluations were made in 7 calls, not in 300"),
        (put(NAN, "evaluation", "best_mean_reward"), "the means of its evaluations are no numbers"),
        (put([], "evaluation", "evaluations_results"), "there are 0 results of 3 evaluations"),
        (put([1, 2, 3], "evaluation", "evaluations_length"), "does not hold the state of such a run"),
        (put({"kind": "serial", "environments": []}, "env"), "The saved state is of serial environments"),
        (put(np.array([500]), "env", "elapsed"), "there are rewards of shape"),
        (put(np.array([-1]), "env", "cursor"), "are not among the 64 drawn at once"),
        (put([{}], "env", "before"), "The saved state of the environments does not go with"),
        (put({}, "of"), "it was saved in a run with algo None, not 'weight_max'"),
        (put(5, "of", "seed"), "it was saved in a run with seed 5, not 4"),
        (put(0.5, "of", "settings", "actor_learning_rate"), "in a run with actor_learning_rate 0.5, not 0.01"),
        (lambda run, members: run.clear(), "does not hold the state of such a run: KeyError('of')"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused_before_anything_changes(killed, capsys, change, message) -> None:
    rewrite(killed / NEWEST, change)
    (killed / ".half.1.partial.zip").write_bytes(b"half")
    before = content_of(killed)
    assert train.main(["--resume", str(killed)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert f"delete {NEWEST}: then the run goes on from {OLDER}" in said
    assert content_of(killed) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"r,l,t", b"r;l;t", "0.monitor.csv does not begin as a monitor file does"),
        (b"#", b"", "0.monitor.csv does not begin as a monitor file does"),
        (b".0,", b".5,", "0.monitor.csv holds other episodes than were made until then"),
        (b".0,", b".0,x", "is none of an episode"),
        (b".0,", b".0;", "is none of an episode"),
    ],
)
def test_a_monitor_file_of_other_episodes_is_refused(killed, capsys, old, new, message) -> None:
    file = killed / "0.monitor.csv"
    file.write_bytes(file.read_bytes().replace(old, new, 1))
    before = content_of(killed)
    assert train.main(["--resume", str(killed)]) == 2
    assert message in capsys.readouterr().err
    assert content_of(killed) == before


def test_a_renamed_checkpoint_and_another_configuration_are_refused(killed, capsys) -> None:
    shutil.copy(killed / NEWEST, killed / "rl_model_340_steps.zip")
    assert train.main(["--resume", str(killed)]) == 2
    assert "its model has made 300 steps, not 340 as its name says" in capsys.readouterr().err
    (killed / "rl_model_340_steps.zip").unlink()
    config = (killed / "config.yml").read_text()
    (killed / "config.yml").write_text(config.replace("n_timesteps: 350", "n_timesteps: 360"))
    assert train.main(["--resume", str(killed)]) == 2
    assert "it was saved in a run with n_timesteps 350, not 360" in capsys.readouterr().err


def test_what_makes_a_run() -> None:
    one = identity("a", "e", {"rate": (1, np.float64(0.5)), "function": lambda: 0}, 3, n_envs=1)
    check_identity(one, identity("a", "e", {"function": lambda: 0, "rate": [1, 0.5]}, 3, n_envs=1))
    with pytest.raises(ValueError, match="with n_envs 2, not 1"):
        check_identity(one, {**one, "n_envs": 2})


REPLAYED = ["--algo", "decentralized_ddpg", "--env", "Pendulum-v1"]
SMALL = ["-params", "policy_kwargs:dict(net_arch=[6])", "actor_learning_rate:1e-3", "buffer_size:150", "learning_starts:20"]


@pytest.mark.parametrize(("name", "words"), [("CartPole-v1", []), ("Pendulum-v1", [*REPLAYED, *SMALL])])
def test_without_its_newest_checkpoint_a_run_goes_on_from_the_older_one(tmp_path, capsys, name, words) -> None:
    words = ["-n", "350", "--save-freq", "100", "--eval-freq", "90", *words]
    one, folder = run_in(tmp_path / "one", *words), run_in(tmp_path / "other", *words)
    for left in ("summary.json", f"{name}.zip", f"{name}_replay_buffer.npz"):
        (folder / left).unlink(missing_ok=True)
    newest = folder / NEWEST
    newest.write_bytes(newest.read_bytes()[:-100])
    before = content_of(folder)
    assert train.main(["--resume", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"{newest} is not a saved model, or is damaged" in said
    names = [NEWEST, replay_file(newest).name] if replay_file(newest).exists() else [NEWEST]
    assert f"delete {' and '.join(names)}: then the run goes on from {OLDER}" in said
    assert content_of(folder) == before
    for path in names:
        (folder / path).unlink()
    assert train.main(["--resume", str(folder)]) == 0
    assert "from step 200" in capsys.readouterr().out
    same_runs(one, folder)


def test_a_run_whose_only_checkpoint_is_gone_begins_again(killed, whole, capsys) -> None:
    (killed / OLDER).unlink()
    (killed / NEWEST).write_bytes(b"")
    assert train.main(["--resume", str(killed)]) == 2
    assert f"delete {NEWEST}: then the run goes on from its beginning" in capsys.readouterr().err
    (killed / NEWEST).unlink()
    assert train.main(["--resume", str(killed)]) == 0
    same_runs(whole, killed)


def test_a_run_that_cannot_begin_again_keeps_its_folder(killed, capsys) -> None:
    for path in killed.glob("*.zip"):
        path.unlink()
    (killed / "0.monitor.csv").unlink()
    config = (killed / "config.yml").read_text()
    (killed / "config.yml").write_text(config.replace("actor_learning_rate: 0.01", "actor_learning_rate: -1.0"))
    assert train.main(["--resume", str(killed)]) == 2
    assert "actor_learning_rate" in capsys.readouterr().err
    assert (killed / "config.yml").is_file()
    assert lines_of(killed) == {"0.monitor.csv": []}
    assert not checkpoints(killed)
