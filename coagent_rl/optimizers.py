"""Optimizers: how far to go in the direction that the rule gives. All of them ascend."""

from __future__ import annotations

import math

from coagent_rl.arrays import KAPPA, N_UPDATES, OPTIMIZER, SCHEDULE_STEPS, WEIGHT_DECAY, LearnerArrays
from coagent_rl.kernel import TINY, Array, flush, kernel, part
from coagent_rl.networks.layout import RATE_END, RATE_START, Place, place, weights_of
from coagent_rl.traces import three_factor_update

OPTIMIZERS = {"sgd": 0, "rmsprop": 1, "adam": 2, "obgd": 3}
SGD, RMSPROP, ADAM, OBGD = range(4)
BATCH_OPTIMIZERS = ("sgd", "rmsprop", "adam")
"""Those that need no traces."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RMSPROP_DECAY = 0.99
ACTOR_KAPPA, CRITIC_KAPPA = 3.0, 2.0
"""κ of `share_of_step`, as in the paper."""

LIMIT = 1e18
"""No direction may be as large as this: its square would overflow single precision, and a parameter whose running mean of
squares is infinite never moves again. Whatever comes near it has diverged."""

BLOCK = 512  # numbers of a direction that are made at once and used while they are in the processor's nearest cache


@kernel
def adam_corrections(count: float) -> tuple[float, float]:
    """1 - β1^t and √(1 - β2^t), which make up for running means that start at zero; t = ``count`` from 1."""
    return 1.0 - BETA1**count, math.sqrt(1.0 - BETA2**count)


@kernel
def step(
    optimizer: int,
    direction: Array,
    rate: float,
    corrections: tuple[float, float],
    decay: float,
    parameters: Array,
    first: Array,
    second: Array,
) -> None:
    """Move parameters up ``direction``; all arrays have the same shape (n,).

    Args:
        optimizer: SGD (w += α g), RMSPROP (w += α g / (√v + ε), decay 0.99) or ADAM (β = 0.9, 0.999, ε = 1e-8). OBGD is
            SGD here: what bounds its step is known of the whole network only, see `share_of_step`.
        direction: g.
        rate: α.
        corrections: Adam's bias corrections, see `adam_corrections`.
        decay: share of the parameters that they lose beside the optimizer's step, in the same addition: alone, a small
            one would be rounded away.
        parameters: updated in place.
        first, second: running means of g and g², updated in place.

    Source: Kingma & Ba (2015), algorithm 1; Tieleman & Hinton (2012).
    """
    real = parameters.dtype.type
    tiny, tiny_square, zero, lost = real(TINY), real(TINY * TINY), real(0.0), real(decay)
    if optimizer == ADAM:
        # α m̂ / (√v̂ + ε) with both bias corrections taken out of the loop.
        α = real(rate * corrections[1] / corrections[0])
        ε = real(EPSILON * corrections[1])
        β1, β2, γ1, γ2 = real(BETA1), real(BETA2), real(1.0 - BETA1), real(1.0 - BETA2)
        for k in range(parameters.size):
            g = flush(direction[k], tiny, zero)
            m = flush(β1 * first[k] + γ1 * g, tiny, zero)
            v = flush(β2 * second[k] + γ2 * (g * g), tiny_square, zero)
            first[k] = m
            second[k] = v
            parameters[k] += α * m / (math.sqrt(v) + ε) - lost * parameters[k]
    elif optimizer == RMSPROP:
        α, ε = real(rate), real(EPSILON)
        β2, γ2 = real(RMSPROP_DECAY), real(1.0 - RMSPROP_DECAY)
        for k in range(parameters.size):
            g = flush(direction[k], tiny, zero)
            v = flush(β2 * second[k] + γ2 * (g * g), tiny_square, zero)
            second[k] = v
            parameters[k] += α * g / (math.sqrt(v) + ε) - lost * parameters[k]
    else:
        α = real(rate)
        for k in range(parameters.size):
            parameters[k] += α * direction[k] - lost * parameters[k]


@kernel
def below_limit(values: Array) -> bool:
    """Whether all of a 1-D array are within ±`LIMIT`; NaN is not."""
    real = values.dtype.type
    limit, zero, one, beyond = real(LIMIT), real(0.0), real(1.0), real(0.0)  # all of one type, for vector instructions
    for k in range(values.size):
        beyond += zero if abs(values[k]) < limit else one
    return beyond == zero


@part
def largest(values: Array) -> float:
    """Largest absolute value of a 1-D array; infinity if one is NaN."""
    real = values.dtype.type
    zero, one, result, unordered = real(0.0), real(1.0), real(0.0), real(0.0)
    for k in range(values.size):
        size = abs(values[k])
        result = size if size > result else result
        unordered += zero if size == size else one
    return math.inf if unordered > zero else float(result)


@part
def changes_below_limit(learner: LearnerArrays) -> bool:
    """Write the changes, score × signal / n_rows, and say whether every input × change is within ±`LIMIT`."""
    layout, values, scores, signals, changes = (
        learner.layout,
        learner.values,
        learner.scores,
        learner.signals,
        learner.changes,
    )
    n_rows = values.shape[0]
    share = changes.dtype.type(1.0 / n_rows)
    fine = True
    for index in range(layout.shape[0]):
        here = place(layout, index)
        greatest_input, greatest_change = 1.0, 0.0  # the biases' input is one
        for row in range(n_rows):
            for k in range(here.slot, here.slot + here.n_biases):
                changes[row, k] = share * scores[row, k] * signals[row, k]
            greatest_input = max(greatest_input, largest(values[row, here.inputs : here.inputs + here.n_inputs]))
            greatest_change = max(greatest_change, largest(changes[row, here.slot : here.slot + here.n_biases]))
        fine = fine and greatest_input * greatest_change * n_rows < LIMIT
    return fine


@part
def outer_products(here: Place, first: int, last: int, values: Array, changes: Array, direction: Array) -> None:
    """Δ_ij = Σ_rows x_i change_j for the inputs ``first`` ≤ i < ``last`` of a layer, into a vector, row by row.

    An input of zero, such as a Bernoulli unit that did not fire, costs nothing.
    """
    n, inputs = here.n_pre, here.inputs
    weights = direction[: (last - first) * n].reshape(last - first, n)
    if n == 1:
        x, change = values[0, inputs + first : inputs + last], changes[0, here.slot]
        for i in range(last - first):
            direction[i] = x[i] * change
    else:
        change_of = changes[0, here.slot : here.slot + n]
        for i in range(last - first):
            x_i = values[0, inputs + first + i]
            for j in range(n):
                weights[i, j] = x_i * change_of[j]
    for row in range(1, values.shape[0]):
        change_of = changes[row, here.slot : here.slot + n]
        for i in range(last - first):
            x_i = values[row, inputs + first + i]
            if x_i != 0.0:
                for j in range(n):
                    weights[i, j] += x_i * change_of[j]


@part
def rate_of(learner: LearnerArrays, index: int, time: float) -> float:
    """Learning rate of layer ``index`` after ``time`` environment steps."""
    start = learner.constants[index, RATE_START]
    progress = min(time / learner.settings[SCHEDULE_STEPS], 1.0)
    return start + progress * (learner.constants[index, RATE_END] - start)


@part
def share_of_step(learner: LearnerArrays, time: float) -> float:
    """How much of the step α Δ is made: 1 / max(1, M) by OBGD, all of it by the others.

        M = κ Σ_k α_k max(|s_k|, 1) |e_k|

    The sum is over all parameters of the learner; e_k is the trace of parameter k, s_k the signal that it is multiplied with
    and α_k the rate of its layer, zero where that is frozen. Of several rows it is the mean, as Δ is. Where all units are
    told the same δ and all layers have the same rate α, M is α κ max(|δ|, 1) ‖e‖₁ and the step α / max(1, M) · δ e, those of
    the paper. Where every unit has a signal of its own (Weight Max), each trace counts with what its own unit is told, and
    with one where that is less. So the bound is never looser than that of the direction that is gone, κ Σ α_k |Δ_k|.

    Args:
        learner: with the signals and traces of this step; an optimizer that is OBGD has traces also where γλ = 0.
        time: environment steps so far.

    Source: Elsayed, Vasan & Mahmood (2024), "Streaming deep reinforcement learning finally works", overshooting-bounded
    gradient descent.
    """
    settings, layout, traces, signals = learner.settings, learner.layout, learner.traces, learner.signals
    if int(settings[OPTIMIZER]) != OBGD:
        return 1.0
    size = 0.0
    for index in range(layout.shape[0]):
        here, of_layer = place(layout, index), 0.0
        for row in range(traces.shape[0]):
            signal = signals[row, here.slot : here.slot + here.n_biases]
            trace = weights_of(here, traces[row])
            for i in range(here.n_inputs):
                for j in range(here.n_pre):
                    of_layer += max(abs(float(signal[j])), 1.0) * abs(float(trace[i, j]))
            for k in range(here.biases, here.end):
                of_layer += max(abs(float(signal[k - here.biases])), 1.0) * abs(float(traces[row, k]))
        size += rate_of(learner, index, time) * of_layer
    return 1.0 / max(1.0, settings[KAPPA] * size / traces.shape[0])


@part
def ascend(learner: LearnerArrays, time: float, has_direction: bool, share: float) -> None:
    """One optimizer step on every layer, each with its own learning rate.

    Where the direction is not there yet, it is made from inputs and changes, a block at a time, so that only parameters and
    moments travel through memory.

    The weights, not the biases, shrink by α 2cw beside what the optimizer does (Chung 2022, "Experiments"; decoupled as in
    Loshchilov & Hutter 2019, since an optimizer that divides by the size of the direction would make any c as strong as the
    rule itself).

    Args:
        learner: see `coagent_rl.arrays.LearnerArrays`; parameters, moments and the number of updates change.
        time: environment steps so far, for the learning rates' schedule.
        has_direction: whether ``learner.direction`` is given.
        share: how much of the optimizer's step is made, see `share_of_step`.
    """
    settings, counters, layout = learner.settings, learner.counters, learner.layout
    parameters, direction, first, second = learner.parameters, learner.direction, learner.first, learner.second
    values, changes = learner.values, learner.changes
    counters[N_UPDATES] += 1.0
    corrections = adam_corrections(counters[N_UPDATES])
    optimizer = int(settings[OPTIMIZER])
    for index in range(layout.shape[0]):
        here = place(layout, index)
        rate = rate_of(learner, index, time)
        if rate == 0.0:
            continue
        decay = 2.0 * settings[WEIGHT_DECAY] * rate
        if not has_direction:
            for k in range(here.biases, here.end):
                total = changes[0, here.slot + k - here.biases]
                for row in range(1, changes.shape[0]):
                    total += changes[row, here.slot + k - here.biases]
                direction[k] = total
        n_at_once = here.n_inputs if has_direction else max(1, BLOCK // here.n_pre)
        n_blocks = (here.n_inputs + n_at_once - 1) // n_at_once
        for block in range(n_blocks + 1):
            # The weights, block by block, then the biases.
            begin = min(here.weights + block * n_at_once * here.n_pre, here.biases)
            end = min(begin + n_at_once * here.n_pre, here.biases) if block < n_blocks else here.end
            from_direction = begin
            if block < n_blocks and not has_direction:
                from_direction = 0
                outer_products(
                    here, block * n_at_once, min((block + 1) * n_at_once, here.n_inputs), values, changes, direction
                )
            step(
                optimizer,
                direction[from_direction : from_direction + end - begin],
                rate * share,
                corrections,
                decay if block < n_blocks else 0.0,
                parameters[begin:end],
                first[begin:end],
                second[begin:end],
            )


@part
def update(learner: LearnerArrays, time: float) -> bool:
    """Move every parameter by its trace × signal, or where there are no traces by its input × score × signal.

    Args:
        learner: see `coagent_rl.arrays.LearnerArrays`, with the signals and the traces, or the scores, of this step.
        time: environment steps so far.

    Returns:
        Whether the direction is finite and below `LIMIT`; nothing is learned where it is not.
    """
    has_traces = learner.traces.shape[0] > 0
    if has_traces:
        three_factor_update(learner)
        fine = below_limit(learner.direction)
    else:
        fine = changes_below_limit(learner)
    if fine:
        ascend(learner, time, has_traces, share_of_step(learner, time))
    return fine
