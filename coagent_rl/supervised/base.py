"""What coagent classifiers and regressors share: their arguments, and training."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from coagent_rl.networks import UNIT_KINDS, Layer, Network
from coagent_rl.schedules import Rates
from coagent_rl.supervised.deviation import Deviation, LearnedDeviation, starting_deviation
from coagent_rl.supervised.greedy import GreedyPass
from coagent_rl.supervised.history import History, new_history
from coagent_rl.supervised.learner import STAGED, BatchLearner
from coagent_rl.supervised.network import initialise
from coagent_rl.supervised.rules import make_rule

ALIASES = {"gaussian": "gaussian_preactivation_relu"}
OUTPUTS = {"exact": "linear", "sampled": "gaussian_linear"}
READ_ANEW = ("learning_rate", "batch_size", "max_iter", "validation_fraction", "random_state", "warm_start", "verbose")
"""Arguments that take effect when they change while training goes on; the others are what the network is made of."""

Self = TypeVar("Self", bound="CoagentEstimator")


class CoagentEstimator(BaseEstimator):
    """What classifier and regressor share: their arguments, described at `CoagentClassifier`, and training."""

    _loss: str
    _good_rate: float

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (64,),
        units: str | Sequence[str] | None = None,
        *,
        rule: str = "reinforce",
        rule_kwargs: Mapping[str, Any] | None = None,
        baseline: str | None = "global",
        critic: str | None = None,
        critic_signal: str = "target",
        critic_kwargs: Mapping[str, Any] | None = None,
        output: str = "exact",
        n_samples: int | None = None,
        deviation: Deviation | None = None,
        levels: int | Sequence[float] = 5,
        exploring: int | str | None = None,
        frozen_layers: str | Sequence[int] = (),
        optimizer: str = "rmsprop",
        learning_rate: Rates | None = None,
        batch_size: int = 32,
        max_iter: int = 100,
        validation_fraction: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.units = units
        self.rule = rule
        self.rule_kwargs = rule_kwargs
        self.baseline = baseline
        self.critic = critic
        self.critic_signal = critic_signal
        self.critic_kwargs = critic_kwargs
        self.output = output
        self.n_samples = n_samples
        self.deviation = deviation
        self.levels = levels
        self.exploring = exploring
        self.frozen_layers = frozen_layers
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # ------------------------------------------------------------------ arguments

    def _refuse(self, name: str, wanted: str) -> ValueError:
        """An error in scikit-learn's words."""
        value = getattr(self, name)
        return ValueError(f"The {name!r} parameter of {type(self).__name__} must be {wanted}. Got {value!r} instead.")

    def _check_arguments(self) -> None:
        for name in ("n_samples", "batch_size", "max_iter"):
            if not _is_count(getattr(self, name)) and not (name == "n_samples" and self.n_samples is None):
                raise self._refuse(name, "an int in the range [1, inf)")
        fraction = self.validation_fraction
        if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real) or not 0.0 <= float(fraction) < 1.0:
            raise self._refuse("validation_fraction", "a float in the range [0, 1)")
        if self.output not in list(OUTPUTS):
            raise self._refuse("output", f"a str among {set(OUTPUTS)}")
        if not isinstance(self.hidden_layer_sizes, Sequence | np.ndarray) or isinstance(self.hidden_layer_sizes, str):
            raise self._refuse("hidden_layer_sizes", "an array-like of ints in the range [1, inf)")
        if not all(_is_count(size) for size in self.hidden_layer_sizes):
            raise self._refuse("hidden_layer_sizes", "an array-like of ints in the range [1, inf)")

    def _hidden_kinds(self, default: str) -> list[str]:
        n_hidden = len(self.hidden_layer_sizes)
        given = default if self.units is None else self.units
        kinds = [given] * n_hidden if isinstance(given, str) else given
        known = [*ALIASES, *(kind for kind in UNIT_KINDS if not kind.startswith("softmax"))]
        is_list = isinstance(kinds, Sequence | np.ndarray)
        if not is_list or len(kinds) != n_hidden or not all(kind in known for kind in kinds):
            raise self._refuse("units", f"None, or one name, or one for each of the {n_hidden} hidden layers, of {known}")
        return [ALIASES.get(kind, kind) for kind in kinds]

    def _level_values(self) -> tuple[float, ...]:
        if isinstance(self.levels, str) or not (isinstance(self.levels, Sequence | np.ndarray) or _is_count(self.levels)):
            raise self._refuse("levels", "an int in the range [2, inf) or an array-like of floats")
        if isinstance(self.levels, Sequence | np.ndarray):
            return tuple(self.levels)
        if int(self.levels) < 2:
            raise self._refuse("levels", "an int in the range [2, inf) or an array-like of floats")
        return tuple(np.linspace(-1.0, 1.0, int(self.levels)).tolist())

    def _frozen(self, depth: int) -> Sequence[int]:
        frozen = self.frozen_layers
        if isinstance(frozen, str) and frozen == "hidden":
            return range(depth - 1)
        is_list = isinstance(frozen, Sequence | np.ndarray) and not isinstance(frozen, str)
        if not is_list or not all(isinstance(index, int | np.integer) and 0 <= index < depth for index in frozen):
            raise self._refuse("frozen_layers", f"'hidden' or an array-like of layers from 0 to {depth - 1}")
        return [int(index) for index in frozen]

    def _begin(self, n_outputs: int) -> None:
        """Make a new network and its learner."""
        self._check_arguments()
        rule = make_rule(self.rule, self.rule_kwargs)
        deviation = rule.deviation if self.deviation is None else self.deviation
        start, is_learned = starting_deviation(deviation), isinstance(deviation, LearnedDeviation)
        levels = self._level_values()

        def layer(kind: str, size: int) -> Layer:
            with_deviation = Layer(kind, 1).has_deviation
            return Layer(kind, size, deviation=start, learned_deviation=is_learned and with_deviation, levels=levels)

        sizes = [int(size) for size in self.hidden_layer_sizes]
        hidden = [layer(kind, size) for kind, size in zip(self._hidden_kinds(rule.units), sizes, strict=True)]
        rng = new_generator(self.random_state)
        network = Network(self.n_features_in_, [*hidden, layer(OUTPUTS[self.output], n_outputs)])
        initialise(network, rng)
        self.learner_ = BatchLearner(
            network,
            self._loss,
            self.rule,
            self.rule_kwargs,
            learning_rate=self._rates(),
            optimizer=self.optimizer,
            baseline=self.baseline,
            critic=self.critic,
            critic_signal=self.critic_signal,
            critic_kwargs=self.critic_kwargs,
            n_samples=rule.n_samples if self.n_samples is None else self.n_samples,
            deviation=deviation,
            exploring=self.exploring,
            frozen_layers=self._frozen(network.depth),
            rng=rng,
        )
        self.network_ = network
        self.history_: History = new_history()
        self.n_iter_ = 0
        self._used = self._arguments()

    def _arguments(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in self.get_params(deep=False).items()}

    def _go_on(self) -> None:
        """Before training goes on: let arguments that were changed take effect, or refuse them, which is said at once."""
        self._check_arguments()
        used, given = self._used, self._arguments()
        fixed = [name for name in given if name not in READ_ANEW and given[name] != used[name]]
        if fixed:
            changes = [f"{name} was {used[name]!r} when it was fitted, and is {given[name]!r} now" for name in fixed]
            raise ValueError(
                f"{type(self).__name__} cannot go on learning with other arguments: {'; '.join(changes)}. Set back what was "
                f"changed, or fit anew, with warm_start=False or a clone. What may change is {', '.join(READ_ANEW)}."
            )
        learner = self.learner_
        rng = learner.rng if given["random_state"] == used["random_state"] else new_generator(self.random_state)
        if given["learning_rate"] != used["learning_rate"]:
            learner.change_learning_rate(self._rates())
        learner.rng, self._used = rng, given

    def _rates(self) -> Rates:
        return self._good_rate if self.learning_rate is None else self.learning_rate

    # ------------------------------------------------------------------ training

    def _fit(self: Self, X: np.ndarray, targets: np.ndarray) -> Self:
        """Train for ``max_iter`` epochs; ``targets`` are classes or values, in the form that `BatchLearner` takes."""
        learner = self.learner_
        training, validation = self._split(len(X), targets)
        evaluated = GreedyPass(self.network_, learner.learned)
        if not self.history_["epoch"]:
            self._record(evaluated, X, targets, training, validation, np.nan)
        for epoch in self._epochs():
            learner.begin_epoch(epoch, self.max_iter)
            loss = self._learn(X, targets, learner.rng.permutation(training))
            self.n_iter_ += 1
            self._record(evaluated, X, targets, training, validation, loss)
        return self

    def _epochs(self) -> Iterator[int]:
        if not self.verbose:
            yield from range(self.max_iter)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[running]}"))
        with Progress(BarColumn(), MofNCompleteColumn(), TextColumn("epochs"), *columns) as progress:
            task = progress.add_task("", total=self.max_iter, running="")
            for epoch in range(self.max_iter):
                yield epoch
                shown = {name: self.history_[name][-1] for name in ("loss", "training_score", "validation_score")}
                running = ", ".join(f"{name.replace('_', ' ')} {x:.3f}" for name, x in shown.items() if np.isfinite(x))
                progress.update(task, advance=1, running=running)

    def _split(self, n: int, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of training and validation inputs."""
        if self.validation_fraction == 0.0:
            return np.arange(n), np.arange(0)
        seed = int(self.learner_.rng.integers(np.iinfo(np.int32).max))
        parts = train_test_split(
            np.arange(n),
            test_size=self.validation_fraction,
            random_state=seed,
            stratify=targets if self._loss == "cross_entropy" else None,
        )
        return parts[0], parts[1]

    def _learn(self, X: np.ndarray, targets: np.ndarray, order: np.ndarray) -> float:
        """One pass over the inputs in the given order; returns the mean loss."""
        learner, size = self.learner_, min(self.batch_size, len(order))
        batch = np.empty((size, X.shape[1]), X.dtype)
        total = 0.0
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            inputs = np.take(X, chosen, axis=0, out=batch[: len(chosen)], mode="clip")
            total += learner.learn(inputs, targets[chosen]) * len(chosen)
        return total / len(order)

    def _record(
        self,
        greedy: GreedyPass,
        X: np.ndarray,
        targets: np.ndarray,
        training: np.ndarray,
        validation: np.ndarray,
        loss: float,
    ) -> None:
        outputs, activities = greedy.describe(X, training)
        score = self._score(targets[training], outputs)
        validated = self._score(targets[validation], greedy.predict(X, validation)) if len(validation) else np.nan
        for name, value in (
            ("epoch", self.n_iter_),
            ("loss", loss),
            ("training_score", score),
            ("validation_score", validated),
            ("entropy", [activity.entropy for activity in activities]),
            ("sparsity", [activity.sparsity for activity in activities]),
        ):
            self.history_[name].append(value)

    def _partial_fit(self: Self, X: np.ndarray, targets: np.ndarray) -> Self:
        if self.exploring == STAGED:
            raise ValueError("exploring='staged' needs to know the number of epochs: use fit, not partial_fit.")
        self.learner_.begin_epoch()
        self._learn(X, targets, np.arange(len(X)))
        self.n_iter_ += 1
        return self

    def _score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        raise NotImplementedError

    def _outputs(self, X: npt.ArrayLike, rng: np.random.Generator | None = None) -> np.ndarray:
        """Outputs of the network for any inputs, greedy or, with ``rng``, sampled: shape (n, n_outputs)."""
        check_is_fitted(self)
        inputs: np.ndarray = validate_data(self, X, dtype=np.float32, order="C", reset=False)
        return GreedyPass.in_double(self.network_, self.learner_.learned).predict(inputs, rng=rng)

    def _is_new(self) -> bool:
        return not (self.warm_start and hasattr(self, "learner_"))


def new_generator(random_state: int | np.random.RandomState | None) -> np.random.Generator:
    """A generator seeded by scikit-learn's ``random_state``."""
    return np.random.default_rng(check_random_state(random_state).randint(np.iinfo(np.int32).max, size=4))


def _plain(value: Any) -> Any:
    """A copy that can be compared, in which arrays and lists are tuples."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_plain(item) for item in value)
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1
