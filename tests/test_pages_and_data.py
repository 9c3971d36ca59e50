"""Numbers in the pages about rules are those of the committed data."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gradient_quality import FOLDER
from benchmarks.tables import with_interval

DOCS = Path(__file__).parents[1] / "docs"
LABELS = {
    "posterior_rule": "posterior rule",
    "product_rule": "product rule",
    "weight_max": "Weight Max",
    "ste_backprop": "STE backprop",
    "reinforce": "REINFORCE",
}


def lines_of(name: str) -> set[str]:
    """Lines of a page, without what is bold in them being so."""
    return set((DOCS / name).read_text(encoding="utf-8").replace("**", "").splitlines())


@pytest.fixture(scope="module")
def quality() -> dict[tuple[str, str, str, int], dict[str, float]]:
    rows = json.loads((FOLDER / "quality.json").read_text(encoding="utf-8"))["rows"]
    return {(row["rule"], row["network"], row["part"], row["episodes"]): row for row in rows}


def test_learning_of_the_unbiased_relatives() -> None:
    page = lines_of("unbiased_relatives.md")
    results = json.loads((FOLDER / "learning.json").read_text(encoding="utf-8"))
    found = {(one["method"], one["network"]): one for one in results}

    def cell(method: str, network: str, which: str) -> str:
        one = found.get((method, network))
        return with_interval(np.array(one[which]), 2, 1.0) if one else ""

    written = {
        **LABELS,
        "ste_backprop": "STE backprop (identity)",
        "coordinated_exploration": "coordinated exploration",
        "posterior_rule, first layer frozen": "posterior rule, first layer frozen",
        "weight_max, first layer frozen": "Weight Max, first layer frozen",
        "frozen": "hidden layers frozen",
    }
    for method, label in written.items():
        line = f"| {label} | {cell(method, '64', 'all')} | {cell(method, '64-32', 'all')} |".replace("|  |", "| |")
        assert line in page
    for method, label in (
        ("coordinated_exploration, critic", "coordinated exploration, critic"),
        ("coordinated_exploration", "coordinated exploration, no critic"),
        ("reinforce, critic", "REINFORCE, critic"),
        ("ste_backprop, critic", "STE backprop (identity), critic"),
    ):
        assert f"| {label} | {cell(method, '64', 'all')} | {cell(method, '64', 'last')} |" in page


def test_single_updates_of_the_unbiased_relatives(quality) -> None:
    page = lines_of("unbiased_relatives.md")
    for rule, label in LABELS.items():
        second, first = (quality[rule, "64-32", part, 0] for part in ("layer_2", "layer_1"))
        (line,) = [line for line in page if line.startswith(f"| {label} | 0.") and line.count("|") == 7 and "[" not in line]
        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        for part, cosine, updates in ((second, *cells[:2]), (first, *cells[2:4])):
            decimals = len(cosine.partition(".")[2])
            assert float(cosine) == pytest.approx(part["cosine"], abs=0.51 * 10**-decimals)
            wanted = part["cosine"] ** -2
            assert float(updates.replace(" ", "")) == (round(wanted) if wanted < 100 else float(f"{wanted:.2g}"))
        assert cells[4] == "1 (unbiased)" or float(cells[4]) == pytest.approx(first["direction"], abs=0.006)


def test_depth_and_width_in_the_page_of_unbiased_relatives(quality) -> None:
    text = " ".join((DOCS / "unbiased_relatives.md").read_text(encoding="utf-8").split())
    depths = ["-".join(["16"] * n) for n in (1, 2, 3, 4)]
    for rule, decimals in (("posterior_rule", (2, 3, 3, 3)), ("weight_max", (2, 2, 2, 2))):
        cosines = [quality[rule, network, "layer_1", 0]["cosine"] for network in depths]
        *before, last = [f"{cosine:.{n}f}" for cosine, n in zip(cosines, decimals, strict=True)]
        assert f"{', '.join(before)} and {last}" in text
    narrow, wide = (quality["posterior_rule", network, "layer_1", 0]["cosine"] for network in ("8-8", "64-64"))
    assert f"from {narrow:.2f} to {wide:.3f}" in text
    narrow, wide = (quality["weight_max", network, "layer_1", 0]["cosine"] for network in ("8-8", "64-64"))
    assert f"Weight Max stays at {narrow:.2f} and {wide:.2f}" in text
    posterior, weight_max, straight = (
        quality[rule, "64-32", "layer_1", 10_000]["cosine"] for rule in ("posterior_rule", "weight_max", "ste_backprop")
    )
    assert f"the posterior rule has {posterior:.3f} in the first layer and Weight Max {weight_max:.3f}" in text
    assert f"has {straight:.2f}, and its mean update" in text
    assert f"(direction {quality['ste_backprop', '64-32', 'hidden', 10_000]['direction']:.2f})" in text
