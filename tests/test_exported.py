"""An exported agent acts as the agent did, where there is nothing but NumPy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from test_spaces import ACTIONS, OBSERVATIONS, Target

from coagent_rl import WeightMax, exported
from coagent_rl.agents.noisy import BoundedPolicy
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.exported import REPEATABLE, ExportedAgent
from coagent_rl.registry import ALGORITHMS, algorithm_class

ALONE = """
import json, sys
for name in ("torch", "numba", "gymnasium", "stable_baselines3", "coagent_rl"):
    sys.modules[name] = None  # importing it is an ImportError
import numpy as np
from exported import ExportedAgent

actions = {}
observations = dict(np.load("observations.npz"))
for name, x in observations.items():
    agent = ExportedAgent(f"{name}.npz")
    batch = agent.predict(x)
    one = agent.predict(x[0])
    assert np.allclose(one, batch[0], atol=1e-5) and one.shape == batch.shape[1:], name
    actions[name] = batch
np.savez("actions.npz", **actions)
"""


def model_for(algorithm: str, env_id: str, normalised: bool) -> Any:
    env: Any = DummyVecEnv([lambda: gym.make(env_id)])
    if normalised:
        env = VecNormalize(env, clip_obs=2.0)
    model = algorithm_class(algorithm)("MlpPolicy", env, seed=0, policy_kwargs={"net_arch": [16, 8]})
    return model.learn(100)


def test_same_actions_with_numpy_alone(tmp_path) -> None:
    """Every agent, discrete and Box, with and without VecNormalize, in every mode that can be repeated."""
    observations, expected = {}, {}
    rng = np.random.default_rng(0)
    for algorithm in ALGORITHMS:
        for env_id in ("CartPole-v1", "Pendulum-v1", "CliffWalking-v1"):
            for normalised in (False, True) if env_id != "CliffWalking-v1" else (False,):
                model = model_for(algorithm, env_id, normalised)
                n, discrete = 50, env_id == "CliffWalking-v1"
                x = rng.integers(0, 48, n) if discrete else rng.standard_normal((n, *model.observation_space.shape)) * 2
                normaliser = model.get_vec_normalize_env()
                for mode in REPEATABLE:
                    model.policy.deterministic_mode = mode
                    name = f"{algorithm} {env_id} {normalised} {mode}".replace("/", "-")
                    model.policy.export(tmp_path / name)
                    observations[name] = x
                    seen = normaliser.normalize_obs(x) if normalised else x
                    expected[name] = model.predict(seen, deterministic=True)[0]
    np.savez(tmp_path / "observations.npz", **observations)
    shutil.copy(exported.__file__, tmp_path / "exported.py")
    (tmp_path / "alone.py").write_text(ALONE)
    subprocess.run([sys.executable, "-P", "alone.py"], cwd=tmp_path, check=True, env={"PYTHONPATH": str(tmp_path)})
    with np.load(tmp_path / "actions.npz") as actions:
        for name, wanted in expected.items():
            np.testing.assert_allclose(actions[name], wanted, atol=1e-5, err_msg=name)
            assert actions[name].dtype == wanted.dtype, name
    assert len(expected) == len(ALGORITHMS) * 5 * len(REPEATABLE)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("kind", [CoagentPolicy, BoundedPolicy])
def test_all_spaces(tmp_path, kind, actions) -> None:
    """Every space of observations and of actions, exported and traced, in every mode that can be repeated."""
    for name, space in OBSERVATIONS.items():
        space.seed(1)
        single = [space.sample() for _ in range(30)]
        x: Any = {key: np.stack([part[key] for part in single]) for key in space} if name == "Dict" else np.stack(single)
        arguments = {"units": "gaussian_tanh", "output_units": "gaussian_tanh"} if kind is BoundedPolicy else {}
        policy = kind(space, ACTIONS[actions], net_arch=[6], seed=0, temperature=0.3, **arguments)
        policy.actor.weights(1)[:] *= 4
        for mode in REPEATABLE:
            policy.deterministic_mode = mode
            policy.export(tmp_path / "agent")
            agent, wanted = ExportedAgent(str(tmp_path / "agent.npz")), policy.predict(x, deterministic=True)[0]
            tensors: Any = {k: th.as_tensor(v) for k, v in x.items()} if name == "Dict" else th.as_tensor(x)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # constants of the trace, which says so
                traced = th.jit.trace(lambda o, policy=policy: policy(o, deterministic=True), (tensors,))(tensors).numpy()
            for found in (agent.predict(x), traced):
                np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=f"{name} {mode}")
                assert found.dtype == wanted.dtype
            np.testing.assert_allclose(agent.predict(single[0]), wanted[0], atol=1e-5)
        assert len(ACTIONS[actions].shape) == wanted.ndim - 1


def test_normaliser_of_the_model_goes_along(tmp_path) -> None:
    """Of a Dict the parts that are normalised; from the environment, after `set_env`, and from the file of the model."""
    space = gym.spaces.Dict(a=gym.spaces.Box(-1, 1, (2,)), b=gym.spaces.Discrete(3), c=gym.spaces.Box(-1, 1, (1,)))
    env = VecNormalize(DummyVecEnv([lambda: Target(space)]), norm_obs_keys=["a"], clip_obs=1.0)
    model = WeightMax("MultiInputPolicy", env, seed=0, policy_kwargs={"net_arch": [8]}).learn(200)
    model.save(tmp_path / "model")
    x = {"a": np.random.default_rng(0).uniform(-3, 3, (200, 2)), "b": np.arange(200) % 3, "c": np.ones((200, 1))}
    wanted = model.predict(env.normalize_obs(x), deterministic=True)[0]
    raw = DummyVecEnv([lambda: Target(space)])
    for exports in (model, WeightMax.load(tmp_path / "model"), WeightMax.load(tmp_path / "model", env=raw)):
        exports.policy.export(tmp_path / "agent")
        np.testing.assert_array_equal(ExportedAgent(str(tmp_path / "agent.npz")).predict(x), wanted)
    model.set_env(raw)
    model.policy.export(tmp_path / "agent")
    plain = ExportedAgent(str(tmp_path / "agent.npz")).predict(x)
    np.testing.assert_array_equal(plain, model.predict(x, deterministic=True)[0])
    assert (plain != wanted).any()


def test_parts_of_observations_are_checked(tmp_path) -> None:
    space = gym.spaces.Dict(a=gym.spaces.Box(-1, 1, (2,)), b=gym.spaces.Discrete(3, start=1))
    CoagentPolicy(space, gym.spaces.Discrete(2), seed=0).export(tmp_path / "agent")
    agent = ExportedAgent(str(tmp_path / "agent.npz"))
    for observation, message in (
        ({"a": np.zeros(2)}, r"must have the keys \['a', 'b'\]"),
        (np.zeros(2), "must have the keys"),
        ({"a": np.zeros(3), "b": 1}, r"of 'a' must have shape \(2,\)"),
        ({"a": np.zeros(2), "b": np.array([1, 2])}, "not as many"),
        ({"a": np.zeros(2), "b": 0}, "must lie from"),
    ):
        with pytest.raises(ValueError, match=message):
            agent.predict(observation)


def test_sampled_actions_have_the_same_frequencies(tmp_path) -> None:
    model = model_for("reinforce_thomas", "CartPole-v1", False)
    model.policy.deterministic_mode = "sample_hidden"
    model.policy.export(tmp_path / "agent.npz")
    agent = ExportedAgent(str(tmp_path / "agent.npz"), seed=0)
    x = np.tile(np.array([0.1, -0.5, 0.05, 0.3], np.float32), (20_000, 1))
    for deterministic in (True, False):
        ours, theirs = agent.predict(x, deterministic).mean(), model.predict(x, deterministic=deterministic)[0].mean()
        assert abs(ours - theirs) < 0.02


def test_file_holds_no_code_and_says_what_it_is(tmp_path) -> None:
    model = model_for("weight_max", "CartPole-v1", True)
    model.policy.export(tmp_path / "agent")
    with np.load(tmp_path / "agent.npz", allow_pickle=False) as file:
        description = json.loads(str(file["description"]))
        np.testing.assert_array_equal(file["parameters"], model.policy.actor.parameters)
    assert [layer["kind"] for layer in description["layers"]] == ["bernoulli", "bernoulli", "softmax_reference"]
    assert description["observation"][0]["clip"] == 2.0


@pytest.mark.parametrize(
    ("observation", "message"),
    [(np.zeros(3), "must have shape"), (np.zeros((2, 2, 4)), "must have shape"), (np.full(4, np.nan), "NaN or infinity")],
)
def test_bad_observations_are_refused(tmp_path, observation, message) -> None:
    model_for("weight_max", "CartPole-v1", False).policy.export(tmp_path / "agent.npz")
    with pytest.raises(ValueError, match=message):
        ExportedAgent(str(tmp_path / "agent.npz")).predict(observation)


def test_files_that_are_no_agents_are_refused(tmp_path) -> None:
    model = model_for("weight_max", "CartPole-v1", False)
    model.policy.actor.save(tmp_path / "network.npz")
    (tmp_path / "text.npz").write_text("nothing")
    model.policy.export(tmp_path / "agent.npz")
    with np.load(tmp_path / "agent.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "short.npz", **{**arrays, "parameters": arrays["parameters"][:-1]})
    np.savez(tmp_path / "long.npz", **{**arrays, "parameters": np.append(arrays["parameters"], 0)})
    for name in ("network", "text", "short", "long"):
        with pytest.raises(ValueError, match="is not an agent written by"):
            ExportedAgent(str(tmp_path / f"{name}.npz"))
    with pytest.raises(FileNotFoundError):
        ExportedAgent(str(tmp_path / "absent.npz"))


def test_what_cannot_be_exported_says_so(tmp_path) -> None:
    class Reversed(CoagentPolicy):
        def to_actions(self, outputs: np.ndarray) -> np.ndarray:
            return outputs.argmin(axis=1)

    space, actions = gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2)

    class Squared(CoagentPolicy):
        def encode(self, observations: Any) -> np.ndarray:
            return super().encode(observations) ** 2

    for kind, what in ((Reversed, "outputs into actions"), (Squared, "observations into inputs")):
        with pytest.raises(ValueError, match=f"{what} in a way of its own: it cannot be exported"):
            kind(space, actions).export(tmp_path / "agent.npz")
    policy = CoagentPolicy(space, actions)
    with pytest.raises(ValueError, match="The normaliser is of"):
        policy.export(tmp_path / "agent.npz", VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")])))
    policy.actor.parameters[0] = np.nan
    with pytest.raises(ValueError, match="it has diverged"):
        policy.export(tmp_path / "agent.npz")
    assert not list(Path(tmp_path).iterdir())
