"""The figures of supervised coagent networks: what is made, what is not made again, what goes on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn, the extra 'supervised', is not installed")

from benchmarks import supervised
from benchmarks.supervised import Run, execute, read
from benchmarks.supervised_figures import FIGURES, RULES, System, discrete, on_walk

ROOT = Path(__file__).parents[1]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.supervised.RESULTS", tmp_path)
    return tmp_path


def test_a_figure_is_made_and_its_runs_are_not_made_again(results, capsys, monkeypatch) -> None:
    words = ["figure3a", "--epochs", "1", "--seeds"]
    supervised.main([*words, "0"])
    assert "0 of 6 runs are there already" in capsys.readouterr().out
    files = sorted((results / "supervised" / "digits").glob("*/seed_0.npz"))
    assert len(files) == 6
    table = (results / "supervised" / "figure3a_digits.md").read_text(encoding="utf-8")
    assert "| digits, two hidden layers | straight-through | training | 1 | 1 | 0." in table
    assert (results / "supervised" / "figure3a_digits.png").read_bytes().startswith(b"\x89PNG")
    with np.load(files[0]) as file:
        assert {"epoch", "training", "validation", "test", "entropy_0", "sparsity_0", "facts"} <= set(file.files)
        assert file["training"].dtype == np.float32
    before = {path: path.read_bytes() for path in files}
    monkeypatch.setattr("benchmarks.supervised.execute", lambda run: pytest.fail(f"{run} was made again"))
    supervised.main([*words, "0"])
    assert "6 of 6 runs are there already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in files} == before


@pytest.mark.parametrize(
    "system", [System("a", "digits", discrete(1, baseline="global")), on_walk(0.95, 2.0**-9, 2.0)], ids=lambda s: s.data
)
def test_a_longer_run_goes_on_as_if_it_had_never_stopped(system, results, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.supervised.UPDATES_PER_SEGMENT", 20)
    execute(Run(system, 0, 1))
    assert read(Run(system, 0, 3)) is None
    execute(Run(system, 0, 3))
    went_on, facts = read(Run(system, 0, 3))
    for path in (results / "supervised" / system.data / system.name).iterdir():
        path.unlink()
    execute(Run(system, 0, 3))
    at_once, others = read(Run(system, 0, 3))
    assert list(went_on["epoch"]) == [1, 2, 3]
    assert went_on.keys() == at_once.keys()
    for name, curve in at_once.items():
        np.testing.assert_array_equal(went_on[name], curve)
    assert facts["updates"] == others["updates"]


def test_checkpoints_are_written_from_the_command_line_too(tmp_path) -> None:
    """There the module is named ``__main__``, of which no class can be read again."""
    code = (
        "import runpy, sys; from pathlib import Path; import benchmarks.runs; "
        f"benchmarks.runs.RESULTS = Path({str(tmp_path)!r}); "
        "sys.argv = ['supervised', 'figure3a', '--epochs', '1', '--seeds', '0']; "
        "runpy.run_module('benchmarks.supervised', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("supervised/digits/*/seed_0.pkl"))) == 6


def test_a_file_made_with_other_settings_is_not_taken(results) -> None:
    execute(Run(System("a", "digits", {"hidden_layer_sizes": [4], "n_samples": 1}), 0, 1))
    with pytest.raises(ValueError, match=r"other settings \(n_samples\): delete it"):
        read(Run(System("a", "digits", {"hidden_layer_sizes": [4], "n_samples": 2}), 0, 1))


def test_every_rule_is_tuned_with_as_many_trials(results, monkeypatch, capsys) -> None:
    chosen = {row: RULES[row] for row in ("Co-G", "backprop")}
    monkeypatch.setattr("benchmarks.supervised.RULES", chosen)
    supervised.main(["rules", "--epochs", "1", "--seeds", "0", "--tune", "2"])
    files = sorted((results / "supervised" / "tuning").iterdir())
    assert len(files) == 4  # two rows, one and two layers
    for path in files:
        trials = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [trial["trial"] for trial in trials] == [0, 1]
        assert trials[0]["drawn"] != trials[1]["drawn"]
    lines = (results / "supervised" / "rules_digits.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(("| 1", "| 2"))]
    assert [row.split(" | ")[1:3] for row in rows] == [[name, "2"] for _ in (1, 2) for name in chosen]
    best = max(
        (json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()), key=lambda trial: trial["score"]
    )
    assert f"{best['drawn']['learning_rate'][0]:g}" in next(row for row in rows if row.startswith("| 1 | backprop"))


def test_data_are_asked_for_only_where_something_is_missing(results, monkeypatch, capsys) -> None:
    def is_not_there(name):
        raise FileNotFoundError(name)

    run = Run(System("a", "digits", {"hidden_layer_sizes": [4]}), 0, 1)
    execute(run)
    monkeypatch.setattr("benchmarks.supervised.load", is_not_there)
    supervised.execute_all([run], 1)
    assert "1 of 1 runs are there" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="digits"):
        supervised.execute_all([run, Run(run.system, 1, 1)], 1)


@pytest.mark.parametrize("name", FIGURES)
def test_systems_of_a_name_are_one_system(name) -> None:
    """Figures share runs by the system's name and data."""
    known: dict[tuple[str, str], System] = {}
    for figure in FIGURES.values():
        for line in figure("mnist").lines:
            assert known.setdefault((line.system.data, line.system.name), line.system) == line.system
    figure = FIGURES[name]("mnist")
    assert {line.system.data for line in figure.lines} <= set(figure.epochs)
    assert len({(line.panel, line.label) for line in figure.lines}) == len(figure.lines)
