import csv
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Annotation, Text

from coagent_rl import plot, train
from coagent_rl.analysis import learning_curve, learning_curves, style, sweep_figure
from coagent_rl.analysis.compare import Curve, normalised_scores, read_runs
from coagent_rl.analysis.curves import Panel, Profile, band_of, comparison_figure, fitting_window
from coagent_rl.analysis.known import METHODS, published_value
from tests.run_files import monitor_text, write_results, write_run


@pytest.fixture(autouse=True)
def small_images(monkeypatch) -> None:
    monkeypatch.setattr(style, "DPI", 80)


def curves(label: str, *returns, env: str = "CartPole-v1", lengths=None) -> list[Curve]:
    lengths = lengths or [None] * len(returns)
    pairs = zip(returns, lengths, strict=True)
    return [Curve(label, env, k, np.asarray(r, float), n and np.asarray(n)) for k, (r, n) in enumerate(pairs)]


# ---------------------------------------------------------------------- curves


def test_a_running_mean_begins_when_its_window_is_full() -> None:
    band = band_of("a", curves("a", [1.0, 3.0, 5.0, 7.0], [3.0, 5.0, 7.0, 9.0]), 2)
    np.testing.assert_array_equal(band.x, [2, 3, 4])
    np.testing.assert_allclose(band.mean, [3.0, 5.0, 7.0])
    np.testing.assert_allclose(band.high - band.mean, math.sqrt(2))
    assert band_of("a", curves("a", [1.0, 3.0]), 3) is None


def test_runs_of_different_length_are_averaged_as_far_as_all_reach() -> None:
    band = band_of("a", curves("a", [1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0, 9.0]), 1)
    np.testing.assert_array_equal(band.x, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(band.n, [2, 2, 2, 1, 1])
    np.testing.assert_allclose(band.mean, [2.0, 2.0, 2.0, 3.0, 9.0])
    np.testing.assert_array_equal(np.isfinite(band.low), [True, True, True, False, False])
    assert band.reached == 3
    # A run that is too short for the window is missing everywhere.
    band = band_of("a", curves("a", [1.0], [3.0, 3.0, 3.0]), 2)
    np.testing.assert_array_equal(band.n, [1, 1])
    assert band.reached is None


def test_time_steps_are_common_to_all_runs() -> None:
    """A mean changes where an episode ends and keeps its value until training is over."""
    runs = curves("a", [1.0, 3.0, 5.0], [2.0, 2.0, 8.0], lengths=[[2, 2, 3], [1, 2, 2]])
    band = band_of("a", runs, 2, x="steps")
    means = dict(zip(band.x.tolist(), band.mean.tolist(), strict=True))
    # Windows are full at the steps 4 and 3; the second run ends at 5.
    assert means == pytest.approx({4: (2 + 2) / 2, 5: (2 + 5) / 2, 6: 2.0, 7: 4.0})
    assert band.reached == 5
    longer = [Curve("a", "CartPole-v1", 0, run.returns, run.lengths, timesteps=9) for run in runs]
    band = band_of("a", longer, 2, x="steps")
    assert (band.reached, band.x[-1], band.mean[-1]) == (9, 9, 4.5)
    with pytest.raises(ValueError, match="are not known, so there are no time steps"):
        band_of("a", curves("a", [1.0, 2.0]), 1, x="steps")


@pytest.mark.parametrize(
    ("env", "least", "most"),
    [("CartPole-v1", 0, 500), ("Acrobot-v1", -500, 0), ("MountainCar-v0", -200, 0), ("coagent_rl/Multiplexer-v0", -1, 1)],
)
def test_bands_respect_the_possible_range(env, least, most) -> None:
    """Three runs at one end and one at the other: the standard deviation alone would go beyond both."""
    for many, one in ((least, most), (most, least)):
        runs = curves("a", *[np.full(3, float(many))] * 3, np.full(3, float(one)), env=env)
        mean, deviation = np.mean([many] * 3 + [one]), np.std([many] * 3 + [one], ddof=1)
        assert mean - deviation < least or mean + deviation > most
        band = band_of("a", runs, 1)
        np.testing.assert_allclose(band.low, max(mean - deviation, least))
        np.testing.assert_allclose(band.high, min(mean + deviation, most))


def test_intervals_resample_whole_runs() -> None:
    rng = np.random.default_rng(0)
    runs = curves("a", *rng.normal(100.0, 10.0, (10, 1)) + np.zeros((10, 4)))
    band, again = (band_of("a", runs, 1, spread="interval") for _ in range(2))
    np.testing.assert_array_equal(band.low, again.low)
    np.testing.assert_allclose(band.low, band.low[0])  # the same runs at every point
    half = 1.96 * np.std([run.returns[0] for run in runs]) / math.sqrt(10)
    np.testing.assert_allclose(band.high - band.low, 2 * half, rtol=0.1)
    assert np.isnan(band_of("a", runs, 1, spread="none").low).all()
    assert np.isnan(band_of("a", runs[:1], 1).low).all()


def test_a_short_run_has_a_shorter_window() -> None:
    assert fitting_window(100, curves("a", np.ones(1000), np.ones(3))) == 100
    assert fitting_window(100, curves("a", np.ones(30))) == 15
    assert fitting_window(100, curves("a", np.ones(1))) == 1


# ---------------------------------------------------------------------- figures


def texts(figure: Figure) -> dict[str, object]:
    """Visible words of a figure (numbers at ticks aside) and the boxes that they take."""
    found = [text for text in figure.findobj(Text) if text.get_visible() and any(map(str.isalpha, text.get_text()))]
    return {f"{k} {text.get_text()}": Text.get_window_extent(text) for k, text in enumerate(found)}


def assert_nothing_is_cut_off(figure: Figure, path: Path) -> None:
    for text, box in texts(figure).items():
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.width, text
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.height, text
    image = imread(path)[..., :3]
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert np.all(edge == 1.0)


def assert_words_do_not_overlap(figure: Figure) -> None:
    for (one, box), (other, its_box) in combinations(texts(figure).items(), 2):
        overlap = min(box.x1, its_box.x1) - max(box.x0, its_box.x0), min(box.y1, its_box.y1) - max(box.y0, its_box.y0)
        assert min(overlap) <= 0.5, (one, other)  # half a pixel


def noisy(labels, n_runs: int, n: int, env: str = "CartPole-v1", level: float = 400.0) -> dict[str, list[Curve]]:
    rng = np.random.default_rng(0)
    return {label: curves(label, *np.minimum(rng.normal(level, 90, (n_runs, n)), 500), env=env) for label in labels}


def panel(env: str, methods: dict[str, list[Curve]], window: int = 10, published: bool = False) -> Panel:
    bands = [band_of(label, runs, window) for label, runs in methods.items()]
    values = {label: published_value(label, env) for label in methods} if published else {}
    return Panel(env, bands, window, published={label: value for label, value in values.items() if value})


def test_names_at_the_ends_of_lines_do_not_overlap(tmp_path) -> None:
    """Nine curves that end within a hair of each other, and six published values."""
    labels = list(METHODS.values())[:9]
    figure = comparison_figure(
        tmp_path / "a.png", [panel("CartPole-v1", noisy(labels, 2, 40), published=True)], title="A title"
    )
    found = {name.get_text().replace("\n", " ") for name in figure.findobj(Annotation)}
    assert {*labels, "published 390.38", "published 459.7"} <= found
    assert not figure.findobj(mpl.legend.Legend)
    assert_words_do_not_overlap(figure)
    assert_nothing_is_cut_off(figure, tmp_path / "a.png")


def test_more_curves_have_a_legend(tmp_path) -> None:
    labels = [f"a rule with a long name, number {k}" for k in range(12)]
    methods = noisy(labels, 2, 40)
    figure = comparison_figure(tmp_path / "a.png", [panel("CartPole-v1", methods), panel("Acrobot-v1", methods)])
    (legend,) = figure.findobj(mpl.legend.Legend)
    assert [text.get_text() for text in legend.get_texts()] == labels
    assert_words_do_not_overlap(figure)
    assert_nothing_is_cut_off(figure, tmp_path / "a.png")


def test_several_panels_with_a_profile(tmp_path) -> None:
    envs = ("CartPole-v1", "LunarLander-v3", "coagent_rl/Multiplexer-v0")
    methods = {env: noisy(["Weight Max", "REINFORCE", "mine"], 3 + (env == envs[0]), 30, env, 0.4) for env in envs}
    runs = [run for groups in methods.values() for group in groups.values() for run in group]
    profile = Profile(normalised_scores(runs), "return, all episodes")
    path = tmp_path / "a.png"
    figure = comparison_figure(path, [panel(env, group) for env, group in methods.items()], profile=profile)
    words = " ".join(texts(figure))
    for expected in (*envs, "interquartile mean", "performance profile", "Weight Max (4\N{NO-BREAK SPACE}runs)"):
        assert expected in words
    assert_words_do_not_overlap(figure)
    assert_nothing_is_cut_off(figure, path)
    assert imread(path).shape[:2] == tuple(round(80 * inches) for inches in figure.get_size_inches()[::-1])


def test_a_run_that_ends_early_goes_on_as_a_thin_line(tmp_path) -> None:
    runs = {"a": curves("a", np.ones(30), np.ones(60)), "b": curves("b", np.ones(60), np.ones(60))}
    figure = comparison_figure(tmp_path / "a.png", [panel("Taxi-v3", runs)])
    (axes,) = figure.findobj(mpl.axes.Axes)
    drawn = [(line.get_linewidth(), line.get_xdata()[np.isfinite(line.get_ydata())]) for line in axes.get_lines()]
    assert [(width, x[0], x[-1]) for width, x in drawn] == [(1.4, 10, 30), (0.6, 30, 60), (1.4, 10, 60)]
    assert any("Thin: mean over those runs that reach so far." in text.replace("\n", " ") for text in texts(figure))


def test_figures_are_the_same_file_and_leave_settings_alone(tmp_path) -> None:
    before = mpl.rcParams.copy()
    for name in ("a.png", "b.png", "a.svg", "b.svg"):
        comparison_figure(tmp_path / name, [panel("CartPole-v1", noisy(["mine"], 2, 20))])
    assert mpl.rcParams.copy() == before
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_figures_of_the_benchmarks(tmp_path) -> None:
    rng = np.random.default_rng(0)
    learning_curve(tmp_path / "one.png", {"weight_max": [rng.random(30)]}, "CartPole-v1")
    runs = {"Weight Max": [rng.random(300), rng.random(200)], "b": [rng.random(300)]}
    learning_curve(tmp_path / "two.png", runs, "CartPole-v1")
    learning_curves(tmp_path / "panels.png", {"task 1": runs, "task 2": runs}, {"task 1": 100, "task 2": 10})
    points = {"1": (0.5, 0.1), "2": (0.7, 0.2)}
    sweep_figure(tmp_path / "sweep.png", {"p": {"a": points, "b": points}, "c": {"a": points}}, "return")
    for name in ("one", "two", "panels", "sweep"):
        image = imread(tmp_path / f"{name}.png")[..., :3]
        assert image.min() < 0.5
        for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
            assert np.all(edge == 1.0), name


# ---------------------------------------------------------------------- the command


@pytest.fixture
def study(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for algo, level in (("weight_max", 60), ("reinforce", 30)):
        for seed in range(3):
            returns = rng.integers(level // 2, level, 40 + 10 * seed)
            text = monitor_text(returns, returns)
            write_run(tmp_path / "study" / algo / f"CartPole-v1_{seed}", text, algo=algo, seed=seed, final=float(level))
    return tmp_path / "study"


def test_the_command_prints_a_table_and_draws(study, tmp_path, capsys) -> None:
    arguments = ["-o", f"{tmp_path}/out/figure.svg", "--csv", f"{tmp_path}/out/numbers.csv", "--published", "--window", "20"]
    assert plot.main([str(study), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "mean ± standard deviation over runs (ddof 1)" in printed
    assert "| CartPole-v1 | Weight Max | 3    | 40-60    |" in printed
    assert "| 390.38 ± 43.25 |" in printed
    assert "Published: mean ± population standard deviation (ddof 0) of 10 runs, Chung (2022), table 1." in printed
    assert (
        "Weight Max on CartPole-v1: the mean is of all 3 runs as far as episode 40, then of those that are there, "
        "as a thin line as far as 60."
    ) in printed
    assert ElementTree.parse(tmp_path / "out/figure.svg").getroot().tag.endswith("svg")

    with open(tmp_path / "out/numbers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = [run for run in read_runs([study]) if run.label == "Weight Max"]
    averages = [run.returns.mean() for run in runs]
    (over_all,) = [row for row in rows if row["method"] == "Weight Max" and row["quantity"] == "return, all episodes"]
    assert (over_all["task"], over_all["x"], over_all["runs"]) == ("CartPole-v1", "", "3")
    assert float(over_all["mean"]) == pytest.approx(np.mean(averages))
    assert float(over_all["high"]) == pytest.approx(np.mean(averages) + np.std(averages, ddof=1))
    points = [row for row in rows if row["method"] == "Weight Max" and row["quantity"].endswith("by episodes")]
    assert [int(row["x"]) for row in points] == list(range(20, 61))
    assert float(points[0]["mean"]) == pytest.approx(np.mean([run.returns[:20] for run in runs]))
    assert [row["runs"] for row in points if row["x"] in ("40", "41", "60")] == ["3", "2", "1"]
    assert points[-1]["low"] == ""


def test_steps_profile_and_names_of_the_users_own(study, tmp_path, capsys) -> None:
    folders = [str(study / "weight_max"), str(study / "reinforce")]
    options = ["--x", "steps", "--spread", "interval", "--profile", "--score", "final", "--label", "ours", "theirs"]
    numbers = tmp_path / "numbers.csv"
    assert plot.main([*folders, *options, "-o", f"{tmp_path}/a.png", "--csv", str(numbers), "--title", "Mine"]) == 0
    printed = capsys.readouterr().out
    assert "mean [95 % bootstrap interval] over runs" in printed
    score = (60 - 22.2) / (475 - 22.2)
    assert f"ours: {score:.3f} [{score:.3f}, {score:.3f}]" in printed
    assert "running means of 30 episodes, not of 100: the longest run has only 60." in printed
    assert "by steps" in numbers.read_text()
    assert 'CartPole-v1,ours,"interquartile mean, return, after training",,3,' in numbers.read_text()


def test_a_panel_a_task(tmp_path, capsys) -> None:
    write_run(tmp_path / "logs/a", monitor_text([1.0, 2.0], [1, 2]))
    write_results(tmp_path / "results", np.array([-80.0, -90.0]), "weight_max", "Acrobot-v1", timesteps=172)
    arguments = [f"{tmp_path}/logs", f"{tmp_path}/results", "-o", f"{tmp_path}/a.png", "--profile", "--x", "steps"]
    assert plot.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| Acrobot-v1  | Weight Max |" in printed
    assert "over CartPole-v1, Acrobot-v1: interquartile mean" in printed


def test_wrong_input_ends_in_a_sentence(study, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "begun", monitor_text([], []))
    write_results(tmp_path / "results", np.array([5.0, 7.0]), env="LunarLander-v3", timesteps=100)
    write_results(tmp_path / "theirs", np.array([5.0, 7.0]), "a2c")
    for arguments, sentence in {
        ("empty",): "There is no run in empty: a run is a folder with a config.yml and a monitor file",
        ("nowhere",): "There is no folder nowhere.",
        ("begun",): "No run in begun has a finished episode yet",
        ("study", "-o", "a.pdf"): "--output takes a .png or .svg file, not 'a.pdf'.",
        ("study", "-o", "a"): "--output takes a .png or .svg file, not 'a'.",
        ("study", "--csv", "empty"): "--csv takes a file, but empty is a folder.",
        ("study", "--window", "0"): "--window must be at least 1, not 0.",
        ("study", "--label", "a", "b"): "Each of the 1 folders needs a label, but there are 2: a, b.",
        (
            "results",
            "--x",
            "steps",
        ): "The lengths of the episodes in results/weight_max/LunarLander-v3/seed_0.npz are not",
        ("results", "theirs", "--profile"): "There is no task with levels to normalise by on which all methods were run",
        ("results", "--profile", "--score", "final"): "There is no final score in results",
    }.items():
        assert plot.main(list(arguments)) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"coagent-plot: error: {sentence}")
        assert not list(tmp_path.glob("*.*"))


def test_a_run_of_train(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main(["-n", "300", "--n-envs", "2", "--seed", "3", "--final-eval-episodes", "2", "--eval-freq", "-1"]) == 0
    summary = (tmp_path / "logs/weight_max/CartPole-v1_1/summary.json").read_text()
    (run,) = read_runs(["logs"])
    assert (run.seed, run.timesteps) == (3, 300)
    assert f'"mean_return_all_episodes": {run.returns.mean()}' in summary
    assert f'"mean_return": {run.final_score}' in summary
    assert np.all(np.diff(run.end_steps()) >= 0)
    assert run.end_steps()[-1] <= 300
    assert plot.main(["logs", "--x", "steps"]) == 0
    assert imread("compare.png").shape[0] > 200


def test_help_is_light() -> None:
    code = (
        "import sys; from coagent_rl import plot; plot.parser().format_help();"
        "heavy = {'matplotlib', 'torch', 'numba', 'stable_baselines3', 'yaml'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "import coagent_rl.analysis.curves;"
        "heavy = {'torch', 'numba', 'stable_baselines3'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    done = subprocess.run([sys.executable, "-m", "coagent_rl.plot", "--help"], check=True, capture_output=True, text=True)
    assert "usage: coagent-plot" in done.stdout
