"""Colours and labels of figures."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from coagent_rl.analysis.known import METHODS
from coagent_rl.analysis.style import PALETTE, looks, spread_out

# ---------------------------------------------------------------------- style


def test_colours_stay_with_a_method() -> None:
    alone = {name: looks([name])[name] for name in METHODS}
    assert looks(list(METHODS)) == alone
    assert looks([METHODS[name] for name in METHODS]) == {METHODS[name]: look for name, look in alone.items()}
    assert looks(["PPO", "Weight Max, tuned"])["Weight Max, tuned"] == alone["weight_max"]
    variants = looks(["MAP Propagation, plain", "MAP Propagation", "A2C"])
    assert variants["MAP Propagation"] == alone["map_prop"]
    assert variants["MAP Propagation, plain"].colour == alone["map_prop"].colour
    assert len(set(variants.values())) == 3


def test_unknown_names_get_free_colours() -> None:
    names = [f"rule {k}" for k in range(7)]
    given = looks(["weight_max", *names])
    assert given == looks(["weight_max", *names])
    assert len({look.colour for look in given.values()}) == 8
    assert all(look.dashes == "-" for look in given.values())
    many = looks([f"Weight Max, γ = {k}" for k in range(30)])
    assert len(set(many.values())) == 30


def lightness_and_colour(colour: str, seen_by: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of an sRGB colour, after a matrix in linear RGB."""
    values = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    x, y, z = to_xyz @ np.clip(seen_by @ linear, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = [np.cbrt(t) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


SEEN_BY = {
    "everyone": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Matrices of Machado, Oliveira & Fernandes (2009) for the full deficiency."""


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_colours_survive_colour_blindness(eyes) -> None:
    colours = {*PALETTE, *(look.colour for look in looks(list(METHODS)).values())}
    seen = [lightness_and_colour(colour, np.array(SEEN_BY[eyes])) for colour in sorted(colours)]
    assert len(seen) == 20
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15
    assert max(lightness[0] for lightness in seen) < 75  # dark enough on white


def test_intervals_are_spread_out() -> None:
    np.testing.assert_allclose(spread_out([1.0, 5.0, 9.0], [1.0, 1.0, 1.0], 0, 10), [1.0, 5.0, 9.0])
    # The two that collide are moved apart by the same distance, whatever their order.
    np.testing.assert_allclose(spread_out([5.0, 1.0, 5.0], [2.0, 1.0, 2.0], 0, 10), [4.0, 1.0, 6.0])
    # A third one joins the block: the mean of (4 + 5, 5 + 5, …) stays where it was.
    np.testing.assert_allclose(spread_out([5.0, 5.0, 5.0], [1.0, 2.0, 1.0], 0, 10), [3.5, 5.0, 6.5])
    np.testing.assert_allclose(spread_out([9.9, 10.0], [2.0, 2.0], 0, 10), [7.0, 9.0])
    np.testing.assert_allclose(spread_out([0.0, 0.1], [2.0, 2.0], 0, 10), [1.0, 3.0])
    rng = np.random.default_rng(0)
    for _ in range(50):
        centres, heights = rng.uniform(0, 10, 8), rng.uniform(0.5, 1.2, 8)
        placed = spread_out(centres, heights, 0, 10)
        order = np.argsort(centres)
        edges = [(placed[k] - heights[k] / 2, placed[k] + heights[k] / 2) for k in order]
        assert all(above[0] >= below[1] - 1e-9 for below, above in pairwise(edges))
        assert edges[0][0] >= -1e-9
        assert edges[-1][1] <= 10 + 1e-9
