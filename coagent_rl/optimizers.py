"""Optimizers: how far to go in the direction that the rule gives. All of them ascend."""

from __future__ import annotations

import math

from coagent_rl.kernel import TINY, Array, flush, kernel
from coagent_rl.networks.layout import BIASES, END, WEIGHTS

OPTIMIZERS = {"sgd": 0, "rmsprop": 1, "adam": 2}
SGD, RMSPROP, ADAM = range(3)

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RMSPROP_DECAY = 0.99


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
        optimizer: SGD (w += α g), RMSPROP (w += α g / (√v + ε), decay 0.99) or ADAM (β = 0.9, 0.999, ε = 1e-8).
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


# Rows of `memory`, of shape (3, n_parameters): the direction that the rule asks for, running means of it and of its square.
DIRECTION, FIRST, SECOND = range(3)
# Entries of `settings`.
OPTIMIZER, SCHEDULE_STEPS, WEIGHT_DECAY, TRACE_DECAY, N_UPDATES = range(5)


@kernel
def ascend(layout: Array, settings: Array, rates: Array, parameters: Array, memory: Array, time: float) -> None:
    """One optimizer step on every layer, each with its own learning rate.

    Args:
        layout: see `Network`.
        settings: OPTIMIZER code; SCHEDULE_STEPS, length of the linear schedule of the rates in environment steps;
            WEIGHT_DECAY c: the weights, not the biases, shrink by α 2cw beside what the optimizer does (Chung 2022,
            "Experiments"; decoupled as in Loshchilov & Hutter 2019, since an optimizer that divides by the size of the
            direction would make any c as strong as the rule itself);
            N_UPDATES, number of steps taken, which is increased.
        rates: shape (2, depth), learning rates at the start and at the end of the schedule.
        parameters: shape (n_parameters,), updated in place.
        memory: shape (3, n_parameters), whose DIRECTION is read and whose FIRST and SECOND are updated in place.
        time: environment steps so far.
    """
    settings[N_UPDATES] += 1.0
    corrections = adam_corrections(settings[N_UPDATES])
    progress = min(time / settings[SCHEDULE_STEPS], 1.0)
    for index in range(layout.shape[0]):
        w, b, end = layout[index, WEIGHTS], layout[index, BIASES], layout[index, END]
        rate = rates[0, index] + progress * (rates[1, index] - rates[0, index])
        if rate != 0.0:
            decay = 2.0 * settings[WEIGHT_DECAY] * rate
            for start, stop, lost in ((w, b, decay), (b, end, 0.0)):
                step(
                    settings[OPTIMIZER],
                    memory[DIRECTION, start:stop],
                    rate,
                    corrections,
                    lost,
                    parameters[start:stop],
                    memory[FIRST, start:stop],
                    memory[SECOND, start:stop],
                )
