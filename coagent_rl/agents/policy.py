"""The policy: the actor network and the critic network as a Stable-Baselines3 policy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces

from coagent_rl.agents.block import CLIPPED, LARGEST
from coagent_rl.agents.policy_files import load_policy, save_policy
from coagent_rl.agents.portable import PortablePolicy
from coagent_rl.agents.spaces import check_action_space, encode, forbid_levels, in_space, n_actions, observation_size
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.units import GAUSSIAN, MEAN, UNIT_KINDS
from coagent_rl.schedules import is_positive
from coagent_rl.streams import generator, stream

SelfPolicy = TypeVar("SelfPolicy", bound="CoagentPolicy")
NetArch = Sequence[int] | Mapping[str, Sequence[int]]
DEFAULT_NET_ARCH = (64, 32)
FLOAT32 = np.dtype(np.float32)


def hidden_sizes(net_arch: NetArch | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of the actor's and the critic's hidden layers, from ``[64, 32]`` or ``dict(pi=[64, 32], vf=[64, 32])``.

    None is the default; a key that is missing means no hidden layers, as in Stable-Baselines3.

    Raises:
        ValueError: for other keys, or anything but positive integers.
    """
    if net_arch is None:
        net_arch = DEFAULT_NET_ARCH
    if isinstance(net_arch, list | tuple) and len(net_arch) == 1 and isinstance(net_arch[0], Mapping):
        message = f"net_arch={net_arch!r} is what Stable-Baselines3 took before version 1.8; write net_arch={net_arch[0]!r}."
        warnings.warn(message, stacklevel=2)
        net_arch = net_arch[0]
    if isinstance(net_arch, Mapping) and not set(net_arch) <= {"pi", "vf"}:
        raise ValueError(f"net_arch may have the keys 'pi' and 'vf', not {sorted(map(str, net_arch))}.")
    actor, critic = (
        (net_arch.get("pi", ()), net_arch.get("vf", ())) if isinstance(net_arch, Mapping) else (net_arch, net_arch)
    )
    for widths in (actor, critic):
        is_list = isinstance(widths, Sequence | np.ndarray) and not isinstance(widths, str)
        if not is_list or not all(
            type(width) is not bool and isinstance(width, int | np.integer) and width > 0 for width in widths
        ):
            raise ValueError(f"net_arch must list positive integers, the widths of the hidden layers, not {widths!r}.")
    return tuple(actor), tuple(critic)


def _hidden_layers(units: str | Sequence[str], sizes: Sequence[int], sweeps: int) -> list[Layer]:
    if not isinstance(units, Sequence | np.ndarray):
        raise ValueError(f"units must be the name of a kind of units, or one for each hidden layer, not {units!r}.")
    kinds = [units] * len(sizes) if isinstance(units, str) else list(units)
    if len(kinds) != len(sizes):
        raise ValueError(
            f"units: {len(kinds)} kinds were given ({units!r}) for {len(sizes)} hidden layers; give one for all or one each."
        )
    return [Layer(kind, n, sweeps=sweeps) for kind, n in zip(kinds, sizes, strict=True)]


def _per_layer(persistence: float | Sequence[float], depth: int) -> tuple[float, ...]:
    given: list[Any] = list(persistence) if isinstance(persistence, Sequence | np.ndarray) else [persistence] * depth
    if len(given) != depth or not all((p == 0 or is_positive(p)) and p < 1 for p in given):
        raise ValueError(
            f"noise_persistence must lie in [0, 1), a number or one for each of the {depth} layers, not {persistence!r}."
        )
    return tuple(float(p) for p in given)


def _firing_rates(given: float | Sequence[float], layers: Sequence[Layer]) -> tuple[float, ...]:
    rates: list[Any] = list(given) if isinstance(given, Sequence | np.ndarray) else [given] * len(layers)
    if len(rates) != len(layers) or not all(is_positive(rate) and rate <= 1 for rate in rates):
        raise ValueError(
            f"firing_rate must lie in (0, 1], a number or one for each of the {len(layers)} layers, not {given!r}."
        )
    if any(rate < 1 for rate in rates) and any(layer.is_coupled or not layer.is_stochastic for layer in layers):
        raise ValueError(
            f"firing_rate {given!r}: units that hold their values must draw them, and each by "
            f"itself, not with {', '.join(layer.kind for layer in layers)}."
        )
    return tuple(float(rate) for rate in rates)


def _with_variances(layers: Sequence[Layer], variance: float | Sequence[float], name: str) -> list[Layer]:
    """Give the Gaussian layers their variances, a number for all or one each."""
    n_gaussian = sum(layer.has_deviation for layer in layers)
    given = list(variance) if isinstance(variance, Sequence | np.ndarray) else [variance] * n_gaussian
    # A number that nothing needs is checked too.
    if len(given) != n_gaussian or not all(is_positive(v) for v in given or np.atleast_1d(np.asarray(variance, object))):
        raise ValueError(
            f"{name} must be a positive number, or one for each of the {n_gaussian} layers of Gaussian units, "
            f"not {variance!r}."
        )
    remaining = iter(given)
    return [replace(layer, deviation=float(np.sqrt(next(remaining)))) if layer.has_deviation else layer for layer in layers]


class CoagentPolicy(PortablePolicy):
    """A coagent network that acts and, beside it, a network of deterministic units that estimates state values.

    The parameters of `actor` and `critic` (None without one) are exposed as `torch.nn.Parameter`s over the same memory,
    so that ``state_dict``, ``get_parameters`` and ``save`` work as in Stable-Baselines3; no gradient ever flows.

    Args:
        observation_space, action_space: see `observation_size` and `check_action_space`.
        lr_schedule: ignored; rates belong to the algorithm.
        net_arch: widths of the hidden layers, ``[64, 32]`` or ``dict(pi=…, vf=…)``; None is the default.
        units: kind of the hidden units (`coagent_rl.networks.units.UNIT_KINDS`), or one kind per hidden layer, input side →
            output. Deterministic layers belong to the coagents that end at the next stochastic layer above them.
        output_units: kind of the output units for `Discrete` actions, ``softmax_reference`` or ``softmax`` (a single action
            takes the latter). For `Box` actions they are Gaussian with linear means, for `MultiDiscrete` ones categorical,
            a softmax for each, and for `MultiBinary` ones Bernoulli.
        critic_units: kind of the critic's hidden units, deterministic or Gaussian; of Gaussian ones, its output is one too.
        temperature: of the output layer.
        variance: σ² of the actor's Gaussian units, a number or one per layer of Gaussian units, input side → output (the
            initial one where it is learned).
        critic_variance: the same for the critic.
        learned_deviation: whether Gaussian output units learn log σ.
        has_critic: whether there is a value network; the agent's ``critic`` says it.
        deterministic_mode: what ``predict(deterministic=True)`` means: ``"hashed"`` (all units sample, with noise from a
            generator seeded by the observation), ``"marginal"`` (the most likely action, or the mean one, averaged over a
            fixed bank of samples of the hidden units), ``"mean"`` (hidden units pass their means on), ``"most_likely"``
            (every unit takes its most likely value); and, not repeatable, ``"sample_hidden"`` (hidden units sample, the
            output takes its most likely action). None is what was measured to be best: "hashed" for discrete actions of a
            network with random hidden units, "marginal" for all others.
        marginal_samples: number of samples in that bank.
        exploration_probability: chance of each hidden unit to draw its value, see `ReinforceThomas`.
        noise_persistence: chance of each unit to keep its random number from one step of training to the next, a number for
            all or one per layer, input side → output: what it tries lasts for some steps (`coagent_rl.noise.persist`). The
            score is that of fresh noise. `predict` draws afresh.
        firing_rate: chance of each unit to fire in a step, a number for all or one per layer, input side → output; otherwise
            it holds the value that it has, with a score of zero, so that layers may live at different speeds (asynchronous
            coagents, Kostas et al. 2020). All fire when an episode starts. `predict` hands the values on as its state; with
            ``deterministic=True`` every unit fires.
        gibbs_sweeps: number of sweeps with which ``boltzmann`` units draw, see `CoordinatedExploration`.
        seed: of the initial parameters and of the noise of `predict`.
    """

    action_maps: ClassVar[Mapping[type[spaces.Space[Any]], str]] = {
        spaces.Box: "clipped",
        spaces.Discrete: "largest",
        spaces.MultiDiscrete: "levels",
        spaces.MultiBinary: "levels",
    }

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: object = None,
        net_arch: NetArch | None = DEFAULT_NET_ARCH,
        units: str | Sequence[str] = "bernoulli",
        output_units: str = "softmax_reference",
        critic_units: str = "softplus",
        temperature: float = 1.0,
        variance: float | Sequence[float] = 0.25,
        critic_variance: float | Sequence[float] = 0.1,
        learned_deviation: bool = True,
        has_critic: bool = True,
        deterministic_mode: str | None = None,
        marginal_samples: int = 32,
        exploration_probability: float = 1.0,
        noise_persistence: float | Sequence[float] = 0.0,
        firing_rate: float | Sequence[float] = 1.0,
        gibbs_sweeps: int = 5,
        seed: int | None = None,
    ) -> None:
        n_inputs = observation_size(observation_space)
        check_action_space(action_space)
        if type(marginal_samples) is not int or marginal_samples < 1:
            raise ValueError(f"marginal_samples must be a whole number from 1, not {marginal_samples!r}.")
        for name, given in (("learned_deviation", learned_deviation), ("has_critic", has_critic)):
            if not isinstance(given, bool):
                raise ValueError(f"{name} must be True or False, not {given!r}.")
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
            "marginal_samples": marginal_samples,
            "exploration_probability": exploration_probability,
            "noise_persistence": noise_persistence,
            "firing_rate": firing_rate,
            "gibbs_sweeps": gibbs_sweeps,
        }
        self.normaliser = None
        self._takes_vectors = isinstance(observation_space, spaces.Box)
        box = action_space if isinstance(action_space, spaces.Box) else None
        self._bounds = None if box is None else (box.low.reshape(-1), box.high.reshape(-1))
        self._is_vector = box is not None and len(box.shape) == 1
        self._is_index = isinstance(action_space, spaces.Discrete) and action_space.start == 0
        self.exploration_probability = exploration_probability
        self.marginal_samples = marginal_samples
        self.net_arch = DEFAULT_NET_ARCH if net_arch is None else net_arch
        actor_sizes, critic_sizes = hidden_sizes(net_arch)
        output = self._output_layer(output_units, temperature, learned_deviation)
        self.actor = Network(
            n_inputs, _with_variances([*_hidden_layers(units, actor_sizes, gibbs_sweeps), output], variance, "variance")
        )
        self.deterministic_mode = deterministic_mode
        rng, self._prediction_seed = generator(seed, "initial_parameters"), stream(seed, "predictions")
        self.actor.initialise(rng)
        self.noise_persistence = _per_layer(noise_persistence, self.actor.depth)
        self.firing_rate = _firing_rates(firing_rate, self.actor.layers)
        keeps_noise = exploration_probability < 1.0 or any(self.noise_persistence)
        if keeps_noise and any(layer.is_coupled for layer in self.actor.layers):
            raise ValueError(
                f"Boltzmann units are drawn together, with fresh noise: exploration_probability must be 1 and "
                f"noise_persistence 0, not {exploration_probability!r} and {noise_persistence!r}."
            )
        if output.kind == "categorical" and isinstance(action_space, spaces.MultiDiscrete):
            forbid_levels(action_space, self.actor.biases(-1))
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
            return Layer("gaussian_linear", n_actions(space), temperature, learned_deviation=learned_deviation)
        if kind not in ("softmax", "softmax_reference"):
            known = ", ".join(name for name in UNIT_KINDS if name.startswith("softmax"))
            raise ValueError(f"output_units for discrete actions must be one of {known}, not {kind!r}.")
        if isinstance(space, spaces.MultiBinary):
            return Layer("bernoulli", n_actions(space), temperature)
        if isinstance(space, spaces.MultiDiscrete):
            levels = tuple(float(level) for level in range(max(2, int(space.nvec.max()))))
            return Layer("categorical", int(space.nvec.size), temperature, levels=levels)
        return Layer("softmax" if n_actions(space) == 1 else kind, n_actions(space), temperature)

    def _register(self, prefix: str, network: Network) -> None:
        modules = th.nn.ModuleList()
        for index in range(network.depth):
            module = th.nn.Module()
            arrays = {
                "weight": network.weights(index),
                "bias": network.biases(index),
                "log_deviation": network.log_deviations(index),
                "coupling": network.couplings(index),
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
        """Observations of a batch of environments → network inputs, shape (n, n_inputs), float32.

        See `coagent_rl.agents.spaces.encode`.
        """
        given = observations
        is_done = self._takes_vectors and given.__class__ is np.ndarray and given.dtype == FLOAT32 and given.ndim == 2
        return given if is_done and given.flags.c_contiguous else encode(self.observation_space, given)

    @property
    def action_kind(self) -> int | None:
        """How a compiled loop turns outputs into actions, as `to_actions` does; None if it cannot.

        A code of `coagent_rl.agents.block`; a subclass with a `to_actions` of its own has none, and neither have spaces
        other than `Discrete` from 0 on and a `Box` of one dimension.
        """
        if type(self).to_actions is not CoagentPolicy.to_actions:
            return None
        return LARGEST if self._is_index else (CLIPPED if self._is_vector else None)

    def to_actions(self, outputs: np.ndarray) -> np.ndarray:
        """Values of the output layer, shape (n, n_values) → actions of the space.

        That is the index of the largest, clipped to the bounds, or what categorical or Bernoulli units drew.
        """
        if self._is_index:
            return outputs.argmax(axis=1)
        if self._bounds is None:
            return in_space(self.action_space, self._chosen(outputs))
        clipped = np.clip(outputs, *self._bounds)
        return clipped if self._is_vector else in_space(self.action_space, clipped)

    def _chosen(self, outputs: np.ndarray) -> np.ndarray:
        """What was chosen of actions that are no `Box`, counted from zero and flat."""
        if isinstance(self.action_space, spaces.Discrete):
            return outputs.argmax(axis=1)
        if isinstance(self.action_space, spaces.MultiDiscrete):
            # A level that an action does not have is never drawn, but parameters may have been written from outside.
            return np.minimum(outputs, self.action_space.nvec.reshape(-1) - 1)
        return outputs

    def predict_values(self, obs: th.Tensor) -> th.Tensor:
        """State values, shape (n, 1). Raises a ValueError without a critic."""
        if self.critic is None:
            raise ValueError("This agent has no critic: the reward itself is the reinforcement.")
        values, _ = self.critic.activities(self.encode(obs), mode=MEAN)
        return th.as_tensor(values[:, self.critic.slot(-1)])

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {**self._constructor_arguments, "deterministic_mode": self.deterministic_mode}
        return dict(observation_space=self.observation_space, action_space=self.action_space, **own)
