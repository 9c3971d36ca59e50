import numpy as np
import pytest

from coagent_rl import DecentralizedDDPG, Reinforce, WeightMax
from coagent_rl.analysis import (
    NeuronWatch,
    absolute_correlation,
    learning_curve,
    learning_curves,
    network_picture,
    neuron_states,
    running_mean,
    sweep_figure,
    unit_statistics,
    unit_statistics_figure,
)
from coagent_rl.networks import Layer, Network


def test_absolute_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 4))
    values[:, 1] = -2 * values[:, 0] + 0.1 * rng.standard_normal(300)
    values[:, 3] = 5.0
    computed = absolute_correlation(values)
    np.testing.assert_allclose(computed[:3, :3], np.abs(np.corrcoef(values[:, :3].T)), rtol=1e-10)
    assert np.isnan(computed[3]).all()
    assert np.isnan(computed[:, 3]).all()


def test_unit_statistics() -> None:
    network = Network(1, [Layer("bernoulli", 4), Layer("bernoulli", 2), Layer("softmax", 2)], dtype=np.float64)
    network.weights(0)[:] = [[1000.0, 1000.0, -1000.0, 0.0]]  # on for positive inputs, twice; off; a fair coin
    network.weights(1)[:] = np.arange(8).reshape(4, 2)
    network.biases(1)[:] = [100.0, -100.0]
    observations = np.where(np.arange(4000) % 4 == 0, 1.0, -1.0)[:, None]
    first, second = unit_statistics(network, observations, np.random.default_rng(0))
    np.testing.assert_allclose(first.firing_rate, [0.25, 0.25, 0.75, 0.5], atol=0.03)
    np.testing.assert_allclose(first.entropy, [0.811, 0.811, 0.811, 1.0], atol=0.01)
    np.testing.assert_allclose(first.correlation[:3, :3], 1.0, atol=1e-9)
    assert first.correlation[0, 3] < 0.06
    assert first.mean_correlation == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(first.outgoing_norm, np.linalg.norm(np.arange(8).reshape(4, 2), axis=1))
    np.testing.assert_array_equal(second.firing_rate, [1.0, 0.0])
    np.testing.assert_array_equal(second.entropy, [0.0, 0.0])
    assert np.isnan(second.mean_correlation)
    with pytest.raises(ValueError, match="at least two observations, not 1"):
        unit_statistics(network, observations[:1], np.random.default_rng(0))


def test_running_mean() -> None:
    np.testing.assert_allclose(running_mean(np.array([1.0, 3.0, 5.0, 7.0]), 2), [1.0, 2.0, 4.0, 6.0])


def test_figures_are_drawn(tmp_path) -> None:
    network = Network(2, [Layer("bernoulli", 5), Layer("softmax_reference", 3)])
    network.initialise(np.random.default_rng(0))
    rng = np.random.default_rng(0)
    network_picture(tmp_path / "network.png", network, np.ones(2))
    unit_statistics_figure(tmp_path / "units.png", unit_statistics(network, rng.standard_normal((50, 2)), rng), "units")
    learning_curve(tmp_path / "curve.png", {"a": [rng.random(300), rng.random(200)], "b": [rng.random(300)]}, "task")
    for name in ("network", "units", "curve"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 3


def test_panels_and_sweeps_are_drawn(tmp_path) -> None:
    rng = np.random.default_rng(0)
    panels = {"task 1": {"a": [rng.random(300), rng.random(300)]}, "task 2": {"b": [rng.random(90)], "a": [rng.random(90)]}}
    learning_curves(tmp_path / "panels.png", panels, {"task 1": 100, "task 2": 10})
    sweep_figure(tmp_path / "sweep.png", {"p": {"a": {"1": (0.5, 0.1), "2": (0.7, 0.2)}}}, "return")
    for name in ("panels", "sweep"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_neuron_states() -> None:
    """One neuron is driven into saturation by hand; of two critics one points the same way in all states."""
    model = DecentralizedDDPG(
        "MlpPolicy", "MountainCarContinuous-v0", policy_kwargs={"net_arch": [2]}, critic_kind="quadratic"
    )
    network, critics = model.policy.actor, model.neuron_critics
    network.weights(0)[:], network.biases(0)[:] = [[10.0, 0.1], [0.0, 0.0]], 0.0
    # Rows of the hidden layer's critics: w_0, w and w_2, one column a neuron.
    own = critics.weights[: 4 * 2].reshape(4, 2)
    own[0], own[1] = [0.5, -1.0], [1.0, 0.0]
    states = neuron_states(model, np.array([[-1.0, 0.0], [1.0, 0.0], [0.01, 0.0], [-0.01, 0.0]]))
    assert states.saturation[0] == pytest.approx(2 / 8)
    assert states.one_sign[0] == pytest.approx(1 / 2)
    with pytest.raises(ValueError, match="not finite"):
        neuron_states(model, np.full((1, 2), np.nan))
    with pytest.raises(ValueError, match="neuron_states describes DecentralizedDDPG agents, not WeightMax"):
        neuron_states(WeightMax("MlpPolicy", "CartPole-v1"), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="follows DecentralizedDDPG agents, not Reinforce"):
        Reinforce("MlpPolicy", "CartPole-v1").learn(1, callback=NeuronWatch())


def test_the_watch_looks_as_often_as_it_should_and_changes_nothing() -> None:
    def train(callback=None) -> np.ndarray:
        model = DecentralizedDDPG("MlpPolicy", "MountainCarContinuous-v0", seed=0, policy_kwargs={"net_arch": [4, 3]})
        return model.learn(350, callback=callback).policy.actor.parameters

    watch = NeuronWatch(100, 50)
    np.testing.assert_array_equal(train(watch), train())
    assert watch.timesteps == [100, 200, 300]
    assert all(states.saturation.shape == states.one_sign.shape == (3,) for states in watch.states)
