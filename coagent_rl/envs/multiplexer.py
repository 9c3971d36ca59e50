"""The multiplexer: a one-step task in which some bits of the observation say which of the others is the right action."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

BLOCK = 1024  # observations drawn at once: a call of the generator costs more than a step


class Multiplexer:
    """Draws questions and knows their answers."""

    KEPT = ("_questions", "_answers", "_next")
    """What must be kept to go on in another process, as in the environments below."""

    def __init__(self, address_bits: int) -> None:
        if not isinstance(address_bits, (int, np.integer)) or not 1 <= address_bits <= 10:
            raise ValueError(f"address_bits must be an integer from 1 to 10, not {address_bits!r}.")
        self.address_bits = int(address_bits)
        self.size = self.address_bits + 2**self.address_bits
        self.place_values = 2 ** np.arange(self.address_bits - 1, -1, -1)
        self.forget()

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (self.size,), np.float32)

    def forget(self) -> None:
        """Drop the questions drawn ahead, because the generator has been seeded anew."""
        self._questions = np.zeros((0, self.size), np.float32)
        self._answers = np.zeros(0, np.int64)
        self._next = 0

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ``n`` questions, shape (n, size), and their answers, shape (n,); copy them before changing them."""
        if self._next + n > len(self._answers):
            bits = rng.integers(0, 2, (max(BLOCK, n), self.size), dtype=np.int8)
            addresses = bits[:, : self.address_bits] @ self.place_values
            self._answers = bits[np.arange(len(bits)), self.address_bits + addresses].astype(np.int64)
            self._questions = bits.astype(np.float32) * 2 - 1
            self._next = 0
        chosen = slice(self._next, self._next + n)
        self._next += n
        return self._questions[chosen], self._answers[chosen]


def _text(question: np.ndarray, address_bits: int) -> str:
    bits = "".join("1" if bit > 0 else "0" for bit in question)
    address = int(bits[:address_bits], 2)
    data = bits[address_bits:]
    return f"{bits[:address_bits]} → {data[:address]}[{data[address]}]{data[address + 1 :]}"


class MultiplexerEnv(gym.Env[np.ndarray, np.int64]):
    """k address bits and 2^k data bits, each -1 or +1; the action 1 is right if the addressed data bit is +1, 0 if it is -1.

    Observations are ``Box(-1, 1, (k + 2^k,))``, the address first (most significant bit first); actions ``Discrete(2)``. The
    reward is +1 for the right action and -1 for the wrong one, after which the episode terminates.

    Args:
        address_bits: k, from 1 to 10.
        render_mode: ``"ansi"`` (a line of text: address → data bits, the addressed one in brackets); others render nothing.

    Source: Barto (1985); Chung (2022) with k = 4.

    Example:
        >>> import gymnasium as gym, coagent_rl
        >>> env = gym.make("coagent_rl/Multiplexer-v0", address_bits=2, render_mode="ansi")
        >>> _ = env.reset(seed=0)
        >>> print(env.render())
        01 → 1[1]11
    """

    KEPT = ("task", "_question", "_answer")
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  Gymnasium's own declaration

    def __init__(self, address_bits: int = 4, render_mode: str | None = None) -> None:
        self.render_mode = render_mode  # any: Stable-Baselines3 asks every environment that it makes for "rgb_array"
        self.task = Multiplexer(address_bits)
        self.observation_space = self.task.observation_space
        self.action_space = spaces.Discrete(2)
        self._question: np.ndarray | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.task.forget()
        questions, answers = self.task.draw(self.np_random, 1)
        self._question, self._answer = questions[0].copy(), answers[0]
        return self._question.copy(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._question is None:
            raise gym.error.ResetNeeded("Call reset before step: an episode of the multiplexer has a single step.")
        if action not in (0, 1):
            raise ValueError(f"The action must be 0 or 1, not {action!r}.")
        observation, self._question = self._question, None
        return observation, 1.0 if action == self._answer else -1.0, True, False, {}

    def render(self) -> str | None:
        if self.render_mode != "ansi" or self._question is None:
            return None
        return _text(self._question, self.task.address_bits)


class MultiplexerVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Many multiplexers, each of which asks its next question in the step that answers the last one (same-step autoreset).

    ``gym.make_vec("coagent_rl/Multiplexer-v0", num_envs=…, vectorization_mode="vector_entry_point")`` makes it.

    Args:
        num_envs: number of environments.
        address_bits: see `MultiplexerEnv`.
    """

    KEPT = ("task", "_questions", "_answers")
    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(self, num_envs: int = 1, address_bits: int = 4, render_mode: None = None) -> None:
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.task = Multiplexer(address_bits)
        self.single_observation_space = self.task.observation_space
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._truncated = np.zeros(num_envs, dtype=bool)
        self._terminated = np.ones(num_envs, dtype=bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.task.forget()
        questions, answers = self.task.draw(self.np_random, self.num_envs)
        self._questions, self._answers = questions, answers
        return questions.copy(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        rewards = np.where(actions == self._answers, 1.0, -1.0)
        old = self._questions
        self._questions, self._answers = self.task.draw(self.np_random, self.num_envs)
        infos = {"final_obs": old, "_final_obs": self._terminated.copy()}
        return self._questions.copy(), rewards, self._terminated.copy(), self._truncated.copy(), infos
