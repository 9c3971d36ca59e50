"""Global REINFORCE: every unit is told the same reinforcement."""

from __future__ import annotations

from coagent_rl.kernel import Array, kernel


@kernel
def broadcast(td_error: float, signal: Array) -> None:
    """R_i = δ for every unit i.

    Args:
        td_error: δ, the network's reinforcement.
        signal: shape (n,), one entry per pre-activation, overwritten with R.

    Source: Williams (1992); Chung (2022), eq. 3, with the TD error in the place of the return.
    """
    signal[:] = td_error
