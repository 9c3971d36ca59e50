"""evaluate.py, as a user calls it."""

import json

import numpy as np
import pytest

from coagent_rl import evaluate
from coagent_rl.training.environments import rows_for
from tests.command_line import QUICK, RATES, run_train


def test_evaluate(tmp_path, capsys) -> None:
    folder = run_train(tmp_path, "-n", "600", "--eval-freq", "300")
    words = ["--n-episodes", "4", "--seed", "5", "--json", str(tmp_path / "result.json")]
    assert evaluate.main([str(folder), *words, "--record", str(tmp_path / "episode.gif")]) == 0
    printed = capsys.readouterr().out
    assert "mean ± standard deviation" in printed
    assert "95 % confidence interval" in printed
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["deterministic"] is True
    assert result["mean_return"] == pytest.approx(np.mean(result["returns"]))
    assert len(result["lengths"]) == 4
    from PIL import Image

    with Image.open(tmp_path / "episode.gif") as gif:
        assert gif.n_frames > 5
    assert evaluate.main(["-f", str(tmp_path), *words, "--load-best"]) == 0  # the newest run, like RL Zoo's enjoy
    first = json.loads((tmp_path / "result.json").read_text())
    assert first["model"].endswith("best_model.zip")
    assert evaluate.main(["-f", str(tmp_path), *words, "--load-best"]) == 0
    assert json.loads((tmp_path / "result.json").read_text()) == first
    assert evaluate.main([str(folder), *words, "--stochastic"]) == 0
    assert json.loads((tmp_path / "result.json").read_text())["deterministic"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere is not a run's folder"),
        (["--algo", "reinforce", "-f", "nowhere"], "There is no run at all of reinforce on CartPole-v1"),
        (["--algo", "weightmax"], "Unknown algorithm 'weightmax'. Did you mean weight_max"),
        (["--n-episodes", "0"], "--n-episodes must be at least 1"),
        (["--record", "x.avi"], "--record takes a .gif or an .mp4 file"),
    ],
)
def test_wrong_arguments_of_evaluate(capsys, words, message) -> None:
    assert evaluate.main(words) == 2
    assert message in capsys.readouterr().err


def test_the_help_names_one_default_of_how_to_act() -> None:
    text = " ".join(evaluate.parser().format_help().split())
    assert "[default] --stochastic sample actions as in training --seed" in text
    assert [evaluate.parser().parse_args(words).deterministic for words in ([], ["--deterministic"], ["--stochastic"])] == [
        True,
        True,
        False,
    ]


def test_broken_files_of_a_run(tmp_path, capsys) -> None:
    folder = run_train(tmp_path, "-n", "50", "-params", "normalize:true", *RATES, *QUICK[-1:])
    config, model = (folder / name for name in ("config.yml", "CartPole-v1.zip"))
    for path, content, message in (
        (model, model.read_bytes()[:500], "is not a saved model"),
        (config, b"a: [", "config.yml cannot be read"),
        (config, b"", "'algo' is missing"),
        (config, b"{algo: weight_max, env: CartPole-v1, env_kwargs: {}}", "'settings' is missing"),
    ):
        whole = path.read_bytes()
        path.write_bytes(content)
        assert evaluate.main([str(folder)]) == 2
        assert message in capsys.readouterr().err
        path.write_bytes(whole)
    assert evaluate.main([str(folder), "--json", str(tmp_path)]) == 2
    assert "--json takes a file" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--record", "--json"])
def test_where_no_file_can_be_is_said_before_evaluating(tmp_path, capsys, option) -> None:
    folder = run_train(tmp_path, "-n", "20", "--final-eval-episodes", "0")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.gif").mkdir()
    capsys.readouterr()
    for path, message in (("file/x.gif", "cannot be written"), ("folder.gif", f"{option} takes a file, but")):
        assert evaluate.main([str(folder), "--n-episodes", "1", option, str(tmp_path / path)]) == 2
        out, err = capsys.readouterr()
        assert message in err
        assert "return" not in out
    assert evaluate.main([str(folder), "--n-episodes", "1", option, str(tmp_path / "new" / "folders" / "x.gif")]) == 0
    assert (tmp_path / "new" / "folders" / "x.gif").stat().st_size > 0


@pytest.mark.parametrize("env", ["coagent_rl/Multiplexer-v0", "coagent_rl/Corridor-v0"])
def test_what_cannot_be_drawn_is_not_recorded(tmp_path, capsys, env) -> None:
    folder = run_train(tmp_path, "-n", "20", "--env", env, "--final-eval-episodes", "0")
    capsys.readouterr()
    assert evaluate.main([str(folder), "--n-episodes", "2", "--record", str(tmp_path / "x.gif")]) == 2
    out, err = capsys.readouterr()
    assert "cannot be drawn as an image" in err
    assert "return" not in out  # it says so before it evaluates


@pytest.mark.parametrize(
    ("n_episodes", "env_id", "env_kwargs", "wrapper", "n_rows"),
    [
        (100, "CartPole-v1", {}, None, 20),
        (5, "CartPole-v1", {}, None, 5),
        (100, "coagent_rl/Multiplexer-v0", {}, None, 20),
        (100, "LunarLander-v3", {}, None, 1),
        (100, "CartPole-v1", {"render_mode": "rgb_array"}, None, 1),
        (100, "CartPole-v1", {}, "gymnasium.wrappers.NormalizeReward", 1),
    ],
)
def test_only_what_needs_no_python_is_evaluated_side_by_side(n_episodes, env_id, env_kwargs, wrapper, n_rows) -> None:
    assert rows_for(n_episodes, env_id, env_kwargs, wrapper) == n_rows


def test_the_model_of_another_run_is_noticed(tmp_path, capsys) -> None:
    folder = run_train(tmp_path, "-n", "60", "--eval-freq", "50")
    other = run_train(tmp_path, "-n", "60", "--eval-freq", "50", "--seed", "2")
    faster = run_train(tmp_path, "gamma:0.5", "-n", "60", "--eval-freq", "50")
    capsys.readouterr()
    for source, name, message in (
        (other, "CartPole-v1.zip", "seed 2, not 1"),
        (other, "best_model.zip", "seed 2, not 1"),
        (faster, "CartPole-v1.zip", "gamma 0.5, not 0.98"),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes((source / name).read_bytes())
        words = [str(folder), "--n-episodes", "1", *(["--load-best"] if name == "best_model.zip" else [])]
        assert evaluate.main(words) == 2
        error = capsys.readouterr().err
        assert f"{folder / name} is not a model of this run" in error
        assert message in error
        (folder / name).write_bytes(whole)
        assert evaluate.main(words) == 0
