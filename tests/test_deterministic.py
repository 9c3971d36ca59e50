"""What ``predict(deterministic=True)`` means, the distribution of actions, and traces of the policy."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C

from coagent_rl import WeightMax
from coagent_rl.agents.acting import noise_bank
from coagent_rl.agents.noisy import BoundedPolicy
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.exported import REPEATABLE
from coagent_rl.networks.units import SAMPLE_HIDDEN

BOX = spaces.Box(-5, 5, (4,), np.float32)
TWO = spaces.Box(-2, 1, (2,), np.float32)
NOISY = {"units": "gaussian_tanh", "output_units": "gaussian_tanh"}
POLICIES: dict[str, tuple[type[CoagentPolicy], Any, Any, dict[str, Any]]] = {
    "bernoulli": (CoagentPolicy, BOX, spaces.Discrete(3), {}),
    "softmax, temperature": (CoagentPolicy, BOX, spaces.Discrete(3), {"output_units": "softmax", "temperature": 2.0}),
    "few explore": (CoagentPolicy, BOX, spaces.Discrete(3), {"exploration_probability": 0.5}),
    "gaussian": (CoagentPolicy, BOX, TWO, {"units": "gaussian_softplus"}),
    "all kinds": (
        CoagentPolicy,
        BOX,
        spaces.Discrete(4),
        {"net_arch": [5, 6, 7, 8], "units": ["categorical", "gaussian_preactivation_relu", "relu", "softmax"]},
    ),
    "one-hot": (CoagentPolicy, spaces.Discrete(5, start=2), spaces.Discrete(4), {"units": "gaussian_sigmoid"}),
    "no noise": (CoagentPolicy, BOX, spaces.Discrete(4), {"units": "relu"}),
    "bounded": (BoundedPolicy, BOX, TWO, {**NOISY, "exploration_probability": 0.7}),
    "largest of noisy": (BoundedPolicy, BOX, spaces.Discrete(3), NOISY),
}


def policy(name: str, **kwargs: Any) -> tuple[CoagentPolicy, np.ndarray]:
    """A policy whose units are far from indifferent, and 200 observations."""
    kind, observations, actions, arguments = POLICIES[name]
    made = kind(observations, actions, seed=1, **{**arguments, **kwargs})
    for index in range(made.actor.depth):
        made.actor.weights(index)[:] *= 3
        if index:  # units that fire half of the time on average
            made.actor.biases(index)[:] -= made.actor.weights(index).sum(axis=0) / 2
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4)).astype(np.float32) if observations is BOX else rng.integers(2, 7, 200)
    return made, x


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("mode", REPEATABLE)
def test_action_is_a_function_of_the_observation(name, mode) -> None:
    """Whatever was predicted before, whatever else is in the batch."""
    made, x = policy(name, deterministic_mode=mode)
    batch = made.predict(x, deterministic=True)[0]
    made.predict(x[:7])  # noise that is drawn in between changes nothing
    again = made.predict(x[::-1], deterministic=True)[0][::-1]
    np.testing.assert_allclose(batch, again, atol=1e-5)
    singly = np.array([made.predict(observation, deterministic=True)[0] for observation in x[:20]])
    np.testing.assert_allclose(batch[:20], singly, atol=1e-5)
    assert len(np.unique(batch, axis=0)) > 1


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("mode", REPEATABLE)
def test_trace_gives_the_same_actions(name, mode) -> None:
    made, x = policy(name, deterministic_mode=mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the bank is a constant of the trace, and says so
        traced = th.jit.trace(lambda observation: made(observation, deterministic=True), th.as_tensor(x[:3]))
    np.testing.assert_allclose(traced(th.as_tensor(x)).numpy(), made.predict(x, deterministic=True)[0], atol=1e-5)


def test_what_draws_anew_cannot_be_traced() -> None:
    made, x = policy("bernoulli", deterministic_mode="sample_hidden")
    for deterministic in (True, False):
        with pytest.raises(ValueError, match="draws anew in every call"):
            th.jit.trace(lambda o, d=deterministic: made(o, deterministic=d), th.as_tensor(x[:3]))


@pytest.mark.parametrize("name", ["bernoulli", "few explore", "all kinds", "one-hot"])
def test_marginal_probabilities_are_those_of_sampling(name) -> None:
    """The bank's average against the frequencies of 20 000 sampled actions."""
    made, x = policy(name, marginal_samples=512, deterministic_mode="marginal")
    for observation in x[:3]:
        repeated = np.repeat(observation[None], 20_000, axis=0)
        frequencies = np.bincount(made.predict(repeated)[0], minlength=made.action_space.n) / 20_000
        probabilities = made.get_distribution(made.obs_to_tensor(observation)[0]).distribution.probs[0].numpy()
        np.testing.assert_allclose(probabilities, frequencies, atol=0.04)
        assert made.predict(observation, deterministic=True)[0] == probabilities.argmax()


def test_hashed_actions_are_distributed_as_sampled_ones() -> None:
    """Over observations that differ in the last digits only."""
    made, x = policy("bernoulli", deterministic_mode="hashed")
    near = x[0] * (1 + 1e-5 * np.arange(5000)[:, None]).astype(np.float32)
    hashed, sampled = (np.bincount(made.predict(near, deterministic=d)[0], minlength=3) / 5000 for d in (True, False))
    np.testing.assert_allclose(hashed, sampled, atol=0.04)
    assert np.array_equal(*(made.predict(np.float32(zero) * x[:1], deterministic=True)[0] for zero in (0.0, -0.0)))


def test_bank_is_better_than_as_many_independent_samples() -> None:
    made, x = policy("bernoulli")
    exact = made.actor.activities(np.repeat(x[:20], 4000, axis=0), np.random.default_rng(5), SAMPLE_HIDDEN)[1]
    exact = exact[:, made.actor.slot(-1)].reshape(20, 4000, -1).mean(axis=1)
    bank = np.abs(made.marginal_means(x[:20]).mean(axis=1) - exact).mean()
    drawn = made.actor.activities(np.repeat(x[:20], 32, axis=0), np.random.default_rng(6), SAMPLE_HIDDEN)[1]
    independent = np.abs(drawn[:, made.actor.slot(-1)].reshape(20, 32, -1).mean(axis=1) - exact).mean()
    assert bank < 0.8 * independent


def test_every_unit_of_the_bank_is_spread_evenly() -> None:
    made, _ = policy("gaussian", marginal_samples=16)
    bank = noise_bank(made.actor, 16)
    assert bank.shape == (16, made.actor.width)
    np.testing.assert_allclose(bank[:, made.actor.slot(0)].mean(axis=0), 0, atol=1e-6)
    assert made.bank is made.bank
    assert len(policy("no noise")[0].bank) == 1


def test_evaluated_actions_of_a_box_are_a_mixture() -> None:
    """Log-densities against a mixture written out, in the units of the environment's actions."""
    for name in ("gaussian", "bounded"):
        made, x = policy(name)
        actions = np.random.default_rng(2).uniform(-2, 1, (5, 2)).astype(np.float32)
        values, log_prob, entropy = made.evaluate_actions(th.as_tensor(x[:5]), th.as_tensor(actions))
        means, deviation = made.marginal_means(x[:5]), 0.5
        if name == "bounded":
            means, deviation = -2 + (means + 1) * 1.5, 0.5 * 1.5
        density = np.exp(-0.5 * ((actions[:, None] - means) / deviation) ** 2) / (np.sqrt(2 * np.pi) * deviation)
        np.testing.assert_allclose(log_prob.numpy(), np.log(density.prod(axis=2).mean(axis=1)), rtol=1e-4)
        assert values.shape == (5, 1)
        assert entropy is None
        distribution = made.get_distribution(th.as_tensor(x[:5]))
        clipped = np.clip(distribution.mode().numpy(), -2, 1)
        np.testing.assert_allclose(clipped, made.predict(x[:5], deterministic=True)[0], atol=1e-5)
        assert distribution.sample().shape == (5, 2)


def test_evaluated_discrete_actions() -> None:
    made, x = policy("bernoulli")
    values, log_prob, entropy = made.evaluate_actions(th.as_tensor(x), th.zeros(200))
    assert (values.shape, log_prob.shape, entropy.shape) == ((200, 1), (200,), (200,))
    np.testing.assert_allclose(log_prob.exp().numpy(), made.marginal_means(x).mean(axis=1)[:, 0], rtol=1e-4)
    with pytest.raises(ValueError, match="no closed form"):
        policy("largest of noisy")[0].get_distribution(th.as_tensor(x))


def test_mode_is_kept_with_the_model(tmp_path) -> None:
    kwargs = {"net_arch": [8], "deterministic_mode": "hashed", "marginal_samples": 5}
    model = WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs=kwargs, seed=0)
    model.save(tmp_path / "model.zip")
    loaded = WeightMax.load(tmp_path / "model.zip")
    assert (loaded.policy.deterministic_mode, loaded.policy.marginal_samples) == ("hashed", 5)
    x = np.random.default_rng(0).standard_normal((100, 4))
    np.testing.assert_array_equal(model.predict(x, deterministic=True)[0], loaded.predict(x, deterministic=True)[0])


def test_an_assigned_mode_is_checked_and_saved(tmp_path) -> None:
    model = WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [8]}, seed=0)
    for wrong in ("foo", 3, ["mean"]):
        with pytest.raises(ValueError, match=r"deterministic_mode must be one of .*'mean'.*, not"):
            model.policy.deterministic_mode = wrong
    assert model.policy.deterministic_mode == "hashed"
    model.policy.deterministic_mode = "mean"
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    loaded = WeightMax.load(tmp_path / "model", policy_kwargs={"net_arch": [8]})
    assert loaded.policy.deterministic_mode == "mean"
    assert type(model.policy).load(tmp_path / "policy").deterministic_mode == "mean"
    given = {"net_arch": [8], "deterministic_mode": "most_likely"}
    loaded = WeightMax.load(tmp_path / "model", custom_objects={"policy_kwargs": given})
    assert loaded.policy.deterministic_mode == "most_likely"
    model.policy.deterministic_mode = None
    assert model.policy.deterministic_mode == "hashed"


@pytest.mark.parametrize("name", POLICIES)
def test_default_is_what_was_measured_to_be_best(name) -> None:
    """All random units sampled where actions are discrete; the mean action where noise would be added to it."""
    marginal = name in ("gaussian", "no noise", "bounded")
    assert policy(name)[0].deterministic_mode == ("marginal" if marginal else "hashed")


def test_onnx_gives_the_same_actions(tmp_path) -> None:
    pytest.importorskip("onnxscript", reason="onnx and onnxscript are not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

    class Deterministic(th.nn.Module):
        def __init__(self, made: CoagentPolicy) -> None:
            super().__init__()
            self.policy = made

        def forward(self, observation: th.Tensor) -> th.Tensor:
            return self.policy(observation, deterministic=True)

    for name in ("bernoulli", "gaussian", "bounded"):
        for mode in ("marginal", "mean", "most_likely"):
            made, x = policy(name, deterministic_mode=mode)
            file, dynamic = str(tmp_path / "policy.onnx"), ({0: th.export.Dim("n")},)
            th.onnx.export(Deterministic(made), (th.as_tensor(x),), file, input_names=["x"], dynamic_shapes=dynamic)
            actions = runtime.InferenceSession(file).run(None, {"x": x[:50]})[0]
            np.testing.assert_allclose(actions, made.predict(x[:50], deterministic=True)[0], atol=1e-5)


@pytest.mark.parametrize("value", [0, -1, 2.5, "8"])
def test_number_of_samples_is_checked(value) -> None:
    with pytest.raises(ValueError, match="marginal_samples must be a whole number from 1"):
        CoagentPolicy(BOX, TWO, marginal_samples=value)


def test_prediction_takes_no_longer_than_three_times_that_of_a2c() -> None:
    """Pairs, one beside the other; the median of their ratios."""
    ours = {mode: CoagentPolicy(BOX, spaces.Discrete(2), seed=0, deterministic_mode=mode) for mode in REPEATABLE}
    theirs = A2C("MlpPolicy", "CartPole-v1", device="cpu").policy
    x = np.zeros(4, np.float32)

    def seconds(predicts: Any) -> float:
        started = time.perf_counter()
        predicts.predict(x, deterministic=True)
        return time.perf_counter() - started

    for made in ours.values():
        pairs = [(seconds(made), seconds(theirs)) for _ in range(200)]
        assert np.median([mine / other for mine, other in pairs]) < 3
