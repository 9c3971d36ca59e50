"""Decentralized DDPG: the critics and actors of single neurons against loops in plain NumPy, and the agent."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor

from coagent_rl import DecentralizedDDPG
from coagent_rl.agents import CoagentPolicy
from coagent_rl.agents.replay import means_of_values, value_columns
from coagent_rl.arrays import MEANS, N_UPDATES, SIGNALS, VALUES, named, transition_of
from coagent_rl.credit.deterministic_policy_gradient import learn_deterministic_policy
from coagent_rl.critics import NeuronCritics, RewardCritic, TDLambdaCritic
from coagent_rl.critics.per_neuron import TARGET_WEIGHTS, judge_neurons, look_at_slopes
from coagent_rl.envs.vec_env import SerialVecEnv
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import forward
from coagent_rl.noise import Noise, correlate
from coagent_rl.schedules import constant_schedule
from coagent_rl.training.run import Options, train

SMALL = {"net_arch": [8, 6]}
KINDS = ["linear", "compatible", "quadratic"]
SLOPES = {"tanh": lambda m: 1 - m**2, "sigmoid": lambda m: m * (1 - m), "relu": lambda m: 1.0 * (m > 0)}


def make(
    n_rows: int = 1, units: str = "gaussian_tanh", shared: bool = False, actor_decay: float = 0.0, **kwargs
) -> tuple[Learner, NeuronCritics]:
    layers = [Layer(units, 5, deviation=0.3), Layer("gaussian_sigmoid", 4, deviation=0.2), Layer("gaussian_tanh", 2)]
    network = Network(3, layers, dtype=np.float64)
    network.initialise(np.random.default_rng(0), bias_range=0.5)
    learner = Learner(network, n_rows, constant_schedule([0.01, 0.02, 0.03]), "sgd", actor_decay)
    values = Network(3, [Layer("softplus", 3), Layer("linear", 1)], dtype=np.float64)
    value_learner = Learner(values, n_rows, constant_schedule(0.0), "sgd", 0.0, options=[0.9])
    arguments = {
        "shared": TDLambdaCritic(network, value_learner) if shared else RewardCritic(network, n_rows),
        "kind": "compatible",
        "learning_rate": constant_schedule([0.1, 0.2, 0.3]),
        "optimizer": "sgd",
        "discount": 0.9,
        "trace_decay": 0.63,
        "tau": 0.05,
        **kwargs,
    }
    critics = NeuronCritics(network, n_rows, **arguments)
    critics.weights[:] = np.random.default_rng(1).standard_normal(critics.weights.size)
    critics.memory[TARGET_WEIGHTS] = np.random.default_rng(2).standard_normal(critics.weights.size)
    critics.target_parameters[:] += 0.1
    return learner, critics


def act(learner: Learner, observations: np.ndarray, rng: np.random.Generator) -> None:
    network = learner.network
    noise = network.draw_noise(rng, 1, len(observations))
    assert forward(network.structure, learner.activity, observations, noise, 0, 0)


def learn(learner: Learner, critics: NeuronCritics, transition: tuple[np.ndarray, ...], time: int) -> None:
    """One learning step of critics and neurons; of shared critics from the rewards as TD errors of the shared critic."""
    if isinstance(critics.shared, RewardCritic):
        assert critics.learn(learner, transition, time)
    else:
        actor, given = named(learner.arrays), transition_of(transition)
        assert judge_neurons(actor, critics.learners, given, time, given.rewards, critics.reinforcements)
    assert learn_deterministic_policy(learner.arrays, critics.reinforcements, transition[-1], time)


def weights_of_critics(critics: NeuronCritics, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of one layer's critics and of their target copies, shape (n_features, n); views."""
    row = critics.arrays[0][index]
    both = critics.weights, critics.memory[TARGET_WEIGHTS]
    weights, targets = (array[row[6] : row[8]].reshape(row[2], row[3]) for array in both)
    return weights, targets


class Neuron:
    """One neuron and its critic, in scalars: what `Q` and its slope are, and one step of learning."""

    def __init__(self, kind: str, shared: bool, activation: str, n_in: int, weights: np.ndarray, target: np.ndarray) -> None:
        self.kind, self.shared, self.slope_of, self.n_in = kind, shared, SLOPES[activation], n_in
        self.w, self.target, self.e = weights.copy(), target.copy(), np.zeros_like(weights)

    def features(self, v, a, μ, slope) -> np.ndarray:
        state = np.zeros(0) if self.shared else np.append(v, 1.0)
        δa, δa2 = (a - μ, a**2 - μ**2) if self.shared else (a, a**2)
        if self.kind == "linear":
            return np.append(state, δa)
        if self.kind == "compatible":
            return np.append(state, (a - μ) * slope * np.append(1.0, v))
        return np.concatenate([state, δa * np.append(1.0, v), [δa2]])

    def slope(self, v, μ) -> float:
        """∂Q/∂a at μ, by differences of Q itself (which is at most quadratic in a, so they are exact)."""
        slope = self.slope_of(μ)
        values = [self.w @ self.features(v, μ + side, μ, slope) for side in (0.5, -0.5)]
        return values[0] - values[1]

    def error(self, reinforcement, v, a, μ, next_v, next_a, terminated, ignored, discount) -> float:
        if ignored:
            return 0.0
        if self.shared:
            return reinforcement
        after = 0.0 if terminated else self.target @ self.features(next_v, next_a, next_a, self.slope_of(next_a))
        return reinforcement + discount * after - self.w @ self.features(v, a, μ, self.slope_of(μ))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("units", "decay"), [("gaussian_tanh", 0.63), ("gaussian_relu", 0.63), ("gaussian_tanh", 0.0)])
def test_updates_are_those_of_single_neurons(kind, shared, units, decay) -> None:
    """Two environments, several steps, with starts, ends and ignored steps, against a loop over neurons."""
    n_rows, discount = 2, 0.9
    learner, critics = make(n_rows, units, kind=kind, shared=shared, trace_decay=decay)
    assert len(critics.traces) == (n_rows if decay else 0)
    network, rng = learner.network, np.random.default_rng(3)
    names = [layer.kind.removeprefix("gaussian_") for layer in network.layers]
    neurons = []
    for index, name in enumerate(names):
        (w, target), n_in = weights_of_critics(critics, index), network.layout[index, 2]
        neurons.append([Neuron(kind, shared, name, n_in, w[:, j], target[:, j]) for j in range(w.shape[1])])
    traces = [[[neuron.e.copy() for neuron in layer] for layer in neurons] for _ in range(n_rows)]
    starts = np.array([True, True])
    for time in range(6):
        observations = rng.standard_normal((n_rows, 3))
        act(learner, observations, rng)
        ends, reinforcements = rng.standard_normal((n_rows, 3)), rng.standard_normal(n_rows)
        terminated, ignored = np.array([time == 2, False]), np.array([False, time == 3])
        target_network = Network(3, network.layers, dtype=np.float64)
        target_network.parameters[:] = critics.target_parameters
        after, _ = target_network.activities(ends, mode=2)
        values, means = learner.activity[VALUES].copy(), learner.activity[MEANS].copy()
        parameters = network.parameters.copy()
        learn(learner, critics, (observations, reinforcements, ends, terminated, ignored, starts), time)
        for index, layer in enumerate(neurons):
            inputs, slot, n_in = network.layout[index, 9], network.layout[index, 10], network.layout[index, 2]
            α, β = 0.1 * (index + 1), 0.01 * (index + 1)
            K = Network(3, network.layers, dtype=np.float64)
            K.parameters[:] = parameters
            for j, neuron in enumerate(layer):
                change = np.zeros_like(neuron.w)
                for row in range(n_rows):
                    v, a, μ = values[row, inputs : inputs + n_in], values[row, slot + j], means[row, slot + j]
                    next_v, next_a = after[row, inputs : inputs + n_in], after[row, slot + j]
                    φ = neuron.features(v, a, μ, neuron.slope_of(μ))
                    arguments = (v, a, μ, next_v, next_a, terminated[row], ignored[row], discount)
                    δ = neuron.error(reinforcements[row], *arguments)
                    e = traces[row][index][j] = (0 if starts[row] else decay) * traces[row][index][j] + φ
                    if shared:
                        change += (δ * e - (neuron.w @ φ) * φ * (not ignored[row])) / n_rows
                    else:  # errors of the target copy add up along the trace
                        c = (neuron.target - neuron.w) @ φ * (not ignored[row])
                        change += ((δ - c) * e + c * φ) / n_rows
                    assert critics.errors[row, slot + j] == pytest.approx(δ, rel=1e-9, abs=1e-12)
                neuron.w += α * change
                gradient = np.zeros(n_in + 1)
                for row in range(n_rows):
                    v, μ = values[row, inputs : inputs + n_in], means[row, slot + j]
                    gradient += neuron.slope(v, μ) * neuron.slope_of(μ) * np.append(v, 1.0) / n_rows
                expected = np.append(K.weights(index)[:, j], K.biases(index)[j]) + β * gradient
                computed = np.append(network.weights(index)[:, j], network.biases(index)[j])
                np.testing.assert_allclose(computed, expected, rtol=1e-9, atol=1e-12)
                if not shared:
                    neuron.target += 0.05 * (neuron.w - neuron.target)
            w, target = weights_of_critics(critics, index)
            np.testing.assert_allclose(w, np.transpose([neuron.w for neuron in layer]), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(target, np.transpose([neuron.target for neuron in layer]), rtol=1e-9, atol=1e-12)
        copied = target_network.parameters
        followed = copied if shared else copied + 0.05 * (parameters - copied)
        np.testing.assert_allclose(critics.target_parameters, followed, rtol=1e-12, atol=1e-15)
        starts = terminated | ignored


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_no_neuron_reads_another_ones_weights_or_critic(kind, shared) -> None:
    def update(disturb: bool) -> list[np.ndarray]:
        learner, critics = make(kind=kind, shared=shared)
        network, rng = learner.network, np.random.default_rng(3)
        observations = rng.standard_normal((1, 3))
        act(learner, observations, rng)
        w, target = weights_of_critics(critics, 1)
        if disturb:  # everything but the second layer's neuron 2, and what lies below it
            others = np.arange(w.shape[1]) != 2
            for array in (w, target, network.weights(1)):
                array[:, others] += 1.0
            for index in (0, 2):
                of_others, targets_of_others = weights_of_critics(critics, index)
                of_others -= 1.0
                targets_of_others += 2.0
            network.weights(2)[:] += 1.0
            network.weights(0)[:] -= 1.0
        before = [w[:, 2].copy(), network.weights(1)[:, 2].copy()]
        flags = (np.array([False]), np.array([False]), np.array([True]))
        learn(learner, critics, (observations, np.ones(1), rng.standard_normal((1, 3)), *flags), 0)
        return [w[:, 2] - before[0], network.weights(1)[:, 2] - before[1]]

    for own, disturbed in zip(update(False), update(True), strict=True):
        np.testing.assert_allclose(own, disturbed, rtol=1e-12, atol=1e-15)
        assert np.any(own != 0)


def test_the_slope_of_a_linear_critic_is_the_same_in_every_state() -> None:
    rng = np.random.default_rng(0)
    for kind, constant in (("linear", True), ("compatible", False), ("quadratic", False)):
        learner, critics = make(n_rows=50, kind=kind)
        act(learner, rng.standard_normal((50, 3)), rng)
        assert look_at_slopes(learner.arrays, critics.arrays, critics.reinforcements)
        assert learn_deterministic_policy(learner.arrays, critics.reinforcements, np.ones(50, bool), 0)
        slopes = learner.activity[SIGNALS][:, learner.network.slot(1)]
        assert np.all(np.ptp(slopes, axis=0) < 1e-12) == constant


def test_correlated_noise_has_unit_variance_and_the_stated_memory() -> None:
    block = np.random.default_rng(0).standard_normal((20_000, 1, 8))
    last = np.random.default_rng(1).standard_normal((1, 8))
    correlate(block, last, 0.25)
    assert block.std() == pytest.approx(1.0, abs=0.02)
    for lag in (1, 3):
        assert np.mean(block[lag:] * block[:-lag]) == pytest.approx(0.75**lag, abs=0.03)
    np.testing.assert_array_equal(last, block[-1])
    white = np.ones((2, 1, 3))
    correlate(white, np.zeros((1, 3)), 1.0)
    np.testing.assert_array_equal(white, 1.0)


def test_correlated_noise_goes_on_across_blocks() -> None:
    network = Network(1, [Layer("gaussian_tanh", 3)])
    noise = Noise(np.random.default_rng(0))
    noise.draw_block(network, 1000, correlation_rate=0.01)
    end = noise.block[-1, :, network.slot(0)].copy()
    noise.draw_block(network, 1000, correlation_rate=0.01)
    start = noise.block[0, :, network.slot(0)]
    assert np.corrcoef(end.ravel(), start.ravel())[0, 1] > 0.95


def test_only_some_hidden_neurons_explore() -> None:
    model = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", exploration_probability=0.3, seed=0, policy_kwargs=SMALL).learn(10)
    network, block = model.policy.actor, model.noise.block
    assert np.mean(block[..., network.slot(0)] != 0) == pytest.approx(0.3, abs=0.02)
    assert np.all(block[..., network.slot(-1)] != 0)


class Bounds(gym.Env):
    """Bounds of which the upper one is missed by -0.4 + 1.1 in single precision."""

    observation_space = gym.spaces.Box(-1, 1, (3,))
    action_space = gym.spaces.Box(-0.4, 0.7, (1,))


def test_actions_span_the_space() -> None:
    model = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs=SMALL)
    np.testing.assert_allclose(model.policy.to_actions(np.array([[-1.0], [0.0], [0.5], [3.0]])), [[-2], [0], [1], [2]])
    rounded = DecentralizedDDPG("MlpPolicy", Bounds(), seed=0, policy_kwargs=SMALL)
    assert rounded.action_space.contains(rounded.policy.to_actions(np.ones((1, 1), np.float32))[0])
    discrete = DecentralizedDDPG("MlpPolicy", "Acrobot-v1", seed=0, policy_kwargs=SMALL)
    np.testing.assert_array_equal(discrete.policy.to_actions(np.array([[0.1, 0.9, -0.3]])), [1])
    assert discrete.learn(50).num_timesteps == 50


@pytest.mark.parametrize("td_source", ["shared", "neuron"])
def test_replay(td_source) -> None:
    env = make_vec_env("Pendulum-v1", 2, seed=0)
    kwargs = {"buffer_size": 1000, "batch_size": 16, "learning_starts": 60, "train_freq": 5, "gradient_steps": 3}
    kwargs |= {"hidden_noise": 0.03, "policy_kwargs": SMALL}
    model = DecentralizedDDPG("MlpPolicy", env, td_source=td_source, seed=0, **kwargs)
    before = model.policy.actor.parameters.copy()
    model.learn(58)
    np.testing.assert_array_equal(model.policy.actor.parameters, before)
    model.learn(42, reset_num_timesteps=False)
    assert model.neuron_critics.counters[N_UPDATES] == 3 * 5  # at the steps 60, 70, 80, 90 and 100
    buffer, network = model.replay_buffer, model.policy.actor
    assert buffer.size() == 50
    stored = buffer.actions[:50, 0]
    hidden = slice(0, 8)
    activity = network.activity(50)
    activity[VALUES][:, :3], activity[VALUES][:, value_columns(network)] = buffer.observations[:50, 0], stored
    network.parameters[:] = before
    means_of_values(network.structure, activity[VALUES], activity[MEANS])
    tried = stored[:30, hidden] - activity[MEANS][:30, network.slot(0)]  # of the time before learning
    assert np.std(tried) == pytest.approx(0.03, rel=0.3)
    assert np.all(np.abs(stored[:, -1]) <= 1.0)  # as the environment saw it


def test_replayed_training_can_be_resumed(tmp_path) -> None:
    def new():
        return DecentralizedDDPG("MlpPolicy", "Pendulum-v1", buffer_size=500, seed=0, policy_kwargs=SMALL)

    whole = new().learn(300)
    first = new().learn(200)
    first.save(tmp_path / "model")
    first.save_replay_buffer(tmp_path / "buffer.npz")
    resumed = DecentralizedDDPG.load(tmp_path / "model", env=first.get_env(), force_reset=False)
    resumed.load_replay_buffer(tmp_path / "buffer.npz")
    resumed.learn(100, reset_num_timesteps=False)
    np.testing.assert_array_equal(resumed.policy.actor.parameters, whole.policy.actor.parameters)
    np.testing.assert_array_equal(resumed.neuron_critics.weights, whole.neuron_critics.weights)
    other = DecentralizedDDPG("MlpPolicy", "Acrobot-v1", buffer_size=200, policy_kwargs=SMALL)
    turned = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", buffer_size=500, policy_kwargs={"net_arch": [6, 8]})
    with pytest.raises(ValueError, match=r"not hold a replay buffer of this model: it has .*\['gaussian_tanh', 8\]"):
        turned.load_replay_buffer(tmp_path / "buffer.npz")
    small = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", buffer_size=400, policy_kwargs=SMALL)
    with pytest.raises(ValueError, match="'buffer_size': 500"):
        small.load_replay_buffer(tmp_path / "buffer.npz")
    with pytest.raises(ValueError, match="does not hold a replay buffer of this model"):
        other.load_replay_buffer(tmp_path / "buffer.npz")
    with pytest.raises(ValueError, match="buffer_size is None"):
        DecentralizedDDPG("MlpPolicy", "Acrobot-v1", policy_kwargs=SMALL).save_replay_buffer(tmp_path / "x.pkl")


def test_the_buffer_of_another_task_is_refused(tmp_path) -> None:
    kwargs = {"buffer_size": 200, "policy_kwargs": SMALL}
    DecentralizedDDPG("MlpPolicy", "Pendulum-v1", **kwargs).learn(5).save_replay_buffer(tmp_path / "buffer.npz")
    with pytest.raises(ValueError, match="does not hold a replay buffer of this model"):
        DecentralizedDDPG("MlpPolicy", "MountainCarContinuous-v0", **kwargs).load_replay_buffer(tmp_path / "buffer.npz")


def test_a_run_keeps_its_replay_buffer(tmp_path) -> None:
    settings = {"n_timesteps": 150, "buffer_size": 500, "policy_kwargs": SMALL}
    train("decentralized_ddpg", "Pendulum-v1", settings, 0, Options(folder=tmp_path, eval_freq=-1, final_eval_episodes=0))
    assert (tmp_path / "Pendulum-v1_replay_buffer.npz").is_file()
    options = Options(trained_agent=str(tmp_path / "Pendulum-v1.zip"), final_eval_episodes=0)
    result = train("decentralized_ddpg", "Pendulum-v1", {**settings, "n_timesteps": 10}, 0, options)
    assert result.model.replay_buffer.size() == 160


def test_replay_marks_the_cut_step_of_one_environment_only() -> None:
    """With zero_td_error, an environment that is cut does not take the transitions of the others with it."""
    env = SerialVecEnv([lambda n=n: Monitor(gym.wrappers.TimeLimit(gym.make("Pendulum-v1"), n)) for n in (5, 200)])
    kwargs = {"buffer_size": 400, "truncation": "zero_td_error", "policy_kwargs": SMALL}
    buffer = DecentralizedDDPG("MlpPolicy", env, seed=0, **kwargs).learn(100).replay_buffer
    assert buffer.size() == 50
    np.testing.assert_array_equal(buffer.timeouts[:50].sum(axis=0), [10, 0])


@pytest.mark.parametrize("td_source", ["shared", "neuron"])
def test_divergence_is_an_error_that_names_the_rate(td_source) -> None:
    kwargs = {"critic_kind": "quadratic", "optimizer": "sgd", "neuron_critic_learning_rate": 1e6, "policy_kwargs": SMALL}
    model = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", td_source=td_source, critic_learning_rate=0.0, seed=0, **kwargs)
    with pytest.raises(ValueError, match=r"neurons' critics are not finite.* neuron_critic_learning_rate.*\(Time step \d+;"):
        model.learn(3000)


def test_only_its_own_policy_is_accepted() -> None:
    with pytest.raises(ValueError, match="subclass of BoundedPolicy"):
        DecentralizedDDPG(CoagentPolicy, "Pendulum-v1", policy_kwargs=SMALL)
