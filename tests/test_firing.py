"""Units that hold their values (Kostas et al. 2020): unbiased, the same bits on every road, in predict too."""

from itertools import product

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from coagent_rl import Backprop, DecentralizedDDPG, MAPProp, NodePerturbation, Reinforce, ReinforceThomas, WeightMax
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.networks import Layer, Network
from coagent_rl.noise import Noise, firing
from tests.enumeration import learner_of, moved, outcomes, rewards_of, small_network

RATES = [0.3, 0.6, 0.5]


def log_probability_of_units(network: Network, cases: np.ndarray, parameters: th.Tensor) -> th.Tensor:
    """log Pr of what every unit did given the layer below, shape (n_cases, n_units); the output is one unit."""
    parts, inputs = [], th.tensor(cases[:, : network.n_inputs])
    for index, layer in enumerate(network.layers):
        w, b, end = (int(k) for k in network.layout[index, 6:9])
        z = inputs @ parameters[w:b].reshape(-1, layer.n_pre) + parameters[b:end]
        values = th.tensor(cases[:, network.slot(index)])
        if layer.kind == "bernoulli":
            parts.append(th.distributions.Bernoulli(logits=z / layer.temperature).log_prob(values))
        else:
            parts.append((th.log_softmax(z / layer.temperature, 1) * values).sum(1, keepdim=True))
        inputs = values
    return th.cat(parts, 1)


@pytest.mark.parametrize("before", [0, 5, 11])
def test_the_gradient_is_unbiased(before) -> None:
    """By enumeration of who fires and of what they draw, given what the units held before."""
    network = small_network("bernoulli", (2, 1), output="softmax")
    cases = outcomes(network)
    held, rewards = cases[before], rewards_of(network, cases)
    columns = [np.r_[network.slot(0)][:1], np.r_[network.slot(0)][1:], np.r_[network.slot(1)], np.r_[network.slot(2)]]
    chance_to_fire = [RATES[0], RATES[0], RATES[1], RATES[2]]
    parameters = th.tensor(network.parameters, requires_grad=True)
    logs = log_probability_of_units(network, cases, parameters)
    expected, update = th.zeros((), dtype=th.float64), np.zeros(network.parameters.size)
    for fires in product((False, True), repeat=len(columns)):
        chance = np.prod([rate if fire else 1 - rate for rate, fire in zip(chance_to_fire, fires, strict=True)])
        kept = [unit for unit, fire in zip(columns, fires, strict=True) if not fire]
        possible = np.array([all(np.array_equal(case[unit], held[unit]) for unit in kept) for case in cases])
        probability = chance * (logs[possible] * th.tensor(fires)).sum(1).exp()
        expected = expected + (probability * th.tensor(rewards[possible])).sum()
        learner = learner_of(network, cases[possible])
        block = np.ones((1, possible.sum(), 2 * network.width))
        for unit in kept:
            block[..., network.width + unit] = 0.0
        learner.set_noise(block)
        n = possible.sum()
        update += moved(learner, learn_reinforce, probability.detach().numpy() * rewards[possible] * n)
    expected.backward()
    np.testing.assert_allclose(update, parameters.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert np.abs(update).max() > 0.01


def test_units_fire_as_often_as_is_said() -> None:
    network = Network(3, [Layer("bernoulli", 20), Layer("gaussian_linear", 4), Layer("softmax", 4)])
    fires = firing(network, np.random.default_rng(0), (3000, 2), (0.2, 1.0, 0.5))
    assert fires[..., network.slot(0)].mean() == pytest.approx(0.2, abs=0.01)
    assert fires[..., :3].all()
    assert fires[..., network.slot(1)].all()
    assert fires[..., network.slot(2)].mean() == pytest.approx(0.5, abs=0.03)
    assert np.ptp(fires[..., network.slot(2)], axis=-1).max() == 0.0  # a softmax is one unit
    together = fires[..., network.slot(0)][..., 0] == fires[..., network.slot(0)][..., 1]
    assert together.mean() == pytest.approx(0.2**2 + 0.8**2, abs=0.02)


def test_where_all_fire_nothing_else_is_drawn() -> None:
    network = Network(3, [Layer("bernoulli", 5), Layer("softmax", 4)])
    plain, rated = Noise(np.random.default_rng(0)), Noise(np.random.default_rng(0))
    plain.draw_block(network, 2)
    rated.draw_block(network, 2, rates=(1.0, 1.0))
    np.testing.assert_array_equal(plain.block, rated.block)


def agent(kind=WeightMax, env="CartPole-v1", **kwargs):
    return kind(
        "MlpPolicy", env, seed=0, actor_lambda=0.9, policy_kwargs={"net_arch": [8], "firing_rate": [0.2, 0.7]}, **kwargs
    )


def test_held_values_stay_and_scores_are_zero() -> None:
    model = agent(env=gym.make("CartPole-v1"))
    seen = []
    actor = model.actor_learner
    before = actor.values.copy()
    for _ in range(60):
        model.learn(1, reset_num_timesteps=False)
        step = model.noise.cursor - 1
        fires = model.noise.block[step, 0, model.policy.actor.width :] > 0.0
        slot = model.policy.actor.slot(0)
        held = ~fires[slot]
        np.testing.assert_array_equal(actor.values[0, slot][held], before[0, slot][held])
        assert not actor.arrays[7][2][0, slot][held].any()
        seen.append(held.mean())
        before = actor.values.copy()
    assert 0.5 < np.mean(seen) < 0.9
    assert 0.0 in seen  # an episode has started, at which all fire


@pytest.mark.parametrize("kind", [WeightMax, Reinforce])
def test_training_goes_on_and_is_compiled_with_the_same_bits(kind, tmp_path) -> None:
    whole = agent(kind).learn(3000)
    stepwise = agent(kind, gym.make("CartPole-v1")).learn(3000)
    assert whole.why_step_by_step is None
    assert stepwise.why_step_by_step is not None
    half = agent(kind).learn(1511)
    half.save(tmp_path / "half.zip")
    resumed = kind.load(tmp_path / "half.zip", half.get_env(), force_reset=False)
    resumed.learn(3000 - 1511, reset_num_timesteps=False)
    for other in (stepwise, resumed):
        np.testing.assert_array_equal(other.policy.actor.parameters, whole.policy.actor.parameters)


def test_predict_carries_the_values() -> None:
    policy_kwargs = {"net_arch": [8], "firing_rate": [0.5, 1e-9]}
    model = WeightMax("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs=policy_kwargs)
    observations = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    first, state = model.predict(observations)
    assert set(first) == {0, 1}
    held, state = model.predict(observations, state)
    np.testing.assert_array_equal(held, first)
    starts = np.arange(50) < 25
    again, state = model.predict(observations, state, starts)
    np.testing.assert_array_equal(again[25:], first[25:])
    assert np.any(again[:25] != first[:25])
    assert state[0].shape == (50, model.policy.actor.width)
    action, _ = model.predict(observations[0])
    assert np.shape(action) == ()
    assert model.predict(observations, deterministic=True)[1] is None


@pytest.mark.parametrize("given", [0.0, 1.1, [0.5], "often", [0.5, 0.5, np.nan]])
def test_impossible_rates(given) -> None:
    with pytest.raises(ValueError, match=r"firing_rate must lie in \(0, 1\], a number or one for each of the 3 layers"):
        WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs={"firing_rate": given})


@pytest.mark.parametrize("kind", [MAPProp, DecentralizedDDPG, NodePerturbation, ReinforceThomas, Backprop])
def test_rules_that_are_not_defined_for_it_say_so(kind) -> None:
    with pytest.raises(ValueError, match=r"firing_rate"):
        kind("MlpPolicy", "CartPole-v1", policy_kwargs={"firing_rate": 0.5})
    kind("MlpPolicy", "CartPole-v1", policy_kwargs={"firing_rate": 1.0})


def test_a_state_of_other_observations_is_named() -> None:
    model = WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [8], "firing_rate": 0.5}, seed=0)
    observations = np.zeros((3, 4), np.float32)
    state = model.predict(observations)[1]
    for wrong in (model.predict(observations[:2])[1], 3, (np.zeros((3, 2)),)):
        with pytest.raises(ValueError, match=r"state must be what the last call of predict gave .* \(3, 14\)"):
            model.predict(observations, wrong)
    with pytest.raises(ValueError, match="episode_start must hold one truth value for each of 3 observations"):
        model.predict(observations, state, np.array([True]))
    model.predict(observations, state, np.array([True, False, False]))
