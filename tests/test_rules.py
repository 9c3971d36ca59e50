"""The comparators of Weight Max and its pipelined form, each against an independent computation."""

import numpy as np
import pytest
import torch as th

from coagent_rl import Backprop, MAPProp, Reinforce, ReinforceThomas, STEBackprop, WeightMax
from coagent_rl.agents.backprop import learn_backprop
from coagent_rl.agents.thomas import learn_thomas
from coagent_rl.agents.weight_max import learn_weight_max_pipelined
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import MEANS, SCORES, VALUES, forward, local_scores
from coagent_rl.optimizers import DIRECTION
from coagent_rl.schedules import constant_schedule

START = np.ones(1, dtype=bool)
SMALL = {"net_arch": [8, 6]}


def make(kind: str, depth: int = 3, temperature: float = 1.5, **kwargs) -> Learner:
    hidden = [Layer(kind, 6 - index, temperature) for index in range(depth - 1)]
    network = Network(3, [*hidden, Layer("softmax_reference", 3, 0.8)], dtype=np.float64)
    network.initialise(np.random.default_rng(0), bias_range=0.5)
    return Learner(network, 1, constant_schedule(0.01), "sgd", **{"trace_decay": 0.0, **kwargs})


def act(learner: Learner, observation: np.ndarray, rng: np.random.Generator) -> None:
    network = learner.network
    noise = network.draw_noise(rng, 1, 1)
    assert forward(network.layout, network.constants, network.parameters, learner.activity, observation[None], noise, 0, 0)


def torch_parameters(network: Network) -> list[tuple[th.Tensor, th.Tensor]]:
    pairs = [(network.weights(i), network.biases(i)) for i in range(network.depth)]
    return [(th.tensor(weights, requires_grad=True), th.tensor(biases, requires_grad=True)) for weights, biases in pairs]


@pytest.mark.parametrize("kind", ["relu", "tanh", "softplus"])
def test_backprop_is_the_gradient_of_the_log_probability(kind) -> None:
    learner = make(kind)
    network, x = learner.network, np.array([0.3, -1.2, 0.7])
    act(learner, x, np.random.default_rng(0))
    parameters = torch_parameters(network)
    h = th.tensor(x)
    for weights, biases in parameters[:2]:
        z = (h @ weights + biases) / 1.5
        h = {"relu": th.relu, "tanh": th.tanh, "softplus": th.nn.functional.softplus}[kind](z)
    logits = th.cat([h @ parameters[2][0] + parameters[2][1], th.zeros(1)]) / 0.8
    action = int(learner.activity[VALUES, 0, learner.network.slot(-1)].argmax())
    th.log_softmax(logits, 0)[action].backward()
    learn_backprop(*learner.arguments, np.array([1.0]), START, 0, False)
    for index, (weights, biases) in enumerate(parameters):
        w, b, end = network.layout[index, 6:9]
        np.testing.assert_allclose(learner.traces[0, w:b], weights.grad.numpy().ravel(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(learner.traces[0, b:end], biases.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("smooth", [False, True])
def test_straight_through_is_autograd_with_the_sample_detached(smooth) -> None:
    learner = make("bernoulli")
    network, x = learner.network, np.array([0.3, -1.2, 0.7])
    act(learner, x, np.random.default_rng(3))
    parameters = torch_parameters(network)
    h = th.tensor(x)
    for index, (weights, biases) in enumerate(parameters[:2]):
        z = h @ weights + biases
        carrier = th.sigmoid(z / 1.5) if smooth else z
        sample = th.tensor(learner.activity[VALUES, 0, network.slot(index)])
        h = sample + carrier - carrier.detach()
    logits = th.cat([h @ parameters[2][0] + parameters[2][1], th.zeros(1)]) / 0.8
    th.log_softmax(logits, 0)[int(learner.activity[VALUES, 0, learner.network.slot(-1)].argmax())].backward()
    learn_backprop(*learner.arguments, np.array([1.0]), START, 0, smooth)
    for index, (weights, biases) in enumerate(parameters):
        w, b, end = network.layout[index, 6:9]
        np.testing.assert_allclose(learner.traces[0, w:b], weights.grad.numpy().ravel(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(learner.traces[0, b:end], biases.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_thomas_updates_explorers_only() -> None:
    learner = make("bernoulli")
    network = learner.network
    act(learner, np.ones(3), np.random.default_rng(0))
    exploring = np.zeros((1, 1, network.width), dtype=bool)
    exploring[..., network.slot(2)] = True
    exploring[0, 0, network.slot(0).start + 2] = True
    before = network.parameters.copy()
    learn_thomas(*learner.arguments, np.array([0.7]), START, 0, exploring, 0)
    change = Network(3, network.layers, dtype=np.float64)
    change.parameters[:] = network.parameters - before
    changed = [np.flatnonzero(change.biases(i)).tolist() for i in range(3)]
    assert changed == [[2], [], [0, 1]]


def test_thomas_switches_units_off_as_often_as_told() -> None:
    model = ReinforceThomas("MlpPolicy", "CartPole-v1", exploration_probability=0.25, seed=0, policy_kwargs=SMALL).learn(50)
    noise, network = model.noise, model.policy.actor
    hidden = noise.exploring[..., network.slot(0)]
    assert hidden.mean() == pytest.approx(0.25, abs=0.02)
    assert noise.exploring[..., network.slot(2)].all()
    np.testing.assert_array_equal(noise.block[..., network.slot(0)][~hidden], 0.5)
    assert noise.block[..., network.slot(0)][hidden].std() > 0.2


def test_prediction_explores_as_training_does() -> None:
    model = ReinforceThomas("MlpPolicy", "CartPole-v1", exploration_probability=1e-9, seed=0, policy_kwargs=SMALL)
    x = np.tile(np.array([0.1, -0.2, 0.05, 0.3]), (300, 1))
    assert len(np.unique(model.predict(x, deterministic=True)[0])) == 1  # no hidden unit draws
    assert len(np.unique(model.predict(x)[0])) == 2  # the output does


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_pipelined_traces_and_signals_are_the_literal_sums(depth) -> None:
    """Eqs. 13-17 of Chung (2022), written out: sums over the whole past, in a run without an end."""
    γ, λ, α = 0.95, 0.7, 0.02
    learner = make("bernoulli", depth, trace_decay=γ * λ, delayed=True)
    learner.rates[:] = α
    network, rng = learner.network, np.random.default_rng(1)
    gradients: list[list[np.ndarray]] = []
    old_changes = [np.zeros_like(network.weights(i)) for i in range(depth)]
    old_weights = [network.weights(i).copy() for i in range(depth)]
    for time in range(12):
        act(learner, rng.standard_normal(3), rng)
        local_scores(network.layout, network.constants, learner.activity)
        gradients.append([])
        for i in range(depth):
            _, _, n_in, n_pre, _, _, _, _, _, inputs, slot = network.layout[i]
            x, s = learner.activity[VALUES, 0, inputs : inputs + n_in], learner.activity[SCORES, 0, slot : slot + n_pre]
            gradients[time].append(np.outer(x, s))
        δ = rng.standard_normal()
        signals = [np.sum(2 * old_weights[i + 1] * old_changes[i + 1], axis=1) for i in range(depth - 1)]
        signals.append(np.full(2, δ))
        traces = []
        for i in range(depth):
            lag = depth - 1 - i
            past = [(1 - λ) * (λ * γ) ** (k - lag) * gradients[time - k][i] for k in range(lag, time + 1)]
            traces.append(sum(past, np.zeros_like(network.weights(i))))
        old_weights = [network.weights(i).copy() for i in range(depth)]
        arguments = (*learner.arguments, np.array([δ]), np.array([time == 0]), time)
        learn_weight_max_pipelined(*arguments, 2.0, 1 - λ, learner.ring, learner.ring_starts, time)
        old_changes = [trace * signal for trace, signal in zip(traces, signals, strict=True)]
        for i in range(depth):
            w, b = network.layout[i, 6:8]
            np.testing.assert_allclose(learner.traces[0, w:b], traces[i].ravel(), rtol=1e-9, atol=1e-15)
            np.testing.assert_allclose(learner.memory[DIRECTION, w:b], old_changes[i].ravel(), rtol=1e-9, atol=1e-15)
            np.testing.assert_allclose(network.weights(i), old_weights[i] + α * old_changes[i], rtol=1e-9)


def test_the_end_of_an_episode_reaches_the_hidden_layers_after_it() -> None:
    """A reinforcement at the last step changes the layer below the output one step later, by that episode's trace."""
    learner = make("bernoulli", 2, trace_decay=0.5, delayed=True)
    network, rng = learner.network, np.random.default_rng(0)
    for time, (start, δ) in enumerate([(True, 0.0), (False, 1.0), (True, 0.0), (False, 0.0)]):
        act(learner, np.ones(3), rng)
        before = network.biases(0).copy()
        arguments = (*learner.arguments, np.array([δ]), np.array([start]), time)
        learn_weight_max_pipelined(*arguments, 2.0, 0.5, learner.ring, learner.ring_starts, time)
        assert np.any(network.biases(0) != before) == (time == 2)


@pytest.mark.parametrize("units", ["gaussian_preactivation_relu", "categorical"])
@pytest.mark.parametrize("agent", [Reinforce, ReinforceThomas])
def test_global_rules_train_units_that_remember_what_they_drew(agent, units) -> None:
    model = agent("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={**SMALL, "units": units})
    network = model.policy.actor
    before = network.parameters.copy()
    model.learn(30)
    assert np.all(np.isfinite(network.parameters))
    for index in range(network.depth):
        w, b = network.layout[index, 6:8]
        assert np.any(network.parameters[w:b] != before[w:b])


@pytest.mark.parametrize(
    ("agent", "units", "message"),
    [
        (MAPProp, "gaussian_preactivation_relu", "relaxes Gaussian hidden units"),
        (WeightMax, "relu", "WeightMax trains stochastic hidden units"),
        (Reinforce, "tanh", "Reinforce trains stochastic hidden units"),
        (ReinforceThomas, "relu", "ReinforceThomas trains stochastic hidden units"),
        (STEBackprop, "gaussian_tanh", "defined for 'bernoulli' hidden units"),
        (Backprop, "bernoulli", "trains deterministic hidden units"),
    ],
)
def test_a_rule_refuses_units_for_which_it_is_not_defined(agent, units, message) -> None:
    with pytest.raises(ValueError, match=message):
        agent("MlpPolicy", "CartPole-v1", policy_kwargs={**SMALL, "units": units})


@pytest.mark.parametrize(
    ("agent", "kwargs", "message"),
    [
        (STEBackprop, {"slope": "tanh"}, "slope must be one of"),
        (ReinforceThomas, {"exploration_probability": 0.0}, "exploration_probability must lie in"),
        (WeightMax, {"trace_form": "late"}, "trace_form must be one of"),
        (WeightMax, {"trace_form": "pipelined", "actor_lambda": 1.0}, "actor_lambda must be below 1"),
    ],
)
def test_wrong_arguments(agent, kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        agent("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, **kwargs)


def test_means_of_the_hidden_units_do_not_depend_on_the_rule() -> None:
    """The same network, seed and observation: the rules differ in learning only."""
    means = []
    for agent in (WeightMax, Reinforce, STEBackprop):
        model = agent("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs=SMALL).learn(1)
        means.append(model.actor.activity[MEANS, 0, model.policy.actor.slot(0)])
    np.testing.assert_array_equal(means[0], means[1])
    np.testing.assert_array_equal(means[0], means[2])
