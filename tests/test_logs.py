"""What is logged, when, and under which name."""

import json
import math
from collections import deque

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from coagent_rl import DecentralizedDDPG, MAPProp, NodePerturbation, Reinforce, WeightMax
from coagent_rl.agents.logs import N_RECENT, entropy, remember, remembered
from coagent_rl.networks import Layer, Network

SMALL = {"net_arch": {"pi": [8, 6], "vf": [8]}}
TIMES = {"time/fps", "time/time_elapsed"}


class EveryStep(BaseCallback):
    def _on_step(self) -> bool:
        return True


class Won(gym.Env):
    """Episodes of two steps, every fourth of which is a success."""

    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)
    episodes = 0

    def reset(self, *, seed=None, options=None):
        self.clock = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.clock += 1
        self.episodes += self.clock == 2
        return np.zeros(2, np.float32), 1.0, self.clock == 2, False, {"is_success": self.episodes % 4 == 0}


def logged(folder, agent=WeightMax, env="CartPole-v1", n=2500, log_interval=3, callback=None, **kwargs):
    """All lines of the log of a run, without times."""
    model = agent("MlpPolicy", env, **{"seed": 0, "policy_kwargs": SMALL, **kwargs})
    model.set_logger(configure(str(folder), ["json"]))
    model.learn(n, callback=callback, log_interval=log_interval)
    lines = [json.loads(line) for line in (folder / "progress.json").read_text().splitlines()]
    return model, [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


@pytest.mark.parametrize(
    ("agent", "kwargs"),
    [
        (WeightMax, {"actor_lambda": 0.8}),
        (MAPProp, {}),
        (Reinforce, {"critic": None, "learning_rate": "lin_0.001"}),
        (NodePerturbation, {"env": "Pendulum-v1", "log_interval": 1}),
        (DecentralizedDDPG, {"env": "Pendulum-v1", "log_interval": 1, "td_source": "neuron"}),
    ],
)
def test_the_log_is_the_same_compiled_and_step_by_step(agent, kwargs, tmp_path) -> None:
    blocks, expected = logged(tmp_path / "blocks", agent, **kwargs)
    steps, seen = logged(tmp_path / "steps", agent, callback=EveryStep(), **kwargs)
    assert blocks.why_step_by_step is None
    assert steps.why_step_by_step is not None
    assert seen == expected
    assert len(seen) >= 3


def test_names_and_values(tmp_path) -> None:
    rates = {"actor_learning_rate": [0.01, 0.02, 0.03], "critic_learning_rate": [0.04, 0.05]}
    model, lines = logged(tmp_path, actor_lambda=0.5, **rates)
    last = lines[-1]
    expected = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "time/episodes", "time/total_timesteps", "train/n_updates"}
    expected |= {"train/td_error", "train/td_error_mean", "train/td_error_std", "train/entropy", "train/learning_rate"}
    expected |= {"activity/actor_0", "activity/actor_1", "activity/critic_0"}
    for name in ("learning_rate", "weight_norm", "trace_norm"):
        expected |= {f"{name}/{layer}" for layer in ("actor_0", "actor_1", "actor_2", "critic_0", "critic_1")}
    assert set(last) == expected
    assert [last[f"learning_rate/actor_{i}"] for i in range(3)] == [0.01, 0.02, 0.03]
    assert last["train/learning_rate"] == 0.03
    assert last["weight_norm/actor_1"] == pytest.approx(np.sqrt((model.policy.actor.weights(1) ** 2).sum()))
    assert 0.0 < last["activity/actor_0"] < 1.0
    assert 0.0 <= last["train/entropy"] <= math.log(2)
    assert last["train/td_error_std"] > 0.0
    n_first = 4 * 8 + 8
    assert last["trace_norm/actor_0"] == pytest.approx(np.linalg.norm(model.actor_learner.traces[0, :n_first]))


def test_td_errors_are_those_of_the_last_steps(tmp_path) -> None:
    class Note(BaseCallback):
        seen: list[float] = []  # noqa: RUF012

        def _on_step(self) -> bool:
            self.seen.append(float(self.model.critic_model.td_errors[0]))
            return True

    _, lines = logged(tmp_path, n=1300, log_interval=10_000, callback=Note())
    (last,) = lines
    errors = np.array(Note.seen[-N_RECENT:])
    assert last["train/td_error_mean"] == pytest.approx(errors.mean())
    assert last["train/td_error_std"] == pytest.approx(errors.std())
    assert last["train/td_error"] == pytest.approx(np.abs(errors).mean())


@pytest.mark.parametrize("sizes", [[3, 5], [1500], [999, 2, 3000], [1]])
def test_errors_of_a_block_are_kept_as_if_they_came_one_by_one(sizes) -> None:
    errors = np.random.default_rng(0).standard_normal((sum(sizes), 2))
    recent = deque(maxlen=N_RECENT)
    for block in np.split(errors, np.cumsum(sizes)[:-1]):
        remember(recent, block)
    np.testing.assert_array_equal(remembered(recent), errors[-N_RECENT:].ravel())


def test_the_logger_holds_what_learning_was_at_its_end() -> None:
    """Where users read it; what was dumped is not there any more."""
    model = WeightMax("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs=SMALL).learn(50)
    values = model.logger.name_to_value
    assert values["train/n_updates"] == 50
    assert not any(name.startswith(("rollout/", "time/")) for name in values)


def test_when_it_is_logged(tmp_path) -> None:
    _, lines = logged(tmp_path, n=3000, log_interval=2)
    steps = [line["time/total_timesteps"] for line in lines]
    assert lines[0]["time/episodes"] == 2  # at once, however short they were
    assert steps[-1] == 3000  # what is left at the end
    assert np.all(np.diff(steps)[:-1] >= 1000)
    assert len(steps) >= 3


@pytest.mark.parametrize("callback", [None, EveryStep()])
def test_something_is_always_logged(callback, tmp_path) -> None:
    model, lines = logged(tmp_path, n=5, log_interval=100, callback=callback)
    assert [line["time/total_timesteps"] for line in lines] == [5]
    model.learn(3, callback=callback, reset_num_timesteps=False)
    model.learn(0, callback=callback, reset_num_timesteps=False)
    model.learn(3, callback=callback, log_interval=None, reset_num_timesteps=False)
    steps = [json.loads(line)["time/total_timesteps"] for line in (tmp_path / "progress.json").read_text().splitlines()]
    assert steps == [5, 8]


def test_the_share_of_successes(tmp_path) -> None:
    _, lines = logged(tmp_path, env=Won(), n=80)
    assert lines[-1]["rollout/success_rate"] == 0.25


def test_entropies() -> None:
    means = np.array([[0.0, 0.2, 0.8], [0.0, 0.5, 0.5]])
    h = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert entropy(Network(1, [Layer("softmax", 2)]), means) == pytest.approx((h + math.log(2)) / 2)
    assert entropy(Network(1, [Layer("bernoulli", 1)]), means[:, :2]) == pytest.approx((h + math.log(2)) / 2)
    groups = np.array([[0.0, 0.2, 0.8, 0.0, 0.5, 0.5, 0.0]])
    categorical = Layer("categorical", 2, levels=(0, 1, 2))
    assert entropy(Network(1, [categorical]), groups) == pytest.approx(h + math.log(2))
    gaussian = np.array([[0.0, 7.0, 9.0, 0.5, 2.0]])
    expected = math.log(2 * math.pi * math.e) + math.log(0.5) + math.log(2.0)
    assert entropy(Network(1, [Layer("gaussian_linear", 2)]), gaussian) == pytest.approx(expected)


def test_wrappers_are_named(capsys) -> None:
    WeightMax("MlpPolicy", gym.make("LunarLander-v3"), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert {"Wrapping the env with a `Monitor` wrapper", "Wrapping the env in a SerialVecEnv."} <= set(lines)
    WeightMax("MlpPolicy", "CartPole-v1", verbose=1)
    assert "Creating environment from the given name 'CartPole-v1'" in capsys.readouterr().out
    WeightMax("MlpPolicy", gym.make("CartPole-v1"))
    assert capsys.readouterr().out == ""


def test_single_layers_are_not_printed(capsys) -> None:
    WeightMax("MlpPolicy", "CartPole-v1", verbose=1, policy_kwargs=SMALL).learn(100)
    printed = capsys.readouterr().out
    assert "td_error_std" in printed
    assert "actor_0" not in printed


def test_runs_in_tensorboard_carry_environment_and_number(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard, the extra of that name, is not installed")
    for env in ("CartPole-v1", "CartPole-v1", "coagent_rl/Corridor-v0", DummyVecEnv([Won])):
        model = Reinforce("MlpPolicy", env, tensorboard_log=str(tmp_path), policy_kwargs=SMALL).learn(10)
    model.learn(10, reset_num_timesteps=False)
    model.learn(10, tb_log_name="own")
    names = [
        "Reinforce_1",
        "Reinforce_CartPole-v1_1",
        "Reinforce_CartPole-v1_2",
        "Reinforce_coagent_rl-Corridor-v0_1",
        "own_1",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
