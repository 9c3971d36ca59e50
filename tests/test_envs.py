import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv

import coagent_rl  # noqa: F401  registers the environments
from coagent_rl import WeightMax
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import NativeVecEnv, RowMeanStd, SerialVecEnv
from coagent_rl.training.run import make_environments

ID = "coagent_rl/Multiplexer-v0"


def answer(observations: np.ndarray, address_bits: int) -> np.ndarray:
    """The right actions, bit by bit."""
    result = []
    for bits in np.atleast_2d(observations) > 0:
        address = 0
        for bit in bits[:address_bits]:
            address = 2 * address + int(bit)
        result.append(int(bits[address_bits + address]))
    return np.array(result)


@pytest.mark.parametrize("address_bits", [1, 4])
def test_both_checkers_accept_the_multiplexer(address_bits) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(ID, address_bits=address_bits).unwrapped, skip_render_check=False)
        check_env_sb3(gym.make(ID, address_bits=address_bits).unwrapped)


@pytest.mark.parametrize("address_bits", [1, 2, 4])
def test_rewards_of_the_multiplexer(address_bits) -> None:
    env = gym.make(ID, address_bits=address_bits)
    rng = np.random.default_rng(0)
    seen = []
    for k in range(300):
        observation, _ = env.reset(seed=3 if k == 0 else None)
        assert observation.shape == (address_bits + 2**address_bits,)
        assert set(np.unique(observation)) <= {-1.0, 1.0}
        action = int(rng.integers(2))
        _, reward, terminated, truncated, _ = env.step(action)
        assert (terminated, truncated) == (True, False)
        assert reward == (1.0 if action == answer(observation, address_bits)[0] else -1.0)
        seen.append(observation)
    assert np.abs(np.mean(seen, axis=0)).max() < 0.25


def test_multiplexer_is_seeded() -> None:
    env = gym.make(ID)
    first = [env.reset(seed=5)[0], env.reset()[0]]
    second = [env.reset(seed=5)[0], env.reset()[0]]
    np.testing.assert_array_equal(first, second)
    assert np.any(env.reset(seed=6)[0] != first[0])


def test_vectorised_multiplexer() -> None:
    env = gym.make_vec(ID, num_envs=7, vectorization_mode="vector_entry_point", address_bits=2)
    observations, _ = env.reset(seed=0)
    for _ in range(400):  # several blocks of questions
        right = answer(observations, 2)
        actions = np.where(np.arange(7) % 2 == 0, right, 1 - right)
        new, rewards, terminated, truncated, infos = env.step(actions)
        np.testing.assert_array_equal(rewards, np.where(np.arange(7) % 2 == 0, 1.0, -1.0))
        assert terminated.all()
        assert not truncated.any()
        np.testing.assert_array_equal(infos["final_obs"], observations)
        observations = new
    assert env.observation_space.contains(observations)


def test_rendering_and_wrong_use() -> None:
    env = gym.make(ID, address_bits=2, render_mode="ansi")
    observation, _ = env.reset(seed=0)
    address, _, data = env.render().partition(" → ")
    inside = data[data.index("[") + 1]
    assert inside == str(answer(observation, 2)[0])
    assert address + data.replace("[", "").replace("]", "") == "".join(str(int(bit > 0)) for bit in observation)
    with pytest.raises(ValueError, match="The action must be 0 or 1, not 2"):
        env.unwrapped.step(2)
    env.unwrapped.step(0)
    with pytest.raises(gym.error.ResetNeeded):
        env.unwrapped.step(0)
    with pytest.raises(ValueError, match="address_bits must be an integer from 1 to 10, not 0"):
        gym.make(ID, address_bits=0)


def test_native_vec_env_reports_episodes_and_writes_them(tmp_path) -> None:
    vector_env = gym.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point")
    env = NativeVecEnv(vector_env, tmp_path / "0.monitor.csv")
    env.LINES_AT_ONCE = 10
    env.seed(0)
    observations = env.reset()
    total = 0.0
    for _ in range(7):
        old = observations
        observations, rewards, dones, infos = env.step(np.zeros(3, int))
        assert dones.all()
        for row, info in enumerate(infos):
            assert info["episode"]["r"] == rewards[row]
            assert info["episode"]["l"] == 1
            assert info["TimeLimit.truncated"] is False
            np.testing.assert_array_equal(info["terminal_observation"], old[row])
        total += rewards.sum()
    env.close()
    written = np.genfromtxt(tmp_path / "0.monitor.csv", delimiter=",", skip_header=2)
    assert written.shape == (21, 3)
    assert written[:, 0].sum() == total


def test_native_vec_env_needs_same_step_autoreset() -> None:
    with pytest.raises(ValueError, match="SAME_STEP"):
        NativeVecEnv(gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"))


def test_serial_vec_env_is_dummy_vec_env() -> None:
    envs = [kind([lambda: gym.make("CartPole-v1")] * 1) for kind in (DummyVecEnv, SerialVecEnv)]
    for env in envs:
        env.seed(3)
    np.testing.assert_array_equal(*(env.reset() for env in envs))
    before = None
    for k in range(60):
        one, two = (env.step(np.array([k % 2])) for env in envs)
        for a, b in zip(one[:3], two[:3], strict=True):
            np.testing.assert_array_equal(a, b)
        assert one[3][0].keys() == two[3][0].keys()
        assert two[0] is not before  # every step has an array of its own
        before = two[0]


def test_training_is_the_same_in_both_forms_of_the_environment() -> None:
    """One environment, natively vectorised or not, asks the same questions."""
    compiled = make_environments(ID, 1, 4, {"address_bits": 2})
    native = NativeVecEnv(gym.make_vec(ID, 1, vectorization_mode="vector_entry_point", address_bits=2))
    serial = SerialVecEnv([lambda: gym.make(ID, address_bits=2)])
    assert isinstance(compiled, CompiledVecEnv)
    parameters = []
    for env in (native, serial, compiled):
        env.seed(4)
        model = WeightMax("MlpPolicy", env, critic=None, seed=4, policy_kwargs={"net_arch": [4]}).learn(300)
        parameters.append(model.policy.actor.parameters)
    np.testing.assert_array_equal(parameters[0], parameters[1])
    np.testing.assert_array_equal(parameters[0], parameters[2])


CORRIDOR = "coagent_rl/Corridor-v0"


@pytest.mark.parametrize("kwargs", [{}, {"length": 3}, {"continuous": True}])
def test_both_checkers_accept_the_corridor(kwargs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(CORRIDOR, **kwargs).unwrapped, skip_render_check=False)
        check_env_sb3(gym.make(CORRIDOR, **kwargs).unwrapped)


@pytest.mark.parametrize("continuous", [False, True])
def test_rewards_of_the_corridor(continuous) -> None:
    env = gym.make(CORRIDOR, length=5, continuous=continuous, render_mode="ansi")
    left, right = (np.array([-1.0]), np.array([1.0])) if continuous else (0, 1)
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation, [0.0])
    seen = [env.step(action) for action in (left, right, right, left, right, right, right)]
    np.testing.assert_allclose([s[0][0] for s in seen], np.array([0, 1, 2, 1, 2, 3, 4]) / 5)
    assert [s[1] for s in seen] == [-1, 0, 0, -1, 0, 0, 0]
    assert env.render() == "····AG"
    observation, reward, terminated, truncated, _ = env.step(right)
    assert (observation[0], reward, terminated, truncated) == (1.0, 100.0, True, False)
    assert env.render() == "·····A"


def test_corridor_ends_after_a_thousand_steps_at_the_wall() -> None:
    env = gym.make(CORRIDOR)
    env.reset(seed=0)
    total, truncated, n = 0.0, False, 0
    while not truncated:
        _, reward, terminated, truncated, _ = env.step(0)
        assert not terminated
        total, n = total + reward, n + 1
    assert (total, n) == (-1000.0, 1000)


def test_corridor_moves_by_parts_of_a_step() -> None:
    env = gym.make(CORRIDOR, continuous=True, length=1)
    env.reset()
    assert env.step(np.array([0.4]))[0][0] == pytest.approx(0.4)
    assert env.step(np.array([-0.1]))[:2] == (pytest.approx(np.array([0.3])), -1.0)
    assert env.step(np.array([0.8]))[1:3] == (100.0, True)


@pytest.mark.parametrize(
    ("continuous", "action", "message"),
    [
        (False, 2, "action must be 0 or 1, not 2"),
        (True, np.array([1.5]), "one number from -1 to 1"),
        (True, np.array([0.1, 0.2]), "one number from -1 to 1"),
    ],
)
def test_wrong_actions_in_the_corridor(continuous, action, message) -> None:
    env = gym.make(CORRIDOR, continuous=continuous).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.step(action)
    env.reset()
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_a_corridor_has_a_length() -> None:
    with pytest.raises(ValueError, match="length must be a whole number from 1, not 0"):
        gym.make(CORRIDOR, length=0)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_running_statistics_of_single_rows_are_stable_baselines(shape) -> None:
    ours, theirs = RowMeanStd(shape=shape), RunningMeanStd(shape=shape)
    rng = np.random.default_rng(0)
    for n in (1, 1, 1, 4, 1):
        batch = rng.standard_normal((n, *shape)).astype(np.float32) * 3 + 1
        ours.update(batch)
        theirs.update(batch)
    on = RowMeanStd.of(theirs)
    for statistics in (ours, on):
        np.testing.assert_array_equal(statistics.mean, theirs.mean)
        np.testing.assert_array_equal(statistics.var, theirs.var)
        assert statistics.count == theirs.count
