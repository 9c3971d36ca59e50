"""The agents as Stable-Baselines3 algorithms."""

import copy
import pickle
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from coagent_rl import DecentralizedDDPG, LinearSchedule, MAPProp, WeightMax
from coagent_rl.agents import CoagentPolicy
from coagent_rl.registry import ALGORITHMS, algorithm_class

VARIANTS = [
    partial(WeightMax, trace_form="pipelined"),
    partial(WeightMax, critic="map_prop"),
    partial(MAPProp, critic="td"),
    partial(DecentralizedDDPG, td_source="neuron"),
]
AGENTS = [*(algorithm_class(name) for name in ALGORITHMS), *VARIANTS]
SMALL = {"net_arch": {"pi": [8, 6], "vf": [8]}}


class Scripted(gym.Env):
    """Three-step episodes with observations and rewards from a table; odd episodes are cut, even ones terminate."""

    def __init__(self, observation_space=None, action_space=None, bad_reward_at=None, bad_observation_at=None):
        self.observation_space = observation_space or spaces.Box(-1, 1, (2,))
        self.action_space = action_space or spaces.Discrete(2)
        self.steps = self.episode = 0
        self.huge_reward = False
        self.bad_reward_at, self.bad_observation_at = bad_reward_at, bad_observation_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        self.episode += 1
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        self.clock += 1
        self.steps += 1
        observation = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        if self.steps == self.bad_observation_at:
            observation[1] = np.nan
        reward = float("inf") if self.steps == self.bad_reward_at else 1e22 if self.huge_reward else 1.0
        over = self.clock == 3
        return observation, reward, over and self.episode % 2 == 0, over and self.episode % 2 == 1, {}


def kind(agent) -> type:
    return getattr(agent, "func", agent)


def skip_unless_supported(agent, env: str = "CartPole-v1", n_envs: int = 1) -> None:
    space = gym.make(env).action_space
    if not isinstance(space, kind(agent).supported_action_spaces):
        pytest.skip(f"{kind(agent).__name__} does not take {space} actions")
    if n_envs > 1 and not kind(agent).supports_multi_env:
        pytest.skip(f"{kind(agent).__name__} learns from one environment only")


def make(agent=WeightMax, env="CartPole-v1", **kwargs):
    return agent("MlpPolicy", env, **{"seed": 0, "policy_kwargs": SMALL, **kwargs})


def flat(model) -> np.ndarray:
    """Everything that training changes, as one vector."""
    parts = []
    for state in model.get_parameters().values():
        parts.extend(np.asarray(value, dtype=float).ravel() for value in state.values())
    return np.concatenate([*parts, [model.num_timesteps, model._n_updates, model._episode_num]])


class Steps(BaseCallback):
    """Keep what every step gave."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        parts = (self.locals["actions"], self.locals["rewards"], self.model.critic_model.td_errors)
        self.seen.append(np.concatenate(parts, axis=None).copy())
        return True


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("n_envs", [1, 3])
def test_same_seed_same_result(agent, n_envs) -> None:
    skip_unless_supported(agent, n_envs=n_envs)

    def train(seed):
        return flat(make(agent, make_vec_env("CartPole-v1", n_envs, seed=seed), seed=seed).learn(600))

    first = train(3)
    np.testing.assert_array_equal(train(3), first)
    assert np.any(train(4) != first)


def test_a_seed_is_not_disturbed_by_other_models() -> None:
    alone = make().learn(300)
    first, second = make(), make(seed=9)
    for _ in range(3):  # a hundred steps each, in turn
        first.learn(100, reset_num_timesteps=False)
        second.learn(100, reset_num_timesteps=False)
    np.testing.assert_array_equal(flat(first), flat(alone))


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_training_in_two_calls_equals_training_in_one(agent, env) -> None:
    skip_unless_supported(agent, env)
    schedule = LinearSchedule(1e-2, 1e-3, 600)
    whole = make(agent, env, actor_learning_rate=schedule, critic_learning_rate=schedule).learn(700)
    parts = make(agent, env, actor_learning_rate=schedule, critic_learning_rate=schedule).learn(333)
    parts.learn(367, reset_num_timesteps=False)
    np.testing.assert_array_equal(flat(parts), flat(whole))


@pytest.mark.parametrize(
    ("agent", "optimizer"), [*((agent, "adam") for agent in AGENTS), (WeightMax, "rmsprop"), (DecentralizedDDPG, "rmsprop")]
)
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_resumed_training_equals_uninterrupted_training(agent, env, optimizer, tmp_path) -> None:
    """In the middle of an episode, of a noise block and of a schedule, with a normaliser."""
    skip_unless_supported(agent, env)
    n_envs = 2 if kind(agent).supports_multi_env else 1

    def environment():
        return VecNormalize(make_vec_env(env, n_envs, seed=1))

    kwargs = {
        "actor_learning_rate": LinearSchedule(1e-3, 1e-4, 900),
        "critic_learning_rate": 1e-3,
        "optimizer": optimizer,
    }
    if kind(agent).actor_has_traces:
        kwargs["actor_lambda"] = 0.8
    whole = make(agent, environment(), **kwargs)
    expected = Steps()
    whole.learn(502)
    whole.learn(400, callback=expected, reset_num_timesteps=False)

    first = make(agent, environment(), **kwargs).learn(502)
    first.save(tmp_path / "model")
    resumed = kind(agent).load(tmp_path / "model", env=first.get_env(), force_reset=False)
    seen = Steps()
    resumed.learn(400, callback=seen, reset_num_timesteps=False)
    np.testing.assert_array_equal(seen.seen, expected.seen)
    np.testing.assert_array_equal(flat(resumed), flat(whole))


def test_loading_for_another_number_of_environments() -> None:
    model = make(env=make_vec_env("CartPole-v1", 2)).learn(100)
    import io

    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    other = WeightMax.load(file, env=make_vec_env("CartPole-v1", 3))
    assert other.critic_learner.traces.shape[0] == 3
    other.learn(90, reset_num_timesteps=False)
    assert other.num_timesteps == 190


def test_evaluation_does_not_change_training(tmp_path) -> None:
    plain = make().learn(600)
    watched = make()
    watched.learn(600, callback=EvalCallback(gym.make("CartPole-v1"), eval_freq=100, n_eval_episodes=2, verbose=0))
    watched.predict(np.zeros(4), deterministic=False)
    np.testing.assert_array_equal(flat(watched), flat(plain))


def test_callbacks_logger_and_progress_bar(tmp_path) -> None:
    env = gym.make("CartPole-v1")
    stop = StopTrainingOnRewardThreshold(reward_threshold=5.0)
    callbacks = [
        CheckpointCallback(50, str(tmp_path), "model"),
        EvalCallback(env, callback_on_new_best=stop, eval_freq=120, n_eval_episodes=1, verbose=0),
    ]
    model = make(tensorboard_log=str(tmp_path / "tb")).learn(1000, callback=callbacks, progress_bar=True)
    assert model.num_timesteps == 120
    assert (tmp_path / "model_100_steps.zip").exists()
    assert WeightMax.load(tmp_path / "model_100_steps").num_timesteps == 100
    model.learn(5000, callback=StopTrainingOnMaxEpisodes(7))
    assert model._episode_num == 7
    model.learn(50, log_interval=None)


def test_the_loop_reports_what_callbacks_of_stable_baselines3_read() -> None:
    names = {"self", "total_timesteps", "dones", "infos", "rewards", "new_obs", "actions"}

    class Look(BaseCallback):
        def _on_step(self):
            assert names <= set(self.locals)
            return np.bool_(self.n_calls < 5)

    assert make().learn(100, callback=Look()).num_timesteps == 5


def test_vec_normalize_and_evaluate_policy() -> None:
    model = make(env=VecNormalize(make_vec_env("CartPole-v1", 2))).learn(200)
    assert model.get_vec_normalize_env() is model.get_env()
    mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=2)
    assert mean > 0


def test_parameters_share_their_memory_with_the_kernels() -> None:
    model = make()
    parameters = dict(model.policy.named_parameters())
    assert not any(p.requires_grad for p in parameters.values())
    assert set(parameters) >= {"actor_layers.0.weight", "actor_layers.2.bias", "value_layers.1.weight"}
    with th.no_grad():
        parameters["actor_layers.0.weight"].fill_(0.25)
    assert np.all(model.policy.actor.weights(0) == 0.25)
    other = make(seed=1)
    other.set_parameters(model.get_parameters())
    np.testing.assert_array_equal(flat(other), flat(model))
    with pytest.raises((ValueError, RuntimeError)):
        other.set_parameters({"policy": {}})


def test_copies_and_vectors_reach_the_kernels() -> None:
    policy = make().policy
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    twin = copy.deepcopy(policy)
    np.testing.assert_array_equal(twin.act(x), policy.act(x))
    twin.load_from_vector(np.zeros_like(policy.parameters_to_vector()))
    assert np.all(twin.actor.parameters == 0)
    assert np.any(policy.actor.parameters != 0)
    with pytest.raises(ValueError, match="must have shape"):
        twin.load_from_vector(np.zeros(3))


@pytest.mark.parametrize("agent", [*AGENTS, partial(DecentralizedDDPG, buffer_size=200, learning_starts=20)])
def test_a_copy_learns_what_the_model_learns(agent) -> None:
    model = make(agent).learn(60)
    twin = copy.deepcopy(model)
    before = flat(twin)
    model.learn(60, reset_num_timesteps=False)
    np.testing.assert_array_equal(flat(twin), before)  # nothing is shared
    twin.learn(60, reset_num_timesteps=False)
    np.testing.assert_array_equal(flat(twin), flat(model))


def test_a_pickled_policy_shares_its_memory_with_the_kernels() -> None:
    policy = pickle.loads(pickle.dumps(make().policy))
    policy.load_state_dict({name: tensor * 0 for name, tensor in policy.state_dict().items()})
    assert np.all(policy.actor.parameters == 0)


def test_rollout_hooks_are_called() -> None:
    class Count(BaseCallback):
        calls: list[str] = []  # noqa: RUF012

        def _on_rollout_start(self):
            self.calls.append("start")

        def _on_rollout_end(self):
            self.calls.append("end")

        def _on_step(self):
            return True

    make().learn(20, callback=Count())
    assert Count.calls == ["start", "end"]


def test_saved_models_are_small(tmp_path) -> None:
    make().learn(100).save(tmp_path / "model")
    assert (tmp_path / "model.zip").stat().st_size < 60_000


def test_divergence_is_an_error() -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="parameters of the critic have diverged"):
        make(optimizer="sgd", critic_learning_rate=1e30).learn(400)


def test_divergence_of_the_actor_is_an_error() -> None:
    model = make(env="Pendulum-v1", optimizer="sgd", actor_learning_rate=1.0)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"its (signals or )?parameters have diverged"):
        model.learn(400)
    assert model.is_finite()  # it was noticed before anything was learned from it


def test_a_model_without_environment_cannot_learn(tmp_path) -> None:
    make().save(tmp_path / "model")
    with pytest.raises(ValueError, match="no environment to learn from"):
        WeightMax.load(tmp_path / "model").learn(10)
    with pytest.raises(ValueError, match="total_timesteps must be a number, not nan"):
        make().learn(float("nan"))


@pytest.mark.parametrize("start", [0, 3, -1])
def test_discrete_observations_may_start_anywhere(start) -> None:
    policy = CoagentPolicy(spaces.Discrete(3, start=start), spaces.Discrete(2))
    np.testing.assert_array_equal(policy.encode(np.array([start, start + 2])), [[1, 0, 0], [0, 0, 1]])


def test_policy_can_be_saved_alone(tmp_path) -> None:
    model = make().learn(50)
    model.policy.save(tmp_path / "policy.pth")
    policy = CoagentPolicy.load(tmp_path / "policy.pth")
    for name, value in policy.state_dict().items():
        np.testing.assert_array_equal(value, model.policy.state_dict()[name])


@pytest.mark.parametrize("mode", ["marginal", "hashed", "most_likely", "mean", "sample_hidden"])
def test_deterministic_modes(mode) -> None:
    model = make(policy_kwargs={**SMALL, "deterministic_mode": mode})
    x = np.random.default_rng(0).standard_normal((400, 4))
    first, second = (model.predict(x, deterministic=True)[0] for _ in range(2))
    assert first.shape == (400,)
    assert np.array_equal(first, second) == (mode != "sample_hidden")
    assert np.any(model.predict(x)[0] != model.predict(x)[0])


def test_predict_shapes_and_bounds() -> None:
    model = make(env="Pendulum-v1", policy_kwargs={**SMALL, "variance": 2500.0})
    action, _ = model.predict(np.zeros(3))
    assert action.shape == (1,)
    actions, _ = model.predict(np.zeros((20, 3)))
    assert actions.shape == (20, 1)
    assert np.abs(actions).max() == 2.0
    assert make().predict(np.zeros(4))[0].shape == ()


def test_loaded_model_predicts_the_same(tmp_path) -> None:
    model = make().learn(100)
    model.save(tmp_path / "model.zip")
    loaded = WeightMax.load(tmp_path / "model.zip")
    model.policy.seed_predictions(4)
    loaded.policy.seed_predictions(4)
    x = np.random.default_rng(0).standard_normal((50, 4))
    np.testing.assert_array_equal(model.predict(x)[0], loaded.predict(x)[0])


def test_discrete_observations_and_other_options() -> None:
    for kwargs in (
        {"critic": None},
        {"truncation": "zero_td_error", "frozen_layers": "hidden"},
        {"policy_kwargs": {"net_arch": [4], "output_units": "softmax", "units": "gaussian_softplus"}},
        {"policy_kwargs": {"net_arch": []}},
    ):
        before = make(env="CliffWalking-v1", **kwargs)
        after = make(env="CliffWalking-v1", **kwargs).learn(200)
        assert np.all(np.isfinite(flat(after)))
        assert np.any(before.policy.parameters_to_vector() != after.policy.parameters_to_vector())


@pytest.mark.parametrize("truncation", ["bootstrap", "zero_td_error"])
def test_ends_of_episodes(truncation) -> None:
    """TD errors at the end of a cut and of a terminated episode, from the values of the moment."""

    class Check(BaseCallback):
        checked = 0

        def _on_step(self):
            if self.locals["dones"][0]:
                self.checked += 1
                critic, before = self.model.critic_model, Check.before
                terminal = self.locals["infos"][0]["terminal_observation"]
                δ = 1.0 - before(self.model, Check.last)
                if self.locals["infos"][0]["TimeLimit.truncated"]:
                    δ = 0.0 if truncation == "zero_td_error" else δ + 0.9 * before(self.model, terminal)
                assert critic.td_errors[0] == pytest.approx(δ, abs=1e-6)
            Check.last = self.locals["new_obs"][0]
            return True

        @staticmethod
        def before(model, x):
            return float(model.policy.predict_values(th.as_tensor(x[None]))[0, 0])

    check = Check()
    Check.last = np.zeros(2, np.float32)
    # Learning rates of zero: the values before and after the step are the same.
    make(env=Scripted(), gamma=0.9, actor_learning_rate=0.0, critic_learning_rate=0.0, truncation=truncation).learn(
        60, callback=check
    )
    assert check.checked == 20
