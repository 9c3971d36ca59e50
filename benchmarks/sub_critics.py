"""Experiment 1 of Guss (2016): do critics of single layers and neurons learn the value function of the whole agent?"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from matplotlib.figure import Figure
from stable_baselines3 import DDPG
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import polyak_update

from benchmarks.runs import RESULTS
from benchmarks.tables import interval
from coagent_rl.arrays import VALUES
from coagent_rl.critics import RewardCritic
from coagent_rl.critics.per_neuron import NeuronCritics, neuron_features, predictions
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import forward
from coagent_rl.networks.layout import N_INPUTS, WEIGHTS
from coagent_rl.networks.units import MEAN
from coagent_rl.schedules import constant_schedule
from coagent_rl.training.hyperparameters import parse_seeds

FOLDER = RESULTS / "decentralized_ddpg" / "correlation"
ENV = "MountainCarContinuous-v0"
HIDDEN = [64, 64]
STEPS, BATCH, TAU = 10_000, 32, 5e-3
NEURON_RATE, LAYER_RATE = 1e-2, 1e-3
SHOWN = 300
"""Steps at the end of training whose derivatives, of the whole and of the layers, are kept for the figure."""


class LayerCritics:
    """A critic of each layer l: Q(v, a), with v all that the layer sees and a all that it puts out.

    Args:
        sizes: number of inputs of the first layer, then of outputs of each layer.
        seed: of the initial weights, drawn without touching the generator that the watched agent draws from.
    """

    def __init__(self, sizes: Sequence[int], seed: int) -> None:
        with th.random.fork_rng():
            th.manual_seed(seed)
            self.networks = th.nn.ModuleList(
                th.nn.Sequential(th.nn.Linear(n_in + n, 64), th.nn.ReLU(), th.nn.Linear(64, 1))
                for n_in, n in pairwise(sizes)
            )
        self.targets = copy.deepcopy(self.networks)
        self.optimizer = th.optim.Adam(self.networks.parameters(), lr=LAYER_RATE)

    @staticmethod
    def _values(networks: Any, layers: Sequence[th.Tensor]) -> th.Tensor:
        pairs = zip(networks, pairwise(layers), strict=True)
        return th.cat([network(th.cat(pair, dim=1)) for network, pair in pairs], dim=1)

    def __call__(self, layers: Sequence[th.Tensor]) -> np.ndarray:
        """Q of each layer, shape (n, depth), for what the layers did: observations, then values of each layer."""
        with th.no_grad():
            return self._values(self.networks, layers).numpy()

    def learn(
        self,
        layers: Sequence[th.Tensor],
        rewards: th.Tensor,
        next_layers: Sequence[th.Tensor],
        not_terminated: th.Tensor,
        discount: float,
    ) -> None:
        """One step of one-step TD towards the target copies."""
        with th.no_grad():
            wanted = rewards + discount * not_terminated * self._values(self.targets, next_layers)
        loss = th.nn.functional.mse_loss(self._values(self.networks, layers), wanted)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        polyak_update(self.networks.parameters(), self.targets.parameters(), TAU)


class SubCritics(BaseCallback):
    """Watch a DDPG agent: critics of its layers and of its neurons learn from its replay buffer, and change nothing.

    Every transition goes with what the neurons put out in that very step, which is kept. (The code published with the paper
    pairs a step's activations with the reward of another.) What they would do next is the target actor's. Twins of all
    critics learn from the same transitions with that what followed (reward, end, next state) shuffled among those of the
    minibatch: they can know nothing of value, and correlate only as far as things that change together do.

    Attributes:
        values: one row a step of training: the global Q(s, a), then Q of each layer and each neuron, then of their twins.
        episode_starts: which of them begin an episode.
    """

    model: DDPG

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.values: list[np.ndarray] = []
        self.episode_starts: list[bool] = []

    def _on_training_start(self) -> None:
        n_in, n_out = self.model.observation_space.shape[0], self.model.action_space.shape[0]  # type: ignore[index]
        layers = [Layer("gaussian_tanh", n) for n in [*HIDDEN, n_out]]
        self.network, self.target_network = Network(n_in, layers), Network(n_in, layers)
        self.layer_critics = [LayerCritics([n_in, *HIDDEN, n_out], self.seed) for _ in range(2)]
        rates, γ = constant_schedule(NEURON_RATE), self.model.gamma
        self.neuron_critics = [
            NeuronCritics(self.network, BATCH, RewardCritic(self.network, BATCH), "linear", rates, "adam", γ, 0.0, TAU)
            for _ in range(2)
        ]
        self._one, self._next = (self.network.activity(n) for n in (1, BATCH))
        self._judged = Learner(self.network, BATCH, constant_schedule(0.0), "sgd", trace_decay=0.0)
        self._batch = self._judged.activity
        self._columns = np.concatenate([np.arange(self.network.width)[self.network.slot(i)] for i in range(len(HIDDEN) + 1)])
        self._always, self._never = np.ones(BATCH, bool), np.zeros(BATCH, bool)
        self._done: list[np.ndarray] = []
        self._starts = True

    def _copy_actors(self) -> None:
        for network, actor in ((self.network, self.model.actor), (self.target_network, self.model.actor_target)):
            for index, linear in enumerate(actor.mu[::2]):
                network.weights(index)[:] = linear.weight.detach().numpy().T
                network.biases(index)[:] = linear.bias.detach().numpy()

    @staticmethod
    def _act(network: Network, activity: np.ndarray, observations: np.ndarray) -> None:
        inputs = np.ascontiguousarray(observations, np.float32)
        # In this mode no noise is read: any array of its type will do.
        forward(network.structure, activity, inputs, activity, 0, MEAN)

    def _layers(self, activity: np.ndarray) -> list[th.Tensor]:
        """Observations, then the values of each layer."""
        network, values = self.network, activity[VALUES]
        parts = [values[:, : network.n_inputs], *(values[:, network.slot(i)] for i in range(network.depth))]
        return [th.as_tensor(part.copy()) for part in parts]

    def _on_step(self) -> bool:
        model, buffer = self.model, self.model.replay_buffer
        assert buffer is not None
        assert buffer.n_envs == 1
        self._copy_actors()
        if model.num_timesteps > model.learning_starts:
            self._learn(buffer)
        observation, action = np.asarray(model._last_obs), self.locals["buffer_actions"]
        self._act(self.network, self._one, observation)
        self._one[VALUES][:, self.network.slot(-1)] = action
        self._done.append(self._one[VALUES][0, self._columns])
        layers = self._layers(self._one)
        with th.no_grad():
            whole = model.critic.q1_forward(th.as_tensor(observation), th.as_tensor(action, dtype=th.float32)).numpy()
        found = [whole.ravel()]
        for of_layers, of_neurons in zip(self.layer_critics, self.neuron_critics, strict=True):
            found += [of_layers(layers).ravel(), neuron_values(self.network, of_neurons, self._one)[self._columns]]
        self.values.append(np.concatenate(found))
        self.episode_starts.append(self._starts)
        self._starts = bool(self.locals["dones"][0])
        return True

    def _learn(self, buffer: Any) -> None:
        assert not buffer.full  # step k of training is at place k
        steps = self.rng.integers(0, buffer.size(), BATCH)
        self._batch[VALUES][:, : self.network.n_inputs] = buffer.observations[steps, 0]
        self._batch[VALUES][:, self._columns] = [self._done[step] for step in steps]
        layers, follows = self._layers(self._batch), np.arange(BATCH)
        for of_layers, of_neurons in zip(self.layer_critics, self.neuron_critics, strict=True):
            after = steps[follows]
            ends, rewards = np.asarray(buffer.next_observations[after, 0]), buffer.rewards[after, 0]
            terminated = (buffer.dones[after, 0] > 0) & (buffer.timeouts[after, 0] == 0)
            self._act(self.target_network, self._next, ends)
            as_columns = [th.as_tensor(np.float32(column))[:, None] for column in (rewards, ~terminated)]
            of_layers.learn(layers, as_columns[0], self._layers(self._next), as_columns[1], self.model.gamma)
            of_neurons.target_parameters[:] = self.target_network.parameters
            transition = (ends, rewards, ends, terminated, self._never, self._always)  # what came before is not read
            of_neurons.learn(self._judged, transition, self.num_timesteps)
            follows = self.rng.permutation(BATCH)  # for the twins, which come second


def neuron_values(network: Network, critics: NeuronCritics, activity: np.ndarray) -> np.ndarray:
    """Q(v, a) of every neuron for what the network did in the first row of ``activity``, shape (width,)."""
    out = np.zeros(network.width, network.parameters.dtype)
    for index in range(network.depth):
        start, n_features = critics.arrays[0][index, WEIGHTS], critics.arrays[0][index, N_INPUTS]
        n = network.layers[index].n_values
        done = activity[VALUES][0]
        v = done[: network.n_inputs] if index == 0 else done[network.slot(index - 1)]
        a = done[network.slot(index)]
        features = np.empty((n_features, n), out.dtype)
        # At a = μ the slopes do not matter, and linear features have none.
        neuron_features(critics.kind, False, v, a, a, a, features)
        predictions(
            critics.weights[start : start + n_features * n].reshape(n_features, n), features, out[network.slot(index)]
        )
    return out


def correlations(watched: SubCritics) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's r between the changes of the global Q and of every other from one step to the next, and the changes.

    Steps between two episodes, and those before learning began, are left out.
    """
    values = np.array(watched.values)
    first = watched.model.learning_starts + 1
    inside = ~np.array(watched.episode_starts)[first + 1 :]
    changes = np.diff(values[first:], axis=0)[inside]
    centred = changes - changes.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = centred[:, 0] @ centred / np.sqrt((centred[:, 0] @ centred[:, 0]) * np.sum(centred**2, axis=0))
    return r[1:], changes


def watch(seed: int, path: Path) -> None:
    """Both phases with one seed: DDPG from nothing, then a new actor with the trained critic. Writes the file."""
    from coagent_rl.files import write_whole
    from coagent_rl.training.run import versions

    th.set_num_threads(1)
    started = time.perf_counter()
    arrays: dict[str, Any] = {}
    critic = None
    for phase in (1, 2):
        noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.5 * np.ones(1))
        kwargs = {"net_arch": {"pi": HIDDEN, "qf": [64, 64]}, "activation_fn": th.nn.Tanh}
        model = DDPG(
            "MlpPolicy", ENV, seed=seed + 100 * (phase - 1), action_noise=noise, policy_kwargs=kwargs, batch_size=64
        )
        if critic is not None:
            model.critic.load_state_dict(critic)
            model.critic_target.load_state_dict(critic)
        watched = SubCritics(seed)
        model.learn(STEPS, callback=watched)
        critic = model.critic.state_dict()
        r, changes = correlations(watched)
        arrays[f"r_{phase}"] = r
        if phase == 2:
            arrays["changes_2"] = changes[-SHOWN:, : 2 + len(HIDDEN)]
        arrays[f"returns_{phase}"] = np.array([info["r"] for info in model.ep_info_buffer or []])
    seconds = time.perf_counter() - started
    command = "python -m benchmarks.decentralized_ddpg " + " ".join(sys.argv[1:])
    facts = {"command": command, "env": ENV, "seed": seed, "steps_per_second": 2 * STEPS / seconds, "versions": versions()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda beside: np.savez_compressed(beside, facts=np.array(json.dumps(facts)), **arrays))
    print(f"seed {seed}: {2 * STEPS / seconds:.0f} steps/s", flush=True)


def correlation(arguments: argparse.Namespace) -> None:
    """Pearson's r between the time derivatives of the global Q of a DDPG agent and those of its layers and neurons."""
    from joblib import Parallel, delayed

    from coagent_rl.training.files import write_text

    seeds = parse_seeds(arguments.seeds)
    paths = [FOLDER / f"seed_{seed}.npz" for seed in seeds]
    missing = [(seed, path) for seed, path in zip(seeds, paths, strict=True) if not path.exists()]
    Parallel(n_jobs=arguments.n_jobs)(delayed(watch)(*pair) for pair in missing)
    names = [*(f"hidden layer {k + 1}" for k in range(len(HIDDEN))), "output layer"]
    heads = ["phase", "layer", "critic of the layer", "its twin", "critics of its neurons", "twins"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    bars: dict[str, list[tuple[float, float, float]]] = {}
    for phase in (1, 2):
        found = [layer_correlations(path, phase) for path in paths]
        for index, name in enumerate(names):
            cells = []
            for column in range(4):
                values = np.array([r[index, column] for r in found])
                low, high = interval(values)
                cells.append(f"{values.mean():.3f} ({low:.3f} … {high:.3f})")
                if phase == 2:
                    bars.setdefault(name, []).append((float(values.mean()), low, high))
            lines.append(f"| {phase} | {name} | {' | '.join(cells)} |")
    write_text(FOLDER / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    draw(paths[0], bars, len(seeds))


def layer_correlations(path: Path, phase: int) -> np.ndarray:
    """Columns of the table for one seed, shape (depth, 4); neurons are averaged, those without any change left out."""
    with np.load(path) as file:
        of_all = np.split(file[f"r_{phase}"], 2)
    depth = len(HIDDEN) + 1
    ends = np.cumsum([depth, *HIDDEN])
    columns = [[r[:depth], [np.nanmean(part) for part in np.split(r, ends)[1:]]] for r in of_all]
    return np.array([columns[0][0], columns[1][0], columns[0][1], columns[1][1]]).T


def draw(path: Path, bars: dict[str, list[tuple[float, float, float]]], n_seeds: int) -> Figure:
    """Draw the derivatives at the end of phase 2 of one seed, and r by layer with its confidence interval."""
    from coagent_rl.analysis.style import (
        GREY,
        INK,
        PALETTE,
        EndLabel,
        Look,
        applied,
        footnote,
        label_ends,
        save_figure,
        settle_labels,
    )

    with applied():
        figure = Figure(figsize=(11.0, 3.8), layout="constrained")
        series, summary = figure.subplots(1, 2, width_ratios=[3, 2])
        with np.load(path) as file:
            changes = file["changes_2"]
        ends = []
        for column, (name, colour) in enumerate(zip(["global Q", *bars], (INK, *PALETTE), strict=False)):
            values = changes[:, column] / max(changes[:, column].std(), 1e-12)
            series.plot(values, color=colour, linewidth=1.4 if column == 0 else 1.0)
            label = name if column == 0 else f"critic of {name}"
            ends.append(EndLabel(label, len(values) - 1, float(values[-1]), Look(colour)))
        series.set_xlim(0, len(changes) - 1)
        series.set_xlabel("time step, the last of phase 2 of one seed")
        series.set_ylabel("dQ/dt in standard deviations")
        labels = ["layer", "its twin", "neurons", "their twins"]
        places = [(row * (len(labels) + 1) + column) for row in range(len(bars)) for column in range(len(labels))]
        cells = [bars[name][column] for name in bars for column in range(len(labels))]
        for number, (place, (mean, low, high)) in enumerate(zip(places, cells, strict=True)):
            colour = GREY if number % 2 else PALETTE[number // len(labels)]
            summary.plot([low, high], [place, place], color=colour, linewidth=4.0, alpha=0.35, solid_capstyle="butt")
            summary.plot([mean], [place], "|", color=colour, markersize=8, markeredgewidth=2)
        names = [f"{name}: {label}" if k == 0 else label for name in bars for k, label in enumerate(labels)]
        summary.set_yticks(places, names, fontsize=7)
        summary.set_ylim(max(places) + 0.7, -0.7)
        summary.tick_params(axis="y", length=0)
        summary.grid(visible=False, axis="y")
        summary.axvline(0, color=INK, linewidth=0.6)
        summary.set_xlabel("Pearson's r with the global dQ/dt")
        footnote(figure, f"Right: mean and 95 % interval over {n_seeds} seeds; twins learn from shuffled outcomes.")
        settle_labels(figure, {series: label_ends(figure, series, ends)})
        save_figure(figure, FOLDER / "correlation.png")
    return figure
