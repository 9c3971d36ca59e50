"""Spaces: what the networks make of observations, and what becomes of their outputs as actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

FORBIDDEN = -1e30
"""Bias of a level that an action does not have: its probability is exactly zero, and so are its score and every update."""


class NestedSpaceError(ValueError, NotImplementedError):
    """A `Dict` of observations holds another one: a NotImplementedError, as in Stable-Baselines3."""


def observation_size(space: spaces.Space[Any]) -> int:
    """Number of network inputs for an observation space.

    `Box` is flattened, `Discrete` and `MultiDiscrete` are one-hot, `MultiBinary` is taken as it is, and the parts of a
    `Dict` stand side by side in its own order: as in Stable-Baselines3.

    Raises:
        NestedSpaceError: for a `Dict` in a `Dict`.
        ValueError: for images, and any other space.
    """
    if isinstance(space, spaces.Dict) and space.spaces:
        if any(isinstance(part, spaces.Dict | spaces.Tuple) for part in space.spaces.values()):
            raise NestedSpaceError(f"Observation space {space} is not supported: a Dict must not hold Dicts or Tuples.")
        return sum(observation_size(part) for part in space.spaces.values())
    if is_image_space(space):
        raise ValueError(
            f"Observation space {space} is not supported: it is an image, and the networks have no convolutions (a "
            f"coagent's weights are its own, none are shared over places). A wrapper that scales and flattens a small image "
            f"makes a vector of it, and so do the features of a network trained elsewhere."
        )
    if isinstance(space, spaces.Box) and space.shape and min(space.shape) > 0:
        return int(np.prod(space.shape))
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.MultiBinary) and np.prod(space.shape) > 0:
        return int(np.prod(space.shape))
    raise ValueError(
        f"Observation space {space} is not supported: the networks take a vector of numbers, so it must be a Box, Discrete, "
        f"MultiDiscrete, MultiBinary or a Dict of these. gymnasium.wrappers.FlattenObservation turns others into a Box."
    )


def encode(space: spaces.Space[Any], observations: Any) -> np.ndarray:
    """Observations of a batch of environments → network inputs, shape (n, `observation_size`), float32.

    Args:
        observations: an array or tensor of shape (n, …), for a `Dict` space one for each key.

    Raises:
        ValueError: for another number of values, or states that are not in the space.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(observations, Mapping) or set(space.spaces) - set(observations):
            raise ValueError(f"Observations must have the keys {list(space.spaces)}, not {_what(observations)}.")
        return np.concatenate([encode(part, observations[key]) for key, part in space.spaces.items()], axis=1)
    given, size = np.asarray(observations), observation_size(space)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return _one_hot(space, given, size)
    if given.size % size:
        raise ValueError(f"Observations of shape {given.shape} were given where those of the space {space} were expected.")
    return np.ascontiguousarray(given, dtype=np.float32).reshape(-1, size)


def _one_hot(space: spaces.Discrete | spaces.MultiDiscrete, given: np.ndarray, size: int) -> np.ndarray:
    sizes = np.array([space.n]) if isinstance(space, spaces.Discrete) else space.nvec.reshape(-1)
    if given.size % sizes.size:
        raise ValueError(f"Observations of shape {given.shape} were given where those of the space {space} were expected.")
    states = given.reshape(-1, sizes.size) - np.asarray(space.start).reshape(-1)
    if not np.all((states >= 0) & (states < sizes) & (states == np.floor(states))):
        raise ValueError(f"The observations {given} are not all in {space}.")
    inputs = np.zeros((len(states), size), np.float32)
    inputs[np.arange(len(states))[:, None], np.cumsum(sizes) - sizes + states.astype(np.int64)] = 1.0
    return inputs


def described_observations(space: spaces.Space[Any]) -> list[dict[str, Any]]:
    """What `encode` does, as JSON: the parts of the network's inputs, see `coagent_rl.exported.inputs_of`.

    Each has its ``key`` in a `Dict`, None otherwise, its ``shape``, and for one-hot inputs ``sizes`` and ``start``.
    """
    if isinstance(space, spaces.Dict):
        return [{**described_observations(part)[0], "key": key} for key, part in space.spaces.items()]
    described: dict[str, Any] = {"key": None, "shape": list(space.shape or ()), "sizes": None, "start": None}
    if isinstance(space, spaces.Discrete):
        described.update(sizes=[int(space.n)], start=[int(space.start)])
    if isinstance(space, spaces.MultiDiscrete):
        described.update(sizes=space.nvec.reshape(-1).tolist(), start=np.asarray(space.start).reshape(-1).tolist())
    return [described]


def described_actions(space: spaces.Space[Any], kind: str) -> dict[str, Any]:
    """How outputs become actions, as JSON, see `coagent_rl.exported.actions_of`; ``kind`` is its ``map``."""
    sizes = space.nvec.reshape(-1).tolist() if isinstance(space, spaces.MultiDiscrete) else [2] * n_actions(space)
    start = np.asarray(getattr(space, "start", 0)).tolist()
    return {
        "map": kind,
        "shape": list(space.shape or ()),
        "sizes": sizes,
        "start": start,
        "dtype": np.dtype(space.dtype).name,
    }


def batch_of_one(observation: Any) -> Any:
    """An observation as the batch that holds it alone."""
    if isinstance(observation, Mapping):
        return {key: np.asarray(part)[None] for key, part in observation.items()}
    return np.asarray(observation)[None]


def _what(observations: Any) -> str:
    if isinstance(observations, Mapping):
        return f"the keys {list(observations)}"
    return f"an array of shape {np.shape(observations)}"


def describe(observations: Any) -> str:
    """Shapes of what was given as observations, for error messages."""
    if isinstance(observations, Mapping):
        return ", ".join(f"{key}: {np.shape(part)}" for key, part in observations.items())
    return str(np.shape(observations))


def check_action_space(space: spaces.Space[Any]) -> None:
    """Raise a ValueError unless actions are `Discrete`, `MultiDiscrete`, `MultiBinary` or a bounded `Box` of floats."""
    if isinstance(space, spaces.Box):
        if min(space.shape, default=1) < 1:
            raise ValueError(f"Action space {space} is not supported: it is empty.")
        if not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
            raise ValueError(f"Action space {space} is not supported: the bounds of a Box of actions must be finite.")
        if not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"Action space {space} is not supported: actions must be floats, not {space.dtype}.")
    elif isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        if np.prod(space.shape) < 1:
            raise ValueError(f"Action space {space} is not supported: it is empty.")
    elif not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"Action space {space} is not supported: it must be Discrete, MultiDiscrete, MultiBinary or a Box. One network "
            f"with several kinds of outputs, for a Dict or Tuple of actions, there is not."
        )


def n_actions(space: spaces.Space[Any]) -> int:
    """Number of outputs with one for each action that is chosen among, or for each number of a `Box`."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    return int(np.prod(space.shape or ()))


def forbid_levels(space: spaces.MultiDiscrete, biases: np.ndarray) -> None:
    """Write into the biases of categorical units, all with as many levels, that some have fewer; see `FORBIDDEN`."""
    sizes = space.nvec.reshape(-1)
    table = biases.reshape(sizes.size, -1)
    table[np.arange(table.shape[1]) >= sizes[:, None]] = FORBIDDEN


def in_space(space: spaces.Space[Any], chosen: np.ndarray) -> np.ndarray:
    """What the output units chose, counted from zero and flat, shape (n, …) → actions of the space."""
    shaped = chosen.reshape(-1, *space.shape)  # type: ignore[misc]
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        shaped = shaped.astype(space.dtype) + space.start
    return np.asarray(shaped, dtype=space.dtype)
