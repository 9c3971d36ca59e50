"""Networks: layers of units over one flat parameter vector."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coagent_rl.arrays import MEANS, N_PLANES, VALUES, Arrays
from coagent_rl.files import write_whole
from coagent_rl.networks import units
from coagent_rl.networks.forward import forward
from coagent_rl.networks.layout import (
    BIASES,
    DISTRIBUTION,
    END,
    LEVELS,
    N_INPUTS,
    N_PRE,
    N_VALUES,
    RATE_START,
    SLOT,
    SWEEPS,
    WEIGHTS,
)


@dataclass(frozen=True)
class Layer:
    """One layer of units of one kind.

    Attributes:
        kind: a name in `coagent_rl.networks.units.UNIT_KINDS`.
        n_values: how many values the layer puts out.
        temperature: T > 0 in m(z/T).
        deviation: standard deviation of Gaussian units (ignored by the others); the initial one where it is learned.
        learned_deviation: whether each Gaussian unit learns log σ, independent of its inputs.
        levels: what a categorical unit can put out (ignored by the others).
        sweeps: number of Gibbs sweeps with which Boltzmann units draw (ignored by the others).

    Raises:
        ValueError: for an unknown kind, no values, a temperature or deviation that is not positive, fewer than two levels,
            no sweeps.
    """

    kind: str
    n_values: int
    temperature: float = 1.0
    deviation: float = 1.0
    learned_deviation: bool = False
    levels: tuple[float, ...] = (0.0, 1.0)
    sweeps: int = 5

    def __post_init__(self) -> None:
        if self.kind not in units.UNIT_KINDS:
            raise ValueError(f"Unknown kind of units {self.kind!r}; known kinds: {', '.join(units.UNIT_KINDS)}.")
        if self.n_values < 1:
            raise ValueError(f"A layer needs at least one unit, not {self.n_values}.")
        if self.kind == "softmax_reference" and self.n_values < 2:
            raise ValueError("A softmax_reference layer needs at least two values: its last logit is fixed at zero.")
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"The temperature must be positive and finite, not {self.temperature}.")
        if not 0 < self.deviation < np.inf:
            raise ValueError(f"The standard deviation must be positive and finite, not {self.deviation}.")
        if self.learned_deviation and not self.has_deviation:
            raise ValueError(f"Units of kind {self.kind!r} have no standard deviation that could be learned.")
        if type(self.sweeps) is not int or self.sweeps < 1:
            raise ValueError(f"The number of sweeps must be a whole number from 1, not {self.sweeps!r}.")
        levels = np.asarray(self.levels, dtype=np.float64)
        if levels.ndim != 1 or np.unique(levels).size != levels.size or levels.size < 2 or not np.all(np.isfinite(levels)):
            raise ValueError(f"The levels must be at least two different, finite numbers, not {self.levels!r}.")
        object.__setattr__(self, "levels", tuple(levels.tolist()))

    @property
    def is_gaussian(self) -> bool:
        """Whether the value that the layer passes on is Gaussian around its mean."""
        return units.UNIT_KINDS[self.kind][0] == units.GAUSSIAN

    @property
    def has_deviation(self) -> bool:
        """Whether the units have a standard deviation: Gaussian ones, before or after their activation."""
        return units.UNIT_KINDS[self.kind][0] in (units.GAUSSIAN, units.GAUSSIAN_PREACTIVATION)

    @property
    def is_stochastic(self) -> bool:
        return units.UNIT_KINDS[self.kind][0] != units.DETERMINISTIC

    @property
    def n_pre(self) -> int:
        """Number of pre-activations: columns of the weight matrix."""
        if self.kind == "categorical":
            return self.n_values * len(self.levels)
        return self.n_values - 1 if self.kind == "softmax_reference" else self.n_values

    @property
    def n_slots(self) -> int:
        """Number of columns in the per-row buffers: room for values, means, scores and what must be remembered."""
        if self.has_deviation:
            return 2 * self.n_values
        return max(self.n_values, self.n_pre + self.n_couplings, self.n_noise, 2 * self.n_values if self.is_coupled else 0)

    @property
    def is_coupled(self) -> bool:
        """Whether the units are drawn together, with connections among them."""
        return units.UNIT_KINDS[self.kind][0] == units.BOLTZMANN

    @property
    def n_couplings(self) -> int:
        """Number of connections among the units, one a pair."""
        return self.n_values * (self.n_values - 1) // 2 if self.is_coupled else 0

    @property
    def n_noise(self) -> int:
        """How many random numbers the units draw with; they lie where the values do, from the slot's beginning."""
        return self.n_values * (1 + self.sweeps) if self.is_coupled else self.n_values


class Network:
    """Layers of units, their parameters and the forward pass.

    All parameters lie in one contiguous vector, layer after layer: weights (n_in × n_pre, row by row), biases (n_pre),
    and log standard deviations (n_values) where they are learned, or the connections among Boltzmann units (n (n - 1) / 2).
    `weights`, `biases`, `log_deviations` and `couplings` are views.

    Args:
        n_inputs: length of an observation.
        layers: from the input side to the output.
        dtype: of parameters and activations.

    Example:
        >>> import numpy as np
        >>> network = Network(4, [Layer("bernoulli", 8), Layer("softmax", 2)])
        >>> network.initialise(np.random.default_rng(0))
        >>> network.sample(np.zeros((1, 4)), np.random.default_rng(1)).shape
        (1, 2)
    """

    def __init__(self, n_inputs: int, layers: Sequence[Layer], dtype: npt.DTypeLike = np.float32) -> None:
        if n_inputs < 1:
            raise ValueError(f"A network needs at least one input, not {n_inputs}.")
        if not layers:
            raise ValueError("A network needs at least one layer.")
        self.n_inputs = n_inputs
        self.layers = tuple(layers)
        rows, n_in, inputs, slot, offset = [], n_inputs, 0, n_inputs, 0
        for layer in self.layers:
            distribution, activation = units.UNIT_KINDS[layer.kind]
            n_biases = layer.n_pre + (layer.n_values if layer.learned_deviation else 0) + layer.n_couplings
            biases = offset + n_in * layer.n_pre
            end = biases + n_biases
            rows.append(
                [
                    distribution,
                    activation,
                    n_in,
                    layer.n_pre,
                    layer.n_values,
                    n_biases,
                    offset,
                    biases,
                    end,
                    inputs,
                    slot,
                ]
            )
            n_in, inputs, offset = layer.n_values, slot, end
            slot += layer.n_slots
        self.layout = np.array(rows, dtype=np.int64)
        n_levels = max(len(layer.levels) if layer.kind == "categorical" else int(layer.is_coupled) for layer in self.layers)
        self.constants = np.zeros((self.depth, LEVELS + n_levels))
        for index, layer in enumerate(self.layers):
            self.constants[index, :RATE_START] = layer.temperature, layer.deviation
            if layer.kind == "categorical":
                self.constants[index, LEVELS : LEVELS + len(layer.levels)] = layer.levels
            if layer.is_coupled:
                self.constants[index, SWEEPS] = layer.sweeps
        self.width = slot
        self.parameters = np.zeros(offset, dtype=dtype)
        for index, layer in enumerate(self.layers):
            if layer.learned_deviation:
                self.log_deviations(index)[:] = np.log(layer.deviation)

    @property
    def depth(self) -> int:
        return len(self.layers)

    @property
    def structure(self) -> Arrays:
        """What kernels take of a network: ``(layout, constants, parameters)``."""
        return (self.layout, self.constants, self.parameters)

    def weights(self, index: int) -> np.ndarray:
        """Weights of layer ``index``, shape (n_in, n_pre); a view."""
        row = self.layout[index]
        return self.parameters[row[WEIGHTS] : row[BIASES]].reshape(row[N_INPUTS], row[N_PRE])

    def biases(self, index: int) -> np.ndarray:
        """Biases of layer ``index``, shape (n_pre,); a view."""
        row = self.layout[index]
        return self.parameters[row[BIASES] : row[BIASES] + row[N_PRE]]

    def log_deviations(self, index: int) -> np.ndarray:
        """Logarithms of the learned standard deviations of layer ``index``, shape (n_values,) or (0,); a view."""
        row = self.layout[index]
        first = row[BIASES] + row[N_PRE]
        return self.parameters[first : row[END] if self.layers[index].learned_deviation else first]

    def couplings(self, index: int) -> np.ndarray:
        """Connections U_ij, i < j, among the Boltzmann units of layer ``index``, shape (n (n - 1) / 2,) or (0,); a view."""
        row = self.layout[index]
        return self.parameters[row[END] - self.layers[index].n_couplings : row[END]]

    def slot(self, index: int) -> slice:
        """Columns of layer ``index``'s values in the per-row buffers."""
        row = self.layout[index]
        return slice(int(row[SLOT]), int(row[SLOT] + row[N_VALUES]))

    def initialise(self, rng: np.random.Generator, bias_range: float = 0.001) -> None:
        """Draw weights Glorot-uniform (±√(6 / (n_in + n_pre))) and biases uniform in ±``bias_range``; connections among a
        layer's units stay zero."""
        for index in range(self.depth):
            weights, biases = self.weights(index), self.biases(index)
            bound = np.sqrt(6.0 / sum(weights.shape))
            weights[:] = rng.uniform(-bound, bound, weights.shape)
            biases[:] = rng.uniform(-bias_range, bias_range, biases.shape)

    def activity(self, n_rows: int) -> np.ndarray:
        """Zeros of shape (5, n_rows, width): room for all layers' values, means, scores, signals and changes."""
        return np.zeros((N_PLANES, n_rows, self.width), dtype=self.parameters.dtype)

    def draw_noise(self, rng: np.random.Generator, n_steps: int, n_rows: int) -> np.ndarray:
        """What `forward` needs to sample: shape (n_steps, n_rows, width), uniform, standard normal for Gaussian units."""
        dtype = np.float64 if self.parameters.dtype == np.float64 else np.float32
        noise = rng.random((n_steps, n_rows, self.width), dtype=dtype)
        for index, layer in enumerate(self.layers):
            if layer.has_deviation:
                noise[..., self.slot(index)] = rng.standard_normal((n_steps, n_rows, layer.n_values), dtype=dtype)
        return noise

    def silence(self, noise: np.ndarray, rng: np.random.Generator, exploration_probability: float) -> None:
        """Let each hidden unit draw its value with this probability only, and take its most likely one otherwise.

        Args:
            noise: what `draw_noise` gave, changed in place.
            rng: decides, anew for every unit and step.

        Raises:
            ValueError: for Boltzmann units, which draw several times.
        """
        if exploration_probability < 1.0 and any(layer.is_coupled for layer in self.layers):
            raise ValueError(
                f"Boltzmann units are drawn together: all of them explore, not {exploration_probability!r} of them."
            )
        if exploration_probability < 1.0:
            for index in range(self.depth - 1):
                hidden = noise[..., self.slot(index)]
                hidden[rng.random(hidden.shape, dtype=np.float32) >= exploration_probability] = self._neutral(index)

    def _neutral(self, index: int) -> float:
        """Noise with which a unit of layer ``index`` takes its most likely value."""
        return float(units.neutral_noise(self.layout[index][DISTRIBUTION]))

    def activities(
        self,
        observations: np.ndarray,
        rng: np.random.Generator | None = None,
        mode: int = units.SAMPLE,
        exploration_probability: float = 1.0,
        noise: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values and means of all layers for a batch of observations.

        Args:
            observations: shape (n, n_inputs).
            rng: source of the units' noise; only needed where ``mode`` samples.
            mode: SAMPLE, MOST_LIKELY (every unit takes its most likely value), MEAN (hidden units pass their means on)
                or SAMPLE_HIDDEN (hidden units sample, the output takes its most likely value).
            exploration_probability: of each hidden unit, where they sample; the others take their most likely value.
            noise: of the units, shape (1, n, width) as `draw_noise` gives it, instead of drawing it.

        Returns:
            values and means, each of shape (n, width); layer l's columns are ``slot(l)``.

        Raises:
            ValueError: for a wrong shape, observations or means that are not finite, or a missing ``rng``.
        """
        observations = np.ascontiguousarray(observations, dtype=self.parameters.dtype)
        if observations.ndim != 2 or observations.shape[1] != self.n_inputs:
            raise ValueError(f"Observations must have shape (n, {self.n_inputs}), not {observations.shape}.")
        n = observations.shape[0]
        if noise is None and mode in (units.SAMPLE, units.SAMPLE_HIDDEN):
            if rng is None:
                raise ValueError("Sampling a network needs a random generator.")
            noise = self.draw_noise(rng, 1, n)
            self.silence(noise, rng, exploration_probability)
        elif noise is None:
            noise = np.zeros((1, n, self.width), dtype=self.parameters.dtype)
        activity = self.activity(n)
        if not forward(self.structure, activity, observations, noise, 0, mode):
            for row, values in enumerate(observations):
                if not np.all(np.isfinite(values)):
                    raise ValueError(f"Observation {row} contains NaN or infinity: {values}.")
            raise ValueError("The network's units are not finite: its parameters have diverged.")
        return activity[VALUES], activity[MEANS]

    def sample(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Sample the output layer: shape (n, n_values), one-hot for softmax units. See `activities`."""
        return self.activities(observations, rng)[0][:, self.slot(-1)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers and parameters to an ``.npz`` file that needs neither torch nor Stable-Baselines3 to be read."""
        structure = {"n_inputs": self.n_inputs, "layers": [asdict(layer) for layer in self.layers]}
        text = np.array(json.dumps(structure))
        write_whole(Path(path), lambda beside: np.savez(beside, structure=text, parameters=self.parameters))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network written by `save`.

        Raises:
            ValueError: if the file is not such a network.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                structure: dict[str, Any] = json.loads(str(file["structure"]))
                parameters = file["parameters"]
            network = cls(structure["n_inputs"], [Layer(**layer) for layer in structure["layers"]], dtype=parameters.dtype)
            if parameters.shape != network.parameters.shape:
                raise ValueError(f"{parameters.size} parameters where {network.parameters.size} are needed")
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is not a network written by Network.save: {error}") from error
        network.parameters[:] = parameters
        return network
