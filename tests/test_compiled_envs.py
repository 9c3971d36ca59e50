"""Compiled twins against the classes that they mirror, bit for bit."""

import math
import pickle
from functools import cache

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import seeding
from numba import njit, types

import coagent_rl  # noqa: F401  registers the environments
from coagent_rl.envs.compiled import (
    CompiledEnvironment,
    acrobot,
    cartpole,
    corridor,
    mountain_car,
    multiplexer,
    pendulum,
    twin_of,
)
from coagent_rl.envs.compiled.base import NO_LIMIT, OBSERVE, RESET, STEP

MULTIPLEXER, CORRIDOR = "coagent_rl/Multiplexer-v0", "coagent_rl/Corridor-v0"
CASES = [
    ("Acrobot-v1", {}, 30_000),
    ("CartPole-v1", {}, 30_000),
    ("CartPole-v1", {"sutton_barto_reward": True}, 15_000),
    ("MountainCar-v0", {}, 30_000),
    ("MountainCar-v0", {"goal_velocity": 0.02}, 15_000),
    ("MountainCarContinuous-v0", {}, 60_000),
    ("MountainCarContinuous-v0", {"goal_velocity": 0.02}, 40_000),
    ("Pendulum-v1", {}, 30_000),
    ("Pendulum-v1", {"g": 9.81}, 15_000),
    (CORRIDOR, {}, 50_000),
    (CORRIDOR, {"length": 12}, 50_000),
    (CORRIDOR, {"length": 12, "continuous": True}, 100_000),
    (MULTIPLEXER, {}, 60_000),
    (MULTIPLEXER, {"address_bits": 2}, 40_000),
]
EACH = [case[:2] for case in CASES]
FUNCTIONS = [types.FunctionType(signature) for signature in (RESET, STEP, OBSERVE)]
RECORD = [types.float32[:, ::1], types.float32[:, ::1], types.float64[::1], types.boolean[::1], types.float64[:, ::1]]


@njit(
    types.int64(
        *FUNCTIONS, types.float64[::1], types.int64, types.float64[:, ::1], types.float64[:, ::1], types.int64, *RECORD
    ),
    cache=True,
    error_model="numpy",
    fastmath={"contract", "reassoc"},
)
def run(reset, step, observe, constants, n_state, draws, actions, limit, firsts, observations, rewards, terminated, states):
    """Take all actions. The licences of this loop must not reach into the functions that it is given."""
    state, outcome = np.zeros(n_state), np.zeros(1)
    reset(constants, draws[0], state)
    observe(constants, state, firsts[0])
    episode, elapsed = 0, 0
    for t in range(len(actions)):
        terminated[t] = step(constants, state, actions[t], outcome)
        observe(constants, state, observations[t])
        rewards[t] = outcome[0]
        states[t] = state[: states.shape[1]]
        elapsed += 1
        if terminated[t] or elapsed == limit:
            episode, elapsed = episode + 1, 0
            if episode == len(draws):
                return -1
            reset(constants, draws[episode], state)
            observe(constants, state, firsts[episode])
    return episode + 1


def twin_record(twin: CompiledEnvironment, seed: int, actions: np.ndarray, limit: int, mirrored: tuple) -> tuple:
    """First observations, observations, rewards, terminated, states, and the generator's state after the resets."""
    n_resets = len(mirrored[0])
    rng, _ = seeding.np_random(seed)
    draws = twin.draw(rng, n_resets)
    assert draws.shape == (n_resets, twin.n_draws)
    (size,) = twin.observation_space.shape
    firsts, observations = np.zeros((n_resets, size), np.float32), np.zeros((len(actions), size), np.float32)
    rewards, terminated = np.zeros(len(actions)), np.zeros(len(actions), bool)
    twin.compile()
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    record = (firsts, observations, rewards, terminated, np.zeros_like(mirrored[4]))
    n = run(twin.reset, twin.step, twin.observe, twin.constants, twin.n_state, draws, flat, limit, *record)
    assert n == n_resets, "the twin's episodes are of other lengths"
    return (*record, rng.bit_generator.state)


def class_record(env_id: str, kwargs: dict, seed: int, actions: np.ndarray, limit: int) -> tuple:
    env = gym.make(env_id, **kwargs).unwrapped
    first, _ = env.reset(seed=seed)
    firsts, steps, elapsed = [first], [], 0
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        assert not truncated
        steps.append((observation, float(reward), terminated, np.array(getattr(env, "state", ()), np.float64)))
        elapsed += 1
        if terminated or elapsed == limit:
            elapsed = 0
            firsts.append(env.reset()[0])
    columns = [np.array(column) for column in zip(*steps, strict=True)]
    return np.array(firsts), *columns, env.np_random.bit_generator.state


def random_actions(twin: CompiledEnvironment, n: int, rng: np.random.Generator) -> np.ndarray:
    """Actions of which the first half are held for up to 40 steps, which brings cars up hills and acrobats to swing."""
    space = twin.action_space
    if isinstance(space, gym.spaces.Discrete):
        actions = rng.integers(0, space.n, n)
    else:  # some beyond the bounds where the environment itself limits them
        actions = rng.uniform(space.low, space.high, (n, 1)).astype(np.float32) * (1.3 if twin.limits_actions else 1.0)
    held = np.repeat(np.arange(n), rng.integers(1, 41, n))[: n // 2]
    return np.concatenate([actions[held], actions[n // 2 :]]).astype(actions.dtype)


def assert_same_bits(twin: tuple, mirrored: tuple) -> None:
    for got, wanted in zip(twin[:5], mirrored[:5], strict=True):
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
        if got.tobytes() != wanted.tobytes():
            row = int(np.flatnonzero((got != wanted).reshape(len(got), -1).any(axis=1))[0])
            message = f"First difference in row {row}: {got[row]!r} in the twin, {wanted[row]!r} in the class."
            if where := numpy_differs():
                pytest.skip(
                    f"{message} On this processor NumPy rounds {where} otherwise than the C library, in the last place."
                )
            pytest.fail(message)
    assert twin[5] == mirrored[5], "the generators are not in the same state"


@cache
def numpy_differs() -> str:
    """Name the functions in which NumPy's scalars do not equal the C library's, which Python and the kernels use."""
    x = np.random.default_rng(0).uniform(-4, 4, 50_000)
    pairs = {"sin": (np.sin, math.sin), "cos": (np.cos, math.cos), "squares": (lambda v: v**2, lambda v: math.pow(v, 2.0))}
    return ", ".join(key for key, (numpy, c) in pairs.items() if any(numpy(v) != c(v) for v in x))


@pytest.mark.parametrize(("env_id", "kwargs", "n"), CASES)
def test_twin_is_the_class_bit_for_bit(env_id, kwargs, n) -> None:
    twin = twin_of(env_id, kwargs)
    actions = random_actions(twin, n, np.random.default_rng(1))
    limit = twin.max_episode_steps or NO_LIMIT
    mirrored = class_record(env_id, kwargs, 5, actions, limit)
    assert_same_bits(twin_record(twin, 5, actions, limit, mirrored), mirrored)
    assert len(mirrored[0]) > 30
    assert mirrored[3].any() or env_id == "Pendulum-v1" or (env_id, kwargs) == (CORRIDOR, {})


@pytest.mark.parametrize(("env_id", "kwargs"), EACH)
def test_twin_is_the_class_up_to_rounding(env_id, kwargs) -> None:
    """What is left to test where NumPy rounds otherwise than the C library."""
    twin = twin_of(env_id, kwargs)
    actions = random_actions(twin, 400, np.random.default_rng(2))
    mirrored = class_record(env_id, kwargs, 6, actions, 4)
    for got, wanted in zip(twin_record(twin, 6, actions, 4, mirrored)[:5], mirrored[:5], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "constant", "factor"),
    [
        ("Acrobot-v1", {}, acrobot.CENTRE_2, 1 + 1e-12),
        ("CartPole-v1", {}, cartpole.GRAVITY, 1 + 1e-12),
        ("MountainCar-v0", {}, mountain_car.GRAVITY, 1 + 1e-9),
        ("MountainCarContinuous-v0", {}, mountain_car.FORCE, 1 + 1e-6),
        ("Pendulum-v1", {}, pendulum.GRAVITY_TERM, 1 + 1e-12),
        (CORRIDOR, {"continuous": True}, corridor.LENGTH, 1 + 1e-6),
        (MULTIPLEXER, {}, multiplexer.ADDRESS_BITS, 0.75),
    ],
)
def test_a_changed_constant_is_noticed(env_id, kwargs, constant, factor) -> None:
    """The comparison can fail: a constant that is wrong in its last places does not pass."""
    twin = twin_of(env_id, kwargs)
    actions = random_actions(twin, 4000, np.random.default_rng(1))
    limit = twin.max_episode_steps or NO_LIMIT
    mirrored = class_record(env_id, kwargs, 5, actions, limit)
    assert_same_bits(twin_record(twin, 5, actions, limit, mirrored), mirrored)
    twin.constants[constant] *= factor
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        assert_same_bits(twin_record(twin, 5, actions, limit, mirrored), mirrored)


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("NoSuchEnvironment-v0", {}),
        ("LunarLander-v3", {}),
        ("CartPole-v1", {"render_mode": "rgb_array"}),
        ("CartPole-v1", {"max_episode_steps": 7}),
        ("Pendulum-v1", {"g": np.float32(9.81)}),  # which would be reckoned with in float32
        ("Acrobot-v1", {"no_such_argument": 1}),
    ],
)
def test_environments_without_a_twin(env_id, kwargs) -> None:
    assert twin_of(env_id, kwargs) is None


def test_a_registration_with_a_wrapper_has_no_twin_and_one_with_another_limit_has() -> None:
    entry_point = gym.spec("CartPole-v1").entry_point
    wrapper = gym.wrappers.TransformReward.wrapper_spec(func=abs)
    try:
        gym.register("Short-v0", entry_point, max_episode_steps=7, kwargs={"sutton_barto_reward": True})
        gym.register("Wrapped-v0", entry_point, additional_wrappers=(wrapper,))
        twin = twin_of("Short-v0", {})
        assert twin is not None
        assert twin.max_episode_steps == 7
        assert twin.constants[cartpole.LAST_REWARD] == -1.0
        assert twin_of("Wrapped-v0", {}) is None
    finally:
        for env_id in ("Short-v0", "Wrapped-v0"):
            gym.registry.pop(env_id, None)


def test_a_bad_argument_is_the_class_s_error() -> None:
    with pytest.raises(ValueError, match="length must be a whole number from 1, not 0"):
        twin_of(CORRIDOR, {"length": 0})


@pytest.mark.parametrize(("env_id", "kwargs"), EACH)
def test_a_twin_describes_the_environment_of_gym_make(env_id, kwargs) -> None:
    twin, env = twin_of(env_id, kwargs), gym.make(env_id, **kwargs)
    assert twin.spec == env.spec
    assert twin.observation_space == env.observation_space
    assert twin.action_space == env.action_space
    again = pickle.loads(pickle.dumps(twin))
    np.testing.assert_array_equal(again.constants, twin.constants)
