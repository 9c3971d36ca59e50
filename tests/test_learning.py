"""Agents learn, by outcomes that the same network without its rule does not reach."""

import numpy as np
import pytest

from coagent_rl import Reinforce, WeightMax
from coagent_rl.training.hyperparameters import load_hyperparameters, override
from coagent_rl.training.run import Options, train
from tests.follow import Follow


def late_return(algorithm: str, **changes) -> float:
    """Mean return of the last 50 training episodes on CartPole, over two seeds."""
    settings = override(load_hyperparameters(algorithm, "CartPole-v1"), {"n_timesteps": 25_000, **changes})
    runs = [train(algorithm, "CartPole-v1", settings, seed, Options(final_eval_episodes=0)).returns for seed in (50, 51)]
    return float(np.mean([run[-50:].mean() for run in runs]))


def test_weight_max_learns_cartpole_and_its_hidden_units_are_why() -> None:
    learned = late_return("weight_max")
    frozen = late_return("weight_max", frozen_layers="hidden")
    broadcast = late_return("reinforce", actor_lambda=0.0, **weight_max_rates())
    assert learned > 150
    assert frozen < learned / 2
    assert broadcast < learned / 2


def weight_max_rates() -> dict:
    settings = load_hyperparameters("weight_max", "CartPole-v1")
    return {name: settings[name] for name in ("actor_learning_rate", "critic_learning_rate", "truncation")}


@pytest.mark.parametrize("agent", [WeightMax, Reinforce])
def test_continuous_actions_are_learned(agent) -> None:
    """A one-step task: reward falls with the distance of the action from the observation."""

    def mean_reward(rates: list[float]) -> float:
        model = agent(
            "MlpPolicy",
            Follow(1.0),
            actor_learning_rate=rates,
            critic_learning_rate=[1e-2, 1e-3],
            seed=0,
            policy_kwargs={
                "net_arch": [16],
                "units": "gaussian_tanh",
                "variance": 0.09,
                "deterministic_mode": "sample_hidden",  # the bounds below are for noisy hidden units
            },
        ).learn(10_000)
        x = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
        actions, _ = model.predict(np.repeat(x, 10, axis=0), deterministic=True)
        return -float(np.mean((actions - np.repeat(x, 10, axis=0)) ** 2))

    assert mean_reward([1e-2, 1e-3]) > -0.06
    assert mean_reward([0.0, 0.0]) < -0.2
