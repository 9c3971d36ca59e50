"""The comparators of Weight Max and its pipelined form, each against an independent computation."""

import numpy as np
import pytest
import torch as th

from coagent_rl import Backprop, MAPProp, Reinforce, ReinforceThomas, STEBackprop, WeightMax
from coagent_rl.agents.feedback_alignment import FeedbackAlignment
from coagent_rl.arrays import DIRECTION, MEANS, SCORES, VALUES, named
from coagent_rl.credit.feedback_alignment import learn_feedback_alignment
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.credit.straight_through import learn_straight_through
from coagent_rl.credit.thomas import learn_thomas
from coagent_rl.credit.weight_max import learn_weight_max_pipelined
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import act as act_with_its_noise
from coagent_rl.networks.forward import forward, local_scores
from coagent_rl.schedules import constant_schedule
from tests.rule_networks import assert_every_layer_learns

START = np.ones(1, dtype=bool)
SMALL = {"net_arch": [8, 6]}
X = np.array([0.3, -1.2, 0.7])


def make(kinds: str | list[str], depth: int = 3, temperature: float = 1.5, pipelined: bool = False, **kwargs) -> Learner:
    kinds = [kinds] * (depth - 1) if isinstance(kinds, str) else kinds
    hidden = [Layer(kind, 6 - index, temperature) for index, kind in enumerate(kinds)]
    network = Network(3, [*hidden, Layer("softmax_reference", 3, 0.8)], dtype=np.float64)
    network.initialise(np.random.default_rng(0), bias_range=0.5)
    if pipelined:
        kwargs |= {"store": np.zeros((network.depth, 3, 1, network.width)), "has_traces": True}
    return Learner(network, 1, constant_schedule(0.01), "sgd", **{"trace_decay": 0.0, **kwargs})


def act(learner: Learner, observation: np.ndarray, rng: np.random.Generator) -> None:
    network = learner.network
    noise = network.draw_noise(rng, 1, 1)
    assert forward(network.structure, learner.activity, observation[None], noise, 0, 0)


def tell(learner: Learner, reinforcement: float) -> np.ndarray:
    """The same reinforcement for every unit."""
    return np.full((1, learner.network.width), reinforcement)


def learned(learner: Learner, rule, reinforcement: float = 1.0) -> np.ndarray:
    """What the rule moves the parameters by, over the learning rate: its direction."""
    before = learner.network.parameters.copy()
    assert rule(learner.arrays, tell(learner, reinforcement), START, 0)
    return (learner.network.parameters - before) / 0.01


def torch_parameters(network: Network) -> list[tuple[th.Tensor, th.Tensor]]:
    pairs = [(network.weights(i), network.biases(i)) for i in range(network.depth)]
    return [(th.tensor(weights, requires_grad=True), th.tensor(biases, requires_grad=True)) for weights, biases in pairs]


def assert_are_gradients(vector: np.ndarray, network: Network, parameters: list[tuple[th.Tensor, th.Tensor]]) -> None:
    """Compare a vector laid out as the parameters are with what autograd left in these."""
    for index, (weights, biases) in enumerate(parameters):
        w, b, end = network.layout[index, 6:9]
        np.testing.assert_allclose(vector[w:b], weights.grad.numpy().ravel(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(vector[b:end], biases.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("has_traces", [False, True])
@pytest.mark.parametrize("kind", ["relu", "tanh", "softplus"])
def test_backprop_is_the_gradient_of_the_log_probability(kind, has_traces) -> None:
    learner = make(kind, has_traces=has_traces)
    network, x = learner.network, X
    act(learner, x, np.random.default_rng(0))
    parameters = torch_parameters(network)
    h = th.tensor(x)
    for weights, biases in parameters[:2]:
        z = (h @ weights + biases) / 1.5
        h = {"relu": th.relu, "tanh": th.tanh, "softplus": th.nn.functional.softplus}[kind](z)
    logits = th.cat([h @ parameters[2][0] + parameters[2][1], th.zeros(1)]) / 0.8
    action = int(learner.activity[VALUES, 0, learner.network.slot(-1)].argmax())
    th.log_softmax(logits, 0)[action].backward()
    assert_are_gradients(learned(learner, learn_reinforce), network, parameters)
    assert len(learner.traces) == has_traces
    if has_traces:
        assert_are_gradients(learner.traces[0], network, parameters)


@pytest.mark.parametrize("has_traces", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
def test_straight_through_is_autograd_with_the_sample_detached(smooth, has_traces) -> None:
    learner = make("bernoulli", has_traces=has_traces, options=[float(smooth)])
    network, x = learner.network, X
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
    assert_are_gradients(learned(learner, learn_straight_through), network, parameters)
    if has_traces:
        assert_are_gradients(learner.traces[0], network, parameters)


@pytest.mark.parametrize(
    "kinds",
    [
        ["relu", "bernoulli"],
        ["bernoulli", "relu"],
        ["relu", "tanh", "bernoulli"],
        ["bernoulli", "softplus", "relu"],
        ["relu", "bernoulli", "relu"],
        ["bernoulli", "relu", "bernoulli"],
    ],
    ids="-".join,
)
@pytest.mark.parametrize("has_traces", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_mixed_layers_follow_the_gradient_of_the_whole_paths_log_probability(kinds, has_traces, seed) -> None:
    """Bernoulli values are what was drawn, deterministic layers belong to the coagents above them."""
    learner = make(kinds, has_traces=has_traces)
    network, depth = learner.network, len(kinds) + 1
    act(learner, X, np.random.default_rng(seed))
    parameters, h, log_probability = torch_parameters(network), th.tensor(X), th.zeros((), dtype=th.float64)
    for index, kind in enumerate(kinds):
        z = (h @ parameters[index][0] + parameters[index][1]) / 1.5
        if kind == "bernoulli":
            h = th.tensor(learner.activity[VALUES, 0, network.slot(index)])
            log_probability = log_probability + th.distributions.Bernoulli(logits=z).log_prob(h).sum()
        else:
            h = {"relu": th.relu, "tanh": th.tanh, "softplus": th.nn.functional.softplus}[kind](z)
            np.testing.assert_allclose(learner.activity[VALUES, 0, network.slot(index)], h.detach(), rtol=1e-12)
    logits = th.cat([h @ parameters[-1][0] + parameters[-1][1], th.zeros(1)]) / 0.8
    action = int(learner.activity[VALUES, 0, network.slot(depth - 1)].argmax())
    (-0.7 * (log_probability + th.log_softmax(logits, 0)[action])).backward()
    direction = learned(learner, learn_reinforce, -0.7)
    assert_are_gradients(direction, network, parameters)
    for index in range(depth):
        w, b = network.layout[index, 6:8]
        assert np.any(direction[w:b] != 0.0)


@pytest.mark.parametrize("units", [["relu", "bernoulli"], ["bernoulli", "relu"]])
@pytest.mark.parametrize("actor_lambda", [0.0, 0.9])
def test_reinforce_trains_every_layer_of_mixed_networks(units, actor_lambda) -> None:
    kwargs = {"actor_lambda": actor_lambda, "policy_kwargs": {**SMALL, "units": units}, "seed": 0}
    model = Reinforce("MlpPolicy", "CartPole-v1", **kwargs)
    assert [layer.kind for layer in model.policy.actor.layers] == [*units, "softmax_reference"]
    assert_every_layer_learns(model)


@pytest.mark.parametrize(("units", "actor_lambda"), [("relu", 0.0), ("tanh", 0.9), (["softplus", "relu"], 0.9)])
def test_reinforce_of_a_single_coagent_is_backprop(units, actor_lambda) -> None:
    kwargs = {"actor_lambda": actor_lambda, "policy_kwargs": {**SMALL, "units": units}, "seed": 0}
    first, second = (agent("MlpPolicy", "CartPole-v1", **kwargs).learn(300) for agent in (Reinforce, Backprop))
    np.testing.assert_array_equal(first.policy.actor.parameters, second.policy.actor.parameters)
    np.testing.assert_array_equal(first.policy.critic.parameters, second.policy.critic.parameters)


SLOPES = {"relu": lambda m: (m > 0) / 1.5, "tanh": lambda m: (1 - m**2) / 1.5, "softplus": lambda m: (1 - np.exp(-m)) / 1.5}


@pytest.mark.parametrize("kind", list(SLOPES))
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_feedback_through_the_chain_of_forward_weights_is_backprop(kind, depth) -> None:
    n_out, directions = 2, {}
    for feedback in ("none", "chain", "random"):
        learner = make(kind, depth)
        network = learner.network
        act(learner, X, np.random.default_rng(0))
        if feedback == "none":
            directions[feedback] = learned(learner, learn_reinforce, 0.7)
            continue
        store = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 1, n_out, network.width))
        chain = np.eye(n_out)
        if feedback == "chain":  # from the output's score to ∂ log π / ∂h of each layer
            for index in range(depth - 2, -1, -1):
                chain = network.weights(index + 1) @ chain
                store[0, 0, :, network.slot(index)] = chain.T
                chain = SLOPES[kind](learner.activity[MEANS, 0, network.slot(index)])[:, None] * chain
        learner = Learner(network, 1, constant_schedule(0.01), "sgd", 0.0, store=store)
        act(learner, X, np.random.default_rng(0))
        directions[feedback] = learned(learner, learn_feedback_alignment, 0.7)
        np.testing.assert_array_equal(learner.store, store)
    np.testing.assert_allclose(directions["chain"], directions["none"], rtol=1e-12, atol=1e-12)
    output = network.layout[-1, 6]
    np.testing.assert_allclose(directions["random"][output:], directions["none"][output:], rtol=1e-12, atol=1e-12)
    for index in range(depth - 1):
        w, b = network.layout[index, 6:8]
        assert np.abs(directions["random"][w:b] - directions["none"][w:b]).max() > 1e-3


def test_feedback_weights_are_fixed_and_depend_on_the_seed() -> None:
    def new(seed: int) -> FeedbackAlignment:
        return FeedbackAlignment("MlpPolicy", "CartPole-v1", seed=seed, actor_lambda=0.9, policy_kwargs=SMALL)

    model, network = new(0), new(0).policy.actor
    feedback = model.actor_learner.store.copy()
    assert feedback.shape == (1, 1, 1, network.width)
    assert np.all(np.abs(feedback) <= 1.0)
    assert np.unique(feedback).size == feedback.size
    model.learn(300)
    np.testing.assert_array_equal(model.actor_learner.store, feedback)
    np.testing.assert_array_equal(new(0).actor_learner.store, feedback)
    assert np.all(new(1).actor_learner.store != feedback)
    backprop = Backprop("MlpPolicy", "CartPole-v1", seed=0, actor_lambda=0.9, policy_kwargs=SMALL)
    np.testing.assert_array_equal(backprop.policy.actor.parameters, network.parameters)
    assert np.any(backprop.learn(300).policy.actor.parameters != model.policy.actor.parameters)
    for index in range(network.depth):
        assert np.any(model.policy.actor.weights(index) != network.weights(index))
    for seed, n_out in ((0, 2), (3, 5)):  # uniform in ±1/√n_out
        kinds = Network(4, [Layer("relu", 2000), Layer("softmax", n_out)])
        drawn = new(seed)._rule_store(kinds, 1)
        assert drawn.shape == (1, 1, n_out, kinds.width)
        assert np.abs(drawn).max() == pytest.approx(n_out**-0.5, rel=0.01)
        assert drawn.std() == pytest.approx((3 * n_out) ** -0.5, rel=0.05)


def test_thomas_updates_explorers_only() -> None:
    learner = make("bernoulli")
    network = learner.network
    noise = network.draw_noise(np.random.default_rng(0), 3, 1)
    for step, explorers in ((0, [0, 1]), (1, [2]), (2, [3])):
        for index in (0, 1):
            hidden = noise[step, 0, network.slot(index)]
            others = [unit for unit in range(hidden.size) if index == 1 or unit not in explorers]
            hidden[others] = 0.5
    learner.set_noise(noise)
    assert act_with_its_noise(learner.arrays, np.ones((1, 3)), 1)
    before = network.parameters.copy()
    assert learn_thomas(learner.arrays, tell(learner, 0.7), START, 0)
    change = Network(3, network.layers, dtype=np.float64)
    change.parameters[:] = network.parameters - before
    changed = [np.flatnonzero(change.biases(i)).tolist() for i in range(3)]
    assert changed == [[2], [], [0, 1]]


def test_thomas_switches_units_off_as_often_as_told() -> None:
    model = ReinforceThomas("MlpPolicy", "CartPole-v1", exploration_probability=0.25, seed=0, policy_kwargs=SMALL).learn(50)
    block, network = model.noise.block, model.policy.actor
    hidden = block[..., network.slot(0)] != 0.5
    assert hidden.mean() == pytest.approx(0.25, abs=0.02)
    assert np.all(block[..., network.slot(2)] != 0.5)
    assert block[..., network.slot(0)][hidden].std() > 0.2


def test_prediction_explores_as_training_does() -> None:
    model = ReinforceThomas("MlpPolicy", "CartPole-v1", exploration_probability=1e-9, seed=0, policy_kwargs=SMALL)
    model.policy.deterministic_mode = "sample_hidden"
    x = np.tile(np.array([0.1, -0.2, 0.05, 0.3]), (300, 1))
    assert len(np.unique(model.predict(x, deterministic=True)[0])) == 1  # no hidden unit draws
    assert len(np.unique(model.predict(x)[0])) == 2  # the output does


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_pipelined_traces_and_signals_are_the_literal_sums(depth) -> None:
    """Eqs. 13-17 of Chung (2022), written out: sums over the whole past, in a run without an end."""
    γ, λ, α = 0.95, 0.7, 0.02
    learner = make("bernoulli", depth, pipelined=True, trace_decay=γ * λ, options=[2.0, 1 - λ])
    learner.rates[:] = α
    network, rng = learner.network, np.random.default_rng(1)
    gradients: list[list[np.ndarray]] = []
    old_changes = [np.zeros_like(network.weights(i)) for i in range(depth)]
    old_weights = [network.weights(i).copy() for i in range(depth)]
    for time in range(12):
        act(learner, rng.standard_normal(3), rng)
        local_scores(named(learner.arrays))
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
        assert learn_weight_max_pipelined(learner.arrays, tell(learner, δ), np.array([time == 0]), time)
        old_changes = [trace * signal for trace, signal in zip(traces, signals, strict=True)]
        for i in range(depth):
            w, b = network.layout[i, 6:8]
            np.testing.assert_allclose(learner.traces[0, w:b], traces[i].ravel(), rtol=1e-9, atol=1e-15)
            np.testing.assert_allclose(learner.memory[DIRECTION, w:b], old_changes[i].ravel(), rtol=1e-9, atol=1e-15)
            np.testing.assert_allclose(network.weights(i), old_weights[i] + α * old_changes[i], rtol=1e-9)


def test_the_end_of_an_episode_reaches_the_hidden_layers_after_it() -> None:
    """A reinforcement at the last step changes the layer below the output one step later, by that episode's trace."""
    learner = make("bernoulli", 2, pipelined=True, trace_decay=0.5, options=[2.0, 0.5])
    network, rng = learner.network, np.random.default_rng(0)
    for time, (start, δ) in enumerate([(True, 0.0), (False, 1.0), (True, 0.0), (False, 0.0)]):
        act(learner, np.ones(3), rng)
        before = network.biases(0).copy()
        assert learn_weight_max_pipelined(learner.arrays, tell(learner, δ), np.array([start]), time)
        assert np.any(network.biases(0) != before) == (time == 2)


@pytest.mark.parametrize("units", ["gaussian_preactivation_relu", "categorical"])
@pytest.mark.parametrize("agent", [Reinforce, ReinforceThomas])
def test_global_rules_train_units_that_remember_what_they_drew(agent, units) -> None:
    assert_every_layer_learns(agent("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={**SMALL, "units": units}))


@pytest.mark.parametrize(
    ("agent", "units", "message"),
    [
        (
            MAPProp,
            "gaussian_preactivation_relu",
            "MAPProp is defined for 'gaussian_linear', .* hidden units, not 'gaussian_preactivation_relu'",
        ),
        (WeightMax, "relu", "WeightMax trains stochastic hidden units"),
        (WeightMax, "categorical", "one signal, but 'categorical' units have one pre-activation per level"),
        (WeightMax, ["bernoulli", "categorical"], "rule is not defined for them"),
        (FeedbackAlignment, "bernoulli", "'softplus' hidden units, not 'bernoulli'"),
        (STEBackprop, "gaussian_tanh", "defined for 'bernoulli' hidden units"),
        (Backprop, "bernoulli", "Backprop is defined for 'linear', .* hidden units, not 'bernoulli'"),
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
        means.append(model.actor_learner.activity[MEANS, 0, model.policy.actor.slot(0)])
    np.testing.assert_array_equal(means[0], means[1])
    np.testing.assert_array_equal(means[0], means[2])
