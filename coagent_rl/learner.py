"""A network with everything that it needs to learn online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th

from coagent_rl.arrays import N_UPDATES, NOISE_STEP, SCHEDULE_STEPS, SIGNALS, VALUES, Arrays
from coagent_rl.networks import Network
from coagent_rl.networks.layout import RATE_END, RATE_START
from coagent_rl.optimizers import ACTOR_KAPPA, OPTIMIZERS
from coagent_rl.schedules import LinearSchedule


class Learner:
    """Buffers, traces and optimizer state of one network, in the arrays that kernels take.

    The parameters stay the network's; `state_dict` holds the rest of what must survive between two steps.

    Args:
        network: whose parameters are learned.
        n_rows: number of environments, or of transitions in a batch.
        learning_rate: one rate per layer; a frozen layer has rate zero.
        optimizer: a name in `coagent_rl.optimizers.OPTIMIZERS`.
        trace_decay: γλ per step; with 0 there are no traces, but those that "obgd" needs.
        weight_decay: c in -2cw.
        name: of the learning rate, for its error messages.
        frozen_layers: indices of layers that keep their initial parameters.
        options: the numbers that the rule itself needs.
        store: what the rule keeps from step to step beside traces, four-dimensional.
        has_traces: whether there are traces where their decay is zero, whatever the optimizer.
        holds_values: whether units may hold their values, which then survive between two steps.
        kappa: κ of "obgd", see `coagent_rl.optimizers.share_of_step`.

    Attributes:
        arrays: the plain tuple that kernels take, see `coagent_rl.arrays.LearnerArrays`.
    """

    def __init__(
        self,
        network: Network,
        n_rows: int,
        learning_rate: LinearSchedule,
        optimizer: str,
        trace_decay: float,
        weight_decay: float = 0.0,
        name: str = "learning_rate",
        frozen_layers: tuple[int, ...] = (),
        options: Sequence[float] = (),
        store: np.ndarray | None = None,
        has_traces: bool = False,
        holds_values: bool = False,
        kappa: float = ACTOR_KAPPA,
    ) -> None:
        if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
            raise ValueError(f"Unknown optimizer {optimizer!r}; known optimizers: {', '.join(OPTIMIZERS)}.")
        if store is not None and np.ndim(store) != 4:
            raise ValueError(
                f"What a rule keeps (_rule_store) must be None or an array of four dimensions, as every learner.store "
                f"has, not one of shape {np.shape(store)}: dimensions that it does not need have length 1."
            )
        dtype, size = network.parameters.dtype, network.parameters.size
        self.network = network
        self.constants = network.constants.copy()
        self.rates = self.constants[:, RATE_START : RATE_END + 1].T
        self.frozen_layers = list(frozen_layers)
        numbers = (OPTIMIZERS[optimizer], learning_rate.steps, weight_decay, trace_decay, kappa, *options)
        self.settings = np.array(numbers, float)
        self.set_rates(learning_rate.table(network.depth, name), learning_rate.steps)
        self.counters = np.zeros(2)
        self.holds_values = holds_values
        self.memory = np.zeros((3, size), dtype)
        is_traced = trace_decay > 0.0 or has_traces or optimizer == "obgd"
        self.traces = np.zeros((n_rows if is_traced else 0, size), dtype)
        self.activity = network.activity(n_rows)
        self.noise = np.zeros((0, 0, 0), dtype)
        self.store = np.zeros((0, 0, 0, 0), dtype) if store is None else np.array(store, dtype, order="C")
        self._collect()

    def _collect(self) -> None:
        self.signals, self.values = self.activity[SIGNALS], self.activity[VALUES]
        self.arrays: Arrays = self.acting(self.activity)

    def acting(self, activity: np.ndarray) -> Arrays:
        """The learner's arrays with room of another number of rows for what the units do, shape (5, n_rows, width)."""
        network = self.network
        return (
            network.layout,
            self.constants,
            self.settings,
            self.counters,
            network.parameters,
            self.memory,
            self.traces,
            activity,
            self.noise,
            self.store,
        )

    def set_noise(self, block: np.ndarray) -> None:
        """Take a block of noise to draw with, see `coagent_rl.noise.Noise`."""
        self.noise = block
        self._collect()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("rates", "signals", "values", "arrays")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.rates = self.constants[:, RATE_START : RATE_END + 1].T
        self._collect()  # views and arguments must be of the copy's own arrays

    @property
    def _per_environment(self) -> tuple[str, ...]:
        return ("traces", "signals", "store", *(["values"] if self.holds_values else []))

    @property
    def n_rows(self) -> int:
        """Number of environments, or of transitions in a batch."""
        return int(self.activity.shape[1])

    @property
    def depth(self) -> int:
        """Number of layers."""
        return self.network.depth

    def set_rates(self, table: np.ndarray, steps: float) -> None:
        """Learn with other rates from now on.

        Args:
            table: at the start and at the end of the schedule, shape (2, depth); frozen layers keep rate zero.
            steps: length of the schedule in environment steps.
        """
        self.rates[:] = table
        self.rates[:, self.frozen_layers] = 0.0
        self.settings[SCHEDULE_STEPS] = steps

    def learning_rates(self, time: float) -> np.ndarray:
        """Learning rate of each layer after ``time`` environment steps."""
        start, end = self.rates
        return np.asarray(start + min(time / self.settings[SCHEDULE_STEPS], 1.0) * (end - start))

    def state_dict(self) -> dict[str, th.Tensor]:
        """Traces, signals, what the rule keeps, the optimizer's memory and its number of updates, as copies."""
        return copies(self._arrays(), self.counters)

    def load_state_dict(self, state: Mapping[str, th.Tensor], strict: bool = True) -> None:
        """Put back what `state_dict` gave.

        What belongs to another number of environments is not taken over: with other environments every episode starts anew.

        Raises:
            ValueError: for missing or unknown names (where ``strict``), or the memory of another network.
        """
        put_back(state, self._arrays(), self.counters, self._per_environment, strict)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in (*self._per_environment, "memory")}


def copies(arrays: Mapping[str, np.ndarray], counters: np.ndarray) -> dict[str, th.Tensor]:
    """Return copies of arrays, but for empty ones, and the optimizer's number of updates, as a state."""
    tensors = {name: th.from_numpy(array.copy()) for name, array in arrays.items() if array.size}
    return {**tensors, "n_updates": th.tensor(int(counters[N_UPDATES]))}


def put_back(
    state: Mapping[str, th.Tensor],
    arrays: Mapping[str, np.ndarray],
    counters: np.ndarray,
    per_environment: Sequence[str],
    strict: bool,
) -> None:
    """Put a state that `copies` made back into the arrays and counters.

    Args:
        per_environment: names that are passed over where they are missing, or of another number of environments.
        strict: whether the other names must match.

    Raises:
        ValueError: for missing or unknown names (where ``strict``), or an array of another shape.
    """
    known = {*arrays, "n_updates"}
    needed = {name for name, array in arrays.items() if array.size and name not in per_environment} | {"n_updates"}
    if strict and not needed <= set(state) <= known:
        raise ValueError(f"A learner's state holds {sorted(known)}, not {sorted(state)}.")
    for name in sorted(known & set(state)):
        given = np.asarray(state[name])
        if name == "n_updates":
            counters[N_UPDATES], counters[NOISE_STEP] = float(given), 0.0
        elif given.shape == arrays[name].shape:
            arrays[name][...] = given
        elif name not in per_environment or given.ndim != arrays[name].ndim:
            raise ValueError(f"{name}: shape {given.shape} was given where {arrays[name].shape} is needed.")
