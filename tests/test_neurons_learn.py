"""Neurons with critics of their own in the agent: what they learn from, what they learn, what stays finite."""

from functools import partial

import numpy as np
import pytest

from coagent_rl import DecentralizedDDPG, NodePerturbation
from coagent_rl.agents import CoagentAlgorithm
from coagent_rl.agents.replay import value_columns
from coagent_rl.arrays import MEANS, VALUES
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.critics.per_neuron import FEATURES
from tests.clock import Clock
from tests.follow import Follow
from tests.test_decentralized_ddpg import KINDS, SLOPES, SMALL, act, make


def test_node_perturbation_is_a_loop_over_neurons() -> None:
    decay, e = 0.8, {}
    learner, _ = make(n_rows=2, actor_decay=decay)
    network, rng = learner.network, np.random.default_rng(7)
    for step in range(4):
        act(learner, rng.standard_normal((2, 3)), rng)
        weights = [network.weights(i).copy() for i in range(3)]
        starts, td_errors = np.array([step == 0, step in (0, 2)]), rng.standard_normal(2)
        assert learn_reinforce(learner.arrays, np.repeat(td_errors[:, None], network.width, axis=1), starts, 0)
        for i, (kind, σ) in enumerate((("tanh", 0.3), ("sigmoid", 0.2), ("tanh", network.layers[2].deviation))):
            for j in range(network.layers[i].n_values):
                change = 0.0
                for row in range(2):
                    values, means = learner.activity[VALUES, row], learner.activity[MEANS, row]
                    v = values[: network.n_inputs] if i == 0 else values[network.slot(i - 1)]
                    a, μ = values[network.slot(i)][j], means[network.slot(i)][j]
                    before = 0.0 if starts[row] else decay * e[i, j, row]
                    e[i, j, row] = before + v * (a - μ) / σ**2 * SLOPES[kind](μ)
                    change = change + 0.5 * td_errors[row] * e[i, j, row]
                expected = weights[i][:, j] + (0.01, 0.02, 0.03)[i] * change
                np.testing.assert_allclose(network.weights(i)[:, j], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("truncation", ["bootstrap", "zero_td_error"])
def test_replayed_transitions_belong_together(truncation, monkeypatch) -> None:
    """Every replayed row: s, what the neurons did in s, their means in s now, r, s', termination, cut."""
    kwargs = {"buffer_size": 60, "learning_starts": 20, "batch_size": 16, "actor_learning_rate": 0.0}
    model = DecentralizedDDPG("MlpPolicy", Clock(), seed=0, policy_kwargs=SMALL, truncation=truncation, **kwargs)
    network, did, rows = model.policy.actor, {}, []
    columns = value_columns(network)
    learn_from, learn_batch = model._learn_from, CoagentAlgorithm._learn_from

    def spy_on_acting(observations, *others) -> None:
        learn_from(observations, *others)
        did[float(observations[0, 0])] = model._acting[VALUES][0, columns].copy()

    def spy(agent, observations, rewards, ends, terminated, ignored, episode_starts) -> None:
        activity = agent.actor_learner.activity
        for row in range(16):
            t = float(observations[row, 0])
            np.testing.assert_array_equal(activity[VALUES][row, columns], did.get(t, newest()))
            means = network.activities(observations[row : row + 1], mode=2)[1][0, network.slot(0)]
            np.testing.assert_allclose(activity[MEANS][row, network.slot(0)], means, rtol=1e-5)
            assert ends[row, 0] == t + 1
            assert rewards[row] == pytest.approx((t + 1) / 1000)
            last, terminates = t % 5 == 4, (t // 5 + 1) % 3 == 0
            assert terminated[row] == (last and terminates)
            assert ignored[row] == (last and not terminates and truncation == "zero_td_error")
            rows.append(t)
        assert np.all(episode_starts)
        learn_batch(agent, observations, rewards, ends, terminated, ignored, episode_starts)

    def newest() -> np.ndarray:
        return model._acting[VALUES][0, columns]

    monkeypatch.setattr(model, "_learn_from", spy_on_acting)
    monkeypatch.setattr(CoagentAlgorithm, "_learn_from", spy)
    model.learn(100)
    assert len(set(rows)) > 60


def test_traces_reach_back_in_the_agent() -> None:
    """One step's error also moves what the critics learned of the step before, unless λ = 0 or an episode began."""

    def learned(neuron_critic_lambda: float) -> list[np.ndarray]:
        kwargs = {"actor_learning_rate": 0.0, "critic_learning_rate": 0.0, "optimizer": "sgd", "policy_kwargs": SMALL}
        model = DecentralizedDDPG("MlpPolicy", Clock(), seed=0, neuron_critic_lambda=neuron_critic_lambda, **kwargs)
        critics, found = model.neuron_critics, []
        for n in (2, 3):
            model.learn(n, reset_num_timesteps=False)
            # Without traces what is learned goes with the features of the present step.
            found.append(critics.traces[0].copy() if len(critics.traces) else critics.memory[FEATURES].copy())
        assert len(critics.traces) == (neuron_critic_lambda > 0.0)
        return found

    (second, start), (alone, alone_start) = learned(0.9), learned(0.0)
    assert np.abs(second - alone).max() > 0.01
    np.testing.assert_array_equal(start, alone_start)  # step 5 begins an episode


@pytest.mark.parametrize("critic", ["td", "map_prop"])
def test_neurons_learn_from_the_error_of_the_critic_that_they_share(critic) -> None:
    kwargs = {"actor_learning_rate": 0.0, "critic_learning_rate": 0.0, "policy_kwargs": SMALL, "critic": critic}
    model = DecentralizedDDPG("MlpPolicy", Clock(), seed=0, **kwargs)
    for t in (1, 2, 3):
        model.learn(1, reset_num_timesteps=False)
        errors, shared = model.neuron_critics.errors[0, value_columns(model.policy.actor)], model.neuron_critics.td_errors[0]
        np.testing.assert_array_equal(errors, np.float32(shared))
        if critic == "td":
            values = model.policy.critic.activities(np.array([[t], [t + 1.0]]), mode=2)[0][:, -1]
            assert shared == pytest.approx((t + 1) / 1000 + 0.99 * values[1] - values[0], rel=1e-5, abs=1e-7)
        assert shared != 0.0


@pytest.mark.parametrize(
    "agent",
    [
        partial(DecentralizedDDPG, critic_kind="compatible", neuron_critic_learning_rate=1e-2),
        partial(DecentralizedDDPG, critic_kind="quadratic", neuron_critic_learning_rate=1e-2),
        partial(DecentralizedDDPG, critic_kind="compatible", neuron_critic_learning_rate=1e-2, td_source="neuron"),
        NodePerturbation,
    ],
)
def test_neurons_learn_to_follow(agent) -> None:
    def mean_reward(rate: float) -> float:
        noise = {"output_noise": 0.3, "noise_correlation_rate": 1.0}
        kwargs = {"policy_kwargs": {"net_arch": [16]}, "seed": 0, **noise}
        model = agent("MlpPolicy", Follow(-1.0), actor_learning_rate=rate, **kwargs).learn(12_000)
        x = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
        return -float(np.mean((model.predict(x, deterministic=True)[0] + x) ** 2))

    assert mean_reward(3e-4) > -0.05
    assert mean_reward(0.0) < -0.15


@pytest.mark.parametrize(
    "env", ["MountainCarContinuous-v0", "CartPole-v1", "coagent_rl/Multiplexer-v0", "coagent_rl/Corridor-v0"]
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("td_source", ["shared", "neuron"])
def test_everything_stays_finite(env, kind, td_source) -> None:
    model = DecentralizedDDPG("MlpPolicy", env, critic_kind=kind, td_source=td_source, seed=0, policy_kwargs=SMALL).learn(
        3000
    )
    for array in (model.policy.actor.parameters, model.neuron_critics.weights, model.neuron_critics.memory):
        assert np.all(np.isfinite(array))
    assert np.any(model.neuron_critics.weights != 0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"critic_kind": "cubic"}, "critic_kind must be one of"),
        ({"td_source": "global"}, "td_source must be one of"),
        ({"td_source": "shared", "critic": None}, "td_source='shared' does not go with critic=None"),
        ({"td_source": "neuron", "critic": "td"}, "td_source='neuron' does not go with critic='td'"),
        ({"noise_correlation_rate": 0.0}, r"noise_correlation_rate must lie in \(0, 1\], not 0.0"),
        ({"neuron_critic_lambda": 1.5}, r"neuron_critic_lambda must lie in \[0, 1\]"),
        ({"hidden_noise": 0.0}, "hidden_noise must be positive"),
        ({"actor_lambda": 0.9}, "actor_lambda must be 0, not 0.9"),
        ({"buffer_size": 10, "learning_starts": 11}, "nothing would be learned"),
        ({"policy_kwargs": {**SMALL, "variance": 9.0}}, "agent's argument is hidden_noise and output_noise"),
        ({"policy_kwargs": {**SMALL, "exploration_probability": 0.0}}, "must not hold 'exploration_probability'"),
        ({"policy_kwargs": {**SMALL, "learned_deviation": True}}, "noise is not learned"),
        ({"tau": 0.0}, "tau must lie in"),
        ({"buffer_size": 0}, "buffer_size must be a whole number from 1, not 0"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1"),
        ({"gradient_steps": 1.5}, "gradient_steps must be a whole number"),
        ({"policy_kwargs": {**SMALL, "units": "tanh"}}, "trains Gaussian units"),
        ({"policy_kwargs": {**SMALL, "output_units": "softmax"}}, "output neurons must be Gaussian"),
        ({"neuron_critic_learning_rate": [0.1, 0.1]}, "neuron_critic_learning_rate"),
    ],
)
def test_wrong_arguments(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        DecentralizedDDPG("MlpPolicy", "CartPole-v1", **{"policy_kwargs": SMALL, **kwargs})
