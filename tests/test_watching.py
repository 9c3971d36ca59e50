"""An episode with its neurons: what is kept, recorded and shown on a page."""

import base64
import json
import re
import shutil
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from PIL import Image

from coagent_rl import Backprop, DecentralizedDDPG, MAPProp, NodePerturbation, Reinforce, WeightMax, evaluate, train
from coagent_rl.analysis.episode import Episode, watch
from coagent_rl.analysis.episode_page import write_page
from coagent_rl.analysis.recording import Film, record
from coagent_rl.arrays import MEANS, VALUES, named
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import BIASES, N_PRE
from coagent_rl.schedules import constant_schedule
from coagent_rl.traces import accumulate
from coagent_rl.training.environments import make_environments
from tests.command_line import run_train

CARTPOLE = "CartPole-v1"


def an_episode(agent=Reinforce, env_id=CARTPOLE, pictures=False, deterministic=False, **kwargs) -> Episode:
    """A first episode of an agent that has not learned, with weights large enough for its units to differ."""
    model = agent("MlpPolicy", env_id, seed=0, policy_kwargs={"net_arch": [5, 3]}, **kwargs)
    model.policy.actor.parameters[:] *= 4.0
    env_kwargs = {"render_mode": "rgb_array"} if pictures else {}
    return watch(model, make_environments(env_id, 1, 7, env_kwargs), env_id, deterministic)


def softmax_with_reference(z: np.ndarray) -> np.ndarray:
    e = np.exp(np.concatenate([z, np.zeros((len(z), 1))], axis=1))
    return e / e.sum(axis=1, keepdims=True)


def test_what_is_kept_is_what_the_network_did() -> None:
    episode = an_episode(actor_lambda=0.8, gamma=0.9)
    network, n = episode.network, episode.n_steps
    assert episode.ended
    assert n > 8
    x, h1, h2, action = (values.astype(float) for values in episode.values)
    np.testing.assert_allclose(episode.means[1], 1 / (1 + np.exp(-(x @ network.weights(0) + network.biases(0)))), rtol=1e-4)
    np.testing.assert_allclose(episode.means[2], 1 / (1 + np.exp(-(h1 @ network.weights(1) + network.biases(1)))), rtol=1e-4)
    np.testing.assert_allclose(
        episode.means[3], softmax_with_reference(h2 @ network.weights(2) + network.biases(2)), rtol=1e-4
    )
    assert {0.0, 1.0} == set(np.unique(h1))
    np.testing.assert_array_equal(action.argmax(axis=1), episode.chosen)
    # Gymnasium, given these actions, goes through the same states and pays the same.
    env = gym.make(CARTPOLE)
    observation, _ = env.reset(seed=7)
    for step in range(n):
        np.testing.assert_array_equal(observation, episode.values[0][step])
        observation, reward, terminated, _, _ = env.step(episode.chosen[step])
        assert reward == episode.rewards[step]
    assert terminated
    assert episode.returns[-1] == n
    # Eligibility of the biases, e ← γλ e + value − mean; the reference has none.
    e = np.zeros(5)
    for step in range(n):
        e = 0.72 * e + h1[step] - episode.means[1][step]
        np.testing.assert_allclose(episode.traces[1][step], e, atol=1e-5)
    assert np.isfinite(episode.traces[3][:, 0]).all()
    assert np.isnan(episode.traces[3][:, 1]).all()
    assert np.isnan(episode.traces[0]).all()
    assert np.isfinite(episode.estimates).all()


def test_traces_are_those_that_a_learner_would_have() -> None:
    episode = an_episode(actor_lambda=0.8, gamma=0.9)
    network = episode.network
    learner = Learner(network, 1, constant_schedule(0.0), "sgd", trace_decay=0.9 * 0.8)
    for step in range(episode.n_steps):
        for plane, kept in ((VALUES, episode.values), (MEANS, episode.means)):
            learner.activity[plane, 0, : network.n_inputs] = kept[0][step]
            for index in range(network.depth):
                learner.activity[plane, 0, network.slot(index)] = kept[index + 1][step]
        local_scores(named(learner.arrays))
        accumulate(named(learner.arrays), np.array([step == 0]))
        for index, row in enumerate(network.layout):
            biases = learner.traces[0, row[BIASES] : row[BIASES] + row[N_PRE]]
            np.testing.assert_allclose(episode.traces[index + 1][step, : row[N_PRE]], biases, atol=1e-5)


def test_watching_leaves_the_network_as_it_was() -> None:
    network = an_episode().network
    assert "activities" not in vars(network)
    with pytest.raises(ValueError, match="One environment is watched at a time, not 2"):
        watch(Reinforce("MlpPolicy", CARTPOLE), make_environments(CARTPOLE, 2, 0, {}), CARTPOLE)


@pytest.mark.parametrize(
    ("agent", "env_id", "averaged"),
    [
        (WeightMax, CARTPOLE, False),
        (MAPProp, CARTPOLE, False),
        (DecentralizedDDPG, CARTPOLE, False),
        (Backprop, CARTPOLE, False),
        (NodePerturbation, "MountainCarContinuous-v0", None),
        (Reinforce, "Pendulum-v1", True),
        (WeightMax, "coagent_rl/Corridor-v0", False),
    ],
)
def test_all_kinds_of_agents_are_watched(tmp_path, agent, env_id, averaged) -> None:
    episode = an_episode(agent, env_id, deterministic=True)
    n_outputs = episode.network.layers[-1].n_values
    assert [values.shape for values in episode.values] == [
        (episode.n_steps, n) for n in (episode.network.n_inputs, 5, 3, n_outputs)
    ]
    if averaged is not None:
        assert episode.averaged == averaged
    if averaged:
        # What the environment got is the bounded mean of the output, over all samples.
        np.testing.assert_allclose(episode.actions, np.clip(episode.means[3], -2, 2), rtol=1e-5)
        assert np.isnan(episode.traces[1]).all()
        assert len(np.unique(episode.values[1])) > 2  # shares of the samples in which a unit fired
    write_page(tmp_path / "page.html", episode, "title", "about", 30)
    assert decoded(tmp_path / "page.html")["n_steps"] == episode.n_steps


def decoded(page) -> dict:
    """The data of a page."""
    (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    return json.loads(text)


def array_of(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def test_a_page_holds_the_numbers_bit_for_bit(tmp_path) -> None:
    episode = an_episode(pictures=True, actor_lambda=0.9)
    write_page(tmp_path / "page.html", episode, "Title <&>", "about </script>", 50)
    data = decoded(tmp_path / "page.html")
    assert data["n_steps"] == len(data["frames"]) == episode.n_steps
    for index, layer in enumerate(data["layers"]):
        for name in ("values", "means", "traces"):
            given = getattr(episode, name)[index]
            np.testing.assert_array_equal(array_of(layer[name], "<f4").reshape(given.shape), given)
        if index:
            np.testing.assert_array_equal(array_of(layer["weights"], "<f4"), episode.network.weights(index - 1).ravel())
            np.testing.assert_array_equal(array_of(layer["biases"], "<f4"), episode.network.biases(index - 1))
    for name in ("rewards", "returns", "estimates", "actions"):
        np.testing.assert_array_equal(array_of(data[name], "<f8"), getattr(episode, name).ravel())
    assert data["chosen"] == episode.chosen.tolist()
    assert data["layers"][0]["names"][2] == "pole angle"
    assert data["layers"][-1]["names"] == ["push left", "push right"]
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<title>Title &lt;&amp;&gt;</title>" in text
    assert not re.search(r"""(src|href)=["'](?!data:)|https?://(?!www\.w3\.org/2000/svg)|url\(|@import|fetch\(""", text)
    assert len(text) < 4000 * episode.n_steps + 60_000


def test_a_film_shows_what_fires_and_what_is_chosen(tmp_path) -> None:
    episode = an_episode(pictures=True)
    film = Film(episode)
    steps = [int(np.flatnonzero(episode.chosen == action)[0]) for action in (0, 1)]
    for action, step in enumerate(steps):
        image = film.image(step)
        colours = [image.getpixel((round(x), round(y))) for x, y in film.pixels[-1]]
        assert colours[action] == (0, 158, 115)
        assert colours[1 - action] == (255, 255, 255)
        for (x, y), value in zip(film.pixels[1], episode.values[1][step], strict=True):
            assert (sum(image.getpixel((round(x), round(y)))) < 100) == (value == 1.0)
    # The return grows: what is drawn at a step is the beginning of what is drawn at the end.
    x0, y0, x1, y1 = film.curve
    curves = [np.asarray(film.image(step).crop((x0, y0, x1, y1)), int) for step in (2, episode.n_steps - 1)]
    different = np.flatnonzero(np.any(curves[0] != curves[1], axis=(0, 2)))
    assert different.min() >= 3 / episode.n_steps * (x1 - x0) - 3
    assert different.max() > 0.9 * (x1 - x0)
    record(tmp_path / "film.gif", episode, 50.0)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == len({*range(0, episode.n_steps, 2), episode.n_steps - 1})
        assert gif.info["duration"] == 40
    assert (tmp_path / "film.gif").stat().st_size < 300_000


def test_films_in_other_formats(tmp_path, monkeypatch) -> None:
    episode = an_episode(pictures=True)
    with pytest.raises(ValueError, match=r"takes a .gif or an .mp4 file, not .*film.avi"):
        record(tmp_path / "film.avi", episode, 50.0)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "imageio_ffmpeg", None)
        with pytest.raises(ImportError, match=r"needs the package imageio-ffmpeg.*coagent-rl\[video\]"):
            record(tmp_path / "film.mp4", episode, 50.0)
    with pytest.raises(ValueError, match="cannot be drawn as an image"):
        record(tmp_path / "film.gif", an_episode(), 50.0)
    pytest.importorskip("imageio_ffmpeg", reason="mp4 needs imageio-ffmpeg, the extra 'video'")
    record(tmp_path / "film.mp4", episode, 50.0)
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_command_line_shows_an_episode(tmp_path, capsys, monkeypatch) -> None:
    folder = run_train(tmp_path, "-n", "100", "--final-eval-episodes", "0")
    page, film = tmp_path / "page.html", tmp_path / "film.gif"
    capsys.readouterr()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    words = ["--n-episodes", "1", "--page", str(page), "--record", str(film), "--render"]
    assert evaluate.main([str(folder), *words]) == 0
    printed = capsys.readouterr().out
    data = decoded(page)
    total = array_of(data["returns"], "<f8")[-1]
    # The evaluated, the recorded and the shown episode are the same one.
    assert f"return {total:.2f} ± 0.00" in printed
    assert printed.count(f"return {total:.1f} in {data['n_steps']} steps") == 3
    assert f"recorded {film}" in printed
    assert evaluate.main([str(folder), "--page", "page.pdf"]) == 2
    assert "--page takes an .html file, not 'page.pdf'" in capsys.readouterr().err


def test_a_task_without_a_picture_has_a_page_but_no_window(tmp_path, capsys) -> None:
    folder = run_train(tmp_path, "-n", "20", "--env", "coagent_rl/Multiplexer-v0", "--final-eval-episodes", "0")
    assert evaluate.main([str(folder), "--n-episodes", "1", "--page", str(tmp_path / "page.html")]) == 0
    data = decoded(tmp_path / "page.html")
    assert data["frames"] == []
    assert data["n_steps"] == 1
    assert evaluate.main([str(folder), "--render"]) == 2
    assert "cannot be shown in a window" in capsys.readouterr().err


def test_training_in_a_window_is_the_same_training(tmp_path, capsys, monkeypatch) -> None:
    """The window is that of Gymnasium's environment; returns and parameters are those of the compiled one."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    frames = []
    draw = CartPoleEnv.render
    monkeypatch.setattr(CartPoleEnv, "render", lambda env: frames.append(env.render_mode) or draw(env))
    monkeypatch.setattr("pygame.time.Clock", Hurried)
    seen, unseen = (run_train(tmp_path / name, "-n", "60", "--eval-freq", "30", *flag) for name, flag in WINDOWS.items())
    assert frames.count("human") >= 60
    assert "render_mode" not in (seen / "config.yml").read_text()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (seen, unseen)]
    assert summaries[0]["road"] != summaries[1]["road"]
    assert summaries[0]["mean_return_all_episodes"] == summaries[1]["mean_return_all_episodes"]
    models = [WeightMax.load(folder / "CartPole-v1.zip") for folder in (seen, unseen)]
    np.testing.assert_array_equal(*(model.policy.actor.parameters for model in models))
    capsys.readouterr()
    for words, message in (
        (["--seeds", "0-1"], "--render shows one environment of one run"),
        (["--n-envs", "2"], "--render shows one environment of one run"),
        (["--env", "coagent_rl/Multiplexer-v0"], "coagent_rl/Multiplexer-v0 cannot be shown in a window"),
    ):
        assert train.main(["-f", str(tmp_path / "none"), "--render", *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


WINDOWS = {"seen": ["--render"], "unseen": []}


class Hurried:
    def tick(self, rate):
        """Wait for nothing."""


# ---------------------------------------------------------------------- in a browser

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the page's test needs playwright, the extra 'browser'")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"the page's test drives an installed Chromium, but none of {', '.join(BROWSERS)} is there")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


def shown(number: float) -> str:
    """A number as the page writes it."""
    digits = 1 if abs(number) >= 100 else 3
    text = f"{number:.{digits}f}"
    return text.replace("-", "") if float(text) == 0 else text.replace("-", "−")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(browser, tmp_path, scheme) -> None:
    episode = an_episode(pictures=True, actor_lambda=0.9)
    write_page(tmp_path / "page.html", episode, "title", "about", 50)
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 1000})
    problems, requests = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())

    def text(name: str) -> str:
        return page.locator(f"#{name}").inner_text()

    def check_neuron(step: int, layer: int, unit: int) -> None:
        assert text("rate") == shown(episode.means[layer][step, unit])
        assert text("trace") == shown(episode.traces[layer][step, unit])
        assert text("bias") == shown(episode.network.biases(layer - 1)[unit])
        fires = "fires" if episode.values[layer][step, unit] else "silent"
        assert text("value") == fires
        assert text("mean") == f"{100 * episode.values[layer][:, unit].mean():.1f} %"
        for name, weights in (
            ("incoming", episode.network.weights(layer - 1)[:, unit]),
            ("outgoing", episode.network.weights(layer)[unit]),
        ):
            largest = sorted(weights.tolist(), key=abs, reverse=True)
            assert page.locator(f"#{name} li span:nth-child(2)").all_inner_texts() == [shown(weight) for weight in largest]

    # Step by step, with the keyboard alone.
    for step in range(3):
        assert text("step") == f"step {step + 1} of {episode.n_steps}"
        assert text("return") == shown(episode.returns[step])
        assert text("reward") == shown(episode.rewards[step])
        assert text("estimate") == shown(episode.estimates[step])
        assert text("action") == ("push left", "push right")[episode.chosen[step]]
        page.keyboard.press(".")
    # Neurons by arrow keys, as a screen reader is told.
    page.locator("#time").focus()
    page.keyboard.press("Tab")
    place = page.evaluate("pinned")
    for key, layer, unit in (("ArrowDown", 1, (place[1] + 1) % 5), ("ArrowRight", 2, None), ("ArrowUp", 2, None)):
        page.keyboard.press(key)
        got = page.evaluate("pinned")
        assert got[0] == layer
        assert unit is None or got[1] == unit
        check_neuron(3, *got)
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith(f"hidden layer 2, neuron {got[1] + 1}: ")
    assert shown(episode.means[2][3, got[1]]) in label
    # Pointing at another shows that one.
    page.locator("#units .unit").nth(4 + 2).hover()
    check_neuron(3, 1, 2)
    # The slider, and playing to the end.
    page.mouse.move(0, 0)
    page.locator("#time").fill(str(episode.n_steps - 2))
    assert text("return") == shown(episode.returns[-2])
    page.locator("#time").fill("0")
    page.locator("#speed").select_option("2")
    page.locator("#play").click()
    page.wait_for_function(f"document.getElementById('step').innerText === 'step {episode.n_steps} of {episode.n_steps}'")
    page.wait_for_function("document.getElementById('play').innerText === 'Play'")
    assert text("return") == shown(episode.returns[-1])
    assert f"return {shown(episode.returns[-1])}" in page.locator("#said").inner_text()
    width = page.evaluate("document.getElementById('picture').naturalWidth")
    assert width == 480
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[scheme]
    assert problems == []
    assert all(url.startswith(("file:", "data:")) for url in requests)
    page.close()
