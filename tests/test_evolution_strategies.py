"""Evolution strategies: the individuals, the rule against a loop in NumPy, the gradient that it estimates, and who acts."""

import copy

import numpy as np
import pytest

from coagent_rl import EvolutionStrategies
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.analysis.quality import gradient_quality
from coagent_rl.arrays import MEANS
from coagent_rl.credit.evolution_strategies import ACTING, PERTURBATION, learn_evolution_strategies, normal_numbers
from coagent_rl.training.run import Options, train
from tests.plain_python import printed_by
from tests.rule_networks import X, assert_every_layer_learns, draw, make

SMALL = {"net_arch": [8, 6]}
σ = 0.2


def lecuyer(first: int, second: int) -> tuple[int, int, float]:
    """One number of the combined generator, within (0, 1)."""
    first, second = first * 40014 % 2147483563, second * 40692 % 2147483399
    z = first - second
    return first, second, (z if z > 0 else z + 2147483562) / 2147483563


def test_numbers_are_those_of_the_published_generator() -> None:
    first, second, numbers = 12345, 67890, np.empty(5)
    ended = normal_numbers(first, second, 2.0, numbers)
    expected = []
    for _ in range(3):
        first, second, u = lecuyer(first, second)
        first, second, v = lecuyer(first, second)
        z = 2.0 * np.sqrt(-2 * np.log(u)) * np.exp(2j * np.pi * v)
        expected += [z.real, z.imag]
    np.testing.assert_allclose(numbers, expected[:5], rtol=1e-12)
    assert ended == (first, second)


def test_numbers_are_normal_and_independent() -> None:
    numbers = np.empty(200_000)
    normal_numbers(1, 1, 1.0, numbers)
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.std() - 1) < 0.01
    assert abs((numbers**4).mean() - 3) < 0.1
    assert all(abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 0.01 for lag in (1, 2, 3))


def learner_of(**kwargs):
    learner = make("tanh", n_rows=1, **{"options": [σ], "trace_decay": 0.0, "has_traces": True, **kwargs})
    learner.store = np.zeros((1, 2, 1, learner.network.parameters.size + 1))
    learner._collect()
    draw(learner, 0, X[:1])
    return learner


def told(learner, δ: float) -> np.ndarray:
    return np.full((1, learner.network.width), δ)


def test_the_rule_credits_who_acted_and_draws_pairs_of_opposites() -> None:
    decay = 0.7
    learner = learner_of(trace_decay=decay)
    θ, n = learner.network.parameters, learner.network.parameters.size
    trace, individuals, acted = np.zeros(n), [], np.zeros(n)
    for time, start in enumerate([True, False, False, True, False, True, True, False, True]):
        draw(learner, time, X[:1])
        before, δ = θ.copy(), 0.5 - 0.3 * time
        assert learn_evolution_strategies(learner.arrays, told(learner, δ), np.array([start]), 0.0)
        trace = (0.0 if start else decay) * trace + acted / σ**2
        np.testing.assert_allclose(θ - before, 0.01 * δ * trace, rtol=1e-9, atol=1e-12)
        acted = learner.store[0, PERTURBATION, 0, :n].copy()
        np.testing.assert_array_equal(learner.store[0, ACTING, 0, :n], θ + acted)
        if start:
            individuals.append(acted)
        else:
            np.testing.assert_array_equal(acted, individuals[-1])
    assert len(individuals) == 5
    for one, other in ((0, 1), (2, 3)):
        np.testing.assert_array_equal(individuals[one], -individuals[other])
    pairs = np.array(individuals[::2])
    assert np.all(np.abs(np.corrcoef(pairs) - np.eye(3)) < 0.41)  # three standard errors of 54 numbers
    np.testing.assert_allclose(pairs.std(), σ, rtol=0.2)


def test_individuals_depend_on_the_noise_and_on_their_number() -> None:
    """And the number begins anew where single precision would no longer hold it."""

    def individual(seed: int, count: float) -> tuple[np.ndarray, float]:
        learner = learner_of()
        draw(learner, seed, X[:1])
        learner.store[0, PERTURBATION, 0, -1] = count
        assert learn_evolution_strategies(learner.arrays, told(learner, 1.0), np.ones(1, bool), 0.0)
        return learner.store[0, PERTURBATION, 0, :-1], float(learner.store[0, PERTURBATION, 0, -1])

    first, count = individual(0, 0.0)
    assert count == 1.0
    np.testing.assert_array_equal(individual(0, 0.0)[0], first)
    for other in (individual(1, 0.0)[0], individual(0, 2.0)[0]):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.41
        assert np.all(np.abs(first[:4] - other[:4]) > 1e-3)  # the first numbers, too
    assert individual(0, 2.0**20 - 1)[1] == 0.0


def test_layers_that_do_not_learn_are_not_perturbed() -> None:
    learner = learner_of(frozen_layers=(0,))
    assert learn_evolution_strategies(learner.arrays, told(learner, 1.0), np.ones(1, bool), 0.0)
    learns = int(learner.network.layout[0, 8])
    perturbation = learner.store[0, PERTURBATION, 0, :-1]
    assert not perturbation[:learns].any()
    assert perturbation[learns:].all()


def test_updates_estimate_the_gradient_of_what_perturbed_parameters_are_worth() -> None:
    """F is quadratic in the parameters, F(θ) = b·θ + ½ c ‖θ‖², so the gradient of E[F(θ + σε)] is b + c θ."""
    learner = learner_of()
    θ, n = learner.network.parameters, learner.network.parameters.size
    rng = np.random.default_rng(1)
    b, c, start, total = rng.normal(size=n), 0.5, θ.copy(), np.zeros(n)
    n_samples, squares = 40_000, np.zeros(n)
    noise = learner.network.draw_noise(rng, n_samples, 1)
    learner.set_noise(noise)
    learner.store[0, ACTING, 0, :n] = θ
    for sample in range(n_samples):
        learner.counters[1] = sample
        acting = start + learner.store[0, PERTURBATION, 0, :n]
        f = b @ acting + 0.5 * c * acting @ acting
        assert learn_evolution_strategies(learner.arrays, told(learner, f), np.ones(1, bool), 0.0)
        change = (θ - start) / 0.01
        total, squares = total + change, squares + change**2
        θ[:] = start
    mean = total / n_samples
    error = np.sqrt((squares / n_samples - mean**2) / n_samples)
    assert np.sqrt(np.mean(((mean - b - c * start) / error) ** 2)) < 1.2  # about 1 where only sampling is left
    assert np.corrcoef(mean, b + c * start)[0, 1] > 0.95


def test_perturbed_parameters_act_and_the_mean_is_what_a_model_is() -> None:
    """The perturbation is so large that it decides: acting with the mean would repeat one action."""
    model = EvolutionStrategies("MlpPolicy", "CartPole-v1", 1e-9, seed=0, perturbation=30.0, policy_kwargs=SMALL)
    before = model.policy.actor.parameters.copy()
    model.learn(300)
    after = model.policy.actor.parameters
    assert np.abs(after - before).max() < 1e-4
    acting = model.acting_parameters(model.actor_learner)
    assert np.std(acting - after) > 10.0
    observation = np.array([[0.01, 0.02, -0.03, 0.01]], np.float32)
    undecided = model.policy.actor.activities(observation, np.random.default_rng(0))[1][0, -2:]
    assert np.all(np.abs(undecided - 0.5) < 0.2)
    decided = model.actor_learner.activity[MEANS, 0, -2:]  # of the last step of training
    assert decided.max() > 0.99


def test_training_goes_on_where_it_was(tmp_path) -> None:
    """In one call of learn, in two, and from a file; the first call ends within an episode."""

    def made() -> CoagentAlgorithm:
        return EvolutionStrategies("MlpPolicy", "CartPole-v1", seed=3, policy_kwargs=SMALL, actor_lambda=0.5)

    whole, halves = made().learn(700), made().learn(333)
    halves.save(tmp_path / "model")
    loaded = EvolutionStrategies.load(tmp_path / "model", env=copy.deepcopy(halves.get_env()), force_reset=False)
    for model in (halves, loaded):
        model.learn(367, reset_num_timesteps=False)
        np.testing.assert_array_equal(model.policy.actor.parameters, whole.policy.actor.parameters)


def test_every_layer_learns() -> None:
    assert_every_layer_learns(EvolutionStrategies("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs=SMALL))


def test_it_learns_cartpole() -> None:
    """Greedy episodes of two seeds, and of the same networks untrained."""

    def reached(rate: float) -> float:
        settings = {
            "n_timesteps": 25_000,
            "actor_learning_rate": rate,
            "critic_learning_rate": [1e-2, 1e-3, 1e-3],
            "actor_lambda": 0.9,
            "perturbation": 0.3,
        }
        options = Options(final_eval_episodes=20)
        runs = [train("evolution_strategies", "CartPole-v1", settings, seed, options) for seed in (50, 51)]
        return float(np.mean([run.summary["final_evaluation"]["mean_return"] for run in runs]))

    assert reached(1e-2) > 300
    assert reached(0.0) < 150


def test_quality_of_updates_is_measured_with_individuals_that_are_drawn_anew() -> None:
    """Few parameters, little perturbed: the mean update is the gradient, up to what sampling leaves."""
    policy = {"net_arch": [2], "units": "tanh"}
    model = EvolutionStrategies("MlpPolicy", "CartPole-v1", seed=0, perturbation=0.05, policy_kwargs=policy)
    before = model.actor_learner.store.copy()
    quality = gradient_quality(model, [0.5, -1.0, 0.8, -0.3], [1.0, -1.0], n_samples=40_000)["hidden"]
    assert quality.direction > 0.9
    assert quality.bias < 3 * quality.error
    np.testing.assert_array_equal(model.actor_learner.store, before)


@pytest.mark.parametrize("k", [0, 25, 50])
def test_a_weight_reads_its_own_perturbation_and_what_all_are_told(k) -> None:
    """Not even its input: other weights, what units did, inputs and other perturbations change nothing."""

    def change_of(alter) -> float:
        learner = learner_of(trace_decay=0.5)
        n = learner.network.parameters.size
        learner.store[0, PERTURBATION, 0, :n] = np.random.default_rng(2).normal(size=n)
        learner.traces[0] = np.random.default_rng(3).normal(size=n)
        alter(learner, np.arange(n) != k)
        before = learner.network.parameters[k]
        assert learn_evolution_strategies(learner.arrays, told(learner, 0.7), np.zeros(1, bool), 0.0)
        return float(learner.network.parameters[k] - before)

    def others(learner, rest) -> None:
        learner.network.parameters[rest] *= -1.7
        learner.traces[0, rest] += 1.0
        learner.store[0, PERTURBATION, 0, :-1][rest] *= 3.0
        learner.activity[:] += 0.3

    def own(learner, rest) -> None:
        learner.store[0, PERTURBATION, 0, k] *= 3.0

    def nothing(learner, rest) -> None:
        """Nothing is altered."""

    assert change_of(others) == pytest.approx(change_of(nothing), rel=1e-9)
    assert change_of(own) != pytest.approx(change_of(nothing), rel=1e-3)


@pytest.mark.parametrize("σ", [0.0, -1.0, np.inf, np.nan, "much"])
def test_perturbations_that_are_refused(σ) -> None:
    with pytest.raises(ValueError, match="perturbation"):
        EvolutionStrategies("MlpPolicy", "CartPole-v1", perturbation=σ)


def test_plain_python_gives_the_same_numbers() -> None:
    program = (
        "import numpy as np\n"
        "from coagent_rl.credit.evolution_strategies import normal_numbers\n"
        "a = np.empty(4)\n"
        "print(normal_numbers(2147483000, 7, 1.0, a), a.round(12).tolist())\n"
        "# {jit}\n"
    )
    assert printed_by(program, True) == printed_by(program, False)
