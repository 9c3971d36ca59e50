"""MountainCar with discrete and with continuous actions, compiled: `gymnasium.envs.classic_control`'s two modules."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from coagent_rl.envs.compiled.base import CompiledEnvironment, advance_environments
from coagent_rl.kernel import Array, exact_kernel

MIN_POSITION, MAX_POSITION, MAX_SPEED, GOAL_POSITION, GOAL_VELOCITY, FORCE, GRAVITY, SQUARE = range(8)
FIRST = 2
"""Entry of the continuous car's state: 1 before the first step of an episode, 0 after it."""


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """First positions, shape (n, 1)."""
    return rng.uniform(-0.6, -0.4, (n, 1))


@exact_kernel
def reset(constants: Array, draws: Array, state: Array) -> None:
    """Begin at rest at the position that is drawn."""
    state[0], state[1] = draws[0], 0.0


@exact_kernel
def step(constants: Array, state: Array, action: Array, outcome: Array) -> bool:
    """Accelerate to the left (0), not at all (1) or to the right (2)."""
    position, velocity = state[0], state[1]
    velocity += (action[0] - 1.0) * constants[FORCE] + math.cos(3.0 * position) * (-constants[GRAVITY])
    velocity = min(max(velocity, -constants[MAX_SPEED]), constants[MAX_SPEED])
    position = min(max(position + velocity, constants[MIN_POSITION]), constants[MAX_POSITION])
    if position == constants[MIN_POSITION] and velocity < 0.0:
        velocity = 0.0
    state[0], state[1] = position, velocity
    outcome[0] = -1.0
    return position >= constants[GOAL_POSITION] and velocity >= constants[GOAL_VELOCITY]


@exact_kernel
def observe(constants: Array, state: Array, observation: Array) -> None:
    """Position and velocity."""
    observation[0], observation[1] = state[0], state[1]


@exact_kernel
def advance(arrays: Any, actions: Array) -> int:
    """See `advance_environments`."""
    return advance_environments(reset, step, observe, arrays, actions)


@exact_kernel
def reset_continuous(constants: Array, draws: Array, state: Array) -> None:
    """Begin at rest at the position that is drawn."""
    state[0], state[1], state[FIRST] = draws[0], 0.0, 1.0


@exact_kernel
def rounded(x: float, single: bool) -> float:
    """Return x, to the precision of float32 if ``single``."""
    return np.float64(np.float32(x)) if single else np.float64(x)


@exact_kernel
def step_continuous(constants: Array, state: Array, action: Array, outcome: Array) -> bool:
    """Accelerate in proportion to the action; what that costs is its square.

    The class begins an episode in float64 and keeps its state in float32 from the first step on. A sum, a product or a
    comparison of a NumPy float32 with a Python number is one in float32; of two Python numbers, one in float64.
    """
    position, velocity = state[0], state[1]
    single = state[FIRST] == 0.0
    pull = 0.0025 * math.cos(rounded(3.0 * position, single))
    power = constants[FORCE]
    if -1.0 <= action[0] <= 1.0:
        push = rounded(rounded(action[0] * rounded(power, True), True) - rounded(pull, True), True)
    else:  # the bound that it is limited to is a Python number
        push = math.copysign(power, action[0]) - pull
    velocity = rounded(velocity + rounded(push, single), single)
    is_number = False  # whether the velocity is a Python number
    if velocity > rounded(constants[MAX_SPEED], single):
        velocity, is_number = constants[MAX_SPEED], True
    if velocity < rounded(-constants[MAX_SPEED], single):
        velocity, is_number = -constants[MAX_SPEED], True
    position = rounded(position + rounded(velocity, single), single)
    position = min(position, rounded(constants[MAX_POSITION], single))
    position = max(position, rounded(constants[MIN_POSITION], single))
    if position == rounded(constants[MIN_POSITION], single) and velocity < 0.0:
        velocity, is_number = 0.0, True
    at_goal = position >= rounded(constants[GOAL_POSITION], single)
    terminated = at_goal and velocity >= rounded(constants[GOAL_VELOCITY], single and not is_number)
    # Python's power is C's pow(x, 2), which is not always x · x; a literal 2 would be compiled into that.
    outcome[0] = (100.0 if terminated else 0.0) - math.pow(action[0], constants[SQUARE]) * 0.1
    state[0], state[1], state[FIRST] = rounded(position, True), rounded(velocity, True), 0.0
    return terminated


@exact_kernel
def advance_continuous(arrays: Any, actions: Array) -> int:
    """See `advance_environments`."""
    return advance_environments(reset_continuous, step_continuous, observe, arrays, actions)


def twin(env: gym.Env[Any, Any]) -> CompiledEnvironment:
    """Twin of a `MountainCarEnv`."""
    base: Any = env.unwrapped
    functions = (reset, step, observe, advance)
    return CompiledEnvironment.of(env, _constants(base, base.force, base.gravity), draw, functions, n_state=2, n_draws=1)


def twin_continuous(env: gym.Env[Any, Any]) -> CompiledEnvironment:
    """Twin of a `Continuous_MountainCarEnv`."""
    base: Any = env.unwrapped
    functions = (reset_continuous, step_continuous, observe, advance_continuous)
    return CompiledEnvironment.of(
        env, _constants(base, base.power, 0.0025), draw, functions, n_state=3, n_draws=1, limits_actions=True
    )


def _constants(base: Any, force: float, gravity: float) -> list[float]:
    bounds = [base.min_position, base.max_position, base.max_speed]
    return [*bounds, base.goal_position, base.goal_velocity, force, gravity, 2.0]
