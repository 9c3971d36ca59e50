"""The corridor with discrete and with continuous moves, compiled: `coagent_rl.envs.corridor`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from coagent_rl.envs.compiled.base import CompiledEnvironment, advance_environments
from coagent_rl.kernel import Array, exact_kernel

LENGTH, SCALE, OFFSET = range(3)


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """Nothing is drawn, shape (n, 0)."""
    return np.zeros((n, 0))


@exact_kernel
def reset(constants: Array, draws: Array, state: Array) -> None:
    """Begin at the leftmost block."""
    state[0] = 0.0


@exact_kernel
def step(constants: Array, state: Array, action: Array, outcome: Array) -> bool:
    """Move by scale · action + offset: to the left (0) or to the right (1), or by the action itself."""
    move = constants[SCALE] * action[0] + constants[OFFSET]
    state[0] = min(max(state[0] + move, 0.0), constants[LENGTH])
    reached = state[0] >= constants[LENGTH]
    outcome[0] = 100.0 if reached else -1.0 if move < 0.0 else 0.0
    return reached


@exact_kernel
def observe(constants: Array, state: Array, observation: Array) -> None:
    """Position as a share of the length."""
    observation[0] = state[0] / constants[LENGTH]


@exact_kernel
def advance(arrays: Any, actions: Array) -> int:
    """See `advance_environments`."""
    return advance_environments(reset, step, observe, arrays, actions)


def twin(env: gym.Env[Any, Any]) -> CompiledEnvironment:
    """Twin of a `CorridorEnv`."""
    base: Any = env.unwrapped
    moves = (1.0, 0.0) if base.continuous else (2.0, -1.0)
    functions = (reset, step, observe, advance)
    return CompiledEnvironment.of(env, [float(base.length), *moves], draw, functions, n_state=1, n_draws=0)
