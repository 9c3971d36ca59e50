"""MAP Propagation: the relaxation, the actor and the critic."""

from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from coagent_rl import MAPProp, Reinforce, WeightMax
from coagent_rl.analysis import relaxation_energies, relaxation_figure, update_angles
from coagent_rl.arrays import MEANS, SCORES, VALUES, named
from coagent_rl.credit.map_prop import ascend_likelihood, divide_by_noise, learn_map_prop, relax
from coagent_rl.critics.map_prop import MAPPropCritic, learn_map_prop_critic
from coagent_rl.envs.action_map import ReleasedActionMap
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import forward
from coagent_rl.noise import Noise
from coagent_rl.schedules import constant_schedule

START = np.ones(1, dtype=bool)
NEVER = np.zeros(1, dtype=bool)
SMALL = {"net_arch": [8, 6]}
KINDS = ["gaussian_softplus", "gaussian_relu", "gaussian_tanh", "gaussian_sigmoid", "gaussian_linear"]
OUTPUTS = [Layer("softmax", 3, 2.0), Layer("softmax_reference", 3, 0.7), Layer("gaussian_linear", 2, deviation=0.6)]


def make(
    kind: str = "gaussian_softplus", output: Layer = OUTPUTS[0], depth: int = 3, seed: int = 0, options: Sequence[float] = ()
) -> Learner:
    hidden = [Layer(kind, 7 - index, 1.3, deviation=0.2 + 0.1 * index) for index in range(depth - 1)]
    network = Network(4, [*hidden, output], dtype=np.float64)
    network.initialise(np.random.default_rng(seed), bias_range=0.5)
    learner = Learner(network, 1, constant_schedule(0.01), "sgd", trace_decay=0.0, options=options)
    noise = network.draw_noise(np.random.default_rng(seed + 1), 1, 1)
    x = np.random.default_rng(seed + 2).standard_normal((1, 4))
    assert forward(network.structure, learner.activity, x, noise, 0, 0)
    return learner


def torch_log_likelihood(network: Network, observation: np.ndarray, values: list[th.Tensor]) -> th.Tensor:
    """log Pr(H, A | S), written out with torch's own distributions."""
    total, h = th.zeros(()), th.tensor(observation)
    for index, (layer, value) in enumerate(zip(network.layers, values, strict=True)):
        z = (h @ th.tensor(network.weights(index)) + th.tensor(network.biases(index))) / layer.temperature
        if layer.is_gaussian:
            name = layer.kind.removeprefix("gaussian_")
            mean = z if name == "linear" else {"softplus": th.nn.functional.softplus}.get(name, getattr(th, name, None))(z)
            total = total + th.distributions.Normal(mean, layer.deviation).log_prob(value).sum()
        else:
            logits = z if layer.kind == "softmax" else th.cat([z, th.zeros(1)])
            total = total + (th.log_softmax(logits, 0) * value).sum()
        h = value
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", OUTPUTS, ids=lambda layer: layer.kind)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_relaxation_is_gradient_ascent_on_the_log_likelihood(kind, output, depth) -> None:
    learner = make(kind, output, depth)
    network, n_steps = learner.network, 3
    sizes = np.array([0.01 * (index + 1) for index in range(depth)])
    x = learner.activity[VALUES, 0, :4].copy()
    values = [th.tensor(learner.activity[VALUES, 0, network.slot(i)].copy()) for i in range(depth)]
    for _ in range(n_steps):
        for value in values:
            value.requires_grad_(True)
        hidden = values[:-1]
        gradients = th.autograd.grad(torch_log_likelihood(network, x, values), hidden) if hidden else []
        with th.no_grad():
            for index, gradient in enumerate(gradients):
                values[index] = values[index] + sizes[index] * gradient
    relax(named(learner.arrays), 0, n_steps, sizes)
    for index in range(depth):
        computed = learner.activity[VALUES, 0, network.slot(index)]
        np.testing.assert_allclose(computed, values[index].detach().numpy(), rtol=1e-9, atol=1e-13)
    # The scores left behind are those of the relaxed values: the gradient with respect to the biases.
    for index in range(depth):
        biases = network.biases(index)
        slot = network.slot(index).start
        for k in range(biases.size):
            before, step = biases[k], 1e-6
            sides = []
            for side in (step, -step):
                biases[k] = before + side
                sides.append(float(torch_log_likelihood(network, x, [value.detach() for value in values])))
            biases[k] = before
            slope = (sides[0] - sides[1]) / (2 * step)
            assert learner.activity[SCORES, 0, slot + k] == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("kind", ["gaussian_softplus", "gaussian_tanh", "gaussian_linear"])
@pytest.mark.parametrize("output", OUTPUTS, ids=lambda layer: layer.kind)
def test_the_energy_never_rises_with_small_steps(kind, output) -> None:
    rng = np.random.default_rng(0)
    for seed in range(5):
        network = make(kind, output, depth=2 + seed % 3, seed=seed).network
        energies = relaxation_energies(network, rng.standard_normal((10, 4)), rng, n_steps=60, rate=0.02)
        assert np.all(np.diff(energies, axis=0) <= 1e-12)
        assert np.all(energies[-1] < energies[0])


def test_a_relaxed_network_holds_the_scores_of_backprop() -> None:
    """Where the gradient vanishes, (h - m) / σ² = Σ w s: each score is the chain rule applied to the scores above."""
    learner = make()
    network = learner.network
    relax(named(learner.arrays), 0, 5000, np.array([0.01, 0.01, 0.0]))
    s = [learner.activity[SCORES, 0, network.slot(i)] for i in range(3)]
    for index in (0, 1):
        mean = learner.activity[MEANS, 0, network.slot(index)]
        slope = (1 - np.exp(-mean)) / 1.3
        np.testing.assert_allclose(s[index], slope * (network.weights(index + 1) @ s[index + 1]), rtol=1e-6, atol=1e-9)


def test_scores_over_noise_are_the_gradient_of_the_mean() -> None:
    """Divided by value - mean, the scores of a relaxed critic are ∂ mean / ∂ biases, over the output's variance."""
    learner = make(output=Layer("gaussian_linear", 1, deviation=0.5), options=[0.9, 1e-3, 5000, 0.01, 0.01, 0.0])
    network = learner.network
    assert learn_map_prop_critic(named(learner.arrays), np.zeros(1), START, 0)
    assert learner.activity[SCORES, 0, network.slot(2)] == pytest.approx(1 / 0.25)
    s = [learner.activity[SCORES, 0, network.slot(i)] for i in range(3)]
    mean = learner.activity[MEANS, 0, network.slot(1)]
    np.testing.assert_allclose(s[1], (1 - np.exp(-mean)) / 1.3 * network.weights(2)[:, 0] * 4, rtol=1e-6)


def test_units_relax_by_local_quantities_only() -> None:
    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal((5, 3)), rng.standard_normal(3), rng.standard_normal(5), rng.uniform(0.1, 1, 5)]
    values = rng.standard_normal(5)
    before = values.copy()
    ascend_likelihood(*arguments, 0.1, values)
    others = np.arange(5) != 2
    for index in (0, 2, 3):
        arguments[index][others] += rng.uniform(1, 2, arguments[index][others].shape)
    disturbed = before + others * rng.standard_normal(5)
    ascend_likelihood(*arguments, 0.1, disturbed)
    assert disturbed[2] == values[2]
    assert np.all(disturbed[others] != values[others])


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_without_relaxation_it_is_global_reinforce(env) -> None:
    rates = {"actor_learning_rate": 1e-2, "critic_learning_rate": 1e-2}
    kwargs = {"seed": 0, "actor_lambda": 0.9, "critic_lambda": 0.8, **rates}
    small = {**SMALL, "variance": 0.1}
    map_prop = MAPProp("MlpPolicy", env, relaxation_steps=0, critic="td", policy_kwargs=small, **kwargs).learn(400)
    policy = {"units": "gaussian_softplus", "output_units": "softmax", "learned_deviation": False}
    reinforce = Reinforce("MlpPolicy", env, policy_kwargs={**small, **policy}, **kwargs).learn(400)
    np.testing.assert_array_equal(map_prop.policy.actor.parameters, reinforce.policy.actor.parameters)
    relaxed = MAPProp("MlpPolicy", env, critic="td", policy_kwargs=small, **kwargs).learn(400)
    assert np.any(relaxed.policy.actor.parameters != reinforce.policy.actor.parameters)


def test_the_division_is_guarded() -> None:
    for noise in np.linspace(-0.01, 0.01, 21):
        scores = np.array([1.0, -2.0])
        divide_by_noise(noise, 0.002, scores)
        assert np.all(np.abs(scores) <= np.array([1.0, 2.0]) / 0.002 * (1 + 1e-12))
        divisor = noise if abs(noise) >= 0.002 else (-0.002 if noise < 0 else 0.002)
        np.testing.assert_allclose(scores, np.array([1.0, -2.0]) / divisor)


@pytest.mark.parametrize("n_steps", [0, 1, 20])
def test_a_critic_whose_value_meets_its_mean_does_not_diverge(n_steps) -> None:
    """Value - mean is driven through zero, in steps far below the guard and exactly to it."""
    largest = 0.0
    for noise in [*np.linspace(-1e-3, 1e-3, 41), 0.0, 5e-324, -5e-324]:
        sizes = [0.5 * deviation**2 for deviation in (0.2, 0.3, 0.5)]
        learner = make(output=Layer("gaussian_linear", 1, deviation=0.5), options=[0.9, 5e-4, n_steps, *sizes])
        network = learner.network
        learner.activity[VALUES, 0, network.slot(2)] = learner.activity[MEANS, 0, network.slot(2)] + noise
        before = network.parameters.copy()
        assert learn_map_prop_critic(named(learner.arrays), np.ones(1), START, 0)
        change = np.abs(network.parameters - before).max()
        assert np.isfinite(change)
        largest = max(largest, change)
    # Hidden scores are at most some 10 / σ; divided by the guard, times the rate of 0.01, that bounds the step.
    assert 0.0 < largest < 0.01 * 100 / 5e-4


def make_critic(
    network: Network, rates: float | list[float], optimizer: str, discount: float, decay: float
) -> MAPPropCritic:
    options = MAPPropCritic.options(network, discount)
    learner = Learner(network, 1, constant_schedule(rates), optimizer, decay, options=options)
    return MAPPropCritic(network, learner, Noise(np.random.default_rng(1)))


def test_td_errors_are_those_of_the_sampled_means() -> None:
    """δ = R + γ m(S'; n') - m(S; n), written out; n' is the noise that S' has as the state of the next step."""
    network = Network(3, [Layer("gaussian_softplus", 4, deviation=0.5), Layer("gaussian_linear", 1)], dtype=np.float64)
    network.initialise(np.random.default_rng(0))
    critic, hidden = make_critic(network, 0.0, "sgd", 0.9, 0.0), network.slot(0)

    def mean(state: np.ndarray, noise: np.ndarray) -> float:
        h = np.log1p(np.exp(state @ network.weights(0) + network.biases(0))) + 0.5 * noise[hidden]
        return (h @ network.weights(1) + network.biases(1)).item()

    rng, expected_noise, blocks = np.random.default_rng(2), None, []
    states = rng.standard_normal((5001, 1, 3))
    for time in range(5000):  # more than a block of noise
        flags = np.array([time % 7 == 3]), np.array([time % 11 == 5])
        reward = rng.standard_normal(1)
        assert critic.learn(critic.learner, (states[time], reward, states[time + 1], *flags, NEVER), time)
        block, step = critic.noise.block, critic.noise.cursor - 1
        now, after = block[step, 0], block[step + 1, 0]
        assert np.all(now[hidden] != after[hidden])
        if expected_noise is not None:
            np.testing.assert_array_equal(now, expected_noise)
        δ = reward[0] + (0.0 if flags[0][0] else 0.9 * mean(states[time + 1][0], after)) - mean(states[time][0], now)
        assert critic.td_errors[0] == pytest.approx(0.0 if flags[1][0] else δ, rel=1e-9, abs=1e-12)
        np.testing.assert_array_equal(critic.reinforcements, critic.td_errors[0])
        expected_noise = after.copy()
        if not any(block is known for known in blocks):
            blocks.append(block)
    assert len(blocks) == 2


def test_a_state_has_the_same_noise_in_both_of_its_td_errors() -> None:
    """With frozen weights, no reward and γ = 1, TD errors add up to m(end) - m(start), across blocks of noise."""
    network = Network(3, [Layer("gaussian_softplus", 4, deviation=0.5), Layer("gaussian_linear", 1)])
    network.initialise(np.random.default_rng(0))
    critic = make_critic(network, 0.0, "sgd", 1.0, 0.0)
    states = np.random.default_rng(2).standard_normal((5001, 1, 3)).astype(np.float32)
    total, reached = 0.0, []
    for time in range(5000):
        assert critic.learn(critic.learner, (states[time], np.zeros(1), states[time + 1], NEVER, NEVER, NEVER), time)
        total += critic.td_errors[0]
        reached.append(total)
    # m(S_t) - m(S_0), whose spread does not grow: fresh noise for every TD error would make it a random walk.
    assert np.std(reached[4000:]) == pytest.approx(np.std(reached[:1000]), rel=0.1)
    assert np.abs(reached).max() < 12


def test_critic_learns_the_values_of_a_chain() -> None:
    """Three states in a row, reward 1 at the end: values 0.81, 0.9 and 1 with a discount of 0.9."""
    network = Network(3, [Layer("gaussian_softplus", 16, deviation=0.1), Layer("gaussian_linear", 1, deviation=0.1)])
    states, values = np.eye(3, dtype=np.float32), []
    for rate in (1e-3, 0.0):
        network.initialise(np.random.default_rng(0))
        critic = make_critic(network, [5 * rate, rate], "adam", 0.9, 0.9 * 0.8)
        for time in range(6000):
            k = time % 3
            given = (states[k : k + 1], np.array([k == 2], np.float32), states[(k + 1) % 3][None])
            flags = (np.array([k == 2]), NEVER, np.array([k == 0]))
            assert critic.learn(critic.learner, (*given, *flags), time)
        values.append(network.activities(states, mode=2)[0][:, network.slot(-1)][:, 0])
    np.testing.assert_allclose(values[0], [0.81, 0.9, 1.0], atol=0.1)
    assert np.abs(values[1] - [0.81, 0.9, 1.0]).max() > 0.2


def test_both_kinds_of_actions_are_relaxed_towards() -> None:
    """The relaxed hidden units make the action that was taken more probable than the sampled ones did."""
    for output in OUTPUTS:
        learner = make(output=output)
        network = learner.network
        x = learner.activity[VALUES, 0, :4].copy()

        def likelihood_of_action(learner=learner, network=network, x=x) -> float:
            values = [th.tensor(learner.activity[VALUES, 0, network.slot(i)]) for i in range(3)]
            top = Network(network.n_inputs, network.layers[:2], dtype=np.float64)
            top.parameters[:] = network.parameters[: top.parameters.size]
            return float(torch_log_likelihood(network, x, values) - torch_log_likelihood(top, x, values[:2]))

        before = likelihood_of_action()
        relax(named(learner.arrays), 0, 50, np.array([0.5 * layer.deviation**2 for layer in network.layers]))
        assert likelihood_of_action() > before


def test_a_diverging_relaxation_is_an_error_before_anything_is_learned() -> None:
    model = MAPProp("MlpPolicy", "CartPole-v1", relaxation_rate=1e6, critic="td", policy_kwargs=SMALL, seed=0)
    before = model.policy.actor.parameters.copy()
    with pytest.raises(ValueError, match=r"relaxation of the hidden units diverged.*Lower relaxation_rate.*\(Time step 0;"):
        model.learn(100)
    np.testing.assert_array_equal(model.policy.actor.parameters, before)
    with pytest.raises(ValueError, match=r"critic have diverged, or the relaxation of its units\. .*relaxation_rate"):
        MAPProp("MlpPolicy", "CartPole-v1", critic_kwargs={"relaxation_rate": 1e6}, policy_kwargs=SMALL, seed=0).learn(100)


def test_the_kernel_refuses_values_that_are_not_finite() -> None:
    learner = make(options=[5, 0.01, 0.01, 0.01])
    before = learner.network.parameters.copy()
    learner.activity[VALUES, 0, learner.network.slot(0)] = np.inf
    assert not learn_map_prop(learner.arrays, np.ones((1, learner.network.width)), START, 0)
    np.testing.assert_array_equal(learner.network.parameters, before)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"relaxation_steps": -1}, "relaxation_steps must be a whole number from 0, not -1"),
        ({"relaxation_steps": 1.5}, "relaxation_steps must be a whole number"),
        ({"relaxation_rate": 0.0}, "relaxation_rate must be a positive number"),
        ({"policy_kwargs": {**SMALL, "units": "bernoulli"}}, "'gaussian_softplus' hidden units, not 'bernoulli'"),
        ({"policy_kwargs": {**SMALL, "variance": [0.1]}}, "one for each of the 2 layers"),
        ({"policy_kwargs": {**SMALL, "critic_variance": [0.1, 0.1]}}, "critic_variance .* each of the 3 layers"),
        ({"policy_kwargs": {**SMALL, "variance": -1.0}}, "variance must be a positive number"),
        ({"policy_kwargs": {**SMALL, "critic_units": "softplus"}}, "critic 'map_prop' trains Gaussian hidden units"),
        ({"critic": "td", "policy_kwargs": {**SMALL, "critic_units": "gaussian_tanh"}}, "trains deterministic hidden units"),
        ({"policy_kwargs": {**SMALL, "critic_units": "bernoulli"}}, "critic_units must be deterministic or Gaussian"),
        ({"critic_kwargs": {"steps": 3}}, "critic_kwargs: unknown 'steps'; known: relaxation_steps"),
        ({"critic_kwargs": {"guard": 0.0}}, "guard must be a positive number"),
        ({"critic_kwargs": {"guard": "a"}}, "guard must be a positive number, not 'a'"),
        ({"policy_kwargs": {**SMALL, "variance": None}}, "variance must be a positive number"),
        ({"critic": ["td"]}, "critic must be one of"),
        ({"critic": "td", "critic_kwargs": {"guard": 0.1}}, "critic_kwargs are for the critic 'map_prop'"),
        ({"critic": "mc"}, "critic must be one of"),
        ({"reward_clip": 0.0}, "reward_clip must be positive or None"),
    ],
)
def test_wrong_arguments(kwargs, message) -> None:
    with pytest.raises(ValueError, match=message):
        MAPProp("MlpPolicy", "CartPole-v1", **{"policy_kwargs": SMALL, **kwargs})


def test_any_agent_may_use_any_critic() -> None:
    for agent in (WeightMax, MAPProp):
        for critic in ("td", "map_prop"):
            model = agent("MlpPolicy", "CartPole-v1", critic=critic, policy_kwargs=SMALL, seed=0)
            before = model.policy.critic.parameters.copy()
            model.learn(50)
            assert np.all(np.isfinite(model.policy.critic.parameters))
            assert np.any(model.policy.critic.parameters != before)
            assert model.policy.predict_values(th.zeros(2, 4)).shape == (2, 1)


class Payday(gym.Env):
    """One-step episodes that pay 100."""

    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 100.0, True, False, {}


def test_rewards_are_clipped_for_learning_and_reported_as_they_are() -> None:
    model = WeightMax("MlpPolicy", Payday(), critic=None, reward_clip=5.0, policy_kwargs=SMALL, seed=0).learn(3)
    assert model.critic_model.td_errors[0] == 5.0
    assert model.ep_info_buffer[0]["r"] == 100.0


def test_released_action_map() -> None:
    env = ReleasedActionMap(gym.make("MountainCarContinuous-v0"))
    np.testing.assert_allclose([env.action(np.array([a]))[0] for a in (-1.0, -0.5, 0.0, 0.7)], [-1.0, 0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="the actions of a Box, not of Discrete"):
        ReleasedActionMap(gym.make("CartPole-v1"))


def test_relaxation_turns_updates_towards_backprops(tmp_path) -> None:
    network, rng = make(output=OUTPUTS[0], seed=3).network, np.random.default_rng(0)
    x, action = rng.standard_normal(4), np.array([0.0, 1.0, 0.0])
    before, after = (update_angles(network, x, action, rng, 300, n_steps) for n_steps in (0, 200))
    assert np.all(before.single[:2] > 60)  # without relaxation, one sample says next to nothing
    assert np.all(after.single[:2] < 10)
    assert np.all(after.averaged[:2] <= after.single[:2] + 1e-9)
    energies = relaxation_energies(network, rng.standard_normal((5, 4)), rng)
    assert energies.shape == (21, 5)
    relaxation_figure(tmp_path / "relaxation.png", energies, {"N = 0": before, "N = 200": after}, "test")
    assert (tmp_path / "relaxation.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="must have 4 numbers each"):
        relaxation_energies(network, np.zeros((5, 3)), rng)
    with pytest.raises(ValueError, match="3 values of the output layer, not 1"):
        update_angles(network, x, 1, rng)
    with pytest.raises(ValueError, match="Gaussian hidden units"):
        relaxation_energies(Network(2, [Layer("bernoulli", 2), Layer("softmax", 2)]), np.zeros((1, 2)), rng)
