"""The measuring code itself: what it watches it must not change, and what it reports must be what it says."""

import numpy as np
import pytest
import torch as th
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import NormalActionNoise

from benchmarks.decentralized_ddpg import interval, returns_in_time
from benchmarks.runs import Run, execute
from benchmarks.sub_critics import ENV, HIDDEN, SubCritics, correlations, neuron_values

DEPTH = len(HIDDEN) + 1


def ddpg() -> DDPG:
    noise = NormalActionNoise(np.zeros(1), 0.5 * np.ones(1))
    kwargs = {"net_arch": {"pi": HIDDEN, "qf": [16]}, "activation_fn": th.nn.Tanh}
    return DDPG("MlpPolicy", ENV, action_noise=noise, policy_kwargs=kwargs, batch_size=8, seed=3)


@pytest.fixture(scope="module")
def watched() -> tuple[SubCritics, DDPG]:
    callback, model = SubCritics(0), ddpg()
    model.learn(160, callback=callback)
    return callback, model


def test_watching_does_not_change_the_agent(watched) -> None:
    alone = ddpg().learn(160)
    for seen, expected in zip(watched[1].policy.parameters(), alone.policy.parameters(), strict=True):
        assert th.equal(seen, expected)


def test_sub_critics_see_what_the_actor_did(watched) -> None:
    callback, model = watched
    observations = np.random.default_rng(0).uniform(-1, 1, (1, 2)).astype(np.float32)
    callback._copy_actor()
    layers = callback._act(callback._one, observations, np.array([[0.3]]))
    with th.no_grad():
        x = th.as_tensor(observations)
        for k, module in enumerate(model.actor.mu[:-2]):
            x = module(x)
            if k % 2:
                np.testing.assert_allclose(layers[k // 2 + 1].numpy(), x.numpy(), rtol=0, atol=1e-5)
    assert layers[-1].item() == pytest.approx(0.3)

    weights = callback.neuron_critics[0].weights
    values = neuron_values(callback.network, callback.neuron_critics[0], callback._one)
    start = 0
    for k in range(DEPTH):
        v, a = layers[k].numpy()[0], layers[k + 1].numpy()[0]
        own = weights[start : start + (v.size + 2) * a.size].reshape(v.size + 2, a.size)
        start += own.size
        expected = [v @ own[:-2, j] + own[-2, j] + own[-1, j] * a[j] for j in range(a.size)]
        np.testing.assert_allclose(values[callback.network.slot(k)], expected, rtol=1e-4, atol=1e-5)
    assert start == weights.size


def test_correlations_of_changes_within_episodes(watched) -> None:
    callback = SubCritics(0)
    callback.model = watched[1]
    rng = np.random.default_rng(0)
    whole = np.cumsum(rng.standard_normal(400))
    callback.values = list(np.stack([whole, 2 * whole + 5, -whole, rng.standard_normal(400)], axis=1))
    callback.values[250][1] += 1e9  # a jump between two episodes, out and back
    callback.values[250][2] -= 1e9
    callback.episode_starts = [t in (0, 250, 251) for t in range(400)]
    r, changes = correlations(callback)
    assert changes.shape == (400 - 101 - 1 - 2, 4)
    np.testing.assert_allclose(r[:2], [1.0, -1.0])
    assert abs(r[2]) < 0.2


def test_interval_is_students() -> None:
    low, high = interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), rel=1e-3)


def test_a_watched_run_keeps_the_states_of_its_neurons(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.runs.RESULTS", tmp_path)
    settings = {"n_timesteps": 600, "policy_kwargs": {"net_arch": [4, 3]}}
    run = Run("t", "m", "CartPole-v1", 0, "decentralized_ddpg", settings, watch_every=200)
    execute(run, "test")
    with np.load(run.path) as file:
        np.testing.assert_array_equal(file["watch_timesteps"], [200, 400, 600])
        assert file["saturation"].shape == file["one_sign"].shape == (3, 3)
        ends, returns = np.cumsum(file["lengths"]), file["returns"]
    seen = returns_in_time(run, np.array([ends[0] - 1, ends[2]]), window=2)
    assert np.isnan(seen[0])
    assert seen[1] == pytest.approx(returns[1:3].mean())
