"""Compiled environments side by side, as Stable-Baselines3 steps them."""

import copy
import json
import math
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor

import coagent_rl  # noqa: F401  registers the environments
from coagent_rl import WeightMax
from coagent_rl.envs.compiled import (
    twin_of,
)
from coagent_rl.envs.compiled.draws import ResetDraws
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import NativeVecEnv, SerialVecEnv
from tests.plain_python import printed_by
from tests.test_compiled_envs import CORRIDOR, EACH, MULTIPLEXER, numpy_differs, random_actions

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


def test_learning_in_environments_that_were_never_reset(tmp_path) -> None:
    WeightMax("MlpPolicy", "CartPole-v1", seed=0).learn(50).save(tmp_path / "model.zip")
    model = WeightMax.load(tmp_path / "model.zip", CompiledVecEnv(twin_of("CartPole-v1", {})), force_reset=False)
    with pytest.raises(gym.error.ResetNeeded, match="never been reset: reset them, or load the model with force_reset=True"):
        model.learn(100, reset_num_timesteps=False)


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
    printed = [printed_by(PLAIN, jit) for jit in (False, True)]
    assert printed[0] == printed[1]
    assert printed[0].startswith("Acrobot-v1 ")
