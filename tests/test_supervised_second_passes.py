"""Supervised rules that pass twice, predict or settle, against the agents' own kernels and against backprop."""

import numpy as np
import pytest

from coagent_rl.credit.equilibrium_propagation import settle
from coagent_rl.supervised.deviation import LearnedDeviation
from coagent_rl.supervised.learner import BatchLearner
from tests.rule_networks import bits
from tests.test_supervised_rules import as_agent, batch, judge, make, one_hot


def credits(learner: BatchLearner) -> np.ndarray:
    return np.concatenate([layer.credit_of_values.ravel() for layer in learner.layers[:-1]])


def losses_of(learner: BatchLearner, h: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Cross-entropy of the output layer's logits, by hand."""
    z = h @ learner.network.weights(-1) + learner.network.biases(-1)
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), targets]


# ------------------------------------------------------------------ noise-based learning


@pytest.mark.parametrize("kinds", [("gaussian_tanh", "gaussian_tanh"), ("gaussian_preactivation_relu", "gaussian_tanh")])
def test_noise_based_shares_the_growth_by_the_noise(kinds) -> None:
    learner = make(kinds, "noise_based", n_samples=2)
    inputs, targets = judge(learner)
    x, ξ, slopes = np.repeat(inputs, 2, axis=0), [], []
    clean = x
    for layer, kind in zip(learner.layers[:-1], kinds, strict=True):
        z = x @ layer.weights + layer.biases
        noise = 0.7 * layer.noise
        if kind == "gaussian_tanh":
            x, clean = np.tanh(z) + noise, np.tanh(clean @ layer.weights + layer.biases)
            slopes.append(1 - np.tanh(z) ** 2)
        else:
            x, clean = np.maximum(z + noise, 0), np.maximum(clean @ layer.weights + layer.biases, 0)
            slopes.append(np.ones_like(z))
        ξ.append(noise)
    y = np.repeat(targets, 2)
    growth = losses_of(learner, clean, y) - losses_of(learner, x, y)
    norm = sum((noise**2).sum(axis=1) for noise in ξ)
    for layer, noise, slope in zip(learner.layers[:-1], ξ, slopes, strict=True):
        wanted = (growth / norm)[:, None] * noise * slope
        np.testing.assert_allclose(layer.credit_of_values, wanted, rtol=1e-9, atol=1e-12)
        assert np.all(wanted != 0.0)


def test_noise_based_is_the_gradient_over_the_number_of_units_on_average() -> None:
    """With little noise, of eleven units."""
    learner = make(("gaussian_tanh", "gaussian_tanh"), "noise_based", deviation=1e-4, n_samples=20_000)
    exact = make(("tanh", "tanh"), "backprop")
    exact.network.parameters[:] = learner.network.parameters
    for one in (learner, exact):
        judge(one, 1)
    for index in (0, 1):
        found = 11 * learner.layers[index].credit_of_values
        error, wanted = found.std(axis=0) / np.sqrt(len(found)), exact.layers[index].credit_of_values[0]
        assert np.all(np.abs(found.mean(axis=0) - wanted) < 5 * error)
        assert np.abs(wanted).max() > 20 * error.max()


def test_noise_based_says_nothing_of_deviations() -> None:
    with pytest.raises(ValueError, match="does not say how deviations are learned"):
        make(("gaussian_tanh",), "noise_based", deviation=LearnedDeviation(1.0, "exp"))


# ------------------------------------------------------------------ DisARM


def test_disarm_compares_with_the_opposite_noise() -> None:
    learner = make(("bernoulli", "relu", "bernoulli"), "disarm", n_samples=3)
    _, targets = judge(learner)
    first, middle, last = learner.layers[:-1]
    y = np.repeat(targets, 3)

    def above(h: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-(np.maximum(h @ middle.weights + middle.biases, 0) @ last.weights + last.biases)))
        return (last.noise < p).astype(float)

    own = losses_of(learner, above(first.outputs), y)
    np.testing.assert_allclose(own, learner.losses, rtol=1e-9)
    for layer, rest in ((first, above), (last, lambda h: h)):
        p = 1 / (1 + np.exp(-(layer.inputs @ layer.weights + layer.biases)))
        p = np.repeat(p, 3, axis=0) if layer is first else p
        twin = (1 - layer.noise < p).astype(float)
        better = losses_of(learner, rest(twin), y) - own
        wanted = 0.5 * better[:, None] * (layer.outputs - twin) * np.maximum(p, 1 - p)
        np.testing.assert_allclose(layer.credit_of_values, wanted, rtol=1e-9, atol=1e-12)
        assert np.any(wanted != 0.0)


def test_disarm_is_unbiased_and_less_noisy_than_reinforce() -> None:
    """Against the sum over all that the units of one layer can do."""
    n, found = 20_000, {}
    for rule in ("disarm", "reinforce"):
        learner = make(("bernoulli",), rule, n_samples=n, seed=3)
        _, targets = judge(learner, 1)
        found[rule] = learner.layers[0].credit_of_values.copy()
    p = learner.layers[0].means[0, :6].astype(float)
    exact = np.zeros(6)
    for b in bits(6):
        chance = np.prod(np.where(b > 0, p, 1 - p))
        exact -= chance * losses_of(learner, b[None], targets)[0] * (b - p)
    error = found["disarm"].std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(found["disarm"].mean(axis=0) - exact) < 5 * error)
    assert np.abs(exact).max() > 10 * error.max()
    assert found["disarm"].var(axis=0).sum() < 0.5 * found["reinforce"].var(axis=0).sum()


# ------------------------------------------------------------------ synthetic gradients


def test_predictions_of_the_true_gradient_become_backprop() -> None:
    """Of one batch, again and again, with the layers held fast."""
    exact, learner = (
        make(("tanh", "relu"), "backprop"),
        make(("tanh", "relu"), "synthetic_gradients", rule_kwargs={"predictor_rate": 1.0, "gradient_lambda": 1.0}),
    )
    judge(exact, 4)
    judge(learner, 4)
    np.testing.assert_array_equal(credits(learner), 0.0)  # the first predictions
    for _ in range(4000):
        learner.assign_credit()
    error = np.abs(credits(learner) - credits(exact)).max()
    assert error < 0.05 * np.abs(credits(exact)).max()


def test_predictors_learn_from_the_layer_above_by_normalised_least_squares() -> None:
    kwargs = {"predictor_rate": 0.6, "gradient_lambda": 0.3}
    learner = make(("tanh", "relu"), "synthetic_gradients", rule_kwargs=kwargs)
    rng = np.random.default_rng(5)
    for predictor in learner.rule.predictors:
        predictor[:] = rng.standard_normal(predictor.shape)
    before = [predictor.copy() for predictor in learner.rule.predictors]
    judge(learner)
    told, scores_out = learner.output.credit_of_values, learner.output.credit_of_values
    for index in (1, 0):
        layer, above = learner.layers[index], learner.layers[index + 1]
        slopes = (layer.outputs > 0) * 1.0 if index == 1 else 1 - layer.outputs**2
        x = np.hstack([layer.outputs, scores_out, np.ones((7, 1))])
        g, t = x @ before[index], told @ above.weights.T
        np.testing.assert_allclose(layer.credit_of_values, slopes * g, rtol=1e-9, atol=1e-12)
        change = sum(0.6 / 7 * np.outer(row / (row @ row), e) for row, e in zip(x, t - g, strict=True))
        np.testing.assert_allclose(learner.rule.predictors[index] - before[index], change, rtol=1e-8, atol=1e-12)
        told = slopes * (g + 0.3 * (t - g))


# ------------------------------------------------------------------ equilibrium propagation


@pytest.mark.parametrize("kinds", [("tanh", "tanh"), ("relu", "tanh", "softplus")])
def test_equilibrium_propagation_settles_like_the_agents(kinds) -> None:
    kwargs = {"nudge": 0.3, "relaxation_steps": 7, "relaxation_rate": 0.2}
    learner = make(kinds, "equilibrium_propagation", rule_kwargs=kwargs)
    inputs, targets = batch(learner)
    learner.propagate(inputs, learner.draw)
    learner.judge(targets)
    network, agent = as_agent(learner, inputs, one_hot(targets), "softmax")
    learner.assign_credit()
    for row in range(len(inputs)):
        settle(agent._replace(options=np.array([7.0, 0.2, 0.3])), row)
    for layer in learner.layers:
        slot = network.slot(layer.index)
        np.testing.assert_allclose(layer.credit_of_values, agent.scores[:, slot], rtol=1e-9, atol=1e-12)


def test_a_small_nudge_and_many_steps_are_backprop() -> None:
    errors = []
    for nudge, steps in ((1e-5, 200), (0.3, 200), (1e-5, 3)):
        kwargs = {"nudge": nudge, "relaxation_steps": steps, "relaxation_rate": 0.3}
        exact = make(("tanh", "tanh"), "backprop")
        learner = make(("tanh", "tanh"), "equilibrium_propagation", rule_kwargs=kwargs)
        for one in (exact, learner):
            judge(one)
        errors.append(np.abs(credits(learner) - credits(exact)).max() / np.abs(credits(exact)).max())
    assert errors[0] < 1e-3
    assert errors[1] > 1e-2
    assert errors[2] > 0.1


def test_a_relaxation_that_diverges_is_named() -> None:
    learner = make(
        ("linear", "linear"), "equilibrium_propagation", rule_kwargs={"relaxation_rate": 1e4, "relaxation_steps": 99}
    )
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"relaxation of the hidden units diverged.*10000.0"):
        learner.learn(*batch(learner))


def test_equilibrium_propagation_needs_an_output_that_predicts_exactly() -> None:
    with pytest.raises(ValueError, match="nudges an output that predicts exactly"):
        make(("tanh",), "equilibrium_propagation", output="gaussian_linear")


def test_arguments_out_of_range() -> None:
    for rule, kwargs, message in (
        ("synthetic_gradients", {"predictor_rate": 0.0}, r"predictor_rate must lie in \(0, 1\], not 0.0"),
        ("synthetic_gradients", {"gradient_lambda": 2}, r"gradient_lambda must lie in \[0, 1\], not 2"),
        ("equilibrium_propagation", {"nudge": 0}, "nudge must be positive and finite, not 0"),
        ("equilibrium_propagation", {"relaxation_steps": 0}, "relaxation_steps must be a whole number from 1, not 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make(("tanh",), rule, rule_kwargs=kwargs)
