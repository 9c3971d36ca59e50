"""An exported agent acts as the agent did, where there is nothing but NumPy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from coagent_rl import exported
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
                    model.policy.export(tmp_path / name, normaliser)
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
    model.policy.export(tmp_path / "agent", model.get_vec_normalize_env())
    with np.load(tmp_path / "agent.npz", allow_pickle=False) as file:
        description = json.loads(str(file["description"]))
        np.testing.assert_array_equal(file["parameters"], model.policy.actor.parameters)
    assert [layer["kind"] for layer in description["layers"]] == ["bernoulli", "bernoulli", "softmax_reference"]
    assert description["encoding"]["clip"] == 2.0


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
    with pytest.raises(ValueError, match="in a way of its own: it cannot be exported"):
        Reversed(space, actions).export(tmp_path / "agent.npz")
    policy = CoagentPolicy(space, actions)
    with pytest.raises(ValueError, match="The normaliser is of"):
        policy.export(tmp_path / "agent.npz", VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")])))
    policy.actor.parameters[0] = np.nan
    with pytest.raises(ValueError, match="it has diverged"):
        policy.export(tmp_path / "agent.npz")
    assert not list(Path(tmp_path).iterdir())
