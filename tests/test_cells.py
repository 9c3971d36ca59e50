"""The table of three agents on six tasks: what it is made of, and that the page says what it says."""

import re
from itertools import product

import pytest

from benchmarks import cells
from benchmarks.runs import RESULTS, Run, read
from benchmarks.tables import statistics


@pytest.mark.parametrize("name", cells.TABLES)
def test_tables_and_page_are_made_of_the_committed_runs(name) -> None:
    assert cells.TABLES[name]() == (RESULTS / "cells" / name).read_text(encoding="utf-8")
    page = cells.PAGE.read_text(encoding="utf-8")
    assert f"<!-- {name} -->" in page
    assert cells.page(page) == page


def test_the_page_counts_right() -> None:
    found = {
        (env_id, agent): statistics(cells.runs_of(agent, env_id, cells.LEARNED))
        for env_id, agent in product(cells.LEVELS, cells.AGENTS)
    }
    n_reached = sum(cell is not None and cell["final"][0] >= cells.LEVELS[env_id] for (env_id, _), cell in found.items())
    n_empty = sum(cell is None for cell in found.values())
    said = re.search(
        r"\*\*(\d+) of (\d+) cells reach their level\*\*; (\d+) is empty|", cells.PAGE.read_text(encoding="utf-8")
    )
    assert said is not None
    assert [int(number) for number in re.findall(r"\d+", said[0])] == [n_reached, len(found), n_empty]


def test_runs_of_other_tables_are_read_only_where_their_settings_are_the_shipped_ones() -> None:
    reused = 0
    for env_id, agent in product(cells.LEVELS, cells.AGENTS):
        for run in cells.runs_of(agent, env_id, cells.LEARNED):
            assert cells.plain(run.settings) == cells.plain(cells.settings_of(agent, env_id, cells.LEARNED))
            reused += run.table != "cells"
    assert reused > 50


def test_controls_do_not_learn_in_hidden_layers() -> None:
    for env_id, agent in product(cells.LEVELS, cells.AGENTS):
        run = cells.run_of(agent, env_id, cells.FROZEN, 0)
        assert run.settings["frozen_layers"] == "hidden"


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
