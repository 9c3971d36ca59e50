"""Weight Maximization: a hidden unit is rewarded by the growth of its outgoing weights."""

from __future__ import annotations

from coagent_rl.kernel import Array, kernel


@kernel
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
                w = weights[i, j]
                slope = norm_order * abs(w) ** (norm_order - 1.0)
                change = trace[i, j] * signal_above[j]
                if w > 0:
                    total += slope * change
                elif w < 0:
                    total -= slope * change
        signal[i] = total
