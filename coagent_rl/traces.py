"""Eligibility traces: when did a weight earn the credit that arrives now?

Every environment row has a trace of its own for every parameter, so that episodes that run side by side never mix. Where
γλ = 0 a trace would only repeat the present step: there is none, and the update is made from inputs and scores directly
(`coagent_rl.optimizers.update`).
"""

from __future__ import annotations

from coagent_rl.arrays import N_UPDATES, TRACE_DECAY, LearnerArrays
from coagent_rl.kernel import TINY, Array, copy, flush, part
from coagent_rl.networks.layout import Place, place, weights_of

# What a delay line, `LearnerArrays.store` of shape (depth, 3, n_rows, width), holds of each of the last steps; of the starts
# of episodes only the first column is used.
PAST_VALUES, PAST_SCORES, PAST_STARTS = range(3)


@part
def accumulate_layer(here: Place, values: Array, scores: Array, start: bool, decay: float, trace: Array) -> None:
    """Accumulating trace e ← decay·e + x ⊗ score of one layer in one row, cleared first where an episode starts.

    Args:
        here: where the layer lies.
        values, scores: shape (width,), inputs x and scores ∂ log π / ∂z.
        start: whether the values belong to an episode's first step.
        decay: γλ.
        trace: shape (n_parameters,), updated in place; biases see x = 1.

    Source: Sutton & Barto (2018), §13.5, actor-critic with eligibility traces.
    """
    real = trace.dtype.type
    keep, tiny, zero = real(decay), real(TINY), real(0.0)
    n_in, n_pre, n_biases, inputs = here.n_inputs, here.n_pre, here.n_biases, here.inputs
    score = scores[here.slot : here.slot + n_biases]
    weights = weights_of(here, trace)
    biases = trace[here.biases : here.end]
    if start or decay == 0.0:
        for i in range(n_in):
            x = values[inputs + i]
            for j in range(n_pre):
                weights[i, j] = x * score[j]
        for j in range(n_biases):
            biases[j] = score[j]
    else:
        for i in range(n_in):
            x = values[inputs + i]
            for j in range(n_pre):
                weights[i, j] = flush(keep * weights[i, j] + x * score[j], tiny, zero)
        for j in range(n_biases):
            biases[j] = flush(keep * biases[j] + score[j], tiny, zero)


@part
def accumulate(learner: LearnerArrays, episode_starts: Array) -> None:
    """Accumulate the traces of all layers and rows from the values and scores of the present step, if there are traces.

    Args:
        learner: see `coagent_rl.arrays.LearnerArrays`; its traces are updated in place.
        episode_starts: shape (n_rows,), whether the values belong to an episode's first step.
    """
    layout, values, scores, traces = learner.layout, learner.values, learner.scores, learner.traces
    decay = learner.settings[TRACE_DECAY]
    for row in range(traces.shape[0]):
        for index in range(layout.shape[0]):
            here = place(layout, index)
            accumulate_layer(here, values[row], scores[row], episode_starts[row], decay, traces[row])


@part
def accumulate_delayed(learner: LearnerArrays, episode_starts: Array) -> None:
    """Accumulate traces of which layer l, of L, lags L - l steps behind: every layer lives that far in the past.

    The output layer's trace sees the present step, the layer below it the step before, and so on; also the clearing at an
    episode's start lags, so that the reinforcement of an episode's end still reaches the hidden layers a few steps later.
    The delay line is ``learner.store``.

    Args:
        learner, episode_starts: see `accumulate`.

    Source: Chung (2022), eqs. 13 and 17, in which λ^l(k) shifts the trace of layer l by L - l steps.
    """
    layout, traces, past = learner.layout, learner.traces, learner.store
    depth, steps_before, decay = layout.shape[0], int(learner.counters[N_UPDATES]), learner.settings[TRACE_DECAY]
    now = steps_before % depth
    for row in range(traces.shape[0]):
        copy(learner.values[row], past[now, PAST_VALUES, row])
        copy(learner.scores[row], past[now, PAST_SCORES, row])
        past[now, PAST_STARTS, row, 0] = episode_starts[row]
    for index in range(depth):
        lag = depth - 1 - index
        if lag > steps_before:
            continue
        then = (steps_before - lag) % depth
        here = place(layout, index)
        for row in range(traces.shape[0]):
            started = past[then, PAST_STARTS, row, 0] > 0.0
            accumulate_layer(here, past[then, PAST_VALUES, row], past[then, PAST_SCORES, row], started, decay, traces[row])


@part
def three_factor_update(learner: LearnerArrays) -> None:
    """Δ = trace × signal, averaged over the rows: every unit's three-factor update, written into ``learner.direction``."""
    layout, direction, traces, signals = learner.layout, learner.direction, learner.traces, learner.signals
    share = direction.dtype.type(1.0 / traces.shape[0])
    for index in range(layout.shape[0]):
        here = place(layout, index)
        n_in, n_pre, n_biases = here.n_inputs, here.n_pre, here.n_biases
        weights = weights_of(here, direction)
        biases = direction[here.biases : here.end]
        for row in range(traces.shape[0]):
            signal = signals[row, here.slot : here.slot + n_biases]
            trace = weights_of(here, traces[row])
            bias_trace = traces[row, here.biases : here.end]
            if row == 0:
                for i in range(n_in):
                    for j in range(n_pre):
                        weights[i, j] = share * trace[i, j] * signal[j]
                for j in range(n_biases):
                    biases[j] = share * bias_trace[j] * signal[j]
            else:
                for i in range(n_in):
                    for j in range(n_pre):
                        weights[i, j] += share * trace[i, j] * signal[j]
                for j in range(n_biases):
                    biases[j] += share * bias_trace[j] * signal[j]
