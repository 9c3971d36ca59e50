"""Compiled twins of environments written in Python: the same numbers, bit for bit, at a small part of the cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from coagent_rl.envs.compiled import acrobot, cartpole, corridor, mountain_car, multiplexer, pendulum
from coagent_rl.envs.compiled.base import CompiledEnvironment

__all__ = ["TWINS", "CompiledEnvironment", "twin_of"]

_CLASSIC = "gymnasium.envs.classic_control"

TWINS: dict[Any, tuple[Callable[[gym.Env[Any, Any]], CompiledEnvironment | None], tuple[str, ...]]] = {
    f"{_CLASSIC}.acrobot:AcrobotEnv": (acrobot.twin, ()),
    f"{_CLASSIC}.cartpole:CartPoleEnv": (cartpole.twin, ("sutton_barto_reward",)),
    f"{_CLASSIC}.continuous_mountain_car:Continuous_MountainCarEnv": (mountain_car.twin_continuous, ("goal_velocity",)),
    f"{_CLASSIC}.mountain_car:MountainCarEnv": (mountain_car.twin, ("goal_velocity",)),
    f"{_CLASSIC}.pendulum:PendulumEnv": (pendulum.twin, ("g",)),
    "coagent_rl.envs.corridor:CorridorEnv": (corridor.twin, ("length", "continuous")),
    "coagent_rl.envs.multiplexer:MultiplexerEnv": (multiplexer.twin, ("address_bits",)),
}
"""For the entry point of an environment, the function that makes its twin from it, and the arguments that the twin knows.

An environment of your own joins in with an entry here, made before ``twin_of`` is asked.
"""


def twin_of(env_id: str, env_kwargs: Mapping[str, Any]) -> CompiledEnvironment | None:
    """The compiled form of the environment that ``gym.make(env_id, **env_kwargs)`` makes, or None if it has none.

    There is a twin if the environment's class is in `TWINS`, its registration does not wrap it, and it is made with no other
    arguments than those named there, each a plain number. The twins round as NumPy 2 does; with an older NumPy there are
    none.

    Raises:
        ValueError: or whatever else the environment raises for a bad value of an argument.
    """
    try:
        spec = gym.spec(env_id)
    except gym.error.Error:
        return None
    make, known = TWINS.get(spec.entry_point, (None, ()))
    arguments = {**spec.kwargs, **env_kwargs}
    plain = all(name in known and type(value) in (bool, int, float) for name, value in arguments.items())
    if make is None or not plain or spec.additional_wrappers or np.lib.NumpyVersion(np.__version__) < "2.0.0":
        return None
    return make(gym.make(env_id, **env_kwargs))
