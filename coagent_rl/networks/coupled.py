"""Boltzmann units: a layer's binary values drawn together, with symmetric connections U among its units.

Pr(h) ∝ exp((h·z + ½ h·Uh) / T), U symmetric with a diagonal of zero. U is kept as its n (n - 1) / 2 entries above the
diagonal, row by row, behind the layer's biases. With U = 0 the units are Bernoulli units.

Source: Ackley, Hinton & Sejnowski (1985); Chung (2023), *Structural credit assignment with coordinated exploration*.
"""

from __future__ import annotations

import numpy as np

from coagent_rl.kernel import Array, part
from coagent_rl.networks.elementary import sigmoid

# How a unit takes its value, given the others': with a random number, the more likely one, or its probability (mean field).
DRAWN, LIKELY, MEAN_FIELD = range(3)


@part
def take(how: int, probability: float, noise: float) -> float:
    """A unit's value, where ``probability`` is that of firing."""
    if how == MEAN_FIELD:
        return probability
    return 1.0 if (noise if how == DRAWN else 0.5) < probability else 0.0


@part
def settle(
    how: int, temperature: float, sweeps: int, couplings: Array, z: Array, means: Array, noise: Array, values: Array
) -> None:
    """Draw the units one by one with U = 0, then sweep: each in turn draws anew given what all the others are.

    With a finite number of sweeps the distribution is nearly that of the module's formula, and exactly it for U = 0.

    Args:
        how: DRAWN, LIKELY (every unit takes the more likely value) or MEAN_FIELD (it takes its probability).
        temperature: T.
        sweeps: how many.
        couplings: U above the diagonal, row by row, shape (n (n - 1) / 2,).
        z, means: pre-activations and σ(z/T), shape (n,).
        noise: uniform on [0, 1), n numbers for the first values and n for each sweep; shape (≥ n (1 + sweeps),).
        values: h, shape (≥ n,), whose first n are overwritten.

    Source: Geman & Geman (1984), Gibbs sampling.
    """
    n = means.size
    for i in range(n):
        values[i] = take(how, np.float64(means[i]), np.float64(noise[i]))
    for sweep in range(sweeps):
        first = n * (1 + sweep)
        for i in range(n):
            total = z[i]
            k = i - 1  # where U_0i lies; U_ji of the next row lies n - j - 2 further
            for j in range(i):
                total += couplings[k] * values[j]
                k += n - j - 2
            k = i * (2 * n - i - 1) // 2  # where the row U_i,i+1 … begins
            for j in range(i + 1, n):
                total += couplings[k + j - i - 1] * values[j]
            values[i] = take(how, sigmoid(np.float64(total) / temperature), np.float64(noise[first + i]))


@part
def coupled_scores(temperature: float, values: Array, means: Array, n: int, out: Array) -> None:
    """(h_i - p_i) / T for every unit, then (h_i h_j - p_i p_j) / T for every pair i < j, with p = σ(z/T).

    The derivative of log Pr(h) has E[h_i] and E[h_i h_j], given the layer's inputs x, in the place of p_i and p_i p_j. But
    whatever depends on x alone may be subtracted where the reinforcement is R - E[R | x], because E[(R - b) c(x)] = 0: there
    is no negative phase, and nothing is estimated. A critic of states makes that true of the first layer; for the layers
    above it, whose inputs say more about R than the state does, what is left is E[(R - b) (E[h] - p)], which is zero for
    U = 0 and small for weak U.

    Args:
        temperature: T.
        values, means: h and p, shape (≥ n,).
        n: number of units.
        out: shape (n + n (n - 1) / 2,), overwritten.
    """
    for i in range(n):
        out[i] = (values[i] - means[i]) / temperature
    k = n
    for i in range(n):
        for j in range(i + 1, n):
            out[k] = (values[i] * values[j] - means[i] * means[j]) / temperature
            k += 1
