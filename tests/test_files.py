"""Files of models: they hold numbers and text, run no code, and are refused wherever they are not as they were saved."""

import io
import json
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from coagent_rl import DecentralizedDDPG, WeightMax, evaluate, train
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.archive import MANIFEST, array_bytes, json_bytes, write_archive
from coagent_rl.training.environments import make_environments
from coagent_rl.training.files import write_yaml
from tests.command_line import run_train

SMALL = {"net_arch": [4]}


class OwnPolicy(CoagentPolicy):
    """A policy that no file may name."""


class Plants:
    """Unpickling it leaves a mark."""

    def __reduce__(self):
        return exec, ("import os; os.environ['PLANTED'] = 'yes'",)


@pytest.fixture
def saved(tmp_path):
    """A model that learned with a normaliser, and its file."""
    env = VecNormalize(make_vec_env("CartPole-v1", 2, seed=0))
    model = WeightMax("MlpPolicy", env, seed=0, policy_kwargs=SMALL, actor_lambda=0.5).learn(60)
    model.save(tmp_path / "model.zip")
    return model, tmp_path / "model.zip"


def members_of(file):
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(members):
    """A file of the given members, each with a right checksum of the zip, but with the manifest that there was."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def content_of(model):
    """All that a file holds of a model."""
    return model._members(None, None, None)


def test_a_file_holds_json_and_arrays_only(saved) -> None:
    members = members_of(saved[1])
    assert {name.rpartition(".")[2] for name in members} == {"json", "npy"}
    for name, content in members.items():
        if name.endswith(".npy"):
            np.load(io.BytesIO(content), allow_pickle=False)
    assert set(json.loads(members[MANIFEST])["sha256"]) == set(members) - {MANIFEST}


def test_what_is_loaded_is_what_was_saved(saved) -> None:
    model, file = saved
    fresh = WeightMax.load(file, env=make_vec_env("CartPole-v1", 2), force_reset=False)
    normaliser = fresh.get_env()
    assert isinstance(normaliser, VecNormalize)
    np.testing.assert_array_equal(normaliser.obs_rms.mean, model.get_env().obs_rms.mean)
    assert content_of(fresh) == content_of(model)
    other = VecNormalize(make_vec_env("CartPole-v1", 2))
    WeightMax.load(file, env=other)
    np.testing.assert_array_equal(other.obs_rms.var, model.get_env().obs_rms.var)


def test_a_model_without_an_environment_keeps_its_normaliser(saved, tmp_path) -> None:
    WeightMax.load(saved[1]).save(tmp_path / "again")
    found = WeightMax.load(tmp_path / "again", env="CartPole-v1").get_env()
    np.testing.assert_array_equal(found.obs_rms.mean, saved[0].get_env().obs_rms.mean)


def test_damaged_files_are_refused(saved, tmp_path) -> None:
    """Whatever happens to a file: an error that says so, or the very same model; never another one, never a traceback."""
    model, file = saved
    whole, members, expected = file.read_bytes(), members_of(file), content_of(model)
    names = [name for name in members if name != MANIFEST]
    rng = np.random.default_rng(0)
    mutated = []
    for _ in range(250):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        mutated.append(bytes(damaged))
    mutated += [whole[: rng.integers(len(whole))] for _ in range(60)]
    mutated += [whole[: (at := rng.integers(len(whole)))] + whole[at + rng.integers(1, 40) :] for _ in range(60)]
    for _ in range(100):  # with the checksums of the zip made anew
        name = names[rng.integers(len(names))]
        content = bytearray(members[name])
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        mutated.append(rewritten({**members, name: bytes(content)}))
    for _ in range(40):
        a, b = rng.choice(names, 2, replace=False)
        if members[a] != members[b]:
            mutated.append(rewritten({**members, a: members[b], b: members[a]}))  # swapped
        mutated.append(rewritten({("x" + n if n == a else n): c for n, c in members.items()}))  # renamed
        mutated.append(rewritten({n: c for n, c in members.items() if n != a}))  # missing
    assert len(mutated) > 500
    env, refused = model.get_env(), 0
    for content in mutated:
        try:
            loaded = WeightMax.load(io.BytesIO(content), env=env, force_reset=False)
        except ValueError:
            refused += 1
        else:
            assert content_of(loaded) == expected
    assert refused > 0.9 * len(mutated) - 60  # a flipped date in a header of the zip changes nothing


@pytest.mark.parametrize("name", ["data.json", "parameters/policy/actor_layers.0.weight.npy", "arrays/0.npy"])
def test_the_damaged_member_is_named(saved, name) -> None:
    members = members_of(saved[1])
    content = members[name][:-1] + bytes([members[name][-1] ^ 1])
    with pytest.raises(ValueError, match=f"the member {re.escape(name)} is not as it was saved: its SHA-256"):
        WeightMax.load(io.BytesIO(rewritten({**members, name: content})))


def with_sums(members):
    """A file whose sums are right, whatever its members are: what someone who means harm would write."""
    buffer = io.BytesIO()
    write_archive(buffer, {name: content for name, content in members.items() if name != MANIFEST}, "model")
    return io.BytesIO(buffer.getvalue())


def changed_data(members, **changes):
    data = json.loads(members["data.json"])
    data["attributes"].update(changes)
    return {**members, "data.json": json_bytes(data)}


WEIGHTS = "parameters/policy/actor_layers.0.weight.npy"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {**m, WEIGHTS: array_bytes(np.full((4, 4), np.nan, np.float32))}, r"not all finite \(parameters/policy/"),
        (lambda m: {**m, WEIGHTS: array_bytes(np.zeros((9, 4), np.float32))}, "are of another network"),
        (lambda m: {**m, WEIGHTS: m[WEIGHTS][:-8]}, "holds 56 bytes where its shape"),
        (lambda m: {**m, WEIGHTS: m[WEIGHTS].replace(b"(4, 4)", b"(4,9 )")}, "needs 144"),
        (lambda m: {**m, WEIGHTS: m[WEIGHTS].replace(b"'<f4'", b"'|O' ")}, "is not an array of numbers"),
        (lambda m: {**m, "../../evil.py": b""}, "has no member '../../evil.py'"),
        (lambda m: {**m, "/etc/passwd": b""}, "has no member '/etc/passwd'"),
        (lambda m: changed_data(m, policy_kwargs={"net_arch": [10**9]}), "describes 4 inputs and layers of .1000000000"),
        (lambda m: changed_data(m, n_envs=10**9), "1000000000 environments"),
        (lambda m: changed_data(m, policy_class={"is": "class", "name": "Popen"}), "member data.json cannot be read"),
        (lambda m: changed_data(m, noise={"is": "nothing"}), "member data.json cannot be read"),
        (lambda m: changed_data(m, gamma="high"), "gamma must be a number"),
        (lambda m: changed_data(m, observation_space=3), "member data.json"),
        (lambda m: {**m, "data.json": b"[" * 100_000}, "data.json is not JSON"),
        (lambda m: {**m, "data.json": b" " * 2**24 + m["data.json"]}, r"the member data\.json has \d+ bytes, more than"),
        (lambda m: {n: c for n, c in m.items() if n != "data.json"}, "data.json is missing"),
    ],
)
def test_files_that_mean_harm_are_refused(saved, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        WeightMax.load(with_sums(change(members_of(saved[1]))))


def test_bombs_are_refused_before_they_are_unpacked(saved) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(WEIGHTS, bytes(50_000_000))
    assert buffer.tell() < 100_000
    with pytest.raises(ValueError, match=r"actor_layers.0.weight.npy is compressed .*50000000 bytes"):
        WeightMax.load(io.BytesIO(buffer.getvalue()))


def test_code_in_a_file_is_not_run(saved, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("PLANTED", raising=False)
    model, _ = saved
    members = members_of(saved[1])
    planted = pickle.dumps(Plants())
    objects = np.empty(1, object)
    objects[0] = Plants()
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    for harm in (
        {**members, "pickled/gamma.pkl": planted},
        {**members, WEIGHTS: planted},
        {**members, "arrays/0.npy": buffer.getvalue()},
        {**members, "data.json": planted},
    ):
        for trust in (False, "pickled/gamma.pkl" not in harm):
            with pytest.raises(ValueError, match=r"pickled members|not an array|not JSON"):
                WeightMax.load(with_sums(harm), trust=trust)
    # The format of older versions, in which any attribute could be pickled.
    BaseAlgorithm.save(model, tmp_path / "older", exclude=["noise"])
    vars(model)["gamma"] = Plants()
    BaseAlgorithm.save(model, tmp_path / "planted", exclude=["noise"])
    for name in ("older", "planted"):
        with pytest.raises(ValueError, match="saved by an older version and is pickled"):
            WeightMax.load(tmp_path / f"{name}.zip")
    replaying = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", buffer_size=50, policy_kwargs=SMALL, learning_starts=5)
    (tmp_path / "buffer.pkl").write_bytes(planted)
    with pytest.raises(ValueError, match="not a saved replay buffer"):
        replaying.load_replay_buffer(tmp_path / "buffer.pkl")
    assert "PLANTED" not in os.environ
    with pytest.raises(ValueError, match="gamma"):
        WeightMax.load(tmp_path / "planted.zip", trust=True)
    assert os.environ.pop("PLANTED") == "yes"  # the plant works
    assert WeightMax.load(tmp_path / "older.zip", trust=True).num_timesteps == 60


def test_what_is_not_plain_is_pickled_and_needs_trust(tmp_path) -> None:
    model = WeightMax(OwnPolicy, "CartPole-v1", seed=0, policy_kwargs=SMALL).learn(20)
    model.save(tmp_path / "model")
    assert "pickled/policy_class.pkl" in members_of(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=r"pickled members \(pickled/policy_class.pkl\).*trust=True"):
        WeightMax.load(tmp_path / "model")
    assert type(WeightMax.load(tmp_path / "model", trust=True).policy) is OwnPolicy
    assert WeightMax.load(tmp_path / "model", custom_objects={"policy_class": CoagentPolicy}).num_timesteps == 20


def test_parameters_of_a_file(saved) -> None:
    model, file = saved
    other = WeightMax("MlpPolicy", make_vec_env("CartPole-v1", 2), policy_kwargs=SMALL, actor_lambda=0.5)
    other.set_parameters(file)
    np.testing.assert_array_equal(other.policy.parameters_to_vector(), model.policy.parameters_to_vector())


def test_no_parameters_are_empty() -> None:
    """And what is of one environment only may be missing: it then starts anew."""
    model = WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL)
    parameters = model.get_parameters()
    assert all(tensor.numel() for state in parameters.values() for tensor in state.values())
    assert "traces" not in parameters["actor_learner"]
    other = WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, actor_lambda=0.5)
    other.set_parameters(parameters)
    del parameters["actor_learner"]["memory"]
    with pytest.raises(ValueError, match="A learner's state holds"):
        other.set_parameters(parameters)


def test_files_of_other_libraries(tmp_path) -> None:
    A2C("MlpPolicy", "CartPole-v1").save(tmp_path / "a2c.zip")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "empty.zip").write_bytes(b"")
    for name, message in (
        ("a2c.zip", "another library"),
        ("arrays.npz", "has no member"),
        ("empty.zip", "not a saved model"),
    ):
        with pytest.raises(ValueError, match=message):
            WeightMax.load(tmp_path / name)


def test_a_damaged_replay_buffer_is_refused(tmp_path) -> None:
    kwargs = {"buffer_size": 40, "policy_kwargs": SMALL, "learning_starts": 5}
    model = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", seed=0, **kwargs).learn(60)
    file = tmp_path / "buffer.npz"
    model.save_replay_buffer(file)
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    before = model.replay_buffer
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        other = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", seed=1, **kwargs)
        try:
            other.load_replay_buffer(file)
        except ValueError:
            assert not other.replay_buffer.full  # nothing of it was taken
            continue
        np.testing.assert_array_equal(other.replay_buffer.actions, before.actions)


def test_a_run_folder_imports_only_what_is_trusted(tmp_path, capsys, monkeypatch) -> None:
    """Modules lie beside, so that they would be found: they must not be run."""
    for module in ("planted_env", "planted_algorithm", "planted_wrapper"):
        (tmp_path / f"{module}.py").write_text("import os\nos.environ['PLANTED'] = __name__\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("PLANTED", raising=False)
    folder = run_train(tmp_path, "-n", "40", "--eval-freq", "-1")
    config = yaml.safe_load((folder / "config.yml").read_text())
    (folder / "summary.json").unlink()  # as after a kill
    for key, change in {
        "env": {"env": "planted_env:CartPole-v1"},
        "algo": {"algo": "planted_algorithm:WeightMax"},
        "env_wrapper": {"settings": {**config["settings"], "env_wrapper": [{"planted_wrapper.Wrapper": {}}]}},
    }.items():
        write_yaml(folder / "config.yml", {**config, **change})
        model = str(folder / "CartPole-v1.zip")
        for command, words in ((evaluate, [str(folder)]), (train, ["--resume", str(folder)]), (train, ["-i", model])):
            assert command.main(words) == 2
            assert f"names the {key} 'planted_" in (said := capsys.readouterr().err)
            assert "--trust" in said
    assert "PLANTED" not in os.environ
    assert train.main(["--resume", str(folder), "--trust"]) == 2  # it is no wrapper, but it was imported
    assert os.environ.pop("PLANTED") == "planted_wrapper"
    for text in ("!!python/object/apply:os.putenv [PLANTED, yes]", "a: [", "3", "{algo: 3}"):
        (folder / "config.yml").write_text(text)
        for command, words in ((evaluate, [str(folder)]), (train, ["--resume", str(folder)])):
            assert command.main(words) == 2
            assert "config.yml" in capsys.readouterr().err
    write_yaml(folder / "config.yml", {**config, "settings": {**config["settings"], "env_wrapper": "gymnasium.make"}})
    assert evaluate.main([str(folder)]) == 2
    assert "saved in a run with env_wrapper None, not 'gymnasium.make'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"not a subclass of gymnasium\.Wrapper"):
        make_environments("CartPole-v1", 1, 0, {}, "gymnasium.make")


def test_a_policy_alone_runs_no_code_either(saved, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("PLANTED", raising=False)
    policy = saved[0].policy
    policy.save(tmp_path / "policy.zip")
    again = CoagentPolicy.load(tmp_path / "policy.zip")
    np.testing.assert_array_equal(again.parameters_to_vector(), policy.parameters_to_vector())
    torch.save({"data": Plants(), "state_dict": {}}, tmp_path / "older.pth")
    with pytest.raises(ValueError, match="saved by an older version and is pickled"):
        CoagentPolicy.load(tmp_path / "older.pth")
    assert "PLANTED" not in os.environ
    members = members_of(tmp_path / "policy.zip")
    for name, content in members.items():
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 1
        (tmp_path / "damaged.zip").write_bytes(rewritten({**members, name: bytes(damaged)}))
        with pytest.raises(ValueError, match=r"damaged.zip is not a saved policy, or is damaged"):
            CoagentPolicy.load(tmp_path / "damaged.zip")
