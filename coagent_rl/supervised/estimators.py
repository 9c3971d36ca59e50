"""`CoagentClassifier` and `CoagentRegressor`: coagent networks as scikit-learn estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from coagent_rl.supervised.base import CoagentEstimator, new_generator


class CoagentClassifier(ClassifierMixin, CoagentEstimator):
    """A classifier whose hidden units are reinforcement learners of their own: a supervised coagent network.

    A sample is an episode: each layer sees what the layer below passed on, its units draw what they pass on, and the return
    is minus the cross entropy of the output layer's softmax. Predictions are greedy: every unit takes its most likely value.

    Args:
        hidden_layer_sizes: widths of the hidden layers.
        units: kind of the hidden units, one for all layers or one each: ``"bernoulli"``, ``"gaussian"`` (noise before a
            rectifier), ``"categorical"``, ``"relu"``, … (`coagent_rl.networks.UNIT_KINDS`). A deterministic layer belongs to
            the coagent that ends at the next sampled layer above, and learns by the chain rule inside it. None: what the
            rule is most natural for.
        rule: how hidden layers get their credit, a name in `coagent_rl.supervised.RULES`, such as ``"reinforce"``,
            ``"weight_max"`` or ``"backprop"``.
        rule_kwargs: what the rule takes besides, e.g. ``dict(exploration_probability=0.1)``.
        baseline: what layers that learn from the return subtract from it: None, ``"global"``, a running mean, ``"state"``, a
            linear value of x, or ``"layer"``, one of what each layer reads.
        critic: None, ``"on_policy"`` or ``"off_policy"``: critics tell each hidden layer how good it was (`LayerCritics`).
        critic_signal: ``"target"``, a layer learns from its critic's target, or ``"value"``, from its critic's value.
        critic_kwargs: ``hidden_layer_sizes`` and ``learning_rate`` of the critics.
        output: ``"exact"``, the output layer learns from the exact gradient of the loss; ``"sampled"``, it is a layer of
            Gaussian coagents too.
        n_samples: paths drawn for every sample, over which the update is averaged. None: ten for rules that learn from the
            return of what was drawn, one for the others.
        deviation: σ of Gaussian units, a number, `DecayedDeviation` or `LearnedDeviation`; None: what suits the rule.
        levels: what categorical units pass on: that many numbers evenly from -1 to 1, or these numbers.
        exploring: let only so many units of each layer explore and learn, drawn anew every epoch, or ``"staged"``: one
            hidden layer after the other stops exploring and learning. None: all explore.
        frozen_layers: layers that keep their initial parameters, by index, or ``"hidden"`` for all but the output: the
            control that shows what the hidden units' learning adds.
        optimizer: ``"rmsprop"`` (decay 0.99, no bias correction), ``"adam"`` or ``"sgd"``.
        learning_rate: one for all layers, or one each, from the input side to the output. None: 2e-3, of a regressor 2e-2.
        batch_size: samples an update; clipped to the number of samples.
        max_iter: epochs.
        validation_fraction: share of the samples that is not learned from but scored after every epoch.
        random_state: of initial parameters, noise, order and split; an int makes results reproducible.
        warm_start: whether another call of `fit` goes on with the network that is there. As before another `partial_fit`,
            ``learning_rate``, ``batch_size``, ``max_iter``, ``validation_fraction`` and ``random_state`` may then be changed
            by ``set_params``; what the network is made of may not.
        verbose: whether to show a progress bar with loss and scores.

    Attributes:
        classes_: shape (n_classes,).
        network_: the `coagent_rl.networks.Network`, with all parameters.
        learner_: the `BatchLearner`.
        history_: one entry an epoch, see `coagent_rl.supervised.history`; `history_figure` draws it.
        n_iter_: number of epochs, or of calls of `partial_fit`.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Source: Gupta et al. (2021), Structural credit assignment in neural networks using reinforcement learning.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from coagent_rl.supervised import CoagentClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> CoagentClassifier(random_state=0).fit(X, y).score(X, y) > 0.9
        True
    """

    _loss = "cross_entropy"
    _good_rate = 2e-3

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> CoagentClassifier:
        """Learn from samples, shape (n_samples, n_features), and their classes, shape (n_samples,).

        Raises:
            ValueError: for input or arguments that scikit-learn would refuse, only one class, units that the rule is not
                defined for, or a network that diverges.
        """
        is_new = self._is_new()
        inputs, classes = self._validated(X, y, is_new)
        if is_new:
            known = np.unique(classes)
            if len(known) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes in the data, but the data contains only one "
                    f"class: {known[0]!r}"
                )
            self._begin(len(known))
            self.classes_ = known
        else:
            self._go_on()
        self._fit(inputs, encode(classes, self.classes_))
        return self

    def partial_fit(self, X: npt.ArrayLike, y: npt.ArrayLike, classes: npt.ArrayLike | None = None) -> CoagentClassifier:
        """Learn from one pass over the samples in their order, in batches.

        Args:
            X, y: as in `fit`.
            classes: all classes that will ever come; needed in the first call.

        Raises:
            ValueError: as `fit`, or for a class that is not among ``classes``.
        """
        is_first = not hasattr(self, "learner_")
        if is_first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is not None:
            given = np.unique(np.asarray(classes))
            if not is_first and not np.array_equal(given, self.classes_):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
                )
        inputs, labels = self._validated(X, y, is_first)
        targets = encode(labels, given if is_first else self.classes_)
        if is_first:
            self._begin(len(given))
            self.classes_ = given
        else:
            self._go_on()
        self._partial_fit(inputs, targets)
        return self

    def _validated(self, X: npt.ArrayLike, y: npt.ArrayLike, is_new: bool) -> tuple[np.ndarray, np.ndarray]:
        inputs, labels = validate_data(self, X, y, dtype=np.float32, order="C", reset=is_new)
        check_classification_targets(labels)
        return inputs, column_or_1d(labels, warn=True)

    def _score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(accuracy_score(targets, outputs.argmax(axis=1)))

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """The most probable class of each sample in a greedy pass, shape (n_samples,)."""
        outputs = self._outputs(X)
        return np.asarray(self.classes_[outputs.argmax(axis=1)])

    def predict_proba(self, X: npt.ArrayLike) -> np.ndarray:
        """Softmax of the output layer in a greedy pass, shape (n_samples, n_classes)."""
        return softmax_rows(self._outputs(X))

    def sample(self, X: npt.ArrayLike, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """What the network draws when all of it is random: every unit draws, then a class from the softmax; (n_samples,)."""
        rng = new_generator(random_state)
        cumulated = np.cumsum(softmax_rows(self._outputs(X, rng)), axis=1)
        chosen = (rng.random((len(cumulated), 1)) * cumulated[:, -1:] >= cumulated).sum(axis=1)
        return np.asarray(self.classes_[np.minimum(chosen, len(self.classes_) - 1)])


class CoagentRegressor(RegressorMixin, CoagentEstimator):
    """A regressor whose hidden units are reinforcement learners of their own: a supervised coagent network.

    The return is minus the squared error, the mean over the outputs where there are several. Targets are learned as they
    are: scale them (`sklearn.compose.TransformedTargetRegressor`) where their size is far from one.

    The arguments are those of `CoagentClassifier`.

    Attributes:
        network_, learner_, history_, n_iter_, n_features_in_, feature_names_in_: as in `CoagentClassifier`.
        n_outputs_: number of values that are predicted.

    Source: Gupta et al. (2021).
    """

    _loss = "squared_error"
    _good_rate = 2e-2

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> CoagentRegressor:
        """Learn from samples, shape (n_samples, n_features), and targets, shape (n_samples,) or (n_samples, n_outputs).

        Raises:
            ValueError: for input or arguments that scikit-learn would refuse, units that the rule is not defined for, or a
                network that diverges.
        """
        is_new = self._is_new()
        inputs, targets = self._validated(X, y, is_new)
        if is_new:
            self._begin(self.n_outputs_)
        else:
            self._go_on()
        self._fit(inputs, targets)
        return self

    def partial_fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> CoagentRegressor:
        """Learn from one pass over the samples in their order, in batches.

        Raises:
            ValueError: as `fit`.
        """
        is_first = not hasattr(self, "learner_")
        inputs, targets = self._validated(X, y, is_first)
        if is_first:
            self._begin(self.n_outputs_)
        else:
            self._go_on()
        self._partial_fit(inputs, targets)
        return self

    def _validated(self, X: npt.ArrayLike, y: npt.ArrayLike, is_new: bool) -> tuple[np.ndarray, np.ndarray]:
        inputs, values = validate_data(
            self, X, y, dtype=np.float32, order="C", multi_output=True, y_numeric=True, reset=is_new
        )
        if values.ndim == 2 and values.shape[1] == 1:
            values = column_or_1d(values, warn=True)
        targets = np.ascontiguousarray(values, dtype=np.float32).reshape(len(values), -1)
        if is_new:
            self.n_outputs_, self._is_flat = targets.shape[1], values.ndim == 1
        elif targets.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {targets.shape[1]} outputs, but {type(self).__name__} learned {self.n_outputs_} before."
            )
        return inputs, targets

    def _score(self, targets: np.ndarray, outputs: np.ndarray) -> float:
        return float(r2_score(targets, outputs)) if len(targets) > 1 else float("nan")

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Predictions of a greedy pass, shape (n_samples,) or (n_samples, n_outputs)."""
        return self._shaped(self._outputs(X))

    def sample(self, X: npt.ArrayLike, random_state: int | np.random.RandomState | None = None) -> np.ndarray:
        """Predictions of a pass in which every unit draws, shape (n_samples,) or (n_samples, n_outputs)."""
        rng = new_generator(random_state)
        return self._shaped(self._outputs(X, rng))

    def _shaped(self, outputs: np.ndarray) -> np.ndarray:
        return np.asarray(outputs[:, 0] if self._is_flat else outputs, dtype=np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def encode(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Index of each label among the sorted ``classes``, shape of ``labels``.

    Raises:
        ValueError: for a label that is not a class.
    """
    if unknown := sorted(set(np.unique(labels).tolist()) - set(classes.tolist())):
        raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {unknown}.")
    return np.searchsorted(classes, labels).astype(np.int64)


def softmax_rows(logits: np.ndarray) -> np.ndarray:
    """Softmax of each row, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
