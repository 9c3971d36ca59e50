"""REINFORCE with fewer explorers: the variance reduction of Thomas (2011)."""

from __future__ import annotations

from coagent_rl.kernel import Array, kernel


@kernel
def explorers_only(exploring: Array, score: Array) -> None:
    """s_i ← 0 for every unit that did not explore: what it did was not its choice, so it has nothing to learn from it.

    At every time step each hidden unit explores with probability q, independently; the others take their most likely value.
    So the TD error judges the exploration of a few units at a time and correlates better with each of them.

    Args:
        exploring: shape (n,), which units drew their value.
        score: shape (n,), ∂ log π / ∂z, updated in place.

    Source: Thomas (2011), as described by Chung (2022): "disabling exploration randomly". The paper leaves open when the
    switch is drawn anew; here it is at every step, for every hidden unit on its own.
    """
    for i in range(score.size):
        if not exploring[i]:
            score[i] = 0.0
