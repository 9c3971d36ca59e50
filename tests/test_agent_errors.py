"""What is refused, or noticed where it arises: numbers that are not finite, wrong arguments, foreign files."""

import json
import zipfile

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

from coagent_rl import DecentralizedDDPG, Reinforce, WeightMax
from coagent_rl.agents import CoagentPolicy
from tests.test_agents import SMALL, Scripted, flat, make


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bad_reward_at": 100}, "The reward of environment 0 is not finite at time step 99: inf"),
        ({"bad_observation_at": 100}, "The observation of environment 0 is not finite at time step 99"),
    ],
)
@pytest.mark.parametrize("critic", ["td", None])
def test_nan_is_an_error_before_anything_is_learned_from_it(kwargs, message, critic) -> None:
    reference = make(env=Scripted(), critic=critic).learn(99)
    model = make(env=Scripted(**kwargs), critic=critic)
    with pytest.raises(ValueError, match=message):
        model.learn(200)
    np.testing.assert_array_equal(flat(model), flat(reference))


@pytest.mark.parametrize(
    ("observation_space", "action_space", "message"),
    [
        (spaces.Box(0, 255, (36, 36, 3), np.uint8), None, "it is an image, and the networks have no convolutions"),
        (spaces.Dict(a=spaces.Box(0, 255, (3, 36, 36), np.uint8)), None, "it is an image"),
        (spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2))), None, "must not hold Dicts or Tuples"),
        (spaces.Text(3), None, "FlattenObservation"),
        (None, spaces.Dict(a=spaces.Discrete(2)), "it must be Discrete, MultiDiscrete, MultiBinary or a Box"),
        (None, spaces.Box(-1, 1, (2, 0)), "it is empty"),
        (None, spaces.Box(-np.inf, np.inf, (2,)), "bounds of a Box of actions must be finite"),
        (None, spaces.Box(0, 10, (2,), np.int64), "actions must be floats, not int64"),
    ],
)
def test_unsupported_spaces(observation_space, action_space, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(env=Scripted(observation_space, action_space))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"actor_learning_rate": [0.1, 0.1]}, r"actor_learning_rate: 2 values .* for 3 layers"),
        ({"critic_learning_rate": [0.1] * 4}, r"critic_learning_rate: 4 values .* for 2 layers"),
        ({"gamma": 1.5}, r"gamma must lie in \[0, 1\], not 1.5"),
        ({"actor_lambda": -0.1}, "actor_lambda"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": "hot"}, "temperature must be a number, not 'hot'"),
        ({"gamma": "high"}, "gamma must be a number, not 'high'"),
        ({"frozen_layers": 1}, "frozen_layers must be 'hidden' or indices"),
        ({"env": None}, "env is None"),
        ({"critic": "mc"}, "critic must be one of"),
        ({"optimizer": "adamw"}, "Unknown optimizer 'adamw'"),
        ({"truncation": "cut"}, "truncation must be one of"),
        ({"weight_decay": -1.0}, "weight_decay must be finite and not negative"),
        ({"weight_decay": np.inf}, "weight_decay must be finite and not negative"),
        ({"optimizer": ["adam"]}, "Unknown optimizer"),
        ({"stats_window_size": "abc"}, "stats_window_size must be a whole number"),
        ({"frozen_layers": [True]}, "frozen_layers must be 'hidden' or indices"),
        ({"critic_kwargs": "x"}, "critic_kwargs must be a dictionary"),
        ({"actor_learning_rate": {"start": 1e-2, "end": 1e-3, "steps": "x"}}, "positive number of environment steps"),
        ({"policy_kwargs": 3}, "policy_kwargs must be a dictionary"),
        ({"policy_kwargs": {"net_arch": 3}}, "positive integers"),
        ({"policy_kwargs": {"exploration_probability": 7}}, r"exploration_probability must lie in \(0, 1\], not 7"),
        ({"norm_order": 0.5}, "norm_order .* at least 1"),
        ({"frozen_layers": [3]}, "frozen_layers must be 'hidden' or indices"),
        ({"frozen_layers": "all"}, "frozen_layers must be 'hidden' or indices"),
        ({"policy_kwargs": {"net_arch": {"qf": [4]}}}, "keys 'pi' and 'vf', not .'qf'"),
        ({"policy_kwargs": {"net_arch": [0]}}, "positive integers"),
        ({"policy_kwargs": {"unit": "bernoulli"}}, "unit"),
        ({"policy_kwargs": {"units": "bernouli"}}, "Unknown kind of units"),
        ({"policy_kwargs": {"output_units": "bernoulli"}}, "softmax"),
        ({"policy_kwargs": {"critic_units": "bernoulli"}}, "critic_units must be deterministic"),
        ({"policy_kwargs": {"deterministic_mode": "greedy"}}, "deterministic_mode must be one of"),
        ({"seed": "0"}, r"seed must be None or a whole number from 0 to 2\*\*32 - 1, not '0'"),
        ({"seed": 1.5}, "seed must be .*, not 1.5"),
        ({"seed": -1}, "seed must be .*, not -1"),
        ({"seed": True}, "seed must be .*, not True"),
        ({"verbose": "1"}, "verbose must be a whole number from 0, not '1'"),
        ({"tensorboard_log": 3}, "tensorboard_log must be a folder's path or None, not 3"),
        ({"env": 3}, "env must be an environment, its id, or a vectorised environment, not 3"),
        ({"policy_kwargs": {"units": 3}}, "units must be the name of a kind of units, or one for each hidden layer, not 3"),
        ({"policy_kwargs": {"variance": -1}}, "variance must be a positive number, .*, not -1"),
        ({"policy_kwargs": {"critic_variance": 0}}, "critic_variance must be a positive number, .*, not 0"),
        ({"policy_kwargs": {"learned_deviation": "no"}}, "learned_deviation must be True or False, not 'no'"),
        ({"policy_kwargs": {"has_critic": False}}, "has_critic=False does not go with critic='td'"),
        ({"policy_kwargs": {"has_critic": True}, "critic": None}, "has_critic=True does not go with critic=None"),
        ({"learning_rate": True}, "learning_rate must be a number, .*, not True"),
        ({"learning_rate": [True, 0.1, 0.1]}, r"\[True, 0.1, 0.1\] is neither a number nor a list of numbers"),
        ({"learning_rate": [[1, 2, 3]]}, r"\[\[1, 2, 3\]\] is neither a number nor a list of numbers"),
        ({"agent": DecentralizedDDPG, "policy_kwargs": {"units": 3}}, "trains Gaussian units .*, not 3"),
    ],
)
def test_wrong_arguments(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_seeds_are_checked_wherever_they_are_given(tmp_path) -> None:
    model = make(seed=np.int64(3), tensorboard_log=tmp_path, verbose=True)
    assert (model.seed, model.tensorboard_log, model.verbose) == (3, str(tmp_path), 1)
    model.save(tmp_path / "model")
    assert WeightMax.load(tmp_path / "model").seed == 3
    for refused in (
        lambda: WeightMax.tuned("CartPole-v1", seed="0"),
        lambda: model.set_random_seed("0"),
        lambda: WeightMax.load(tmp_path / "model", seed="0"),
    ):
        with pytest.raises(ValueError, match=r"^seed must be .*, not '0'"):
            refused()


def test_an_unknown_argument_names_the_agent_and_what_comes_near() -> None:
    with pytest.raises(TypeError, match=r"^WeightMax has no argument 'gama'\. Did you mean gamma\?$"):
        WeightMax("MlpPolicy", "CartPole-v1", gama=0.9)
    with pytest.raises(TypeError, match=r"^WeightMax has no argument 'norm_ordr'\. Did you mean norm_order"):
        WeightMax("MlpPolicy", "CartPole-v1", norm_ordr=2.0)
    with pytest.raises(TypeError, match=r"'zzz'\. help\(WeightMax\) lists all\.$"):
        WeightMax("MlpPolicy", "CartPole-v1", zzz=1)


@pytest.mark.parametrize("name", ["firing_rate", "deterministic_mode", "noise_persistence", "units", "net_arch"])
def test_an_argument_of_the_policy_is_sent_there(name) -> None:
    with pytest.raises(
        TypeError, match=rf"no argument '{name}'. It belongs in policy_kwargs: policy_kwargs=dict\({name}=0\.5\)"
    ):
        WeightMax("MlpPolicy", "CartPole-v1", **{name: 0.5})


def test_an_argument_that_the_agent_gives_the_policy_is_not_sent_there() -> None:
    with pytest.raises(TypeError, match=r"no argument 'has_critic'\. Did you mean critic\?$"):
        WeightMax("MlpPolicy", "CartPole-v1", has_critic=False)


def test_load_takes_arguments_and_saved_attributes_only(tmp_path) -> None:
    make().save(tmp_path / "model")
    with pytest.raises(TypeError, match=r"^WeightMax has no argument 'gama'\. Did you mean gamma\?$"):
        WeightMax.load(tmp_path / "model", gama=0.9)
    BaseAlgorithm.save(make(), tmp_path / "older", exclude=["noise"])
    with pytest.raises(TypeError, match="no argument 'gama'"):
        WeightMax.load(tmp_path / "older", trust=True, gama=0.9)
    logs = {"verbose": 0, "seed": 3, "tensorboard_log": None, "device": "cpu", "custom_objects": {"zzz": 1}}
    loaded = WeightMax.load(tmp_path / "model", env="CartPole-v1", force_reset=True, num_timesteps=7, **logs)
    assert (loaded.num_timesteps, loaded.seed) == (7, 3)


def test_foreign_files_are_refused(tmp_path) -> None:
    A2C("MlpPolicy", "CartPole-v1").save(tmp_path / "a2c")
    make(Reinforce).save(tmp_path / "reinforce")
    (tmp_path / "text.zip").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", json.dumps([1]))
    for name, message in (
        ("a2c", "a model of another library, not of WeightMax"),
        ("reinforce", "a model of Reinforce, not of WeightMax"),
        ("text", "is not a saved model"),
        ("other", "a model of another library"),
    ):
        with pytest.raises(ValueError, match=message):
            WeightMax.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="There is no model at"):
        WeightMax.load(tmp_path / "nothing")
    make().save(tmp_path / "model")
    with pytest.raises(ValueError, match="cannot be read, or are of another network"):
        WeightMax.load(tmp_path / "model", critic=None)


def test_a_failed_save_leaves_the_old_file(tmp_path) -> None:
    model = make()
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()
    model.unpicklable = (x for x in ())
    with pytest.raises(Exception, match="pickle"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_several_environments_average_their_updates() -> None:
    """The direction of a step is the mean over environments of trace times TD error."""
    env = DummyVecEnv([Scripted, Scripted])
    model = make(env=env, actor_learning_rate=0.0, critic_learning_rate=0.01, optimizer="sgd")
    model.learn(2)
    memory = model.critic_learner.memory[0]
    traces, δ = model.critic_learner.traces, model.critic_model.td_errors
    np.testing.assert_allclose(memory, (traces * δ[:, None]).mean(axis=0), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("units", ["bernoulli", "softplus", "tanh", "relu", "sigmoid", "gaussian_softplus"])
@pytest.mark.parametrize("network", ["actor", "critic"])
def test_diverged_parameters_are_noticed(units, network) -> None:
    """A comparison with NaN is false: no limit may swallow it."""
    model = make(Reinforce, policy_kwargs={**SMALL, "units": units, "critic_units": "softplus"})
    getattr(model.policy, network).weights(0)[0, :] = np.nan
    before = model.policy.actor.weights(1).copy()
    with pytest.raises(ValueError, match="diverged"):
        model.learn(50)
    np.testing.assert_array_equal(model.policy.actor.weights(1), before)


@pytest.mark.parametrize("critic", ["td", "map_prop", None])
@pytest.mark.parametrize("actor_lambda", [0.0, 0.8])
def test_a_reward_that_would_stop_learning_for_good_is_an_error(critic, actor_lambda) -> None:
    """Adam's second moments would be infinite and the parameters never move again."""
    model = make(env=Scripted(), critic=critic, actor_lambda=actor_lambda).learn(30)
    model.env.envs[0].unwrapped.huge_reward = True
    before = model.policy.parameters_to_vector()
    with pytest.raises(ValueError, match=r"the rewards were \[1.e\+22\]"):
        model.learn(30, reset_num_timesteps=False)
    np.testing.assert_array_equal(model.policy.parameters_to_vector(), before)


def test_models_that_have_diverged_are_neither_saved_nor_loaded(tmp_path) -> None:
    model = make()
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()
    model.policy.actor.weights(0)[0, 0] = np.inf
    with pytest.raises(ValueError, match="not all finite"):
        model.save(tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == before
    model.is_finite = lambda: True
    model.save(tmp_path / "diverged", exclude=["is_finite"])
    with pytest.raises(ValueError, match="not all finite"):
        WeightMax.load(tmp_path / "diverged")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (None, "policy must be one of .'MlpPolicy', 'MultiInputPolicy'.*not None"),
        ("CnnPolicy", "not 'CnnPolicy': .* no images"),
        ("MlpLstmPolicy", "not 'MlpLstmPolicy'"),
        (A2C, "a subclass of Coagent"),
    ],
)
def test_unknown_policies(policy, message) -> None:
    with pytest.raises(ValueError, match=message):
        WeightMax(policy, "CartPole-v1")


def test_another_device_is_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="runs on the CPU; device='cuda'"):
        make(device="cuda")


def test_units_per_layer() -> None:
    model = make(Reinforce, policy_kwargs={**SMALL, "units": ["relu", "bernoulli"]})
    assert [layer.kind for layer in model.policy.actor.layers] == ["relu", "bernoulli", "softmax_reference"]
    with pytest.raises(ValueError, match=r"2 kinds were given .* for 1 hidden layers"):
        make(Reinforce, policy_kwargs={"net_arch": [4], "units": ["relu", "bernoulli"]})
    with pytest.raises(ValueError, match="not 'relu' ones; possible are bernoulli"):
        make(policy_kwargs={**SMALL, "units": ["relu", "bernoulli"]})


def test_observations_of_another_shape_are_an_error(tmp_path) -> None:
    class Grows(DummyVecEnv):
        def step_wait(self):
            observations, *others = super().step_wait()
            return np.hstack([observations, observations]), *others

    with pytest.raises(ValueError, match=r"Observations of shape \(1, 4\) were given where 1 of the space Box"):
        make(env=Grows([Scripted])).learn(10)
    make(env=make_vec_env("CartPole-v1", 3)).learn(9).save(tmp_path / "model")
    fewer = WeightMax.load(tmp_path / "model", env="CartPole-v1", force_reset=False)
    with pytest.raises(ValueError, match=r"shape \(3, 4\) were given where 1"):
        fewer.learn(10, reset_num_timesteps=False)


@pytest.mark.parametrize("state", [-1, 3])
def test_states_outside_the_space_are_an_error(state) -> None:
    with pytest.raises(ValueError, match=rf"\[{state}\] are not all in Discrete\(3\)"):
        CoagentPolicy(spaces.Discrete(3), spaces.Discrete(2)).predict(np.array(state))
