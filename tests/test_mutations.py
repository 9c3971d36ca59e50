"""Mutated files through every door: `load`, evaluate.py and train.py --resume refuse them, or find the very same content."""

import io
import json
import shutil

import numpy as np
import pytest
from stable_baselines3 import A2C

from coagent_rl import WeightMax, evaluate, train
from tests.mutations import damaged, nonsensical
from tests.same_runs import run_in, same_runs

NAME = "rl_model_120_steps.zip"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that ended, a copy that was killed, and files of another run and of other libraries."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["-n", "150", "--save-freq", "60", "--eval-freq", "70", "--eval-episodes", "1"]
    whole, other = run_in(folder / "whole", *words), run_in(folder / "other", *words, "--seed", "5")
    killed = folder / "killed"
    shutil.copytree(whole, killed)
    for name in ("summary.json", "CartPole-v1.zip"):
        (killed / name).unlink()
    A2C("MlpPolicy", "CartPole-v1").save(folder / "a2c.zip")
    np.savez(folder / "arrays.npz", a=np.zeros(3))
    others = [(other / NAME).read_bytes(), (whole / "rl_model_60_steps.zip").read_bytes()]
    return whole, killed, others, [(folder / name).read_bytes() for name in ("a2c.zip", "arrays.npz")]


@pytest.fixture
def restored(runs):
    """Puts the killed run back as it was, with another newest checkpoint."""
    killed = runs[1]
    there = {path.name: path.read_bytes() for path in killed.iterdir()}

    def put(content):
        for path in killed.iterdir():
            path.unlink()
        for name, before in there.items():
            (killed / name).write_bytes(content if name == NAME else before)
        return killed

    yield put
    put(there[NAME])


def test_damaged_files_are_refused_at_every_door(runs, restored, tmp_path, capsys) -> None:
    whole, _, others, libraries = runs
    content = (whole / NAME).read_bytes()
    expected = WeightMax.load(io.BytesIO(content))._members(None, None, None)
    words = ["--n-episodes", "1", "--json", str(tmp_path / "result.json")]
    assert evaluate.main([str(restored(content)), *words]) == 0
    returns = json.loads((tmp_path / "result.json").read_text())["returns"]
    refused = 0
    for kind, bad in damaged(content, others, libraries, np.random.default_rng(0), 36):
        try:
            assert WeightMax.load(io.BytesIO(bad))._members(None, None, None) == expected, kind
        except ValueError:
            refused += 1
        code = evaluate.main([str(restored(bad)), *words])
        assert code == 2 or json.loads((tmp_path / "result.json").read_text())["returns"] == returns, kind
        code = train.main(["--resume", str(restored(bad))])
        assert code in (0, 2)
        if code == 0:
            same_runs(whole, runs[1])
    assert refused >= 30
    assert "Traceback" not in capsys.readouterr().err


def test_nonsense_with_right_sums_is_an_error_at_every_door(runs, restored, capsys) -> None:
    """Such a file may be another model, but never anything else than a model."""
    content = (runs[0] / NAME).read_bytes()
    refused = 0
    for _, bad in nonsensical(content, np.random.default_rng(1), 48):
        try:
            WeightMax.load(io.BytesIO(bad), env="CartPole-v1").learn(10, reset_num_timesteps=False)
        except ValueError:
            refused += 1
        assert evaluate.main([str(restored(bad)), "--n-episodes", "1"]) in (0, 2)
        assert train.main(["--resume", str(restored(bad))]) in (0, 2)
    assert refused >= 12
    capsys.readouterr()


@pytest.mark.parametrize("part", ["actor_learner", "critic_learner"])
@pytest.mark.parametrize("array", ["traces", "signals", "store"])
def test_memories_of_other_environments_are_for_other_environments_only(tmp_path, part, array) -> None:
    """An array without rows would be passed over, and the run go on with other traces."""
    from coagent_rl.agents.saving import MEMBERS
    from coagent_rl.archive import array_bytes, read_archive, write_archive

    model = WeightMax("MlpPolicy", "CartPole-v1", seed=0, actor_lambda=0.5, policy_kwargs={"net_arch": [4]}).learn(20)
    model.save(tmp_path / "model.zip")
    members = read_archive(tmp_path / "model.zip", "model", MEMBERS)
    name = f"parameters/{part}/{array}.npy"
    other = np.zeros((1, 2, 3, 4), np.float32) if array == "store" else np.load(io.BytesIO(members[name]))[:0]
    write_archive(tmp_path / "other.zip", {**members, name: array_bytes(other)}, "model")
    with pytest.raises(ValueError, match=f"{part}/{array} has the shape"):
        WeightMax.load(tmp_path / "other.zip")
    assert WeightMax.load(tmp_path / "model.zip", actor_lambda=0.0).actor_lambda == 0.0


ATTRIBUTES = {
    "num_timesteps": "many",
    "_n_updates": -1,
    "seed": 1.5,
    "ep_info_buffer": None,
    "tensorboard_log": 3,
    "learn": 3,
    "_last_obs": [1.0],
    "_last_episode_starts": [True],
    "noise": 3,
    "critic_noise": {"is": "noise", "rng": 3, "cursor": -5, "last": None},
    "_stats_window_size": 0,
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_make_no_sense_are_named(tmp_path, name) -> None:
    from coagent_rl.agents.saving import MEMBERS
    from coagent_rl.archive import json_bytes, read_archive, write_archive

    WeightMax("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={"net_arch": [4]}).learn(20).save(tmp_path / "model.zip")
    members = read_archive(tmp_path / "model.zip", "model", MEMBERS)
    data = json.loads(members["data.json"])
    data["attributes"][name] = ATTRIBUTES[name]
    write_archive(tmp_path / "other.zip", {**members, "data.json": json_bytes(data)}, "model")
    with pytest.raises(ValueError, match=rf"other\.zip, member data\.json: .*{name}"):
        WeightMax.load(tmp_path / "other.zip")
