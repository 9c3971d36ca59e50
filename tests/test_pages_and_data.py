"""Numbers in the pages about rules, and about Acrobot, are those of the committed data."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import by_hand, cells, rules_table
from benchmarks.gradient_quality import FOLDER
from benchmarks.rules import RULES
from benchmarks.runs import read
from benchmarks.tables import with_interval
from coagent_rl.training.hyperparameters import load_hyperparameters

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


def test_the_page_of_all_rules() -> None:
    """Its table is that of the results, and these are what the runs that are kept give."""
    table = (rules_table.FOLDER / "table.md").read_text(encoding="utf-8")
    assert table in (rules_table.page(range(5)), rules_table.page(range(10)))
    page = lines_of("rules.md")
    overview, correlations = table.partition("\n## ")[0], table.partition("## Rank correlation")[2].partition("\n## ")[0]
    wanted = [line for line in f"{overview}\n{correlations}".splitlines() if line.startswith("|")]
    assert len(wanted) > len(RULES)
    assert set(wanted) <= page


@pytest.fixture(scope="module")
def acrobot() -> str:
    """What the page says of four million steps of Acrobot."""
    page = (DOCS / "weight_maximization.md").read_text(encoding="utf-8")
    return page.partition("### Four million steps, twice the width")[2].partition("\n## ")[0].replace("**", "")


@pytest.mark.parametrize(
    ("agent", "label"), [("weight_max", "Weight Max"), ("ste_backprop", "STE backprop"), ("backprop", "Backprop (ReLU)")]
)
def test_the_runs_of_four_million_steps_of_acrobot_are_those_of_the_cells(agent, label, acrobot) -> None:
    runs = [found for run in cells.runs_of(agent, cells.ACROBOT, cells.LEARNED) if (found := read(run)) is not None]
    assert len(runs) == 10
    columns = (
        [returns[:1000].mean() for returns, _ in runs],
        [returns.mean() for returns, _ in runs],
        [facts["final_evaluation"]["mean_return"] for _, facts in runs],
    )
    numbers = [f"{np.mean(column):.1f} ± {np.std(column, ddof=1):.1f}" for column in columns]
    assert f"| {' | '.join([label, *numbers])} |" in acrobot


@pytest.mark.parametrize(
    ("said", "width", "discount", "rates", "million"),
    [
        ("64 and 32 units, a discount of 0.98, rates that fall to a twentieth over four million steps", 64, 0.98, (1, 1), 4),
        ("128 and 64 units, and a discount of 0.99", 128, 0.99, (1, 1), 4),
        ("128 and 64 units, a discount of 0.98: shipped", 128, 0.98, (1, 1), 4),
        ("a third of these rates", 128, 0.98, (1 / 3, 1 / 3), 4),
        ("a sixth of these rates (5002)", 128, 0.98, (1 / 6, 1 / 6), 4),
        ("twice the actor's rates", 128, 0.98, (2, 1), 4),
        ("shipped, in two million steps", 128, 0.98, (1, 1), 2),
        ("a third of these rates, in one million", 128, 0.98, (1 / 3, 1 / 3), 1),
        ("256 and 128 units, in two million", 256, 0.98, (1, 1), 2),
    ],
)
def test_changes_by_hand_on_acrobot_are_those_that_are_kept(said, width, discount, rates, million, acrobot) -> None:
    shipped = load_hyperparameters("weight_max", cells.ACROBOT)
    found: dict[str, dict[str, list[float]]] = {}
    for line in by_hand.FILE.read_text(encoding="utf-8").splitlines():
        trial = json.loads(line)
        settings = trial.get("settings", {})
        if (
            (trial["agent"], trial["env"]) == ("weight_max", cells.ACROBOT)
            and [settings.get(name) for name in ("n_timesteps", "gamma")] == [million * 1_000_000, discount]
            and [settings[name] for name in ("actor_lambda", "temperature")] == [0.0, 1.0]
            and settings["policy_kwargs"].get("net_arch", [64])[0] == width
            and all(
                isinstance(settings[name], dict)
                and settings[name]["start"] == pytest.approx([rate * times for rate in shipped[name]["start"]], rel=0.01)
                for name, times in zip(("actor_learning_rate", "critic_learning_rate"), rates, strict=True)
            )
        ):
            found.setdefault(settings["policy_kwargs"].get("deterministic_mode", "hashed"), {}).update(trial["runs"])
    modes = [list(found[mode].values()) if mode in found else [] for mode in ("hashed", "marginal", "mean")]
    numbers = [f"{np.mean([run[2] for run in runs]):.1f}" if runs else "" for runs in modes]
    every = [run[0] for run in modes[0]]
    row = f"| {said} | {len(every)} | {np.mean(every):.1f} | {' | '.join(numbers)} |".replace("|  |", "| |")
    assert row in acrobot
