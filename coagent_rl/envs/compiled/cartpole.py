"""CartPole, compiled: `gymnasium.envs.classic_control.cartpole`."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from coagent_rl.envs.compiled.base import CompiledEnvironment, advance_environments
from coagent_rl.kernel import Array, copy, exact_kernel

GRAVITY, POLE_MASS, TOTAL_MASS, LENGTH, POLE_MASS_LENGTH, FORCE, TAU = range(7)
MAX_ANGLE, MAX_POSITION, REWARD, LAST_REWARD = range(7, 11)


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """First states, shape (n, 4)."""
    return rng.uniform(-0.05, 0.05, (n, 4))


@exact_kernel
def reset(constants: Array, draws: Array, state: Array) -> None:
    """Begin with position, velocity, angle and angular velocity as they are drawn."""
    copy(draws, state)


@exact_kernel
def step(constants: Array, state: Array, action: Array, outcome: Array) -> bool:
    """Push the cart to the left (0) or to the right (1) for one Euler step."""
    x, x_dot, theta, theta_dot = state[0], state[1], state[2], state[3]
    total_mass, tau = constants[TOTAL_MASS], constants[TAU]
    force = constants[FORCE] if action[0] == 1.0 else -constants[FORCE]
    cos_theta, sin_theta = math.cos(theta), math.sin(theta)
    temp = (force + constants[POLE_MASS_LENGTH] * (theta_dot * theta_dot) * sin_theta) / total_mass
    theta_acc = (constants[GRAVITY] * sin_theta - cos_theta * temp) / (
        constants[LENGTH] * (4.0 / 3.0 - constants[POLE_MASS] * (cos_theta * cos_theta) / total_mass)
    )
    x_acc = temp - constants[POLE_MASS_LENGTH] * theta_acc * cos_theta / total_mass
    x, theta = x + tau * x_dot, theta + tau * theta_dot
    state[0], state[1] = x, x_dot + tau * x_acc
    state[2], state[3] = theta, theta_dot + tau * theta_acc
    terminated = abs(x) > constants[MAX_POSITION] or abs(theta) > constants[MAX_ANGLE]
    outcome[0] = constants[LAST_REWARD] if terminated else constants[REWARD]
    return terminated


@exact_kernel
def observe(constants: Array, state: Array, observation: Array) -> None:
    """Everything is observed."""
    for k in range(4):
        observation[k] = state[k]


@exact_kernel
def advance(arrays: Any, actions: Array) -> int:
    """See `advance_environments`."""
    return advance_environments(reset, step, observe, arrays, actions)


def twin(env: gym.Env[Any, Any]) -> CompiledEnvironment | None:
    """Twin of a `CartPoleEnv`."""
    base: Any = env.unwrapped
    if base.kinematics_integrator != "euler":
        return None
    rewards = (0.0, -1.0) if base._sutton_barto_reward else (1.0, 1.0)
    constants = [base.gravity, base.masspole, base.total_mass, base.length, base.polemass_length, base.force_mag, base.tau]
    constants += [base.theta_threshold_radians, base.x_threshold, *rewards]
    functions = (reset, step, observe, advance)
    return CompiledEnvironment.of(env, constants, draw, functions, n_state=4, n_draws=4)
