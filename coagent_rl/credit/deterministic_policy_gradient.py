"""Per-neuron deterministic policy gradient: each neuron climbs its own critic."""

from __future__ import annotations

from coagent_rl.kernel import Array, kernel

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
