"""Everything that a small network of binary units can do, and the exact gradient of the expected reward."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch as th

from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import means_of_layer
from coagent_rl.schedules import constant_schedule

X = np.array([0.3, -1.2, 0.7])
REWARDS = np.array([1.0, -0.5, 0.2])


def small_network(
    kind: str, sizes: tuple[int, ...], temperature: float = 1.3, output: str = "softmax_reference", scale: float = 1.0
) -> Network:
    hidden = [Layer(kind, n, temperature, sweeps=30) for n in sizes]
    last = Layer("bernoulli", 2, 0.8) if output == "bernoulli" else Layer(output, 3, 0.8)
    network = Network(3, [*hidden, last], dtype=np.float64)
    network.parameters[:] = scale * np.random.default_rng(1).standard_normal(network.parameters.size)
    return network


def outcomes(network: Network) -> np.ndarray:
    """Values of all layers in all possible cases, shape (n_cases, width)."""
    rows = []
    for bits in product((0.0, 1.0), repeat=sum(layer.n_values for layer in network.layers[:-1])):
        if network.layers[-1].kind == "bernoulli":
            outputs = [np.array(one) for one in product((0.0, 1.0), repeat=network.layers[-1].n_values)]
        else:
            outputs = list(np.eye(network.layers[-1].n_values))
        for output in outputs:
            row, first = np.zeros(network.width), 0
            row[: network.n_inputs] = X
            for index, layer in enumerate(network.layers[:-1]):
                row[network.slot(index)] = bits[first : first + layer.n_values]
                first += layer.n_values
            row[network.slot(-1)] = output
            rows.append(row)
    return np.array(rows)


def rewards_of(network: Network, cases: np.ndarray) -> np.ndarray:
    """A reward of the action alone, shape (n_cases,)."""
    outputs = cases[:, network.slot(-1)]
    return outputs @ REWARDS if outputs.shape[1] == 3 else outputs @ [1.0, -0.7] + 1.3 * outputs.prod(axis=1)


def coupling_matrix(packed: th.Tensor, n: int) -> th.Tensor:
    matrix = th.zeros((n, n), dtype=th.float64)
    above = th.triu_indices(n, n, 1)
    matrix = matrix.index_put((above[0], above[1]), packed)
    return matrix + matrix.T


def log_probabilities(network: Network, cases: np.ndarray, parameters: th.Tensor) -> th.Tensor:
    """log Pr of every case, shape (n_cases,); Boltzmann layers by the sum over all of their states."""
    total, inputs = th.zeros(len(cases), dtype=th.float64), th.tensor(cases[:, : network.n_inputs])
    for index, layer in enumerate(network.layers):
        w, b, end = (int(k) for k in network.layout[index, 6:9])
        z = inputs @ parameters[w:b].reshape(-1, layer.n_pre) + parameters[b : b + layer.n_pre]
        values = th.tensor(cases[:, network.slot(index)])
        if layer.kind == "boltzmann":
            coupling = coupling_matrix(parameters[b + layer.n_pre : end], layer.n_values)

            def energy(h: th.Tensor, z: th.Tensor = z, coupling: th.Tensor = coupling, t: float = layer.temperature):
                return ((h * z).sum(-1) + 0.5 * ((h @ coupling) * h).sum(-1)) / t

            every = th.tensor(list(product((0.0, 1.0), repeat=layer.n_values)), dtype=th.float64)
            total = total + energy(values) - th.logsumexp(th.stack([energy(h.expand(len(z), -1)) for h in every]), 0)
        elif layer.kind == "bernoulli":
            total = total + th.distributions.Bernoulli(logits=z / layer.temperature).log_prob(values).sum(1)
        else:
            if layer.kind == "softmax_reference":
                z = th.cat([z, th.zeros(len(z), 1)], 1)
            total = total + (th.log_softmax(z / layer.temperature, 1) * values).sum(1)
        inputs = values
    return total


def exact_gradient(network: Network) -> tuple[np.ndarray, np.ndarray, float]:
    """∇E[R] by all parameters, the probability of every case, and E[R]."""
    cases = outcomes(network)
    parameters = th.tensor(network.parameters, requires_grad=True)
    chances = log_probabilities(network, cases, parameters).exp()
    expected = (chances * th.tensor(rewards_of(network, cases))).sum()
    expected.backward()
    return parameters.grad.numpy(), chances.detach().numpy(), expected.item()


def learner_of(network: Network, cases: np.ndarray, options: tuple[float, ...] = ()) -> Learner:
    """A learner that has just done what the cases say, one a row."""
    learner = Learner(network, len(cases), constant_schedule(1.0), "sgd", 0.0, options=options)
    learner.activity[0] = cases
    for values, means in zip(*learner.activity[:2], strict=True):
        for index in range(network.depth):
            means_of_layer(network.structure, index, values, means)
    return learner


def moved(learner: Learner, rule, reinforcements: np.ndarray) -> np.ndarray:
    """How a rule moves the parameters, averaged over the rows; they are put back."""
    before = learner.network.parameters.copy()
    told = np.repeat(np.asarray(reinforcements)[:, None], learner.network.width, axis=1)
    assert rule(learner.arrays, told, np.ones(len(told), bool), 0.0)
    change = learner.network.parameters - before
    learner.network.parameters[:] = before
    return change


def expected_update(network: Network, rule, baseline: float = 0.0, options: tuple[float, ...] = ()) -> np.ndarray:
    """E[update] with the reinforcement R - b, by enumeration."""
    cases = outcomes(network)
    chances = exact_gradient(network)[1]
    return moved(learner_of(network, cases, options), rule, chances * (rewards_of(network, cases) - baseline) * len(cases))


def updates(network: Network, rule, baseline: float = 0.0, options: tuple[float, ...] = ()) -> Iterator[np.ndarray]:
    """The update of every case."""
    cases = outcomes(network)
    for case, reward in zip(cases, rewards_of(network, cases), strict=True):
        yield moved(learner_of(network, case[None], options), rule, np.array([reward - baseline]))
