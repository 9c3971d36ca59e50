"""The exact gradient, and what is said of rules by comparing with it, against enumeration."""

import json
import math

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from benchmarks import gradient_quality as command
from benchmarks import unbiased_relatives
from coagent_rl import Backprop, DecentralizedDDPG, NodePerturbation, PosteriorRule, Reinforce, ReinforceThomas, WeightMax
from coagent_rl.analysis import gradients as module
from coagent_rl.analysis.gradients import exact_gradient
from coagent_rl.analysis.quality import gradient_quality, quality_row, quality_table
from coagent_rl.arrays import named
from coagent_rl.credit.posterior import learn_posterior
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.credit.weight_max import learn_weight_max
from coagent_rl.envs.multiplexer import Multiplexer
from coagent_rl.kernel import kernel
from coagent_rl.networks import MEAN, Layer, Network
from coagent_rl.networks.layout import RATE_START
from tests import enumeration
from tests.enumeration import REWARDS, X, small_network, updates
from tests.test_agents import Scripted, flat

SPACES = (spaces.Box(-2, 2, (3,)), spaces.Discrete(3))


def make(agent, sizes=(3, 2), **kwargs):
    model = agent("MlpPolicy", Scripted(*SPACES), seed=0, temperature=0.8, policy_kwargs={"net_arch": list(sizes)}, **kwargs)
    parameters = model.policy.actor.parameters
    parameters[:] = np.random.default_rng(2).standard_normal(parameters.size)
    return model


@pytest.mark.parametrize("output", ["softmax", "softmax_reference"])
@pytest.mark.parametrize(("kind", "sizes"), [("bernoulli", (4,)), ("bernoulli", (3, 2)), ("boltzmann", (3, 2))])
def test_enumerated_gradients(kind, sizes, output) -> None:
    network = small_network(kind, sizes, output=output)
    gradient, _, expected = enumeration.exact_gradient(network)
    ours = exact_gradient(network, X, REWARDS)
    assert ours.expected_reward == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(ours.gradient, gradient, rtol=1e-9, atol=1e-12)
    assert not np.any(ours.errors)


@pytest.mark.parametrize("sizes", [(4,), (3, 2), (3, 2, 2)])
def test_gradients_by_flipping_one_unit_at_a_time(sizes, monkeypatch) -> None:
    network = small_network("bernoulli", sizes)
    gradient, _, expected = enumeration.exact_gradient(network)
    monkeypatch.setattr(module, "MOST_CASES", 1)
    ours = exact_gradient(network, X, REWARDS, n_samples=20_000)
    assert ours.expected_reward == pytest.approx(expected, abs=0.01)
    difference = np.linalg.norm(ours.gradient - gradient)
    assert difference < 2 * np.linalg.norm(ours.errors) < 0.1 * np.linalg.norm(gradient)
    assert np.any(exact_gradient(network, X, REWARDS, n_samples=2000, seed=1).gradient != ours.gradient)


def test_gradients_of_deterministic_units() -> None:
    network = Network(3, [Layer("tanh", 4, 1.2), Layer("softplus", 3), Layer("softmax_reference", 3, 0.8)], dtype=np.float64)
    network.parameters[:] = np.random.default_rng(0).standard_normal(network.parameters.size)
    ours = exact_gradient(network, X, REWARDS)

    def expected() -> float:
        _, means = network.activities(X[None], mode=MEAN)
        return float(means[0, network.slot(-1)] @ REWARDS)

    assert ours.expected_reward == pytest.approx(expected(), rel=1e-12)
    for k in range(0, network.parameters.size, 5):
        network.parameters[k] += 1e-6
        above = expected()
        network.parameters[k] -= 2e-6
        assert ours.gradient[k] == pytest.approx((above - expected()) / 2e-6, abs=1e-8)
        network.parameters[k] += 1e-6


def test_gradients_of_gaussian_units() -> None:
    """a = v (u + σ ξ) + b + σ' ξ', R = -(a - 1)²: E[R] = -(v u + b - 1)² - v² σ² - σ'², with one linear hidden unit."""
    layers = [Layer("gaussian_linear", 1, deviation=0.5), Layer("gaussian_linear", 1, deviation=0.7, learned_deviation=True)]
    network = Network(1, layers, dtype=np.float64)
    network.weights(0)[:], network.weights(1)[:], network.biases(1)[:] = 0.8, -0.6, 0.3
    ours = exact_gradient(network, np.array([2.0]), lambda a: -((a[:, 0] - 1) ** 2), n_samples=40_000)
    u, v, b, σ, own = 1.6, -0.6, 0.3, 0.5, 0.7
    error = v * u + b - 1
    assert ours.expected_reward == pytest.approx(-(error**2) - (v * σ) ** 2 - own**2, abs=0.05)
    wanted = [-2 * error * v * 2.0, -2 * error * v, -2 * error * u - 2 * v * σ**2, -2 * error, -2 * own**2]
    assert np.all(np.abs(ours.gradient - wanted) < 5 * ours.errors)
    assert np.all(ours.errors < 0.1)


def test_gradients_of_units_with_noise_before_the_activation() -> None:
    """a = v max(m + σ ξ, 0) + b + σ' ξ', R = a: ∂E[R]/∂m = v Φ(m/σ) and ∂E[R]/∂v = m Φ(m/σ) + σ φ(m/σ)."""
    layers = [Layer("gaussian_preactivation_relu", 1, deviation=0.5), Layer("gaussian_linear", 1, deviation=0.7)]
    network = Network(1, layers, dtype=np.float64)
    network.weights(0)[:], network.weights(1)[:], network.biases(1)[:] = 0.2, -0.6, 0.3
    ours = exact_gradient(network, np.array([2.0]), lambda a: a[:, 0], n_samples=40_000)
    m, v, σ = 0.4, -0.6, 0.5
    below, density = 0.5 * (1 + math.erf(m / σ / math.sqrt(2))), math.exp(-0.5 * (m / σ) ** 2) / math.sqrt(2 * math.pi)
    wanted = np.array([v * below * 2.0, v * below, m * below + σ * density, 1.0])
    assert np.all(np.abs(ours.gradient - wanted) <= 5 * ours.errors + 1e-12)
    assert np.all(ours.errors[:3] < 0.02)


RULES = {"reinforce": (Reinforce, learn_reinforce), "posterior": (PosteriorRule, learn_posterior)}
RULES["weight_max"] = (WeightMax, learn_weight_max)


@pytest.mark.parametrize("rule", RULES)
def test_quality_is_that_of_all_possible_updates(rule) -> None:
    """By enumeration, within what sampling allows."""
    agent, learn = RULES[rule]
    model = make(agent)
    network = Network(3, model.policy.actor.layers, dtype=np.float64)
    network.parameters[:] = model.policy.actor.parameters
    before = flat(model)
    found = gradient_quality(model, X, REWARDS, n_samples=20_000)
    np.testing.assert_array_equal(flat(model), before)
    gradient, chances, expected = enumeration.exact_gradient(network)
    each = np.array(list(updates(network, learn, expected, (2.0, 1.0))))
    parts = {"hidden": slice(0, network.layout[2, 6])}
    parts |= {f"layer_{k + 1}": slice(network.layout[k, 6], network.layout[k, 8]) for k in range(3)}
    assert found.keys() == parts.keys()
    for name, part in parts.items():
        g, Δ, quality = gradient[part], each[:, part], found[name]
        norm, mean = np.linalg.norm(g), chances @ Δ
        assert quality.gradient_norm == pytest.approx(norm, rel=1e-5)
        noise = np.sqrt(chances @ np.sum((Δ - mean) ** 2, axis=1)) / norm
        assert quality.noise == pytest.approx(noise, rel=0.05)
        assert quality.error == pytest.approx(noise / np.sqrt(20_000), rel=0.05)
        assert quality.bias == pytest.approx(np.linalg.norm(mean - g) / norm, abs=2.5 * quality.error + 1e-4)
        along, size = mean @ g, np.sqrt(chances @ np.sum(Δ**2, axis=1))
        assert quality.cosine == pytest.approx(along / (size * norm), abs=2.5 / np.sqrt(20_000))
        direction = along / (np.linalg.norm(mean) * norm)
        assert (
            direction - 2 * (quality.error * norm / np.linalg.norm(mean)) ** 2 - 0.02 < quality.direction < direction + 0.02
        )
    if rule == "weight_max":
        assert found["layer_1"].bias > 10 * found["layer_1"].error


def test_noise_that_the_agent_draws_in_its_own_way_reaches_the_rule() -> None:
    """Of units of which half explore the updates are those of a network in which half of them are silent."""
    all_explore = gradient_quality(make(Reinforce), X, REWARDS, n_samples=4000)["layer_1"]
    some = gradient_quality(make(ReinforceThomas, exploration_probability=0.5), X, REWARDS, n_samples=4000)["layer_1"]
    assert 0.55 < some.noise / all_explore.noise < 0.85  # half of the scores are zero, each time others


def test_what_a_perfect_baseline_is_worth() -> None:
    model = make(Reinforce)
    shifted = REWARDS + 5.0
    own = gradient_quality(model, X, shifted, n_samples=2000)["hidden"].noise
    assert gradient_quality(model, X, REWARDS, n_samples=2000)["hidden"].noise == pytest.approx(own, rel=1e-2)
    assert gradient_quality(model, X, shifted, n_samples=2000, baseline=0.0)["hidden"].noise > 3 * own


def test_other_networks_and_rewards() -> None:
    model = Backprop("MlpPolicy", Scripted(*SPACES), seed=0, policy_kwargs={"net_arch": [8, 6]})
    backprop = gradient_quality(model, X, REWARDS, n_samples=4000)["hidden"]
    assert backprop.bias < 3 * backprop.error
    model = NodePerturbation("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"net_arch": [4]})
    found = gradient_quality(model, X, lambda a: -((a[:, 0] - 0.5) ** 2), n_samples=10_000)["hidden"]
    assert found.bias < 3 * found.error
    assert found.direction > 0.9


@kernel
def counting_rule(arrays, reinforcements, episode_starts, time) -> bool:
    """All parameters move by what the rule has counted, times the rate."""
    learner = named(arrays)
    learner.store[0, 0, 0, 0] += 1.0
    learner.parameters[:] += learner.constants[0, RATE_START] * learner.store[0, 0, 0, 0]
    return True


def test_a_rule_learns_beforehand_and_not_while_it_is_watched() -> None:
    class Counting(Reinforce):
        rule = staticmethod(counting_rule)

        def _rule_store(self, network, n_rows):
            return np.zeros((1, 1, 1, 1))

    model = make(Counting)
    network = Network(3, model.policy.actor.layers, dtype=np.float64)
    network.parameters[:] = model.policy.actor.parameters
    gradient = exact_gradient(network, X, REWARDS).gradient[: network.layout[2, 6]]
    for warm_up in (0, 7):
        quality = gradient_quality(model, X, REWARDS, n_samples=5, warm_up=warm_up)["hidden"]
        wanted = np.linalg.norm(1.0 + warm_up - gradient) / np.linalg.norm(gradient)
        assert quality.bias == pytest.approx(wanted, rel=1e-3)
        assert quality.noise < 1e-2
    model.actor_learner.store[:] = 3.0  # what it has learned goes along
    quality = gradient_quality(model, X, REWARDS, n_samples=5)["hidden"]
    assert quality.bias == pytest.approx(np.linalg.norm(4.0 - gradient) / np.linalg.norm(gradient), rel=1e-3)
    assert model.actor_learner.store[0, 0, 0, 0] == 3.0


@kernel
def idle_rule(arrays, reinforcements, episode_starts, time) -> bool:
    return True


def test_what_is_refused() -> None:
    model = make(Reinforce)
    for arguments, message in (
        ((np.zeros(4), REWARDS), "must be 3 finite numbers, not of shape"),
        (([0.0, np.nan, 0.0], REWARDS), "must be 3 finite numbers"),
        ((X, [1.0, 2.0]), "rewards must be 3 finite numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            gradient_quality(model, *arguments)
    with pytest.raises(ValueError, match="n_samples must be at least 2, not 1"):
        gradient_quality(model, X, REWARDS, n_samples=1)
    frozen = Reinforce("MlpPolicy", Scripted(*SPACES), policy_kwargs={"units": "relu", "net_arch": [3]})
    frozen.policy.actor.parameters[: frozen.policy.actor.layout[0, 8]] = -1.0  # dead units
    with pytest.raises(ValueError, match="exact gradient of the hidden layers is zero"):
        gradient_quality(frozen, np.ones(3), REWARDS, n_samples=3)

    class Idle(Reinforce):
        rule = staticmethod(idle_rule)

    with pytest.raises(ValueError, match="Idle never moved a hidden layer in 3 samples"):
        gradient_quality(make(Idle), X, REWARDS, n_samples=3)
    ddpg = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", seed=0)
    with pytest.raises(ValueError, match="critics of their own"):
        gradient_quality(ddpg, X, REWARDS)
    from stable_baselines3.common.env_util import make_vec_env

    with pytest.raises(ValueError, match="must have one environment, not 2"):
        gradient_quality(Reinforce("MlpPolicy", make_vec_env("CartPole-v1", 2)), X, REWARDS)
    for layers, message in (
        ([Layer("boltzmann", 20)], "20 binary units are too many"),
        ([Layer("categorical", 2)], "kind 'categorical' is not known"),
    ):
        with pytest.raises(ValueError, match=message):
            exact_gradient(Network(3, [*layers, Layer("softmax", 3)]), X, REWARDS)
    with pytest.raises(ValueError, match="'gaussian_linear' output layer are not known"):
        exact_gradient(Network(3, [Layer("gaussian_linear", 1)]), X, [1.0])
    assert exact_gradient(Network(3, [Layer("softmax", 3)]), X, lambda a: a @ th.ones(3).double()).expected_reward == 1.0


def test_the_table() -> None:
    quality = gradient_quality(make(Reinforce), X, REWARDS, n_samples=10)["hidden"]
    lines = quality_table([quality_row("reinforce", "3-2", "hidden", quality)]).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith(f"| 3-2 | hidden | reinforce | {quality.bias:.3g} | {quality.noise:.3g} |")


def test_states_are_questions_of_the_multiplexer() -> None:
    x, rewards = command.state_of(3)
    again, _ = command.state_of(3)
    np.testing.assert_array_equal(x, again)
    size, bits = Multiplexer(4).size, (x > 0).astype(int)
    address = int("".join(map(str, bits[:4])), 2)
    assert x.shape == (size,)
    assert rewards[bits[4 + address]] == 1.0
    assert rewards.sum() == 0.0


def test_the_command(tmp_path, capsys) -> None:
    algorithms = ["reinforce", "posterior_rule", "decentralized_ddpg"]
    words = [
        "--samples",
        "40",
        "--most-exact",
        "500",
        "--states",
        "2",
        "--folder",
        str(tmp_path),
        "--networks",
        "2-2",
        "16",
        "64-32",
    ]
    assert command.main([*words, "--algos", *algorithms]) == 0
    stored = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    seen = {(row["rule"], row["network"], row["episodes"]) for row in stored["rows"]}
    networks = [("2-2", 0), ("16", 0), *(("64-32", episodes) for episodes in command.MOMENTS)]
    assert seen == {(rule, *network) for rule in algorithms[:2] for network in networks}
    assert {row["part"] for row in stored["rows"]} == {"hidden", "layer_1", "layer_2", "layer_3"}
    assert list(stored["left_out"]) == ["decentralized_ddpg"]
    page = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "After 10000 episodes of Weight Maximization" in page
    assert "decentralized_ddpg: " in page
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
    for columns, networks in ((2, ("2-2", "16")), (1, ("16",)), (0, ("64-32",))):
        figure = command.draw([row for row in stored["rows"] if row["network"] in networks])
        assert (len(figure.axes) if figure is not None else 0) == 2 * columns
    assert command.main([*words[:8], "--networks", "2-2", "--algos", "product_rule"]) == 0
    more = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    assert [row for row in more["rows"] if row["rule"] != "product_rule"] == stored["rows"]
    assert {row["network"] for row in more["rows"] if row["rule"] == "product_rule"} == {"2-2"}
    assert more["left_out"] == stored["left_out"]
    with pytest.raises(SystemExit):
        command.main(["--algos", "nothing"])
    assert "Unknown algorithm 'nothing'" in capsys.readouterr().err


def test_learning_is_resumed(tmp_path, capsys) -> None:
    words = ["--trials", "2", "--trial-episodes", "300", "--episodes", "12000", "--seeds", "2", "--networks", "64"]
    words += ["--folder", str(tmp_path), "--methods", "frozen"]
    assert unbiased_relatives.main(words) == 0
    assert "64 frozen: " in capsys.readouterr().out
    (result,) = json.loads((tmp_path / "learning.json").read_text(encoding="utf-8"))
    assert len(result["trials"]) == 2
    assert result["rates"] == max(result["trials"], key=lambda trial: np.mean(trial["scores"]))["rates"]
    assert len(result["all"]) == len(result["last"]) == 2
    assert unbiased_relatives.main(words) == 0
    printed = capsys.readouterr().out
    assert "64 frozen: " not in printed
    assert "| 64 | frozen | 2 |" in printed
