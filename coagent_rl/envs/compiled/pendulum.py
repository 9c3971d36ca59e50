"""Pendulum, compiled: `gymnasium.envs.classic_control.pendulum`."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from coagent_rl.envs.compiled.base import CompiledEnvironment, advance_environments
from coagent_rl.kernel import Array, copy, exact_kernel

GRAVITY_TERM, TORQUE_TERM, DT, MAX_TORQUE, MAX_SPEED, SQUARE = range(6)


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """First angles and angular velocities, shape (n, 2)."""
    high = np.array([np.pi, 1.0])
    return rng.uniform(-high, high, (n, 2))


@exact_kernel
def reset(constants: Array, draws: Array, state: Array) -> None:
    """Begin with the angle and the angular velocity that are drawn."""
    copy(draws, state)


@exact_kernel
def step(constants: Array, state: Array, action: Array, outcome: Array) -> bool:
    """Apply a torque for one step. It is a NumPy float32, and so are its products with Python numbers."""
    angle, speed = state[0], state[1]
    dt, torque = constants[DT], np.float32(min(max(action[0], -constants[MAX_TORQUE]), constants[MAX_TORQUE]))
    # NumPy squares its numbers by C's pow(x, 2), which is not always x · x; a literal 2 would be compiled into that.
    two = constants[SQUARE]
    normalised = (angle + math.pi) % (2.0 * math.pi) - math.pi
    cost = math.pow(normalised, two) + 0.1 * math.pow(speed, two)
    cost += np.float64(np.float32(0.001) * math.pow(torque, np.float32(two)))
    turn = constants[GRAVITY_TERM] * math.sin(angle) + np.float64(np.float32(constants[TORQUE_TERM]) * torque)
    speed = min(max(speed + turn * dt, -constants[MAX_SPEED]), constants[MAX_SPEED])
    state[0], state[1] = angle + speed * dt, speed
    outcome[0] = -cost
    return False


@exact_kernel
def observe(constants: Array, state: Array, observation: Array) -> None:
    """Cosine and sine of the angle, then the angular velocity."""
    observation[0], observation[1], observation[2] = math.cos(state[0]), math.sin(state[0]), state[1]


@exact_kernel
def advance(arrays: Any, actions: Array) -> int:
    """See `advance_environments`."""
    return advance_environments(reset, step, observe, arrays, actions)


def twin(env: gym.Env[Any, Any]) -> CompiledEnvironment:
    """Twin of a `PendulumEnv`."""
    base: Any = env.unwrapped
    terms = [3 * base.g / (2 * base.l), 3.0 / (base.m * base.l**2)]
    functions = (reset, step, observe, advance)
    return CompiledEnvironment.of(
        env,
        [*terms, base.dt, base.max_torque, base.max_speed, 2.0],
        draw,
        functions,
        n_state=2,
        n_draws=2,
        limits_actions=True,
    )
