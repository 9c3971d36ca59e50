"""How often, and how much, is learned from replayed transitions."""

import io

import numpy as np
import pytest
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

from coagent_rl import DecentralizedDDPG
from coagent_rl.arrays import N_UPDATES


def make(n_envs=1, **kwargs):
    env = make_vec_env("Pendulum-v1", n_envs, seed=0)
    own = {"buffer_size": 2000, "batch_size": 8, "learning_starts": 10, "policy_kwargs": {"net_arch": [4]}}
    return DecentralizedDDPG("MlpPolicy", env, seed=0, **{**own, **kwargs})


def updates(model) -> int:
    return int(model.neuron_critics.counters[N_UPDATES])


@pytest.mark.parametrize("pair", [(5, "step"), [5, "step"]])
def test_a_number_of_steps_in_two_ways(pair) -> None:
    number, paired = make(train_freq=5).learn(60), make(train_freq=pair).learn(60)
    np.testing.assert_array_equal(number.policy.parameters_to_vector(), paired.policy.parameters_to_vector())
    assert updates(paired) == 11  # at the steps 10, 15, … 60


@pytest.mark.parametrize(("n_envs", "train_freq"), [(1, 1), (1, 7), (2, 5)])
def test_as_many_gradient_steps_as_there_were_transitions(n_envs, train_freq) -> None:
    model = make(n_envs, train_freq=train_freq, gradient_steps=-1, learning_starts=0).learn(140)
    assert updates(model) == 140


def test_after_whole_episodes() -> None:
    """They are of 200 steps."""
    for train_freq, steps, expected in (((1, "episode"), 199, 0), ((1, "episode"), 400, 400), ((2, "episode"), 500, 400)):
        assert updates(make(train_freq=train_freq, gradient_steps=-1).learn(steps)) == expected
    assert updates(make(train_freq=(1, "episode"), gradient_steps=3).learn(450)) == 6
    assert updates(make(train_freq=(1, "episode"), learning_starts=300).learn(450)) == 1


def test_training_after_episodes_can_be_resumed(tmp_path) -> None:
    kwargs = {"train_freq": (2, "episode"), "gradient_steps": -1}
    whole, first = make(**kwargs).learn(450), make(**kwargs).learn(250)
    first.save(tmp_path / "model")
    first.save_replay_buffer(tmp_path / "buffer")
    resumed = DecentralizedDDPG.load(tmp_path / "model", env=first.get_env(), force_reset=False)
    resumed.load_replay_buffer(tmp_path / "buffer")
    resumed.learn(200, reset_num_timesteps=False)
    assert updates(resumed) == 400
    np.testing.assert_array_equal(resumed.policy.parameters_to_vector(), whole.policy.parameters_to_vector())


def test_a_buffer_travels_through_an_open_file_into_a_model_that_gave_its_own_away() -> None:
    model, file = make().learn(60), io.BytesIO()
    rewards = model.replay_buffer.rewards[:60].copy()
    model.save_replay_buffer(file)
    file.seek(0)
    model.replay_buffer = None
    with pytest.raises(ValueError, match="replay_buffer was set to None"):
        model.save_replay_buffer(io.BytesIO())
    model.load_replay_buffer(file)
    assert model.replay_buffer.n_transitions == 60
    np.testing.assert_array_equal(model.replay_buffer.rewards[:60], rewards)


def test_the_buffer_is_one_of_stable_baselines3s() -> None:
    """Its arrays, `sample` and `extend`; what the neurons did is in the place of the action."""
    model = make(2).learn(60)
    buffer = model.replay_buffer
    assert isinstance(buffer, ReplayBuffer)
    assert buffer.observations[:30].any(axis=(1, 2)).all()
    assert buffer.sample(5).actions.shape == (5, sum(layer.n_values for layer in model.policy.actor.layers))
    infos = [[{"TimeLimit.truncated": False}] * 2] * 10
    parts = (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards, buffer.dones)
    buffer.extend(*(part[:10] for part in parts), infos)
    assert buffer.n_transitions == 80
    np.testing.assert_array_equal(buffer.rewards[30:40], buffer.rewards[:10])


def test_the_steps_of_train_freq_are_finished() -> None:
    """As in Stable-Baselines3, where no part of a rollout is without its gradient steps; the logger counts these."""
    model = make(2, train_freq=3, gradient_steps=-1, learning_starts=0).learn(3)
    assert (model.num_timesteps, updates(model)) == (6, 6)
    assert model.logger.name_to_value["train/n_updates"] == 6
    model.learn(6, reset_num_timesteps=False)
    assert (model.num_timesteps, updates(model)) == (12, 12)
    assert make(train_freq=(2, "episode")).learn(30).num_timesteps == 30


@pytest.mark.parametrize(
    "train_freq", ["4", ("1", "episode"), "often", (1, "close"), (0, "step"), (1.5, "step"), 0, True, (1,)]
)
def test_wrong_frequencies(train_freq) -> None:
    with pytest.raises(ValueError, match="train_freq must be a whole number from 1, or a pair"):
        make(train_freq=train_freq)


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError, match="counts episodes of one environment, but there are 2"):
        make(2, train_freq=(1, "episode"))
    for number in (0, -2):
        with pytest.raises(ValueError, match="gradient_steps must be a whole number from 1, or -1"):
            make(gradient_steps=number)
