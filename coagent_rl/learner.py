"""A network with everything that it needs to learn online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th

from coagent_rl.networks import Network
from coagent_rl.networks.forward import SIGNALS
from coagent_rl.optimizers import N_UPDATES, OPTIMIZERS, SCHEDULE_STEPS
from coagent_rl.schedules import LinearSchedule


class Learner:
    """Buffers, traces and optimizer state of one network, in the arrays that kernels take.

    The parameters stay the network's; `state_dict` holds the rest of what must survive between two steps.

    Args:
        network: whose parameters are learned.
        n_envs: number of environment rows.
        learning_rate: one rate per layer; a frozen layer has rate zero.
        optimizer: a name in `coagent_rl.optimizers.OPTIMIZERS`.
        trace_decay: γλ per step.
        weight_decay: c in -2cw.
        name: of the learning rate, for its error messages.
        frozen_layers: indices of layers that keep their initial parameters.
        delayed: whether to keep a ring of the last steps, for traces that lag behind by layer.
    """

    _PER_ENVIRONMENT = ("traces", "signals", "ring", "ring_starts")

    def __init__(
        self,
        network: Network,
        n_envs: int,
        learning_rate: LinearSchedule,
        optimizer: str,
        trace_decay: float,
        weight_decay: float = 0.0,
        name: str = "learning_rate",
        frozen_layers: tuple[int, ...] = (),
        delayed: bool = False,
    ) -> None:
        if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
            raise ValueError(f"Unknown optimizer {optimizer!r}; known optimizers: {', '.join(OPTIMIZERS)}.")
        self.network = network
        self.rates = learning_rate.table(network.depth, name)
        self.rates[:, list(frozen_layers)] = 0.0
        self.settings = np.array([OPTIMIZERS[optimizer], learning_rate.steps, weight_decay, trace_decay, 0.0])
        self.activity = network.activity(n_envs)
        self.traces = np.zeros((n_envs, network.parameters.size), network.parameters.dtype)
        self.memory = np.zeros((3, network.parameters.size), network.parameters.dtype)
        n_slots = network.depth if delayed else 0
        self.ring = np.zeros((n_slots, 2, n_envs, network.width), network.parameters.dtype)
        self.ring_starts = np.zeros((n_slots, n_envs), bool)
        self._collect()

    def _collect(self) -> None:
        network = self.network
        self.signals = self.activity[SIGNALS]
        self.arguments = (
            network.layout,
            network.constants,
            self.settings,
            self.rates,
            network.parameters,
            self.memory,
            self.traces,
            self.activity,
        )
        """The first arguments of every learning kernel, in its order."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("signals", "arguments")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._collect()  # views and arguments must be of the copy's own arrays

    def learning_rates(self, time: float) -> np.ndarray:
        """Learning rate of each layer after ``time`` environment steps."""
        start, end = self.rates
        return np.asarray(start + min(time / self.settings[SCHEDULE_STEPS], 1.0) * (end - start))

    def state_dict(self) -> dict[str, th.Tensor]:
        """Traces, signals, ring of past steps, the optimizer's memory and its number of updates, as copies."""
        return copies(self._arrays(), self.settings)

    def load_state_dict(self, state: Mapping[str, th.Tensor], strict: bool = True) -> None:
        """Put back what `state_dict` gave.

        What belongs to another number of environments is not taken over: with other environments every episode starts anew.

        Raises:
            ValueError: for missing or unknown names (where ``strict``), or the memory of another network.
        """
        put_back(state, self._arrays(), self.settings, self._PER_ENVIRONMENT, strict)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in (*self._PER_ENVIRONMENT, "memory")}


def copies(arrays: Mapping[str, np.ndarray], settings: np.ndarray) -> dict[str, th.Tensor]:
    """Return copies of arrays, and the optimizer's number of updates, as a state."""
    tensors = {name: th.from_numpy(array.copy()) for name, array in arrays.items()}
    return {**tensors, "n_updates": th.tensor(int(settings[N_UPDATES]))}


def put_back(
    state: Mapping[str, th.Tensor],
    arrays: Mapping[str, np.ndarray],
    settings: np.ndarray,
    per_environment: Sequence[str],
    strict: bool,
) -> None:
    """Put a state that `copies` made back into the arrays and settings.

    Args:
        per_environment: names that are passed over where the number of environments is another.
        strict: whether names must match.

    Raises:
        ValueError: for missing or unknown names (where ``strict``), or an array of another shape.
    """
    known = {*arrays, "n_updates"}
    if strict and set(state) != known:
        raise ValueError(f"A learner's state holds {sorted(known)}, not {sorted(state)}.")
    for name in sorted(known & set(state)):
        given = np.asarray(state[name])
        if name == "n_updates":
            settings[N_UPDATES] = float(given)
        elif given.shape == arrays[name].shape:
            arrays[name][...] = given
        elif name not in per_environment or given.ndim != arrays[name].ndim:
            raise ValueError(f"{name}: shape {given.shape} was given where {arrays[name].shape} is needed.")
