"""What tests of rules share: small networks, what they do, and what rules should move them by."""

import itertools

import numpy as np

from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import act
from coagent_rl.schedules import constant_schedule

X = np.array([[0.3, -1.2, 0.7], [1.1, 0.2, -0.4]])
STARTS = np.ones(2, dtype=bool)
T, T_OUT = 1.5, 0.8  # temperatures of hidden layers and of the output


def make(kinds: str | list[str], sizes=(5, 4), n_rows=2, output="softmax_reference", n_out=3, seed=0, **kwargs) -> Learner:
    kinds = [kinds] * len(sizes) if isinstance(kinds, str) else kinds
    hidden = [Layer(kind, n, T, deviation=0.3) for kind, n in zip(kinds, sizes, strict=True)]
    network = Network(3, [*hidden, Layer(output, n_out, T_OUT, deviation=0.6)], dtype=np.float64)
    network.initialise(np.random.default_rng(seed), bias_range=0.5)
    return Learner(network, n_rows, constant_schedule(0.01), "sgd", **{"trace_decay": 0.0, **kwargs})


def draw(learner: Learner, seed: int = 0, observations: np.ndarray = X) -> None:
    learner.set_noise(learner.network.draw_noise(np.random.default_rng(seed), 3, learner.n_rows))
    assert act(learner.arrays, observations, 1)


def layer(learner: Learner, plane: int, row: int, index: int) -> np.ndarray:
    return learner.activity[plane, row, learner.network.slot(index)]


def step_of(learner: Learner, rule, reinforcements=(0.7, -1.3)) -> np.ndarray:
    """What a rule moves the parameters by, over the learning rate: its direction."""
    before = learner.network.parameters.copy()
    told = np.repeat(np.array(reinforcements)[: learner.n_rows, None], learner.network.width, axis=1)
    assert rule(learner.arrays, told, STARTS[: learner.n_rows], 0.0)
    return (learner.network.parameters - before) / 0.01


def assert_step(direction: np.ndarray, learner: Learner, inputs, scores, reinforcements=(0.7, -1.3)) -> None:
    """Compare with input × score × reinforcement, averaged over the rows; ``inputs`` and ``scores`` by row and layer."""
    network, n = learner.network, learner.n_rows
    for index in range(network.depth):
        pairs = [(r, x[index], s[index]) for r, x, s in zip(reinforcements, inputs, scores, strict=True)]
        w, b, end = network.layout[index, 6:9]
        np.testing.assert_allclose(direction[w:b], sum(r * np.outer(x, s) for r, x, s in pairs).ravel() / n, 1e-8, 1e-11)
        np.testing.assert_allclose(direction[b:end], sum(r * s for r, _, s in pairs) / n, 1e-8, 1e-11)


def assert_every_layer_learns(model) -> None:
    """The weights of every layer change in 300 steps of training, and all parameters stay finite."""
    network = model.policy.actor
    before = network.parameters.copy()
    model.learn(300)
    assert np.all(np.isfinite(network.parameters))
    for index in range(network.depth):
        w, b = network.layout[index, 6:8]
        assert np.any(network.parameters[w:b] != before[w:b])


def softmax(network: Network, h: np.ndarray) -> np.ndarray:
    """Probabilities of the output layer."""
    z = np.append(h @ network.weights(-1) + network.biases(-1), 0.0) / T_OUT
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def score_out(network: Network, h: np.ndarray, action: np.ndarray) -> np.ndarray:
    return (action - softmax(network, h))[:-1] / T_OUT


ACTIVATIONS = {
    "tanh": (np.tanh, lambda m: 1 - m**2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda m: m * (1 - m)),
    "relu": (lambda z: np.maximum(z, 0), lambda m: (m > 0).astype(float)),
}
ACTIVATIONS["bernoulli"] = ACTIVATIONS["sigmoid"]


def bits(n: int) -> list[np.ndarray]:
    return [np.array(b, float) for b in itertools.product((0, 1), repeat=n)]


def exact_gradient(network: Network, x: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """∂ E[return of the action] / ∂ parameters, by differences of the sum over everything that Bernoulli units can do."""

    def expected() -> float:
        below = [(1.0, x)]
        for index in range(network.depth - 1):
            p = [1 / (1 + np.exp(-(h @ network.weights(index) + network.biases(index)) / T)) for _, h in below]
            below = [
                (chance * float(np.prod(np.where(b > 0, q, 1 - q))), b)
                for (chance, _), q in zip(below, p, strict=True)
                for b in bits(network.layers[index].n_values)
            ]
        return sum(chance * float(softmax(network, h) @ returns) for chance, h in below)

    gradient = np.empty_like(network.parameters)
    for k in range(gradient.size):
        values = []
        for sign in (1, -1):
            network.parameters[k] += sign * 1e-5
            values.append(expected())
            network.parameters[k] -= sign * 1e-5
        gradient[k] = (values[0] - values[1]) / 2e-5
    return gradient
