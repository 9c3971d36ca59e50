"""Replayed transitions, with what all neurons did in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from coagent_rl.archive import (
    File,
    array_bytes,
    array_from,
    json_bytes,
    json_from,
    manifest_sum,
    read_archive,
    write_archive,
)
from coagent_rl.arrays import MEANS, VALUES, Arrays
from coagent_rl.files import write_whole
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.forward import means_of_layer

PARTS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
"""Arrays of a buffer."""


@kernel
def means_of_values(network: Arrays, values: Array, means: Array) -> None:
    """Write the means of all layers and rows, given the values of the layers below; both of shape (n_rows, width)."""
    for row in range(values.shape[0]):
        for index in range(network[0].shape[0]):
            means_of_layer(network, index, values[row], means[row])


def value_columns(network: Network) -> np.ndarray:
    """Columns of all neurons' values in the per-row buffers, without the observation's and those of standard deviations."""
    return np.concatenate([np.arange(network.width)[network.slot(i)] for i in range(network.depth)])


class Replay(ReplayBuffer):
    """A replay buffer that keeps the noisy values of all neurons with each transition, in the place of the action.

    A critic learns from what its neuron tried, which cannot be recomputed; the means around which it was tried, and all
    about the next state, are computed anew. Observations are those of the network, flat.

    Args:
        network: the actor.
        size: number of transitions.
        n_envs: number of environments.
    """

    def __init__(self, network: Network, size: int, n_envs: int) -> None:
        self.network = network
        self.columns = value_columns(network)
        inputs = spaces.Box(-np.inf, np.inf, (network.n_inputs,), np.float32)
        values = spaces.Box(-np.inf, np.inf, (self.columns.size,), np.float32)
        super().__init__(size, inputs, values, device="cpu", n_envs=n_envs)
        self._shape = {
            "inputs": network.n_inputs,
            "layers": [[layer.kind, layer.n_values] for layer in network.layers],
            "environments": n_envs,
            "buffer_size": size,
        }

    @property
    def capacity(self) -> int:
        """Number of transitions that fit."""
        return int(self.buffer_size * self.n_envs)

    @property
    def n_transitions(self) -> int:
        """Number of transitions that are there."""
        return int(self.size() * self.n_envs)

    def store(
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
        self.add(observations, ends, values[:, self.columns], rewards, terminated, infos)

    def draw(self, rng: np.random.Generator, n: int, learner: Learner) -> tuple[np.ndarray, ...]:
        """Draw ``n`` transitions, and put what the neurons did in them into the learner's values and means.

        Returns:
            the parts of a `coagent_rl.arrays.Transition`; every transition starts an episode, for there are no traces.
        """
        steps, envs = rng.integers(0, self.size(), n), rng.integers(0, self.n_envs, n)
        observations, values = self.observations[steps, envs], learner.activity[VALUES]
        values[:, : self.network.n_inputs] = observations
        values[:, self.columns] = self.actions[steps, envs]
        means_of_values(self.network.structure, values, learner.activity[MEANS])
        rewards, terminated = self.rewards[steps, envs], self.dones[steps, envs] > 0.0
        ends, ignored = self.next_observations[steps, envs], self.timeouts[steps, envs] > 0.0
        return observations, rewards, ends, terminated, ignored, np.ones(n, dtype=bool)

    def save(self, path: File) -> str:
        """Save the buffer as arrays, with the layers that it belongs to; returns the file's own sum.

        Under a name, the file appears as a whole or not at all; into an open file it is written as it comes.
        """
        n_steps = self.size()
        members = {f"{name}.npy": array_bytes(getattr(self, name)[:n_steps]) for name in PARTS}
        members["buffer.json"] = json_bytes({"of": self._shape, "position": self.pos, "full": bool(self.full)})
        if not isinstance(path, str | Path):
            return write_archive(path, members, "replay buffer")
        sums: list[str] = []
        write_whole(Path(path), lambda beside: sums.append(write_archive(beside, members, "replay buffer")))
        return sums[0]

    def load(self, path: File) -> str:
        """Put back what `save` saved, and return the file's own sum; nothing in the file is executed.

        Raises:
            ValueError: for a buffer of another network, size or number of environments, a damaged file, or another kind of
                file.
        """
        allowed = "buffer[.]json|" + "|".join(f"{name}[.]npy" for name in PARTS)
        members = read_archive(path, "replay buffer", allowed)
        if missing := {"buffer.json", *(f"{name}.npy" for name in PARTS)} - set(members):
            raise ValueError(f"{path} is not a saved replay buffer: it has no member {sorted(missing)[0]}.")
        described = json_from(members["buffer.json"], "buffer.json")
        if not isinstance(described, dict) or described.get("of") != self._shape:
            saved = described.get("of") if isinstance(described, dict) else described
            raise ValueError(f"{path} does not hold a replay buffer of this model: it has {saved}, the model {self._shape}.")
        position, is_full = described.get("position"), described.get("full")
        if not (isinstance(position, int) and isinstance(is_full, bool) and 0 <= position <= self.buffer_size):
            raise ValueError(f"{path}: the member buffer.json names no place in the buffer.")
        n_steps = self.buffer_size if is_full else position
        arrays = {name: array_from(members[f"{name}.npy"], f"{name}.npy") for name in PARTS}
        for name, array in arrays.items():
            mine = getattr(self, name)
            if array.shape != (n_steps, *mine.shape[1:]) or array.dtype != mine.dtype or not np.isfinite(array).all():
                raise ValueError(f"{path}: the member {name}.npy is not {n_steps} finite steps of this model.")
        for name, array in arrays.items():
            getattr(self, name)[:n_steps] = array
        self.pos, self.full = position, is_full
        return manifest_sum(members)
