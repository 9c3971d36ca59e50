"""One episode of a trained agent with all that its neurons did: what recordings and pages show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.arrays import MEANS, SCORES, TRACE_DECAY, VALUES, named
from coagent_rl.networks import Network
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.units import DETERMINISTIC, UNIT_KINDS

MOST_STEPS = 1000
"""An episode is followed no longer than this."""


@dataclass
class Episode:
    """What happened, step by step; T is the number of steps.

    Attributes:
        env_id: the task.
        network: the actor's.
        decay: γλ, by which the neurons' traces decay.
        frames: the environment's picture before each step, shape (height, width, 3); empty where it cannot be drawn.
        values: what inputs and units were, an array a layer from the input side, shape (T, n); where the policy averages
            over samples of the hidden units (``deterministic_mode="marginal"``), the mean over these.
        means: what they were drawn around (firing probabilities of Bernoulli units, probabilities of actions), shapes as
            ``values``; the inputs themselves; expected levels of categorical units.
        traces: eligibility of each unit's bias, e ← γλ e + ∂ log π(value) / ∂z, from the scores of what was drawn; shapes
            as ``values``. NaN where there is none: inputs, deterministic and categorical units, the reference of a softmax
            layer, and where the policy averages over samples.
        chosen: index of the chosen action, shape (T,); -1 where actions are not one of several.
        actions: what the environment was given, flat, shape (T, n), float64.
        rewards: shape (T,), float64.
        estimates: what the critic thought of each state, shape (T,); NaN without a critic.
        averaged: whether the policy averages over samples of the hidden units.
        ended: whether the episode ended, or was followed no further.
    """

    env_id: str
    network: Network
    decay: float
    frames: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    means: list[np.ndarray] = field(default_factory=list)
    traces: list[np.ndarray] = field(default_factory=list)
    chosen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    actions: np.ndarray = field(default_factory=lambda: np.zeros((0, 1)))
    rewards: np.ndarray = field(default_factory=lambda: np.zeros(0))
    estimates: np.ndarray = field(default_factory=lambda: np.zeros(0))
    averaged: bool = False
    ended: bool = False

    @property
    def n_steps(self) -> int:
        return len(self.rewards)

    @property
    def returns(self) -> np.ndarray:
        """Sum of the rewards up to each step and with it, shape (T,)."""
        return np.cumsum(self.rewards)


def watch(model: CoagentAlgorithm, env: VecEnv, env_id: str, deterministic: bool = True) -> Episode:
    """Let an agent act for an episode, and keep what its neurons did. The environment is closed.

    Args:
        env: one environment; its pictures are kept if it was made with ``render_mode="rgb_array"`` and can be drawn.
        deterministic: of `predict`.

    Raises:
        ValueError: for several environments.
    """
    if env.num_envs != 1:
        raise ValueError(f"One environment is watched at a time, not {env.num_envs}.")
    actor, policy = model.policy.actor, model.policy
    episode = Episode(env_id, actor, float(model.actor_learner.settings[TRACE_DECAY]))
    steps: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = []
    chosen: list[int] = []
    taken: list[np.ndarray] = []
    rewards: list[float] = []
    estimates: list[float] = []
    start = int(getattr(model.action_space, "start", 0)) if isinstance(model.action_space, spaces.Discrete) else None
    observations: Any = env.reset()
    with _listening(actor) as heard:
        while not episode.ended and len(rewards) < MOST_STEPS:
            if env.render_mode == "rgb_array" and (frame := env.render()) is not None:
                episode.frames.append(np.asarray(frame))
            estimates.append(float(policy.predict_values(observations)[0, 0]) if policy.critic is not None else np.nan)
            actions, _ = model.predict(observations, deterministic=deterministic)
            steps.append(_layers(model, *heard[-1]))
            episode.averaged = len(heard[-1][0]) > 1
            chosen.append(-1 if start is None else int(actions[0]) - start)
            taken.append(np.asarray(actions[0], dtype=float).ravel())
            observations, given, dones, _ = env.step(actions)
            rewards.append(float(given[0]))
            episode.ended = bool(dones[0])  # the environment has been reset already
    env.close()
    episode.values, episode.means, scores = ([np.stack(one) for one in zip(*part, strict=True)] for part in _parts(steps))
    episode.traces = [_decaying_sum(one, episode.decay) for one in scores]
    episode.chosen, episode.actions = np.array(chosen), np.array(taken)
    episode.rewards, episode.estimates = np.array(rewards), np.array(estimates)
    return episode


@contextmanager
def _listening(network: Network) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Keep what `Network.activities` last returned: whatever a policy does with it, this is what its units did."""
    inner = network.activities
    heard: list[tuple[np.ndarray, np.ndarray]] = []

    def activities(*args: Any, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        heard[:] = [inner(*args, **kwargs)]
        return heard[0]

    network.activities = activities  # type: ignore[method-assign]
    try:
        yield heard
    finally:
        del network.activities  # the method of the class comes back


def _layers(
    model: CoagentAlgorithm, values: np.ndarray, means: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Values, means and scores of the inputs and every layer, each of shape (n,), from those of shape (n_samples, width)."""
    network = model.policy.actor
    activity = network.activity(len(values))
    activity[VALUES], activity[MEANS] = values, means
    if len(values) == 1:
        local_scores(named(model.actor_learner.acting(activity)))
    inputs = values[0, : network.n_inputs]
    result = [(inputs, inputs, np.full_like(inputs, np.nan))]
    for index, layer in enumerate(network.layers):
        slot = network.slot(index)
        mean = means[:, slot].mean(axis=0)
        scores = np.full(layer.n_values, np.nan, values.dtype)
        if layer.kind == "categorical":
            shares = means[:, slot.start : slot.start + layer.n_pre].mean(axis=0)
            mean = (shares.reshape(layer.n_values, -1) @ np.array(layer.levels)).astype(values.dtype)
        elif UNIT_KINDS[layer.kind][0] != DETERMINISTIC and len(values) == 1:
            scores[: layer.n_pre] = activity[SCORES][0, slot.start : slot.start + layer.n_pre]
        result.append((values[:, slot].mean(axis=0), mean, scores))
    return result


def _parts(steps: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]]) -> list[list[list[np.ndarray]]]:
    """Step → layer → part, the other way round: part → step → layer."""
    return [[[layer[part] for layer in step] for step in steps] for part in range(3)]


def _decaying_sum(scores: np.ndarray, decay: float) -> np.ndarray:
    """e_t = decay · e_(t-1) + score_t along the first axis, shape of ``scores``."""
    result = scores.copy()
    for step in range(1, len(result)):
        result[step] += result.dtype.type(decay) * result[step - 1]
    return result
