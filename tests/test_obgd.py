"""Step sizes bounded by the traces, against the paper's formula in plain NumPy."""

import numpy as np
import pytest

from coagent_rl import DecentralizedDDPG, MAPProp, WeightMax
from coagent_rl.arrays import KAPPA, SIGNALS
from coagent_rl.credit.deterministic_policy_gradient import learn_deterministic_policy
from coagent_rl.credit.weight_max import learn_weight_max, learn_weight_max_pipelined
from coagent_rl.critics import TDLambdaCritic
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer
from coagent_rl.schedules import LinearSchedule, constant_schedule
from coagent_rl.supervised import CoagentClassifier
from tests.test_decentralized_ddpg import act as act_with
from tests.test_decentralized_ddpg import learn, make
from tests.test_learning_step import act, actor, make_learner, told

STARTED = np.zeros(1, dtype=bool)
SMALL = {"net_arch": [8, 6]}


def per_parameter(network, of_units: np.ndarray) -> np.ndarray:
    """What stands in the slots of the units, for every weight and bias: that of the unit they lead to."""
    repeated = []
    for index in range(network.depth):
        n_in, n = network.weights(index).shape
        own = of_units[network.slot(index)][:n]  # the fixed logit of softmax_reference has no weights
        repeated += [np.tile(own, n_in), own]
    return np.concatenate(repeated)


def rates_of(learner: Learner, time: float) -> np.ndarray:
    """The rate of every parameter."""
    network, rates = learner.network, learner.learning_rates(time)
    sizes = [network.weights(index).size + network.biases(index).size for index in range(network.depth)]
    return np.repeat(rates, sizes)


def step_of(α: np.ndarray, κ: float, signals: np.ndarray, traces: np.ndarray) -> tuple[np.ndarray, float]:
    """The bounded step, and M; signals and traces of all rows and parameters, shape (n_rows, n_parameters)."""
    M = κ * np.mean([np.sum(α * np.maximum(np.abs(s), 1.0) * np.abs(e)) for s, e in zip(signals, traces, strict=True)])
    return α / max(1.0, M) * np.mean(signals * traces, axis=0), M


@pytest.mark.parametrize("decay", [0.0, 0.7])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
@pytest.mark.parametrize("reinforcements", [(0.4, -0.2), (-9.0, 5.0)])
def test_actors_step_is_bounded_by_traces_and_signals(decay: float, scale: float, reinforcements: tuple[float, ...]) -> None:
    """Two environments and units with signals of their own; a layer is frozen, and the rates are moving."""
    rates = LinearSchedule([0.4 * scale, scale, 0.2 * scale], [0.0, 2.0 * scale, 0.1 * scale], 100)
    settings = {"options": [2.0, 1.0], "optimizer": "obgd", "trace_decay": decay, "learning_rate": rates}
    rng, bounds = np.random.default_rng(0), []
    for frozen in ((), (1,)):
        learner = actor(2, frozen_layers=frozen, **settings)
        for time in range(4):
            before, starts = learner.network.parameters.copy(), np.array([time == 0, time == 2])
            act(learner, rng.standard_normal((2, 3)), rng)
            assert learn_weight_max(learner.arrays, told(learner, *reinforcements), starts, 25.0 * time)
            signals = np.stack([per_parameter(learner.network, row) for row in learner.activity[SIGNALS]])
            expected, M = step_of(rates_of(learner, 25.0 * time), 3.0, signals, learner.traces)
            np.testing.assert_allclose(learner.network.parameters - before, expected, rtol=1e-9, atol=1e-15)
            bounds.append(M)
    assert max(bounds) < 1.0 if scale < 1.0 else min(bounds) > 1.0


@pytest.mark.parametrize("δ", [0.3, -20.0])
def test_with_one_rate_and_one_signal_it_is_the_papers(δ: float) -> None:
    """A linear critic: α ← min(α / M, α) with M = α κ max(|δ|, 1) ‖e‖₁, and w ← w + α δ e."""
    α, κ, λ, γ = 1.0, 2.0, 0.7, 0.9
    learner = make_learner(
        [Layer("linear", 1)], optimizer="obgd", kappa=κ, learning_rate=constant_schedule(α), trace_decay=γ * λ, options=[γ]
    )
    critic, rng = TDLambdaCritic(learner.network, learner), np.random.default_rng(0)
    w, e = learner.network.parameters.copy(), np.zeros(4)
    for time in range(5):
        x, after = rng.standard_normal((2, 3))
        value, next_value = (float(w @ np.append(s, 1.0)) for s in (x, after))
        reward = δ - γ * next_value + value
        no, start = np.array([False]), np.array([time == 0])
        assert critic.learn(learner, (x[None], np.array([reward]), after[None], no, no, start), time)
        e = γ * λ * e * (time > 0) + np.append(x, 1.0)
        M = α * κ * max(abs(δ), 1.0) * np.sum(np.abs(e))
        w += min(α / M, α) * δ * e
        np.testing.assert_allclose(learner.network.parameters, w, rtol=1e-9)


def test_pipelined_step_is_bounded_by_the_signals_that_it_is_made_of() -> None:
    store = np.zeros((3, 3, 1, actor().network.width))
    learner = actor(optimizer="obgd", options=[2.0, 0.5], store=store, has_traces=True, learning_rate=constant_schedule(1.0))
    rng = np.random.default_rng(0)
    for time in range(6):
        before, signals = learner.network.parameters.copy(), learner.activity[SIGNALS].copy()
        signals[:, learner.network.slot(-1)] = 7.0
        act(learner, rng.standard_normal((1, 3)), rng)
        assert learn_weight_max_pipelined(learner.arrays, told(learner, 7.0), STARTED, time)
        expected, M = step_of(1.0, 3.0, np.stack([per_parameter(learner.network, row) for row in signals]), learner.traces)
        np.testing.assert_allclose(learner.network.parameters - before, expected, rtol=1e-9, atol=1e-12)
        assert M > 1.0


@pytest.mark.parametrize("decay", [0.0, 0.63])
@pytest.mark.parametrize("shared", [False, True])
def test_neurons_critics_are_bounded_by_their_own_errors(decay: float, shared: bool) -> None:
    """Beside the same critics without a bound: the same direction, but for a factor that traces and errors give."""
    transition = (np.ones((2, 3)), np.array([3.0, -0.5]), np.full((2, 3), 0.3), *np.zeros((2, 2), bool), np.ones(2, bool))
    changes = {}
    for optimizer in ("sgd", "obgd"):
        learner, critics = make(2, shared=shared, trace_decay=decay, optimizer=optimizer)
        act_with(learner, transition[0], np.random.default_rng(3))
        before = critics.weights.copy()
        learn(learner, critics, transition, 0)
        changes[optimizer] = critics.weights - before
    size = 0.0
    for rate, row in zip((0.1, 0.2, 0.3), critics.arrays[0], strict=True):
        slot = slice(row[10], row[10] + row[4])
        for errors, traces in zip(critics.activity[SIGNALS][:, slot], critics.traces[:, row[6] : row[8]], strict=True):
            size += rate * np.sum(np.maximum(np.abs(errors), 1.0) * np.abs(traces.reshape(row[2], row[3])))
    M = 2.0 * size / 2
    assert M > 1.0
    np.testing.assert_allclose(changes["obgd"], changes["sgd"] / M, rtol=1e-9, atol=1e-15)


def test_neurons_are_bounded_by_the_slopes_of_their_critics() -> None:
    learner, _ = make(2)
    bounded = Learner(learner.network, 2, constant_schedule([1.0, 2.0, 3.0]), "obgd", 0.0)
    rng = np.random.default_rng(0)
    act(bounded, rng.standard_normal((2, 3)), rng)
    before, told_them = learner.network.parameters.copy(), 2.0 * rng.standard_normal((2, learner.network.width))
    assert learn_deterministic_policy(bounded.arrays, told_them, np.zeros(2, bool), 0)
    signals = np.stack([per_parameter(bounded.network, row) for row in told_them])
    expected, M = step_of(rates_of(bounded, 0), 3.0, signals, bounded.traces)
    np.testing.assert_allclose(learner.network.parameters - before, expected, rtol=1e-9, atol=1e-15)
    assert M > 1.0
    assert np.abs(bounded.traces).sum(axis=1).min() > 0.0


@pytest.mark.parametrize("agent", [WeightMax, MAPProp, DecentralizedDDPG])
def test_agents_with_bounded_steps(agent) -> None:
    """Rates of one in all layers, the paper's κ, and compiled training with the same bits as step by step."""
    runs = []
    for callback in (None, lambda *_: True):
        model = agent("MlpPolicy", "CartPole-v1", seed=0, optimizer="obgd", policy_kwargs=SMALL)
        before = model.policy.actor.parameters.copy()
        model.learn(100, callback=callback)
        assert (model.why_step_by_step is None) == (callback is None)
        runs.append(np.concatenate([model.policy.actor.parameters, model.policy.critic.parameters]))
        assert np.isfinite(runs[-1]).all()
        assert not np.array_equal(before, model.policy.actor.parameters)
        for learner in model._rated().values():
            np.testing.assert_array_equal(learner.learning_rates(0), 1.0)
        assert model.actor_learner.settings[KAPPA] == 3.0
        assert model.critic_learner.settings[KAPPA] == 2.0
    np.testing.assert_array_equal(*runs)
    own = agent("MlpPolicy", "CartPole-v1", optimizer="obgd", learning_rate=0.5, policy_kwargs=SMALL)
    np.testing.assert_array_equal(own.actor_learner.learning_rates(0), 0.5)


def test_estimators_have_no_traces_to_bound_steps_with() -> None:
    X, y = np.random.default_rng(0).standard_normal((20, 3)), np.arange(20) % 2
    with pytest.raises(ValueError, match="Unknown optimizer 'obgd'; known optimizers: sgd, rmsprop, adam"):
        CoagentClassifier((4,), optimizer="obgd").fit(X, y)
