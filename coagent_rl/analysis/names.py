"""How inputs, units and actions are called in pictures, and where they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from coagent_rl.networks import Network

_LANDER = ("x", "y", "speed in x", "speed in y", "angle", "turning speed", "left leg down", "right leg down")
_CAR = ("position", "speed")
INPUTS = {
    "CartPole-v1": ("cart position", "cart speed", "pole angle", "pole turning speed"),
    "Acrobot-v1": (
        "cos of joint 1",
        "sin of joint 1",
        "cos of joint 2",
        "sin of joint 2",
        "speed of joint 1",
        "speed of joint 2",
    ),
    "LunarLander-v3": _LANDER,
    "LunarLanderContinuous-v3": _LANDER,
    "MountainCar-v0": _CAR,
    "MountainCarContinuous-v0": _CAR,
    "Pendulum-v1": ("cos of angle", "sin of angle", "turning speed"),
    "coagent_rl/Multiplexer-v0": tuple(f"address {k}" for k in range(1, 6)) + tuple(f"bit {k}" for k in range(32)),
    "coagent_rl/Corridor-v0": ("position",),
}
"""Environment id → names of its observations' entries."""
ACTIONS = {
    "CartPole-v1": ("push left", "push right"),
    "Acrobot-v1": ("torque −1", "no torque", "torque +1"),
    "LunarLander-v3": ("no engine", "left engine", "main engine", "right engine"),
    "LunarLanderContinuous-v3": ("main engine", "side engines"),
    "MountainCar-v0": ("push left", "no push", "push right"),
    "MountainCarContinuous-v0": ("force",),
    "Pendulum-v1": ("torque",),
    "coagent_rl/Multiplexer-v0": ("bit is 0", "bit is 1"),
    "coagent_rl/Corridor-v0": ("left", "right"),
}
"""Environment id → names of its actions, or of the entries of an action."""
_KINDS = {
    "bernoulli": "Bernoulli units",
    "softmax": "actions (softmax)",
    "softmax_reference": "actions (softmax)",
    "categorical": "categorical units",
    "gaussian_preactivation_relu": "rectified Gaussian units",
    "linear": "linear units",
    "relu": "ReLU units",
}
REFERENCE = "reference, fixed at 0"
"""What is said of a softmax layer's last action, whose logit has no weights."""
MOST_ROWS = 16
"""More units than this stand in several columns."""


def names_of(known: dict[str, tuple[str, ...]], env_id: str | None, n: int, fallback: str) -> list[str]:
    """Names of inputs (`INPUTS`) or actions (`ACTIONS`) of a task.

    Args:
        env_id: of the task; one that is not known, or has another number of them, has them numbered.
        n: how many there are.
        fallback: what they are called, such as ``"input"``.
    """
    found = known.get(env_id or "", ())
    return list(found) if len(found) == n else [f"{fallback} {k + 1}" for k in range(n)]


def kind_in_words(kind: str) -> str:
    """What units of a kind (`coagent_rl.networks.UNIT_KINDS`) are called.

    Example:
        >>> kind_in_words("bernoulli"), kind_in_words("gaussian_tanh")
        ('Bernoulli units', 'Gaussian tanh units')
    """
    return _KINDS.get(kind) or kind.replace("gaussian_", "Gaussian ") + " units"


def layer_names(network: Network) -> list[str]:
    """What the columns of a network's drawing are called: the inputs, then a name a layer."""
    return ["observation", *(f"hidden layer {k + 1}" for k in range(network.depth - 1)), "actions"]


def unit_names(network: Network, env_id: str | None = None) -> list[list[str]]:
    """Names of the inputs and of every layer's units, from the input side."""
    hidden = [[f"neuron {k + 1}" for k in range(layer.n_values)] for layer in network.layers[:-1]]
    outputs = names_of(ACTIONS, env_id, network.layers[-1].n_values, "action")
    return [names_of(INPUTS, env_id, network.n_inputs, "input"), *hidden, outputs]


def unit_places(network: Network) -> list[np.ndarray]:
    """Where inputs and units stand in a drawing, from the input side.

    Returns:
        Arrays of shape (n, 2): x from 0 (inputs) to 1 (outputs), y from 0 (bottom) to 1. Layers of more than `MOST_ROWS`
        units stand in several columns, filled column by column from the top.
    """
    places, x = [], 0.0
    for n in (network.n_inputs, *(layer.n_values for layer in network.layers)):
        n_columns = -(-n // MOST_ROWS)
        n_rows = -(-n // n_columns)
        distance = 1.0 / MOST_ROWS if n_columns > 1 else min(1.0 / n_rows, 0.14)
        column, row = np.divmod(np.arange(n), n_rows)
        places.append(np.stack([x + 0.28 * column, 0.5 + distance * ((n_rows - 1) / 2 - row)], axis=1))
        x += 0.28 * (n_columns - 1) + 1.0
    right = places[-1][:, 0].max()
    return [np.stack([place[:, 0] / right, place[:, 1]], axis=1) for place in places]


def weight_shares(network: Network) -> list[np.ndarray]:
    """Weights of every layer divided by the largest of the layer, shape (n_in, n_pre) each; zeros where all are zero."""
    return [w / max(float(np.abs(w).max()), 1e-30) for w in map(network.weights, range(network.depth))]
