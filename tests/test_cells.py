"""The table of three agents on six tasks: what it is made of, and that the page says what it says."""

import re
from collections import Counter
from itertools import product

import numpy as np
import pytest

from benchmarks import cells, other_agents
from benchmarks.runs import EVALUATED_OF, RESULTS, Run, read


@pytest.mark.parametrize("name", cells.TABLES)
def test_tables_and_page_are_made_of_the_committed_runs(name) -> None:
    assert cells.TABLES[name]() == (RESULTS / "cells" / name).read_text(encoding="utf-8")
    assert f"<!-- {name} -->\n{cells.TABLES[name]()}<!-- end -->" in cells.PAGE.read_text(encoding="utf-8")


def test_the_page_counts_right() -> None:
    found = [cells.is_reached(agent, env_id) for env_id, agent in product(cells.LEVELS, cells.AGENTS)]
    said = re.search(r"\*\*(\d+) of (\d+) cells reach their level\*\*", cells.PAGE.read_text(encoding="utf-8"))
    assert said is not None
    assert (int(said[1]), int(said[2])) == (sum(found), len(found))


def test_numbers_in_sentences_are_in_a_table() -> None:
    text = cells.PAGE.read_text(encoding="utf-8").partition("## What did not help")[0]
    lines = text.splitlines()
    tables = "\n".join(line for line in lines if line.startswith("|"))
    sentences = "\n".join(line for line in lines if not line.startswith("|"))
    found = re.findall(r"-?\d+\.\d+", sentences)
    assert len(found) >= 5
    assert [number for number in found if number not in tables] == []


def test_runs_of_other_tables_are_read_only_where_their_settings_are_the_shipped_ones() -> None:
    reused: Counter[tuple[str, str]] = Counter()
    for env_id, agent in product(cells.LEVELS, cells.AGENTS):
        for run in cells.runs_of(agent, env_id, cells.LEARNED):
            assert cells.plain(run.settings) == cells.plain(cells.settings_of(agent, env_id, cells.LEARNED))
            reused[agent, env_id] += run.table != "cells"
    assert +reused == {
        ("weight_max", cells.CARTPOLE): 10,
        ("weight_max", cells.MULTIPLEXER): 10,
        ("decentralized_ddpg", cells.CONTINUOUS): 10,
    }


@pytest.mark.parametrize(("control", "above"), [([0.1, 0.15, 0.2], True), ([0.2, 0.4, 0.6], False)])
def test_a_cell_above_its_control_has_an_interval_apart_from_it(control, above, monkeypatch) -> None:
    """Means alone do not tell: 0.5 and 0.4 differ, and their intervals overlap."""
    scores = {cells.LEARNED: [0.45, 0.5, 0.55], cells.FROZEN: control}
    monkeypatch.setattr(
        cells, "cell_of", lambda agent, env_id, kind: {"final returns": np.array(scores[kind]), "final": (0.5, 0.05)}
    )
    assert cells.is_reached(*cells.ABOVE_CONTROL[0]) is above
    assert not cells.is_reached("weight_max", cells.MULTIPLEXER)  # there 0.9 is wanted


@pytest.mark.parametrize(
    ("faster", "best"),
    [
        ([498.0, 499.0, 500.5], "map_prop"),
        ([490.0, 491.0, 492.0], "weight_max"),
        ([501.0], "map_prop"),  # one run has no interval
        ([499.0], "weight_max"),
    ],
)
def test_the_best_of_three_is_the_faster_of_those_that_end_as_high(faster, best, monkeypatch) -> None:
    """A final mean that is lower by less than is known of it does not outweigh how soon an agent learned."""
    finals = {"weight_max": [500.0, 500.0, 500.0], "map_prop": faster, "decentralized_ddpg": [300.0, 310.0, 320.0]}
    averages = {"weight_max": 200.0, "map_prop": 470.0, "decentralized_ddpg": 480.0}
    monkeypatch.setattr(
        cells,
        "cell_of",
        lambda agent, env_id, kind: {
            "final returns": np.array(finals[agent]), "final": (np.mean(finals[agent]), 0.0), "all": (averages[agent], 0.0)
        },
    )  # fmt: skip
    assert cells.best_of_three("CartPole-v1")[0] == best


def test_a_cell_above_its_control_is_judged_by_enough_episodes() -> None:
    for (agent, env_id), kind in product(cells.ABOVE_CONTROL, (cells.LEARNED, cells.FROZEN)):
        for run in cells.runs_of(agent, env_id, kind):
            found = read(run)
            assert found is not None
            assert found[1]["final_evaluation"]["episodes"] == EVALUATED_OF[env_id]


def test_controls_do_not_learn_in_hidden_layers() -> None:
    for env_id, agent in product(cells.LEVELS, cells.AGENTS):
        run = cells.run_of(agent, env_id, cells.FROZEN, 0)
        assert run.settings["frozen_layers"] == "hidden"


def test_a_control_trains_as_long_as_what_it_is_a_control_of() -> None:
    for env_id, agent in product(cells.LEVELS, cells.AGENTS):
        learned, frozen = (cells.run_of(agent, env_id, kind, 0).settings for kind in (cells.LEARNED, cells.FROZEN))
        for name in ("n_episodes", "n_timesteps"):
            assert frozen.get(name) == learned.get(name), (agent, env_id)


def test_a_control_keeps_its_noise() -> None:
    """Exploration is the same, so that only learning differs."""
    for kind in (cells.LEARNED, cells.FROZEN):
        run = cells.run_of("weight_max", cells.CONTINUOUS, kind, 0)
        assert isinstance(run, Run)
        assert any(run.settings["policy_kwargs"]["noise_persistence"])


def test_runs_without_settings_say_only_how_long_they_are() -> None:
    for env_id, agent in product(cells.LEVELS, cells.AGENTS):
        run = cells.run_of(agent, env_id, cells.DEFAULTS, 0)
        assert list(run.settings) == ["n_timesteps"]
        read(run)  # raises where a file was made with other settings


def test_a_second_length_of_other_agents_is_apart_from_the_first() -> None:
    """Runs of a million steps are not made anew, and not counted, where those of four million are meant."""
    first, second = (other_agents.runs_of("ppo", cells.ACROBOT, [3], longer=longer)[0] for longer in (False, True))
    assert first.path != second.path
    assert first.settings["n_timesteps"] < second.settings["n_timesteps"]
    assert second.settings["n_timesteps"] == cells.settings_of("weight_max", cells.ACROBOT, cells.LEARNED)["n_timesteps"]
    assert other_agents.runs_of("a2c", cells.ACROBOT, [3], longer=True) == []
    rows = [line for line in cells.others().splitlines() if line.startswith(f"| {cells.ACROBOT} |")]
    assert [row.split(" | ")[3] for row in rows] == ["4 000 000", "1 000 000"]
