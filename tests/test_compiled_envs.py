"""Compiled twins against the classes that they mirror, bit for bit."""

import copy
import json
import math
import os
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import seeding
from numba import njit, types
from stable_baselines3.common.monitor import Monitor

import coagent_rl  # noqa: F401  registers the environments
from coagent_rl import WeightMax
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
from coagent_rl.envs.compiled.draws import ResetDraws
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import NativeVecEnv, SerialVecEnv

MULTIPLEXER, CORRIDOR = "coagent_rl/Multiplexer-v0", "coagent_rl/Corridor-v0"
CASES = [
    ("Acrobot-v1", {}, 100_000),
    ("CartPole-v1", {}, 70_000),
    ("CartPole-v1", {"sutton_barto_reward": True}, 30_000),
    ("MountainCar-v0", {}, 70_000),
    ("MountainCar-v0", {"goal_velocity": 0.02}, 30_000),
    ("MountainCarContinuous-v0", {}, 60_000),
    ("MountainCarContinuous-v0", {"goal_velocity": 0.02}, 40_000),
    ("Pendulum-v1", {}, 60_000),
    ("Pendulum-v1", {"g": 9.81}, 40_000),
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


# ------------------------------------------------------------------ CompiledVecEnv


def mirrored_vec_env(env_id: str, kwargs: dict, n_envs: int, folder=None) -> SerialVecEnv | NativeVecEnv:
    if env_id == MULTIPLEXER and n_envs > 1:  # training uses the vectorised form, which has an order of its own
        return NativeVecEnv(gym.make_vec(env_id, n_envs, vectorization_mode="vector_entry_point", **kwargs))
    files = [None if folder is None else str(folder / str(k)) for k in range(n_envs)]
    return SerialVecEnv([lambda file=file: Monitor(gym.make(env_id, **kwargs), file) for file in files])


def steps_of(env, actions: np.ndarray) -> list:
    """What ``env`` returns for each row of actions, without the times."""
    steps = []
    for row in actions:
        observations, rewards, dones, infos = env.step(row)
        for info in infos:
            if "episode" in info:
                assert info["episode"].pop("t") >= 0
        steps.append((observations, rewards, dones, infos))
    return steps


def assert_same_steps(one: list, other: list) -> None:
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a[:3], b[:3], strict=True):
            assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())
        for x, y in zip(a[3], b[3], strict=True):
            assert {**x, "terminal_observation": 0} == {**y, "terminal_observation": 0}
            assert x.keys() == y.keys()
            if "terminal_observation" in x:
                assert x["terminal_observation"].dtype == np.float32
                assert x["terminal_observation"].tobytes() == y["terminal_observation"].tobytes()


def skip_where_numpy_differs(env_id: str) -> None:
    if env_id not in (MULTIPLEXER, CORRIDOR) and (where := numpy_differs()):
        pytest.skip(f"On this processor NumPy rounds {where} otherwise than the C library, in the last place.")


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize(("env_id", "kwargs"), EACH)
def test_vec_env_is_monitored_gymnasium(env_id, kwargs, n_envs) -> None:
    skip_where_numpy_differs(env_id)
    twin = twin_of(env_id, kwargs)
    compiled, mirrored = CompiledVecEnv(twin, n_envs), mirrored_vec_env(env_id, kwargs, n_envs)
    n = 1500
    rng = np.random.default_rng(3)
    actions = np.stack([random_actions(twin, n, rng) for _ in range(n_envs)], axis=1)
    for env in (compiled, mirrored):
        env.seed(7)
    assert compiled.reset().tobytes() == mirrored.reset().tobytes()
    assert_same_steps(steps_of(compiled, actions[: n - 100]), steps_of(mirrored, actions[: n - 100]))
    # A reset without a seed goes on with the generator; one with a seed begins anew.
    assert compiled.reset().tobytes() == mirrored.reset().tobytes()
    assert_same_steps(steps_of(compiled, actions[:100]), steps_of(mirrored, actions[:100]))
    if isinstance(mirrored, SerialVecEnv):
        for one, other in zip(compiled.get_attr("np_random"), mirrored.get_attr("np_random"), strict=True):
            assert one.bit_generator.state == other.bit_generator.state
    for env in (compiled, mirrored):
        env.seed(8)
    assert compiled.reset().tobytes() == mirrored.reset().tobytes()
    assert compiled.reset_infos == mirrored.reset_infos


def test_monitor_file(tmp_path) -> None:
    """One environment's file is Monitor's byte by byte but for the times; three environments share one."""
    skip_where_numpy_differs("CartPole-v1")
    actions = np.random.default_rng(0).integers(0, 2, (2000, 3))
    twin = twin_of("CartPole-v1", {})
    for n_envs in (1, 3):
        folder = tmp_path / str(n_envs)
        file = folder / "compiled" / "0.monitor.csv"
        compiled, mirrored = CompiledVecEnv(twin, n_envs, file), mirrored_vec_env("CartPole-v1", {}, n_envs, folder)
        for env in (compiled, mirrored):
            env.seed(0)
            env.reset()
        ended = [
            (info["episode"]["r"], info["episode"]["l"])
            for _, _, _, infos in steps_of(compiled, actions[:, :n_envs])
            for info in infos
            if "episode" in info
        ]
        steps_of(mirrored, actions[:, :n_envs])
        compiled.close()
        mirrored.close()
        written = read_monitor(file)
        assert [row[:2] for row in written[2]] == [(f"{r}", f"{length}") for r, length in ended]
        theirs = [read_monitor(folder / f"{k}.monitor.csv") for k in range(n_envs)]
        assert sorted(row[:2] for row in written[2]) == sorted(row[:2] for rows in theirs for row in rows[2])
        assert written[:2] == theirs[0][:2]
        times = [float(row[2]) for row in written[2]]
        assert times == sorted(times)


def read_monitor(path) -> tuple[dict, bytes, list[tuple[str, ...]]]:
    header, columns, *rows = path.read_bytes().splitlines(keepends=True)
    assert header.startswith(b"#")
    assert all(row.endswith(b"\r\n") for row in rows)
    head = json.loads(header[1:])
    assert head.pop("t_start") > 0
    return head, columns, [tuple(row.decode().strip().split(",")) for row in rows]


def test_monitor_lines_are_kept_for_a_second_at_most(tmp_path) -> None:
    file = tmp_path / "0.monitor.csv"
    env = CompiledVecEnv(twin_of(MULTIPLEXER, {}), 1, file)
    env.SECONDS_BETWEEN_WRITES = math.inf
    env.seed(0)
    env.reset()
    for _ in range(3):
        env.step(np.array([0]))
    assert len(read_monitor(file)[2]) == 0
    env.SECONDS_BETWEEN_WRITES = -1.0
    env.step(np.array([0]))
    assert len(read_monitor(file)[2]) == 4


@pytest.mark.parametrize(("env_id", "n_envs"), [("CartPole-v1", 2), ("Acrobot-v1", 1), (MULTIPLEXER, 3), (CORRIDOR, 1)])
def test_a_copy_continues_as_the_original(env_id, n_envs, tmp_path) -> None:
    twin = twin_of(env_id, {})
    env = CompiledVecEnv(twin, n_envs, tmp_path / "0.monitor.csv")
    rng = np.random.default_rng(4)
    before, after = (np.stack([random_actions(twin, 4000, rng) for _ in range(n_envs)], axis=1) for _ in range(2))
    env.seed(1)
    env.reset()
    steps_of(env, before[:777])
    copies = copy.deepcopy(env), pickle.loads(pickle.dumps(env))
    assert len(pickle.dumps(env.draws)) < 2000
    wanted = steps_of(env, after)
    for other in copies:
        assert_same_steps(steps_of(other, after), wanted)
        assert other.get_attr("np_random")[0].bit_generator.state == env.get_attr("np_random")[0].bit_generator.state
        other.close()
    env.close()
    n_episodes = sum("episode" in info for step in wanted for info in step[3])
    assert len(read_monitor(tmp_path / "0.monitor.csv")[2]) >= n_episodes


def test_a_block_holds_what_single_resets_draw() -> None:
    draws = ResetDraws(twin_of("Pendulum-v1", {}), 2)
    draws.seed([3, 4])
    env = gym.make("Pendulum-v1").unwrapped
    env.reset(seed=4)
    for k in range(150):  # more than two blocks
        np.testing.assert_array_equal(draws.block[1, draws.cursor[1]], env.state)
        draws.cursor[1] += 1
        assert draws.generator(1).bit_generator.state == env.np_random.bit_generator.state
        draws.refill()
        if k % 50 == 7:
            draws = pickle.loads(pickle.dumps(draws))
        env.reset()


def test_without_a_seed_resets_are_random() -> None:
    twin = twin_of("CartPole-v1", {})
    one, other = CompiledVecEnv(twin, 2).reset(), CompiledVecEnv(twin, 2).reset()
    assert len(np.unique(np.concatenate([one, other]), axis=0)) == 4


def test_episodes_that_nothing_cuts_may_be_long() -> None:
    try:
        gym.register("EndlessCorridor-v0", gym.spec(CORRIDOR).entry_point)
        env = CompiledVecEnv(twin_of("EndlessCorridor-v0", {"length": 5}), 1)
    finally:
        gym.registry.pop("EndlessCorridor-v0")
    env.reset()
    for _ in range(3000):
        assert not env.step(np.array([0]))[2][0]
    for _ in range(5):
        _, _, dones, infos = env.step(np.array([1]))
    assert dones[0]
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (-2900.0, 3005)


def test_results_of_a_step_are_not_overwritten_by_the_next() -> None:
    env = CompiledVecEnv(twin_of("CartPole-v1", {}), 1)
    env.seed(0)
    kept = [env.reset()]
    for _ in range(30):
        observations, rewards, dones, infos = env.step(np.array([0]))
        kept += [observations, rewards, dones] + [info["terminal_observation"] for info in infos if dones[0]]
    assert len({array.__array_interface__["data"][0] for array in kept}) == len(kept)


@pytest.mark.parametrize(
    ("env_id", "kwargs", "actions", "message"),
    [
        ("CartPole-v1", {}, np.array([0, 2]), r"action of environment 1 must be in Discrete\(2\), not .*2"),
        ("Acrobot-v1", {}, np.array([-1, 0]), r"action of environment 0 must be in Discrete\(3\), not .*-1"),
        ("CartPole-v1", {}, np.array([0.0, 1.0]), r"shape \(2,\) are expected, not .* type float64"),
        ("CartPole-v1", {}, np.array([[0], [1]]), r"shape \(2,\) are expected, not .* shape \(2, 1\)"),
        ("Pendulum-v1", {}, np.array([[0.0], [np.nan]], np.float32), r"action of environment 1 must be in Box.*nan"),
        ("Pendulum-v1", {}, np.zeros((2, 2), np.float32), r"shape \(2, 1\) are expected, not .* shape \(2, 2\)"),
        (CORRIDOR, {"continuous": True}, np.array([[1.5], [0.0]], np.float32), r"environment 0 must be in Box.*1.5"),
    ],
)
def test_wrong_actions(env_id, kwargs, actions, message) -> None:
    env = CompiledVecEnv(twin_of(env_id, kwargs), 2)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(env._action_shape, env._action_dtype))
    env.seed(0)
    env.reset()
    before = env.state.copy()
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    np.testing.assert_array_equal(env.state, before)


def test_actions_of_other_types_are_converted() -> None:
    envs = [CompiledVecEnv(twin_of("Pendulum-v1", {}), 2) for _ in range(2)]
    for env in envs:
        env.seed(0)
        env.reset()
    wide = np.array([[0.5, 9.0], [0.25, 9.0]])
    one, other = envs[0].step(wide[:, :1]), envs[1].step(np.array([[0.5], [0.25]], np.float32))
    assert one[0].tobytes() == other[0].tobytes()


def test_what_a_vec_env_must_say() -> None:
    twin = twin_of("CartPole-v1", {})
    env = CompiledVecEnv(twin, 2)
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(gym.wrappers.TimeLimit, 0) == [False]
    assert env.get_attr("spec")[1].id == "CartPole-v1"
    assert env.get_attr("render_mode") == [None, None]
    assert env.get_images() == [None, None]
    assert not env.has_attr("gravity")
    with pytest.raises(ValueError, match="'gravity' cannot be set"):
        env.set_attr("gravity", 5.0)
    with pytest.raises(NotImplementedError, match="push"):
        env.env_method("push")
    with pytest.raises(ValueError, match=r"takes no options for its reset, but .*'low'"):
        env.set_options({"low": -0.1})
    env.set_options({})
    with pytest.raises(ValueError, match="n_envs must be at least 1, not 0"):
        CompiledVecEnv(twin, 0)


def test_training_in_a_twin_is_training_in_gymnasium() -> None:
    skip_where_numpy_differs("CartPole-v1")
    parameters = []
    for env in (CompiledVecEnv(twin_of("CartPole-v1", {}), 2), mirrored_vec_env("CartPole-v1", {}, 2)):
        model = WeightMax("MlpPolicy", env, seed=4, policy_kwargs={"net_arch": [8]}).learn(1500)
        parameters.append((model.policy.actor.parameters, [episode["r"] for episode in model.ep_info_buffer]))
    np.testing.assert_array_equal(parameters[0][0], parameters[1][0])
    assert parameters[0][1] == parameters[1][1]


STEP_ONCE = """
import json
import numpy as np
from coagent_rl.envs.compiled import TWINS, twin_of
from coagent_rl.envs.compiled import acrobot, cartpole, corridor, mountain_car, multiplexer, pendulum
kernels = [k for m in (acrobot, cartpole, corridor, mountain_car, multiplexer, pendulum) for k in vars(m).values()]
assert not any(k.signatures for k in kernels if hasattr(k, "signatures")), "compiled at import"
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
twin = twin_of("CartPole-v1", {})
env = CompiledVecEnv(twin)
env.reset()
env.step(np.array([1]))
kernels = (twin.reset, twin.step, twin.observe, twin.advance)
print(json.dumps([[sum(k.stats.cache_hits.values()), sum(k.stats.cache_misses.values())] for k in kernels]))
"""


def test_twins_are_found_on_disk_by_a_second_process() -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-W", "error", "-c", STEP_ONCE], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [[1, 0]] * 4


PLAIN = """
import numpy as np
from coagent_rl.envs.compiled import TWINS, acrobot, twin_of
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
assert {jit} == hasattr(acrobot.step, "py_func")
rng = np.random.default_rng(0)
for env_id in ("Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1",
               "coagent_rl/Corridor-v0", "coagent_rl/Multiplexer-v0"):
    env = CompiledVecEnv(twin_of(env_id, {{}}), 2)
    env.seed(0)
    env.reset()
    env.action_space.seed(0)
    steps = [env.step(np.array([env.action_space.sample(), env.action_space.sample()])) for _ in range(60)]
    print(env_id, *(f"{{value:.5f}}" for step in steps for value in (*step[0].ravel(), *step[1])))
"""


def test_twins_run_as_plain_python_too() -> None:
    """So that a debugger can enter them; only Pendulum's squares are not rounded quite alike."""
    printed = [
        subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", "-c", PLAIN.format(jit=jit)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "NUMBA_DISABLE_JIT": str(int(not jit))},
        ).stdout
        for jit in (False, True)
    ]
    assert printed[0] == printed[1]
    assert printed[0].startswith("Acrobot-v1 ")
