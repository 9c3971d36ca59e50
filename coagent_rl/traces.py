"""Eligibility traces: when did a weight earn the credit that arrives now?

Every environment row has a trace of its own for every parameter, so that episodes that run side by side never mix.
"""

from __future__ import annotations

from coagent_rl.kernel import TINY, Array, flush, kernel
from coagent_rl.networks.forward import SCORES, SIGNALS, VALUES


@kernel
def accumulate(layout: Array, activity: Array, episode_starts: Array, decay: float, traces: Array) -> None:
    """Accumulating traces e ← decay·e + x ⊗ score, cleared first where an episode starts.

    Args:
        layout: see `Network`.
        activity: shape (4, n_rows, width), whose VALUES are the inputs x and whose SCORES are ∂ log π / ∂z.
        episode_starts: shape (n_rows,), whether the values belong to an episode's first step.
        decay: γλ.
        traces: shape (n_rows, n_parameters), updated in place.

    Source: Sutton & Barto (2018), §13.5, actor-critic with eligibility traces; biases see x = 1.
    """
    values, scores = activity[VALUES], activity[SCORES]
    real = traces.dtype.type
    keep, tiny, zero = real(decay), real(TINY), real(0.0)
    for row in range(values.shape[0]):
        cleared = episode_starts[row] or decay == 0.0
        for index in range(layout.shape[0]):
            _, _, n_in, n_pre, _, n_biases, w, b, end, inputs, slot = layout[index]
            score = scores[row, slot : slot + n_biases]
            weights = traces[row, w:b].reshape(n_in, n_pre)
            biases = traces[row, b:end]
            if cleared:
                for i in range(n_in):
                    x = values[row, inputs + i]
                    for j in range(n_pre):
                        weights[i, j] = x * score[j]
                for j in range(n_biases):
                    biases[j] = score[j]
            else:
                for i in range(n_in):
                    x = values[row, inputs + i]
                    for j in range(n_pre):
                        weights[i, j] = flush(keep * weights[i, j] + x * score[j], tiny, zero)
                for j in range(n_biases):
                    biases[j] = flush(keep * biases[j] + score[j], tiny, zero)


@kernel
def reinforce(layout: Array, activity: Array, traces: Array, direction: Array) -> None:
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
