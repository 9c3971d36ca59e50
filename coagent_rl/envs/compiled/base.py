"""What a compiled environment is, and how several of them step together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numba import config, njit, types

from coagent_rl.kernel import copy

_COMPILING = threading.Lock()

Vector = types.float64[::1]
RESET = types.void(Vector, Vector, Vector)
STEP = types.boolean(Vector, Vector, Vector, Vector)
OBSERVE = types.void(Vector, Vector, types.float32[::1])

NO_LIMIT = np.iinfo(np.int64).max
"""The number of steps of an episode that is never cut."""


@dataclass(frozen=True, eq=False)
class CompiledEnvironment:
    """An environment as compiled functions that give, bit for bit, what the Gymnasium class gives that it mirrors.

    Attributes:
        spec: specification of the mirrored environment, as ``gym.make`` leaves it; its limit of steps is the caller's
            business.
        observation_space: a `Box` of float32, shape (n,).
        action_space: `Discrete` from 0, or a `Box` of float32, shape (n,).
        constants: of the environment, float64, read only.
        n_state: number of float64 that hold the state of an episode.
        n_draws: number of float64 that ``reset`` takes.
        draw: (rng, n) → the numbers of n episodes, shape (n, n_draws), float64. It draws what n resets of the Gymnasium
            class draw one after the other, and leaves ``rng`` as they do.
        reset: (constants, draws, state); writes the state of a new episode, from one row of ``draw``.
        step: (constants, state, action, outcome) → terminated. The action is the index, or the vector of a `Box` cast from
            float32; the state is updated, the reward is written into outcome[0].
        observe: (constants, state, observation); writes the observation, float32.
        advance: the three composed: a step of several environments that reset themselves, see `advance_environments`.
        limits_actions: whether ``step`` itself limits an action to the bounds of the `Box`, so that it takes any.
        draw_together: (rng, n_envs) → the next block of numbers for environments that share one generator, shape
            (n_envs, n, n_draws), leaving ``rng`` as the vectorised form of the Gymnasium class does. None if every
            environment has a generator of its own.
    """

    spec: EnvSpec
    observation_space: spaces.Box
    action_space: spaces.Discrete | spaces.Box
    constants: np.ndarray
    n_state: int
    n_draws: int
    draw: Callable[[np.random.Generator, int], np.ndarray]
    reset: Any
    step: Any
    observe: Any
    advance: Any
    limits_actions: bool = False
    draw_together: Callable[[np.random.Generator, int], np.ndarray] | None = None

    @classmethod
    def of(
        cls,
        env: gym.Env[Any, Any],
        constants: Sequence[float],
        draw: Callable[[np.random.Generator, int], np.ndarray],
        functions: tuple[Any, Any, Any, Any],
        *,
        n_state: int,
        n_draws: int,
        **others: Any,
    ) -> CompiledEnvironment:
        """Twin of an environment that ``gym.make`` made; ``functions`` are reset, step, observe and advance."""
        spec, observations, actions = env.spec, env.observation_space, env.action_space
        assert spec is not None
        assert isinstance(observations, spaces.Box)
        assert isinstance(actions, (spaces.Discrete, spaces.Box))
        numbers = np.array(constants, dtype=np.float64)
        return cls(spec, observations, actions, numbers, n_state, n_draws, draw, *functions, **others)

    @property
    def max_episode_steps(self) -> int | None:
        """Number of steps after which an episode is cut, or None."""
        return self.spec.max_episode_steps

    @property
    def permitted_actions(self) -> np.ndarray:
        """Smallest and largest permitted action, shape (2, n_action); NaN is never permitted."""
        if isinstance(self.action_space, spaces.Discrete):
            return np.array([[0.0], [float(self.action_space.n) - 1.0]])
        if self.limits_actions:
            return np.array([[-np.inf], [np.inf]]).repeat(self.action_space.shape[0], axis=1)
        return np.array([self.action_space.low, self.action_space.high], dtype=np.float64)

    def compile(self) -> None:
        """Compile the three functions, or find them on disk, for `RESET`, `STEP`, `OBSERVE` and for nothing else.

        After that they can be passed to a kernel that has an explicit signature with function types.
        """
        if config.DISABLE_JIT:  # type: ignore[attr-defined]
            return  # they are plain Python
        with _COMPILING:  # another thread may want the same functions
            for function, signature in ((self.reset, RESET), (self.step, STEP), (self.observe, OBSERVE)):
                if not function.signatures:
                    function.compile(signature)
                function.disable_compile()

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledEnvironment:
        return self  # nothing in it changes

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.spec.id, self.spec.kwargs)


def _again(env_id: str, env_kwargs: dict[str, Any]) -> CompiledEnvironment:
    from coagent_rl.envs.compiled import twin_of

    twin = twin_of(env_id, env_kwargs)
    if twin is None:
        raise ValueError(f"The pickled compiled environment {env_id!r} with {env_kwargs} has no compiled form here.")
    return twin


# Not kept on disk itself, since it takes functions. It must become a part of every environment's `advance`, which could not
# be kept on disk either if the functions were handed on at run time.
@njit(error_model="numpy", forceinline=True)
def advance_environments(reset: Any, step: Any, observe: Any, arrays: Any, actions: Any) -> int:
    """Step several environments; where an episode ends, take the next one's first observation.

    Args:
        reset, step, observe: the functions of an environment.
        arrays: a tuple of

            - constants: of the environment.
            - permitted: smallest and largest action, shape (2, n_action).
            - max_episode_steps: number of steps after which an episode is cut.
            - draws: numbers for coming resets, shape (n_envs, n, n_draws).
            - cursor: shape (n_envs,), index of the next row of ``draws``; the caller sees to it that there is one.
            - state: shape (n_envs, n_state).
            - elapsed: steps in the running episode, shape (n_envs,).
            - episode_rewards: rewards of the running episode, shape (n_envs, max_episode_steps).
            - observations: float32, shape (n_envs, n).
            - terminal_observations: float32, shape (n_envs, n), written where an episode ends.
            - rewards: float32, shape (n_envs,).
            - dones: bool, shape (n_envs,), whether the episode ended.
            - cut: bool, shape (n_envs,), whether it ended without being terminated.
            - lengths: shape (n_envs,), length of the episode where one ended.

        actions: int64, shape (n_envs,), or float32, shape (n_envs, n_action).

    Returns:
        The number of episodes that ended; or -1 - i, and nothing has happened, if entry i of the flattened actions is not
        permitted.
    """
    constants, permitted, max_episode_steps, draws, cursor, state, elapsed, episode_rewards = arrays[:8]
    observations, terminal_observations, rewards, dones, cut, lengths = arrays[8:]
    n_envs, n_action = state.shape[0], permitted.shape[1]
    flat_actions = actions.reshape(actions.size)
    for k in range(flat_actions.size):
        if not permitted[0, k % n_action] <= flat_actions[k] <= permitted[1, k % n_action]:
            return -1 - k
    action, outcome = np.empty(n_action), np.empty(1)
    n_ended = 0
    for row in range(n_envs):
        for k in range(n_action):
            action[k] = flat_actions[row * n_action + k]
        terminated = step(constants, state[row], action, outcome)
        observe(constants, state[row], observations[row])
        rewards[row] = outcome[0]
        episode_rewards[row, elapsed[row]] = outcome[0]
        elapsed[row] += 1
        truncated = elapsed[row] >= max_episode_steps
        dones[row] = terminated or truncated
        cut[row] = truncated and not terminated
        if dones[row]:
            n_ended += 1
            copy(observations[row], terminal_observations[row])
            lengths[row] = elapsed[row]
            elapsed[row] = 0
            reset(constants, draws[row, cursor[row]], state[row])
            cursor[row] += 1
            observe(constants, state[row], observations[row])
    return n_ended
