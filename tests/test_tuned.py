"""Agents made with the settings that the package ships."""

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecNormalize

from coagent_rl import MAPProp, WeightMax
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.training import hyperparameters
from coagent_rl.training.hyperparameters import load_hyperparameters, shipped_settings
from coagent_rl.training.run import Options, train


class Own(WeightMax):
    """A subclass is made with its parent's settings."""


@pytest.mark.parametrize(
    ("kind", "algorithm", "env_id"),
    [
        (WeightMax, "weight_max", "CartPole-v1"),
        (Own, "weight_max", "MountainCarContinuous-v0"),  # observations and rewards are normalised
        (MAPProp, "map_prop", "Acrobot-v1"),
    ],
)
def test_a_tuned_agent_is_the_one_of_the_command(kind: type[CoagentAlgorithm], algorithm: str, env_id: str) -> None:
    settings = {**load_hyperparameters(algorithm, env_id), "n_timesteps": 300, "n_episodes": None}
    expected = train(algorithm, env_id, settings, 3, Options(final_eval_episodes=0)).model
    model = kind.tuned(env_id, seed=3).learn(300)
    assert type(model) is kind
    np.testing.assert_array_equal(model.policy.actor.parameters, expected.policy.actor.parameters)
    assert isinstance(model.get_env(), VecNormalize) == isinstance(expected.get_env(), VecNormalize)


def test_what_is_not_shipped_is_refused_with_what_is() -> None:
    with pytest.raises(
        ValueError, match=r"No settings of WeightMax are shipped for the environment 'Pendulum-v1'.*CartPole-v1, Acro"
    ):
        WeightMax.tuned("Pendulum-v1")
    with pytest.raises(ValueError, match=r"No settings of CoagentAlgorithm are shipped .* There are none for any\."):
        CoagentAlgorithm.tuned("CartPole-v1")


def test_wrappers_of_the_settings_are_put_around_the_environment(monkeypatch) -> None:
    settings = {"n_timesteps": 60, "env_wrapper": {"gymnasium.wrappers.TimeLimit": {"max_episode_steps": 5}}}
    monkeypatch.setattr(hyperparameters, "_read_table", lambda *_: ({"CartPole-v1": settings}, "a file"))
    assert WeightMax.tuned("CartPole-v1", seed=0).learn(60)._episode_num == 12


def test_settings_of_a_tuned_agent_say_how_long_it_is_trained() -> None:
    assert shipped_settings(Own, "CartPole-v1")["n_episodes"] == 1000
