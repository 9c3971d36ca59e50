"""What becomes of the neurons of Decentralized DDPG: saturation, and the direction in which their critics send them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from coagent_rl.agents.decentralized_ddpg import DecentralizedDDPG
from coagent_rl.arrays import SCORES, VALUES
from coagent_rl.critics.per_neuron import look_at_slopes
from coagent_rl.networks.forward import forward
from coagent_rl.networks.units import MEAN

SATURATED = 0.1
"""A neuron is saturated where its slope μ' is below this share of the steepest: a tanh unit beyond ±0.949."""
_STEEPEST = {"gaussian_tanh": 1.0, "gaussian_sigmoid": 0.25}


@dataclass(frozen=True)
class NeuronStates:
    """Shares over the neurons of each layer, the output layer last; every attribute has shape (depth,).

    Attributes:
        saturation: of (neuron, observation) pairs in which the neuron is saturated. A unit of any other kind than tanh and
            sigmoid counts where its slope is zero.
        one_sign: of neurons whose ∂Q/∂a has the same sign for all observations (or is zero, as that of compatible critics is
            in full saturation): they are sent one way, whatever they see.
    """

    saturation: np.ndarray
    one_sign: np.ndarray


def neuron_states(model: DecentralizedDDPG, observations: np.ndarray) -> NeuronStates:
    """Describe all neurons for a batch of observations, without noise.

    Args:
        observations: the network's inputs (normalised, where the model has a normaliser), shape (n, n_inputs).

    Raises:
        ValueError: for another agent, whose neurons have no critics; if these, or what they see, are not finite.
    """
    if not isinstance(model, DecentralizedDDPG):
        raise ValueError(f"neuron_states describes DecentralizedDDPG agents, not {type(model).__name__}.")
    network, critics = model.policy.actor, model.neuron_critics
    activity = network.activity(len(observations))
    activity[VALUES][:, : network.n_inputs] = observations
    inputs = np.ascontiguousarray(observations, dtype=network.parameters.dtype)
    # In this mode no noise is read: any array of its type will do.
    finite = forward(network.structure, activity, inputs, activity, 0, MEAN)
    sent_by_critics = np.zeros(activity.shape[1:], activity.dtype)
    if not (finite and look_at_slopes(model.actor_learner.acting(activity), critics.arrays, sent_by_critics)):
        raise ValueError("The observations or the neurons' critics are not finite.")
    saturation, one_sign = np.empty(network.depth), np.empty(network.depth)
    for index, layer in enumerate(network.layers):
        slopes, sent = activity[SCORES][:, network.slot(index)], sent_by_critics[:, network.slot(index)]
        saturation[index] = np.mean(slopes <= SATURATED * _STEEPEST.get(layer.kind, 0.0) / layer.temperature)
        one_sign[index] = np.mean(np.all(sent >= 0, axis=0) | np.all(sent <= 0, axis=0))
    return NeuronStates(saturation, one_sign)


class NeuronWatch(BaseCallback):
    """Follow `neuron_states` of a `DecentralizedDDPG` agent through training.

    Args:
        every: time steps between two looks.
        n_observations: how many of the latest observations of the first environment are looked at.

    Attributes:
        timesteps: time step of each look.
        states: what was seen.
    """

    model: DecentralizedDDPG

    def __init__(self, every: int = 2000, n_observations: int = 1000) -> None:
        super().__init__()
        self.every, self.n_observations = every, n_observations
        self.timesteps: list[int] = []
        self.states: list[NeuronStates] = []

    def _init_callback(self) -> None:
        if not isinstance(self.model, DecentralizedDDPG):
            raise ValueError(f"NeuronWatch follows DecentralizedDDPG agents, not {type(self.model).__name__}.")

    def _on_training_start(self) -> None:
        self._seen = np.zeros((self.n_observations, self.model.policy.actor.n_inputs), np.float32)
        self._n_seen, self._next = 0, self.num_timesteps + self.every

    def _on_step(self) -> bool:
        self._seen[self._n_seen % self.n_observations] = self.locals["observations"][0]
        self._n_seen += 1
        if self.num_timesteps >= self._next:
            self._next += self.every
            self.timesteps.append(self.num_timesteps)
            self.states.append(neuron_states(self.model, self._seen[: self._n_seen]))
        return True
