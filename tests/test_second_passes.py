"""Rules with a second pass, each against loops over units in NumPy, and against what it estimates."""

import itertools

import numpy as np
import pytest

from coagent_rl import EquilibriumPropagation
from coagent_rl.arrays import MEANS, SCORES, VALUES, named
from coagent_rl.credit.disarm import disarm_scores, learn_disarm
from coagent_rl.credit.equilibrium_propagation import learn_equilibrium_propagation, settle
from coagent_rl.credit.map_prop import relax
from coagent_rl.credit.noise_based import learn_noise_based, noise_based_scores
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.networks import Network
from coagent_rl.networks.forward import act, local_scores
from tests.rule_networks import (
    ACTIVATIONS,
    STARTS,
    T,
    X,
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

# ------------------------------------------------------------------ noise-based learning


@pytest.mark.parametrize("kind", ["gaussian_tanh", "gaussian_preactivation_relu"])
def test_noise_based_scores_compare_a_noisy_and_a_clean_pass(kind) -> None:
    learner = make(kind)
    network = learner.network
    draw(learner)
    activation, slope = ACTIVATIONS[kind.rpartition("_")[2]]
    is_before = "preactivation" in kind
    inputs, scores = [], []
    for row in range(2):
        values = [X[row], *(layer(learner, VALUES, row, i).copy() for i in range(2))]
        noise, slopes, clean = [], [], X[row]
        for i in range(2):
            z = (values[i] @ network.weights(i) + network.biases(i)) / T
            ξ = 0.3 * learner.noise[1, row, network.slot(i)]
            value = activation(z + ξ) if is_before else activation(z) + ξ
            np.testing.assert_allclose(values[i + 1], value, rtol=1e-9, atol=1e-12)
            noise.append(ξ)
            slopes.append(1 / T if is_before else slope(activation(z)) / T)
            clean = activation((clean @ network.weights(i) + network.biases(i)) / T)
        action = layer(learner, VALUES, row, -1).copy()
        growth = np.log(softmax(network, values[2]) @ action) - np.log(softmax(network, clean) @ action)
        norm = sum(float(ξ @ ξ) for ξ in noise)
        own = [growth * ξ / norm * slope for ξ, slope in zip(noise, slopes, strict=True)]
        inputs.append(values)
        scores.append([*own, score_out(network, values[2], action)])
    assert_step(step_of(learner, learn_noise_based), learner, inputs, scores)


def test_noise_based_scores_are_the_gradient_over_the_number_of_units_on_average() -> None:
    """With little noise, and for one action: of nine units, E[ξ ξᵀ / ‖ξ‖²] is a ninth of the identity."""
    n = 40_000
    learner, exact = make("gaussian_tanh", n_rows=n), make("tanh", n_rows=1)
    learner.constants[:2, 1] = 1e-4  # the deviation
    learner.set_noise(learner.network.draw_noise(np.random.default_rng(0), 2, n))
    assert act(learner.arrays, np.repeat(X[:1], n, axis=0), 1)
    draw(exact, observations=X[:1])
    for one in (learner, exact):
        one.activity[VALUES][:, one.network.slot(-1)] = [0.0, 1.0, 0.0]
        local_scores(named(one.arrays))
    noise_based_scores(named(learner.arrays))
    learn_reinforce(exact.arrays, np.ones((1, exact.network.width)), STARTS[:1], 0.0)
    for index in (0, 1):
        found = 9 * layer(learner, SCORES, slice(None), index)
        error = found.std(axis=0) / np.sqrt(n)
        wanted = layer(exact, SCORES, 0, index)
        assert np.all(np.abs(found.mean(axis=0) - wanted) < 5 * error)
        assert np.abs(wanted).max() > 20 * error.max()


def test_units_without_noise_learn_nothing_from_it() -> None:
    learner = make("gaussian_tanh")
    learner.set_noise(np.zeros((1, 2, learner.network.width)))
    assert act(learner.arrays, X, 0)
    direction = step_of(learner, learn_noise_based)
    end = learner.network.layout[1, 8]
    np.testing.assert_array_equal(direction[:end], 0.0)
    assert np.all(direction[end:] != 0.0)


# ------------------------------------------------------------------ DisARM


def test_disarm_compares_with_the_opposite_noise() -> None:
    learner = make("bernoulli", (5, 4, 3))
    network = learner.network
    heard = np.zeros(3)
    for seed in range(8):
        draw(learner, seed)
        inputs, scores = [], []
        for row in range(2):
            h = [layer(learner, VALUES, row, i).copy() for i in range(3)]
            p = [layer(learner, MEANS, row, i).copy() for i in range(3)]
            u = [learner.noise[1, row, network.slot(i)] for i in range(3)]
            action, own = layer(learner, VALUES, row, -1).copy(), []
            for i in range(3):
                twin = below = (1 - u[i] < p[i]).astype(float)
                for k in range(i + 1, 3):
                    z = (below @ network.weights(k) + network.biases(k)) / T
                    below = (u[k] < 1 / (1 + np.exp(-z))).astype(float)
                ratio = (softmax(network, below) @ action) / (softmax(network, h[2]) @ action)
                own.append(0.5 * (1 - ratio) * (h[i] - twin) * np.maximum(p[i], 1 - p[i]) / T)
            inputs.append([X[row], *h])
            scores.append([*own, score_out(network, h[2], action)])
        heard = np.maximum(heard, [[np.abs(s[i]).max() for i in range(3)] for s in scores]).max(axis=0)
        assert_step(step_of(learner, learn_disarm), learner, inputs, scores)
    assert np.all(heard > 0.01)  # each layer made a difference in one of them


def intervals(bounds: list[float]) -> list[tuple[float, float]]:
    """Middle and length of the intervals of [0, 1) between the bounds."""
    return [((a + b) / 2, b - a) for a, b in itertools.pairwise(sorted({0.0, 1.0, *bounds}))]


def test_disarm_is_unbiased() -> None:
    """The sum over all noise that makes a difference, and all actions, is the exact gradient; a baseline changes nothing."""
    learner = make("bernoulli", (2, 2), n_rows=1)
    network, returns = learner.network, np.array([1.0, -0.5, 2.0])
    wanted = exact_gradient(network, X[0], returns)
    noise = np.zeros((1, 1, network.width))
    p = 1 / (1 + np.exp(-(X[0] @ network.weights(0) + network.biases(0)) / T))
    above = [1 / (1 + np.exp(-(b @ network.weights(1) + network.biases(1)) / T)) for b in bits(2)]
    of_first = [intervals([q, 1 - q]) for q in p]
    # A unit of the second layer draws on either side of its mean, and of one minus it, whatever the first layer does.
    of_second = [intervals([m for q in above for m in (q[j], 1 - q[j])]) for j in range(2)]
    total, spread = np.zeros((2, network.parameters.size)), 0.0
    for units in itertools.product(*of_first, *of_second):
        chance = np.prod([length for _, length in units])
        noise[0, 0, network.slot(0)] = [u for u, _ in units[:2]]
        noise[0, 0, network.slot(1)] = [u for u, _ in units[2:]]
        learner.set_noise(noise)
        assert act(learner.arrays, X[:1], 0)
        pi = layer(learner, MEANS, 0, -1).copy()
        for a in range(3):
            layer(learner, VALUES, 0, -1)[:] = np.eye(3)[a]
            for k, baseline in enumerate((0.0, 0.9)):
                before = network.parameters.copy()
                direction = step_of(learner, learn_disarm, (returns[a] - baseline,))
                network.parameters[:] = before
                total[k] += chance * pi[a] * direction
                spread += chance * pi[a] * np.abs(direction).sum()
    np.testing.assert_allclose(total[0], wanted, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(total[1], wanted, rtol=1e-6, atol=1e-8)
    assert spread > 2 * np.abs(wanted).sum()  # which nothing single is


def test_disarm_has_less_variance_than_reinforce() -> None:
    n = 20_000
    learner = make("bernoulli", n_rows=n)
    learner.set_noise(learner.network.draw_noise(np.random.default_rng(0), 1, n))
    assert act(learner.arrays, np.repeat(X[:1], n, axis=0), 0)
    returns = learner.activity[VALUES][:, learner.network.slot(-1)] @ [1.0, -0.5, 2.0]
    variances = []
    for write in (local_scores, disarm_scores):
        write(named(learner.arrays))
        hidden = [layer(learner, SCORES, slice(None), i) for i in (0, 1)]
        variances.append(sum(float((returns[:, None] * s).var(axis=0).sum()) for s in hidden))
    assert variances[1] < 0.5 * variances[0]


# ------------------------------------------------------------------ equilibrium propagation


def settled(network: Network, x: np.ndarray, action: np.ndarray, kind: str, β: float, α: float, steps: int):
    """Inputs and scores of each layer in the nudged phase, by gradient descent on the energy written down anew."""
    m, slope = ACTIVATIONS[kind]

    def means(first: np.ndarray) -> list[np.ndarray]:
        return [m((below @ network.weights(i) + network.biases(i)) / T) for i, below in enumerate((x, first))]

    h = means(m((x @ network.weights(0) + network.biases(0)) / T))
    for _ in range(steps):
        μ = means(h[0])
        back = (
            network.weights(1) @ ((h[1] - μ[1]) * slope(μ[1]) / T),
            β * network.weights(2) @ score_out(network, h[1], action),
        )
        h = [h[i] - α * (h[i] - μ[i] - back[i]) for i in range(2)]
    μ = means(h[0])
    own = [(h[i] - μ[i]) * slope(μ[i]) / T / β for i in range(2)]
    return [x, *h], [*own, score_out(network, h[1], action)]


@pytest.mark.parametrize("kind", ["tanh", "relu"])
@pytest.mark.parametrize("nudge", [0.05, 0.7])
def test_equilibrium_propagation_is_descent_on_the_nudged_energy(kind, nudge) -> None:
    learner = make(kind, options=[7.0, 0.3, nudge])
    draw(learner)
    actions = [layer(learner, VALUES, row, -1).copy() for row in range(2)]
    pairs = [settled(learner.network, X[row], actions[row], kind, nudge, 0.3, 7) for row in range(2)]
    assert_step(step_of(learner, learn_equilibrium_propagation), learner, *zip(*pairs, strict=True))


def test_a_small_nudge_and_many_steps_are_backprop() -> None:
    errors = []
    for nudge, steps in ((1e-5, 200.0), (0.1, 200.0), (1e-5, 3.0)):
        learner, exact = make("tanh", options=[steps, 0.3, nudge]), make("tanh")
        for one in (learner, exact):
            draw(one)
        wanted = step_of(exact, learn_reinforce)
        errors.append(np.abs(step_of(learner, learn_equilibrium_propagation) - wanted).max() / np.abs(wanted).max())
    assert errors[0] < 1e-4
    assert errors[1] > 1e-3
    assert errors[2] > 0.1


def test_the_nudged_phase_is_the_relaxation_of_map_propagation_begun_at_the_means() -> None:
    β, α, steps = 0.2, 0.25, 6
    learner, other = make("tanh", options=[float(steps), α, β]), make("gaussian_tanh")
    other.constants[:2, 1] = np.sqrt(β)
    draw(learner)
    other.set_noise(np.zeros((1, 2, other.network.width)))
    assert act(other.arrays, X, 0)
    for row in range(2):
        layer(other, VALUES, row, -1)[:] = layer(learner, VALUES, row, -1)
        local_scores(named(learner.arrays))
        settle(named(learner.arrays), row)
        relax(named(other.arrays), row, steps, np.full(3, α * β))
        for index in range(3):
            np.testing.assert_allclose(layer(learner, VALUES, row, index), layer(other, VALUES, row, index), rtol=1e-12)
            n = learner.network.layers[index].n_pre
            found, wanted = (layer(one, SCORES, row, index)[:n] for one in (learner, other))
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_a_relaxation_that_diverges_is_named() -> None:
    kwargs = {"relaxation_rate": 1e4, "relaxation_steps": 200, "policy_kwargs": {"net_arch": [8, 6], "units": "linear"}}
    model = EquilibriumPropagation("MlpPolicy", "CartPole-v1", seed=0, **kwargs)
    before = model.policy.actor.parameters.copy()
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"relaxation of the hidden units diverged.*10000.0"):
        model.learn(50)
    np.testing.assert_array_equal(model.policy.actor.parameters, before)


# ------------------------------------------------------------------ what a unit reads


@pytest.mark.parametrize(("kind", "rule"), [("bernoulli", learn_disarm), ("gaussian_tanh", learn_noise_based)])
def test_units_read_their_own_and_one_number_that_all_are_told(kind, rule) -> None:
    """With all weights changed but those of two units, the second pass ends elsewhere, and both their updates change by the
    same factor."""
    kept = np.array([1, 4])
    others = np.setdiff1d(np.arange(5), kept)

    def update(perturbed: bool) -> np.ndarray:
        learner = make(kind, n_rows=1)
        network = learner.network
        draw(learner, 3, X[:1])
        if perturbed:
            rng = np.random.default_rng(4)
            network.weights(0)[:, others] += rng.standard_normal()
            network.biases(0)[others] += rng.standard_normal()
            for array in (network.weights(1), network.biases(1), network.weights(2), network.biases(2)):
                array += rng.standard_normal(array.shape)
        change = Network(3, network.layers, dtype=np.float64)
        change.parameters[:] = step_of(learner, rule, (0.7,))
        return np.append(change.weights(0)[:, kept], change.biases(0)[kept])

    plain, changed = update(False), update(True)
    assert np.all(plain != 0.0)
    factors = changed / plain
    assert abs(factors[0] - 1.0) > 0.05
    np.testing.assert_allclose(factors, factors[0], rtol=1e-7)


def test_units_settle_by_their_own_weights_in_both_directions() -> None:
    """One step of the nudged phase: a unit below the output reads its input, its value and its outgoing weights."""
    unit, others = 2, np.arange(4) != 2

    def update(perturbed: bool, outgoing: float = 0.0) -> np.ndarray:
        learner = make("tanh", n_rows=1, options=[1.0, 0.3, 0.2])
        network = learner.network
        draw(learner, 0, X[:1])
        local_scores(named(learner.arrays))
        before = network.weights(2).copy()
        if perturbed:
            rng = np.random.default_rng(4)
            for array in (network.weights(0), network.biases(0)):
                array += rng.standard_normal(array.shape)
            for array in (network.weights(1), network.biases(1)):
                array[..., others] += rng.standard_normal()
            network.weights(2)[others] += rng.standard_normal()
        network.weights(2)[unit] += outgoing
        settle(named(learner.arrays), 0)
        assert np.any(network.weights(2) != before) == (perturbed or outgoing != 0.0)
        return layer(learner, SCORES, 0, 1)[[unit]]

    plain = update(False)
    assert plain[0] != 0.0
    np.testing.assert_allclose(update(True), plain, rtol=1e-12)
    assert np.abs(update(False, 0.5) / plain - 1.0) > 0.1
