"""One layer of a network over a batch: BLAS computes its products, kernels over rows the rest.

A row is a path: one input followed through the sampled network. With N samples averaged, N neighbouring rows share an input,
and whatever happens before the first layer draws is computed once for the N of them.
"""

from __future__ import annotations

import numpy as np

from coagent_rl.credit.thomas import explorers_only
from coagent_rl.kernel import Array, kernel
from coagent_rl.networks import Network
from coagent_rl.networks.forward import means_of_pre_activations, n_means
from coagent_rl.networks.layout import DEVIATION, LEVELS, TEMPERATURE, place
from coagent_rl.networks.units import (
    BERNOULLI,
    CATEGORICAL,
    GAUSSIAN_PREACTIVATION,
    draw,
    draw_levels,
    neutral_noise,
    score,
    slope,
)
from coagent_rl.supervised.deviation import EXPONENTIAL, FORMS, LearnedDeviation, deviation_rows, deviation_scores
from coagent_rl.supervised.noise import fill_normal


@kernel
def mean_rows(
    layout: Array, constants: Array, index: int, n_samples: int, keeps_products: bool, biases: Array, means: Array
) -> None:
    """Replace products x·w by the means of all rows, in place.

    Args:
        layout, constants, index: see `Network`; which layer.
        n_samples: rows that share an input.
        keeps_products: whether nothing is done but to add the biases.
        biases: shape (n_biases,).
        means: shape (n_rows, width), the first n_rows / n_samples rows of which hold the products; overwritten.
    """
    here = place(layout, index)
    width = here.n_pre if keeps_products else n_means(here)
    for source in range(means.shape[0] // n_samples - 1, -1, -1):  # backwards, since a row is spread over those behind it
        row = means[source, :width]
        for j in range(here.n_pre):
            row[j] += biases[j]
        if not keeps_products:
            means_of_pre_activations(here, constants[index, TEMPERATURE], constants[index, DEVIATION], biases, row)
        for target in range(source * n_samples, (source + 1) * n_samples):
            if target != source:
                for k in range(width):  # a slice would be assigned just as well, but compiles for nine seconds
                    means[target, k] = row[k]


@kernel
def levels_of(layout: Array, constants: Array, index: int) -> Array:
    """What categorical units can put out, shape (K,); see `Network`."""
    here = place(layout, index)
    n_levels = here.n_pre // here.n_values if here.distribution == CATEGORICAL else 0
    return constants[index, LEVELS : LEVELS + n_levels]


@kernel
def draw_rows(layout: Array, constants: Array, index: int, sampled: bool, means: Array, noise: Array, values: Array) -> None:
    """Draw all rows, or take their most likely values; see `coagent_rl.networks.units.draw` and `draw_levels`."""
    here = place(layout, index)
    levels = levels_of(layout, constants, index)
    for row in range(values.shape[0]):
        if here.distribution == CATEGORICAL:
            draw_levels(sampled, means[row], levels, here.n_values, noise[row], values[row])
        else:
            draw(here.distribution, sampled, means[row], here.n_values, noise[row], values[row])


@kernel
def replay_rows(layout: Array, constants: Array, index: int, drawn: Array, values: Array) -> None:
    """Write what units pass on that drew ``drawn``: u of rectified Gaussian units, the index of a level, or the value."""
    here = place(layout, index)
    levels, n = levels_of(layout, constants, index), here.n_values
    for row in range(values.shape[0]):
        for j in range(n):
            chosen = drawn[row, j]
            if here.distribution == GAUSSIAN_PREACTIVATION:
                values[row, j] = 0.0 if chosen < 0.0 else chosen
                values[row, n + j] = chosen
            elif here.distribution == CATEGORICAL:
                values[row, j] = levels[int(chosen)]
                values[row, n + j] = chosen
            else:
                values[row, j] = chosen


@kernel
def score_rows(
    layout: Array, constants: Array, index: int, log_offset: float, values: Array, means: Array, scores: Array
) -> None:
    """Scores of all rows, see `coagent_rl.networks.units.score`; of ln(π + c) where ``log_offset`` c is not zero.

    Source: for c, the official code of Gupta et al. (2021): ∂ ln(π + c)/∂z = π/(π + c) · ∂ ln π/∂z. Discrete units only.
    """
    here = place(layout, index)
    n = here.n_values
    for row in range(values.shape[0]):
        score(
            here.distribution,
            here.activation,
            constants[index, TEMPERATURE],
            here.n_biases > here.n_pre,
            values[row],
            means[row],
            n,
            scores[row],
        )
        if log_offset > 0.0 and here.distribution == BERNOULLI:
            for j in range(n):
                chance = means[row, j] if values[row, j] == 1.0 else 1.0 - means[row, j]
                scores[row, j] *= chance / (chance + log_offset)
        elif log_offset > 0.0 and here.distribution == CATEGORICAL:
            n_levels = here.n_pre // n
            for j in range(n):
                chance = means[row, j * n_levels + int(values[row, n + j])]
                for k in range(n_levels):
                    scores[row, j * n_levels + k] *= chance / (chance + log_offset)


@kernel
def silence_rows(layout: Array, index: int, exploring: Array, noise: Array) -> None:
    """Give the units that do not explore the noise with which they take their most likely value.

    Args:
        layout, index: see `Network`; which layer.
        exploring: which units draw, shape (n_rows, n_values), or (1, n_values) for all rows.
        noise: shape (n_rows, n_values), updated in place.
    """
    neutral = neutral_noise(place(layout, index).distribution)
    for row in range(noise.shape[0]):
        which = exploring[row % exploring.shape[0]]
        for j in range(which.size):
            if not which[j]:
                noise[row, j] = neutral


@kernel
def explorers_only_rows(layout: Array, index: int, noise: Array, scores: Array) -> None:
    """`coagent_rl.credit.thomas.explorers_only` for all rows, and for learned deviations."""
    here = place(layout, index)
    neutral = neutral_noise(here.distribution)
    for row in range(scores.shape[0]):
        explorers_only(noise[row], neutral, scores[row, : here.n_pre])
        if here.n_biases > here.n_pre:
            explorers_only(noise[row], neutral, scores[row, here.n_pre :])


@kernel
def credit_rows(layout: Array, index: int, signals: Array, scores: Array, credit: Array) -> None:
    """credit = signal × score of each pre-activation; a unit with several of them has one signal for all.

    Args:
        layout, index: see `Network`; which layer.
        signals: R, shape (n_rows, n_values).
        scores: shape (n_rows, n_biases).
        credit: shape of ``scores``, overwritten.
    """
    here = place(layout, index)
    n_pre = here.n_pre
    per_unit = n_pre // here.n_values
    for row in range(scores.shape[0]):
        if per_unit == 1:
            for k in range(n_pre):
                credit[row, k] = signals[row, k] * scores[row, k]
        else:
            for k in range(n_pre):
                credit[row, k] = signals[row, k // per_unit] * scores[row, k]
        for k in range(n_pre, here.n_biases):  # learned deviations
            credit[row, k] = signals[row, k - n_pre] * scores[row, k]


@kernel
def chain_rule_rows(layout: Array, constants: Array, index: int, values: Array, back: Array, credit: Array) -> None:
    """c_i = m'(z_i) Σ_j w_ij c_j of deterministic units, `coagent_rl.credit.backprop.chain_rule` for all rows.

    Args:
        layout, constants, index: see `Network`; which layer.
        values: m(z), shape (n_rows, n_values).
        back: Σ_j w_ij c_j, shape (n_rows, n_values).
        credit: shape (n_rows, n_values), overwritten.
    """
    activation = place(layout, index).activation
    for row in range(values.shape[0]):
        slope(activation, constants[index, TEMPERATURE], values[row], credit[row])
        for i in range(values.shape[1]):
            credit[row, i] *= back[row, i]


@kernel
def gather_credit(n_samples: int, n_pre: int, n_biases: int, credit: Array, per_input: Array, biases: Array) -> None:
    """Mean credit over rows, per input for the weights, whose product with the inputs is left to BLAS, and for the biases.

    Args:
        n_samples: rows that share an input.
        n_pre, n_biases: the layer's.
        credit: shape (n_rows, ≥ n_biases).
        per_input: Σ over the rows of an input / n_rows, shape (n_rows / n_samples, n_pre), overwritten.
        biases: mean over all rows, shape (n_biases,), overwritten.
    """
    share = credit.dtype.type(1.0 / credit.shape[0])
    biases[:] = 0.0
    for source in range(per_input.shape[0]):
        first = source * n_samples
        total = per_input[source]
        for j in range(n_pre):
            total[j] = share * credit[first, j]
        for row in range(first + 1, first + n_samples):
            for j in range(n_pre):
                total[j] += share * credit[row, j]
        for j in range(n_pre):
            biases[j] += total[j]
        for row in range(first, first + n_samples):
            for j in range(n_pre, n_biases):
                biases[j] += share * credit[row, j]


class BatchLayer:
    """One layer of a network, and room for what it does in a batch.

    Attributes:
        index: its place in the network.
        spec: its `Layer`.
        inputs: what the layer reads, shape (n_inputs of the batch, n_in); for all but the first, n_rows of them.
        values, means, scores: as `Network` lays them out for an agent, one row a path, each in an array of its own.
        signals: the reinforcement of each unit, shape (n_rows, n_values).
        credit: ∂G/∂z as the rule estimates it, for each pre-activation and learned deviation, shape (n_rows, n_biases).
        exploring: which units draw, shape (n_rows or 1, n_values); None for all.
        keeps_products: whether means are left out: the products and biases stay in their place.

    Args:
        network: whose parameters are read.
        index: which layer.
        log_offset: c of `score_rows`.
        learned: form of the learned deviations; exp where it is not given.
        learning: whether there is room for more than values and means.
    """

    def __init__(
        self,
        network: Network,
        index: int,
        log_offset: float = 0.0,
        learned: LearnedDeviation | None = None,
        learning: bool = True,
    ) -> None:
        self.index = index
        self.spec = network.layers[index]
        here = place(network.layout, index)
        self.n_in, self.n_pre, self.n_values, self.n_biases = here.n_inputs, here.n_pre, here.n_values, here.n_biases
        self.begin, self.end = here.weights, here.end
        self.log_offset = log_offset
        self.is_sampled = self.spec.is_stochastic
        self.learned_deviation = here.n_biases > here.n_pre
        self.form = FORMS[learned.form] if learned is not None and self.learned_deviation else EXPONENTIAL
        self.start = learned.start if learned is not None else self.spec.deviation
        self.layout, self.constants = network.layout, network.constants
        self.weights = network.weights(index)
        self.biases = network.parameters[here.biases : here.end]
        self.rho = network.log_deviations(index)
        self.exploring: np.ndarray | None = None
        self.keeps_products = False
        n_remembered = here.n_values if here.distribution in (GAUSSIAN_PREACTIVATION, CATEGORICAL) else 0
        self._widths = {"values": here.n_values + n_remembered, "means": n_means(here), "noise": here.n_values}
        if learning:
            self._widths |= {
                "scores": self.n_biases,
                "signals": self.n_values,
                "credit": self.n_biases,
                "back": self.n_values,
                "per_input": self.n_pre,
            }
        self._room: dict[str, np.ndarray] = {}
        self.n_rows = -1

    def resize(self, n_inputs: int, n_samples: int) -> None:
        """Make room for ``n_inputs`` × ``n_samples`` rows; ``n_samples`` > 1 is for the first layer, where rows part."""
        n_rows = n_inputs * n_samples
        self.n_samples = n_samples
        if not self._room or len(self._room["values"]) < n_rows:
            self._room = {name: np.zeros((n_rows, width), self.weights.dtype) for name, width in self._widths.items()}
        self.n_rows = n_rows
        room = self._room
        self.values, self.means, self.noise = room["values"][:n_rows], room["means"][:n_rows], room["noise"][:n_rows]
        self.outputs = self.values[:, : self.n_values]
        self.products = self.means[:n_inputs, : self.n_pre]
        if "credit" in room:
            self.scores, self.signals, self.credit = (room[name][:n_rows] for name in ("scores", "signals", "credit"))
            self.scores_of_values, self.credit_of_values = self.scores[:, : self.n_pre], self.credit[:, : self.n_pre]
            self.back, self.per_input = room["back"][:n_rows], room["per_input"][:n_inputs]

    # ------------------------------------------------------------------ forward

    def compute_means(self, inputs: np.ndarray) -> None:
        """Means of all rows from the values of the layer below, or from the batch's inputs; shape (n_inputs, n_in)."""
        self.inputs = inputs
        np.matmul(inputs, self.weights, out=self.products)
        kept = self.keeps_products
        mean_rows(self.layout, self.constants, self.index, self.n_samples, kept, self.biases, self.means)
        if self.form != EXPONENTIAL:
            deviation_rows(self.form, self.start, self.n_values, self.rho, self.means)

    def draw_noise(self, rng: np.random.Generator) -> None:
        """Fresh noise for all rows: standard normal for Gaussian units, uniform on [0, 1) for the others."""
        if self.spec.has_deviation:
            fill_normal(rng, self.noise)
        else:
            rng.random(out=self.noise, dtype=self.noise.dtype)
        if self.exploring is not None:
            silence_rows(self.layout, self.index, self.exploring, self.noise)

    def draw(self, sampled: bool) -> None:
        """Values from the means; with the layer's noise where ``sampled``, else the most likely ones."""
        draw_rows(self.layout, self.constants, self.index, sampled, self.means, self.noise, self.values)

    def replay(self, drawn: np.ndarray) -> None:
        """Values of units that drew ``drawn``, shape (n_rows, n_values); see `replay_rows`."""
        replay_rows(self.layout, self.constants, self.index, drawn, self.values)

    # ------------------------------------------------------------------ credit

    def compute_scores(self) -> None:
        """∂ ln π / ∂z of what was drawn, and by the learned deviations; zero for units that did not explore."""
        score_rows(self.layout, self.constants, self.index, self.log_offset, self.values, self.means, self.scores)
        if self.form != EXPONENTIAL:
            deviation_scores(self.form, self.start, self.n_values, self.rho, self.means, self.scores)
        if self.exploring is not None:
            explorers_only_rows(self.layout, self.index, self.noise, self.scores)

    def multiply_signals(self) -> None:
        """credit = signals × scores."""
        credit_rows(self.layout, self.index, self.signals, self.scores, self.credit)

    def pull_back(self, above: BatchLayer) -> np.ndarray:
        """Σ_j w_ij c_j over the pre-activations of the layer above: what its credit says of each value here."""
        return np.matmul(above.credit_of_values, above.weights.T, out=self.back)

    def chain_rule(self, above: BatchLayer) -> None:
        """Credit of deterministic units from that of the layer above."""
        back = self.pull_back(above)
        chain_rule_rows(self.layout, self.constants, self.index, self.values, back, self.credit)

    def attach_direction(self, direction: np.ndarray) -> None:
        """Take this layer's part of ``direction``, shape (n_parameters,), to write into."""
        split = self.begin + self.weights.size
        self.weight_direction = direction[self.begin : split].reshape(self.weights.shape)
        self.bias_direction = direction[split : self.end]

    def write_direction(self) -> None:
        """Mean over rows of credit × input: the way up for this layer's parameters."""
        gather_credit(self.n_samples, self.n_pre, self.n_biases, self.credit, self.per_input, self.bias_direction)
        np.matmul(self.inputs.T, self.per_input, out=self.weight_direction)
