"""Standard normal numbers, many at once: half the time of an update that averages over paths went into drawing them."""

from __future__ import annotations

import math

import numpy as np

from coagent_rl.kernel import Array, kernel


@kernel
def box_muller(uniforms: Array, normals: Array) -> None:
    """√(-2 ln(1 - u)) · (cos 2πv, sin 2πv), in float32 arithmetic that becomes vector instructions.

    Logarithm, sine and cosine are series; a normal number is off by less than 2e-6 of itself or of one.

    Args:
        uniforms: float64 on [0, 1), shape (n,), each of which is split into u of 24 bits and v of the rest; overwritten.
        normals: float32, shape (2 n,), overwritten.

    Source: Box & Muller (1958).
    """
    n = uniforms.size
    one, half = np.float32(1.0), np.float32(0.5)
    for k in range(n):
        scaled = uniforms[k] * 16777216.0
        whole = math.floor(scaled)
        normals[k] = 1.0 - whole * (1.0 / 16777216.0)
        normals[n + k] = scaled - whole
    bits = normals[:n].view(np.int32)
    exponents = uniforms.view(np.float32)  # the uniforms are done with
    for k in range(n):
        # x = 1 - u = 2^e m with m in [1, 2), whose bits take x's place.
        exponents[k] = np.float32((bits[k] >> 23) - 127)
        bits[k] = (bits[k] & 0x7FFFFF) | 0x3F800000
    for k in range(n):
        # ln x = e ln 2 + 2 artanh((m - 1) / (m + 1)), with m in [√½, √2) so that nothing cancels where x is close to one.
        large = normals[k] > np.float32(np.sqrt(2.0))
        m = half * normals[k] if large else normals[k]
        e = exponents[k] + one if large else exponents[k]
        s = (m - one) / (m + one)
        q = s * s
        series = np.float32(1 / 5) + q * (np.float32(1 / 7) + q * np.float32(1 / 9))
        log = e * np.float32(np.log(2.0)) + np.float32(2.0) * s * (one + q * (np.float32(1 / 3) + q * series))
        radius = math.sqrt(max(np.float32(-2.0) * log, np.float32(0.0)))
        a = np.float32(np.pi) * (normals[n + k] - half)  # half the angle, in [-π/2, π/2)
        p = a * a
        sine = np.float32(1 / 362880) - p * np.float32(1 / 39916800)
        sine = np.float32(-1 / 6) + p * (np.float32(1 / 120) + p * (np.float32(-1 / 5040) + p * sine))
        sine = a * (one + p * sine)
        cosine = np.float32(1 / 40320) - p * (np.float32(1 / 3628800) - p * np.float32(1 / 479001600))
        cosine = np.float32(1 / 24) + p * (np.float32(-1 / 720) + p * cosine)
        cosine = one + p * (np.float32(-0.5) + p * cosine)
        normals[k] = radius * (one - np.float32(2.0) * sine * sine)
        normals[n + k] = radius * np.float32(2.0) * sine * cosine


def fill_normal(rng: np.random.Generator, out: np.ndarray) -> None:
    """Standard normal numbers into a contiguous array of any shape.

    Args:
        rng: their source.
        out: float32 (Box & Muller of its uniforms) or float64 (the generator's own); overwritten.
    """
    if out.dtype != np.float32:
        rng.standard_normal(out=out)
        return
    half = (out.size + 1) // 2
    normals = out.reshape(-1) if 2 * half == out.size else np.empty(2 * half, np.float32)
    box_muller(rng.random(half), normals)
    if 2 * half != out.size:
        out.reshape(-1)[:] = normals[: out.size]
