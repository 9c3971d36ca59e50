"""The multiplexer, compiled: `coagent_rl.envs.multiplexer`."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from coagent_rl.envs.compiled.base import CompiledEnvironment, advance_environments
from coagent_rl.envs.multiplexer import BLOCK, Multiplexer
from coagent_rl.kernel import Array, exact_kernel

ADDRESS_BITS = 0


def draw(address_bits: int, rng: np.random.Generator, n: int) -> np.ndarray:
    """Questions, shape (n, size): those of whole blocks, as a single environment draws them."""
    n_blocks = -(-n // BLOCK)
    questions = [Multiplexer(address_bits).draw(rng, BLOCK)[0] for _ in range(n_blocks)]
    return np.concatenate([*questions, np.zeros((0, Multiplexer(address_bits).size))], dtype=np.float64)[:n]


def draw_together(address_bits: int, rng: np.random.Generator, n_envs: int) -> np.ndarray:
    """Questions of a block, dealt out to the environments row by row, as the vectorised environment does."""
    n = max(BLOCK // n_envs, 1)
    questions, _ = Multiplexer(address_bits).draw(rng, n * n_envs)
    return np.ascontiguousarray(questions.reshape(n, n_envs, -1).swapaxes(0, 1), dtype=np.float64)


@exact_kernel
def reset(constants: Array, draws: Array, state: Array) -> None:
    """Ask the question that is drawn, and note the answer behind it."""
    size = draws.size
    state[:size] = draws
    n_bits = int(constants[ADDRESS_BITS])
    address = 0
    for k in range(n_bits):
        address = 2 * address + int(draws[k] > 0.0)
    state[size] = 1.0 if draws[n_bits + address] > 0.0 else 0.0


@exact_kernel
def step(constants: Array, state: Array, action: Array, outcome: Array) -> bool:
    """Reward the right answer."""
    outcome[0] = 1.0 if action[0] == state[state.size - 1] else -1.0
    return True


@exact_kernel
def observe(constants: Array, state: Array, observation: Array) -> None:
    """Show the question."""
    for k in range(observation.size):
        observation[k] = state[k]


@exact_kernel
def advance(arrays: Any, actions: Array) -> int:
    """See `advance_environments`."""
    return advance_environments(reset, step, observe, arrays, actions)


def twin(env: gym.Env[Any, Any]) -> CompiledEnvironment:
    """Twin of a `MultiplexerEnv`; several share a generator as those of a `MultiplexerVectorEnv` do."""
    base: Any = env.unwrapped
    bits, size = base.task.address_bits, base.task.size
    functions = (reset, step, observe, advance)
    return CompiledEnvironment.of(
        env,
        [bits],
        partial(draw, bits),
        functions,
        n_state=size + 1,
        n_draws=size,
        draw_together=partial(draw_together, bits),
    )
