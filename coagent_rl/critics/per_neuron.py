"""One small critic per neuron, over the neuron's inputs and its own output."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch as th

from coagent_rl.arrays import (
    NOISE_STEP,
    SCHEDULE_STEPS,
    SIGNALS,
    TRACE_DECAY,
    Arrays,
    LearnerArrays,
    Transition,
    named,
    structure,
    transition_of,
)
from coagent_rl.credit.deterministic_policy_gradient import (
    CRITIC_KINDS,
    action_slopes,
    n_action_features,
    neuron_features,
    predictions,
)
from coagent_rl.critics.critic import Critic
from coagent_rl.critics.map_prop import MAPPropCritic, map_prop_td
from coagent_rl.critics.reward import RewardCritic, rewards_as_reinforcements
from coagent_rl.critics.td_lambda import TDLambdaCritic, td_lambda
from coagent_rl.kernel import TINY, Array, flush, kernel
from coagent_rl.learner import copies, put_back
from coagent_rl.networks import Network
from coagent_rl.networks.forward import forward
from coagent_rl.networks.layout import (
    BIASES,
    END,
    N_INPUTS,
    N_VALUES,
    RATE_END,
    RATE_START,
    TEMPERATURE,
    WEIGHTS,
    Place,
    place,
)
from coagent_rl.networks.units import MEAN, slope
from coagent_rl.optimizers import CRITIC_KAPPA, OPTIMIZERS, ascend, below_limit, share_of_step
from coagent_rl.schedules import LinearSchedule

# Options of the neurons' critics.
DISCOUNT, KIND, SHARED, FOLLOW_RATE = range(4)
# Rows of their memory after the optimizer's: target copies of the weights, and room for features.
TARGET_WEIGHTS, FEATURES = 3, 4


@kernel
def matrix(here: Place, vector: Array) -> Array:
    """The critics' numbers of one layer, shape (n_features, n), in a vector laid out as their weights are."""
    return vector[here.weights : here.end].reshape(here.n_inputs, here.n_values)


@kernel
def learn_neuron_critics(
    actor: LearnerArrays,
    neurons: LearnerArrays,
    targets: LearnerArrays,
    rewards: Array,
    terminated: Array,
    ignored: Array,
    episode_starts: Array,
    time: float,
) -> bool:
    """One learning step of the critics of all neurons.

    With TD errors of their own, δ_j = R + γ Q_j'(v', μ'(v')) - Q_j(v, a) where Q' is a target copy, e_j ← γλ e_j + φ_j and
    w_j ← w_j + α ((δ_j - c_j) e_j + c_j φ_j) with c_j = Q_j'(v, a) - Q_j(v, a): the errors that a trace adds up must be of
    one function, Q', or they do not make a λ-return. (Without traces this is α δ_j φ_j.) With a shared TD error δ a neuron
    learns the part of it that goes with its own output: w_j ← w_j + α (δ e_j - A_j φ_j), with A_j = w_j·φ_j.

    Args:
        actor: with values and means of what the neurons did; the scores become the slopes μ'.
        neurons: the critics. Their layout says where the weights of shape (n_features, n) of each layer lie; their signals
            become the errors δ_j; their options are DISCOUNT γ, KIND, a code of `CRITIC_KINDS`, and SHARED.
        targets: the target copy of the actor, with values and means for the next observations.
        rewards: shape (n_rows,), R, or where SHARED the TD errors of a shared critic.
        terminated, ignored, episode_starts: shape (n_rows,), see `coagent_rl.arrays.Transition`.
        time: environment steps so far.

    Returns:
        Whether all errors and predictions are finite; nothing is learned where one is not.

    Source: Guss (2016), §4.2; Silver et al. (2014), §4.3; Bhatnagar et al. (2009) for the shared error.
    """
    real = neurons.parameters.dtype.type
    kind, shared, discount = int(neurons.options[KIND]), neurons.options[SHARED] > 0.0, neurons.options[DISCOUNT]
    n_rows, decay = rewards.size, neurons.settings[TRACE_DECAY]
    has_traces = neurons.traces.shape[0] > 0
    keep, tiny, zero, share = real(decay), real(TINY), real(0.0), real(1.0 / n_rows)
    direction, features, target_weights = neurons.direction, neurons.memory[FEATURES], neurons.memory[TARGET_WEIGHTS]
    direction[:] = zero
    for row in range(n_rows):
        for index in range(actor.layout.shape[0]):
            here, own = place(actor.layout, index), place(neurons.layout, index)
            n, n_features, columns = here.n_values, own.n_inputs, slice(here.slot, here.slot + here.n_values)
            inputs = slice(here.inputs, here.inputs + here.n_inputs)
            φ = matrix(own, features)
            error = neurons.signals[row, columns]
            learns_alone = not shared and not ignored[row]
            error[:] = zero if ignored[row] else rewards[row]
            if learns_alone and not terminated[row]:
                # At a = μ(v) the slopes do not matter: compatible features vanish there.
                v, a = targets.values[row, inputs], targets.means[row, columns]
                neuron_features(kind, False, v, a, a, a, φ)
                bootstrapped = neurons.means[row, columns]
                predictions(matrix(own, target_weights), φ, bootstrapped)
                for j in range(n):
                    error[j] += real(discount) * bootstrapped[j]
            v, a = actor.values[row, inputs], actor.values[row, columns]
            μ, slopes = actor.means[row, columns], actor.scores[row, columns]
            slope(here.activation, actor.constants[index, TEMPERATURE], μ, slopes)
            neuron_features(kind, shared, v, a, μ, slopes, φ)
            correction, summed = neurons.values[row, columns], neurons.changes[row, columns]
            predictions(matrix(own, neurons.parameters), φ, correction)
            if learns_alone:
                predictions(matrix(own, target_weights), φ, summed)
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
            d = matrix(own, direction)
            if has_traces:
                e = matrix(own, neurons.traces[row])
                cleared = episode_starts[row]
                for i in range(n_features):
                    for j in range(n):
                        trace = φ[i, j] if cleared else flush(keep * e[i, j] + φ[i, j], tiny, zero)
                        e[i, j] = trace
                        d[i, j] += share * (summed[j] * trace + correction[j] * φ[i, j])
            else:
                for i in range(n_features):
                    for j in range(n):
                        d[i, j] += share * (summed[j] * φ[i, j] + correction[j] * φ[i, j])
    if not below_limit(direction):
        return False
    ascend(neurons, time, True, share_of_step(neurons, time))
    return True


@kernel
def slopes_of_critics(actor: LearnerArrays, neurons: LearnerArrays, reinforcements: Array) -> bool:
    """Write ∂Q/∂a at a = μ(v) of each neuron's own critic, and the actor's scores, the slopes μ', of all layers and rows.

    Args:
        actor: with values and means.
        neurons: the critics.
        reinforcements: shape (n_rows, width), overwritten.

    Returns:
        Whether all of them are finite; the first that is not ends it.
    """
    kind = int(neurons.options[KIND])
    for row in range(reinforcements.shape[0]):
        for index in range(actor.layout.shape[0]):
            here, own = place(actor.layout, index), place(neurons.layout, index)
            columns = slice(here.slot, here.slot + here.n_values)
            means, slopes = actor.means[row, columns], actor.scores[row, columns]
            slope(here.activation, actor.constants[index, TEMPERATURE], means, slopes)
            weights = matrix(own, neurons.parameters)[own.n_inputs - n_action_features(kind, here.n_inputs) :]
            v = actor.values[row, here.inputs : here.inputs + here.n_inputs]
            action_slopes(kind, weights, v, means, slopes, reinforcements[row, columns])
            for j in range(here.slot, here.slot + here.n_values):
                if not math.isfinite(reinforcements[row, j]):
                    return False
    return True


@kernel
def look_at_slopes(actor: Arrays, neurons: Arrays, reinforcements: Array) -> bool:
    """`slopes_of_critics` of plain tuples, for Python."""
    return slopes_of_critics(named(actor), named(neurons), reinforcements)


@kernel
def follow(target: Array, source: Array, rate: float) -> None:
    """Target copy: target ← target + τ (source - target), arrays of shape (n,)."""
    τ = target.dtype.type(rate)
    for k in range(target.size):
        target[k] += τ * (source[k] - target[k])


@kernel
def judge_neurons(
    judged: LearnerArrays,
    learners: tuple[Arrays, ...],
    given: Transition,
    time: float,
    td_errors: Array,
    reinforcements: Array,
) -> bool:
    """The neurons' critics learn from ``td_errors``, and their slopes are what the neurons are told."""
    neurons, targets = named(learners[1]), named(learners[2])
    learned = learn_neuron_critics(
        judged, neurons, targets, td_errors, given.terminated, given.ignored, given.episode_starts, time
    )
    if learned and neurons.options[SHARED] == 0.0:
        follow(neurons.memory[TARGET_WEIGHTS], neurons.parameters, neurons.options[FOLLOW_RATE])
        follow(targets.parameters, judged.parameters, neurons.options[FOLLOW_RATE])
    return learned and slopes_of_critics(judged, neurons, reinforcements)


@kernel
def neurons_with_rewards(
    learners: tuple[Arrays, ...], actor: Arrays, transition: Arrays, time: float, td_errors: Array, reinforcements: Array
) -> bool:
    """Each neuron's critic learns from the reward alone, with target copies; its slope is what the neuron is told.

    ``learners`` are those of a shared critic (not read), the neurons' critics, and the target copy of the actor. For the
    other arguments see `coagent_rl.critics.critic.Critic`.
    """
    targets, given = named(learners[2]), transition_of(transition)
    if not rewards_as_reinforcements(learners, actor, transition, time, td_errors, reinforcements):
        return False
    # In this mode no noise is read: any array of its type will do.
    step = int(targets.counters[NOISE_STEP])
    forward(structure(targets), targets.activity, given.next_observations, targets.activity, step, int(MEAN))
    return judge_neurons(named(actor), learners, given, time, td_errors, reinforcements)


@kernel
def neurons_with_td_lambda(
    learners: tuple[Arrays, ...], actor: Arrays, transition: Arrays, time: float, td_errors: Array, reinforcements: Array
) -> bool:
    """One TD(λ) critic for all; each neuron's own critic learns its part of the TD error. See `neurons_with_rewards`."""
    if not td_lambda(learners, actor, transition, time, td_errors, reinforcements):
        return False
    return judge_neurons(named(actor), learners, transition_of(transition), time, td_errors, reinforcements)


@kernel
def neurons_with_map_prop(
    learners: tuple[Arrays, ...], actor: Arrays, transition: Arrays, time: float, td_errors: Array, reinforcements: Array
) -> bool:
    """The same with a critic that learns by MAP Propagation."""
    if not map_prop_td(learners, actor, transition, time, td_errors, reinforcements):
        return False
    return judge_neurons(named(actor), learners, transition_of(transition), time, td_errors, reinforcements)


_WITH: dict[type[Critic], Callable[..., bool]] = {
    RewardCritic: neurons_with_rewards,
    TDLambdaCritic: neurons_with_td_lambda,
    MAPPropCritic: neurons_with_map_prop,
}


class NeuronCritics(Critic):
    """The critics of all neurons of a network, and target copies of them and of the network.

    Args:
        actor: of Gaussian units (noise inside) with a mean of z.
        n_rows: number of environments, or of transitions in a batch.
        shared: the critic that all neurons share, or a `RewardCritic`: then they have TD errors of their own.
        kind: a name in `CRITIC_KINDS`.
        learning_rate: one rate per layer of the actor.
        optimizer: a name in `coagent_rl.optimizers.OPTIMIZERS`.
        discount: γ.
        trace_decay: γλ per step.
        tau: τ, the share by which target copies follow in each learning step.
    """

    reads_actor = True
    diverged = (
        "The neurons' critics are not finite: their weights have diverged. Lower "
        "neuron_critic_learning_rate or actor_learning_rate"
    )
    _ARRAYS = ("weights", "memory", "traces", "target_parameters")

    def __init__(
        self,
        actor: Network,
        n_rows: int,
        shared: Critic,
        kind: str,
        learning_rate: LinearSchedule,
        optimizer: str,
        discount: float,
        trace_decay: float,
        tau: float,
    ) -> None:
        super().__init__(actor, n_rows)
        self.actor, self.kind, self.shared = actor, CRITIC_KINDS[kind], shared
        is_shared = not isinstance(shared, RewardCritic)
        layout = actor.layout.copy()
        offset = 0
        for row in layout:
            n_in = row[N_INPUTS]
            row[N_INPUTS] = (0 if is_shared else n_in + 1) + n_action_features(self.kind, n_in)
            row[WEIGHTS], offset = offset, offset + row[N_INPUTS] * row[N_VALUES]
            row[BIASES] = row[END] = offset
        dtype = actor.parameters.dtype
        options = [discount, float(self.kind), float(is_shared), tau]
        settings = np.array([OPTIMIZERS[optimizer], learning_rate.steps, 0.0, trace_decay, CRITIC_KAPPA, *options])
        nothing, no_store = np.zeros((0, 0, 0), dtype), np.zeros((0, 0, 0, 0), dtype)
        constants = actor.constants.copy()
        self.counters = np.zeros(2)
        self.weights = np.zeros(offset, dtype)
        self.traces = np.zeros((n_rows if trace_decay or optimizer == "obgd" else 0, offset), dtype)
        self.memory = np.zeros((5, offset), dtype)
        self.target_parameters = actor.parameters.copy()
        self.activity, after = actor.activity(n_rows), actor.activity(n_rows)
        critics = (layout, constants, settings, self.counters, self.weights, self.memory, self.traces, self.activity)
        unused = (np.zeros(2), self.target_parameters, np.zeros((5, 0), dtype), np.zeros((0, 0), dtype))
        self.arrays: Arrays = (*critics, nothing, no_store)
        self._targets: Arrays = (actor.layout, constants, settings, *unused, after, nothing, no_store)
        self.set_rates(learning_rate.table(actor.depth, "neuron_critic_learning_rate"), learning_rate.steps)

    @property
    def depth(self) -> int:
        """Number of the actor's layers."""
        return self.actor.depth

    def set_rates(self, table: np.ndarray, steps: float) -> None:
        """Learn with other rates from now on, see `coagent_rl.learner.Learner.set_rates`."""
        constants, settings = self.arrays[1:3]
        constants[:, [RATE_START, RATE_END]] = table.T
        settings[SCHEDULE_STEPS] = steps

    def learning_rates(self, time: float) -> np.ndarray:
        """Learning rate of each layer's critics after ``time`` environment steps."""
        constants, settings = self.arrays[1:3]
        start, end = constants[:, RATE_START], constants[:, RATE_END]
        return np.asarray(start + min(time / settings[SCHEDULE_STEPS], 1.0) * (end - start))

    @property
    def kernel(self) -> Callable[..., bool]:  # type: ignore[override]
        return _WITH[type(self.shared)]

    @property
    def errors(self) -> np.ndarray:
        """The error that each neuron's critic learned from last, shape (n_rows, width)."""
        return np.asarray(self.activity[SIGNALS])

    @property
    def learners(self) -> tuple[Arrays, ...]:
        return (self.shared.learners[0] if self.shared.learners else self.arrays, self.arrays, self._targets)

    def before_step(self) -> None:
        self.shared.before_step()

    def steps_until_draw(self) -> int:
        return self.shared.steps_until_draw()

    def drawn(self, n_steps: int) -> None:
        self.shared.drawn(n_steps)

    def state_dict(self) -> dict[str, th.Tensor]:
        """Everything that must survive between two steps, as copies."""
        return copies({name: getattr(self, name) for name in self._ARRAYS}, self.counters)

    def load_state_dict(self, state: Mapping[str, th.Tensor], strict: bool = True) -> None:
        """Put back what `state_dict` gave; traces of another number of environments begin anew.

        Raises:
            ValueError: for missing or unknown names (where ``strict``), or the weights of another network.
        """
        put_back(state, {name: getattr(self, name) for name in self._ARRAYS}, self.counters, ("traces",), strict)
