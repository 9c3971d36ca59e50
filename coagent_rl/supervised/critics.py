"""Layer critics: how good was what a layer did, given what it read? The last one learns from the return, each other from the
critic of the layer above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from coagent_rl.supervised.baselines import Advantages, NoBaseline
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.network import ValueNetwork, initialise

if TYPE_CHECKING:
    from coagent_rl.supervised.learner import BatchLearner

CRITICS = (None, "on_policy", "off_policy")
CRITIC_SIGNALS = ("target", "value")
"""What a layer's units learn from: its critic's target, as in the official code, or the critic's value, as in the paper."""


class LayerCritics(NoBaseline):
    """Q_j(o_j, a_j) of every sampled hidden layer j, and what the layers learn from.

    The targets are T_j = Q_{j+1}(o_{j+1}, a') and, of the last hidden layer, G. ``"on_policy"``, a' is what layer j+1 did;
    ``"off_policy"``, what it would most probably have done. The critics learn one after the other, the last one first, so
    that T_j is read from a critic that has learned from this batch already.

    Args:
        learner: the network that they are for.
        kind: ``"on_policy"`` or ``"off_policy"``.
        signal: ``"target"``, layer j learns from T_j; ``"value"``, from Q_j(o_j, a_j) before its update.
        baseline: of the output layer, where it is sampled.
        hidden_layer_sizes: ReLU layers of each critic; none for a linear one.
        learning_rate: of all critics; twice the layer's own where it is None.

    Attributes:
        values: index of a layer → its critic.
        reads: index of a layer → the layer whose inputs are its critic's o_j: the lowest one of its coagent.
        targets: index of a layer → T_j of the last batch, shape (n_rows,).
        estimates: index of a layer → Q_j(o_j, a_j) of the last batch before the update, shape (n_rows,).

    Raises:
        ValueError: for an unknown kind or signal.

    Source: Gupta et al. (2021), §4.1; order of the updates and T_j as the signal from the official code.
    """

    def __init__(
        self,
        learner: BatchLearner,
        kind: str,
        signal: str,
        baseline: NoBaseline,
        hidden_layer_sizes: Sequence[int] = (64,),
        learning_rate: float | None = None,
    ) -> None:
        if kind not in CRITICS:
            raise ValueError(f"Unknown critic {kind!r}; known critics: {', '.join(map(repr, CRITICS))}.")
        if signal not in CRITIC_SIGNALS:
            raise ValueError(f"Unknown critic_signal {signal!r}; known signals: {', '.join(map(repr, CRITIC_SIGNALS))}.")
        self.kind = kind
        self.signal = signal
        self.baseline = baseline
        self.follows = learning_rate is None
        self.values: dict[int, ValueNetwork] = {}
        self.reads = {index: learner.bottom(index) for index in range(learner.network.depth - 1)}
        self.targets: dict[int, np.ndarray] = {}
        self.estimates: dict[int, np.ndarray] = {}
        for index in learner.sampled:
            if index < learner.network.depth - 1:
                n_inputs = learner.layers[self.reads[index]].n_in + learner.layers[index].n_values
                rate = 0.0 if learning_rate is None else learning_rate
                critic = ValueNetwork(
                    n_inputs, hidden_layer_sizes, rate, learner.optimizer, learner.network.parameters.dtype
                )
                initialise(critic.network, learner.rng)
                self.values[index] = critic
        self.set_rates(learner)

    def set_rates(self, learner: BatchLearner) -> None:
        self.baseline.set_rates(learner)
        for index, critic in self.values.items():
            if self.follows:
                critic.set_rates(np.full(critic.network.depth, 2.0 * learner.base_rates[index]))

    def advantages(self, learner: BatchLearner) -> Advantages:
        advantages = self.baseline.advantages(learner)
        last = max(self.values, default=-1)
        above = -1
        for index in sorted(self.values, reverse=True):
            critic, done = self.values[index], learner.layers[index].outputs
            target = -learner.losses if index == last else self._value_above(learner, above)
            self.targets[index] = target
            self.estimates[index] = critic.predict(beside(learner.layers[self.reads[index]].inputs, done)).copy()
            critic.learn(target)
            if learner.layers[index].is_sampled:
                advantages[index] = target if self.signal == "target" else self.estimates[index]
            above = index
        return advantages

    def learn(self, learner: BatchLearner) -> None:
        self.baseline.learn(learner)

    def _value_above(self, learner: BatchLearner, index: int) -> np.ndarray:
        layer = learner.layers[index]
        action = layer.outputs if self.kind == "on_policy" else most_likely(layer)
        return self.values[index].predict(beside(learner.layers[self.reads[index]].inputs, action)).copy()


def beside(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """[o, a], one row an action: shape (n_rows, n_o + n_a); the rows of an input share its observation."""
    joined = np.empty((len(actions), observations.shape[1] + actions.shape[1]), actions.dtype)
    n_samples = len(actions) // len(observations)
    joined[:, : observations.shape[1]] = observations if n_samples == 1 else np.repeat(observations, n_samples, axis=0)
    joined[:, observations.shape[1] :] = actions
    return joined


def most_likely(layer: BatchLayer) -> np.ndarray:
    """What the units of a layer would most probably have passed on, given what they read; shape (n_rows, n_values)."""
    if not layer.is_sampled:
        return layer.outputs
    done = layer.values.copy()
    try:
        layer.draw(False)
        return layer.outputs.copy()
    finally:
        layer.values[:] = done


def make_reinforcement(
    kind: str | None, signal: str, kwargs: Mapping[str, Any] | None, baseline: NoBaseline, learner: BatchLearner
) -> NoBaseline:
    """Layer critics, or the baseline alone where ``kind`` is None.

    Raises:
        ValueError: for an unknown kind, signal or keyword argument.
    """
    known = ("hidden_layer_sizes", "learning_rate")
    if not isinstance(kwargs, Mapping | None) or set(kwargs or {}) - set(known):
        raise ValueError(f"critic_kwargs must be a dictionary with some of the keys {', '.join(known)}, not {kwargs!r}.")
    if kind is None:
        if kwargs:
            raise ValueError(f"critic_kwargs are for a critic, and there is none: {dict(kwargs)!r}.")
        return baseline
    return LayerCritics(learner, kind, signal, baseline, **(kwargs or {}))
