"""Acrobot, compiled: `gymnasium.envs.classic_control.acrobot`.

The state is θ₁, θ₂, ω₁, ω₂, cos θ₁, sin θ₁, cos θ₂, sin θ₂. The sines and cosines belong to it because NumPy computes the
first ones of an episode in float32, in a way of its own that the C library does not round alike: they come with the draws.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from coagent_rl.envs.compiled.base import CompiledEnvironment, advance_environments
from coagent_rl.kernel import Array, copy, exact_kernel

DT, MASS_1, MASS_2, LENGTH_1, CENTRE_1, CENTRE_2, INERTIA, MAX_SPEED_1, MAX_SPEED_2, SQUARE, TORQUES = range(11)
GRAVITY = 9.8


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """First states, in float32 as they are kept, shape (n, 8)."""
    numbers = rng.uniform(-0.1, 0.1, (n, 4)).astype(np.float32)
    cosines, sines = np.cos(numbers), np.sin(numbers)
    return np.column_stack([numbers, cosines[:, 0], sines[:, 0], cosines[:, 1], sines[:, 1]]).astype(np.float64)


@exact_kernel
def reset(constants: Array, draws: Array, state: Array) -> None:
    """Begin with the angles and angular velocities that are drawn."""
    copy(draws, state)


@exact_kernel
def derivatives(
    constants: Array, theta_1: float, theta_2: float, omega_1: float, omega_2: float, torque: float
) -> tuple[float, float, float, float]:
    """Rates of change of both angles and of both angular velocities, from the equations of Sutton & Barto's book."""
    m1, m2, l1, lc1, lc2 = (
        constants[MASS_1],
        constants[MASS_2],
        constants[LENGTH_1],
        constants[CENTRE_1],
        constants[CENTRE_2],
    )
    moment = constants[INERTIA]
    # NumPy squares its numbers by C's pow(x, 2), which is not always x · x; a literal 2 would be compiled into that.
    two = constants[SQUARE]
    sin_2, cos_2 = math.sin(theta_2), math.cos(theta_2)
    d1 = m1 * (lc1 * lc1) + m2 * (l1 * l1 + lc2 * lc2 + 2.0 * l1 * lc2 * cos_2) + moment + moment
    d2 = m2 * (lc2 * lc2 + l1 * lc2 * cos_2) + moment
    phi_2 = m2 * lc2 * GRAVITY * math.cos(theta_1 + theta_2 - math.pi / 2.0)
    phi_1 = (
        -m2 * l1 * lc2 * math.pow(omega_2, two) * sin_2
        - 2.0 * m2 * l1 * lc2 * omega_2 * omega_1 * sin_2
        + (m1 * lc1 + m2 * l1) * GRAVITY * math.cos(theta_1 - math.pi / 2.0)
        + phi_2
    )
    acceleration_2 = (torque + d2 / d1 * phi_1 - m2 * l1 * lc2 * math.pow(omega_1, two) * sin_2 - phi_2) / (
        m2 * (lc2 * lc2) + moment - math.pow(d2, two) / d1
    )
    return omega_1, omega_2, -(d2 * acceleration_2 + phi_1) / d1, acceleration_2


@exact_kernel
def wrapped(angle: float) -> float:
    """Bring an angle into [-π, π] by whole turns."""
    while angle > math.pi:
        angle = angle - 2.0 * math.pi
    while angle < -math.pi:
        angle = angle + 2.0 * math.pi
    return angle


@exact_kernel
def step(constants: Array, state: Array, action: Array, outcome: Array) -> bool:
    """Apply one of three torques for one step of the fourth-order Runge-Kutta method."""
    a = constants[TORQUES + int(action[0])]
    dt = constants[DT]
    half = dt / 2.0
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    p0, p1, p2, p3 = derivatives(constants, s0, s1, s2, s3, a)
    q0, q1, q2, q3 = derivatives(constants, s0 + half * p0, s1 + half * p1, s2 + half * p2, s3 + half * p3, a)
    r0, r1, r2, r3 = derivatives(constants, s0 + half * q0, s1 + half * q1, s2 + half * q2, s3 + half * q3, a)
    t0, t1, t2, t3 = derivatives(constants, s0 + dt * r0, s1 + dt * r1, s2 + dt * r2, s3 + dt * r3, a)
    sixth = dt / 6.0
    s0 = wrapped(s0 + sixth * (p0 + 2.0 * q0 + 2.0 * r0 + t0))
    s1 = wrapped(s1 + sixth * (p1 + 2.0 * q1 + 2.0 * r1 + t1))
    state[0], state[1] = s0, s1
    state[2] = min(max(s2 + sixth * (p2 + 2.0 * q2 + 2.0 * r2 + t2), -constants[MAX_SPEED_1]), constants[MAX_SPEED_1])
    state[3] = min(max(s3 + sixth * (p3 + 2.0 * q3 + 2.0 * r3 + t3), -constants[MAX_SPEED_2]), constants[MAX_SPEED_2])
    state[4], state[5], state[6], state[7] = math.cos(s0), math.sin(s0), math.cos(s1), math.sin(s1)
    terminated = -state[4] - math.cos(s1 + s0) > 1.0
    outcome[0] = 0.0 if terminated else -1.0
    return terminated


@exact_kernel
def observe(constants: Array, state: Array, observation: Array) -> None:
    """Cosine and sine of both angles, then both angular velocities."""
    for k in range(4):
        observation[k] = state[4 + k]
    observation[4], observation[5] = state[2], state[3]


@exact_kernel
def advance(arrays: Any, actions: Array) -> int:
    """See `advance_environments`."""
    return advance_environments(reset, step, observe, arrays, actions)


def twin(env: gym.Env[Any, Any]) -> CompiledEnvironment | None:
    """Twin of an `AcrobotEnv`."""
    base: Any = env.unwrapped
    if base.book_or_nips != "book" or base.torque_noise_max > 0:
        return None
    constants = [base.dt, base.LINK_MASS_1, base.LINK_MASS_2, base.LINK_LENGTH_1, base.LINK_COM_POS_1, base.LINK_COM_POS_2]
    constants += [base.LINK_MOI, base.MAX_VEL_1, base.MAX_VEL_2, 2.0, *base.AVAIL_TORQUE]
    functions = (reset, step, observe, advance)
    return CompiledEnvironment.of(env, constants, draw, functions, n_state=8, n_draws=8)
