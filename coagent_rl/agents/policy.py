"""The policy: the actor network and the critic network as a Stable-Baselines3 policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from coagent_rl.agents.block import CLIPPED, LARGEST
from coagent_rl.agents.policy_files import load_policy, save_policy
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.units import GAUSSIAN, MEAN, MOST_LIKELY, SAMPLE, SAMPLE_HIDDEN, UNIT_KINDS
from coagent_rl.schedules import is_positive
from coagent_rl.streams import generator, stream

SelfPolicy = TypeVar("SelfPolicy", bound="CoagentPolicy")
DETERMINISTIC_MODES = {"most_likely": MOST_LIKELY, "mean": MEAN, "sample_hidden": SAMPLE_HIDDEN}
NetArch = Sequence[int] | Mapping[str, Sequence[int]]
DEFAULT_NET_ARCH = (64, 32)


def observation_size(space: spaces.Space[Any]) -> int:
    """Number of network inputs for an observation space.

    Raises:
        ValueError: for a space that is neither a `Box` (flattened) nor `Discrete` (one-hot).
    """
    if isinstance(space, spaces.Box) and space.shape and min(space.shape) > 0:
        return int(np.prod(space.shape))
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    raise ValueError(
        f"Observation space {space} is not supported: the networks take a vector of numbers, so it must be a Box "
        f"(which is flattened) or Discrete (one-hot). gymnasium.wrappers.FlattenObservation turns other spaces into a Box."
    )


def check_action_space(space: spaces.Space[Any]) -> None:
    """Raise a ValueError unless actions are `Discrete` (starting at 0, at least two) or a bounded one-dimensional `Box`."""
    if isinstance(space, spaces.Discrete):
        if space.start != 0:
            raise ValueError(f"Action space {space} is not supported: discrete actions must start at 0, not {space.start}.")
        if space.n < 2:
            raise ValueError(f"Action space {space} is not supported: there is nothing to choose with a single action.")
    elif isinstance(space, spaces.Box):
        if len(space.shape) != 1 or space.shape[0] < 1:
            raise ValueError(f"Action space {space} is not supported: a Box of actions must have one dimension.")
        if not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
            raise ValueError(f"Action space {space} is not supported: the bounds of a Box of actions must be finite.")
        if not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"Action space {space} is not supported: actions must be floats, not {space.dtype}.")
    else:
        raise ValueError(f"Action space {space} is not supported: it must be Discrete or a Box.")


def hidden_sizes(net_arch: NetArch) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of the actor's and the critic's hidden layers, from ``[64, 32]`` or ``dict(pi=[64, 32], vf=[64, 32])``."""
    if isinstance(net_arch, Mapping) and set(net_arch) != {"pi", "vf"}:
        raise ValueError(f"net_arch must have the keys 'pi' and 'vf', not {sorted(map(str, net_arch))}.")
    actor, critic = (net_arch["pi"], net_arch["vf"]) if isinstance(net_arch, Mapping) else (net_arch, net_arch)
    for widths in (actor, critic):
        is_list = isinstance(widths, Sequence | np.ndarray) and not isinstance(widths, str)
        if not is_list or not all(isinstance(width, (int, np.integer)) and width > 0 for width in widths):
            raise ValueError(f"net_arch must list positive integers, the widths of the hidden layers, not {widths!r}.")
    return tuple(actor), tuple(critic)


def _hidden_layers(units: str | Sequence[str], sizes: Sequence[int]) -> list[Layer]:
    kinds = [units] * len(sizes) if isinstance(units, str) else list(units)
    if len(kinds) != len(sizes):
        raise ValueError(
            f"units: {len(kinds)} kinds were given ({units!r}) for {len(sizes)} hidden layers; give one for all or one each."
        )
    return [Layer(kind, n) for kind, n in zip(kinds, sizes, strict=True)]


def _with_variances(layers: Sequence[Layer], variance: float | Sequence[float], name: str) -> list[Layer]:
    """Give the Gaussian layers their variances, a number for all or one each."""
    n_gaussian = sum(layer.has_deviation for layer in layers)
    given = list(variance) if isinstance(variance, Sequence | np.ndarray) else [variance] * n_gaussian
    if len(given) != n_gaussian or not all(is_positive(v) for v in given):
        raise ValueError(
            f"{name} must be a positive number, or one for each of the {n_gaussian} layers of Gaussian units, "
            f"not {variance!r}."
        )
    remaining = iter(given)
    return [replace(layer, deviation=float(np.sqrt(next(remaining)))) if layer.has_deviation else layer for layer in layers]


class CoagentPolicy(BasePolicy):
    """A coagent network that acts and, beside it, a network of deterministic units that estimates state values.

    The parameters of `actor` and `critic` (None without one) are exposed as `torch.nn.Parameter`s over the same memory,
    so that ``state_dict``, ``get_parameters`` and ``save`` work as in Stable-Baselines3; no gradient ever flows.

    Args:
        observation_space, action_space: see `observation_size` and `check_action_space`.
        lr_schedule: ignored; rates belong to the algorithm.
        net_arch: widths of the hidden layers, ``[64, 32]`` or ``dict(pi=…, vf=…)``.
        units: kind of the hidden units (`coagent_rl.networks.units.UNIT_KINDS`), or one kind per hidden layer, input side →
            output. Deterministic layers belong to the coagents that end at the next stochastic layer above them.
        output_units: kind of the output units for discrete actions, ``softmax_reference`` or ``softmax``. For `Box`
            actions they are Gaussian with linear means.
        critic_units: kind of the critic's hidden units, deterministic or Gaussian; of Gaussian ones, its output is one too.
        temperature: of the output layer.
        variance: σ² of the actor's Gaussian units, a number or one per layer of Gaussian units, input side → output (the
            initial one where it is learned).
        critic_variance: the same for the critic.
        learned_deviation: whether Gaussian output units learn log σ.
        has_critic: whether there is a value network.
        deterministic_mode: what ``predict(deterministic=True)`` means: ``"most_likely"`` (every unit takes its most likely
            value), ``"mean"`` (hidden units pass their means on), ``"sample_hidden"`` (hidden units sample, the output takes
            its most likely action).
        exploration_probability: chance of each hidden unit to draw its value, see `ReinforceThomas`.
        seed: of the initial parameters and of the noise of `predict`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: object = None,
        net_arch: NetArch = DEFAULT_NET_ARCH,
        units: str | Sequence[str] = "bernoulli",
        output_units: str = "softmax_reference",
        critic_units: str = "softplus",
        temperature: float = 1.0,
        variance: float | Sequence[float] = 0.25,
        critic_variance: float | Sequence[float] = 0.1,
        learned_deviation: bool = True,
        has_critic: bool = True,
        deterministic_mode: str = "sample_hidden",
        exploration_probability: float = 1.0,
        seed: int | None = None,
    ) -> None:
        n_inputs = observation_size(observation_space)
        check_action_space(action_space)
        if deterministic_mode not in DETERMINISTIC_MODES:
            raise ValueError(f"deterministic_mode must be one of {list(DETERMINISTIC_MODES)}, not {deterministic_mode!r}.")
        if not (is_positive(exploration_probability) and exploration_probability <= 1.0):
            raise ValueError(f"exploration_probability must lie in (0, 1], not {exploration_probability!r}.")
        super().__init__(observation_space, action_space, normalize_images=False)
        self._constructor_arguments: dict[str, Any] = {
            "net_arch": net_arch,
            "units": units,
            "output_units": output_units,
            "critic_units": critic_units,
            "temperature": temperature,
            "variance": variance,
            "critic_variance": critic_variance,
            "learned_deviation": learned_deviation,
            "has_critic": has_critic,
            "deterministic_mode": deterministic_mode,
            "exploration_probability": exploration_probability,
        }
        self._bounds = (action_space.low, action_space.high) if isinstance(action_space, spaces.Box) else None
        self.exploration_probability = exploration_probability
        self.deterministic_mode = deterministic_mode
        actor_sizes, critic_sizes = hidden_sizes(net_arch)
        output = self._output_layer(output_units, temperature, learned_deviation)
        self.actor = Network(n_inputs, _with_variances([*_hidden_layers(units, actor_sizes), output], variance, "variance"))
        rng, self._prediction_seed = generator(seed, "initial_parameters"), stream(seed, "predictions")
        self.actor.initialise(rng)
        self.critic: Network | None = None
        if has_critic:
            hidden = [Layer(critic_units, n) for n in critic_sizes]
            is_gaussian = UNIT_KINDS.get(critic_units, (None,))[0] == GAUSSIAN
            value = Layer("gaussian_linear" if is_gaussian else "linear", 1)
            if any(layer.is_stochastic and not layer.is_gaussian for layer in hidden):
                raise ValueError(f"critic_units must be deterministic or Gaussian, not {critic_units!r}.")
            self.critic = Network(n_inputs, _with_variances([*hidden, value], critic_variance, "critic_variance"))
            self.critic.initialise(rng)
        self._register("actor", self.actor)
        if self.critic is not None:
            self._register("value", self.critic)
        self._prediction_rng = np.random.default_rng(self._prediction_seed)

    def _output_layer(self, kind: str, temperature: float, learned_deviation: bool) -> Layer:
        space = self.action_space
        if isinstance(space, spaces.Box):
            return Layer("gaussian_linear", space.shape[0], temperature, learned_deviation=learned_deviation)
        assert isinstance(space, spaces.Discrete)
        if kind not in ("softmax", "softmax_reference"):
            known = ", ".join(name for name in UNIT_KINDS if name.startswith("softmax"))
            raise ValueError(f"output_units for discrete actions must be one of {known}, not {kind!r}.")
        return Layer(kind, int(space.n), temperature)

    def _register(self, prefix: str, network: Network) -> None:
        modules = th.nn.ModuleList()
        for index in range(network.depth):
            module = th.nn.Module()
            arrays = {
                "weight": network.weights(index),
                "bias": network.biases(index),
                "log_deviation": network.log_deviations(index),
            }
            for name, array in arrays.items():
                if array.size:
                    module.register_parameter(name, th.nn.Parameter(th.from_numpy(array), requires_grad=False))
            modules.append(module)
        self.add_module(f"{prefix}_layers", modules)

    def load_from_vector(self, vector: np.ndarray) -> None:
        """Copy all parameters from a 1-D vector into the memory that the kernels read."""
        vector = np.asarray(vector, dtype=np.float32)
        parameters = list(self.parameters())
        if vector.shape != (sum(p.numel() for p in parameters),):
            raise ValueError(f"The vector must have shape ({sum(p.numel() for p in parameters)},), not {vector.shape}.")
        for parameter, part in zip(
            parameters, np.split(vector, np.cumsum([p.numel() for p in parameters])[:-1]), strict=True
        ):
            parameter.copy_(th.from_numpy(part.copy()).view_as(parameter))

    def save(self, path: str) -> None:
        """Save the policy alone; see `coagent_rl.agents.policy_files`."""
        save_policy(self, path)

    @classmethod
    def load(cls: type[SelfPolicy], path: str, device: Any = "auto") -> SelfPolicy:
        """Load a policy that was saved alone; nothing in the file is executed."""
        return load_policy(cls, path)

    def __getstate__(self) -> dict[str, Any]:
        # In a copy the tensors would no longer share their memory with the arrays of the kernels: they are made anew.
        modules = {name: module for name, module in self._modules.items() if name not in ("actor_layers", "value_layers")}
        return {**self.__dict__, "_modules": modules}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._register("actor", self.actor)
        if self.critic is not None:
            self._register("value", self.critic)

    def seed_predictions(self, seed: int | None) -> None:
        """Restart the noise of `predict`, which training never reads; None restarts it as it was at construction."""
        self._prediction_rng = np.random.default_rng(self._prediction_seed if seed is None else seed)

    def encode(self, observations: Any) -> np.ndarray:
        """Observations of a batch of environments → network inputs, shape (n, n_inputs), float32."""
        if observations.dtype == np.float32 and observations.ndim == 2 and observations.flags.c_contiguous:
            return observations
        if isinstance(self.observation_space, spaces.Discrete):
            states = np.asarray(observations).reshape(-1) - self.observation_space.start
            if states.size and not 0 <= states.min() <= states.max() < self.actor.n_inputs:
                raise ValueError(f"The observations {np.asarray(observations)} are not all in {self.observation_space}.")
            return np.eye(self.actor.n_inputs, dtype=np.float32)[states]
        return np.ascontiguousarray(observations, dtype=np.float32).reshape(-1, self.actor.n_inputs)

    def act(self, observations: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Actions for network inputs of shape (n, n_inputs): integers (n,), or vectors (n, n_actions) within the bounds."""
        mode = DETERMINISTIC_MODES[self.deterministic_mode] if deterministic else SAMPLE
        values, _ = self.actor.activities(observations, self._prediction_rng, mode, self.exploration_probability)
        return self.to_actions(values[:, self.actor.slot(-1)])

    @property
    def action_kind(self) -> int | None:
        """How a compiled loop turns outputs into actions, as `to_actions` does; None if it cannot.

        A code of `coagent_rl.agents.block`; a subclass with a `to_actions` of its own has none.
        """
        if type(self).to_actions is not CoagentPolicy.to_actions:
            return None
        return LARGEST if self._bounds is None else CLIPPED

    def to_actions(self, outputs: np.ndarray) -> np.ndarray:
        """Values of the output layer, shape (n, n_values) → actions: the index of the largest, or clipped to the bounds."""
        return outputs.argmax(axis=1) if self._bounds is None else np.clip(outputs, *self._bounds)

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        return th.as_tensor(self.act(self.encode(observation.numpy()), deterministic))

    def predict_values(self, obs: th.Tensor) -> th.Tensor:
        """State values, shape (n, 1). Raises a ValueError without a critic."""
        if self.critic is None:
            raise ValueError("This agent has no critic: the reward itself is the reinforcement.")
        values, _ = self.critic.activities(self.encode(obs.numpy()), mode=MEAN)
        return th.as_tensor(values[:, self.critic.slot(-1)])

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return dict(observation_space=self.observation_space, action_space=self.action_space, **self._constructor_arguments)
