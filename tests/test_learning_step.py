"""Traces, optimizers, critic and rules against independent computations."""

import numpy as np
import pytest
import torch as th

from coagent_rl.arrays import CHANGES, DIRECTION, FIRST, SECOND, SIGNALS, VALUES, named
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.credit.weight_max import learn_weight_max, learn_weight_max_pipelined, outgoing_weight_growth
from coagent_rl.critics import RewardCritic, TDLambdaCritic
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import forward
from coagent_rl.optimizers import BATCH_OPTIMIZERS, LIMIT, OPTIMIZERS, adam_corrections, step, update
from coagent_rl.schedules import LinearSchedule, as_schedule, constant_schedule

ROW = np.zeros(1, dtype=bool)


def make_learner(
    layers: list[Layer], n_inputs: int = 3, n_envs: int = 1, seed: int = 0, dtype=np.float64, **kwargs
) -> Learner:
    network = Network(n_inputs, layers, dtype=dtype)
    network.initialise(np.random.default_rng(seed), bias_range=0.5)
    arguments = {"learning_rate": constant_schedule(0.01), "optimizer": "sgd", "trace_decay": 0.7, **kwargs}
    return Learner(network, n_envs, **arguments)


def actor(n_envs: int = 1, **kwargs) -> Learner:
    return make_learner(
        [Layer("bernoulli", 5), Layer("bernoulli", 4), Layer("softmax_reference", 3)], n_envs=n_envs, **kwargs
    )


def act(learner: Learner, observations: np.ndarray, rng: np.random.Generator) -> None:
    network = learner.network
    noise = network.draw_noise(rng, 1, len(observations))
    assert forward(network.structure, learner.activity, observations, noise, 0, 0)


def told(learner: Learner, *reinforcements: float) -> np.ndarray:
    """The same reinforcement for every unit of a row."""
    network = learner.network
    return np.repeat(np.array(reinforcements, network.parameters.dtype)[:, None], network.width, axis=1)


@pytest.mark.parametrize("name", list(BATCH_OPTIMIZERS))
def test_optimizers_agree_with_torch(name: str) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(7)
    reference = th.nn.Parameter(th.tensor(start))
    optimizer = {
        "adam": lambda p: th.optim.Adam([p], lr=0.02, eps=1e-8),
        "rmsprop": lambda p: th.optim.RMSprop([p], lr=0.02, alpha=0.99, eps=1e-8),
        "sgd": lambda p: th.optim.SGD([p], lr=0.02),
    }[name](reference)
    parameters, first, second = start.copy(), np.zeros(7), np.zeros(7)
    for count in range(1, 30):
        gradient = rng.standard_normal(7) * 10.0 ** rng.integers(-4, 4, 7)
        reference.grad = th.tensor(-gradient)  # torch descends
        optimizer.step()
        step(OPTIMIZERS[name], gradient, 0.02, adam_corrections(float(count)), 0.0, parameters, first, second)
    np.testing.assert_allclose(parameters, reference.detach().numpy(), rtol=1e-10)


def test_vanishing_traces_and_moments_become_zero_not_subnormal() -> None:
    learner = make_learner([Layer("softplus", 8), Layer("linear", 1)], dtype=np.float32, optimizer="adam", options=[0.9])
    critic = TDLambdaCritic(learner.network, learner)
    zero, one = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    critic.learn(learner, (one, np.ones(1, np.float32), one, ROW, ROW, ROW), 0)
    learner.network.parameters[:] = 0
    for time in range(3000):
        critic.learn(learner, (zero, np.zeros(1, np.float32), zero, ROW, ~ROW, ROW), time)
    for array in (learner.traces, learner.memory):
        assert not np.any((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny))
    assert np.any(learner.traces == 0)


def test_critic_is_semi_gradient_td_lambda() -> None:
    """Two environments, several steps with ends and starts, against torch autograd and the textbook's update."""
    learner = make_learner([Layer("softplus", 6), Layer("relu", 5), Layer("linear", 1)], n_envs=2, options=[0.9])
    critic = TDLambdaCritic(learner.network, learner)
    network = learner.network
    reference = [
        (th.tensor(network.weights(i), requires_grad=True), th.tensor(network.biases(i), requires_grad=True))
        for i in range(3)
    ]
    parameters = [p for pair in reference for p in pair]

    def value(x: th.Tensor) -> th.Tensor:
        h = th.nn.functional.softplus(x @ reference[0][0] + reference[0][1])
        h = th.relu(h @ reference[1][0] + reference[1][1])
        return (h @ reference[2][0] + reference[2][1])[0]

    rng = np.random.default_rng(0)
    traces = [[th.zeros_like(p) for p in parameters] for _ in range(2)]
    starts = np.array([True, True])
    for time in range(6):
        observations, ends, rewards = rng.standard_normal((2, 3)), rng.standard_normal((2, 3)), rng.standard_normal(2)
        terminated, ignored = np.array([time == 2, False]), np.array([False, time == 3])
        assert critic.learn(learner, (observations, rewards, ends, terminated, ignored, starts), time)
        np.testing.assert_array_equal(critic.reinforcements, np.tile(critic.td_errors[:, None], (1, network.width)))
        updates = [th.zeros_like(p) for p in parameters]
        for row in range(2):
            v = value(th.tensor(observations[row]))
            gradients = th.autograd.grad(v, parameters)
            with th.no_grad():
                δ = rewards[row] + (0 if terminated[row] else 0.9 * value(th.tensor(ends[row]))) - v
                δ = δ * (not ignored[row])
                assert critic.td_errors[row] == pytest.approx(float(δ), rel=1e-9, abs=1e-12)
                for k, gradient in enumerate(gradients):
                    traces[row][k] = (0 if starts[row] else 0.7) * traces[row][k] + gradient
                    updates[k] += δ * traces[row][k] / 2
        with th.no_grad():
            for p, update in zip(parameters, updates, strict=True):
                p += 0.01 * update
        starts = terminated | ignored
    for i, (weights, biases) in enumerate(reference):
        np.testing.assert_allclose(network.weights(i), weights.detach().numpy(), rtol=1e-9)
        np.testing.assert_allclose(network.biases(i), biases.detach().numpy(), rtol=1e-9)


def test_no_critic_means_the_reward_is_the_reinforcement() -> None:
    learner = actor(n_envs=2)
    critic = RewardCritic(learner.network, 2)
    x = np.zeros((2, 3))
    assert critic.learn(learner, (x, np.array([1.0, -2.0]), x, ROW, ROW, ROW), 0)
    np.testing.assert_array_equal(critic.td_errors, [1.0, -2.0])
    np.testing.assert_array_equal(critic.reinforcements, np.tile([[1.0], [-2.0]], (1, learner.network.width)))
    assert not critic.learn(learner, (x, np.array([1.0, np.nan]), x, ROW, ROW, ROW), 0)


def test_single_precision_follows_double_precision() -> None:
    """The fast-math licences and float32 change results by rounding only."""
    results = {}
    for dtype in (np.float32, np.float64):
        options = [2.0, 1.0]
        learner = actor(n_envs=3, dtype=dtype, optimizer="adam", learning_rate=constant_schedule(1e-3), options=options)
        rng, noise_rng = np.random.default_rng(0), np.random.default_rng(1)
        for time in range(50):
            observations = rng.standard_normal((3, 3)).astype(np.float32)
            noise = noise_rng.random((1, 3, learner.network.width), dtype=np.float32).astype(dtype)
            network = learner.network
            assert forward(network.structure, learner.activity, observations, noise, 0, 0)
            learn_weight_max(learner.arrays, told(learner, *rng.standard_normal(3)), rng.random(3) < 0.1, float(time))
        results[dtype] = learner.network.parameters.copy()
    np.testing.assert_allclose(results[np.float32], results[np.float64], rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_weight_max_signal_is_the_growth_of_the_norm(p: float) -> None:
    rng = np.random.default_rng(0)
    weights, trace, above = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), rng.standard_normal(3)
    signal = np.empty(4)
    outgoing_weight_growth(weights, trace, above, p, signal)
    ε = 1e-7
    for i in range(4):
        after, before = (np.sum(np.abs(weights[i] + sign * ε * trace[i] * above) ** p) for sign in (1, -1))
        assert signal[i] == pytest.approx((after - before) / (2 * ε), rel=1e-6)


def test_reinforce_gives_every_unit_the_td_error() -> None:
    learner = actor(n_envs=2)
    act(learner, np.ones((2, 3)), np.random.default_rng(0))
    learn_reinforce(learner.arrays, told(learner, 0.5, -2.0), ~np.zeros(2, bool), 0.0)
    width = learner.network.width
    np.testing.assert_array_equal(learner.activity[SIGNALS], np.tile([[0.5], [-2.0]], (1, width)))
    expected = (0.5 * learner.traces[0] - 2.0 * learner.traces[1]) / 2
    np.testing.assert_allclose(learner.memory[DIRECTION], expected, rtol=1e-12)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_weight_decay_pulls_the_weights_and_does_not_leak_into_the_signal(optimizer: str) -> None:
    """Beside the optimizer's step, whatever that is."""
    options = [2.0, 1.0]
    decayed = actor(weight_decay=0.1, optimizer=optimizer, options=options)
    plain = actor(optimizer=optimizer, options=options)
    before = plain.network.parameters.copy()
    for learner in (decayed, plain):
        act(learner, np.ones((1, 3)), np.random.default_rng(0))
        learn_weight_max(learner.arrays, told(learner, 0.7), ~ROW, 0.0)
    np.testing.assert_array_equal(decayed.activity[SIGNALS], plain.activity[SIGNALS])
    difference = Network(3, plain.network.layers, dtype=np.float64)
    difference.parameters[:] = decayed.network.parameters - plain.network.parameters
    old = Network(3, plain.network.layers, dtype=np.float64)
    old.parameters[:] = before
    for i in range(3):
        np.testing.assert_allclose(difference.weights(i), 0.01 * -2 * 0.1 * old.weights(i), rtol=1e-9)
        np.testing.assert_array_equal(difference.biases(i), 0.0)


@pytest.mark.parametrize("rule", ["weight_max", "reinforce"])
@pytest.mark.parametrize("unit", [0, 3])
def test_locality(rule: str, unit: int) -> None:
    """A hidden unit's update sees its input, output, trace and signal: with everything else changed it is the same.

    For Weight Max the signal is made of the unit's own outgoing weights and their change, which stay.
    """

    def update(perturbed: bool) -> np.ndarray:
        learner = actor(options=[2.0, 1.0])
        network, rng = learner.network, np.random.default_rng(7)
        act(learner, np.ones((1, 3)), np.random.default_rng(0))
        learner.traces[:] = rng.standard_normal(learner.traces.shape)
        before = network.parameters.copy()
        traces = Network(3, network.layers, dtype=np.float64)
        traces.parameters = learner.traces[0]
        if perturbed:
            for array in (network.weights(0), network.biases(0)):  # what the layer's other units are
                array[..., np.arange(5) != unit] += rng.standard_normal()
            for array in (traces.weights(0), traces.biases(0)):
                array[..., np.arange(5) != unit] += rng.standard_normal()
            for array in (network.weights(1), traces.weights(1)):  # what the others' outgoing weights do
                array[np.arange(5) != unit] += rng.standard_normal()
            network.biases(1)[:] += rng.standard_normal()
            traces.biases(1)[:] += rng.standard_normal()
        before = network.parameters.copy()
        learn = learn_weight_max if rule == "weight_max" else learn_reinforce
        learn(learner.arrays, told(learner, 0.7), ROW, 0.0)
        change = Network(3, network.layers, dtype=np.float64)
        change.parameters[:] = network.parameters - before
        return np.append(change.weights(0)[:, unit], change.biases(0)[unit])

    plain = update(False)
    assert np.all(plain != 0)
    np.testing.assert_allclose(update(True), plain, rtol=1e-12)


def test_frozen_layers_keep_their_parameters() -> None:
    learner = actor(frozen_layers=(0, 1), options=[2.0, 1.0])
    before = learner.network.parameters.copy()
    act(learner, np.ones((1, 3)), np.random.default_rng(0))
    learn_weight_max(learner.arrays, told(learner, 0.7), ~ROW, 0.0)
    end = learner.network.layout[1, 8]
    np.testing.assert_array_equal(learner.network.parameters[:end], before[:end])
    assert np.all(learner.network.biases(2) != before[-2:])


def test_schedules() -> None:
    learner = make_learner(
        [Layer("bernoulli", 2), Layer("softmax", 2)], learning_rate=LinearSchedule([1.0, 0.1], [0.0, 0.1], 100)
    )
    np.testing.assert_allclose(learner.learning_rates(0), [1.0, 0.1])
    np.testing.assert_allclose(learner.learning_rates(25), [0.75, 0.1])
    np.testing.assert_allclose(learner.learning_rates(1000), [0.0, 0.1])
    assert as_schedule(np.float32(0.5), "rate") == as_schedule(np.array(0.5), "rate") == constant_schedule(0.5)
    assert as_schedule({"start": 1, "end": 0, "steps": 5}, "rate") == LinearSchedule(1, 0, 5)
    assert as_schedule(0.3, "rate") == constant_schedule(0.3)


def test_learning_follows_the_schedule() -> None:
    learner = actor(learning_rate=LinearSchedule(0.01, 0.0, 10))
    act(learner, np.ones((1, 3)), np.random.default_rng(0))
    changes = []
    for time in (0, 5, 10, 15):
        before = learner.network.parameters.copy()
        learn_reinforce(learner.arrays, told(learner, 1.0), ~ROW, float(time))
        changes.append(np.abs(learner.network.parameters - before).max())
    assert changes[1] == pytest.approx(changes[0] / 2, rel=1e-6)
    assert changes[2:] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([0.1, 0.2], ValueError, "rate: 2 values were given .* for 3 layers"),
        (-0.1, ValueError, "not negative"),
        (float("nan"), ValueError, "must be finite"),
        ("fast", ValueError, "rate must be a number"),
        ({"start": 1.0, "stop": 0.0}, ValueError, "keys start, end and steps"),
    ],
)
def test_wrong_learning_rates(value: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        as_schedule(value, "rate").table(3, "rate")


@pytest.mark.parametrize("optimizer", BATCH_OPTIMIZERS)
@pytest.mark.parametrize("n_rows", [1, 5])
@pytest.mark.parametrize("norm_order", [2.0, 3.0])
def test_without_traces_a_step_is_the_same_as_with_traces_that_decay_at_once(optimizer, n_rows, norm_order) -> None:
    """Also in a layer that is made in several blocks, with several rows, weight decay and inputs of zero."""
    layers = [Layer("bernoulli", 40), Layer("bernoulli", 30), Layer("softmax_reference", 3)]
    results = []
    for has_traces in (True, False):
        learner = make_learner(
            layers,
            n_envs=n_rows,
            optimizer=optimizer,
            trace_decay=0.0,
            has_traces=has_traces,
            options=[norm_order, 1.0],
            weight_decay=0.01,
        )
        rng, noise = np.random.default_rng(0), np.random.default_rng(1)
        for time in range(4):
            act(learner, rng.standard_normal((n_rows, 3)), noise)
            starts = np.zeros(n_rows, bool)
            assert learn_weight_max(learner.arrays, told(learner, *rng.standard_normal(n_rows)), starts, float(time))
        results.append(np.concatenate([learner.network.parameters, learner.memory[FIRST], learner.memory[SECOND]]))
        assert learner.traces.shape[0] == (n_rows if has_traces else 0)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-10, atol=1e-14)


def test_every_unit_may_be_told_something_else() -> None:
    """Reinforcements have one entry a pre-activation; with plain gradient ascent the change is their product."""
    learner = make_learner([Layer("bernoulli", 4), Layer("softmax", 3)], trace_decay=0.0)
    act(learner, np.ones((1, 3)), np.random.default_rng(0))
    reinforcements = np.random.default_rng(1).standard_normal((1, learner.network.width))
    before = learner.network.parameters.copy()
    assert learn_reinforce(learner.arrays, reinforcements, ROW, 0.0)
    scores = named(learner.arrays).scores
    change = Network(3, learner.network.layers, dtype=np.float64)
    change.parameters[:] = (learner.network.parameters - before) / 0.01
    for index in range(2):
        slot = learner.network.slot(index)
        np.testing.assert_allclose(change.biases(index), scores[0, slot] * reinforcements[0, slot], rtol=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.7])
@pytest.mark.parametrize("reinforcement", [np.nan, np.inf, 1e22])
def test_nothing_is_learned_from_an_update_without_bounds(decay, reinforcement) -> None:
    """Its square would make the running means of squares infinite, and the parameters would never move again."""
    learner = actor(dtype=np.float32, optimizer="adam", trace_decay=decay, options=[2.0, 1.0])
    act(learner, np.ones((1, 3)), np.random.default_rng(0))
    before, memory = learner.network.parameters.copy(), learner.memory[FIRST:].copy()
    assert not learn_weight_max(learner.arrays, told(learner, reinforcement), ~ROW, 0.0)
    np.testing.assert_array_equal(learner.network.parameters, before)
    np.testing.assert_array_equal(learner.memory[FIRST:], memory)
    assert learn_weight_max(learner.arrays, told(learner, 1.0), ~ROW, 0.0)
    assert np.any(learner.network.parameters != before)


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_a_single_number_beyond_the_limit_is_found_wherever_it_is(decay) -> None:
    learner = make_learner([Layer("bernoulli", 37), Layer("softmax", 2)], dtype=np.float32, trace_decay=decay)
    arrays = named(learner.arrays)
    for index in (0, 1):
        slot = learner.network.slot(index)
        for column in (slot.start, slot.stop - 1):
            learner.activity[:] = 1e-3
            learner.traces[:] = 1.0
            assert update(arrays, 0.0)
            learner.activity[SIGNALS, 0, column] = learner.activity[VALUES, 0, 0] = np.float32(2 * LIMIT)
            before = learner.network.parameters.copy()
            learner.activity[CHANGES] = 0.0
            learner.activity[2, 0, column] = 1.0
            assert not update(arrays, 0.0)
            np.testing.assert_array_equal(learner.network.parameters, before)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_second_moments_become_zero_not_subnormal(optimizer) -> None:
    """The running mean of squares shrinks below the square of what is flushed elsewhere."""
    second = np.full(4, 1e-30, np.float32)
    first, parameters, direction = np.zeros(4, np.float32), np.zeros(4, np.float32), np.zeros(4, np.float32)
    seen = []
    for _ in range(20_000):
        step(OPTIMIZERS[optimizer], direction, 1e-3, (1.0, 1.0), 0.0, parameters, first, second)
        seen.append(second[0])
    kept = np.array(seen)
    assert kept[-1] == 0.0
    assert kept[kept > 0].min() > 1e-37  # far above the smallest normal number, but not flushed too early
    assert kept[kept > 0].min() < 2e-36


def test_delayed_traces_are_cleared_when_the_layer_gets_there() -> None:
    """A layer that lags behind sees the start of an episode as many steps later."""
    layers = [Layer("bernoulli", 3), Layer("bernoulli", 2), Layer("softmax", 2)]
    width = Network(3, layers).width
    learner = make_learner(
        layers, options=[2.0, 0.3], store=np.zeros((3, 3, 1, width)), has_traces=True, learning_rate=constant_schedule(0.0)
    )
    network, rng = learner.network, np.random.default_rng(0)
    pasts, starts = [], [True, False, False, True, False, False, False]
    for time, start in enumerate(starts):
        act(learner, rng.standard_normal((1, 3)), rng)
        assert learn_weight_max_pipelined(learner.arrays, told(learner, 0.1), np.array([start]), float(time))
        pasts.append((learner.activity[VALUES, 0].copy(), named(learner.arrays).scores[0].copy()))
        for index in range(3):
            expected = np.zeros(network.biases(index).size)
            for past in range(time - (2 - index) + 1):
                expected = (0.0 if starts[past] else 0.7) * expected + pasts[past][1][network.slot(index)]
            trace = Network(3, layers, dtype=np.float64)
            trace.parameters[:] = learner.traces[0]
            np.testing.assert_allclose(trace.biases(index), expected, rtol=1e-12)
