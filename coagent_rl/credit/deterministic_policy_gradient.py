"""Per-neuron deterministic policy gradient: each neuron climbs its own critic."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, named
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel
from coagent_rl.networks.layout import TEMPERATURE, place
from coagent_rl.networks.units import slope
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

LINEAR_CRITIC, COMPATIBLE, QUADRATIC = range(3)

CRITIC_KINDS = {"linear": LINEAR_CRITIC, "compatible": COMPATIBLE, "quadratic": QUADRATIC}
"""What neuron n's critic Q(v, a) knows of its inputs v and its own output a, beside V(v) = θ·v + θ_0:

- ``linear``: w_0 a. Its slope by a is the same in every state (Guss 2016).
- ``compatible``: (a - μ(v)) μ'(v) (w_0 + w·v), with the features of Silver et al. (2014), COPDAC.
- ``quadratic``: a (w_0 + w·v) + w_2 a².
"""


@kernel
def n_action_features(kind: int, n_in: int) -> int:
    """Number of features of a critic that depend on the neuron's own output; they come after those of the state."""
    if kind == LINEAR_CRITIC:
        return 1
    return n_in + 1 if kind == COMPATIBLE else n_in + 2


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
def action_slopes(kind: int, action_weights: Array, inputs: Array, means: Array, slopes: Array, out: Array) -> None:
    """∂Q/∂a at a = μ(v) of each neuron of a layer; a neuron reads its inputs, its mean and its own critic, nothing else.

    Args:
        kind: a code of `CRITIC_KINDS`.
        action_weights: rows w_0, then w (not for ``linear``), then w_2 (``quadratic`` only); one column per neuron.
        inputs: v, shape (n_in,).
        means: μ(v), shape (n,).
        slopes: μ' = ∂μ/∂z, shape (n,).
        out: shape (n,), overwritten.

    Source: Silver et al. (2014), eq. 9, for each neuron; Guss (2016), theorem 2.2.4.
    """
    for j in range(out.size):
        out[j] = action_weights[0, j]
    if kind != LINEAR_CRITIC:
        for i in range(inputs.size):
            for j in range(out.size):
                out[j] += inputs[i] * action_weights[1 + i, j]
    if kind == COMPATIBLE:
        for j in range(out.size):
            out[j] *= slopes[j]
    elif kind == QUADRATIC:
        square = action_weights[1 + inputs.size]
        for j in range(out.size):
            out[j] += 2.0 * square[j] * means[j]


@kernel
def learn_deterministic_policy(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step of all neurons: Δk = ∂Q/∂a ∂a/∂k at a = μ(v), each with its own critic.

    Args:
        arrays: the actor's, with the means of what the neurons did; its traces, which only OBGD needs, do not last: those
            that do are the critics'.
        reinforcements: shape (n_rows, width), ∂Q/∂a of each neuron (`coagent_rl.critics.per_neuron`).
        episode_starts: shape (n_rows,); nothing depends on it.
        time: environment steps so far.

    Returns:
        Whether the update is finite; nothing is learned where it is not.

    Source: Silver et al. (2014), eq. 9; Guss (2016), §4.2.
    """
    learner = named(arrays)
    for row in range(reinforcements.shape[0]):
        for index in range(learner.layout.shape[0]):
            here = place(learner.layout, index)
            columns = slice(here.slot, here.slot + here.n_values)
            temperature = learner.constants[index, TEMPERATURE]
            slope(here.activation, temperature, learner.means[row, columns], learner.scores[row, columns])
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
