"""Rules, baselines and critics of supervised coagent networks against autograd and against the agents' own kernels."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch as th

from benchmarks.supervised_speed import BATCH, Setting, data, measure, ours, with_torch
from coagent_rl.arrays import DIRECTION, MEANS, VALUES, LearnerArrays, named
from coagent_rl.credit.backprop import scores_within_coagents
from coagent_rl.credit.feedback_alignment import random_feedback
from coagent_rl.credit.map_prop import relax
from coagent_rl.credit.straight_through import straight_through_scores
from coagent_rl.credit.weight_max import outgoing_weight_growth, present_weight_growth
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import local_scores, means_of_layer
from coagent_rl.networks.layout import DEVIATION
from coagent_rl.schedules import constant_schedule
from coagent_rl.supervised.baselines import StateBaseline
from coagent_rl.supervised.critics import LayerCritics
from coagent_rl.supervised.deviation import DecayedDeviation, LearnedDeviation
from coagent_rl.supervised.learner import BatchLearner
from coagent_rl.supervised.network import initialise
from coagent_rl.supervised.noise import box_muller, fill_normal
from coagent_rl.supervised.rules import RULES
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS

LEVELS = (-1.0, 0.5, 2.0)
ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": th.relu,
    "tanh": th.tanh,
    "sigmoid": th.sigmoid,
    "softplus": th.nn.functional.softplus,
}


def make(kinds, rule="reinforce", loss="cross_entropy", output="linear", deviation=0.7, seed=0, **kwargs) -> BatchLearner:
    """A float64 learner of hidden layers of the given kinds, 5 inputs and 3 outputs."""
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


def test_averaged_updates_are_means_over_paths() -> None:
    learner = make(("bernoulli", "gaussian_preactivation_relu"), n_samples=4)
    inputs, targets = judge(learner)
    drawn = [
        layer.values[:, layer.n_values :] if "pre" in layer.spec.kind else layer.outputs for layer in learner.layers[:2]
    ]
    single = make(("bernoulli", "gaussian_preactivation_relu"))
    single.network.parameters[:] = learner.network.parameters
    total = 0.0
    for sample in range(4):
        single.replay(inputs, [values[sample::4].copy() for values in drawn] + [None])
        single.judge(targets)
        single.assign_credit()
        single.compute_direction()
        total += single.memory[DIRECTION] / 4
    np.testing.assert_allclose(learner.memory[DIRECTION], total, rtol=1e-9, atol=1e-14)
    assert np.unique(drawn[0].reshape(7, 4, -1), axis=1).shape[1] > 1  # the paths differ


def test_the_global_baseline_begins_with_the_first_mean_return() -> None:
    learner = make(("bernoulli",), baseline="global")
    b = None
    for seed in range(3):
        judge(learner, seed=seed)
        np.testing.assert_allclose(learner.advantages[0], -learner.losses - (b or 0.0), rtol=1e-12)
        learner.reinforcement.learn(learner)
        mean = -learner.losses.mean()
        b = mean if b is None else 0.99 * b + 0.01 * mean
    assert learner.reinforcement.value == pytest.approx(b, rel=1e-12)


def test_state_baselines_read_what_their_coagent_reads() -> None:
    learner = make(("relu", "bernoulli", "relu"), output="gaussian_linear", baseline="layer")
    baseline = learner.reinforcement
    assert isinstance(baseline, StateBaseline)
    assert {index: value.network.n_inputs for index, value in baseline.values.items()} == {1: 5, 3: 5}
    learner.learn(*batch(learner))
    np.testing.assert_array_equal(baseline.values[1].inputs, learner.inputs)
    np.testing.assert_array_equal(baseline.values[3].inputs, learner.layers[1].outputs)
    for _ in range(300):
        learner.learn(*batch(learner))
    for index in (1, 3):  # what is left of the returns once their value is subtracted
        assert np.mean(learner.advantages[index] ** 2) < 0.6 * np.mean(learner.losses**2)


@pytest.mark.parametrize("kind", ["on_policy", "off_policy"])
@pytest.mark.parametrize("signal", ["target", "value"])
def test_layer_critics_bootstrap_from_the_layer_above(kind, signal) -> None:
    kinds = ("bernoulli", "relu", "gaussian_preactivation_relu", "categorical")
    learner = make(kinds, critic=kind, critic_signal=signal, critic_kwargs={"hidden_layer_sizes": (), "learning_rate": 0.1})
    critics = learner.reinforcement
    assert isinstance(critics, LayerCritics)
    before = {index: copy.deepcopy(critic.network) for index, critic in critics.values.items()}
    inputs, _ = judge(learner)
    layers = learner.layers
    read = {0: inputs, 2: layers[0].outputs, 3: layers[2].outputs}

    def q(network, index, action):
        return (np.hstack([read[index], action]) @ network.weights(0) + network.biases(0))[:, 0]

    def actions(index):
        if kind == "on_policy":
            return layers[index].outputs
        best = layers[3].means.reshape(7, 3, 3).argmax(-1)
        return np.maximum(layers[2].means[:, :4], 0.0) if index == 2 else np.take(LEVELS, best)

    targets = {3: -learner.losses}
    targets[2] = q(critics.values[3].network, 3, actions(3))  # the critic above has learned already
    targets[0] = q(critics.values[2].network, 2, actions(2))
    for index in (0, 2, 3):
        np.testing.assert_allclose(critics.targets[index], targets[index], rtol=1e-9)
        value = q(before[index], index, layers[index].outputs)
        np.testing.assert_allclose(learner.advantages[index], targets[index] if signal == "target" else value, rtol=1e-9)
        assert np.any(critics.values[index].network.parameters != before[index].parameters)
    assert learner.advantages[1] is None


def test_only_some_units_explore_and_learn() -> None:
    learner = make(("bernoulli", "categorical"), exploring=2)
    learner.begin_epoch()
    judge(learner, 200)
    for layer, n in zip(learner.layers[:2], (6, 5), strict=True):
        assert layer.exploring.sum() == 2
        silent = ~layer.exploring[0]
        per_unit = layer.n_pre // n
        if layer.index == 0:
            np.testing.assert_array_equal(layer.outputs[:, silent], layer.means[:, :6][:, silent] > 0.5)
        columns = np.repeat(silent, per_unit)
        direction = learner.memory[DIRECTION, layer.begin : layer.end]
        weights = direction[: layer.weights.size].reshape(layer.weights.shape)
        assert np.all(weights[:, columns] == 0.0)
        assert np.all(np.any(weights[:, ~columns] != 0.0, axis=0))
    first = learner.layers[0].exploring.copy()
    changes = 0
    for _ in range(5):
        learner.begin_epoch()
        changes += np.any(learner.layers[0].exploring != first)
    assert changes


def test_staged_layers_stop_one_after_the_other() -> None:
    learner = make(("bernoulli", "bernoulli"), exploring="staged")
    explored = []
    for epoch in range(4):
        learner.begin_epoch(epoch, 4)
        judge(learner)
        explored.append([bool(np.any(layer.scores)) for layer in learner.layers[:2]])
    assert explored == [[True, True], [True, True], [False, True], [False, True]]


def test_decayed_deviations() -> None:
    learner = make(("gaussian_tanh", "relu"), output="gaussian_linear", deviation=DecayedDeviation(2.0, 0.5, 0.3))
    seen = []
    for _ in range(4):
        learner.learn(*batch(learner))
        seen.append(learner.network.constants[[0, 2], DEVIATION].tolist())
    assert seen == [[1.0, 1.0], [0.5, 0.5], [0.3, 0.3], [0.3, 0.3]]


@pytest.mark.parametrize("form", ["exp", "sigmoid", "relu"])
def test_learned_deviations_begin_where_they_should_and_move(form) -> None:
    learner = make(("gaussian_preactivation_relu",), output="gaussian_linear", deviation=LearnedDeviation(4.0, form))
    judge(learner)
    np.testing.assert_allclose(learner.layers[0].means[:, 6:], 4.0, rtol=1e-12)
    for _ in range(20):
        learner.learn(*batch(learner))
    assert np.all(learner.layers[0].means[:, 6:] != 4.0)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_frozen_layers_keep_their_parameters(rule) -> None:
    kind = RULES[rule].units
    learner = make((kind, kind), rule, frozen_layers=(0, 1))
    before = learner.network.parameters.copy()
    learner.learn(*batch(learner))
    end = learner.layers[1].end
    np.testing.assert_array_equal(learner.network.parameters[:end], before[:end])
    assert np.all(learner.network.parameters[-3:] != before[-3:])


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_copy_goes_on_with_the_same_bits(rule) -> None:
    kind = RULES[rule].units
    kwargs = {"critic": "off_policy", "baseline": "layer"} if rule == "reinforce" else {"baseline": "state"}
    learner = make((kind, "relu" if kind in DETERMINISTIC_KINDS else kind), rule, n_samples=2, **kwargs)
    for seed in range(2):
        learner.learn(*batch(learner, seed=seed))
    twin = pickle.loads(pickle.dumps(learner))
    for seed in range(2, 4):
        assert learner.learn(*batch(learner, seed=seed)) == twin.learn(*batch(twin, seed=seed))
    np.testing.assert_array_equal(learner.network.parameters, twin.network.parameters)
    assert learner.network.parameters is not twin.network.parameters


def test_nothing_is_learned_from_a_loss_that_is_not_finite() -> None:
    learner = make(("relu",), "backprop", loss="squared_error")
    inputs, targets = batch(learner)
    targets[3, 1] = np.inf
    before = learner.network.parameters.copy()
    with pytest.raises(ValueError, match="diverged: the mean loss of update 1 is inf"):
        learner.learn(inputs, targets)
    np.testing.assert_array_equal(learner.network.parameters, before)
    targets[3, 1] = 1e25
    with pytest.raises(ValueError, match="diverged: update 1 would be too large"):
        learner.learn(inputs, targets)
    np.testing.assert_array_equal(learner.network.parameters, before)


@pytest.mark.parametrize(
    ("kinds", "kwargs", "message"),
    [
        (
            ("bernoulli",),
            {"rule": "map_prop"},
            "'map_prop' is not defined for 'bernoulli' units: it moves values in small steps",
        ),
        (("bernoulli",), {"rule": "backprop"}, "a value that was drawn has no derivative"),
        (("bernoulli",), {"rule": "node_perturbation"}, "the noise that is judged is added to a smooth unit"),
        (("bernoulli",), {"rule": "action_values"}, "a unit compares the values of its levels"),
        (("categorical",), {"rule": "straight_through"}, "that of a binary sample"),
        (("bernoulli",), {"rule": "feedback_alignment"}, "no derivative"),
        (("softmax",), {}, "softmax layers are output layers"),
        (("bernoulli",), {"rule": "reinforc"}, "Unknown rule 'reinforc'; known rules: action_values, backprop"),
        (("bernoulli",), {"baseline": "average"}, "Unknown baseline 'average'; known baselines: None, 'global'"),
        (("bernoulli",), {"critic": "sarsa"}, "Unknown critic 'sarsa'; known critics"),
        (("bernoulli",), {"critic": "on_policy", "critic_signal": "q"}, "Unknown critic_signal 'q'"),
        (("bernoulli",), {"rule": "weight_max", "critic": "on_policy"}, "does not ask for"),
        (("bernoulli",), {"critic_kwargs": {"learning_rate": 1.0}}, "there is none"),
        (("bernoulli",), {"critic": "on_policy", "critic_kwargs": {"width": 3}}, "some of the keys"),
        (("bernoulli",), {"exploring": 7}, "narrowest sampled hidden layer \\(6\\), not 7"),
        (("relu",), {"exploring": 1}, "narrowest sampled hidden layer \\(0\\)"),
        (("bernoulli",), {"rule": "thomas", "exploring": 1}, "it chooses the units that explore itself"),
        (("bernoulli",), {"rule": "thomas", "rule_kwargs": {"probability": 1}}, "takes exploration_probability, not"),
        (("bernoulli",), {"rule": "thomas", "rule_kwargs": {"exploration_probability": 0}}, "must lie in \\(0, 1\\]"),
        (("bernoulli",), {"rule": "weight_max", "rule_kwargs": {"norm_order": 0.5}}, "norm_order must be"),
        (("bernoulli",), {"rule": "straight_through", "rule_kwargs": {"slope": "x"}}, "slope must be one of"),
        (("categorical",), {"rule": "action_values", "rule_kwargs": {"epsilon": 2}}, "epsilon must lie in"),
        (("gaussian_tanh",), {"rule": "map_prop", "rule_kwargs": {"relaxation_steps": -1}}, "relaxation_steps must not"),
        (("gaussian_tanh",), {"rule": "map_prop", "rule_kwargs": {"relaxation_rate": 0}}, "relaxation_rate must be"),
        (("bernoulli",), {"optimizer": "lbfgs"}, "Unknown optimizer 'lbfgs'; known optimizers"),
        (("bernoulli",), {"loss": "hinge"}, "Unknown loss 'hinge'; known losses"),
        (("bernoulli",), {"output": "softmax"}, "The output layer must be linear or gaussian_linear"),
    ],
)
def test_what_is_not_defined(kinds, kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(kinds, **kwargs)


@pytest.mark.parametrize(
    ("make_deviation", "message"),
    [
        (lambda: DecayedDeviation(-1.0), "positive start and floor and a rate"),
        (lambda: DecayedDeviation(1.0, 1.5), "positive start and floor and a rate"),
        (lambda: LearnedDeviation(0.0), "positive start"),
        (lambda: LearnedDeviation(1.0, "log"), "Unknown form of learned deviations 'log'; known forms: exp"),
    ],
)
def test_impossible_deviations(make_deviation, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_deviation()


def test_normal_numbers_are_those_of_box_and_muller() -> None:
    uniforms = np.random.default_rng(0).random(200_000)
    normals = np.empty(400_000, np.float32)
    box_muller(uniforms.copy(), normals)
    u, v = np.floor(uniforms * 2**24) / 2**24, uniforms * 2**24 % 1
    radius = np.sqrt(-2 * np.log1p(-u))
    wanted = np.concatenate([-radius * np.cos(2 * np.pi * v), -radius * np.sin(2 * np.pi * v)])
    np.testing.assert_allclose(normals, wanted, rtol=2e-6, atol=2e-6)
    for extreme in (0.0, np.nextafter(1.0, 0.0)):
        box_muller(np.full(1, extreme), normals[:2])
        assert np.all(np.isfinite(normals[:2]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_standard_normal(dtype) -> None:
    noise = np.empty((333, 301), dtype)
    fill_normal(np.random.default_rng(0), noise)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    for bound, share in ((1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)):
        assert abs((np.abs(noise) < bound).mean() - share) < 0.005
    assert np.abs(np.corrcoef(noise[:, :4].T) - np.eye(4)).max() < 0.25
    again = np.empty((333, 301), dtype)
    fill_normal(np.random.default_rng(0), again)
    np.testing.assert_array_equal(again, noise)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_no_python_is_run_for_every_sample(rule) -> None:
    """An update of many inputs and paths makes as many calls as one of a few."""

    def calls(n: int, n_samples: int) -> int:
        kind = RULES[rule].units
        learner = make((kind, kind), rule, baseline="layer", n_samples=n_samples)
        inputs, targets = batch(learner, n)
        learner.learn(inputs, targets)  # makes room
        count = 0

        def seen(frame, event, argument) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(seen)
        learner.learn(inputs, targets)
        sys.setprofile(None)
        return count

    assert calls(4, 2) == calls(200, 5)


def test_the_benchmarks_torch_makes_the_same_update() -> None:
    """With nothing to draw, torch and the library agree but for rounding. What is drawn is compared by autograd, above."""
    setting = Setting("backprop", "relu", 2, "backprop", baseline=None)
    images, labels = data(BATCH)  # in one batch, whatever their order
    mine, network = ours(setting, images, labels)
    theirs, layers = with_torch(setting, images, labels, network)
    before = network.parameters.copy()
    for update in (mine, theirs):
        update(3)
    assert np.abs(network.parameters - before).max() > 1e-3
    for index, layer in enumerate(layers):
        np.testing.assert_allclose(network.weights(index), layer.weight.detach().numpy().T, atol=1e-4)
        np.testing.assert_allclose(network.biases(index), layer.bias.detach().numpy(), atol=1e-4)


def test_speed_can_be_measured() -> None:
    times = measure(
        (
            Setting("Co-G", "bernoulli", 1),
            Setting("Gaussian", "gaussian_preactivation_relu", 1, output="gaussian_linear", n_samples=2),
        ),
        1,
        20,
    )
    assert all(seconds.shape == (1, 2) and np.all(seconds > 0) for seconds in times.values())
