from itertools import product

import numpy as np
import pytest

from coagent_rl.arrays import MEANS, SCORES, VALUES, named
from coagent_rl.credit.thomas import scores_of_explorers
from coagent_rl.exported import symmetric
from coagent_rl.kernel import kernel
from coagent_rl.learner import Learner
from coagent_rl.networks import MEAN, MOST_LIKELY, SAMPLE, SAMPLE_HIDDEN, UNIT_KINDS, Layer, Network
from coagent_rl.networks.elementary import (
    exp_of_negative,
    expm1_of_negative,
    log1p_of_fraction,
    sigmoid,
    softplus,
)
from coagent_rl.networks.forward import forward, local_scores
from coagent_rl.schedules import constant_schedule

STOCHASTIC = [kind for kind in UNIT_KINDS if Layer(kind, 3).is_stochastic]


LEVELS = (-1.0, 0.5, 2.0)


def make(kind: str, n_values: int = 3, learned: bool = False, temperature: float = 1.7, n_inputs: int = 2) -> Network:
    network = Network(n_inputs, [Layer(kind, n_values, temperature, 0.6, learned, LEVELS)], dtype=np.float64)
    network.initialise(np.random.default_rng(5), bias_range=1.0)
    return network


def log_probability(network: Network, observation: np.ndarray, values: np.ndarray) -> float:
    """log π of a one-layer network, from the textbook formulas."""
    layer = network.layers[0]
    z = (observation @ network.weights(0) + network.biases(0)) / layer.temperature
    if layer.kind.startswith("softmax"):
        logits = np.append(z, 0.0) if layer.kind == "softmax_reference" else z
        return float(values @ logits - np.log(np.exp(logits).sum()))
    if layer.kind == "boltzmann":  # with the connections at zero, where no negative phase is left out
        coupling = symmetric(network.couplings(0), layer.n_values) / layer.temperature
        every = np.array(list(product((0.0, 1.0), repeat=layer.n_values)))
        logits = every @ z + 0.5 * np.sum((every @ coupling) * every, axis=1)
        return float(values @ z + 0.5 * values @ coupling @ values - np.logaddexp.reduce(logits))
    if layer.kind == "bernoulli":
        p = 1 / (1 + np.exp(-z))
        return float(np.sum(values * np.log(p) + (1 - values) * np.log(1 - p)))
    if layer.kind == "categorical":
        logits = z.reshape(layer.n_values, len(LEVELS))
        chosen = [logits[j, LEVELS.index(value)] for j, value in enumerate(values)]
        return float(np.sum(chosen - np.log(np.exp(logits).sum(axis=1))))
    f = {
        "linear": lambda u: u,
        "preactivation_relu": lambda u: u,
        "sigmoid": lambda u: 1 / (1 + np.exp(-u)),
        "tanh": np.tanh,
        "relu": lambda u: np.maximum(u, 0),
        "softplus": lambda u: np.logaddexp(0, u),
    }[layer.kind.removeprefix("gaussian_")]
    log_σ = network.log_deviations(0) if layer.learned_deviation else np.log(layer.deviation)
    return float(np.sum(-0.5 * ((values - f(z)) / np.exp(log_σ)) ** 2 - log_σ))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("kind", STOCHASTIC)
def test_scores_are_the_derivatives_of_the_log_probability(kind: str, learned: bool) -> None:
    if learned and not Layer(kind, 3).has_deviation:
        pytest.skip("only Gaussian units have a deviation")
    network = make(kind, learned=learned)
    observation = np.array([0.4, -0.9])
    activity = network.activity(1)
    values, means = network.activities(observation[None], np.random.default_rng(0))
    activity[VALUES], activity[MEANS] = values, means
    learner = Learner(network, 1, constant_schedule(0.0), "sgd", trace_decay=0.0)
    local_scores(named(learner.acting(activity)))
    sampled, slot = values[0, network.slot(0)].copy(), network.layout[0, 10]
    if kind == "gaussian_preactivation_relu":  # what the unit drew, before it was rectified
        sampled = values[0, slot + 3 : slot + 6].copy()
    biases = network.parameters[network.layout[0, 7] :]  # and the log deviations after them
    for j in range(biases.size):
        differences = []
        for step in (1e-6, -1e-6):
            biases[j] += step
            differences.append(log_probability(network, observation, sampled))
            biases[j] -= step
        assert activity[SCORES, 0, slot + j] == pytest.approx((differences[0] - differences[1]) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("kind", ["bernoulli", "softmax", "softmax_reference"])
def test_samples_have_the_stated_means(kind: str) -> None:
    network = make(kind)
    observations = np.tile([0.4, -0.9], (20_000, 1))
    values, means = network.activities(observations, np.random.default_rng(0))
    slot = network.slot(0)
    np.testing.assert_allclose(values[:, slot].mean(axis=0), means[0, slot], atol=0.015)
    assert set(np.unique(values[:, slot])) == {0.0, 1.0}
    if kind.startswith("softmax"):
        np.testing.assert_array_equal(values[:, slot].sum(axis=1), 1.0)


def test_gaussian_samples_have_the_stated_mean_and_deviation() -> None:
    network = make("gaussian_tanh")
    values, means = network.activities(np.tile([0.4, -0.9], (20_000, 1)), np.random.default_rng(0))
    slot = network.slot(0)
    np.testing.assert_allclose(values[:, slot].mean(axis=0), means[0, slot], atol=0.02)
    np.testing.assert_allclose(values[:, slot].std(axis=0), 0.6, atol=0.02)


def test_rectified_gaussian_units_pass_on_the_positive_part_of_what_they_drew() -> None:
    network = make("gaussian_preactivation_relu")
    x = np.array([0.4, -0.9])
    values, means = network.activities(np.tile(x, (20_000, 1)), np.random.default_rng(0))
    slot = network.slot(0)
    drawn = values[:, slot.stop : slot.stop + 3]
    np.testing.assert_array_equal(values[:, slot], np.maximum(drawn, 0.0))
    assert np.all(drawn.min(axis=0) < 0.0)
    np.testing.assert_allclose(drawn.mean(axis=0), (x @ network.weights(0) + network.biases(0)) / 1.7, atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), 0.6, atol=0.02)
    for mode in (MEAN, MOST_LIKELY):
        values, means = network.activities(x[None], mode=mode)
        np.testing.assert_array_equal(values[0, slot], np.maximum(means[0, slot], 0.0))


def test_categorical_units_pass_on_a_level() -> None:
    network = Network(2, [Layer("categorical", 4, levels=LEVELS), Layer("softmax", 2)], dtype=np.float64)
    network.initialise(np.random.default_rng(5), bias_range=1.0)
    assert network.weights(0).shape == (2, 12)
    assert network.weights(1).shape == (4, 2)
    x = np.array([0.4, -0.9])
    probabilities = np.exp(x @ network.weights(0) + network.biases(0)).reshape(4, 3)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    values, _ = network.activities(np.tile(x, (20_000, 1)), np.random.default_rng(0))
    slot = network.slot(0)
    for k, level in enumerate(LEVELS):
        np.testing.assert_allclose((values[:, slot] == level).mean(axis=0), probabilities[:, k], atol=0.015)
    np.testing.assert_array_equal(np.take(LEVELS, values[:, slot.stop : slot.stop + 4].astype(int)), values[:, slot])
    values, _ = network.activities(x[None], mode=MOST_LIKELY)
    np.testing.assert_array_equal(values[0, slot], np.take(LEVELS, probabilities.argmax(axis=1)))
    values, _ = network.activities(x[None], mode=MEAN)
    np.testing.assert_allclose(values[0, slot], probabilities @ LEVELS, rtol=1e-12)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian_tanh", "gaussian_preactivation_relu", "categorical"])
def test_units_that_do_not_explore_take_their_most_likely_value(kind: str) -> None:
    """And have no score, in any of their pre-activations."""
    network = Network(2, [Layer(kind, 5, levels=LEVELS), Layer("softmax", 2)])
    network.initialise(np.random.default_rng(5), bias_range=1.0)
    x = np.tile(np.float32([0.4, -0.9]), (300, 1))
    rng = np.random.default_rng(0)
    noise = network.draw_noise(rng, 1, 300)
    network.silence(noise, rng, 0.5)
    learner = Learner(network, 300, constant_schedule(0.0), "sgd", trace_decay=0.0)
    learner.set_noise(noise)
    activity = learner.activity
    assert forward(network.structure, activity, x, noise, 0, SAMPLE)
    scores_of_explorers(named(learner.arrays))
    slot, n_pre = network.slot(0), network.layers[0].n_pre
    greedy = network.activities(x, mode=MOST_LIKELY)[0][:, slot]
    drew = activity[SCORES][:, slot.start : slot.start + n_pre].reshape(300, 5, -1) != 0.0
    assert np.all(drew == drew[..., :1])  # the pre-activations of a unit explore together
    drew = drew[..., 0]
    assert 0.4 < drew.mean() < 0.6
    np.testing.assert_array_equal(activity[VALUES][:, slot][~drew], greedy[~drew])
    assert np.any(activity[VALUES][:, slot][drew] != greedy[drew])


def test_last_logit_of_softmax_reference_is_zero() -> None:
    network = make("softmax_reference", temperature=1.0)
    x = np.array([[0.4, -0.9]])
    _, means = network.activities(x, mode=MEAN)
    logits = np.append(x[0] @ network.weights(0) + network.biases(0), 0.0)
    np.testing.assert_allclose(means[0, network.slot(0)], np.exp(logits) / np.exp(logits).sum(), rtol=1e-12)


def test_what_the_modes_pass_on() -> None:
    network = Network(2, [Layer("bernoulli", 6), Layer("softmax", 3)], dtype=np.float64)
    network.initialise(np.random.default_rng(0))
    x = np.array([[1.0, -2.0]])
    hidden, output = network.slot(0), network.slot(1)
    values, means = network.activities(x, mode=MOST_LIKELY)
    np.testing.assert_array_equal(values[0, hidden], means[0, hidden] > 0.5)
    values, means = network.activities(x, mode=MEAN)
    np.testing.assert_array_equal(values[0, hidden], means[0, hidden])
    assert values[0, output].argmax() == means[0, output].argmax()
    many = np.repeat(x, 200, axis=0)
    values, means = network.activities(many, np.random.default_rng(0), SAMPLE_HIDDEN)
    assert 0 < values[:, hidden].mean(axis=0)[0] < 1
    np.testing.assert_array_equal(values[:, output].argmax(axis=1), means[:, output].argmax(axis=1))
    values, means = network.activities(many, np.random.default_rng(0), SAMPLE)
    assert np.any(values[:, output].argmax(axis=1) != means[:, output].argmax(axis=1))


def test_glorot_uniform_weights() -> None:
    network = Network(30, [Layer("bernoulli", 70)])
    network.initialise(np.random.default_rng(0))
    bound = np.sqrt(6 / 100)
    assert 0.98 * bound < np.abs(network.weights(0)).max() <= bound
    assert np.abs(network.biases(0)).max() <= 0.001


def test_npz_round_trip(tmp_path) -> None:
    layers = [
        Layer("bernoulli", 6),
        Layer("categorical", 3, levels=LEVELS),
        Layer("gaussian_preactivation_relu", 4),
        Layer("gaussian_linear", 2, deviation=0.3, learned_deviation=True),
    ]
    network = Network(2, layers)
    network.initialise(np.random.default_rng(0))
    network.save(tmp_path / "network.npz")
    other = Network.load(tmp_path / "network.npz")
    assert other.layers == network.layers
    x = np.ones((4, 2))
    np.testing.assert_array_equal(other.sample(x, np.random.default_rng(3)), network.sample(x, np.random.default_rng(3)))


def test_loading_something_else_is_refused(tmp_path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "arrays.npz", a=1)
    for name in ("text.npz", "arrays.npz"):
        with pytest.raises(ValueError, match="is not a network"):
            Network.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "bernouli", "n_values": 3}, "Unknown kind of units 'bernouli'"),
        ({"kind": "bernoulli", "n_values": 0}, "at least one unit"),
        ({"kind": "softmax_reference", "n_values": 1}, "at least two"),
        ({"kind": "bernoulli", "n_values": 3, "temperature": 0.0}, "temperature must be positive"),
        ({"kind": "gaussian_linear", "n_values": 3, "deviation": -1.0}, "deviation must be positive"),
        ({"kind": "bernoulli", "n_values": 3, "learned_deviation": True}, "no standard deviation"),
        ({"kind": "categorical", "n_values": 3, "levels": (1.0,)}, "at least two different"),
        ({"kind": "categorical", "n_values": 3, "levels": (1.0, 1.0)}, "at least two different"),
        ({"kind": "categorical", "n_values": 3, "levels": (1.0, np.nan)}, "at least two different"),
    ],
)
def test_impossible_layers(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layer(**arguments)


def test_wrong_observations() -> None:
    network = make("bernoulli")
    with pytest.raises(ValueError, match=r"shape \(n, 2\), not \(1, 3\)"):
        network.sample(np.zeros((1, 3)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="NaN or infinity"):
        network.sample(np.array([[0.0, np.nan]]), np.random.default_rng(0))


def test_elementary_functions() -> None:
    x = -np.concatenate([[0.0], np.logspace(-12, 2, 400)])
    compute = np.vectorize
    np.testing.assert_allclose(compute(exp_of_negative)(x), np.exp(x), rtol=1e-10)
    np.testing.assert_allclose(compute(expm1_of_negative)(x), np.expm1(x), rtol=1e-12)
    u = np.linspace(0, 1, 400)
    np.testing.assert_allclose(compute(log1p_of_fraction)(u), np.log1p(u), rtol=1e-12)
    z = np.linspace(-50, 50, 1001)
    np.testing.assert_allclose(compute(sigmoid)(z), np.exp(-np.logaddexp(0, -z)), rtol=1e-11)
    np.testing.assert_allclose(compute(softplus)(z), np.logaddexp(0, z), rtol=1e-11)
    assert softplus(1e4) == 1e4
    assert np.isfinite(softplus(-1e4))


def test_kernels_where_no_machine_code_can_be_kept() -> None:
    scope: dict = {}
    exec("def add_one(x):\n    return x + 1", scope)  # no file, so no place for a cache beside it
    assert kernel(scope["add_one"])(1) == 2
