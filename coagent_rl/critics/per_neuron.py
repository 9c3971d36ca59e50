"""One small critic per neuron, over the neuron's inputs and its own output."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch as th

from coagent_rl.credit.deterministic_policy_gradient import (
    COMPATIBLE,
    CRITIC_KINDS,
    LINEAR_CRITIC,
    QUADRATIC,
    n_action_features,
)
from coagent_rl.kernel import TINY, Array, flush, kernel
from coagent_rl.learner import copies, put_back
from coagent_rl.networks import Network
from coagent_rl.networks.forward import MEANS, SCORES, SIGNALS, VALUES, forward
from coagent_rl.networks.layout import BIASES, END, N_INPUTS, N_VALUES, TEMPERATURE, WEIGHTS
from coagent_rl.networks.units import MEAN, slope
from coagent_rl.optimizers import DIRECTION, OPTIMIZERS, TRACE_DECAY, ascend
from coagent_rl.schedules import LinearSchedule


@kernel
def neuron_features(
    kind: int, shared: bool, inputs: Array, values: Array, means: Array, slopes: Array, features: Array
) -> None:
    """Features of every neuron's critic in one layer and row.

    Args:
        kind: a code of `CRITIC_KINDS`.
        shared: whether the TD error comes from a shared critic. Then neurons learn how it depends on their output alone:
            there are no features of the state, and those of the output are differences to what they are at a = μ.
        inputs: v, shape (n_in,).
        values, means, slopes: a, μ(v) and μ', shape (n,).
        features: shape (n_features, n), overwritten: v and 1 (unless ``shared``), then as in `CRITIC_KINDS`.
    """
    n_in, n = inputs.size, features.shape[1]
    first = 0
    if not shared:
        first = n_in + 1
        for i in range(n_in):
            for j in range(n):
                features[i, j] = inputs[i]
        for j in range(n):
            features[n_in, j] = 1.0
    for j in range(n):
        difference = values[j] - means[j]
        if kind == COMPATIBLE:
            features[first, j] = difference * slopes[j]
        else:
            features[first, j] = difference if shared else values[j]
    if kind != LINEAR_CRITIC:
        for i in range(n_in):
            for j in range(n):
                features[first + 1 + i, j] = inputs[i] * features[first, j]
    if kind == QUADRATIC:
        for j in range(n):
            square = values[j] * values[j]
            features[first + 1 + n_in, j] = square - means[j] * means[j] if shared else square


@kernel
def predictions(weights: Array, features: Array, out: Array) -> None:
    """Σ_i w_ij φ_ij of each neuron j, for weights and features of shape (n_features, n) and out of shape (n,)."""
    for j in range(out.size):
        out[j] = 0.0
    for i in range(features.shape[0]):
        for j in range(out.size):
            out[j] += weights[i, j] * features[i, j]


@kernel
def learn_neuron_critics(
    layout: Array,
    constants: Array,
    critic_layout: Array,
    settings: Array,
    rates: Array,
    weights: Array,
    memory: Array,
    traces: Array,
    activity: Array,
    next_activity: Array,
    target_weights: Array,
    features: Array,
    errors: Array,
    kind: int,
    shared: bool,
    reinforcements: Array,
    terminated: Array,
    ignored: Array,
    episode_starts: Array,
    discount: float,
    time: float,
) -> bool:
    """One learning step of the critics of all neurons.

    With TD errors of their own, δ_j = R + γ Q_j'(v', μ'(v')) - Q_j(v, a) where Q' is a target copy, e_j ← γλ e_j + φ_j and
    w_j ← w_j + α ((δ_j - c_j) e_j + c_j φ_j) with c_j = Q_j'(v, a) - Q_j(v, a): the errors that a trace adds up must be of
    one function, Q', or they do not make a λ-return. (Without traces this is α δ_j φ_j.) With a shared TD error δ a neuron
    learns the part of it that goes with its own output: w_j ← w_j + α (δ e_j - A_j φ_j), with A_j = w_j·φ_j.

    Args:
        layout, constants: of the actor, see `coagent_rl.networks.Network`.
        critic_layout: the same table with the places of the critics' weights, of shape (n_features, n) in each layer.
        settings, rates: as in `coagent_rl.learner.Learner`.
        weights, memory, traces: shapes (n_weights,), (3, n_weights) and (n_rows, n_weights).
        activity: the actor's, shape (4, n_rows, width), VALUES and MEANS of what it did; SCORES become the slopes μ'.
        next_activity: the same for the next observation, by the target copy of the actor and without noise.
        target_weights: target copy of ``weights``.
        features: room, shape (n_weights,).
        errors: shape (n_rows, width), overwritten with the error that each neuron learned from.
        kind: a code of `CRITIC_KINDS`.
        shared: whether ``reinforcements`` are TD errors of a shared critic, not rewards.
        reinforcements, terminated, ignored, episode_starts: shape (n_rows,), see `coagent_rl.critics.td_lambda.td_lambda`.
        discount: γ.
        time: environment steps so far.

    Returns:
        Whether all errors and predictions are finite; nothing is learned where one is not.

    Source: Guss (2016), §4.2; Silver et al. (2014), §4.3; Bhatnagar et al. (2009) for the shared error.
    """
    real = weights.dtype.type
    keep, tiny, zero, share = real(settings[TRACE_DECAY]), real(TINY), real(0.0), real(1.0 / traces.shape[0])
    direction = memory[DIRECTION]
    direction[:] = zero
    for row in range(traces.shape[0]):
        for index in range(layout.shape[0]):
            _, activation, n_in, n, _, _, _, _, _, inputs, slot = layout[index]
            start, end = critic_layout[index, WEIGHTS], critic_layout[index, END]
            n_features = critic_layout[index, N_INPUTS]
            φ = features[start:end].reshape(n_features, n)
            error = errors[row, slot : slot + n]
            learns_alone = not shared and not ignored[row]
            error[:] = zero if ignored[row] else reinforcements[row]
            if learns_alone and not terminated[row]:
                # At a = μ(v) the slopes do not matter: compatible features vanish there.
                after = next_activity[VALUES, row]
                v, a = after[inputs : inputs + n_in], next_activity[MEANS, row, slot : slot + n]
                neuron_features(kind, False, v, a, a, a, φ)
                bootstrapped = next_activity[SCORES, row, slot : slot + n]
                predictions(target_weights[start:end].reshape(n_features, n), φ, bootstrapped)
                for j in range(n):
                    error[j] += real(discount) * bootstrapped[j]
            v, a = activity[VALUES, row, inputs : inputs + n_in], activity[VALUES, row, slot : slot + n]
            μ, slopes = activity[MEANS, row, slot : slot + n], activity[SCORES, row, slot : slot + n]
            slope(activation, constants[index, TEMPERATURE], μ, slopes)
            neuron_features(kind, shared, v, a, μ, slopes, φ)
            correction = next_activity[SCORES, row, slot : slot + n]
            predictions(weights[start:end].reshape(n_features, n), φ, correction)
            summed = next_activity[SIGNALS, row, slot : slot + n]
            if learns_alone:
                predictions(target_weights[start:end].reshape(n_features, n), φ, summed)
            for j in range(n):
                if learns_alone:
                    error[j] -= correction[j]
                    correction[j] = summed[j] - correction[j]
                    summed[j] = error[j] - correction[j]
                else:
                    correction[j] = zero if ignored[row] else -correction[j]
                    summed[j] = error[j]
                if not (math.isfinite(error[j]) and math.isfinite(correction[j])):
                    return False
            e, d = traces[row, start:end].reshape(n_features, n), direction[start:end].reshape(n_features, n)
            cleared = episode_starts[row] or settings[TRACE_DECAY] == 0.0
            for i in range(n_features):
                for j in range(n):
                    trace = φ[i, j] if cleared else flush(keep * e[i, j] + φ[i, j], tiny, zero)
                    e[i, j] = trace
                    d[i, j] += share * (summed[j] * trace + correction[j] * φ[i, j])
    ascend(critic_layout, settings, rates, weights, memory, time)
    return True


@kernel
def follow(target: Array, source: Array, rate: float) -> None:
    """Target copy: target ← target + τ (source - target), arrays of shape (n,)."""
    τ = target.dtype.type(rate)
    for k in range(target.size):
        target[k] += τ * (source[k] - target[k])


class NeuronCritics:
    """The critics of all neurons of a network, and target copies of them and of the network.

    Args:
        network: the actor, of Gaussian units (noise inside) with a mean of z.
        n_rows: number of environments, or of transitions in a batch.
        kind: a name in `CRITIC_KINDS`.
        shared: whether the TD error comes from a shared critic.
        learning_rate: one rate per layer of the actor.
        optimizer: a name in `coagent_rl.optimizers.OPTIMIZERS`.
        discount: γ.
        trace_decay: γλ per step.
        tau: τ, the share by which target copies follow in each learning step.
    """

    _ARRAYS = ("weights", "memory", "traces", "target_weights", "target_parameters")

    def __init__(
        self,
        network: Network,
        n_rows: int,
        kind: str,
        shared: bool,
        learning_rate: LinearSchedule,
        optimizer: str,
        discount: float,
        trace_decay: float,
        tau: float,
    ) -> None:
        self.network, self.kind, self.shared, self.discount, self.tau = network, CRITIC_KINDS[kind], shared, discount, tau
        self.layout = network.layout.copy()
        offset = 0
        for row in self.layout:
            n_in = row[N_INPUTS]
            row[N_INPUTS] = (0 if shared else n_in + 1) + n_action_features(self.kind, n_in)
            row[WEIGHTS], offset = offset, offset + row[N_INPUTS] * row[N_VALUES]
            row[BIASES] = row[END] = offset
        dtype = network.parameters.dtype
        self.rates = learning_rate.table(network.depth, "neuron_critic_learning_rate")
        self.settings = np.array([OPTIMIZERS[optimizer], learning_rate.steps, 0.0, trace_decay, 0.0])
        self.weights, self.target_weights, self._features = (np.zeros(offset, dtype) for _ in range(3))
        self.memory, self.traces = np.zeros((3, offset), dtype), np.zeros((n_rows, offset), dtype)
        self.target_parameters = network.parameters.copy()
        self._next_activity = network.activity(n_rows)
        self.errors = np.zeros((n_rows, network.width), dtype)

    def learn(
        self,
        activity: np.ndarray,
        reinforcements: np.ndarray,
        next_observations: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
        time: int,
    ) -> bool:
        """One learning step, and one of the target copies; see `learn_neuron_critics` for arguments and result."""
        network = self.network
        if not self.shared:
            structure = (network.layout, network.constants, self.target_parameters)
            # In this mode no noise is read: any array of its type will do.
            forward(*structure, self._next_activity, next_observations, self._next_activity, 0, MEAN)
        learned = learn_neuron_critics(
            network.layout,
            network.constants,
            self.layout,
            self.settings,
            self.rates,
            self.weights,
            self.memory,
            self.traces,
            activity,
            self._next_activity,
            self.target_weights,
            self._features,
            self.errors,
            self.kind,
            self.shared,
            reinforcements,
            terminated,
            ignored,
            episode_starts,
            self.discount,
            time,
        )
        if learned and not self.shared:
            follow(self.target_weights, self.weights, self.tau)
            follow(self.target_parameters, network.parameters, self.tau)
        return bool(learned)

    def state_dict(self) -> dict[str, th.Tensor]:
        """Everything that must survive between two steps, as copies."""
        return copies({name: getattr(self, name) for name in self._ARRAYS}, self.settings)

    def load_state_dict(self, state: Mapping[str, th.Tensor], strict: bool = True) -> None:
        """Put back what `state_dict` gave; traces of another number of environments begin anew.

        Raises:
            ValueError: for missing or unknown names (where ``strict``), or the weights of another network.
        """
        put_back(state, {name: getattr(self, name) for name in self._ARRAYS}, self.settings, ("traces",), strict)
