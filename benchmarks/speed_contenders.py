"""What `benchmarks.speed` times on a task: bare loops with random actions, our agents, Stable-Baselines3's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import A2C, DDPG, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

import coagent_rl  # noqa: F401  registers the package's environments
from coagent_rl.envs.compiled import twin_of
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import SerialVecEnv
from coagent_rl.registry import ALGORITHMS, algorithm_class
from coagent_rl.training.hyperparameters import RUN_KEYS, load_hyperparameters
from coagent_rl.training.run import make_environments

TASKS = ("CartPole-v1", "LunarLander-v3", "MountainCarContinuous-v0", "coagent_rl/Multiplexer-v0")
N_ENVS = (1, 8, 64)
HIDDEN = [64, 32]
COMPILED, STEPS, BARE, OTHERS = "compiled", "step by step", "bare loop", "Stable-Baselines3"

Work = Callable[[int], int]
"""Does about so many transitions, and says how many they were."""


class AskedAtEveryStep(BaseCallback):
    """A callback as users write it: it does not say when it must be asked, so training goes step by step."""

    def _on_step(self) -> bool:
        return True


@dataclass
class Contender:
    """Something that takes transitions, and how long a transition took in every round.

    Attributes:
        task: id of the environment.
        name: an agent's, or a vectorised environment's for a bare loop.
        road: COMPILED, STEPS, BARE or OTHERS.
        n_envs: number of environments side by side.
        make: makes what is timed, before the rounds.
        n_steps: transitions of a round.
        microseconds: process time a transition took, one number a round.
        why_not: why there are no numbers.
    """

    task: str
    name: str
    road: str
    n_envs: int
    make: Callable[[], Work]
    n_steps: int = 0
    microseconds: list[float] = field(default_factory=list)
    why_not: str | None = None
    _work: Work | None = None

    def prepare(self, n_steps: int, seconds: float) -> None:
        """Make it, run it until everything is compiled, and choose the length of a round.

        Args:
            n_steps: transitions of a round, or 0 for as many as take ``seconds``.
            seconds: of process time.
        """
        try:
            self._work = self.make()
            self._work(max(self.n_envs, 200))
            self.n_steps = n_steps or self._fitting(seconds)
        except ValueError as error:  # the agent does not take such actions, or has no compiled road here
            self.why_not = str(error)

    def _fitting(self, seconds: float) -> int:
        assert self._work is not None
        n_steps = max(self.n_envs, 64)
        while True:
            started = time.process_time()
            done = self._work(n_steps)
            took = time.process_time() - started
            if took >= seconds / 4:
                return max(self.n_envs, round(done * seconds / took))
            n_steps *= 4

    def measure(self) -> None:
        """Take a round's transitions."""
        if self.why_not is not None:
            return
        assert self._work is not None
        try:
            started = time.process_time()
            done = self._work(self.n_steps)
            self.microseconds.append((time.process_time() - started) / done * 1e6)
        except ValueError as error:  # its parameters diverged: it learns for real
            self.why_not, self.microseconds = str(error), []

    def record(self) -> dict[str, Any]:
        """What is written of it."""
        facts = {"task": self.task, "name": self.name, "road": self.road, "n_envs": self.n_envs}
        if self.why_not is not None:
            return {**facts, "why_not": self.why_not}
        return {**facts, "steps": self.n_steps, "microseconds": self.microseconds}


# ---------------------------------------------------------------------- what there is


def contenders(task: str, n_envs: Sequence[int], only: Sequence[str] = ()) -> list[Contender]:
    """List everything that can be timed on a task, the same thing with 1, 8 and 64 environments one after the other.

    Args:
        only: names of contenders; all without any.
    """
    found = [
        Contender(task, name, road, n, partial(make, n))
        for name, road, make in _kinds(task)
        if not only or name in only
        for n in n_envs
    ]
    return found


def _kinds(task: str) -> Iterator[tuple[str, str, Callable[[int], Work]]]:
    discrete = isinstance(gym.make(task).action_space, gym.spaces.Discrete)
    has_twin = twin_of(task, {}) is not None
    for kind in (DummyVecEnv, SerialVecEnv):
        yield f"{kind.__name__} + Monitor", BARE, partial(_bare_monitored, kind, task)
    if has_twin:
        yield "CompiledVecEnv", BARE, partial(_bare_compiled, task)
    yield "A2C", OTHERS, partial(_other, A2C, task)  # what others are compared with stands next to them in a round
    for algorithm in ALGORITHMS:
        if has_twin:
            yield algorithm, COMPILED, partial(_agent, algorithm, task, COMPILED)
        yield algorithm, STEPS, partial(_agent, algorithm, task, STEPS)
    for other in (PPO, DQN if discrete else DDPG):
        yield other.__name__, OTHERS, partial(_other, other, task)


def known_names() -> list[str]:
    """Return the names that `contenders` knows on any task."""
    return list(dict.fromkeys(name for task in TASKS for name, _, _ in _kinds(task)))


# ---------------------------------------------------------------------- how it is made


def _bare_monitored(kind: type[DummyVecEnv], task: str, n_envs: int) -> Work:
    return _loop(kind([lambda: Monitor(gym.make(task))] * n_envs))


def _bare_compiled(task: str, n_envs: int) -> Work:
    twin = twin_of(task, {})
    assert twin is not None
    return _loop(CompiledVecEnv(twin, n_envs))


def _loop(env: VecEnv) -> Work:
    space, rng = env.action_space, np.random.default_rng(0)
    if isinstance(space, gym.spaces.Discrete):
        actions = rng.integers(0, int(space.n), (1024, env.num_envs))
    else:
        assert isinstance(space, gym.spaces.Box)
        actions = rng.uniform(space.low, space.high, (1024, env.num_envs, *space.shape)).astype(np.float32)
    env.seed(0)
    env.reset()

    def work(n_steps: int) -> int:
        n = -(-n_steps // env.num_envs)
        for k in range(n):
            env.step(actions[k % 1024])
        return n * env.num_envs

    return work


def agent_settings(algorithm: str, task: str) -> dict[str, Any]:
    """Shipped settings of an agent, its hidden layers those of all contenders, without normalisation."""
    settings = {key: value for key, value in load_hyperparameters(algorithm, task).items() if key not in RUN_KEYS}
    if settings.get("policy_kwargs", {}).get("net_arch", HIDDEN) != HIDDEN:
        # Rates for another number of layers do not fit; what a step costs does not depend on them.
        settings = {key: value for key, value in settings.items() if not key.endswith("learning_rate")}
    settings["policy_kwargs"] = {**settings.get("policy_kwargs", {}), "net_arch": HIDDEN}
    return settings


def _agent(algorithm: str, task: str, road: str, n_envs: int) -> Work:
    kind = algorithm_class(algorithm)
    model = kind("MlpPolicy", make_environments(task, n_envs, 0, {}), seed=0, **agent_settings(algorithm, task))

    def work(n_steps: int) -> int:
        done = _learn(model, n_steps, AskedAtEveryStep() if road == STEPS else None)
        if road == COMPILED and model.why_step_by_step is not None:
            raise ValueError(f"It is not compiled: {model.why_step_by_step}.")
        return done

    return work


def _other(kind: type[BaseAlgorithm], task: str, n_envs: int) -> Work:
    env = DummyVecEnv([lambda: Monitor(gym.make(task))] * n_envs)
    settings: dict[str, Any] = {}
    if kind is PPO:
        # As many passes and minibatches a transition as with its own n_steps of 2048, in rollouts of a quarter.
        settings = {"n_steps": max(2, 512 // n_envs)}
    elif kind in (DQN, DDPG):
        # As many gradient steps a transition as with one environment; small buffers, which cost the same.
        settings = {"gradient_steps": n_envs, "buffer_size": 20_000}
    model = kind("MlpPolicy", env, policy_kwargs={"net_arch": HIDDEN}, device="cpu", seed=0, **settings)
    return partial(_learn, model)


def _learn(model: BaseAlgorithm, n_steps: int, callback: BaseCallback | None = None) -> int:
    before = model.num_timesteps
    model.learn(n_steps, callback=callback, reset_num_timesteps=False)
    return model.num_timesteps - before
