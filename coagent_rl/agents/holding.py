"""Units that hold their values for some steps: which agents may have them, and how a policy acts with them.

Source: Kostas, Nota & Thomas (2020), "Asynchronous coagent networks".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th

from coagent_rl.arrays import VALUES
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.credit.weight_max import learn_weight_max, learn_weight_max_pipelined
from coagent_rl.networks.forward import forward
from coagent_rl.networks.units import SAMPLE
from coagent_rl.noise import firing

if TYPE_CHECKING:
    from coagent_rl.agents.acting import ActingPolicy

RULES = (learn_reinforce, learn_weight_max, learn_weight_max_pipelined)
"""Rules that learn from nothing but scores, which are zero while a unit holds its value."""


def check_firing(policy: ActingPolicy, rule: Callable[..., bool] | None, algorithm: str) -> None:
    """Raise a ValueError where units may hold their values, but the rule is not defined for that."""
    if policy.holds_values and rule not in RULES:
        raise ValueError(
            f"{algorithm} is not defined for units that hold their values, as WeightMax and Reinforce are: firing_rate must "
            f"be 1, not {policy.firing_rate!r}."
        )


def sample_holding(
    policy: ActingPolicy, observation: Any, state: tuple[np.ndarray, ...] | None, episode_start: np.ndarray | None
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Sampled actions, and the values of all layers, shape (n_envs, width), as the state of the next call.

    Args:
        state: what the call before gave; None at the beginning, where all units fire.
        episode_start: where they fire too, shape (n_envs,).
    """
    given, is_vectorized = policy.obs_to_tensor(observation)
    inputs = policy.encode(given.numpy() if isinstance(given, th.Tensor) else given)
    n, network, rng = len(inputs), policy.actor, policy._prediction_rng
    activity, noise = network.activity(n), network.draw_noise(rng, 1, n)
    network.silence(noise, rng, policy.exploration_probability)
    fires = firing(network, rng, (1, n), policy.firing_rate)
    if state is None:
        fires[:] = 1.0
    else:
        held = state[0] if isinstance(state, tuple | list) and state else state
        if np.shape(held) != activity[VALUES].shape:
            raise ValueError(
                f"state must be what the last call of predict gave for as many observations, an array of shape "
                f"{activity[VALUES].shape} in a tuple, not of {np.shape(held)}; None begins anew."
            )
        activity[VALUES] = held
        if episode_start is not None:
            starts = np.asarray(episode_start, bool)
            if starts.shape not in ((), (n,)):
                raise ValueError(
                    f"episode_start must hold one truth value for each of {n} observations, not {episode_start!r}."
                )
            fires[0, starts] = 1.0
    if not forward(network.structure, activity, inputs, np.concatenate([noise, fires], axis=2), 0, SAMPLE):
        raise ValueError("The observations contain NaN or infinity, or the network's parameters have diverged.")
    values = activity[VALUES].copy()
    actions = policy.to_actions(values[:, network.slot(-1)])
    return (actions if is_vectorized else actions.squeeze(axis=0)), (values,)
