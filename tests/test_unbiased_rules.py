"""The posterior and the product rule: unbiased, by enumeration of everything that a small network can do."""

import numpy as np
import pytest

from coagent_rl import PosteriorRule, ProductRule
from coagent_rl.arrays import DIRECTION, SCORES
from coagent_rl.credit.posterior import learn_posterior
from coagent_rl.credit.product import learn_product
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.credit.weight_max import learn_weight_max
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import forward
from coagent_rl.schedules import constant_schedule
from tests.enumeration import (
    X,
    exact_gradient,
    expected_update,
    learner_of,
    moved,
    outcomes,
    rewards_of,
    small_network,
    updates,
)

UNBIASED = {"reinforce": learn_reinforce, "posterior": learn_posterior, "product": learn_product}
WEIGHT_MAX = (2.0, 1.0)


@pytest.mark.parametrize("output", ["softmax_reference", "softmax", "bernoulli"])
@pytest.mark.parametrize("sizes", [(4,), (3, 2), (2, 2, 2)])
@pytest.mark.parametrize("rule", UNBIASED)
def test_unbiased(rule, sizes, output) -> None:
    network = small_network("bernoulli", sizes, output=output)
    gradient = exact_gradient(network)[0]
    for baseline in (0.0, 0.7):
        np.testing.assert_allclose(expected_update(network, UNBIASED[rule], baseline), gradient, rtol=1e-9, atol=1e-12)


def test_weight_max_is_not() -> None:
    network = small_network("bernoulli", (3, 2))
    gradient = exact_gradient(network)[0]
    difference = expected_update(network, learn_weight_max, options=WEIGHT_MAX) - gradient
    output = network.layout[-1, 6]
    assert np.linalg.norm(difference[:output]) > 0.1 * np.linalg.norm(gradient[:output])
    np.testing.assert_allclose(difference[output:], 0.0, atol=1e-12)


@pytest.mark.parametrize("sizes", [(4,), (3, 2)])
@pytest.mark.parametrize("baseline", [0.0, None])
def test_the_posterior_is_never_noisier_than_the_value(sizes, baseline) -> None:
    """Of every single hidden parameter; of many by far."""
    network = small_network("bernoulli", sizes)
    gradient, chances, expected = exact_gradient(network)
    baseline = expected if baseline is None else baseline
    hidden = network.layout[-1, 6]
    variances = {}
    for name in ("reinforce", "posterior"):
        each = np.array(list(updates(network, UNBIASED[name], baseline)))
        variances[name] = (chances @ (each - gradient) ** 2)[:hidden]
    assert np.all(variances["posterior"] <= variances["reinforce"] * (1 + 1e-9))
    assert variances["posterior"].sum() < 0.7 * variances["reinforce"].sum()


def test_weight_max_is_the_first_order_of_the_product_rule() -> None:
    """Halved, and in the layer below the output, whose signal is the reward itself."""
    differences = []
    for scale in (0.1, 0.01):
        network = small_network("bernoulli", (4,), scale=scale)
        cases = outcomes(network)
        rewards = rewards_of(network, cases)
        relative = []
        for case, reward in zip(cases, rewards, strict=True):
            ours = moved(learner_of(network, case[None]), learn_product, np.array([reward]))
            theirs = moved(learner_of(network, case[None], WEIGHT_MAX), learn_weight_max, np.array([reward])) / 2
            hidden = network.layout[0, 8]
            if case[network.slot(0)].any():
                relative.append(np.linalg.norm(ours[:hidden] - theirs[:hidden]) / np.linalg.norm(ours[:hidden]))
        differences.append(max(relative))
    assert differences[0] < 0.3
    assert differences[1] < 0.15 * differences[0]


def ratio_by_hand(network: Network, row: np.ndarray, index: int, unit: int) -> float:
    """log Pr(layer above | h_i = 1) - log Pr(layer above | h_i = 0), layer above Gaussian or categorical."""
    layer, logs = network.layers[index + 1], []
    for value in (1.0, 0.0):
        h = row[network.slot(index)].copy()
        h[unit] = value
        z = (h @ network.weights(index + 1) + network.biases(index + 1)) / layer.temperature
        slot = network.slot(index + 1)
        if layer.is_gaussian:
            σ = np.exp(network.log_deviations(index + 1)) if layer.learned_deviation else layer.deviation
            logs.append(-0.5 * np.sum(((row[slot] - z) / σ) ** 2))
        else:
            logits = z.reshape(layer.n_values, -1)
            chosen = row[slot.stop : slot.stop + layer.n_values].astype(int)
            logs.append(np.sum(logits[range(layer.n_values), chosen] - np.log(np.exp(logits).sum(1))))
    return logs[0] - logs[1]


@pytest.mark.parametrize(
    "output",
    [
        Layer("gaussian_linear", 2, 1.4, 0.6),
        Layer("gaussian_linear", 2, 0.7, learned_deviation=True),
        Layer("categorical", 2, 1.4, levels=(0.0, 1.0, 2.0)),
    ],
    ids=["gaussian", "learned_deviation", "categorical"],
)
def test_other_kinds_of_output(output) -> None:
    network = Network(3, [Layer("bernoulli", 4, 1.3), output], dtype=np.float64)
    network.parameters[:] = np.random.default_rng(3).standard_normal(network.parameters.size)
    noise = network.draw_noise(np.random.default_rng(0), 1, 6)
    learner = Learner(network, 6, constant_schedule(1.0), "sgd", 0.0)
    for rule in (learn_posterior, learn_product):
        assert forward(network.structure, learner.activity, np.tile(X, (6, 1)), noise, 0, 0)
        moved(learner, rule, np.ones(6))
        slot = network.slot(0)
        for values, means, scores in zip(*learner.activity[:3], strict=True):
            for unit in range(4):
                ratio = ratio_by_hand(network, values, 0, unit)
                p, h = means[slot][unit], values[slot][unit]
                if rule is learn_posterior:
                    odds = p / (1 - p) * np.exp(ratio)
                    wanted = (odds / (1 + odds) - p) / 1.3
                else:
                    wanted = h * (1 - np.exp(-ratio)) * (1 - p) / 1.3
                assert scores[slot][unit] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rule", [learn_posterior, learn_product])
def test_locality(rule) -> None:
    """A unit's update sees its input and probability, its outgoing weights, and what the layer above did and how likely it
    was without the unit; not the other units' weights in either direction."""
    unit, size = 1, 4

    def update(perturbed: bool) -> np.ndarray:
        network = small_network("bernoulli", (size, 3))
        learner = learner_of(network, outcomes(network)[[-1]])
        if perturbed:
            rng, others = np.random.default_rng(7), np.arange(size) != unit
            network.weights(0)[:, others] += rng.standard_normal()
            network.biases(0)[others] += rng.standard_normal()
            network.weights(2)[:] += rng.standard_normal()
            network.biases(2)[:] += rng.standard_normal()
            # Other outgoing weights, so that the layer above stands where it stood.
            shift = rng.standard_normal((size, 3)) * others[:, None]
            network.weights(1)[:] += shift
            network.biases(1)[:] -= learner.activity[0, 0, network.slot(0)] @ shift
        change = Network(3, network.layers, dtype=np.float64)
        change.parameters[:] = moved(learner, rule, np.array([0.7]))
        return np.append(change.weights(0)[:, unit], change.biases(0)[unit])

    plain = update(False)
    assert np.all(plain != 0)
    np.testing.assert_allclose(update(True), plain, rtol=1e-9)


@pytest.mark.parametrize("agent", [PosteriorRule, ProductRule])
def test_kinds_of_units(agent) -> None:
    with pytest.raises(ValueError, match=r"'bernoulli' hidden units.*'gaussian_tanh'"):
        agent("MlpPolicy", "CartPole-v1", policy_kwargs={"units": "gaussian_tanh"})


@pytest.mark.parametrize("rule", [learn_posterior, learn_product])
def test_traces_remember_the_scores(rule) -> None:
    """e ← γλ e + x ⊗ s, and the reinforcement of now times it."""
    network = small_network("bernoulli", (3, 2))
    cases = outcomes(network)[[7, 90]]
    learner = Learner(network, 1, constant_schedule(1.0), "sgd", 0.6)
    traces = np.zeros(network.parameters.size)
    before = network.parameters.copy()
    for number, case in enumerate(cases):
        fresh = learner_of(network, case[None])
        traces = 0.6 * traces + moved(fresh, rule, np.ones(1))
        learner.activity[:2] = fresh.activity[:2]
        assert rule(learner.arrays, np.full((1, network.width), 0.5 * number), np.array([number == 0]), 0.0)
        network.parameters[:] = before
    np.testing.assert_allclose(learner.traces[0], traces, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(learner.memory[DIRECTION], 0.5 * traces, rtol=1e-9, atol=1e-12)
    assert np.any(learner.activity[SCORES] != 0.0)


def test_one_hidden_layer_learns_the_multiplexer() -> None:
    """Frozen hidden units reach 0.07; REINFORCE, with the same rates, 0.17."""

    def late_return(agent, **kwargs) -> float:
        settings = {"critic": None, "policy_kwargs": {"net_arch": [64]}, "stats_window_size": 4000, "seed": 50, **kwargs}
        model = agent("MlpPolicy", "coagent_rl/Multiplexer-v0", [2.2e-2, 1.9e-3], **settings).learn(40_000)
        return float(np.mean([episode["r"] for episode in model.ep_info_buffer]))

    assert late_return(PosteriorRule) > 0.2
    assert late_return(ProductRule) > 0.15
    assert late_return(PosteriorRule, frozen_layers="hidden") < 0.12
