"""Exponentials and logarithms that the compiler can turn into vector instructions.

``math.exp`` and its like are calls, one number at a time, and were half of a learning step's time. These are plain
arithmetic in float64, accurate to 1e-11 or better (relative) on the ranges stated. Limits are written so that NaN passes
through: a comparison with it is false.
"""

from __future__ import annotations

from coagent_rl.kernel import kernel


@kernel
def exp_of_negative(x: float) -> float:
    """Return exp(x) for x ≤ 0, as the 1024th power of a short Taylor series; exp(-300) below -300."""
    r = (-300.0 if x < -300.0 else x) * (1 / 1024)
    p = 1.0 + r * (
        1.0 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * (1 / 40320)))))))
    )
    for _ in range(10):
        p = p * p
    return p


@kernel
def expm1_of_negative(x: float) -> float:
    """Return exp(x) - 1 for x ≤ 0, without cancellation near zero: e^2r - 1 = (e^r - 1)(e^r - 1 + 2)."""
    r = (-300.0 if x < -300.0 else x) * (1 / 1024)
    p = r * (
        1.0 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * (1 / 40320)))))))
    )
    for _ in range(10):
        p = p * (2.0 + p)
    return p


@kernel
def log1p_of_fraction(x: float) -> float:
    """Return log(1 + x) for 0 ≤ x ≤ 1, as 2 artanh(x / (2 + x))."""
    s = x / (2.0 + x)
    q = s * s
    series = 1 / 23 + q * (1 / 25)
    series = 1 / 19 + q * (1 / 21 + q * series)
    series = 1 / 15 + q * (1 / 17 + q * series)
    series = 1 / 11 + q * (1 / 13 + q * series)
    series = 1 / 7 + q * (1 / 9 + q * series)
    series = 1 / 3 + q * (1 / 5 + q * series)
    return 2.0 * s * (1.0 + q * series)


@kernel
def sigmoid(x: float) -> float:
    """Return σ(x) = 1 / (1 + exp(-x)), without overflow and with full relative accuracy on both sides."""
    e = exp_of_negative(-abs(x))
    return (1.0 if x >= 0.0 else e) / (1.0 + e)


@kernel
def softplus(x: float) -> float:
    """Return log(1 + exp(x))."""
    return (0.0 if x < 0.0 else x) + log1p_of_fraction(exp_of_negative(-abs(x)))
