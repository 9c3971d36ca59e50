"""Where things lie in a network's arrays.

A network's *structure* is a tuple of three arrays, ``(layout, constants, parameters)``. The integer table ``layout`` has
one row a layer, whose entries are those of `Place`; the float table ``constants`` has the columns TEMPERATURE and DEVIATION,
the layer's learning rate at the start and at the end of its schedule, RATE_START and RATE_END (zero where nothing learns),
and from LEVELS on, where the network has categorical units, their levels; there Boltzmann units have their number of SWEEPS.
``parameters`` is one vector.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from coagent_rl.kernel import Array, kernel, part

DISTRIBUTION, ACTIVATION, N_INPUTS, N_PRE, N_VALUES, N_BIASES, WEIGHTS, BIASES, END, INPUTS, SLOT = range(11)
TEMPERATURE, DEVIATION, RATE_START, RATE_END, LEVELS = range(5)
SWEEPS = LEVELS


class Place(NamedTuple):
    """Where one layer lies.

    Attributes:
        distribution, activation: codes of the layer's units (`coagent_rl.networks.units`).
        n_inputs, n_pre, n_values: numbers of inputs, pre-activations and values.
        n_biases: n_pre, and n_values more where log standard deviations are learned, or one more a pair of Boltzmann units.
        weights, biases, end: where the weights and the biases begin in the vector of parameters, and where the layer ends.
        inputs, slot: the first columns of the layer's inputs and of its own values in the per-row buffers (values, means,
            scores, signals), whose first columns are the observation. Behind them lies what units remember of what they did.
    """

    distribution: Any
    activation: Any
    n_inputs: Any
    n_pre: Any
    n_values: Any
    n_biases: Any
    weights: Any
    biases: Any
    end: Any
    inputs: Any
    slot: Any


@kernel
def place(layout: Array, index: int) -> Place:
    """Where layer ``index`` lies."""
    (distribution, activation, n_inputs, n_pre, n_values, n_biases, weights, biases, end, inputs, slot) = layout[index]
    return Place(distribution, activation, n_inputs, n_pre, n_values, n_biases, weights, biases, end, inputs, slot)


@part
def weights_of(here: Place, parameters: Array) -> Array:
    """Weights of a layer, shape (n_inputs, n_pre), as a view of a vector laid out as the parameters are."""
    return parameters[here.weights : here.biases].reshape(here.n_inputs, here.n_pre)
