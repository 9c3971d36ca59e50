"""Samples as environments: the piecewise random walk, arrays, digits; and where data come from."""

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

pytest.importorskip("sklearn", reason="scikit-learn, the extra 'supervised', is not installed")

from sklearn.datasets import load_digits
from sklearn.utils import Bunch

import coagent_rl  # noqa: F401  registers the environments
from coagent_rl.envs.piecewise_random_walk import PiecewiseRandomWalk
from coagent_rl.supervised import CoagentRegressor
from coagent_rl.supervised.data import load
from coagent_rl.training.run import Options, train

WALK, SUPERVISED = "coagent_rl/PiecewiseRandomWalk-v0", "coagent_rl/Supervised-v0"
B0 = 0.25
REGRESSION = {"X": np.linspace(-1, 1, 9)[:, None], "y": np.linspace(-1, 1, 9) ** 3}


# ---------------------------------------------------------------------- the walk as a stream


@pytest.mark.parametrize("d", [0.5, 0.95])
def test_means_walk_as_the_formulas_say(d) -> None:
    n, per_segment = 20_000, 4
    walk = PiecewiseRandomWalk(d, segments=n, updates_per_segment=1, batch_size=per_segment, seed=0)
    x = np.array([X[:, 0] for X, _ in walk], dtype=np.float64)
    within = x.var(axis=1, ddof=1).mean()
    means = x.mean(axis=1)
    assert within == pytest.approx((1 - d) * B0, rel=0.05)
    assert means.var() - within / per_segment == pytest.approx(d * B0, rel=0.07)
    covariance = np.mean(means[1:] * means[:-1])  # of S with the next one: √(1-d) dB₀
    assert covariance == pytest.approx(math.sqrt(1 - d) * d * B0, abs=0.05 * d * B0)
    assert x.mean() == pytest.approx(0.0, abs=0.03)


def test_extremes_of_the_correlation() -> None:
    independent = PiecewiseRandomWalk(0.0, segments=5, updates_per_segment=200, seed=1)
    segments = np.array([X[:, 0] for X, _ in independent]).reshape(5, -1)
    np.testing.assert_allclose(segments.mean(axis=1), 0.0, atol=0.03)
    np.testing.assert_allclose(segments.var(axis=1), B0, rtol=0.06)
    points = np.array([X[:, 0] for X, _ in PiecewiseRandomWalk(1.0, 6, 3, 32, seed=1)]).reshape(6, -1)
    assert np.all(points == points[:, :1])
    assert len(np.unique(points)) == 6


def test_stream_has_its_length_its_targets_and_its_seed() -> None:
    walk = PiecewiseRandomWalk(0.9, segments=3, updates_per_segment=2, seed=4)
    batches = list(walk)
    assert len(batches) == len(walk) == 6
    X, y = batches[0]
    assert (X.shape, y.shape, X.dtype, y.dtype) == ((32, 1), (32,), np.float32, np.float32)
    np.testing.assert_allclose(y, np.sin(2 * np.pi * X[:, 0].astype(float) ** 2), atol=1e-5)
    for one, other in zip(batches, PiecewiseRandomWalk(0.9, 3, 2, seed=4).batches(6), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert np.any(next(iter(PiecewiseRandomWalk(0.9, 3, 2, seed=5)))[0] != X)
    test, wanted = walk.test_set(50_000)
    np.testing.assert_array_equal(test, walk.test_set(50_000)[0])
    assert test.var() == pytest.approx(B0, rel=0.03)
    assert np.mean(wanted**2) == pytest.approx(0.349, abs=0.01)  # what predicting 0 costs
    assert wanted.var() == pytest.approx(0.243, abs=0.01)  # the best constant


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"correlation": 1.1}, "correlation must be a number from 0 to 1, not 1.1"),
        ({"correlation": math.nan}, "correlation must be a number from 0 to 1, not nan"),
        ({"segments": 0}, "segments must be a whole number from 1, not 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number from 1, not 2.5"),
    ],
)
def test_wrong_walks(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        PiecewiseRandomWalk(**arguments)


def test_a_stream_ends() -> None:
    with pytest.raises(ValueError, match="has 6 batches, 7 were asked for"):
        PiecewiseRandomWalk(0.9, 3, 2).batches(7)


def test_a_regressor_learns_from_the_stream() -> None:
    walk = PiecewiseRandomWalk(0.0, segments=1, updates_per_segment=1500, seed=0)
    model = CoagentRegressor((50,), rule="backprop", learning_rate=2e-2, random_state=0)
    for X, y in walk:
        model.partial_fit(X, y)
    test, wanted = walk.test_set()
    assert np.mean((model.predict(test) - wanted) ** 2) < 0.15


# ---------------------------------------------------------------------- environments


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        (WALK, {}),
        (WALK, {"correlation": 1.0, "updates_per_segment": 2}),
        (SUPERVISED, {"data": "digits"}),
        (SUPERVISED, REGRESSION),
    ],
)
def test_both_checkers_accept_them(env_id, kwargs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*infinity.*")  # inputs of the walk have no bounds
        check_env(gym.make(env_id, **kwargs).unwrapped, skip_render_check=True)
        check_env_sb3(gym.make(env_id, **kwargs).unwrapped)


def test_the_walk_as_an_environment() -> None:
    env = gym.make(WALK, correlation=1.0, updates_per_segment=2, batch_size=5)
    seen = [env.reset(seed=3)[0]]
    _, reward, terminated, truncated, _ = env.step(np.array([0.25], np.float32))
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(-((0.25 - math.sin(2 * math.pi * float(seen[0][0]) ** 2)) ** 2), abs=1e-5)
    seen += [env.reset()[0] for _ in range(29)]
    segments = np.array(seen).reshape(3, 10)
    assert np.all(segments == segments[:, :1])
    assert len(np.unique(segments)) == 3
    np.testing.assert_array_equal(env.reset(seed=3)[0], seen[0])
    native = gym.make_vec(
        WALK, 10, vectorization_mode="vector_entry_point", correlation=1.0, updates_per_segment=2, batch_size=5
    )
    observations, _ = native.reset(seed=3)
    np.testing.assert_array_equal(observations[:, 0], segments[0])
    new, _, _, _, infos = native.step(np.zeros((10, 1), np.float32))
    np.testing.assert_array_equal(new[:, 0], segments[1])
    np.testing.assert_array_equal(infos["final_obs"], observations)


def test_classes_are_a_contextual_bandit() -> None:
    X, classes = np.arange(6.0)[:, None], np.array(["b", "a", "c", "a", "b", "c"])
    env = gym.make_vec(SUPERVISED, 4, vectorization_mode="vector_entry_point", X=X, y=classes)
    assert env.single_action_space == gym.spaces.Discrete(3)
    observations, _ = env.reset(seed=0)
    seen = list(observations[:, 0])
    right = {x: "abc".index(name) for x, name in zip(X[:, 0], classes, strict=True)}
    for _ in range(8):
        actions = np.array([right[x] for x in observations[:, 0]])
        actions[0] = (actions[0] + 1) % 3
        observations, rewards, terminated, _, _ = env.step(actions)
        np.testing.assert_array_equal(rewards, [0.0, 1.0, 1.0, 1.0])
        assert terminated.all()
        seen.extend(observations[:, 0])
    for epoch in np.reshape(seen, (6, 6)):
        assert set(epoch) == set(range(6))  # all of them before any comes again


def test_values_are_a_regression() -> None:
    env = gym.make(SUPERVISED, X=[[0.0], [1.0]], y=[[0.0, 2.0], [4.0, 6.0]])
    np.testing.assert_array_equal(env.action_space.high, [4.0, 6.0])
    x, _ = env.reset(seed=0)
    assert env.step(np.array([4.0 * x[0] + 1.0, 4.0 * x[0] + 2.0]))[1] == pytest.approx(-0.5)
    with pytest.raises(gym.error.ResetNeeded):
        env.unwrapped.step(np.zeros(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs either X and y or data"),
        ({"X": [[1.0]]}, "needs either X and y or data"),
        ({"X": [1.0, 2.0], "y": [0, 1]}, r"not \(2,\) and \(2,\)"),
        ({"X": [[1.0], [2.0]], "y": [0, 1, 1]}, r"not \(2, 1\) and \(3,\)"),
        ({"X": [[np.nan], [2.0]], "y": [0, 1]}, "contain NaN or infinity"),
        ({"X": [[1.0], [2.0]], "y": [1, 1]}, "be two at least"),
        ({"X": [[1.0], [2.0]], "y": [1.0, 1.0]}, "two different values"),
        ({"data": "letters"}, "Unknown data 'letters'; known are: digits, mnist, boston"),
        ({"data": "digits", "split": "all"}, "split must be one of training, validation, test, not 'all'"),
    ],
)
def test_wrong_data(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make(SUPERVISED, **arguments)


def test_wrong_actions() -> None:
    env = gym.make(SUPERVISED, X=[[0.0], [1.0]], y=[0, 1]).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="must be a class from 0 to 1"):
        env.step(2)
    env = gym.make(WALK).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="must be 1 finite numbers"):
        env.step(np.array([np.nan]))


def test_weight_max_learns_digits_from_rewards() -> None:
    settings = {"critic": None, "actor_learning_rate": 1e-3, "n_timesteps": 20_000, "policy_kwargs": {"net_arch": [32]}}
    options = Options(env_kwargs={"data": "digits"}, n_envs=1, final_eval_episodes=0)
    returns = [train("weight_max", SUPERVISED, settings, 0, options).returns for _ in range(2)]
    np.testing.assert_array_equal(*returns)
    assert len(returns[0]) == 20_000
    assert returns[0][:500].mean() < 0.25
    assert returns[0][-2000:].mean() > 0.5  # chance is 0.1


# ---------------------------------------------------------------------- data


def test_digits_are_split() -> None:
    data = load("digits")
    assert [part.X.shape for part in data] == [(1257, 64), (180, 64), (360, 64)]
    assert [(part.X.min(), part.X.max()) for part in data] == [(-1.0, 1.0)] * 3
    rows = np.concatenate([part.X for part in data])
    original = load_digits().data / 8 - 1
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, original.tolist()))
    for part in data:
        assert np.bincount(part.y).min() >= 0.9 * len(part.y) / 10


def test_boston_is_read_from_the_folder(tmp_path, monkeypatch) -> None:
    table = np.arange(506 * 14, dtype=float).reshape(506, 14)
    lines = ["506,13", ",".join("abcdefghijklmn"), *(",".join(map(str, row)) for row in table)]
    path = tmp_path / "boston_house_prices.csv"
    path.write_text("\n".join(lines))
    monkeypatch.setenv("COAGENT_DATA", str(tmp_path))
    data = load("boston")
    assert [len(part.y) for part in data] == [404, 51, 51]
    for part in data:
        np.testing.assert_array_equal(part.y, part.X[:, -1] + 1)
    assert {float(value) for part in data for value in part.y} == set(table[:, -1])
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"506 rows of 13 features and the price, not \(505, 14\)"):
        load("boston")


def test_mnist_is_read_from_the_folder(tmp_path, monkeypatch) -> None:
    labels = (np.arange(70_000) % 10).astype(np.uint8)
    images = np.zeros((70_000, 28, 28), np.uint8)
    images[:, 0, 0] = labels
    images[:, 1, 1] = 255
    parts = {"train_images": images[:60_000], "train_labels": labels[:60_000]}
    parts |= {"test_images": images[60_000:], "test_labels": labels[60_000:]}
    np.savez_compressed(tmp_path / "mnist.npz", **parts)
    monkeypatch.setenv("COAGENT_DATA", str(tmp_path))
    data = load("mnist")
    assert [part.X.shape for part in data] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    for part in data:
        np.testing.assert_allclose(part.X[:50, 0], part.y[:50] / 127.5 - 1, atol=1e-6)
        assert part.X[0, 29] == 1.0
        np.testing.assert_array_equal(np.bincount(part.y), len(part.y) / 10)
    np.savez(tmp_path / "mnist.npz", x=labels)
    with pytest.raises(ValueError, match="must hold train_images"):
        load("mnist")


@pytest.mark.parametrize("name", ["mnist", "boston"])
def test_nothing_is_downloaded_without_being_asked(name, tmp_path, monkeypatch) -> None:
    def fetch(*arguments: object, **kwargs: object) -> None:
        raise AssertionError("downloaded")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    monkeypatch.delenv("COAGENT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="COAGENT_DATA is not set"):
        load(name)
    monkeypatch.setenv("COAGENT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no .* in .*which COAGENT_DATA names"):
        load(name)
    with pytest.raises(AssertionError, match="downloaded"):
        load(name, download=True)


def test_nominal_columns_of_openml_become_numbers(monkeypatch) -> None:
    features = np.zeros((506, 13))
    features[:, 8] = np.arange(506) % 3
    names = [f"c{i}" for i in range(13)]
    bunch = Bunch(data=features, target=np.arange(506.0), feature_names=names, categories={"c8": ["1", "24", "5"]})
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *arguments, **kwargs: bunch)
    monkeypatch.delenv("COAGENT_DATA", raising=False)
    for part in load("boston", download=True):
        np.testing.assert_array_equal(part.X[:, 8], np.array([1, 24, 5])[part.y.astype(int) % 3])
