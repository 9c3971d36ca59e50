"""What a model writes to its logger, and the name of its runs."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.utils import safe_mean

from coagent_rl.arrays import MEANS, VALUES
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.layout import END, SLOT, WEIGHTS

if TYPE_CHECKING:
    from coagent_rl.agents.base import CoagentAlgorithm

N_RECENT = 1000


def remember(recent: deque[bytes], errors: np.ndarray) -> None:
    """Append the TD errors of many learning steps, shape (n_steps, n_rows), to a deque of one bytes object a step.

    Bytes, because making them costs a sixth of what writing into an array does, at every step of training in Python.
    """
    size = errors.itemsize * errors.shape[1]
    data = errors[-N_RECENT:].tobytes()
    recent.extend(data[begin : begin + size] for begin in range(0, len(data), size))


def remembered(recent: deque[bytes]) -> np.ndarray:
    """TD errors of all steps that are kept, as one vector."""
    return np.frombuffer(b"".join(recent))


def run_name(model: CoagentAlgorithm) -> str:
    """Name of a model's runs in TensorBoard: agent and environment, where that has a name."""
    assert model.env is not None
    try:
        env_id = model.env.get_attr("spec", 0)[0].id
    except (AttributeError, NotImplementedError):
        return model.algorithm
    return f"{model.algorithm}_{env_id.replace('/', '-')}"


def record_training(model: CoagentAlgorithm) -> None:
    """Give the logger everything about training so far.

    What the neurons do is that of the last step, for all environments together; TD errors are those of the last 1 000
    learning steps. All of it is the same bits whether training is compiled or goes step by step, except for times. Numbers
    of single layers are not printed, but in every other output.
    """
    logger = model.logger
    assert model.ep_info_buffer is not None
    assert model.ep_success_buffer is not None
    elapsed = max((time.time_ns() - model.start_time) / 1e9, sys.float_info.epsilon)
    if model.ep_info_buffer:
        logger.record("rollout/ep_rew_mean", safe_mean([info["r"] for info in model.ep_info_buffer]))
        logger.record("rollout/ep_len_mean", safe_mean([info["l"] for info in model.ep_info_buffer]))
    if model.ep_success_buffer:
        logger.record("rollout/success_rate", safe_mean(list(model.ep_success_buffer)))
    logger.record("time/episodes", model._episode_num, exclude="tensorboard")
    logger.record("time/fps", int((model.num_timesteps - model._num_timesteps_at_start) / elapsed))
    logger.record("time/time_elapsed", int(elapsed), exclude="tensorboard")
    logger.record("time/total_timesteps", model.num_timesteps, exclude="tensorboard")
    record_learning(model)


def record_learning(model: CoagentAlgorithm) -> None:
    """The part of `record_training` that is about networks and learners, not about episodes and time."""
    logger = model.logger
    logger.record("train/n_updates", model._n_updates, exclude="tensorboard")
    if not logger.output_formats:
        return  # nobody reads it
    errors = model._td_errors()
    if errors.size:
        logger.record("train/td_error", float(np.mean(np.abs(errors))))
        logger.record("train/td_error_mean", float(np.mean(errors)))
        logger.record("train/td_error_std", float(np.std(errors)))
    logger.record("train/entropy", entropy(model.policy.actor, model._acting[MEANS]))
    logger.record("train/learning_rate", float(model.actor_learner.learning_rates(model.num_timesteps)[-1]))
    for name, learner in model._rated().items():
        network = name.removesuffix("_learning_rate")
        for layer, rate in enumerate(learner.learning_rates(model.num_timesteps)):
            logger.record(f"learning_rate/{network}_{layer}", float(rate), exclude="stdout")
        if isinstance(learner, Learner):
            acting = model._acting if network == "actor" else learner.activity
            _record_layers(logger, network, learner, acting)


def _record_layers(logger: Any, name: str, learner: Learner, activity: np.ndarray) -> None:
    network = learner.network
    for index, layer in enumerate(network.layers):
        if index < network.depth - 1:
            values = activity[VALUES if layer.kind == "categorical" else MEANS][:, network.slot(index)]
            logger.record(f"activity/{name}_{index}", float(values.mean(dtype=np.float64)), exclude="stdout")
        logger.record(f"weight_norm/{name}_{index}", float(np.linalg.norm(network.weights(index))), exclude="stdout")
        if learner.traces.shape[0]:
            begin, end = network.layout[index, WEIGHTS], network.layout[index, END]
            norms = np.linalg.norm(learner.traces[:, begin:end], axis=1)
            logger.record(f"trace_norm/{name}_{index}", float(norms.mean(dtype=np.float64)), exclude="stdout")


def entropy(network: Network, means: np.ndarray) -> float:
    """Entropy of the output units' distribution given the layer below, in nats, averaged over the rows.

    Args:
        network: the actor.
        means: of its units, shape (n_rows, width), see `coagent_rl.networks.forward`.
    """
    layer, first = network.layers[-1], int(network.layout[-1, SLOT])
    n = layer.n_values
    if layer.is_gaussian:
        deviations = means[:, first + n : first + 2 * n].astype(np.float64)
        return float(np.sum(0.5 * math.log(2.0 * math.pi * math.e) + np.log(deviations), axis=1).mean())
    p = means[:, first : first + max(n, layer.n_pre)].astype(np.float64)
    if layer.kind == "bernoulli":
        p = np.concatenate([p, 1.0 - p], axis=1)
    return float(-np.sum(p * np.log(np.where(p > 0.0, p, 1.0)), axis=1).mean())
