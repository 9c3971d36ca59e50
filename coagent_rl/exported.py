"""An exported agent, acting with NumPy alone: copy this file and the ``.npz`` of `CoagentPolicy.export` wherever you like.

    from exported import ExportedAgent

    agent = ExportedAgent("agent.npz")
    action = agent.predict(observation)

It answers as ``predict(observation, deterministic=True)`` of the agent did. Nothing here imports anything but NumPy and
Python's own library, and reading the file runs no code of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FORMAT = 2
MODES = ("marginal", "hashed", "mean", "most_likely", "sample_hidden")
REPEATABLE = ("marginal", "hashed", "mean", "most_likely")
"""The modes in which the action is a function of the observation."""

_MASKS = {shift: (1 << (64 - shift)) - 1 for shift in (27, 30, 31, 40)}
_GOLDEN, _FIRST, _SECOND = -7046029254386353131, -4658895280553007687, -7723592293110705685


class LayerArrays(NamedTuple):
    """One layer: its kind of units, and its parameters as NumPy arrays or torch tensors.

    ``weight`` has shape (n_in, n_pre), ``bias`` (n_pre,). ``deviation`` is the standard deviation of Gaussian units, as a
    number or of shape (n_values,); ``levels`` are those of categorical units; ``coupling``, symmetric of shape
    (n_values, n_values), and ``sweeps`` those of Boltzmann units.
    """

    kind: str
    n_values: int
    temperature: float
    weight: Any
    bias: Any
    deviation: Any
    levels: Any
    coupling: Any = None
    sweeps: int = 0

    @property
    def n_noise(self) -> int:
        """How many random numbers the units draw with."""
        return self.n_values * (1 + self.sweeps)

    @property
    def has_deviation(self) -> bool:
        """Whether the noise of the units is normal, not uniform."""
        return self.kind.startswith("gaussian_")


def forward(x: Any, layers: Sequence[LayerArrays], noise: Callable[[int], Any], xp: Any = np) -> tuple[Any, Any]:
    """Pass inputs through a network.

    Args:
        x: shape (…, n_inputs).
        layers: from the input side to the output.
        noise: index of a layer → its noise, shape broadcastable to (…, n_noise); None where it passes its means on.
        xp: ``numpy`` or ``torch``.

    Returns:
        The output layer's means and values, shape (…, n_values) each; without noise the value is the most likely one.
    """
    means = values = x
    for index, layer in enumerate(layers):
        z = (values @ layer.weight + layer.bias) / layer.temperature
        means, values = _outcome(layer, z, noise(index), index == len(layers) - 1, xp)
    return means, values


def _outcome(layer: LayerArrays, z: Any, noise: Any, is_output: bool, xp: Any) -> tuple[Any, Any]:
    kind, n = layer.kind, layer.n_values
    if kind in ("softmax", "softmax_reference"):
        if kind == "softmax_reference":
            z = xp.concatenate([z, z[..., :1] * 0], -1)
        means = _softmax(z, xp)
        if noise is None:
            return means, _one_hot(means.argmax(-1), means, xp) if is_output else means
        drawn = (noise[..., :1] >= means.cumsum(-1)[..., :-1]).sum(-1)
        return means, _one_hot(xp.where(noise[..., 0] < 0, means.argmax(-1), drawn), means, xp)
    if kind == "categorical":
        means = _softmax(z.reshape((*z.shape[:-1], n, -1)), xp)
        likely = means.argmax(-1)
        if noise is None:
            return means, layer.levels[likely] if is_output else (means * layer.levels).sum(-1)
        drawn = (noise[..., None] >= means.cumsum(-1)[..., :-1]).sum(-1)
        return means, layer.levels[xp.where(noise < 0, likely, drawn)]
    if kind == "bernoulli":
        means = _sigmoid(z, xp)
        if noise is None:
            if not is_output:
                return means, means
            noise = 0.5
        return means, xp.where(noise < means, xp.ones_like(means), xp.zeros_like(means))
    if kind == "boltzmann":
        return _sigmoid(z, xp), _settled(layer, z, noise, xp)
    if kind == "gaussian_preactivation_relu":
        drawn = z if noise is None else z + layer.deviation * noise
        return z, xp.maximum(drawn, drawn * 0)
    means = _activate(kind.removeprefix("gaussian_"), z, xp)
    return means, means if noise is None or not layer.has_deviation else means + layer.deviation * noise


def _settled(layer: LayerArrays, z: Any, noise: Any, xp: Any) -> Any:
    """Values of Boltzmann units, see `coagent_rl.networks.coupled.settle`; mean field where there is no noise."""

    def take(chance: Any, k: int) -> Any:
        if noise is None:
            return chance
        return xp.where(noise[..., k] < chance, xp.ones_like(chance), xp.zeros_like(chance))

    n = layer.n_values
    start = _sigmoid(z, xp)
    columns = [take(start[..., i], i) for i in range(n)]
    coupling = layer.coupling / layer.temperature
    for sweep in range(layer.sweeps):
        for i in range(n):
            field = z[..., i] + (xp.stack(columns, -1) * coupling[i]).sum(-1)
            columns[i] = take(_sigmoid(field, xp), n * (1 + sweep) + i)
    return xp.stack(columns, -1)


def symmetric(above_diagonal: Any, n: int) -> np.ndarray:
    """Symmetric matrix (n, n) with a diagonal of zero, from its n (n - 1) / 2 entries above the diagonal, row by row."""
    matrix = np.zeros((n, n), np.asarray(above_diagonal).dtype)
    matrix[np.triu_indices(n, 1)] = above_diagonal
    return matrix + matrix.T


def _activate(name: str, z: Any, xp: Any) -> Any:
    if name == "sigmoid":
        return _sigmoid(z, xp)
    if name == "tanh":
        return xp.tanh(z)
    if name == "relu":
        return xp.maximum(z, z * 0)
    if name == "softplus":
        return xp.maximum(z, z * 0) + xp.log1p(xp.exp(-xp.abs(z)))
    if name == "linear":
        return z
    raise ValueError(f"Unknown activation {name!r}.")


def _sigmoid(z: Any, xp: Any) -> Any:
    small = xp.exp(-xp.abs(z))  # never overflows
    return xp.where(z < 0, small, xp.ones_like(z)) / (1 + small)


def _softmax(z: Any, xp: Any) -> Any:
    largest = z.max(-1)
    exponentials = xp.exp(z - (largest if xp is np else largest.values)[..., None])
    return exponentials / exponentials.sum(-1)[..., None]


def _one_hot(chosen: Any, like: Any, xp: Any) -> Any:
    here = xp.arange(like.shape[-1]) == chosen[..., None]
    return xp.where(here, xp.ones_like(like), xp.zeros_like(like))


def neutral_noise(layer: LayerArrays) -> float:
    """The noise of a unit that does not explore, see `coagent_rl.networks.units.neutral_noise`."""
    if layer.has_deviation:
        return 0.0
    return -1.0 if layer.kind == "categorical" else 0.5


def most_likely_noise(layer: LayerArrays) -> float:
    """The noise with which a unit takes its most likely value."""
    return -1.0 if layer.kind.startswith("softmax") else neutral_noise(layer)


def hash_of(inputs: Any, xp: Any = np) -> Any:
    """64 bits from each row of float32 inputs, other ones wherever any bit differs: (n, n_inputs) → (n, 1), int64."""
    # Mantissa and exponent are what the bytes hold, and unlike a view of these torch can trace them.
    mantissa, exponent = xp.frexp(inputs)
    places = xp.arange(inputs.shape[-1], dtype=xp.int64) << 48
    numbers = _cast(mantissa * 2.0**24, "int64", xp) + (_cast(exponent, "int64", xp) << 32) + places
    return _mix(_mix(numbers).sum(-1))[..., None]


def hashed_noise(key: Any, index: int, layer: LayerArrays, exploration_probability: float, xp: Any = np) -> Any:
    """Noise of layer ``index`` drawn from a generator seeded by ``key``, shape (n, n_noise).

    Args:
        exploration_probability: of each unit; the others take their most likely value.

    Source: the finaliser of SplitMix64 (Steele et al. 2014) over a counter; Box & Muller (1958) for normal noise.
    """
    noise = _uniforms(key, 3 * index, layer.n_noise, xp)
    if layer.has_deviation:
        angle = _uniforms(key, 3 * index + 1, layer.n_values, xp) * (2 * math.pi)
        noise = xp.sqrt(-2 * xp.log(1 - noise)) * xp.cos(angle)
    if exploration_probability < 1.0:
        draws = _uniforms(key, 3 * index + 2, layer.n_values, xp) < exploration_probability
        noise = xp.where(draws, noise, xp.zeros_like(noise) + neutral_noise(layer))
    return noise


def _uniforms(key: Any, stream: int, n: int, xp: Any) -> Any:
    counters = xp.arange(n, dtype=xp.int64) + (stream << 32)
    return ((_mix(key + (counters + 1) * _GOLDEN) >> 40) & _MASKS[40]) * 2.0**-24


def _cast(x: Any, dtype: str, xp: Any) -> Any:
    return x.astype(dtype) if xp is np else x.to(getattr(xp, dtype))


def _mix(x: Any) -> Any:
    x = (x ^ ((x >> 30) & _MASKS[30])) * _FIRST
    x = (x ^ ((x >> 27) & _MASKS[27])) * _SECOND
    return x ^ ((x >> 31) & _MASKS[31])


def most_likely(means: Any, layer: LayerArrays, xp: Any = np) -> Any:
    """Values of an output layer that are most likely where these are its means, as `forward` gives them."""
    if layer.kind == "categorical":
        return layer.levels[means.argmax(-1)]
    return xp.where(means > 0.5, xp.ones_like(means), xp.zeros_like(means)) if layer.kind == "bernoulli" else means


def inputs_of(given: Any, part: Mapping[str, Any], xp: Any = np) -> Any:
    """Network inputs, shape (n, size), from one part of a batch of observations.

    Args:
        given: shape (n, …).
        part: ``sizes`` and ``start`` of the whole numbers that become one-hot, or, without sizes, numbers as they are.
    """
    if not part["sizes"]:
        return _cast(given, "float32", xp).reshape(-1, math.prod(part["shape"]))
    sizes = np.array(part["sizes"])
    levels = np.concatenate([np.arange(size) for size in sizes]) + np.repeat(part["start"], sizes)
    repeated = given.reshape(-1, sizes.size)[:, xp.asarray(np.repeat(np.arange(sizes.size), sizes))]
    return _cast(repeated == xp.asarray(levels), "float32", xp)


def actions_of(outputs: Any, action: Mapping[str, Any], low: Any, high: Any, xp: Any = np) -> Any:
    """Actions, shape (n, …), from the output layer's values, shape (n, n_values).

    Args:
        action: ``map``, what is done with the values: "clipped" to the bounds; "scaled", -1 and 1 being the bounds;
            "largest", the index of the largest; "groups", the same in each group of ``sizes`` values; "levels", they are it;
            "positive", 1 where they are. Then ``shape``, ``start`` and ``dtype``.
        low, high: bounds, shape (n_values,), of the first two.
    """
    kind, sizes, dtype = action["map"], action["sizes"], action["dtype"]
    if kind == "scaled":
        outputs = low + (outputs + 1.0) * 0.5 * (high - low)
    if kind in ("clipped", "scaled"):
        chosen = xp.minimum(xp.maximum(outputs, low), high)
    elif kind == "largest":
        chosen = outputs.argmax(-1)
    elif kind == "groups":
        ends = np.cumsum(sizes).tolist()
        chosen = xp.stack([outputs[:, last - n : last].argmax(-1) for n, last in zip(sizes, ends, strict=True)], -1)
    elif kind == "levels":
        chosen = xp.minimum(outputs, xp.asarray(np.array(sizes, np.float32) - 1))
    else:
        chosen = outputs > 0
    return _cast(chosen, dtype, xp).reshape((-1, *action["shape"])) + xp.asarray(np.array(action["start"], dtype))


class ExportedAgent:
    """An agent that was written by `CoagentPolicy.export`.

    Args:
        path: the ``.npz`` file.
        seed: of the noise, where the actions are sampled.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not an exported agent.
    """

    def __init__(self, path: str, seed: int | None = None) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            self.description: dict[str, Any] = json.loads(str(arrays["description"]))
            if self.description["format"] != FORMAT:
                raise ValueError(f"its format is {self.description['format']}, not {FORMAT}")
            self.mode: str = self.description["mode"]
            if self.mode not in MODES:
                raise ValueError(f"its mode {self.mode!r} is none of {MODES}")
            self.layers = _read_layers(self.description, arrays["parameters"])
            self.bank = np.split(arrays["bank"], np.cumsum([layer.n_noise for layer in self.layers])[:-1], axis=1)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is not an agent written by CoagentPolicy.export: {error}") from error
        self._arrays = arrays
        self._rng = np.random.default_rng(seed)

    def encode(self, observations: Any) -> np.ndarray:
        """Observations of a batch → normalised network inputs, shape (n, n_inputs); of a mapping, of all its parts."""
        inputs = []
        for index, part in enumerate(self.description["observation"]):
            given = np.asarray(observations if part["key"] is None else observations[part["key"]])
            if "epsilon" in part:
                statistics = (self._arrays[f"{name}_{index}"] for name in ("mean", "variance"))
                mean, variance = (array.reshape(part["shape"]) for array in statistics)
                given = np.clip((given - mean) / np.sqrt(variance + part["epsilon"]), -part["clip"], part["clip"])
            if part["sizes"]:
                first = np.reshape(part["start"], part["shape"])
                last = first + np.reshape(part["sizes"], part["shape"]) - 1
                if not np.all((given >= first) & (given <= last) & (given == np.floor(given))):
                    raise ValueError(f"Observations must lie from {first.tolist()} to {last.tolist()}, not {given}.")
            inputs.append(inputs_of(given, part))
        together = np.concatenate(inputs, axis=-1)
        if not np.isfinite(together).all():
            raise ValueError("The observations contain NaN or infinity.")
        return together

    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """Action for one observation, or actions for a batch of them (one more dimension in front).

        Args:
            observation: an array, or a mapping of them, as the agent's environment gives it.
            deterministic: whether to answer in the exported `mode`, or sample as in training.

        Raises:
            ValueError: for observations of another shape, keys that are missing, or NaN or infinity in them.
        """
        is_one = self._is_one(observation)
        outputs = self._outputs(self.encode(observation), self.mode if deterministic else "sample")
        actions = actions_of(outputs, self.description["action"], self._arrays.get("low"), self._arrays.get("high"))
        return actions[0] if is_one else actions

    def _is_one(self, observation: Any) -> bool:
        """Whether it is a single observation, no batch."""
        parts, found = self.description["observation"], set()
        for part in parts:
            key, shape = part["key"], tuple(part["shape"])
            if key is not None and (not isinstance(observation, Mapping) or key not in observation):
                raise ValueError(f"Observations must have the keys {[other['key'] for other in parts]}.")
            given, what = np.shape(observation if key is None else observation[key]), "" if key is None else f" of {key!r}"
            if given[max(len(given) - len(shape), 0) :] != shape or len(given) > len(shape) + 1:
                raise ValueError(f"Observations{what} must have shape {shape} or (n, *{shape}), not {given}.")
            found.add(given[: len(given) - len(shape)])
        if len(found) > 1:
            raise ValueError(f"The parts of the observations are not as many: {sorted(found)}.")
        return found == {()}

    def _outputs(self, inputs: np.ndarray, mode: str) -> np.ndarray:
        last, q = len(self.layers) - 1, self.description["exploration_probability"]
        if mode == "marginal":
            means, _ = forward(inputs[:, None, :], self.layers, lambda i: self.bank[i] if i < last else None)
            return np.asarray(most_likely(means.mean(axis=1), self.layers[-1]))
        if mode == "hashed":
            key = hash_of(inputs)
            return np.asarray(
                forward(inputs, self.layers, lambda i: hashed_noise(key, i, self.layers[i], q if i < last else 1.0))[1]
            )

        def noise(i: int) -> np.ndarray | float | None:
            layer, n = self.layers[i], len(inputs)
            if i == last and mode != "sample":
                return None
            if mode == "mean":
                return None
            if mode == "most_likely":
                return np.full((1, layer.n_noise), most_likely_noise(layer), np.float32)
            drawn = (self._rng.standard_normal if layer.has_deviation else self._rng.random)((n, layer.n_noise))
            if i < last and q < 1.0:
                drawn[self._rng.random(drawn.shape) >= q] = neutral_noise(layer)
            return drawn.astype(np.float32)

        return np.asarray(forward(inputs, self.layers, noise)[1])


def _read_layers(description: dict[str, Any], parameters: np.ndarray) -> list[LayerArrays]:
    layers, n_in, offset = [], int(description["n_inputs"]), 0

    def take(n: int) -> np.ndarray:
        nonlocal offset
        if offset + n > parameters.size:
            raise ValueError(f"{parameters.size} parameters are too few")
        offset += n
        return parameters[offset - n : offset]

    for given in description["layers"]:
        kind, n = given["kind"], int(given["n_values"])
        n_pre = {"softmax_reference": n - 1, "categorical": n * len(given["levels"])}.get(kind, n)
        weight, bias = take(n_in * n_pre).reshape(n_in, n_pre), take(n_pre)
        deviation = np.exp(take(n)) if given["learned_deviation"] else np.float32(given["deviation"])
        levels = np.array(given["levels"], dtype=np.float32)
        coupling, sweeps = None, 0
        if kind == "boltzmann":
            coupling, sweeps = symmetric(take(n * (n - 1) // 2), n), int(given["sweeps"])
        layers.append(LayerArrays(kind, n, given["temperature"], weight, bias, deviation, levels, coupling, sweeps))
        n_in = n
    if offset != parameters.size:
        raise ValueError(f"{parameters.size} parameters where {offset} are needed")
    return layers
