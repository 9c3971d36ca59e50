"""What becomes of arguments that are assigned to a model that is made."""

import copy
import inspect

import gymnasium as gym
import numpy as np
import pytest

from coagent_rl import DecentralizedDDPG, WeightMax
from coagent_rl.agents.arguments import Argument
from tests.test_agents import SMALL, flat, make


@pytest.mark.parametrize(
    ("name", "value", "how"),
    [
        ("gamma", 0.5, r"load it with WeightMax\.load\(path, gamma=0\.5\), which replaces"),
        ("gamma", 5, r"gamma cannot become 5 in a model that is made: it would change nothing"),
        ("critic_lambda", 0.1, r"load\(path, critic_lambda=0\.1\)"),
        ("norm_order", 1.0, r"load\(path, norm_order=1\.0\)"),
        ("optimizer", "sgd", r"load\(path, optimizer='sgd'\)"),
        ("frozen_layers", "hidden", r"load\(path, frozen_layers='hidden'\)"),
        ("critic", None, r"Make a new model with it: WeightMax\(…, critic=None\)"),
        ("policy_kwargs", {"units": "relu"}, "Make a new model with it"),
    ],
)
def test_what_would_change_nothing_is_refused(name, value, how) -> None:
    model = make()
    before = getattr(model, name)
    with pytest.raises(AttributeError, match=how):
        setattr(model, name, value)
    assert getattr(model, name) is before


def test_every_argument_is_guarded_but_those_that_stable_baselines3_assigns() -> None:
    for kind in (WeightMax, DecentralizedDDPG):
        free = {name for name in inspect.signature(kind).parameters if not isinstance(getattr(kind, name, None), Argument)}
        rates = {name for name in free if name.endswith("learning_rate")}
        others = {"policy", "env", "seed", "verbose", "tensorboard_log", "stats_window_size", "device", "_init_setup_model"}
        assert free == rates | others


def test_what_the_error_says_works(tmp_path) -> None:
    make(gamma=0.9).save(tmp_path / "model")
    loaded = WeightMax.load(tmp_path / "model", env="CartPole-v1", gamma=0.5).learn(100)
    assert loaded.gamma == 0.5
    assert copy.deepcopy(loaded).gamma == 0.5
    np.testing.assert_array_equal(flat(loaded), flat(make(gamma=0.5, env="CartPole-v1").learn(100)))


@pytest.mark.parametrize("is_compiled", [True, False])
def test_what_learning_reads_anew_takes_effect_at_once(is_compiled) -> None:
    def fresh(**kwargs):
        return make(env="CartPole-v1" if is_compiled else gym.make("CartPole-v1"), **kwargs)

    assigned, plain = fresh(), fresh()
    assigned.reward_clip = 0.5
    for model in (assigned, plain):
        model.learn(50)
    np.testing.assert_array_equal(flat(assigned), flat(fresh(reward_clip=0.5).learn(50)))
    assert not np.array_equal(flat(assigned), flat(plain))
    with pytest.raises(ValueError, match="reward_clip must be positive or None, not -1"):
        assigned.reward_clip = -1
    assert assigned.reward_clip == 0.5


def test_replay_is_checked_where_it_is_assigned() -> None:
    model = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", buffer_size=50, learning_starts=5, policy_kwargs=SMALL, seed=0)
    model.learning_starts, model.train_freq, model.gradient_steps = 10, (2, "step"), -1
    model.learn(12)
    assert model._n_updates == 4
    with pytest.raises(ValueError, match=r"learning_starts \(51\) is more than the buffer holds \(50"):
        model.learning_starts = 51
    with pytest.raises(ValueError, match="train_freq must be a whole number"):
        model.train_freq = 0
    assert (model.learning_starts, model.train_freq) == (10, (2, "step"))


def test_a_subclass_may_keep_its_argument_after_the_model_is_made() -> None:
    class Own(WeightMax):
        def __init__(self, policy, env, strength=0.5, **kwargs) -> None:
            super().__init__(policy, env, **kwargs)
            self.strength = strength

    model = Own("MlpPolicy", "CartPole-v1", strength=0.25, policy_kwargs=SMALL)
    assert model.strength == 0.25
    with pytest.raises(AttributeError, match=r"Own\.load\(path, strength=1\)"):
        model.strength = 1
