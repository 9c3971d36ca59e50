"""Every figure is drawn, and can be printed: its size, its letters, nothing cut off, no names over each other."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from benchmarks import decentralized_ddpg, rule_drawings, speed_report, sub_critics, tables
from benchmarks.supervised_figures import FIGURES, draw_figure
from coagent_rl.analysis import (
    UpdateAngles,
    learning_curve,
    learning_curves,
    network_picture,
    relaxation_figure,
    sweep_figure,
    unit_statistics,
    unit_statistics_figure,
)
from coagent_rl.analysis.known import TASKS
from coagent_rl.analysis.style import DPI
from coagent_rl.networks import Layer, Network
from coagent_rl.supervised.history import history_figure

ROOT = Path(__file__).parents[1]
RNG = np.random.default_rng


def a_network(sizes=(12, 8), n_inputs=4, n_actions=2, kind="bernoulli") -> Network:
    network = Network(n_inputs, [*(Layer(kind, n) for n in sizes), Layer("softmax_reference", n_actions)])
    network.initialise(RNG(0))
    return network


def some_runs(n_runs=5, n_episodes=900, top=500.0) -> list[np.ndarray]:
    rise = top / (1 + np.exp(-np.linspace(-4, 4, n_episodes)))
    return [np.clip(rise + RNG(k).normal(0, 0.1 * top, n_episodes), 0, top) for k in range(n_runs)]


def curve(path: Path) -> Figure:
    return learning_curve(path, {"weight_max": some_runs(), "frozen": some_runs(top=40.0)}, "CartPole-v1")


def nine_curves(path: Path) -> Figure:
    names = ("weight_max", "weight_max_traces", "weight_max_pipelined", "reinforce", "reinforce_untuned", "reinforce_thomas",
             "ste_backprop", "backprop", "frozen")  # fmt: skip
    panel = {name: some_runs(3, top=500.0 - 20 * k) for k, name in enumerate(names)}
    return learning_curves(path, {"CartPole-v1": panel, "CartPole-v0": panel}, {"CartPole-v1": 100, "CartPole-v0": 100})


def sweep(path: Path) -> Figure:
    points = {str(p): (0.2 * p, 0.05) for p in range(1, 5)}
    return sweep_figure(
        path, {"norm p": {"weight_max": points, "reinforce": points}, "width": {"weight_max": points}}, "return"
    )


def small_network(path: Path) -> Figure:
    return network_picture(path, a_network(), np.array([0.1, -0.3, 0.05, 0.4]), env_id="CartPole-v1")


def large_network(path: Path) -> Figure:
    return network_picture(path, a_network((64, 32), 8, 4), np.linspace(-1, 1, 8), env_id="LunarLander-v3")


def units(path: Path) -> Figure:
    statistics = unit_statistics(a_network((64, 32)), RNG(0).standard_normal((300, 4)) * 5, RNG(1))
    return unit_statistics_figure(path, statistics, "Weight Max on CartPole-v1")


def relaxation(path: Path) -> Figure:
    angles = UpdateAngles(np.array([80.0, 60.0, 40.0]), np.array([50.0, 30.0, 10.0]))
    energies = -np.cumsum(RNG(0).random((21, 50)), axis=0)
    return relaxation_figure(path, energies, {"REINFORCE": angles, "MAP Propagation, N = 20": angles}, "CartPole-v1")


def history(path: Path) -> Figure:
    n = 8
    rise = np.linspace(0.1, 0.9, n)
    layers = [[x, 0.5 * x] for x in rise]
    scores = {"training_score": [np.nan, *rise[1:]], "validation_score": (0.9 * rise).tolist()}
    kept = {"epoch": list(range(n)), "loss": [np.nan, *(1 - rise[1:])], "entropy": layers, "sparsity": layers, **scores}
    return history_figure(path, kept, "digits")


def rows(path: Path) -> Figure:
    kept = {
        "CartPole-v1": ("compatible", "frozen"),
        "Pendulum-v1": ("compatible", "subset", "node_perturbation", "frozen"),
    }
    methods = decentralized_ddpg.METHODS
    returns = RNG(0).normal(0, 100, (10,))
    return tables.rows_figure(
        path, {env_id: {methods[name].label: returns + 50 for name in names} for env_id, names in kept.items()}
    )


def depth(path: Path, env_id: str = decentralized_ddpg.MOUNTAIN_CAR) -> Figure:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decentralized_ddpg, "FOLDER", path.parent)
        figure = decentralized_ddpg.depth_figure(env_id, range(3))
    (path.parent / f"depth_{env_id.split('/')[-1]}.png").rename(path)
    return figure


def correlation(path: Path) -> Figure:
    bars = {name: [(0.1, -0.05, 0.25)] * 4 for name in ("hidden layer 1", "hidden layer 2", "output layer")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sub_critics, "FOLDER", path.parent)
        figure = sub_critics.draw(ROOT / "benchmarks/results/decentralized_ddpg/correlation/seed_0.npz", bars, 10)
    (path.parent / "correlation.png").rename(path)
    return figure


def supervised(path: Path) -> Figure:
    epochs = np.arange(1.0, 11.0)
    return draw_figure(path, FIGURES["figure2a"]("mnist"), lambda line: (epochs, 0.9 + 0.1 * RNG(0).random((4, 10))))


def speed(path: Path) -> Figure:
    return speed_report.draw(json.loads((ROOT / "benchmarks/results/speed.json").read_text(encoding="utf-8")), path)


def rules(path: Path) -> Figure:
    figure = rule_drawings.draw(path, rule_drawings.PANELS)
    boxes = [Text.get_window_extent(text) for text in figure.findobj(Text) if "\n" in text.get_text()]
    assert len(boxes) == 9
    assert all(0 < box.x0 < box.x1 < figure.bbox.x1 and box.y0 > 0 for box in boxes)
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
    return figure


ALL = (curve, nine_curves, sweep, small_network, large_network, units, relaxation, history, rows, depth, correlation,
       supervised, speed, rules)  # fmt: skip


def texts_of(figure: Figure) -> list[Text]:
    """The texts that are seen."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_ticklabels()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("draw", ALL, ids=lambda draw: draw.__name__)
def test_figures_can_be_printed(tmp_path, draw) -> None:
    path = tmp_path / "figure.png"
    figure = draw(path)
    with Image.open(path) as image:
        width, height = image.size
        pixels = np.asarray(image.convert("L"))
    assert [width, height] == np.round(figure.get_size_inches() * DPI).astype(int).tolist()
    assert 4.0 <= width / DPI <= 14.0
    assert 1.5 <= height / DPI <= 10.0
    assert path.stat().st_size < 1_000_000
    # Nothing touches the edge, on the paper and by what matplotlib knows of letters.
    assert min(pixels[0].min(), pixels[-1].min(), pixels[:, 0].min(), pixels[:, -1].min()) == 255
    FigureCanvasAgg(figure).draw()
    ends = figure.bbox
    for text in texts_of(figure):
        box = Text.get_window_extent(text)
        inside_axes = text.axes is None or text.axes.axison or isinstance(text, Annotation)
        if inside_axes and is_drawn(text):
            assert box.x0 >= ends.x0 - 1, text
            assert box.x1 <= ends.x1 + 1, text
            assert box.y0 >= ends.y0 - 1, text
            assert box.y1 <= ends.y1 + 1, text
        assert text.get_fontname() == "DejaVu Sans"
        assert 5.0 <= text.get_fontsize() <= 12.0, text
    names = [text for text in texts_of(figure) if isinstance(text, Annotation) and text.arrow_patch is not None]
    for one, other in combinations(names, 2):
        assert not overlap(Text.get_window_extent(one), Text.get_window_extent(other)), (one, other)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label for label in axis.get_ticklabels() if label.get_text() and is_drawn(label)]
            for one, other in combinations(labels, 2):
                assert not overlap(one.get_window_extent(), other.get_window_extent()), (one, other)
    if figure._suptitle is not None:
        others = [text for text in texts_of(figure) if text is not figure._suptitle and is_drawn(text)]
        assert not any(overlap(figure._suptitle.get_window_extent(), Text.get_window_extent(text)) for text in others)


def is_drawn(text: Text) -> bool:
    """Whether a tick's label lies within its axis, where alone it is drawn; other texts always are."""
    for axes in text.figure.axes if text.figure is not None else ():
        for axis in (axes.xaxis, axes.yaxis):
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if text in (tick.label1, tick.label2):
                    low, high = sorted(axis.get_view_interval())
                    return axes.axison and low <= tick.get_loc() <= high and axis.get_visible() and text.get_visible()
    return True


def overlap(one, other) -> bool:
    """Whether two boxes share more than a line."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > 1 and high > 1


def test_a_reference_has_no_lines_and_says_so(tmp_path) -> None:
    figure = small_network(tmp_path / "figure.png")
    written = [text.get_text() for text in texts_of(figure)]
    assert {"push left", "push right", "pole angle", "reference, fixed at 0", "12 Bernoulli units"} <= set(written)
    assert not any("softmax_reference" in text or "bernoulli" in text for text in written)
    drawn = figure.axes[0].collections
    lines = [collection for collection in drawn if isinstance(collection, LineCollection)]
    places = [collection.get_offsets()[0] for collection in drawn if not isinstance(collection, LineCollection)]
    ends = np.array([segment[-1] for segment in lines[-1].get_segments()])
    assert len(places) == 4 + 12 + 8 + 2
    assert not np.any(np.all(np.isclose(ends, places[-1]), axis=1))
    assert np.any(np.all(np.isclose(ends, places[-2]), axis=1))


@pytest.mark.parametrize("env_id", list(decentralized_ddpg.STEPS))
def test_bands_stay_within_what_is_possible(tmp_path, env_id) -> None:
    figure = depth(tmp_path / "figure.png", env_id)
    least = {0: TASKS[env_id].low, 1: 0.0, 2: 0.0}
    for number, axes in enumerate(figure.axes):
        for band in axes.collections:
            ys = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
            row = number // 4
            assert np.nanmin(ys) >= least[row] - 1e-6
            assert np.nanmax(ys) <= (100.0 if row == 0 else 1.0) + 1e-6
