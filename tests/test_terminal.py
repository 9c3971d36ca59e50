"""What a user sees in the terminal: the speed of training alone, the progress bar, what lies in the folder."""

import io
import threading
import time

import numba
import numpy as np
import pytest
import rich.progress
from rich.console import Console
from stable_baselines3.common.callbacks import EvalCallback

from coagent_rl.training import clock as clock_module
from coagent_rl.training.callbacks import ProgressBar
from coagent_rl.training.clock import Clock
from coagent_rl.training.files import contents
from coagent_rl.training.hyperparameters import load_hyperparameters
from coagent_rl.training.run import Options, train
from tests.command_line import run_train


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time that clocks see."""
    seen = [100.0]
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: seen[0])
    return seen


def test_what_is_done_aside_is_no_training(now) -> None:
    clock = Clock()
    clock.start(seconds=50.0, training_seconds=40.0)
    now[0] += 3.0
    with clock.aside():
        now[0] += 10.0
        with clock.aside():  # compiling while evaluating counts once
            now[0] += 1.0
        assert clock.training_seconds == pytest.approx(43.0)
    now[0] += 2.0
    clock.stop()
    assert clock.seconds == pytest.approx(66.0)
    assert clock.training_seconds == pytest.approx(45.0)


def compile_something() -> float:
    """Compile a new function; returns the seconds that it took."""
    began = time.perf_counter()
    numba.njit(lambda x: np.sort(x)[0] + np.sin(x).sum())(np.ones(3))
    return time.perf_counter() - began


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_compilation_is_no_training() -> None:
    clock = Clock()
    clock.start()
    took = compile_something()
    assert clock.seconds - clock.training_seconds == pytest.approx(took, rel=0.3)
    before = clock.seconds - clock.training_seconds
    # What another thread compiles is not this run's.
    other = threading.Thread(target=compile_something)
    other.start()
    other.join()
    assert clock.seconds - clock.training_seconds == pytest.approx(before, abs=0.05)
    clock.stop()
    compile_something()
    assert clock.seconds - clock.training_seconds == pytest.approx(before, abs=0.05)


def test_the_summary_has_the_speed_of_training_alone(tmp_path, monkeypatch) -> None:
    inner, evaluations = EvalCallback._on_step, []

    def slow(self) -> bool:
        if self.n_calls % self.eval_freq == 0:
            evaluations.append(self.n_calls)
            time.sleep(0.2)
        return inner(self)

    monkeypatch.setattr(EvalCallback, "_on_step", slow)
    settings = {**load_hyperparameters("reinforce", "CartPole-v1"), "n_timesteps": 400, "n_episodes": None}
    summary = train("reinforce", "CartPole-v1", settings, 0, Options(folder=tmp_path, eval_freq=100)).summary
    assert len(evaluations) == 4
    assert summary["seconds"] - summary["training_seconds"] > 0.8
    assert summary["steps_per_second"] == pytest.approx(400 / summary["training_seconds"])


def test_the_progress_bar_fits_a_line_and_says_all(tmp_path, monkeypatch, capsys) -> None:
    screen = io.StringIO()
    wide = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(rich.progress, "get_console", lambda: wide)
    run_train(tmp_path, "--n-episodes", "300", "--progress", "--eval-freq", "-1")
    last = [line for line in screen.getvalue().replace("\r", "\n").split("\n") if "steps/s" in line][-1]
    assert "300/300 episodes, 0:00:00 left," in last
    assert " steps/s, return " in last
    assert "…" not in last
    printed = capsys.readouterr().out
    speed = int(printed.split(" steps/s;")[0].rsplit("(", 1)[1])
    shown = int(last.split(" steps/s")[0].split()[-1])
    assert shown == pytest.approx(speed, rel=0.5)


def test_a_bar_that_goes_on_begins_where_it_was() -> None:
    class Recorder:
        returns = [1.0] * 7

    bar = ProgressBar(Recorder(), 10, in_episodes=True)  # type: ignore[arg-type]
    assert bar._done() == 7


def test_the_closing_lines_say_what_is_in_the_folder(tmp_path, capsys) -> None:
    folder = run_train(tmp_path, "-n", "300", "--eval-freq", "150", "--save-freq", "100")
    printed = capsys.readouterr().out
    assert "s were training (" in printed
    assert f"To watch it: python evaluate.py {folder} --page episode.html" in printed
    listed = dict(contents(folder))
    assert set(listed) == {path.name for path in folder.iterdir()}
    assert all(listed.values())
    assert next(iter(listed)) == "CartPole-v1.zip"
    assert listed["best_model.zip"] == "the best model in the evaluations during training"
    for name, what in listed.items():
        (line,) = (line for line in printed.splitlines() if line.split()[:1] == [name])
        assert line.endswith(f"  {what}")
    (folder / "notes.txt").write_text("mine")
    assert contents(folder)[-1] == ("notes.txt", "")
