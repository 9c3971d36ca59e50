"""Where things lie in a network's arrays: the names of the columns of its two tables, one row a layer.

The integer table, ``layout``:

- DISTRIBUTION, ACTIVATION: codes of the layer's units (`coagent_rl.networks.units`).
- N_INPUTS, N_PRE, N_VALUES: numbers of inputs, pre-activations and values.
- N_BIASES: N_PRE, and N_VALUES more where log standard deviations are learned.
- WEIGHTS, BIASES, END: where the weights and the biases begin in the vector of parameters, and where the layer ends.
- INPUTS, SLOT: the first columns of the layer's inputs and of its own values in the per-row buffers (values, means, scores,
  signals), whose first columns are the observation.

The float table, ``constants``: TEMPERATURE, DEVIATION and, from LEVELS on, where the network has categorical units, their
levels.
"""

DISTRIBUTION, ACTIVATION, N_INPUTS, N_PRE, N_VALUES, N_BIASES, WEIGHTS, BIASES, END, INPUTS, SLOT = range(11)
TEMPERATURE, DEVIATION, LEVELS = range(3)
