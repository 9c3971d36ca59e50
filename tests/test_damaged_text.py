"""Text in a run's folder that makes no sense: every command says which file and where, and ends with 2."""

import pytest

from coagent_rl import evaluate, train
from coagent_rl.analysis.runs import read_runs
from coagent_rl.archive import json_from
from coagent_rl.training.files import read_config
from coagent_rl.training.hyperparameters import load_hyperparameters, parse_pairs
from coagent_rl.training.reading import read_summary, yaml_from
from coagent_rl.training.results import read_finished, read_study
from tests.run_files import monitor_text, write_run

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 60))
NONSENSE = {
    "[" * 5000: "nested too deeply in line 1",
    "a: 1\nb: !!bool x": "'x' is no bool .*line 2, column 4",
    "!!timestamp x": "'x' is no timestamp .*line 1, column 1",
    "a: 2020-99-99": "'2020-99-99' is no timestamp .*line 1, column 4",
    "!!int x": "'x' is no int",
    "9" * 5000: "is no int",
    "a: !!float [": "line 1",
    "a: &a [*a]": "deeper than 100 levels",
    BOMB: "more than 100000 values",
    "a: &a " + "[" * 80 + "]" * 80 + "\nb: " + "[" * 80 + "*a" + "]" * 80: "deeper than 100 levels",
    "!!python/object/apply:os.getcwd []": "could not determine a constructor",
    "a: [": "line 1",
    "a: {gamma: 0.9, b: 1, gamma: 0.8}": "'gamma' is there twice, as 0.9 and as 0.8; give one.*line 1, column 23",
    "a:\n  b: 1\na:\n  b: 1": "'a' is there twice, as what begins in line 2 and as what begins in line 4.*line 3",
    "a: [1, 2]\na: |\n  b": r"'a' is there twice, as \[1, 2\] and as what begins in line 2",
    "\0": "special characters are not allowed",
}


@pytest.fixture
def folder(tmp_path):
    """A run's folder without a model."""
    return write_run(tmp_path / "run", monitor_text([1.0, 2.0], [1, 2]), finished=False)


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:18].strip())
def test_yaml_that_makes_no_sense_is_an_error_with_its_place(folder, capsys, text) -> None:
    message = f"(?s){{}}.* cannot be read: .*{NONSENSE[text]}"
    with pytest.raises(ValueError, match=message.format("x.yml")):
        yaml_from(text, "x.yml")
    for name, commands in {
        "config.yml": ((evaluate, [str(folder)]), (train, ["--resume", str(folder)])),
        "args.yml": ((train, ["--resume", str(folder)]),),
        "study.yml": ((train, ["--resume", str(folder)]),),
        "own.yml": ((train, ["-conf", str(folder / "own.yml")]),),
    }.items():
        path = folder / name
        before = path.read_text() if path.exists() else None
        path.write_text(text)
        for command, words in commands:
            assert command.main(words) == 2
            assert f"{path} cannot be read: " in capsys.readouterr().err
        for read in (read_config, read_study) if name in ("config.yml", "study.yml") else ():
            if name.startswith(read.__name__[5:]):
                with pytest.raises(ValueError, match=message.format(name)):
                    read(folder)
        path.unlink() if before is None else path.write_text(before)


def test_yaml_may_name_what_it_says_again(tmp_path) -> None:
    (tmp_path / "own.yml").write_text("default: &all {n_timesteps: 5}\nCartPole-v1: {<<: *all, gamma: 1e-1}")
    found = load_hyperparameters("weight_max", "CartPole-v1", str(tmp_path / "own.yml"))
    assert found == {"n_timesteps": 5, "gamma": 0.1}
    again = "a: {b: &x {<<: &y {k: 1}, k: 2}}\nc: {<<: *x, k: 3}"  # a merge and a key of one's own are no repetition
    assert yaml_from(again, "x.yml") == {"a": {"b": {"k": 2}}, "c": {"k": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "cannot be read"),
        ('{"interrupted": fal', "cannot be read"),
        ("\xff", "cannot be read"),
        ("[]", "does not hold the summary of a run"),
        ('{"interrupted": "no"}', "interrupted must be true or false, not 'no'"),
        ('{"episodes": -1}', "episodes must be a whole number"),
        ('{"timesteps": "many"}', "timesteps must be a whole number"),
        ('{"seed": 1.5}', "seed must be a whole number"),
        ('{"final_evaluation": {"mean_return": "high"}}', "final_evaluation must be a mapping with a mean_return"),
        ('{"mean_return_last_100": []}', "mean_return_last_100 must be a number"),
    ],
)
def test_a_damaged_summary_is_an_error(folder, capsys, text, message) -> None:
    """Nobody guesses whether the run was complete."""
    (folder / "summary.json").write_text(text, encoding="latin-1")
    for read, given in ((read_summary, folder), (read_finished, folder), (read_runs, [folder])):
        with pytest.raises(ValueError, match=f"summary.json .*{message}"):
            read(given)
    assert train.main(["--resume", str(folder)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "delete it, and the run goes on from its last checkpoint" in said


@pytest.mark.parametrize("text", ['{"a": NaN}', "[-Infinity]", "Infinity", "[" * 100_000])
def test_members_are_json_and_nothing_else(text) -> None:
    with pytest.raises(ValueError, match=r"the member data\.json is not JSON"):
        json_from(text.encode(), "data.json")


@pytest.mark.parametrize("value", ["[" * 300 + "]" * 300, "(" + "-" * 20_000 + "1)", "{[]: 1}", "(" * 50_000])
def test_arguments_nested_too_deeply_are_no_values(value) -> None:
    with pytest.raises(ValueError, match="The value of 'gamma'"):
        parse_pairs([f"gamma:{value}"])
