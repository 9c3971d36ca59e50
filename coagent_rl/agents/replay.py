"""Replayed transitions, with what all neurons did in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl

from coagent_rl.arrays import MEANS, VALUES, Arrays
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.forward import means_of_layer


@kernel
def means_of_values(network: Arrays, values: Array, means: Array) -> None:
    """Write the means of all layers and rows, given the values of the layers below; both of shape (n_rows, width)."""
    for row in range(values.shape[0]):
        for index in range(network[0].shape[0]):
            means_of_layer(network, index, values[row], means[row])


def value_columns(network: Network) -> np.ndarray:
    """Columns of all neurons' values in the per-row buffers, without the observation's and those of standard deviations."""
    return np.concatenate([np.arange(network.width)[network.slot(i)] for i in range(network.depth)])


class Replay:
    """A replay buffer that keeps the noisy values of all neurons with each transition.

    A critic learns from what its neuron tried, which cannot be recomputed; the means around which it was tried, and all
    about the next state, are computed anew.

    Args:
        network: the actor.
        size: number of transitions.
        n_envs: number of environments.
    """

    def __init__(self, network: Network, size: int, n_envs: int) -> None:
        self.network, self.n_envs = network, n_envs
        self.columns = value_columns(network)
        inputs = spaces.Box(-np.inf, np.inf, (network.n_inputs,), np.float32)
        values = spaces.Box(-np.inf, np.inf, (self.columns.size,), np.float32)
        self.buffer = ReplayBuffer(size, inputs, values, device="cpu", n_envs=n_envs)
        self._shape = {
            "inputs": network.n_inputs,
            "layers": [(layer.kind, layer.n_values) for layer in network.layers],
            "environments": n_envs,
            "buffer_size": size,
        }

    @property
    def capacity(self) -> int:
        """Number of transitions that fit."""
        return int(self.buffer.buffer_size * self.n_envs)

    @property
    def n_transitions(self) -> int:
        """Number of transitions that are there."""
        return int(self.buffer.size() * self.n_envs)

    def add(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        ends: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Add one transition per environment, with the neurons' ``values``, shape (n_envs, width)."""
        # The buffer's mark for time limits is used for steps whose TD error is to be ignored (zero_td_error).
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": bool(flag)} for flag in ignored]
        self.buffer.add(observations, ends, values[:, self.columns], rewards, terminated, infos)

    def sample(self, rng: np.random.Generator, n: int, learner: Learner) -> tuple[np.ndarray, ...]:
        """Draw ``n`` transitions, and put what the neurons did in them into the learner's values and means.

        Returns:
            the parts of a `coagent_rl.arrays.Transition`; every transition starts an episode, for there are no traces.
        """
        buffer = self.buffer
        steps, envs = rng.integers(0, buffer.size(), n), rng.integers(0, self.n_envs, n)
        observations, values = buffer.observations[steps, envs], learner.activity[VALUES]
        values[:, : self.network.n_inputs] = observations
        values[:, self.columns] = buffer.actions[steps, envs]
        means_of_values(self.network.structure, values, learner.activity[MEANS])
        rewards, terminated = buffer.rewards[steps, envs], buffer.dones[steps, envs] > 0.0
        ends, ignored = buffer.next_observations[steps, envs], buffer.timeouts[steps, envs] > 0.0
        return observations, rewards, ends, terminated, ignored, np.ones(n, dtype=bool)

    def save(self, path: str | Path, verbose: int = 0) -> None:
        """Save the buffer, with the layers that it belongs to."""
        save_to_pkl(path, (self._shape, self.buffer), verbose)

    def load(self, path: str | Path, verbose: int = 0) -> None:
        """Put back what `save` saved.

        Raises:
            ValueError: for a buffer of another network, size or number of environments, or another kind of file.
        """
        saved = load_from_pkl(path, verbose)
        if not (isinstance(saved, tuple) and len(saved) == 2 and isinstance(saved[1], ReplayBuffer)):
            raise ValueError(f"{path} does not hold a replay buffer of this package.")
        if saved[0] != self._shape:
            raise ValueError(
                f"{path} does not hold a replay buffer of this model: it has {saved[0]}, the model {self._shape}."
            )
        self.buffer = saved[1]
