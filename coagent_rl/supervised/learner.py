"""A coagent network that learns from batches of inputs and targets: a finite-horizon problem with one step a layer.

An input x is one episode. Layer j sees what layer j - 1 passed on, its units draw what they pass on, and after the last
layer the return is G = -loss. A rule says what the return, or the loss's exact gradient at the output, means for each layer.

Source: Gupta et al. (2021), §2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coagent_rl.networks import Network
from coagent_rl.networks.layout import DEVIATION
from coagent_rl.schedules import Rates, constant_schedule
from coagent_rl.supervised.baselines import Advantages, make_baseline
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.critics import make_reinforcement
from coagent_rl.supervised.deviation import DecayedDeviation, LearnedDeviation
from coagent_rl.supervised.greedy import GreedyPass
from coagent_rl.supervised.losses import LOSSES
from coagent_rl.supervised.network import BatchNetwork
from coagent_rl.supervised.rules import make_rule
from coagent_rl.supervised.rules.reinforce import reinforce

STAGED = "staged"


class BatchLearner(BatchNetwork):
    """A network, the rule by which it learns, and what the rule needs.

    The output layer is a ``linear`` one, which learns from the exact gradient of its loss, or a ``gaussian_linear`` one,
    which is a coagent too: the loss is that of what it drew.

    Args:
        network: whose parameters learn, in its dtype.
        loss: ``"cross_entropy"`` (targets are classes, outputs logits) or ``"squared_error"``.
        rule: a name in `coagent_rl.supervised.rules.RULES`.
        rule_kwargs: what the rule takes besides.
        learning_rate: one for all layers, or one each.
        optimizer: ``"rmsprop"``, ``"adam"`` or ``"sgd"``.
        baseline: None, ``"global"``, ``"state"`` or ``"layer"``, of the layers that learn from a return.
        critic: None, ``"on_policy"`` or ``"off_policy"``, in the place of the hidden layers' baseline.
        critic_signal: ``"target"`` or ``"value"``, see `LayerCritics`.
        critic_kwargs: ``hidden_layer_sizes`` and ``learning_rate`` of the critics.
        n_samples: paths an input, over which the update is averaged.
        deviation: how the Gaussian units' deviation changes, if it does.
        exploring: how many units of each sampled hidden layer explore, drawn anew by `begin_epoch`, while the others take
            their most likely value and do not learn; ``"staged"``, hidden layer l of L stops exploring and learning after
            the share (l + 1) / L of the epochs; None, all explore.
        frozen_layers: indices of layers that keep their parameters.
        log_offsets: c of the discrete scores ln(π + c), one for all layers, or one each.
        rng: of all noise, and of the critics' and the feedback weights' initial values.

    Raises:
        ValueError: for unknown names, and for a rule, a baseline or a critic that is not defined for the network's units.

    Example:
        >>> import numpy as np
        >>> from coagent_rl.networks import Layer, Network
        >>> network = Network(4, [Layer("bernoulli", 8), Layer("linear", 3)])
        >>> learner = BatchLearner(network, "cross_entropy", "reinforce", learning_rate=0.01, baseline="global")
        >>> inputs, classes = np.ones((5, 4), np.float32), np.array([0, 1, 2, 0, 1])
        >>> round(learner.learn(inputs, classes), 3)
        1.099
    """

    def __init__(
        self,
        network: Network,
        loss: str,
        rule: str = "reinforce",
        rule_kwargs: Mapping[str, Any] | None = None,
        *,
        learning_rate: Rates = 1e-3,
        optimizer: str = "rmsprop",
        baseline: str | None = None,
        critic: str | None = None,
        critic_signal: str = "target",
        critic_kwargs: Mapping[str, Any] | None = None,
        n_samples: int = 1,
        deviation: float | DecayedDeviation | LearnedDeviation | None = None,
        exploring: int | str | None = None,
        frozen_layers: Sequence[int] = (),
        log_offsets: float | Sequence[float] = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.rule = make_rule(rule, rule_kwargs)
        self.rule.check(network.layers[:-1])
        self.rng = np.random.default_rng(0) if rng is None else rng
        learned = deviation if isinstance(deviation, LearnedDeviation) else None
        self.deviation = deviation
        super().__init__(network, loss, learning_rate, optimizer, n_samples, log_offsets, learned, frozen_layers)
        if network.layers[-1].kind not in ("linear", "gaussian_linear"):
            raise ValueError(f"The output layer must be linear or gaussian_linear, not {network.layers[-1].kind!r}.")
        if learned is not None:
            for index, layer in enumerate(network.layers):
                if layer.learned_deviation:
                    network.log_deviations(index)[:] = learned.first_parameter
        self._note_rates(learning_rate)
        self.rule.attach(self)
        self._check_exploring(exploring)
        self.exploring = exploring
        if critic is not None and not self.rule.uses_advantages:
            raise ValueError(
                f"A critic gives every layer a reinforcement of its own, which the rule {rule!r} does not ask for: critic "
                f"must be None, not {critic!r}."
            )
        self.reinforcement = make_reinforcement(critic, critic_signal, critic_kwargs, make_baseline(baseline, self), self)
        self.advantages: Advantages = []
        self._noiseless: GreedyPass | None = None

    # ------------------------------------------------------------------ rates

    def _note_rates(self, learning_rate: Rates) -> None:
        self.base_rates = constant_schedule(learning_rate).table(self.network.depth, "learning_rate")[0]
        self.set_rates(self.base_rates)
        self.lowest = int(np.flatnonzero(self.rates)[0]) if np.any(self.rates) else self.network.depth

    def change_learning_rate(self, learning_rate: Rates) -> None:
        """Learn at other rates from now on, as do baselines and critics that have none of their own.

        Raises:
            ValueError: for rates that do not match the layers, or are negative.
        """
        self._note_rates(learning_rate)
        self.reinforcement.set_rates(self)

    # ------------------------------------------------------------------ structure

    @property
    def sampled(self) -> list[int]:
        """Indices of the layers that draw: the last ones of their coagents."""
        return [layer.index for layer in self.layers if layer.is_sampled]

    def bottom(self, index: int) -> int:
        """The lowest layer of the coagent that layer ``index`` belongs to."""
        while index > 0 and not self.layers[index - 1].is_sampled:
            index -= 1
        return index

    def coagent_inputs(self, index: int) -> np.ndarray:
        """What the coagent that layer ``index`` belongs to has read, shape (n_inputs or n_rows, n_in)."""
        return self.layers[self.bottom(index)].inputs

    # ------------------------------------------------------------------ one update

    def learn(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """One update from a batch; returns the mean loss of the sampled paths.

        Args:
            inputs: shape (n_inputs, n_in), in the network's dtype.
            targets: classes, shape (n_inputs,), or values, shape (n_inputs, n_outputs).

        Raises:
            ValueError: if a loss is not finite; nothing is learned from it.
        """
        self.propagate(inputs, self.draw)
        self.judge(targets)
        mean = self.mean_loss
        if not math.isfinite(mean):
            raise ValueError(
                f"The network diverged: the mean loss of update {self.n_updates + 1} is {mean}. Lower learning_rate, or "
                f"scale the inputs and targets."
            )
        self.assign_credit()
        self.compute_direction()
        self.reinforcement.learn(self)
        self.update()
        return mean

    def draw(self, layer: BatchLayer) -> None:
        """Write the values of a layer from its means."""
        if not layer.is_sampled:
            layer.draw(False)
        elif layer is self.output:
            layer.draw_noise(self.rng)
            layer.draw(True)
        else:
            self.rule.draw(layer, self.rng)

    def replay(self, inputs: np.ndarray, drawn: Sequence[np.ndarray | None]) -> None:
        """`propagate` with given draws instead of the units' own; None for a layer that draws nothing.

        Args:
            inputs: shape (n_inputs, n_in).
            drawn: what each layer drew, shape (n_rows, n_values): u of Gaussian units, the index of a level, or 0 and 1.
        """

        def draw(layer: BatchLayer) -> None:
            chosen = drawn[layer.index]
            if chosen is None:
                layer.draw(False)
            else:
                layer.replay(chosen)

        self.propagate(inputs, draw)

    def assign_credit(self) -> None:
        """Advantages, then the credit of all layers, from the output down."""
        self.advantages = self.reinforcement.advantages(self)
        self.rule.begin(self)
        if self.output.is_sampled:
            advantages = self.advantages[-1]
            assert advantages is not None
            reinforce(self.output, advantages)
        for above in reversed(self.layers[self.lowest + 1 :]):
            layer = self.layers[above.index - 1]
            if layer.is_sampled:
                self.rule.assign(self, layer, above)
            else:
                self.rule.assign_deterministic(self, layer, above)

    def update(self) -> None:
        super().update()
        if isinstance(self.deviation, DecayedDeviation):
            constants = self.network.constants
            for layer in self.layers:
                if layer.spec.has_deviation:
                    constants[layer.index, DEVIATION] = self.deviation.after(float(constants[layer.index, DEVIATION]))

    def noiseless_losses(self) -> np.ndarray:
        """Losses of the last batch if no unit had had any noise, shape (n_rows,)."""
        if self._noiseless is None:
            self._noiseless = GreedyPass(self.network, self.learned)
        outputs = self._noiseless.outputs(self.inputs)
        losses, unused = np.empty(len(outputs), outputs.dtype), np.empty_like(outputs)
        LOSSES[self.loss](outputs.shape[1], outputs, self.targets, 1, losses, unused)
        return np.repeat(losses, self.n_samples)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "advantages": [], "_noiseless": None}

    def _make_room(self) -> None:
        super()._make_room()
        for layer in self.layers[:-1]:
            layer.keeps_products = self.rule.keeps_products

    # ------------------------------------------------------------------ exploration

    def _check_exploring(self, exploring: int | str | None) -> None:
        if exploring is None:
            return
        if self.rule.why_all_explore:
            raise ValueError(
                f"The rule {self.rule.name!r} cannot let only some units explore (exploring={exploring!r}): "
                f"{self.rule.why_all_explore}."
            )
        widths = [layer.n_values for layer in self.layers[:-1] if layer.is_sampled]
        is_count = isinstance(exploring, int | np.integer) and not isinstance(exploring, bool)
        if exploring != STAGED and not (is_count and 1 <= int(exploring) <= min(widths, default=0)):
            raise ValueError(
                f"exploring must be None, 'staged' or a number of units from 1 to the width of the narrowest sampled hidden "
                f"layer ({min(widths, default=0)}), not {exploring!r}."
            )

    def begin_epoch(self, epoch: int = 0, n_epochs: int = 1) -> None:
        """Choose which units explore from now on; ``epoch`` counts from 0."""
        if self.exploring is None:
            return
        hidden = self.layers[:-1]
        for layer in hidden:
            if not layer.is_sampled:
                continue
            if self.exploring == STAGED:
                stops = (layer.index + 1) / len(hidden) * n_epochs
                layer.exploring = np.full((1, layer.n_values), epoch < stops)
            else:
                layer.exploring = np.zeros((1, layer.n_values), dtype=bool)
                chosen = self.rng.choice(layer.n_values, int(self.exploring), replace=False)
                layer.exploring[0, chosen] = True
