"""REBAR, of agents and of estimators, against loops over units in NumPy, autograd, and the gradient that it estimates."""

import copy
import itertools

import numpy as np
import pytest
import torch as th

from coagent_rl import REBAR
from coagent_rl.arrays import MEANS, SCORES, VALUES
from coagent_rl.credit.rebar import PRODUCTS, SQUARES, learn_rebar, rebar
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import act
from tests.rule_networks import (
    T_OUT,
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
from tests.test_supervised_rules import judge
from tests.test_supervised_rules import make as make_batch

SMALL = {"net_arch": [8, 6]}
RETURNS = np.array([1.0, -0.5, 2.0])


def tuned(products: np.ndarray, squares: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(squares > 0, np.clip(products / squares, 0, 1), 1.0)


def sigmoid(x: th.Tensor | np.ndarray) -> th.Tensor:
    return th.sigmoid(th.as_tensor(x))


def relaxed_ratio(network, p, u, action, first: int, τ: float) -> tuple[th.Tensor, th.Tensor]:
    """π(a|b) with all units from layer ``first`` upwards relaxed, and by autograd its derivative by that layer's z."""
    z = th.tensor(T * np.log(p[first] / (1 - p[first])), requires_grad=True)
    b = sigmoid((z / T - th.logit(th.tensor(u[first]))) / τ)
    for k in range(first + 1, network.depth - 1):
        above = (b @ th.tensor(network.weights(k)) + th.tensor(network.biases(k))) / T
        b = sigmoid((above - th.logit(th.tensor(u[k]))) / τ)
    logits = th.cat([b @ th.tensor(network.weights(-1)) + th.tensor(network.biases(-1)), th.zeros(1)]) / T_OUT
    chance = (th.softmax(logits, 0) * th.tensor(action)).sum()
    return chance.detach(), th.autograd.grad(chance, z)[0]


def test_scores_are_reinforce_less_a_share_of_the_relaxed_twin_whose_mean_is_zero() -> None:
    τ, η = 0.6, 0.3
    learner = make("bernoulli", (5, 4, 3), options=[τ, η], store=np.zeros((1, 2, 1, 3 + 5 + 4 + 3 + 3)))
    network, δ = learner.network, (0.7, -1.3)
    kept = [np.zeros((2, n)) for n in (5, 4, 3)]
    for time in range(4):
        draw(learner, time)
        inputs, scores = [], []
        for row in range(2):
            h, p = ([layer(learner, plane, row, i).copy() for i in range(3)] for plane in (VALUES, MEANS))
            u = [learner.noise[1, row, network.slot(i)] for i in range(3)]
            action, own = layer(learner, VALUES, row, -1).copy(), []
            before = softmax(network, h[2]) @ action
            for i in range(3):
                chance, slopes = relaxed_ratio(network, p, u, action, i, τ)
                s = (h[i] - p[i]) / T
                m = np.where(h[i] == 1, (1 - p[i]) / (1 - u[i]), p[i] / u[i])
                k = (chance.item() * s - m * slopes.numpy()) / before
                own.append(s - tuned(*kept[i]) * k)
                for plane, value in ((PRODUCTS, k * s), (SQUARES, k * k)):
                    kept[i][plane] += η / 2 * (δ[row] ** 2 * value - kept[i][plane])
            inputs.append([X[row], *h])
            scores.append([*own, score_out(network, h[2], action)])
        assert_step(step_of(learner, learn_rebar, δ), learner, inputs, scores, δ)
        for i in range(3):
            np.testing.assert_allclose(learner.store[0, :, 0, network.slot(i)], kept[i], rtol=1e-9, atol=1e-12)


def test_units_that_do_not_explore_learn_nothing() -> None:
    learner = make("bernoulli", options=[0.25, 0.1], store=np.zeros((1, 2, 1, 15)))
    noise = learner.network.draw_noise(np.random.default_rng(0), 1, 2)
    noise[..., learner.network.slot(0)][..., :2] = 0.5
    learner.set_noise(noise)
    assert act(learner.arrays, X, 0)
    before = learner.network.weights(0).copy()
    step_of(learner, learn_rebar)
    changed = np.any(learner.network.weights(0) != before, axis=0)
    assert changed.tolist() == [False, False, True, True, True]
    assert np.all(learner.store[0, :, 0, :5] == 0.0)


def nodes(bounds: list[float], n: int) -> list[tuple[float, float]]:
    """Gauss-Legendre nodes and weights of the intervals of [0, 1] between the bounds."""
    x, w = np.polynomial.legendre.leggauss(n)
    ends = itertools.pairwise(sorted({0.0, 1.0, *bounds}))
    return [pair for a, b in ends for pair in zip(a + (b - a) * (x + 1) / 2, w * (b - a) / 2, strict=True)]


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_rebar_is_unbiased_whatever_the_share(share) -> None:
    """The integral over all noise, summed over all actions, is the exact gradient."""
    network = make("bernoulli", (2, 1), n_rows=1).network
    network.weights(1)[:] *= 2
    network.weights(2)[:] *= 3
    p = 1 / (1 + np.exp(-(X[0] @ network.weights(0) + network.biases(0)) / T))
    q = [1 / (1 + np.exp(-(b @ network.weights(1) + network.biases(1))[0] / T)) for b in bits(2)]
    cases = list(itertools.product(nodes([p[0]], 8), nodes([p[1]], 8), nodes(q, 10)))
    chances, n = np.prod([[w for _, w in case] for case in cases], axis=1), len(cases)
    learner = make("bernoulli", (2, 1), n_rows=n, options=[0.5, 0.0], store=np.zeros((1, 2, 1, network.width)))
    learner.network.parameters[:] = network.parameters
    learner.store[0, PRODUCTS], learner.store[0, SQUARES] = share, 1.0
    noise = np.zeros((1, n, network.width))
    noise[0, :, 3:6] = [[u for u, _ in case] for case in cases]
    learner.set_noise(noise)
    assert act(learner.arrays, np.repeat(X[:1], n, axis=0), 0)
    pi, total = learner.activity[MEANS][:, network.slot(-1)].copy(), 0.0
    for a in range(3):
        learner.activity[VALUES][:, network.slot(-1)] = np.eye(3)[a]
        told = np.repeat((n * chances * pi[:, a] * RETURNS[a])[:, None], network.width, axis=1)
        before = learner.network.parameters.copy()
        assert learn_rebar(learner.arrays, told, np.ones(n, bool), 0.0)
        total += (learner.network.parameters - before) / 0.01
        learner.network.parameters[:] = before
    np.testing.assert_allclose(total, exact_gradient(network, X[0], RETURNS), atol=2e-5)
    assert np.abs(total[: network.layout[1, 8]]).max() > 0.05


def squared_estimates(learner: Learner, rule, seed: int) -> float:
    """Mean square of return times score over all hidden units, of 20 000 paths; at once, the rule tunes itself to them."""
    n = learner.n_rows
    learner.set_noise(learner.network.draw_noise(np.random.default_rng(seed), 1, n))
    assert act(learner.arrays, np.repeat(X[:1], n, axis=0), 0)
    returns = learner.activity[VALUES][:, learner.network.slot(-1)] @ RETURNS
    learner.rates[:] = 0.0
    assert rule(learner.arrays, np.repeat(returns[:, None], learner.network.width, axis=1), np.ones(n, bool), 0.0)
    hidden = np.concatenate([layer(learner, SCORES, slice(None), i) for i in (0, 1)], axis=1)
    return float((np.square(returns[:, None] * hidden)).mean(axis=0).sum())


def test_the_tuned_share_is_better_than_none_and_than_all_of_it() -> None:
    learner = make("bernoulli", (12, 10), n_rows=20_000, options=[0.6, 0.0], store=np.zeros((1, 2, 1, 28)))
    squares = {}
    for share in (0.0, 1.0):
        learner.store[0, PRODUCTS], learner.store[0, SQUARES] = share, 1.0
        squares[share] = squared_estimates(learner, learn_rebar, 1)
    np.testing.assert_allclose(squares[0.0], squared_estimates(learner, learn_reinforce, 1), rtol=1e-9)
    learner.store[:] = 0.0
    learner.settings[-1] = 1.0
    squared_estimates(learner, learn_rebar, 2)
    learner.settings[-1] = 0.0
    best = squared_estimates(learner, learn_rebar, 1)
    assert best < 0.5 * squares[0.0]
    assert best < 0.95 * squares[1.0]


@pytest.mark.parametrize("unit", [0, 3])
def test_a_unit_reads_its_own_and_what_all_are_told(unit) -> None:
    """What it drew with, its share, its own derivative; besides, the two rewards."""
    rng = np.random.default_rng(0)
    arrays = [np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.6, 0.3, 0.8, 0.5]), np.array([0.2, 0.7, 0.1, 0.9])]
    tuning, gradient = rng.random((2, 4)) + np.array([[0.0], [1.0]]), rng.standard_normal(4)
    results = []
    for perturbed in (False, True):
        values, means, noise, *rest = (array.copy() for array in (*arrays, tuning, gradient))
        if perturbed:
            others = np.arange(4) != unit
            values[others], means[others], noise[others] = 1 - values[others], 1 - means[others], 1 - noise[others]
            for array in rest:
                array[..., others] += 1.0
        rebar(values, means, noise, 0.9, 1.4, 0.5, T, 0.1, *rest)
        results.append([rest[1][unit], *rest[0][:, unit]])
    np.testing.assert_array_equal(*results)
    assert np.all(np.array(results[0][1:]) != tuning[:, unit])


# ------------------------------------------------------------------ the agent


def test_every_layer_learns() -> None:
    assert_every_layer_learns(REBAR("MlpPolicy", "CartPole-v1", seed=0, actor_lambda=0.8, policy_kwargs=SMALL))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"relaxation": 0.0}, "relaxation must be positive"),
        ({"tuning_rate": 1.5}, r"tuning_rate must lie in \(0, 1\], not 1.5"),
        ({"policy_kwargs": {**SMALL, "units": "tanh"}}, "'bernoulli' hidden units, not 'tanh'"),
    ],
)
def test_wrong_arguments(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        REBAR("MlpPolicy", "CartPole-v1", **kwargs)


# ------------------------------------------------------------------ the estimators


@pytest.mark.parametrize("kwargs", [{}, {"baseline": "global"}, {"output": "gaussian_linear"}])
def test_estimators_relax_what_is_above_and_go_down_by_the_chain_rule(kwargs) -> None:
    kinds, τ, η = ("bernoulli", "tanh", "bernoulli"), 0.6, 0.4
    rule_kwargs = {"relaxation": τ, "tuning_rate": η}
    learner = make_batch(kinds, "rebar", n_samples=3, rule_kwargs=rule_kwargs, **kwargs)
    kept = {0: np.zeros((2, 6)), 2: np.zeros((2, 4))}
    for seed in range(3):
        _, targets = judge(learner, 2, seed)
        y = th.tensor(np.repeat(targets, 3))
        for index in (0, 2):
            own = learner.layers[index]
            p = own.means[:, : own.n_values].copy()
            z = th.tensor(np.log(p / (1 - p)), requires_grad=True)
            values = sigmoid((z - th.logit(th.tensor(own.noise.copy()))) / τ)
            for above in learner.layers[index + 1 :]:
                z_above = values @ th.tensor(above.weights) + th.tensor(above.biases)
                if above.spec.kind == "bernoulli":
                    values = sigmoid((z_above - th.logit(th.tensor(above.noise.copy()))) / τ)
                else:
                    values = th.tanh(z_above) if above.spec.kind == "tanh" else z_above
            if "output" in kwargs:
                values = values + 0.7 * th.tensor(learner.output.noise.copy())
            returns = -th.nn.functional.cross_entropy(values, y, reduction="none")
            slopes = th.autograd.grad(returns.sum(), z)[0].numpy()
            a = learner.advantages[index]
            relaxed = a + learner.losses + returns.detach().numpy()
            for row in range(6):
                s = own.outputs[row] - p[row]
                m = np.where(s > 0, (1 - p[row]) / (1 - own.noise[row]), p[row] / own.noise[row])
                k = relaxed[row] * s - m * slopes[row]
                wanted = a[row] * s - tuned(*kept[index]) * k
                np.testing.assert_allclose(own.credit_of_values[row], wanted, rtol=1e-7, atol=1e-10)
                for plane, value in ((PRODUCTS, a[row] * s * k), (SQUARES, k * k)):
                    kept[index][plane] += η / 6 * (value - kept[index][plane])
            np.testing.assert_allclose(learner.rule.tuning[index], kept[index], rtol=1e-7)
        learner.reinforcement.learn(learner)
    twin = copy.deepcopy(learner)
    np.testing.assert_array_equal(twin.rule.tuning[0], learner.rule.tuning[0])
    assert not hasattr(twin.rule, "_twins")


def test_estimates_are_unbiased_and_less_noisy_than_reinforce() -> None:
    """Against the sum over all that the units of one layer can do."""
    n, found = 20_000, {}
    for rule in ("rebar", "reinforce"):
        learner = make_batch(("bernoulli",), rule, n_samples=n, seed=3)
        _, targets = judge(learner, 1)
        found[rule] = learner.layers[0].credit_of_values.copy()
    p = learner.layers[0].means[0, :6].astype(float)
    exact = np.zeros(6)
    for b in bits(6):
        z = b @ learner.network.weights(-1) + learner.network.biases(-1)
        exact -= np.prod(np.where(b > 0, p, 1 - p)) * (np.log(np.exp(z).sum()) - z[targets[0]]) * (b - p)
    error = found["rebar"].std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(found["rebar"].mean(axis=0) - exact) < 5 * error)
    assert np.abs(exact).max() > 10 * error.max()
    assert found["rebar"].var(axis=0).sum() < 0.25 * found["reinforce"].var(axis=0).sum()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"relaxation": -1.0}, "relaxation must be positive and finite, not -1.0"),
        ({"tuning_rate": 0.0}, r"tuning_rate must lie in \(0, 1\], not 0.0"),
        ({"tuning_rate": True}, r"tuning_rate must lie in \(0, 1\], not True"),
    ],
)
def test_wrong_arguments_of_estimators(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_batch(("bernoulli",), "rebar", rule_kwargs=kwargs)
