"""What the supervised learner does around its rules: baselines, critics, subsets, deviations, copies, refusals."""

import copy
import pickle
import sys

import numpy as np
import pytest

from benchmarks.supervised_speed import BATCH, Setting, data, measure, ours, with_torch
from coagent_rl.arrays import DIRECTION
from coagent_rl.networks.layout import DEVIATION
from coagent_rl.supervised.baselines import StateBaseline
from coagent_rl.supervised.critics import LayerCritics
from coagent_rl.supervised.deviation import DecayedDeviation, LearnedDeviation
from coagent_rl.supervised.noise import box_muller, fill_normal
from coagent_rl.supervised.rules import RULES
from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS
from tests.test_supervised_rules import LEVELS, batch, judge, make


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
