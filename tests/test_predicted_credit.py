"""Rules that predict, each against loops over units in NumPy and against what it should come to; what units read."""

import numpy as np
import pytest

from coagent_rl import DisARM, EquilibriumPropagation, Hindsight, NoiseBased, SyntheticGradients
from coagent_rl.arrays import MEANS, OPTIONS, SCORES, VALUES, named
from coagent_rl.credit.hindsight import hindsight_scores, learn_with_hindsight
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.credit.synthetic_gradients import learn_synthetic_gradients
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.forward import act, local_scores
from tests.rule_networks import (
    ACTIVATIONS,
    STARTS,
    T,
    X,
    assert_every_layer_learns,
    assert_step,
    bits,
    draw,
    exact_gradient,
    layer,
    make,
    score_out,
    softmax,
    step_of,
)

SMALL = {"net_arch": [8, 6]}


# ------------------------------------------------------------------ synthetic gradients


@pytest.mark.parametrize("gradient_lambda", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("kind", ["tanh", "bernoulli"])
def test_synthetic_gradients_are_predicted_and_learned_from_the_layer_above(kind, gradient_lambda) -> None:
    η, λ = 0.3, gradient_lambda
    learner = make(kind, store=np.zeros((1, 1, 5 + 2 + 1, 3 + 5 + 4 + 3)), options=[η, λ])
    network = learner.network
    assert learner.store.shape[3] == network.width
    predictors = [np.random.default_rng(i).standard_normal((n + 3, n)) for i, n in enumerate((5, 4))]
    for index, predictor in enumerate(predictors):
        learner.store[0, 0, : len(predictor), network.slot(index)] = predictor
    _, slope = ACTIVATIONS[kind]
    for time in range(3):
        draw(learner, time)
        inputs, scores, changes = [], [], [np.zeros_like(predictor) for predictor in predictors]
        for row in range(2):
            h = [layer(learner, VALUES, row, i).copy() for i in range(2)]
            slopes = [slope(layer(learner, MEANS, row, i)) / T for i in range(2)]
            out = score_out(network, h[1], layer(learner, VALUES, row, -1))
            x = [np.concatenate([h_i, out, [1.0]]) for h_i in h]
            g = [x_i @ predictor for x_i, predictor in zip(x, predictors, strict=True)]
            true = network.weights(2) @ out
            targets = [network.weights(1) @ (slopes[1] * ((1 - λ) * g[1] + λ * true)), true]
            for i in range(2):
                changes[i] += 0.5 * η * np.outer(x[i], targets[i] - g[i]) / (x[i] @ x[i])
            inputs.append([X[row], *h])
            scores.append([slopes[0] * g[0], slopes[1] * g[1], out])
        assert_step(step_of(learner, learn_synthetic_gradients), learner, inputs, scores)
        for i in range(2):
            predictors[i] += changes[i]
            kept = learner.store[0, 0, : len(predictors[i]), network.slot(i)]
            np.testing.assert_allclose(kept, predictors[i], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gradient_lambda", [0.0, 1.0])
def test_synthetic_gradients_become_backprop_where_they_are_linear(gradient_lambda) -> None:
    """In a linear network all gradients are linear in the output's score."""
    learner = make("linear", n_rows=1, store=np.zeros((1, 1, 8, 15)), options=[1.0, gradient_lambda])
    exact = make("linear", n_rows=1)
    learner.rates[:] = 0.0
    rng = np.random.default_rng(0)
    for _ in range(3000):
        draw(learner, int(rng.integers(2**31)), rng.standard_normal((1, 3)))
        assert learn_synthetic_gradients(learner.arrays, np.ones((1, 15)), STARTS[:1], 0.0)
    learner.rates[:] = 0.01
    for one in (learner, exact):
        draw(one, 5, X[:1])
    found, wanted = step_of(learner, learn_synthetic_gradients, (1.0,)), step_of(exact, learn_reinforce, (1.0,))
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert np.abs(wanted[: exact.network.layout[0, 8]]).max() > 0.1


# ------------------------------------------------------------------ hindsight


def test_hindsight_models_predict_what_units_did_and_learn_it() -> None:
    η = 0.8
    learner = make("bernoulli", options=[η], store=np.zeros((1, 3, 6, 15)))
    network = learner.network
    models = [np.random.default_rng(i).standard_normal((3, n_in + 1, n)) for i, (n_in, n) in enumerate(((3, 5), (5, 4)))]
    for i, model in enumerate(models):
        learner.store[0, :, : model.shape[1], network.slot(i)] = model
    for time in range(3):
        draw(learner, time)
        inputs, scores, changes = [], [], [np.zeros_like(model) for model in models]
        for row in range(2):
            values = [X[row], *(layer(learner, VALUES, row, i).copy() for i in range(2))]
            action, own = layer(learner, VALUES, row, -1).copy(), []
            for i, model in enumerate(models):
                p, x = layer(learner, MEANS, row, i), np.append(values[i], 1.0)
                q = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + np.einsum("k,f,kfi->i", action, x, model))))
                features = np.multiply.outer(action, x)
                changes[i] += 0.5 * η * features[..., None] * (values[i + 1] - q) / (1 + np.sum(features**2))
                own.append((q - p) / T)
            inputs.append(values)
            scores.append([*own, score_out(network, values[2], action)])
        assert_step(step_of(learner, learn_with_hindsight), learner, inputs, scores)
        for i, model in enumerate(models):
            model += changes[i]
            kept = learner.store[0, :, : model.shape[1], network.slot(i)]
            np.testing.assert_allclose(kept, model, rtol=1e-9, atol=1e-12)


def enumerate_paths(learner: Learner):
    """Everything that a network of one hidden layer can do in the state X[0]: the chance of each path, which it does."""
    network = learner.network
    assert act(learner.arrays, X[:1], 0)
    p = layer(learner, MEANS, 0, 0).copy()
    for h in bits(len(p)):
        layer(learner, VALUES, 0, 0)[:] = h
        pi = softmax(network, h)
        layer(learner, MEANS, 0, -1)[:] = pi
        for a in range(3):
            layer(learner, VALUES, 0, -1)[:] = np.eye(3)[a]
            yield float(np.prod(np.where(h > 0, p, 1 - p)) * pi[a]), a


def test_true_hindsight_is_unbiased_and_what_the_models_come_to() -> None:
    learner = make("bernoulli", (3,), n_rows=1, options=[0.5], store=np.zeros((1, 3, 4, 3 + 3 + 3)))
    network, returns = learner.network, np.array([1.0, -0.5, 2.0])
    network.weights(1)[:] *= 3.0
    joint, of_actions = np.zeros((3, 3)), np.zeros((3, 1))
    for chance, a in enumerate_paths(learner):
        joint[a] += chance * layer(learner, VALUES, 0, 0)
        of_actions[a] += chance
    truth, prior = joint / of_actions, layer(learner, MEANS, 0, 0).copy()  # Pr(h_i = 1 | a) and Pr(h_i = 1)

    def bias(constants: np.ndarray) -> float:
        learner.store[:] = 0.0
        learner.store[0, :, 3, network.slot(0)] = constants
        total = np.zeros(3)
        for chance, a in enumerate_paths(learner):
            local_scores(named(learner.arrays))
            hindsight_scores(named(learner.arrays))
            total += chance * returns[a] * layer(learner, SCORES, 0, 0)
        wanted = exact_gradient(network, X[0], returns)[network.layout[0, 7] : network.layout[0, 8]]
        return float(np.abs(total - wanted).max() / np.abs(wanted).max())

    assert bias(np.log(truth / (1 - truth)) - np.log(prior / (1 - prior))) < 1e-6
    assert bias(np.zeros((3, 3))) == 1.0
    learner.store[:] = 0.0
    learner.rates[:] = 0.0
    rng = np.random.default_rng(0)
    for step in range(20_000):
        if step % 2000 == 0:
            learner.settings[OPTIONS] = 0.5 / (1 + step / 2000) ** 2
            learner.set_noise(network.draw_noise(rng, 2000, 1))
        assert act(learner.arrays, X[:1], step % 2000)
        assert learn_with_hindsight(learner.arrays, np.zeros((1, 9)), STARTS[:1], 0.0)
    models = learner.store[0, :, :, network.slot(0)]
    logits = np.log(prior / (1 - prior)) + np.einsum("f,kfi->ki", np.append(X[0], 1.0), models)
    assert np.abs(1 / (1 + np.exp(-logits)) - truth).max() < 0.06
    assert np.abs(prior - truth).max() > 0.5


# ------------------------------------------------------------------ what a unit reads


@pytest.mark.parametrize(
    ("kind", "rule", "options", "store"),
    [
        ("tanh", learn_synthetic_gradients, [0.3, 0.0], (1, 1, 8, 15)),
        ("bernoulli", learn_with_hindsight, [0.3], (1, 3, 6, 15)),
    ],
)
@pytest.mark.parametrize("unit", [0, 3])
def test_locality(kind, rule, options, store, unit) -> None:
    """A unit's update is the same with everything changed that it may not read: all weights and models but its own.

    What it reads is its input, its weights and its model, what its layer and the output did, and the TD error.
    """
    others = np.arange(5) != unit

    def update(perturbed: bool) -> np.ndarray:
        rng = np.random.default_rng(4)
        learner = make(kind, n_rows=1, options=options, store=rng.standard_normal(store))
        network = learner.network
        draw(learner, 0, X[:1])
        if perturbed:
            for array in (network.weights(0), network.biases(0)):  # what the layer's other units are
                array[..., others] += rng.standard_normal()
            for array in (network.weights(1), network.biases(1), network.weights(2), network.biases(2)):
                array += rng.standard_normal(array.shape)
            learner.store[..., network.slot(0)][..., others] += 1.0
            learner.store[..., network.slot(1)] += 1.0
        before = network.parameters.copy()
        assert rule(learner.arrays, np.full((1, network.width), 0.7), STARTS[:1], 0.0)
        change = Network(3, network.layers, dtype=np.float64)
        change.parameters[:] = network.parameters - before
        return np.append(change.weights(0)[:, unit], change.biases(0)[unit])

    plain = update(False)
    assert np.all(plain != 0.0)
    np.testing.assert_allclose(update(True), plain, rtol=1e-9)


# ------------------------------------------------------------------ the agents


@pytest.mark.parametrize("agent", [DisARM, EquilibriumPropagation, Hindsight, NoiseBased, SyntheticGradients])
def test_every_layer_learns(agent) -> None:
    assert_every_layer_learns(agent("MlpPolicy", "CartPole-v1", seed=0, actor_lambda=0.8, policy_kwargs=SMALL))


@pytest.mark.parametrize(
    ("agent", "units", "message"),
    [
        (NoiseBased, "bernoulli", "hidden units with Gaussian noise, not 'bernoulli'"),
        (NoiseBased, ["gaussian_tanh", "tanh"], "hidden units with Gaussian noise, not 'tanh'"),
        (SyntheticGradients, "categorical", "'bernoulli', 'linear', .* hidden units, not 'categorical'"),
        (SyntheticGradients, "gaussian_preactivation_relu", "not 'gaussian_preactivation_relu'"),
        (DisARM, "tanh", "'bernoulli' hidden units, not 'tanh'"),
        (Hindsight, "gaussian_tanh", "'bernoulli' hidden units, not 'gaussian_tanh'"),
        (EquilibriumPropagation, "bernoulli", "'softplus' hidden units, not 'bernoulli'"),
    ],
)
def test_a_rule_refuses_units_for_which_it_is_not_defined(agent, units, message) -> None:
    with pytest.raises(ValueError, match=message):
        agent("MlpPolicy", "CartPole-v1", policy_kwargs={**SMALL, "units": units})


@pytest.mark.parametrize(
    ("agent", "kwargs", "message"),
    [
        (SyntheticGradients, {"predictor_rate": 0.0}, r"predictor_rate must lie in \(0, 1\], not 0.0"),
        (SyntheticGradients, {"gradient_lambda": 1.5}, r"gradient_lambda must lie in \[0, 1\], not 1.5"),
        (EquilibriumPropagation, {"nudge": 0.0}, "nudge must be positive"),
        (EquilibriumPropagation, {"relaxation_rate": "fast"}, "relaxation_rate must be a number"),
        (EquilibriumPropagation, {"relaxation_steps": 0}, "relaxation_steps must be a whole number from 1"),
        (Hindsight, {"hindsight_rate": -1.0}, "hindsight_rate must be positive"),
    ],
)
def test_wrong_arguments(agent, kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        agent("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, **kwargs)
