"""Where the time of a learning step goes: its parts alone, and the step as a whole on both roads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed_contenders import AskedAtEveryStep, agent_settings
from benchmarks.speed_weights import fitting, learn_repeatedly, seconds_each
from coagent_rl import WeightMax
from coagent_rl.arrays import Arrays, named, structure
from coagent_rl.critics.td_lambda import td_lambda
from coagent_rl.envs.compiled.cartpole import advance
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.kernel import Array, releasing_kernel
from coagent_rl.networks.forward import forward
from coagent_rl.networks.units import SAMPLE

TASK = "CartPole-v1"
WHOLE = ("compiled step", "ordinary step")


@releasing_kernel
def sample_repeatedly(arrays: Arrays, activity: Array, observations: Array, n_times: int) -> None:
    """Sample the actor so many times."""
    learner = named(arrays)
    for number in range(n_times):
        forward(structure(learner), activity, observations, learner.noise, number % learner.noise.shape[0], SAMPLE)


@releasing_kernel
def judge_repeatedly(
    learners: tuple[Arrays, ...], transition: Arrays, td_errors: Array, reinforcements: Array, n_times: int
) -> None:
    """Let the critic learn so many times from one transition."""
    for number in range(n_times):
        td_lambda(learners, (), transition, float(number), td_errors, reinforcements)


@releasing_kernel
def advance_repeatedly(environment: Any, actions: Array, n_times: int) -> None:
    """Step CartPole so many times, with the same numbers for every reset."""
    for number in range(n_times):
        actions[0] = number % 2
        advance(environment, actions)
        environment[4][0] = 0


def measure(n_rounds: int, seconds: float) -> dict[str, Any]:
    """Time the parts of a step of Weight Max on CartPole with shipped settings, and the step, in rounds.

    Returns:
        Name of a part → microseconds of process time, one number a round; the last two are the whole step on both roads.
    """
    models = [WeightMax("MlpPolicy", TASK, seed=0, **agent_settings("weight_max", TASK)) for _ in range(2)]
    ways = (None, AskedAtEveryStep())
    for model, way in zip(models, ways, strict=True):
        model.learn(5_000, callback=way)
    other = WeightMax("MlpPolicy", TASK, seed=0, **agent_settings("weight_max", TASK)).learn(5_000)
    actor, critic, env = other.actor_learner, other.critic_model, other.env
    assert isinstance(env, CompiledVecEnv)
    observations = env.observations.copy()
    never, reward, actions = np.zeros(1, bool), np.ones(1, np.float32), np.zeros(1, np.int64)
    transition = (observations, reward, observations.copy(), never, never, never)
    signals = np.full_like(critic.reinforcements, 0.1)
    works: dict[str, Callable[[int], Any]] = {
        "environment": lambda n: advance_repeatedly(env._arguments, actions, n),
        "forward pass of the actor": lambda n: sample_repeatedly(actor.arrays, other._acting, observations, n),
        "critic: two forward passes, backward pass, traces, Adam": lambda n: judge_repeatedly(
            critic.learners, transition, critic.td_errors, critic.reinforcements, n
        ),
        "rule: scores, signals, Adam": lambda n: learn_repeatedly(actor.arrays, signals, never, n),
    }
    for name, model, way in zip(WHOLE, models, ways, strict=True):
        works[name] = lambda n, model=model, way=way: model.learn(n, way, reset_num_timesteps=False)  # type: ignore[misc]
    lengths = {name: fitting(work, seconds) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(n_rounds):
        for name, work in works.items():
            times[name].append(seconds_each(work, lengths[name]) * 1e6)
    return times
