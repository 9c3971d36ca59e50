"""Boltzmann units and their rule, against exact enumeration."""

import numpy as np
import pytest

from coagent_rl import CoordinatedExploration, Reinforce, WeightMax
from coagent_rl.arrays import MEANS, SCORES, VALUES
from coagent_rl.credit.coordinated_exploration import learn_coordinated_exploration
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.learner import Learner
from coagent_rl.networks import MEAN, MOST_LIKELY, SAMPLE, Layer, Network
from coagent_rl.networks.forward import forward
from coagent_rl.schedules import constant_schedule
from tests.enumeration import X, exact_gradient, expected_update, learner_of, moved, outcomes, small_network

CENTRED, AS_PUBLISHED = (1.0,), (0.0,)
ON_CARTPOLE = {"policy_kwargs": {"net_arch": [6, 4]}, "seed": 0}


def states_of(network: Network, values: np.ndarray) -> np.ndarray:
    """How often the first layer is in each of its states, as shares."""
    n = network.layers[0].n_values
    numbers = values[:, network.slot(0)] @ 2.0 ** np.arange(n - 1, -1, -1)
    return np.bincount(numbers.astype(int), minlength=2**n) / len(values)


def exact_states(network: Network) -> np.ndarray:
    chances, n = exact_gradient(network)[1], network.layers[0].n_values
    return chances.reshape(2**n, -1).sum(axis=1)


def test_many_sweeps_draw_from_the_distribution() -> None:
    network = small_network("boltzmann", (4,))
    network.couplings(0)[:] *= 3.0
    exact = exact_states(network)
    values, _ = network.activities(np.tile(X, (40_000, 1)), np.random.default_rng(0))
    error = np.abs(states_of(network, values) - exact).sum()
    network.couplings(0)[:] = 0.0
    assert np.abs(exact_states(network) - exact).sum() > 0.3  # connections matter here
    assert error < 0.03


def test_without_connections_they_are_bernoulli_units() -> None:
    network = small_network("boltzmann", (4, 3))
    for index in range(2):
        network.couplings(index)[:] = 0.0
    plain = small_network("bernoulli", (4, 3))
    for index in range(3):
        plain.weights(index)[:], plain.biases(index)[:] = network.weights(index), network.biases(index)
    np.testing.assert_allclose(exact_gradient(network)[1], exact_gradient(plain)[1], rtol=1e-12)
    values, _ = network.activities(np.tile(X, (40_000, 1)), np.random.default_rng(0))
    assert np.abs(states_of(network, values) - exact_states(plain)).sum() < 0.03
    update = Network(3, network.layers, dtype=np.float64)
    update.parameters[:] = expected_update(network, learn_coordinated_exploration, options=CENTRED)
    wanted = Network(3, plain.layers, dtype=np.float64)
    wanted.parameters[:] = expected_update(plain, learn_reinforce)
    for index in range(3):
        np.testing.assert_allclose(update.weights(index), wanted.weights(index), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(update.biases(index), wanted.biases(index), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [CENTRED, AS_PUBLISHED])
def test_with_the_expected_reward_as_baseline_there_is_no_negative_phase(options) -> None:
    network = small_network("boltzmann", (4,))
    gradient, _, expected = exact_gradient(network)
    np.testing.assert_allclose(
        expected_update(network, learn_coordinated_exploration, expected, options), gradient, rtol=1e-9, atol=1e-12
    )
    without = expected_update(network, learn_coordinated_exploration, 0.0, options) - gradient
    assert np.linalg.norm(without) > 0.05 * np.linalg.norm(gradient)
    assert np.all(gradient[network.layout[0, 7] : network.layout[0, 8]] != 0.0)


def test_what_is_unbiased_of_several_layers() -> None:
    """The first layer always; the second where units are centred and connections are zero."""
    network = small_network("boltzmann", (3, 2))
    first = network.layout[1, 6]

    def bias(options) -> np.ndarray:
        gradient, _, expected = exact_gradient(network)
        return expected_update(network, learn_coordinated_exploration, expected, options) - gradient

    for options in (CENTRED, AS_PUBLISHED):
        np.testing.assert_allclose(bias(options)[:first], 0.0, atol=1e-12)
    assert np.linalg.norm(bias(CENTRED)) < 0.5 * np.linalg.norm(bias(AS_PUBLISHED))
    network.couplings(1)[:] = 0.0
    np.testing.assert_allclose(bias(CENTRED), 0.0, atol=1e-12)
    assert np.linalg.norm(bias(AS_PUBLISHED)) > 1e-3


def test_modes() -> None:
    network = small_network("boltzmann", (5,))
    network.couplings(0)[:] *= 0.3
    layer, slot = network.layers[0], network.slot(0)
    coupling = np.zeros((5, 5))
    coupling[np.triu_indices(5, 1)] = network.couplings(0)
    coupling += coupling.T
    z = X @ network.weights(0) + network.biases(0)
    means = network.activities(X[None], mode=MEAN)[0][0, slot]
    np.testing.assert_allclose(means, 1 / (1 + np.exp(-(z + coupling @ means) / layer.temperature)), rtol=1e-9)
    likely = network.activities(X[None], mode=MOST_LIKELY)[0][0, slot]
    np.testing.assert_array_equal(likely, z + coupling @ likely > 0)


def test_locality() -> None:
    """A connection's update sees what its two units did and would do without connections; a weight's, its unit's."""

    def update(perturbed: bool) -> tuple[float, np.ndarray]:
        network = small_network("boltzmann", (4, 3))
        case = outcomes(network)[[-1]]
        if perturbed:
            rng = np.random.default_rng(7)
            case[:, network.slot(0)][:, 2:] = 0.0
            network.weights(0)[:, 2:] += rng.standard_normal()
            network.couplings(0)[:] += rng.standard_normal(6)
            network.parameters[network.layout[1, 6] :] += rng.standard_normal()
        change = Network(3, network.layers, dtype=np.float64)
        change.parameters[:] = moved(learner_of(network, case, CENTRED), learn_coordinated_exploration, np.array([0.7]))
        return change.couplings(0)[0], change.weights(0)[:, :2]

    for plain, other in zip(update(False), update(True), strict=True):
        assert np.all(plain != 0.0)
        np.testing.assert_allclose(other, plain, rtol=1e-12)


@pytest.mark.parametrize("options", [CENTRED, AS_PUBLISHED])
def test_units_learn_to_act_together(options) -> None:
    """Two units are rewarded for being equal, whichever value it is: that is for their connection to learn."""
    network = Network(3, [Layer("boltzmann", 2), Layer("softmax", 2)])
    learner = Learner(network, 1, constant_schedule(0.05), "sgd", 0.0, options=options)
    noise = network.draw_noise(np.random.default_rng(0), 4000, 1)
    nothing, starts, average, equal = np.zeros((1, 3), np.float32), np.ones(1, bool), 0.5, []
    for step in range(len(noise)):
        assert forward(network.structure, learner.activity, nothing, noise, step, SAMPLE)
        h = learner.activity[VALUES, 0, network.slot(0)]
        equal.append(float(h[0] == h[1]))
        told = np.full((1, network.width), equal[-1] - average, np.float32)
        assert learn_coordinated_exploration(learner.arrays, told, starts, float(step))
        average += 0.02 * (equal[-1] - average)
    assert np.mean(equal[:200]) < 0.8
    assert np.mean(equal[-1000:]) > 0.9
    assert network.couplings(0)[0] > 1.0


def test_scores_of_the_agent() -> None:
    """Its options reach the rule, and its policy has as many sweeps as it says."""
    for centred in (True, False):
        model = CoordinatedExploration("MlpPolicy", "CartPole-v1", centred=centred, gibbs_sweeps=2, **ON_CARTPOLE)
        model.learn(50)
        layer = model.policy.actor.layers[0]
        assert (layer.kind, layer.sweeps) == ("boltzmann", 2)
        slot, activity = model.policy.actor.slot(0), model.actor_learner.activity
        h, p = activity[VALUES, 0, slot], activity[MEANS, 0, slot]
        np.testing.assert_allclose(activity[SCORES, 0, slot], h - p if centred else h, rtol=1e-5)
        pair = h[0] * h[1] - p[0] * p[1] if centred else h[0] * h[1]
        assert activity[SCORES, 0, slot.stop] == pytest.approx(pair, rel=1e-5, abs=1e-7)
        assert np.any(model.policy.actor.couplings(0) != 0.0)


@pytest.mark.parametrize(
    ("agent", "arguments", "message"),
    [
        (CoordinatedExploration, {"policy_kwargs": {"units": "bernoulli"}}, "'boltzmann' hidden units, not 'bernoulli'"),
        (CoordinatedExploration, {"gibbs_sweeps": 0}, "gibbs_sweeps must be a whole number from 1, not 0"),
        (CoordinatedExploration, {"centred": 1}, "centred must be True or False, not 1"),
        (CoordinatedExploration, {"policy_kwargs": {"noise_persistence": 0.5}}, "with fresh noise"),
        (Reinforce, {"policy_kwargs": {"units": "boltzmann", "exploration_probability": 0.5}}, "drawn together"),
        (WeightMax, {"policy_kwargs": {"units": "boltzmann"}}, "no signal for the connections"),
    ],
)
def test_what_is_refused(agent, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        agent("MlpPolicy", "CartPole-v1", **arguments)


def test_impossible_layers() -> None:
    with pytest.raises(ValueError, match="number of sweeps must be a whole number from 1, not 0"):
        Layer("boltzmann", 3, sweeps=0)
    network = small_network("boltzmann", (3,))
    with pytest.raises(ValueError, match="all of them explore"):
        network.silence(np.zeros((1, 1, network.width)), np.random.default_rng(0), 0.5)
