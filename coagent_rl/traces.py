"""Eligibility traces: when did a weight earn the credit that arrives now?

Every environment row has a trace of its own for every parameter, so that episodes that run side by side never mix.
"""

from __future__ import annotations

from coagent_rl.kernel import TINY, Array, flush, kernel
from coagent_rl.networks.forward import SCORES, SIGNALS, VALUES


@kernel
def accumulate_layer(
    layout: Array, index: int, values: Array, scores: Array, start: bool, decay: float, trace: Array
) -> None:
    """Accumulating trace e ← decay·e + x ⊗ score of one layer in one row, cleared first where an episode starts.

    Args:
        layout, index: see `Network`; which layer.
        values, scores: shape (width,), inputs x and scores ∂ log π / ∂z.
        start: whether the values belong to an episode's first step.
        decay: γλ.
        trace: shape (n_parameters,), updated in place; biases see x = 1.

    Source: Sutton & Barto (2018), §13.5, actor-critic with eligibility traces.
    """
    real = trace.dtype.type
    keep, tiny, zero = real(decay), real(TINY), real(0.0)
    _, _, n_in, n_pre, _, n_biases, w, b, end, inputs, slot = layout[index]
    score = scores[slot : slot + n_biases]
    weights = trace[w:b].reshape(n_in, n_pre)
    biases = trace[b:end]
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


@kernel
def accumulate(layout: Array, activity: Array, episode_starts: Array, decay: float, traces: Array) -> None:
    """Accumulate the traces of all layers and rows.

    Args:
        layout: see `Network`.
        activity: shape (4, n_rows, width), whose VALUES and SCORES are read.
        episode_starts: shape (n_rows,), whether the values belong to an episode's first step.
        decay: γλ.
        traces: shape (n_rows, n_parameters), updated in place.
    """
    for row in range(traces.shape[0]):
        for index in range(layout.shape[0]):
            accumulate_layer(
                layout, index, activity[VALUES, row], activity[SCORES, row], episode_starts[row], decay, traces[row]
            )


@kernel
def accumulate_delayed(
    layout: Array,
    activity: Array,
    episode_starts: Array,
    decay: float,
    traces: Array,
    ring: Array,
    ring_starts: Array,
    n_steps: int,
) -> None:
    """Accumulate traces of which layer l, of L, lags L - l steps behind: every layer lives that far in the past.

    The output layer's trace sees the present step, the layer below it the step before, and so on; also the clearing at an
    episode's start lags, so that the reinforcement of an episode's end still reaches the hidden layers a few steps later.

    Args:
        layout … traces: see `accumulate`; ``activity`` is the present step's.
        ring: shape (L, 2, n_rows, width), the last L steps' VALUES and SCORES, updated in place.
        ring_starts: shape (L, n_rows), whether these steps were an episode's first.
        n_steps: number of steps so far, the present one not counted.

    Source: Chung (2022), eqs. 13 and 17, in which λ^l(k) shifts the trace of layer l by L - l steps.
    """
    depth = layout.shape[0]
    now = n_steps % depth
    ring[now, 0] = activity[VALUES]
    ring[now, 1] = activity[SCORES]
    ring_starts[now] = episode_starts
    for index in range(depth):
        lag = depth - 1 - index
        if lag > n_steps:
            continue
        then = (n_steps - lag) % depth
        for row in range(traces.shape[0]):
            accumulate_layer(
                layout, index, ring[then, 0, row], ring[then, 1, row], ring_starts[then, row], decay, traces[row]
            )


@kernel
def three_factor_update(layout: Array, activity: Array, traces: Array, direction: Array) -> None:
    """Δ = trace × signal, averaged over the rows: every unit's three-factor update.

    Args:
        layout: see `Network`.
        activity: shape (4, n_rows, width), whose SIGNALS are the reinforcement that each pre-activation receives.
        traces: shape (n_rows, n_parameters).
        direction: shape (n_parameters,), overwritten.
    """
    signals = activity[SIGNALS]
    share = direction.dtype.type(1.0 / traces.shape[0])
    for index in range(layout.shape[0]):
        _, _, n_in, n_pre, _, n_biases, w, b, end, _, slot = layout[index]
        weights = direction[w:b].reshape(n_in, n_pre)
        biases = direction[b:end]
        for row in range(traces.shape[0]):
            signal = signals[row, slot : slot + n_biases]
            trace = traces[row, w:b].reshape(n_in, n_pre)
            bias_trace = traces[row, b:end]
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
