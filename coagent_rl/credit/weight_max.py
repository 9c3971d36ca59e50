"""Weight Maximization: a hidden unit is rewarded by the growth of its outgoing weights."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import place, weights_of
from coagent_rl.optimizers import ascend, below_limit, share_of_step, update
from coagent_rl.traces import accumulate, accumulate_delayed, three_factor_update

# The rule's options.
NORM_ORDER, TRACE_GAIN = range(2)


@part
def growth_of_norm(weight: float, change: float, norm_order: float) -> float:
    """p |w|^(p-1) sgn(w) Δw, the first-order change of |w|^p."""
    slope = norm_order * abs(weight) ** (norm_order - 1.0)
    return slope * change if weight > 0 else (-slope * change if weight < 0 else 0.0)


@part
def outgoing_weight_growth(weights: Array, trace: Array, signal_above: Array, norm_order: float, signal: Array) -> None:
    """R_i = Σ_j p |w_ij|^(p-1) sgn(w_ij) Δw_ij with Δw_ij = e_ij R_j, the first-order change of ‖w_i‖_p^p.

    Unit i reads nothing but its own outgoing weights and how they are about to change. Δw is the raw product of trace and
    signal, before the optimizer and without weight decay; w is the weight before the update; biases take no part.

    Args:
        weights: w, shape (n, n_above), from this layer's units to the layer above.
        trace: e, shape (n, n_above), eligibility traces of these weights.
        signal_above: shape (n_above,), the reinforcement R of the layer above.
        norm_order: p ≥ 1.
        signal: shape (n,), overwritten with R.

    Source: Chung (2022), eq. 4, which is p = 2 up to its factor of two; appendix C for other p.
    """
    n, n_above = weights.shape
    for i in range(n):
        total = weights.dtype.type(0.0)
        if norm_order == 2.0:
            for j in range(n_above):
                total += weights[i, j] * trace[i, j] * signal_above[j]
            total *= weights.dtype.type(2.0)
        else:
            for j in range(n_above):
                total += growth_of_norm(weights[i, j], trace[i, j] * signal_above[j], norm_order)
        signal[i] = total


@part
def present_weight_growth(weights: Array, values: Array, changes_above: Array, norm_order: float, signal: Array) -> None:
    """`outgoing_weight_growth` without traces: there e_ij = h_i s_j, so Δw_ij = h_i (s_j R_j).

    A unit whose value is zero has no part in the change of any weight, and no signal.

    Args:
        weights, norm_order, signal: as there.
        values: h, shape (n,).
        changes_above: s_j R_j, shape (n_above,).
    """
    n, n_above = weights.shape
    for i in range(n):
        total = weights.dtype.type(0.0)
        if values[i] != 0.0:
            if norm_order == 2.0:
                for j in range(n_above):
                    total += weights[i, j] * changes_above[j]
                total *= weights.dtype.type(2.0)
            else:
                for j in range(n_above):
                    total += growth_of_norm(weights[i, j], changes_above[j], norm_order)
            total *= values[i]
        signal[i] = total


@part
def hidden_signals(learner: LearnerArrays, from_the_top: bool) -> None:
    """Write the signals of all hidden units and rows, from how their outgoing weights are about to change.

    Args:
        learner: with the output's signals, and traces or scores.
        from_the_top: whether a layer's new signals decide those of the layers below it in the same step. Otherwise each
            layer reads what the layer above learned from in this step, before it is replaced.
    """
    layout, parameters, traces = learner.layout, learner.parameters, learner.traces
    values, scores, signals, changes = learner.values, learner.scores, learner.signals, learner.changes
    norm_order, top = learner.options[NORM_ORDER], layout.shape[0] - 1
    for row in range(values.shape[0]):
        for number in range(top):
            here = place(layout, top - number if from_the_top else 1 + number)
            weights = weights_of(here, parameters)
            above = signals[row, here.slot : here.slot + here.n_pre]
            below = signals[row, here.inputs : here.inputs + here.n_inputs]
            if traces.shape[0] > 0:
                outgoing_weight_growth(weights, weights_of(here, traces[row]), above, norm_order, below)
            else:
                change = changes[row, here.slot : here.slot + here.n_pre]
                for j in range(here.n_pre):
                    change[j] = scores[row, here.slot + j] * above[j]
                units = values[row, here.inputs : here.inputs + here.n_inputs]
                present_weight_growth(weights, units, change, norm_order, below)


@part
def listen_at_the_output(learner: LearnerArrays, reinforcements: Array) -> None:
    """The signals of the output layer's units are what the critic tells them; see `coagent_rl.credit.reinforce.listen`."""
    slot = place(learner.layout, learner.layout.shape[0] - 1).slot
    for row in range(reinforcements.shape[0]):
        for k in range(slot, reinforcements.shape[1]):
            learner.signals[row, k] = reinforcements[row, k]


@kernel
def learn_weight_max(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: scores → traces → signals, from the output layer down → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`; the option NORM_ORDER is the p
    of the L^p norm.
    """
    learner = named(arrays)
    local_scores(learner)
    accumulate(learner, episode_starts)
    listen_at_the_output(learner, reinforcements)
    hidden_signals(learner, True)
    return update(learner, time)


@part
def learn_pipelined_from_scores(learner: LearnerArrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step of eqs. 13-17, given the scores: all layers learn at once from what the step before told them.

    The option TRACE_GAIN is the factor 1 - λ of eq. 13; `coagent_rl.traces.accumulate_delayed` explains the delay line.

    Source: Chung (2022), eqs. 13-17.
    """
    gain = learner.parameters.dtype.type(learner.options[TRACE_GAIN])
    for row in range(learner.scores.shape[0]):
        for k in range(learner.scores.shape[1]):
            learner.scores[row, k] *= gain
    listen_at_the_output(learner, reinforcements)
    accumulate_delayed(learner, episode_starts)
    three_factor_update(learner)
    if not below_limit(learner.direction):
        return False
    share = share_of_step(learner, time)  # of the signals that the direction is made of
    hidden_signals(learner, False)
    ascend(learner, time, True, share)
    return True


@kernel
def learn_weight_max_pipelined(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """`learn_pipelined_from_scores` from the scores of what the units just did."""
    learner = named(arrays)
    local_scores(learner)
    return learn_pipelined_from_scores(learner, reinforcements, episode_starts, time)
