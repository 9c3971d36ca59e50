"""MAP Propagation from the inside: how the energy falls while units relax, and where their updates point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coagent_rl.analysis.style import EXCITES, INK, applied, footnote, looks, save_figure
from coagent_rl.arrays import MEANS, SCORES, VALUES, Arrays, LearnerArrays, named
from coagent_rl.credit.backprop import scores_within_coagents
from coagent_rl.credit.map_prop import relax
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import forward, local_scores, means_of_layer
from coagent_rl.networks.layout import place
from coagent_rl.networks.likelihood import log_probability
from coagent_rl.networks.units import DETERMINISTIC, GAUSSIAN, MEAN, SAMPLE
from coagent_rl.schedules import constant_schedule


@kernel
def log_likelihood(network: Arrays, activity: Array, row: int) -> float:
    """Return log Pr(H, A | S) of a row's values, and write the means that go with them.

    Args:
        network: its structure, see `coagent_rl.networks.layout`; units are Gaussian, deterministic (which take no part) or,
            in the output layer, softmax.
        activity: shape (≥ 2, n_rows, width).
    """
    values, means = activity[VALUES, row], activity[MEANS, row]
    total = 0.0
    for index in range(network[0].shape[0]):
        means_of_layer(network, index, values, means)
        here = place(network[0], index)
        if here.distribution != DETERMINISTIC:
            total += log_probability(here, values[here.slot :], means[here.slot :])
        if here.distribution == GAUSSIAN:
            total -= here.n_values * 0.5 * math.log(2 * math.pi)
    return total


def _in_double_precision(network: Network) -> Network:
    copy = Network(network.n_inputs, network.layers, dtype=np.float64)
    copy.parameters[:] = network.parameters
    return copy


def _learner(network: Network, activity: np.ndarray) -> LearnerArrays:
    """The arrays of a learner that does not learn, around what the units did."""
    learner = Learner(network, activity.shape[1], constant_schedule(0.0), "sgd", trace_decay=0.0)
    return named(learner.acting(activity))


def _step_sizes(network: Network, rate: float) -> np.ndarray:
    for layer in network.layers[:-1]:
        if not layer.is_gaussian:
            raise ValueError(f"Relaxation is defined for Gaussian hidden units, not {layer.kind!r} ones.")
    return np.array([rate * layer.deviation**2 for layer in network.layers])


def _sampled(network: Network, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if observations.ndim != 2 or observations.shape[1] != network.n_inputs:
        raise ValueError(f"Observations must have {network.n_inputs} numbers each, not the shape {observations.shape}.")
    activity = network.activity(len(observations))
    noise = network.draw_noise(rng, 1, len(observations))
    observations = np.ascontiguousarray(observations, dtype=np.float64)
    if not forward(network.structure, activity, observations, noise, 0, SAMPLE):
        raise ValueError("The observations contain NaN or infinity, or the network's parameters have diverged.")
    return activity


def relaxation_energies(
    network: Network, observations: np.ndarray, rng: np.random.Generator, n_steps: int = 20, rate: float = 0.5
) -> np.ndarray:
    """Energy -log Pr(H, A | S) before and after each step of the relaxation.

    Args:
        network: of Gaussian hidden units.
        observations: S, shape (n, n_inputs); H and A are sampled once for each.
        rng: source of the units' noise.
        n_steps, rate: of the relaxation, see `coagent_rl.MAPProp`.

    Returns:
        Shape (n_steps + 1, n).

    Raises:
        ValueError: for hidden units of another kind, a wrong shape, or observations that are not finite.
    """
    network = _in_double_precision(network)
    sizes, activity = _step_sizes(network, rate), _sampled(network, observations, rng)
    learner = _learner(network, activity)
    energies = np.empty((n_steps + 1, len(observations)))
    for row in range(len(observations)):
        for step in range(n_steps + 1):
            if step > 0:
                relax(learner, row, 1, sizes)
            energies[step, row] = -log_likelihood(network.structure, activity, row)
    return energies


@dataclass(frozen=True)
class UpdateAngles:
    """Angles in degrees between a rule's update and backprop's, one for each layer from the input side.

    Attributes:
        single: of the update from one sample of the noise, averaged over samples, shape (depth,).
        averaged: of the update averaged over the noise, shape (depth,).
    """

    single: np.ndarray
    averaged: np.ndarray


def update_angles(
    network: Network,
    observation: np.ndarray,
    action: np.ndarray,
    rng: np.random.Generator,
    n_samples: int = 1000,
    n_steps: int = 20,
    rate: float = 0.5,
) -> UpdateAngles:
    """Angle between MAP Propagation's update and backprop's for the same transition.

    The hidden units' noise is averaged over as it is distributed given the action: samples of the hidden units are weighted
    by the probability of the action. Backprop's update is that of the same weights with hidden units that pass their means
    on.

    Args:
        network: of Gaussian hidden units.
        observation: S, shape (n_inputs,).
        action: A, values of the output layer, shape (n_values,): one-hot for softmax units.
        rng: source of the units' noise.
        n_samples: number of samples of the noise.
        n_steps: N; 0 for global REINFORCE.
        rate: see `coagent_rl.MAPProp`.

    Raises:
        ValueError: for hidden units of another kind, wrong shapes, or an observation that is not finite.
    """
    network = _in_double_precision(network)
    if np.shape(action) != (network.layers[-1].n_values,):
        raise ValueError(f"The action must be the {network.layers[-1].n_values} values of the output layer, not {action!r}.")
    sizes, activity = _step_sizes(network, rate), _sampled(network, np.tile(observation, (n_samples, 1)), rng)
    learner = _learner(network, activity)
    hidden_only = Network(network.n_inputs, network.layers[:-1], dtype=np.float64) if network.depth > 1 else None
    activity[VALUES][:, network.slot(-1)] = action
    weights = np.empty(n_samples)
    for row in range(n_samples):
        weights[row] = log_likelihood(network.structure, activity, row)
        if hidden_only is not None:  # what is left is log Pr(A | H, S)
            weights[row] -= log_likelihood((*hidden_only.structure[:2], network.parameters), activity, row)
        relax(learner, row, n_steps, sizes)
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    target = _gradients(*_backpropagated(network, observation, action))
    updates = _gradients(network, activity)
    single, averaged = np.empty(network.depth), np.empty(network.depth)
    for index, (layer, goal) in enumerate(zip(updates, target, strict=True)):
        single[index] = weights @ np.array([_angle(update, goal[0]) for update in layer])
        averaged[index] = _angle(weights @ layer, goal[0])
    return UpdateAngles(single, averaged)


def _backpropagated(network: Network, observation: np.ndarray, action: np.ndarray) -> tuple[Network, np.ndarray]:
    hidden = [
        Layer(layer.kind.removeprefix("gaussian_"), layer.n_values, layer.temperature) for layer in network.layers[:-1]
    ]
    twin = Network(network.n_inputs, [*hidden, network.layers[-1]], dtype=np.float64)
    twin.parameters[:] = network.parameters
    activity = twin.activity(1)
    inputs = np.asarray(observation, dtype=np.float64)[None]
    forward(twin.structure, activity, inputs, np.zeros((1, 1, twin.width)), 0, MEAN)
    activity[VALUES][:, twin.slot(-1)] = action
    learner = _learner(twin, activity)
    local_scores(learner)
    scores_within_coagents(learner)
    return twin, activity


def _gradients(network: Network, activity: np.ndarray) -> list[np.ndarray]:
    """Input ⊗ score of each layer, one row a sample: shape (n_samples, n_in · n_pre)."""
    result = []
    for _, _, n_in, n_pre, _, _, _, _, _, inputs, slot in network.layout:
        x, s = activity[VALUES][:, inputs : inputs + n_in], activity[SCORES][:, slot : slot + n_pre]
        result.append((x[:, :, None] * s[:, None, :]).reshape(len(x), -1))
    return result


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    cosine = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-300)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def relaxation_figure(path: Path, energies: np.ndarray, angles: dict[str, UpdateAngles], title: str) -> Figure:
    """Draw the fall of the energy, median and quartiles over the batch, beside the angles to backprop's update.

    Args:
        energies: what `relaxation_energies` gives.
        angles: name of a rule → its angles.

    Returns:
        The figure that was written.
    """
    styles = looks(list(angles))
    with applied():
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        low, middle, high = np.percentile(energies - energies[0], [25, 50, 75], axis=1)
        steps = np.arange(len(energies))
        left.plot(steps, middle, color=EXCITES)
        left.fill_between(steps, low, high, color=EXCITES, alpha=0.2, linewidth=0)
        left.set_xlim(0, max(len(energies) - 1, 1))
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.set_xlabel("relaxation step")
        left.set_ylabel("energy − energy of the sampled values")
        # Rows from the top: layer by layer, in each the rules, one sample above the average.
        layers = len(next(iter(angles.values())).single)
        rows = 2 * len(angles) + 1
        names = []
        for number, (name, found) in enumerate(angles.items()):
            for part, (values, how) in enumerate(((found.single, "one sample"), (found.averaged, "average over the noise"))):
                places = np.arange(layers) * rows + 2 * number + part
                right.barh(places, values, 0.8, color=styles[name].colour, alpha=1.0 if part else 0.45)
                names += [(place, f"{name}, {how}") for place in places]
        right.axvline(90, color=INK, linewidth=0.8, linestyle=":")
        right.set_yticks([place for place, _ in names], [name for _, name in names], fontsize=6.5)
        for layer in range(layers):
            name = f"hidden layer {layer + 1}" if layer < layers - 1 else "output layer"
            right.annotate(name, (0.0, layer * rows - 0.9), (4, 0), right.get_yaxis_transform(),
                           textcoords="offset points", ha="left", va="center", fontsize=8)  # fmt: skip
        right.set_ylim(layers * rows - 1.2, -1.6)
        right.set_xlim(0, max(95.0, 1.05 * max(float(found.single.max()) for found in angles.values())))
        right.grid(visible=False, axis="y")
        right.tick_params(axis="y", length=0)
        right.set_xlabel("angle to backprop's update (degrees; dotted: 90)")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        footnote(figure, "Energy: median and quartiles over a batch of observations.")
        save_figure(figure, path)
    return figure
