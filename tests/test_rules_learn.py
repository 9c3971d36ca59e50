"""Rules that predict or pass twice learn, by outcomes that the same network with frozen hidden layers does not reach."""

import numpy as np
import pytest

from coagent_rl.training.run import Options, train

RATES = [5e-3, 1e-3, 1e-3]


def returns(algorithm: str, env_id: str, n_steps: int, rates: list[float], **settings) -> list[np.ndarray]:
    given = {"n_timesteps": n_steps, "actor_learning_rate": rates, **settings}
    return [train(algorithm, env_id, given, seed, Options(final_eval_episodes=0)).returns for seed in (50, 51)]


@pytest.mark.parametrize(
    ("algorithm", "settings", "least", "most"),
    [
        ("disarm", {}, 110, 50),
        ("rebar", {}, 110, 50),
        ("hindsight", {}, 110, 50),
        ("synthetic_gradients", {"policy_kwargs": {"units": "bernoulli"}}, 110, 50),
        ("noise_based", {}, 140, 90),
    ],
)
def test_units_learn_cartpole(algorithm, settings, least, most) -> None:
    """The mean of the last 50 episodes, two seeds; ``most`` is for the frozen network."""

    def late(**changes) -> float:
        given = {"critic_learning_rate": [1e-2, 1e-3, 1e-3], **settings, **changes}
        return float(np.mean([run[-50:].mean() for run in returns(algorithm, "CartPole-v1", 25_000, RATES, **given)]))

    assert late() > least
    assert late(frozen_layers="hidden") < most


@pytest.mark.parametrize(
    ("algorithm", "rates"),
    [("equilibrium_propagation", [5e-3, 1e-3, 1e-4]), ("synthetic_gradients", [3.3e-3, 2.6e-5, 5.9e-4])],
)
def test_smooth_units_learn_the_multiplexer(algorithm, rates) -> None:
    """Chance is zero."""

    def late(rates: list[float]) -> float:
        runs = returns(algorithm, "coagent_rl/Multiplexer-v0", 60_000, rates, critic=None)
        return float(np.mean([run[-10_000:].mean() for run in runs]))

    assert late(rates) > 0.35
    assert late([0.0, 0.0, 1e-3]) < 0.21
