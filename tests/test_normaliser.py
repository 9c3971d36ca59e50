"""What is left of a normaliser after a step that was not finite: nothing of that step."""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from coagent_rl import WeightMax
from coagent_rl.agents.normaliser import state_of_normaliser
from coagent_rl.envs.compiled import twin_of
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from tests.test_agents import Scripted, flat, make

pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, of infinite rewards


def scripted(*kwargs) -> VecNormalize:
    return VecNormalize(DummyVecEnv([lambda given=given: Scripted(**given) for given in kwargs]))


def same(first, second) -> bool:
    """Whether two states of normalisers are equal, to the bit."""
    if isinstance(first, dict):
        return all(same(first[key], second[key]) for key in {*first, *second})
    return np.array_equal(first, second)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"bad_reward_at": 50}, "The reward of environment 1 is not finite at time step 98: inf"),
        ({"bad_observation_at": 50}, r"The observation of environment 1 is not finite at time step 98: \[.* nan\]"),
    ],
)
def test_a_step_that_is_not_finite_leaves_no_trace(bad, message, tmp_path) -> None:
    reference = make(env=scripted({}, {})).learn(98)
    model = make(env=scripted({}, bad))
    with pytest.raises(ValueError, match=message):
        model.learn(200)
    np.testing.assert_array_equal(flat(model), flat(reference))
    assert same(state_of_normaliser(model.env), state_of_normaliser(reference.env))
    model.save(tmp_path / "model")
    loaded = WeightMax.load(tmp_path / "model", env=DummyVecEnv([Scripted, Scripted])).learn(10)
    model.learn(10, reset_num_timesteps=False)
    for going_on in (model, loaded):
        assert going_on.is_finite()
        assert np.isfinite(going_on.get_vec_normalize_env().ret_rms.var)


def test_a_first_observation_that_is_not_finite_leaves_no_trace(monkeypatch, tmp_path) -> None:
    model = make(env=scripted({}))
    monkeypatch.setattr(Scripted, "reset", lambda env, **_: (np.full(2, np.nan, np.float32), {}))
    with pytest.raises(ValueError, match="The observation of environment 0 is not finite at time step 0"):
        model.learn(10)
    monkeypatch.undo()
    model.save(tmp_path / "model")
    assert WeightMax.load(tmp_path / "model", env=scripted({})).learn(10).is_finite()


@pytest.mark.parametrize(
    ("column", "message"), [(1, "reward of environment 1 .*: -inf"), (0, "observation of environment 1")]
)
def test_the_same_of_compiled_training(column, message, tmp_path) -> None:
    env = VecNormalize(CompiledVecEnv(twin_of("Pendulum-v1", {}), 2))
    model = make(env=env).learn(100)
    assert isinstance(model.action_space, spaces.Box)
    before, parameters = state_of_normaliser(env), flat(model)
    env.venv.state[1, column] = 1e200 if column else np.nan
    with pytest.raises(ValueError, match=message):
        model.learn(100, reset_num_timesteps=False)
    assert model.why_step_by_step is None
    np.testing.assert_array_equal(flat(model), parameters)
    assert same(before, state_of_normaliser(env))
    model.save(tmp_path / "model")
    assert WeightMax.load(tmp_path / "model", env=CompiledVecEnv(twin_of("Pendulum-v1", {}), 2)).learn(100).is_finite()
