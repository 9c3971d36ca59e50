"""The exact gradient of a network's expected reward in one state, from which rules are judged.

What can be enumerated is: all values of binary units, and all actions. Gaussian units are sampled with their noise held,
through which autograd passes; and wide layers of Bernoulli units one unit at a time, with the same random numbers for what
follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch as th

from coagent_rl.exported import symmetric
from coagent_rl.networks import Network

MOST_CASES = 2**14
"""With more combinations of binary values than this they are sampled."""
_BATCHES = 10
_ROWS = 4096
_BEFORE = "gaussian_preactivation_relu"
"""The kind of units whose noise comes before the activation."""

Rewards = Sequence[float] | np.ndarray | Callable[[th.Tensor], th.Tensor]
_ACTIVATIONS: dict[str, Callable[[th.Tensor], th.Tensor]] = {
    "linear": lambda z: z,
    "sigmoid": th.sigmoid,
    "tanh": th.tanh,
    "relu": th.relu,
    "softplus": th.nn.functional.softplus,
}


@dataclass(frozen=True)
class ExactGradient:
    """∇E[R | s].

    Attributes:
        expected_reward: E[R | s].
        gradient: by all parameters, shape (n_parameters,).
        errors: standard error of every entry, shape (n_parameters,); zero where everything was enumerated.
    """

    expected_reward: float
    gradient: np.ndarray
    errors: np.ndarray


def exact_gradient(
    network: Network, observation: np.ndarray, rewards: Rewards, n_samples: int = 4000, seed: int = 0
) -> ExactGradient:
    """Compute ∇E[R | s] by all parameters.

    Args:
        network: of Bernoulli, Boltzmann, Gaussian or deterministic hidden units.
        observation: s, shape (n_inputs,).
        rewards: R of each action, shape (n_actions,); or a function of output values, tensors of shape (n, n_values) → (n,),
            through which autograd can pass where the output is Gaussian.
        n_samples: where not everything can be enumerated.
        seed: of the samples.

    Raises:
        ValueError: for kinds of units that are not known here, or too many Boltzmann units, or rewards of another number.
    """
    _check(network, observation, rewards)
    parameters = th.tensor(network.parameters.astype(np.float64), requires_grad=True)
    x = th.tensor(np.asarray(observation, np.float64))[None]
    hidden = network.layers[:-1]
    n_bits = sum(layer.n_values for layer in hidden if layer.kind in ("bernoulli", "boltzmann"))
    if 2**n_bits > MOST_CASES:
        if any(layer.kind != "bernoulli" for layer in hidden) or not network.layers[-1].kind.startswith("softmax"):
            raise ValueError(
                f"{n_bits} binary units are too many to enumerate, and only where all hidden units are 'bernoulli' and the "
                f"output is a softmax can they be sampled."
            )
        return _by_flips(network, parameters.detach(), x, rewards, n_samples, seed)
    is_sampled = any(layer.has_deviation for layer in network.layers)
    if not is_sampled:
        value = _expected(network, parameters, x, rewards, 1, None)
        (gradient,) = th.autograd.grad(value, parameters)
        return ExactGradient(value.item(), gradient.numpy(), np.zeros(len(gradient)))
    generator = th.Generator().manual_seed(seed)
    values, gradients = [], []
    for _ in range(_BATCHES):
        value = _expected(network, parameters, x, rewards, max(1, n_samples // _BATCHES), generator)
        values.append(value.item())
        gradients.append(th.autograd.grad(value, parameters)[0].numpy())
    return _averaged(values, gradients)


def _averaged(values: Sequence[float], gradients: Sequence[np.ndarray]) -> ExactGradient:
    errors = np.std(gradients, axis=0, ddof=1) / np.sqrt(len(gradients))
    return ExactGradient(float(np.mean(values)), np.mean(gradients, axis=0), errors)


def _check(network: Network, observation: np.ndarray, rewards: Rewards) -> None:
    if np.shape(observation) != (network.n_inputs,) or not np.isfinite(observation).all():
        raise ValueError(f"The observation must be {network.n_inputs} finite numbers, not of shape {np.shape(observation)}.")
    output = network.layers[-1]
    known = output.kind.startswith("softmax") or (output.is_gaussian and callable(rewards))
    if not known:
        raise ValueError(f"Rewards of the actions of a {output.kind!r} output layer are not known here.")
    if not callable(rewards) and (np.shape(rewards) != (output.n_values,) or not np.isfinite(rewards).all()):
        raise ValueError(f"rewards must be {output.n_values} finite numbers, one an action, not {rewards!r}.")
    for layer in network.layers[:-1]:
        name = layer.kind.removeprefix("gaussian_")
        if layer.kind not in ("bernoulli", "boltzmann", _BEFORE) and name not in _ACTIVATIONS:
            raise ValueError(f"The exact gradient of hidden units of kind {layer.kind!r} is not known.")


def rewards_of(rewards: Rewards, outputs: th.Tensor) -> th.Tensor:
    """R of output values, shape (n, n_values) → (n,)."""
    if callable(rewards):
        return rewards(outputs)
    return outputs @ th.as_tensor(np.asarray(rewards), dtype=outputs.dtype)


def _pre_activations(network: Network, index: int, parameters: th.Tensor, values: th.Tensor) -> th.Tensor:
    """z / T of a layer, shape (n_rows, n_pre); ``parameters`` has all of them."""
    w, b = (int(k) for k in network.layout[index, 6:8])
    layer = network.layers[index]
    weights = parameters[w:b].reshape(-1, layer.n_pre)
    return (values @ weights + parameters[b : b + layer.n_pre]) / layer.temperature


def _deviation(network: Network, index: int, parameters: th.Tensor) -> th.Tensor:
    layer, end = network.layers[index], int(network.layout[index, 8])
    if not layer.learned_deviation:
        return th.tensor(layer.deviation, dtype=th.float64)
    return parameters[end - layer.n_values : end].exp()


def _chosen(network: Network, z: th.Tensor) -> th.Tensor:
    """Probabilities of all actions, from z / T of the output."""
    if network.layers[-1].kind == "softmax_reference":
        z = th.cat([z, z[:, :1] * 0], 1)
    return th.softmax(z, 1)


def _expected(
    network: Network, parameters: th.Tensor, x: th.Tensor, rewards: Rewards, n_rows: int, generator: th.Generator | None
) -> th.Tensor:
    """E[R], all binary values enumerated, Gaussian ones drawn from ``generator`` in each of ``n_rows`` rows."""
    values, log_chances = x.expand(n_rows, -1), th.full((n_rows,), -np.log(n_rows), dtype=th.float64)
    for index, layer in enumerate(network.layers[:-1]):
        z, n = _pre_activations(network, index, parameters, values), layer.n_values
        if layer.kind in ("bernoulli", "boltzmann"):
            states = th.tensor(list(product((0.0, 1.0), repeat=n)), dtype=th.float64)
            energies = z @ states.T
            if layer.kind == "boltzmann":
                end = int(network.layout[index, 8])
                places = th.tensor(symmetric(np.arange(layer.n_couplings), n).astype(np.int64))
                coupling = parameters[end - layer.n_couplings : end][places] * (1 - th.eye(n)) if n > 1 else th.zeros(1, 1)
                energies = energies + 0.5 * ((states @ coupling) * states).sum(1) / layer.temperature
            log_chances = (log_chances[:, None] + th.log_softmax(energies, 1)).reshape(-1)
            values = states.repeat(len(z), 1)
        else:
            is_before = layer.kind == _BEFORE
            values = z if is_before else _ACTIVATIONS[layer.kind.removeprefix("gaussian_")](z)
            if layer.is_gaussian or is_before:
                noise = th.randn(values.shape, generator=generator, dtype=th.float64)
                values = values + _deviation(network, index, parameters) * noise
            values = th.relu(values) if is_before else values
    last = network.depth - 1
    z = _pre_activations(network, last, parameters, values)
    if network.layers[-1].is_gaussian:
        means = _ACTIVATIONS[network.layers[-1].kind.removeprefix("gaussian_")](z)
        noise = th.randn(z.shape, generator=generator, dtype=th.float64)
        return (log_chances.exp() * rewards_of(rewards, means + _deviation(network, last, parameters) * noise)).sum()
    each = rewards_of(rewards, th.eye(network.layers[-1].n_values, dtype=th.float64))
    return (log_chances.exp() * (_chosen(network, z) @ each)).sum()


def _upwards(
    network: Network, parameters: th.Tensor, values: th.Tensor, index: int, noise: Sequence[th.Tensor]
) -> th.Tensor:
    """Values of the last hidden layer, shape (n_rows, n), given those of layer ``index`` and the noise of all layers."""
    for above in range(index + 1, network.depth - 1):
        values = (noise[above] < th.sigmoid(_pre_activations(network, above, parameters, values))).double()
    return values


def _by_flips(
    network: Network, parameters: th.Tensor, x: th.Tensor, rewards: Rewards, n_samples: int, seed: int
) -> ExactGradient:
    """∂E[R]/∂z_i = E[p_i (1 - p_i) (R(h_i = 1) - R(h_i = 0))] / T, with the same random numbers in both cases."""
    generator, last = th.Generator().manual_seed(seed), network.depth - 1
    each = rewards_of(rewards, th.eye(network.layers[-1].n_values, dtype=th.float64))
    n_batches = max(_BATCHES, n_samples // (_ROWS // 16))
    n_rows = max(1, n_samples // n_batches)

    def outcome(values: th.Tensor, index: int, noise: Sequence[th.Tensor]) -> th.Tensor:
        top = _upwards(network, parameters, values, index, noise)
        return _chosen(network, _pre_activations(network, last, parameters, top)) @ each

    expected, gradients = [], []
    for _ in range(n_batches):
        noise = [th.rand((n_rows, layer.n_values), generator=generator, dtype=th.float64) for layer in network.layers[:-1]]
        gradient, values = th.zeros_like(parameters), x.expand(n_rows, -1)
        for index, layer in enumerate(network.layers[:-1]):
            p, n = th.sigmoid(_pre_activations(network, index, parameters, values)), layer.n_values
            drawn = (noise[index] < p).double()
            both = drawn[None, None].repeat(2, n, 1, 1)  # with each unit in turn one, then zero
            units = th.arange(n)
            both[0, units, :, units], both[1, units, :, units] = 1.0, 0.0
            repeated = [block.repeat(2 * n, 1) for block in noise]
            one, zero = outcome(both.reshape(-1, n), index, repeated).reshape(2, n, n_rows)
            slopes = p * (1 - p) * (one - zero).T / layer.temperature
            w, b, end = (int(k) for k in network.layout[index, 6:9])
            gradient[w:b] = (values.T @ slopes / n_rows).reshape(-1)
            gradient[b:end] = slopes.mean(0)
            values = drawn
        own = parameters.clone().requires_grad_()
        value = (_chosen(network, _pre_activations(network, last, own, values)) @ each).mean()
        expected.append(value.item())
        gradients.append((gradient + th.autograd.grad(value, own)[0]).numpy())
    return _averaged(expected, gradients)
