"""Observations and actions of all spaces that Stable-Baselines3's dense policies take."""

import itertools
import math
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from coagent_rl import DecentralizedDDPG, MAPProp, NodePerturbation, Reinforce, WeightMax
from coagent_rl.agents import CoagentPolicy
from coagent_rl.agents.noisy import BoundedPolicy
from coagent_rl.agents.spaces import FORBIDDEN, encode, observation_size
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import local_scores
from coagent_rl.registry import ALGORITHMS, algorithm_class
from coagent_rl.schedules import constant_schedule

SMALL = {"net_arch": {"pi": [8], "vf": [8]}}
BOX = spaces.Box(-1, 1, (2,))
OBSERVATIONS = {
    "Box": spaces.Box(-1, 1, (2, 3), np.float64),
    "Discrete": spaces.Discrete(3, start=-1),
    "MultiDiscrete": spaces.MultiDiscrete([4, 2, 3]),
    "MultiDiscrete from": spaces.MultiDiscrete([4, 2], start=[1, -2]),
    "MultiBinary": spaces.MultiBinary((3, 2)),
    "Dict": spaces.Dict(b=BOX, a=spaces.Discrete(3), c=spaces.MultiBinary(2), d=spaces.MultiDiscrete([2, 3])),
}
ACTIONS = {
    "single": spaces.Discrete(1),
    "from 3": spaces.Discrete(4, start=3),
    "matrix": spaces.Box(np.array([[-1, 0], [2, -3]]), np.array([[1, 5], [4, 3]]), dtype=np.float32),
    "number": spaces.Box(-2, 3, (), np.float64),
    "MultiDiscrete": spaces.MultiDiscrete([3, 1, 4]),
    "MultiDiscrete from": spaces.MultiDiscrete([2, 3], start=[-1, 5]),
    "groups in a matrix": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "MultiBinary": spaces.MultiBinary(3),
    "bits in a matrix": spaces.MultiBinary([2, 2]),
}


class Target(gym.Env):
    """The reward is how near an action is to one that the observation alone does not tell; the space checks it."""

    def __init__(self, observation_space=BOX, action_space=ACTIONS["MultiBinary"]):
        self.observation_space, self.action_space = observation_space, action_space
        self.observation_space.seed(0)
        self.target = np.ones(action_space.shape)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), (action, self.action_space)
        self.clock += 1
        reward = -float(np.mean(np.abs(np.asarray(action, float) - self.target)))
        return self.observation_space.sample(), reward, self.clock % 7 == 0, self.clock % 5 == 0, {}


@pytest.mark.parametrize("name", [name for name in OBSERVATIONS if name != "MultiDiscrete from"])
def test_observations_are_encoded_as_by_stable_baselines3(name) -> None:
    space = OBSERVATIONS[name]
    space.seed(3)
    samples = [space.sample() for _ in range(5)]

    def one(space, samples):
        batch = th.as_tensor(np.stack(samples)) - (space.start if isinstance(space, spaces.Discrete) else 0)
        return preprocess_obs(batch, space, normalize_images=False).reshape(5, -1).numpy()

    if isinstance(space, spaces.Dict):
        batch = {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
        expected = np.concatenate([one(space[key], [s[key] for s in samples]) for key in space.spaces], axis=1)
    else:
        batch, expected = np.stack(samples), one(space, samples)
        assert observation_size(space) == get_flattened_obs_dim(space)
    inputs = encode(space, batch)
    assert inputs.dtype == np.float32
    assert inputs.shape == (5, observation_size(space))
    np.testing.assert_array_equal(inputs, expected.astype(np.float32))


def test_levels_are_counted_from_their_start() -> None:
    given = np.array([[1, -2], [4, -1]])
    expected = [[1, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 1]]
    np.testing.assert_array_equal(encode(OBSERVATIONS["MultiDiscrete from"], given), expected)


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("agent", [WeightMax, DecentralizedDDPG])
def test_training_saving_and_predicting(observation, agent, tmp_path) -> None:
    space = OBSERVATIONS[observation]
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    env = DummyVecEnv([lambda: Target(space)] * 2)
    model = agent(policy, env, seed=0, policy_kwargs=SMALL).learn(60)
    model.save(tmp_path / "model")
    loaded = agent.load(tmp_path / "model", env=env)
    batch, one = env.reset(), space.sample()
    for model_ in (model, loaded):
        model_.policy.seed_predictions(1)
    first, second = model.predict(batch)[0], loaded.predict(batch)[0]
    np.testing.assert_array_equal(first, second)
    assert first.shape == (2, 3)
    assert env.action_space.contains(model.predict(one, deterministic=True)[0])
    loaded.learn(60)
    assert np.isfinite(loaded.policy.parameters_to_vector()).all()


def test_terminal_observations_of_dicts() -> None:
    env = VecNormalize(DummyVecEnv([lambda: Target(spaces.Dict(a=BOX, b=spaces.Box(0, 9, (1,))))]))
    model = Reinforce("MultiInputPolicy", env, seed=0, policy_kwargs=SMALL).learn(50)
    assert model._episode_num == 10


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_agent_gives_actions_of_the_space(name, action) -> None:
    """The environment refuses others."""
    space = ACTIONS[action]
    agent = algorithm_class(name)
    env = DummyVecEnv([lambda: Target(action_space=space)] * (2 if agent.supports_multi_env else 1))
    model = agent("MlpPolicy", env, seed=0, policy_kwargs=SMALL)
    before = model.policy.parameters_to_vector()
    model.learn(40)
    after = model.policy.parameters_to_vector()
    assert np.isfinite(after).all()
    assert np.any(after != before)
    for deterministic in (False, True):
        actions = model.predict(env.reset(), deterministic=deterministic)[0]
        assert actions.dtype == space.dtype
        assert all(space.contains(action) for action in actions)
        one = model.predict(np.zeros(2, np.float32), deterministic=deterministic)[0]
        assert one.shape == space.shape
    assert pickle.loads(pickle.dumps(model.policy)).action_space == space


@pytest.mark.parametrize("action", ["MultiDiscrete", "MultiBinary", "from 3"])
@pytest.mark.parametrize("agent", [WeightMax, Reinforce, MAPProp, NodePerturbation])
def test_groups_and_bits_are_learned(agent, action) -> None:
    """Each of several choices has to be made right; by chance they are in a twelfth or an eighth of the steps."""
    env = Target(action_space=ACTIONS[action])
    env.target = {"MultiDiscrete": np.array([2, 0, 1]), "MultiBinary": np.array([1, 0, 1]), "from 3": 5}[action]
    rates = {"actor_learning_rate": 0.02 if agent is not NodePerturbation else 0.005, "critic_learning_rate": 0.01}
    model = agent("MlpPolicy", env, seed=1, gamma=0.0, policy_kwargs=SMALL, **rates).learn(4000)
    actions = model.predict(np.random.default_rng(0).uniform(-1, 1, (200, 2)))[0]
    right = np.all((actions == env.target).reshape(200, -1), axis=1)
    assert right.mean() > 0.8


OUTPUTS = [
    (Layer("categorical", 3, 1.5, levels=(0.0, 1.0, 2.0, 3.0)), spaces.MultiDiscrete([3, 1, 4])),
    (Layer("bernoulli", 3, 1.5), spaces.MultiBinary(3)),
]


@pytest.mark.parametrize(("layer", "space"), OUTPUTS, ids=["MultiDiscrete", "MultiBinary"])
def test_scores_are_the_gradient_of_the_log_probability(layer, space) -> None:
    """By finite differences of a log-probability that is written down anew, for all actions; these are all there are."""
    rng = np.random.default_rng(0)
    network = Network(2, [layer], dtype=np.float64)
    network.initialise(rng)
    policy = CoagentPolicy(BOX, space, net_arch=[], temperature=1.5)
    np.testing.assert_array_equal(policy.actor.biases(0) == np.float32(FORBIDDEN), policy.actor.biases(0) < -1)
    if layer.kind == "categorical":
        network.biases(0)[policy.actor.biases(0) < -1] = FORBIDDEN
    x = rng.uniform(-1, 1, 2)

    def log_probability(action) -> float:
        z = (network.biases(0) + x @ network.weights(0)) / 1.5
        if layer.kind == "bernoulli":
            return float(sum(-np.log1p(np.exp(-z_j if a else z_j)) for z_j, a in zip(z, action, strict=True)))
        groups = [z[4 * j : 4 * j + n] for j, n in enumerate(space.nvec)]
        return float(sum(g[a] - np.log(np.exp(g).sum()) for g, a in zip(groups, action, strict=True)))

    learner = Learner(network, 1, constant_schedule(0.0), "sgd", 0.0)
    sizes = space.nvec if layer.kind == "categorical" else [2] * 3
    total, expected_score = 0.0, 0.0
    for action in itertools.product(*map(range, sizes)):
        values, means = network.activities(x[None], mode=2)
        values[0, network.slot(0)] = action
        if layer.kind == "categorical":
            values[0, network.slot(0).stop : network.slot(0).stop + 3] = action
        learner.activity[0], learner.activity[1] = values, means
        scores_of(learner)
        first = network.slot(0).start
        scores = learner.activity[2][0, first : first + layer.n_pre].copy()
        probability = math.exp(log_probability(action))
        total, expected_score = total + probability, expected_score + probability * scores
        for k in np.flatnonzero(network.biases(0) > -1):
            difference = 0.0
            for sign in (1, -1):
                network.biases(0)[k] += sign * 1e-6
                difference += sign * log_probability(action) / 2e-6
                network.biases(0)[k] -= sign * 1e-6
            assert scores[k] == pytest.approx(difference, abs=1e-7)
        assert not scores[network.biases(0) < -1].any()
    assert total == pytest.approx(1.0)
    np.testing.assert_allclose(expected_score, 0.0, atol=1e-12)


def scores_of(learner) -> None:
    from coagent_rl.arrays import named

    local_scores(named(learner.arrays))


@pytest.mark.parametrize(("layer", "space"), OUTPUTS, ids=["MultiDiscrete", "MultiBinary"])
def test_actions_are_drawn_with_their_probabilities(layer, space) -> None:
    policy = CoagentPolicy(BOX, space, net_arch=[], temperature=1.5, seed=3)
    actions = policy.act(np.full((40_000, 2), 0.7, np.float32))
    probabilities = policy.actor.activities(np.full((1, 2), 0.7, np.float32), mode=2)[1][0, 2:]
    if isinstance(space, spaces.MultiBinary):
        np.testing.assert_allclose(actions.mean(axis=0), probabilities[:3], atol=0.01)
    else:
        shares = [[np.mean(actions[:, j] == level) for level in range(4)] for j in range(3)]
        np.testing.assert_allclose(np.ravel(shares), probabilities, atol=0.01)


def test_levels_that_an_action_does_not_have_stay_impossible() -> None:
    """Also with weight decay, traces and after parameters are written from outside."""
    env = Target(action_space=spaces.MultiDiscrete([2, 5]))
    rates = {"actor_lambda": 0.9, "weight_decay": 0.1, "actor_learning_rate": 0.05}
    model = WeightMax("MlpPolicy", env, seed=0, policy_kwargs=SMALL, **rates).learn(300)
    biases = model.policy.actor.biases(-1).reshape(2, 5)
    np.testing.assert_array_equal(biases == np.float32(FORBIDDEN), [[0, 0, 1, 1, 1], [0] * 5])
    model.policy.load_from_vector(np.zeros_like(model.policy.parameters_to_vector()))
    assert model.predict(np.zeros((200, 2)))[0].max(axis=0).tolist() == [1, 4]


def test_noisy_neurons_choose_by_group_and_by_sign() -> None:
    groups = BoundedPolicy(BOX, spaces.MultiDiscrete([2, 3], start=[0, 1]), output_units="gaussian_tanh")
    outputs = np.array([[0.1, 0.2, 0.5, -0.1, 0.9], [0.9, 0.2, 0.5, -0.1, 0.4]], np.float32)
    np.testing.assert_array_equal(groups.to_actions(outputs), [[1, 3], [0, 1]])
    bits = BoundedPolicy(BOX, spaces.MultiBinary(3), output_units="gaussian_tanh")
    np.testing.assert_array_equal(bits.to_actions(np.array([[0.1, -0.1, 0.0]])), [[1, 0, 0]])
    with pytest.raises(ValueError, match="take both signs, not 'gaussian_sigmoid'"):
        BoundedPolicy(BOX, spaces.MultiBinary(3), output_units="gaussian_sigmoid")


@pytest.mark.parametrize(
    ("space", "observations", "message"),
    [
        (spaces.Discrete(3), np.array([3]), r"\[3\] are not all in Discrete\(3\)"),
        (spaces.Discrete(3), np.array([0.5]), "are not all in"),
        (spaces.MultiDiscrete([2, 3]), np.array([[1, 3]]), "are not all in MultiDiscrete"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 1, 1]), r"shape \(3,\) were given"),
        (spaces.MultiBinary(2), np.zeros((1, 3)), r"shape \(1, 3\) were given"),
        (spaces.Dict(a=BOX, b=BOX), {"a": np.zeros((1, 2))}, r"keys \['a', 'b'\], not the keys \['a'\]"),
        (spaces.Dict(a=BOX), np.zeros((1, 2)), r"not an array of shape \(1, 2\)"),
    ],
)
def test_observations_that_are_not_of_the_space(space, observations, message) -> None:
    with pytest.raises(ValueError, match=message):
        encode(space, observations)


def test_nested_dicts_are_refused_as_in_stable_baselines3() -> None:
    env = Target(spaces.Dict(a=BOX, b=spaces.Dict(c=BOX)))
    for error in (NotImplementedError, ValueError):
        with pytest.raises(error, match="must not hold Dicts"):
            WeightMax("MultiInputPolicy", env)


def test_policies_for_dicts_are_named() -> None:
    env = Target(spaces.Dict(a=BOX))
    with pytest.raises(ValueError, match="must use `MultiInputPolicy`"):
        WeightMax("MlpPolicy", env)
    WeightMax("MultiInputPolicy", Target())
