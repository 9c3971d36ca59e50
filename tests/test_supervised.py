"""The estimators: scikit-learn's own checks, pipelines, arguments, histories, what learning brings."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn, the extra 'supervised', is not installed")

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from coagent_rl.supervised import (
    RULES,
    CoagentClassifier,
    CoagentRegressor,
    DecayedDeviation,
    LearnedDeviation,
    history_figure,
)
from coagent_rl.supervised.rules.posterior import RuleOfSampledLayers

X, y = load_digits(return_X_y=True)
X = X / 8 - 1
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "n_samples": 2}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return tuple(train_test_split(X, y, test_size=0.3, random_state=0, stratify=y))  # type: ignore[return-value]


@parametrize_with_checks(
    [CoagentClassifier(hidden_layer_sizes=(32,), n_samples=4, max_iter=60), CoagentRegressor(n_samples=4)]
)
def test_scikit_learns_own_checks(estimator, check) -> None:
    """Those that are skipped say why: they need pandas, or an environment variable of scipy's."""
    check(estimator)


def test_digits_by_default() -> None:
    raw, classes = load_digits(return_X_y=True)
    train, test, learned, wanted = train_test_split(raw, classes, random_state=0, stratify=classes)
    assert CoagentClassifier(random_state=0, max_iter=40).fit(train, learned).score(test, wanted) > 0.9


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_teaches_hidden_units(rule, digits) -> None:
    """Ten units that keep their random weights do not carry the digits; ten that learn do."""
    train, test, learned, wanted = digits
    kwargs = {"slope": "sigmoid"} if rule == "straight_through" else None
    model = CoagentClassifier(
        (10,), rule=rule, rule_kwargs=kwargs, n_samples=4, learning_rate=5e-3, max_iter=20, random_state=0
    )
    if issubclass(RULES[rule], RuleOfSampledLayers):
        model.set_params(output="sampled", max_iter=40)  # the output explores too
    reached = clone(model).fit(train, learned).score(test, wanted)
    frozen = clone(model).set_params(frozen_layers="hidden").fit(train, learned)
    assert reached > 0.7
    assert reached > frozen.score(test, wanted) + 0.1


@pytest.mark.parametrize("rule", ["reinforce", "weight_max", "map_prop"])
def test_rules_teach_two_hidden_layers(rule, digits) -> None:
    train, test, learned, wanted = digits
    model = CoagentClassifier((16, 16), rule=rule, learning_rate=5e-3, max_iter=30, random_state=0)
    assert model.fit(train, learned).score(test, wanted) > 0.55  # frozen: 0.1 to 0.2


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": "gaussian", "output": "sampled"},
        {"units": "gaussian", "output": "sampled", "deviation": LearnedDeviation(1.0, "exp")},
        {"units": "gaussian", "deviation": DecayedDeviation(2.0, 0.99)},
        {"units": ("relu", "gaussian"), "hidden_layer_sizes": (16, 16)},
        {"units": ("gaussian", "relu"), "hidden_layer_sizes": (16, 16)},
        {"units": "relu", "output": "sampled"},
        {"units": "categorical", "levels": 3},
        {"baseline": "state"},
        {"baseline": "layer"},
        {"baseline": None},
        {"critic": "on_policy"},
        {"critic": "off_policy", "critic_signal": "value", "critic_kwargs": {"hidden_layer_sizes": (32,)}, "max_iter": 60},
        {"exploring": 4},
        {"exploring": "staged", "hidden_layer_sizes": (16,)},
        {"optimizer": "adam"},
    ],
    ids=str,
)
def test_the_papers_systems_learn(arguments, digits) -> None:
    train, test, learned, wanted = digits
    model = CoagentClassifier(**{"hidden_layer_sizes": (16,), "learning_rate": 5e-3, "max_iter": 25, **arguments})
    assert model.set_params(random_state=0).fit(train, learned).score(test, wanted) > 0.5


def test_regression() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (600, 3))
    targets = np.stack([np.sin(3 * inputs[:, 0]), inputs[:, 1] * inputs[:, 2]], axis=1)
    for rule, least in (("map_prop", 0.9), ("reinforce", 0.5)):
        arguments = {"units": "gaussian_tanh", "deviation": 0.3, "learning_rate": 5e-3, "max_iter": 60}
        model = CoagentRegressor((32,), rule=rule, random_state=0, **arguments)
        assert model.fit(inputs[:400], targets[:400]).predict(inputs[400:]).shape == (200, 2)
        assert model.score(inputs[400:], targets[400:]) > least
        flat = clone(model).set_params(max_iter=2).fit(inputs, targets[:, 0])
        assert flat.predict(inputs).shape == flat.sample(inputs).shape == (600,)


def test_inside_a_pipeline_and_a_grid_search() -> None:
    pipeline = make_pipeline(StandardScaler(), CoagentClassifier(**{**QUICK, "max_iter": 8}))
    grid = {"coagentclassifier__rule": ["reinforce", "weight_max"], "coagentclassifier__hidden_layer_sizes": [(4,), (24,)]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X[:600], y[:600])
    assert search.best_params_["coagentclassifier__hidden_layer_sizes"] == (24,)
    assert search.score(X[600:900], y[600:900]) > 0.6
    assert cross_val_score(pipeline, X[:200], y[:200], cv=2).shape == (2,)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (CoagentClassifier(**QUICK).fit(X[:200], y[:200]) for _ in range(2))
    np.testing.assert_array_equal(first.network_.parameters, second.network_.parameters)
    np.testing.assert_array_equal(first.sample(X[:50], random_state=1), second.sample(X[:50], random_state=1))
    other = CoagentClassifier(**{**QUICK, "random_state": 1}).fit(X[:200], y[:200])
    assert np.any(first.network_.parameters != other.network_.parameters)


def test_a_pickled_estimator_predicts_and_goes_on_learning() -> None:
    model = CoagentClassifier(**QUICK, baseline="layer").fit(X[:200], y[:200])
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))
    for estimator in (model, twin):
        estimator.partial_fit(X[200:300], y[200:300])
    np.testing.assert_array_equal(model.network_.parameters, twin.network_.parameters)


def test_partial_fit_goes_through_the_samples_in_their_order() -> None:
    model = CoagentClassifier(**{**QUICK, "batch_size": 16})
    model.partial_fit(X[:40], y[:40], classes=range(10))
    assert model.learner_.n_updates == 3
    assert model.n_iter_ == 1
    one_by_one = CoagentClassifier(**{**QUICK, "batch_size": 16})
    for start in range(0, 40, 16):
        one_by_one.partial_fit(X[start : min(start + 16, 40)], y[start : min(start + 16, 40)], classes=range(10))
    np.testing.assert_array_equal(model.network_.parameters, one_by_one.network_.parameters)


def test_warm_start_goes_on_where_fit_stopped() -> None:
    model = CoagentClassifier(**QUICK, warm_start=True).fit(X[:200], y[:200])
    before = model.network_.parameters.copy()
    network = model.network_
    model.fit(X[:200], y[:200])
    assert model.network_ is network
    assert np.any(network.parameters != before)
    assert model.history_["epoch"] == [0, 1, 2, 3, 4, 5, 6]
    model.set_params(warm_start=False).fit(X[:200], y[:200])
    assert model.history_["epoch"] == [0, 1, 2, 3]


GOES_ON = {
    "fit": lambda model: model.fit(X[:50], y[:50]),
    "partial_fit": lambda model: model.partial_fit(X[:50], y[:50]),
}


@pytest.mark.parametrize("how", GOES_ON)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rule": "nonsense"}, "rule was 'reinforce' when it was fitted, and is 'nonsense' now"),
        ({"hidden_layer_sizes": (9,)}, r"hidden_layer_sizes was \(8,\) when it was fitted, and is \(9,\) now"),
        ({"n_samples": 3, "optimizer": "adam"}, "n_samples was 2 .* 3 now; optimizer was 'rmsprop' .* 'adam' now.*fit anew"),
        ({"critic_kwargs__learning_rate": 0.1}, r"critic_kwargs was {'learning_rate': 0.2} .* {'learning_rate': 0.1} now"),
        ({"learning_rate": -1}, "learning rates must be finite and not negative, not -1"),
        ({"batch_size": 0}, "The 'batch_size' parameter .* Got 0 instead"),
        ({"random_state": "x"}, "'x' cannot be used to seed"),
    ],
    ids=str,
)
def test_what_cannot_change_while_training_goes_on(how, changed, message) -> None:
    kwargs = {"learning_rate": 0.2}
    model = CoagentClassifier(**QUICK, warm_start=True, critic="on_policy", critic_kwargs=kwargs).fit(X[:50], y[:50])
    before = model.network_.parameters.copy()
    for name, value in changed.items():
        if "__" in name:
            kwargs["learning_rate"] = value  # changed where it lies
        else:
            model.set_params(**{name: value})
    with pytest.raises(ValueError, match=message):
        GOES_ON[how](model)
    np.testing.assert_array_equal(model.network_.parameters, before)


@pytest.mark.parametrize("how", GOES_ON)
@pytest.mark.parametrize("judge", [{"baseline": "state"}, {"critic": "on_policy"}], ids=str)
def test_what_may_change_while_training_goes_on(how, judge) -> None:
    model = CoagentRegressor(**QUICK, warm_start=True, frozen_layers=[0], **judge).fit(X[:50], y[:50])
    before, learner = model.network_.parameters.copy(), model.learner_
    model.set_params(learning_rate=0.0, hidden_layer_sizes=[8], max_iter=1, batch_size=50)
    GOES_ON[how](model)
    assert model.learner_ is learner
    assert learner.n_updates == 7  # three epochs of two batches, and one
    np.testing.assert_array_equal(model.network_.parameters, before)
    assert all(not np.any(value.rates) for value in learner.reinforcement.values.values())
    GOES_ON[how](model.set_params(learning_rate=(0.1, 0.2)))
    assert learner.rates.tolist() == [0.0, 0.2]
    assert [value.rates.tolist() for value in learner.reinforcement.values.values()] in ([[0.2]], [[0.2, 0.2]])
    assert np.any(model.network_.parameters != before)
    twin = pickle.loads(pickle.dumps(model))
    GOES_ON[how](model.set_params(random_state=1))
    GOES_ON[how](twin)
    assert np.any(model.network_.parameters != twin.network_.parameters)


def test_history() -> None:
    model = CoagentClassifier((8, 6), units=("bernoulli", "relu"), validation_fraction=0.25, max_iter=4, random_state=0)
    model.fit(X[:400], y[:400])
    history = model.history_
    assert all(len(values) == 5 for values in history.values())
    assert np.isnan(history["loss"][0])
    assert history["loss"][-1] < history["loss"][1]
    entropy, sparsity = np.array(history["entropy"]), np.array(history["sparsity"])
    assert entropy.shape == sparsity.shape == (5, 2)
    assert np.all((entropy[:, 0] > 0) & (entropy[:, 0] <= np.log(2) + 1e-6))
    assert np.all(np.isnan(entropy[:, 1]))
    assert np.all((sparsity >= 0) & (sparsity <= 1))
    assert 0.0 <= history["validation_score"][-1] <= 1.0
    whole = CoagentClassifier(**QUICK).fit(X[:400], y[:400])
    assert np.all(np.isnan(whole.history_["validation_score"]))
    assert whole.history_["training_score"][-1] == pytest.approx(whole.score(X[:400], y[:400]), abs=0.01)


def test_entropy_and_sparsity_are_those_of_the_greedy_pass() -> None:
    model = CoagentClassifier((7,), units="bernoulli", max_iter=2, random_state=0).fit(X[:300], y[:300])
    z = X[:300].astype(np.float32) @ model.network_.weights(0) + model.network_.biases(0)
    p = 1 / (1 + np.exp(-z.astype(float)))
    entropy = -(p * np.log(p + 1e-9) + (1 - p) * np.log(1 - p + 1e-9)).mean()
    assert model.history_["entropy"][-1][0] == pytest.approx(entropy, rel=1e-4)
    assert model.history_["sparsity"][-1][0] == pytest.approx((p > 0.5).mean(), abs=1e-3)


def test_figure_of_a_history(tmp_path) -> None:
    model = CoagentClassifier((8, 6), validation_fraction=0.25, max_iter=2, random_state=0).fit(X[:200], y[:200])
    history_figure(tmp_path / "history.png", model.history_, "digits")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="holds no epoch"):
        history_figure(tmp_path / "none.png", {**model.history_, "epoch": []})


def test_verbose_shows_loss_and_score(capsys) -> None:
    CoagentClassifier(**QUICK, verbose=True).fit(X[:100], y[:100])
    shown = capsys.readouterr().out
    assert "3/3 epochs" in shown
    assert re.search(r"loss \d\.\d+, training score 0\.\d+", shown)


def test_probabilities_and_samples(digits) -> None:
    train, test, learned, _ = digits
    names = np.array(list("abcdefghij"))[learned]
    model = CoagentClassifier(max_iter=10, random_state=0).fit(train, names)
    probabilities = model.predict_proba(test)
    assert probabilities.shape == (len(test), 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(test), model.classes_[probabilities.argmax(axis=1)])
    drawn = np.stack([model.sample(test, random_state=seed) for seed in range(20)])
    agreement = (drawn == model.predict(test)).mean()
    assert 0.5 < agreement < 1.0


def test_scores_are_scikit_learns() -> None:
    model = CoagentClassifier(**QUICK).fit(X[:200], y[:200])
    assert model.score(X[200:], y[200:]) == accuracy_score(y[200:], model.predict(X[200:]))
    regressor = CoagentRegressor(**QUICK).fit(X[:200], y[:200])
    assert regressor.score(X[200:], y[200:]) == r2_score(y[200:], regressor.predict(X[200:]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "reinforc"}, "Unknown rule 'reinforc'; known rules: action_values, backprop"),
        ({"baseline": "mean"}, "Unknown baseline 'mean'; known baselines"),
        ({"rule": "map_prop", "units": "bernoulli"}, "not defined for 'bernoulli' units: it moves values"),
        ({"units": "bernouli"}, "The 'units' parameter of CoagentClassifier must be None, or one name"),
        ({"units": ["bernoulli"] * 2}, "The 'units' parameter of CoagentClassifier must be"),
        ({"units": 3}, r"The 'units' parameter of CoagentClassifier must be None, or one name, .* Got 3 instead"),
        ({"output": ["exact"]}, "The 'output' parameter"),
        ({"units": "softmax"}, "The 'units' parameter of CoagentClassifier must be"),
        ({"hidden_layer_sizes": (0,)}, "must be an array-like of ints"),
        ({"hidden_layer_sizes": 64}, "must be an array-like of ints"),
        ({"max_iter": 0}, "The 'max_iter' parameter of CoagentClassifier must be an int in the range"),
        ({"batch_size": 2.5}, "The 'batch_size' parameter"),
        ({"n_samples": True}, "The 'n_samples' parameter"),
        ({"validation_fraction": 1.0}, "a float in the range"),
        ({"output": "softmax"}, "The 'output' parameter"),
        ({"levels": 1, "units": "categorical"}, "an int in the range \\[2, inf\\)"),
        ({"levels": (1.0, 1.0), "units": "categorical"}, "at least two different"),
        ({"deviation": -1.0}, "deviation must be a positive number"),
        ({"learning_rate": -1.0}, "learning rates must be finite and not negative"),
        ({"learning_rate": (0.1, 0.1, 0.1)}, "3 values were given"),
        ({"frozen_layers": (2,)}, "'hidden' or an array-like of layers from 0 to 1"),
        ({"exploring": 100}, "narrowest sampled hidden layer"),
    ],
)
def test_wrong_arguments(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        CoagentClassifier(**{**QUICK, **arguments}).fit(X[:50], y[:50])


def test_wrong_input() -> None:
    model = CoagentClassifier(**QUICK)
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(ValueError, match="Found array with 0 sample"):
        model.fit(X[:0], y[:0])
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(np.full((4, 3), np.nan), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X[:4], y[:3])
    with pytest.raises(ValueError, match="at least 2 classes in the data, but the data contains only one"):
        model.fit(X[:4], [1, 1, 1, 1])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X[:4], y[:4])
    model.partial_fit(X[:4], [0, 1, 0, 1], classes=[0, 1])
    with pytest.raises(ValueError, match=re.escape("`y` has classes not in `self.classes_`")):
        model.partial_fit(X[:4], [0, 1, 2, 1])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        model.partial_fit(X[:4], [0, 1, 0, 1], classes=[0, 1, 2])
    with pytest.raises(ValueError, match="X has 3 features, but CoagentClassifier is expecting 64"):
        model.predict(X[:4, :3])
    with pytest.raises(ValueError, match="needs to know the number of epochs"):
        CoagentClassifier(**QUICK, exploring="staged").partial_fit(X[:4], [0, 1, 0, 1], classes=[0, 1])
    regressor = CoagentRegressor(**QUICK).partial_fit(X[:9], y[:9])
    with pytest.raises(ValueError, match="y has 2 outputs, but CoagentRegressor learned 1 before"):
        regressor.partial_fit(X[:9], np.zeros((9, 2)))
    with pytest.raises(ValueError, match="diverged"):
        CoagentRegressor(**QUICK, optimizer="sgd", learning_rate=1e6).fit(X, y)


def test_without_scikit_learn() -> None:
    """The message says what to install; the networks themselves do without."""
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from coagent_rl.supervised import BatchLearner\n"
        "try:\n    from coagent_rl.supervised import CoagentClassifier\n"
        "except ImportError as error:\n    print(error)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'coagent-rl[supervised]'" in done.stdout
