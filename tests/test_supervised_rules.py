"""Rules, baselines and critics of supervised coagent networks against autograd and against the agents' own kernels."""

import numpy as np
import pytest
import torch as th

from coagent_rl.arrays import DIRECTION, MEANS, VALUES, LearnerArrays, named
from coagent_rl.credit.backprop import scores_within_coagents
from coagent_rl.credit.feedback_alignment import random_feedback
from coagent_rl.credit.map_prop import relax
from coagent_rl.credit.posterior import learn_posterior
from coagent_rl.credit.product import learn_product
from coagent_rl.credit.straight_through import straight_through_scores
from coagent_rl.credit.weight_max import outgoing_weight_growth, present_weight_growth
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import local_scores, means_of_layer
from coagent_rl.schedules import constant_schedule
from coagent_rl.supervised.deviation import LearnedDeviation
from coagent_rl.supervised.learner import BatchLearner
from coagent_rl.supervised.network import initialise
from coagent_rl.supervised.rules import RULES
from coagent_rl.supervised.rules.posterior import RuleOfSampledLayers

LEVELS = (-1.0, 0.5, 2.0)
ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": th.relu,
    "tanh": th.tanh,
    "sigmoid": th.sigmoid,
    "softplus": th.nn.functional.softplus,
}


def make(kinds, rule="reinforce", loss="cross_entropy", output=None, deviation=0.7, seed=0, **kwargs) -> BatchLearner:
    """A float64 learner of hidden layers of the given kinds, 5 inputs and 3 outputs; exact ones where the rule allows it."""
    if output is None:
        needs_draws = rule in RULES and issubclass(RULES[rule], RuleOfSampledLayers)
        output = "gaussian_linear" if needs_draws else "linear"
    learned = isinstance(deviation, LearnedDeviation)
    σ = deviation if isinstance(deviation, float) else deviation.start
    layers = [
        Layer(kind, 6 - index, deviation=σ, learned_deviation=learned and Layer(kind, 1).has_deviation, levels=LEVELS)
        for index, kind in enumerate(kinds)
    ]
    layers.append(Layer(output, 3, deviation=σ, learned_deviation=learned and output != "linear"))
    rng = np.random.default_rng(seed)
    network = Network(5, layers, dtype=np.float64)
    initialise(network, rng)
    return BatchLearner(network, loss, rule, rng=rng, learning_rate=0.01, deviation=deviation, **kwargs)


def batch(learner: BatchLearner, n: int = 7, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, n) if learner.loss == "cross_entropy" else rng.standard_normal((n, 3))
    return rng.standard_normal((n, 5)), targets


def judge(learner: BatchLearner, n: int = 7, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Everything of an update but the step."""
    inputs, targets = batch(learner, n, seed)
    learner.propagate(inputs, learner.draw)
    learner.judge(targets)
    learner.assign_credit()
    learner.compute_direction()
    return inputs, targets


def deviation_of(learner: BatchLearner, index: int, rho: th.Tensor) -> th.Tensor:
    spec = learner.network.layers[index]
    if not spec.learned_deviation:
        return th.tensor(spec.deviation, dtype=th.float64)
    start = learner.learned.start
    forms = {"exp": th.exp(rho), "sigmoid": 2 * start * th.sigmoid(rho), "relu": rho}
    return forms[learner.learned.form]


def autograd(learner: BatchLearner, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Up the return: the gradient of mean Σ_l A_l ln π_l - (mean loss where it is exact), by all parameters."""
    network = learner.network
    parameters = th.tensor(network.parameters, requires_grad=True)
    h = th.tensor(inputs).repeat_interleave(learner.n_samples, 0)
    objective = th.zeros((), dtype=th.float64)
    for layer, spec in zip(learner.layers, network.layers, strict=True):
        w, b, end = (int(k) for k in network.layout[layer.index, 6:9])
        z = h @ parameters[w:b].reshape(layer.n_in, layer.n_pre) + parameters[b : b + layer.n_pre]
        σ = deviation_of(learner, layer.index, parameters[b + layer.n_pre : end])
        values = th.tensor(layer.outputs.copy())
        if not layer.is_sampled:
            h = ACTIVATIONS[spec.kind](z)
            continue
        c = layer.log_offset
        if spec.kind == "bernoulli":
            p = th.sigmoid(z)
            log_π = th.log(th.where(values == 1, p, 1 - p) + c)
        elif spec.kind == "categorical":
            chosen = th.tensor(layer.values[:, layer.n_values : 2 * layer.n_values]).long()
            p = th.softmax(z.reshape(len(z), layer.n_values, len(LEVELS)), -1)
            log_π = th.log(p.gather(-1, chosen[..., None])[..., 0] + c)
        else:
            drawn = th.tensor(layer.values[:, layer.n_values :].copy()) if "preactivation" in spec.kind else values
            mean = z if "preactivation" in spec.kind else ACTIVATIONS[spec.kind.removeprefix("gaussian_")](z)
            log_π = -0.5 * ((drawn - mean) / σ) ** 2 - th.log(σ)
        objective = objective + (th.tensor(learner.advantages[layer.index]) * log_π.sum(1)).mean()
        h = values
    if not learner.output.is_sampled:
        wanted = th.tensor(np.repeat(targets, learner.n_samples, axis=0))
        if learner.loss == "cross_entropy":
            objective = objective - th.nn.functional.cross_entropy(h, wanted)
        else:
            objective = objective - ((h - wanted) ** 2).mean()
    objective.backward()
    return parameters.grad.numpy()


CASES = [
    (("bernoulli",), {}),
    (("bernoulli", "bernoulli"), {"baseline": "layer", "n_samples": 3, "log_offsets": 0.1}),
    (("categorical", "bernoulli"), {"baseline": "state", "log_offsets": [0.2, 0.0, 0.0], "n_samples": 2}),
    (("gaussian_preactivation_relu",), {"output": "gaussian_linear"}),
    (("gaussian_preactivation_relu", "gaussian_tanh"), {"output": "gaussian_linear", "loss": "squared_error"}),
    (("relu", "gaussian_preactivation_relu"), {"output": "gaussian_linear", "baseline": "layer", "n_samples": 2}),
    (("categorical", "relu"), {"output": "gaussian_linear", "baseline": "global"}),
    (("relu", "tanh"), {"output": "gaussian_linear"}),
    (("tanh", "softplus", "bernoulli", "sigmoid"), {"loss": "squared_error", "baseline": "layer"}),
    (("relu", "relu"), {"rule": "backprop", "loss": "squared_error"}),
    ((), {"loss": "cross_entropy"}),
    (("bernoulli",), {"critic": "on_policy"}),
    *(
        (
            ("gaussian_preactivation_relu", "gaussian_tanh"),
            {"output": "gaussian_linear", "deviation": LearnedDeviation(1.5, form)},
        )
        for form in ("exp", "sigmoid", "relu")
    ),
]


@pytest.mark.parametrize(("kinds", "kwargs"), CASES, ids=lambda value: str(value)[:60])
def test_directions_are_the_gradients_of_return_weighted_log_probabilities(kinds, kwargs) -> None:
    learner = make(kinds, **kwargs)
    for number in range(3):  # the second batch finds a baseline, the third is smaller than those before
        inputs, targets = judge(learner, 7 if number < 2 else 4, seed=number)
        np.testing.assert_allclose(learner.memory[DIRECTION], autograd(learner, inputs, targets), rtol=1e-9, atol=1e-12)
        learner.reinforcement.learn(learner)
        learner.update()


@pytest.mark.parametrize("rule", ["thomas", "node_perturbation"])
def test_rules_that_change_the_advantages_or_the_explorers_only(rule) -> None:
    kinds = ("gaussian_preactivation_relu", "gaussian_tanh")
    learner = make(kinds, rule, rule_kwargs={"exploration_probability": 0.5} if rule == "thomas" else None, n_samples=2)
    inputs, targets = judge(learner)
    if rule == "thomas":
        for layer in learner.layers[:-1]:
            drawn = layer.values[:, layer.n_values :] if layer.index == 0 else layer.outputs
            silent = ~layer.exploring
            assert 0.2 < silent.mean() < 0.8
            np.testing.assert_array_equal(drawn[silent], layer.means[:, : layer.n_values][silent])
            assert np.all(layer.scores[:, : layer.n_values][silent] == 0.0)
            assert np.all(drawn[layer.exploring] != layer.means[:, : layer.n_values][layer.exploring])
    else:
        x = np.maximum(inputs @ learner.network.weights(0) + learner.network.biases(0), 0.0)
        x = np.tanh(x @ learner.network.weights(1) + learner.network.biases(1))
        logits = th.tensor(x @ learner.network.weights(2) + learner.network.biases(2))
        clean = th.nn.functional.cross_entropy(logits, th.tensor(targets), reduction="none").numpy()
        np.testing.assert_allclose(learner.advantages[0], np.repeat(clean, 2) - learner.losses, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(learner.memory[DIRECTION], autograd(learner, inputs, targets), rtol=1e-9, atol=1e-12)


def one_hot(classes: np.ndarray) -> np.ndarray:
    return np.eye(3)[classes]


def as_agent(learner: BatchLearner, inputs: np.ndarray, outputs: np.ndarray, output: str) -> tuple[Network, LearnerArrays]:
    """The same network with another kind of output, and the arrays of an agent after the learner's forward pass."""
    network = Network(5, [*learner.network.layers[:-1], Layer(output, 3)], dtype=np.float64)
    network.parameters[:] = learner.network.parameters
    agent = Learner(network, len(inputs), constant_schedule(0.1), "sgd", 0.0)
    values, means = agent.activity[VALUES], agent.activity[MEANS]
    values[:, :5] = inputs
    for layer in learner.layers[:-1]:
        slot = int(network.layout[layer.index, 10])
        values[:, slot : slot + layer.values.shape[1]] = layer.values
    values[:, network.slot(-1)] = outputs
    for row in range(len(inputs)):
        for index in range(network.depth):
            means_of_layer(network.structure, index, values[row], means[row])
    arrays = named(agent.arrays)
    local_scores(arrays)
    return network, arrays


def test_the_chain_rule_is_that_of_the_agents() -> None:
    learner = make(("relu", "tanh", "softplus"), "backprop")
    inputs, targets = judge(learner)
    network, agent = as_agent(learner, inputs, one_hot(targets), "softmax")
    scores_within_coagents(agent)
    for layer in learner.layers:
        np.testing.assert_allclose(layer.credit_of_values, agent.scores[:, network.slot(layer.index)], rtol=1e-12)


@pytest.mark.parametrize("slope", ["identity", "sigmoid"])
def test_straight_through_is_that_of_the_agents(slope) -> None:
    learner = make(("bernoulli", "bernoulli"), "straight_through", rule_kwargs={"slope": slope})
    inputs, targets = judge(learner)
    network, agent = as_agent(learner, inputs, one_hot(targets), "softmax")
    straight_through_scores(agent, slope == "sigmoid")
    for layer in learner.layers:
        np.testing.assert_allclose(layer.credit_of_values, agent.scores[:, network.slot(layer.index)], rtol=1e-12)


def test_straight_through_by_default_teaches_the_units_that_fired() -> None:
    learner = make(("bernoulli",), "straight_through")
    judge(learner)
    hidden, output = learner.layers
    wanted = hidden.outputs * (output.credit_of_values @ learner.network.weights(1).T)
    np.testing.assert_allclose(hidden.credit_of_values, wanted, rtol=1e-12)


@pytest.mark.parametrize("norm_order", [2.0, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["bernoulli", "categorical", "gaussian_preactivation_relu"])
def test_weight_max_rewards_the_growth_of_outgoing_weights(kind, norm_order) -> None:
    learner = make((kind, "bernoulli"), "weight_max", rule_kwargs={"norm_order": norm_order})
    judge(learner)
    first, second, output = learner.layers
    signal = np.zeros(second.n_values)
    for row in range(7):
        trace = np.repeat(second.outputs[row][:, None], 3, axis=1)  # x ⊗ 1: the output's credit has its score in it
        outgoing_weight_growth(output.weights, trace, output.credit_of_values[row].copy(), norm_order, signal)
        np.testing.assert_allclose(second.signals[row], signal, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(second.credit[row], signal * second.scores[row], rtol=1e-9, atol=1e-15)
        present_weight_growth(output.weights, second.outputs[row], output.credit_of_values[row], norm_order, signal)
        np.testing.assert_allclose(second.signals[row], signal, rtol=1e-9, atol=1e-15)
        below = np.zeros(first.n_values)
        trace = np.outer(first.outputs[row], second.scores[row])
        outgoing_weight_growth(second.weights, trace, signal, norm_order, below)
        np.testing.assert_allclose(first.signals[row], below, rtol=1e-9, atol=1e-15)
        per_unit = first.n_pre // first.n_values
        wanted = np.repeat(below, per_unit) * first.scores[row, : first.n_pre]
        np.testing.assert_allclose(first.credit_of_values[row], wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("rule", "learn"), [("posterior_rule", learn_posterior), ("product_rule", learn_product)])
def test_unbiased_relatives_of_weight_max_are_those_of_the_agents(rule, learn) -> None:
    learner = make(("bernoulli", "bernoulli"), rule, output="gaussian_linear", baseline="global", n_samples=2)
    for number in range(2):  # the second batch finds a baseline
        inputs, _ = judge(learner, seed=number)
        learner.reinforcement.learn(learner)
    agent = Learner(learner.network, 14, constant_schedule(0.0), "sgd", 0.0)
    agent.activity[VALUES, :, :5] = np.repeat(inputs, 2, axis=0)
    for layer in learner.layers:
        slot = learner.network.slot(layer.index)
        agent.activity[VALUES][:, slot] = layer.outputs
    for values, means in zip(agent.activity[VALUES], agent.activity[MEANS], strict=True):
        for index in range(3):
            means_of_layer(learner.network.structure, index, values, means)
    assert learn(agent.arrays, np.ones((14, learner.network.width)), np.ones(14, bool), 0.0)
    for layer in learner.layers[:-1]:
        wanted = learner.advantages[layer.index][:, None] * named(agent.arrays).scores[:, learner.network.slot(layer.index)]
        np.testing.assert_allclose(layer.credit_of_values, wanted, rtol=1e-9, atol=1e-12)
        assert np.any(wanted != 0.0)


def test_unbiased_relatives_of_weight_max_need_an_output_that_draws() -> None:
    for rule in ("posterior_rule", "product_rule"):
        with pytest.raises(ValueError, match="an output layer of 'linear' units draws nothing"):
            make(("bernoulli",), rule, output="linear")


@pytest.mark.parametrize("output", ["softmax", "gaussian_linear"])
def test_map_propagation_relaxes_like_the_agents(output) -> None:
    """An exact output is held at the target, which is a softmax layer that drew it; a sampled one at what it drew."""
    kinds = ("gaussian_softplus", "gaussian_tanh", "gaussian_linear")
    learned = "gaussian_linear" if output == "gaussian_linear" else "linear"
    learner = make(kinds, "map_prop", output=learned, deviation=1.0, rule_kwargs={"relaxation_steps": 9})
    inputs, targets = batch(learner)
    learner.propagate(inputs, learner.draw)
    learner.judge(targets)
    outputs = one_hot(targets) if output == "softmax" else learner.output.outputs
    network, agent = as_agent(learner, inputs, outputs, output)
    before = [layer.outputs.copy() for layer in learner.layers]
    learner.assign_credit()
    for row in range(len(inputs)):
        relax(agent, row, 9, np.full(4, 0.5))
    signals = np.ones(7) if output == "softmax" else -learner.losses
    for layer in learner.layers[:-1]:
        slot = network.slot(layer.index)
        assert np.all(layer.outputs != before[layer.index])
        np.testing.assert_allclose(layer.outputs, agent.values[:, slot], rtol=1e-9)
        np.testing.assert_allclose(layer.scores_of_values, agent.scores[:, slot], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.credit_of_values, signals[:, None] * layer.scores_of_values, rtol=1e-12)
    last = learner.output.credit_of_values
    np.testing.assert_allclose(last, signals[:, None] * agent.scores[:, network.slot(-1)], rtol=1e-9, atol=1e-12)


def test_feedback_alignment_takes_the_outputs_credit_through_fixed_random_weights() -> None:
    learner = make(("tanh", "relu"), "feedback_alignment")
    judge(learner)
    for layer, feedback in zip(learner.layers, learner.rule.feedback, strict=False):
        slopes = 1 - layer.outputs**2 if layer.index == 0 else (layer.outputs > 0).astype(float)
        for row in range(7):
            wanted = np.empty(layer.n_values)
            random_feedback(feedback.T.copy(), learner.output.credit_of_values[row], slopes[row], wanted)
            np.testing.assert_allclose(layer.credit_of_values[row], wanted, rtol=1e-12, atol=1e-15)
    before = [feedback.copy() for feedback in learner.rule.feedback]
    learner.learn(*batch(learner))
    for was, feedback in zip(before, learner.rule.feedback, strict=True):
        np.testing.assert_array_equal(feedback, was)


def test_action_values_approach_the_return_of_what_was_done() -> None:
    learner = make(("categorical", "categorical"), "action_values", rule_kwargs={"epsilon": 0.4}, n_samples=40)
    inputs, _ = judge(learner)
    below = np.repeat(inputs, 40, axis=0)
    greedy = []
    for layer in learner.layers[:-1]:
        values = below @ layer.weights + layer.biases
        chosen = layer.values[:, layer.n_values : 2 * layer.n_values].astype(int)
        q = values.reshape(280, layer.n_values, 3)
        taken = np.take_along_axis(q, chosen[..., None], -1)[..., 0]
        wanted = np.zeros_like(q)
        np.put_along_axis(
            wanted, chosen[..., None], (2 * (-learner.losses[:, None] - taken) / layer.n_values)[..., None], -1
        )
        np.testing.assert_allclose(layer.credit_of_values, wanted.reshape(280, -1), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(layer.outputs, np.take(LEVELS, chosen))
        greedy.append(chosen == q.argmax(-1))
        below = layer.outputs
    share = np.concatenate([g.ravel() for g in greedy]).mean()
    assert abs(share - (0.6 + 0.4 / 3)) < 0.03  # a level at random is the best one in a third of the cases
