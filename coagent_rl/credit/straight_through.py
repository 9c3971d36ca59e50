"""Straight-through: backprop through a binary unit as if its sample had been a smooth function of z."""

from __future__ import annotations

from coagent_rl.kernel import Array, kernel


@kernel
def surrogate_slopes(means: Array, temperature: float, smooth: bool, slopes: Array) -> None:
    """The derivative that stands for ∂h/∂z of a Bernoulli unit's sample h: one, or σ'(z/T)/T where ``smooth``.

    Args:
        means: σ(z/T), shape (n,).
        temperature: T.
        smooth: the derivative of the mean instead of the identity's.
        slopes: shape (n,), overwritten; `coagent_rl.credit.backprop.chain_rule` goes on from there.

    Source: Bengio, Léonard & Courville (2013), §4: the identity; the variant with the sigmoid's derivative is theirs too.
    """
    for i in range(means.size):
        slopes[i] = means[i] * (1.0 - means[i]) / temperature if smooth else 1.0
