"""How a policy acts: what ``deterministic=True`` means, and the distribution of its actions."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import BasePolicy

from coagent_rl.agents.block import LARGEST, SCALED
from coagent_rl.agents.holding import sample_holding
from coagent_rl.exported import LayerArrays, hash_of, hashed_noise, symmetric
from coagent_rl.networks import Network
from coagent_rl.networks.units import MEAN, MOST_LIKELY, SAMPLE, SAMPLE_HIDDEN

DETERMINISTIC_MODES = {
    "marginal": SAMPLE_HIDDEN,
    "hashed": SAMPLE,
    "mean": MEAN,
    "most_likely": MOST_LIKELY,
    "sample_hidden": SAMPLE_HIDDEN,
}
"""Name of a mode → how the network is passed through in it."""

ROWS = 4096  # observations × samples in one call, so that memory does not grow with a batch


def noise_bank(network: Network, n: int, exploration_probability: float = 1.0) -> np.ndarray:
    """``n`` samples of a network's noise, the same ones in every call: shape (n, width).

    Each unit's ``n`` numbers are spread evenly over its distribution, in an order of its own: a unit that fires with
    probability p fires in n p of the samples, rounded. A network without hidden noise gets one sample.

    Args:
        exploration_probability: the share of samples in which a hidden unit draws, see `Network.silence`.

    Source: McKay, Beckman & Conover (1979), Latin hypercube sampling.
    """
    if not any(layer.is_stochastic for layer in network.layers[:-1]):
        n = 1
    rng = np.random.default_rng(0)
    places = rng.permuted(np.tile((np.arange(n) + 0.5) / n, (network.width, 1)), axis=1).T
    for index, layer in enumerate(network.layers):
        if layer.has_deviation:
            slot = network.slot(index)
            places[:, slot] = np.vectorize(NormalDist().inv_cdf)(places[:, slot])
    bank = places.astype(network.parameters.dtype)
    network.silence(bank, rng, exploration_probability)
    return bank


class GaussianMixture(DiagGaussianDistribution):
    """An equally weighted mixture of Gaussians with one spread, the distribution of `Box` actions of a coagent network.

    Its `mode` is its mean, the action of the mode "marginal". Its entropy has no closed form and is None.
    """

    def proba_distribution(self, mean_actions: th.Tensor, log_std: th.Tensor) -> GaussianMixture:
        """Set the means, shape (n, n_samples, n_actions), and the logarithm of the standard deviations, (n_actions,)."""
        components = th.distributions.Independent(th.distributions.Normal(mean_actions, log_std.exp()), 1)
        weights = th.distributions.Categorical(logits=mean_actions.new_zeros(mean_actions.shape[:2]))
        self.distribution = th.distributions.MixtureSameFamily(weights, components)  # type: ignore[assignment]
        return self

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        return self.distribution.log_prob(actions)

    def entropy(self) -> None:
        return None

    def sample(self) -> th.Tensor:
        return self.distribution.sample()

    def mode(self) -> th.Tensor:
        return self.distribution.mean


class ActingPolicy(BasePolicy):
    """The part of `CoagentPolicy` that acts; the arguments are explained there."""

    actor: Network
    marginal_samples: int
    exploration_probability: float
    firing_rate: tuple[float, ...]
    _prediction_rng: np.random.Generator

    def encode(self, observations: Any) -> np.ndarray:
        """Observations of a batch of environments → network inputs, shape (n, n_inputs), float32."""
        raise NotImplementedError

    def to_actions(self, outputs: np.ndarray) -> np.ndarray:
        """Values of the output layer, shape (n, n_values) → actions."""
        raise NotImplementedError

    @property
    def action_kind(self) -> int | None:
        """How outputs become actions, a code of `coagent_rl.agents.block`, or None."""
        raise NotImplementedError

    @property
    def deterministic_mode(self) -> str:
        """What ``predict(deterministic=True)`` means; to assign None assigns what was measured to be best."""
        mode: str = self.__dict__["deterministic_mode"]
        return mode

    @deterministic_mode.setter
    def deterministic_mode(self, mode: str | None) -> None:
        if mode is not None and not (isinstance(mode, str) and mode in DETERMINISTIC_MODES):
            raise ValueError(f"deterministic_mode must be one of {list(DETERMINISTIC_MODES)}, not {mode!r}.")
        is_random = any(layer.is_stochastic for layer in self.actor.layers[:-1])
        best = "marginal" if isinstance(self.action_space, spaces.Box) or not is_random else "hashed"
        self.__dict__["deterministic_mode"] = mode or best

    @property
    def bank(self) -> np.ndarray:
        """The noise of the mode "marginal", see `noise_bank`; made when it is first needed."""
        key = (self.marginal_samples, self.exploration_probability)
        if self.__dict__.get("_bank_key") != key:
            self._bank, self._bank_key = noise_bank(self.actor, *key), key
        return self._bank

    # ------------------------------------------------------------------ actions

    def act(self, observations: np.ndarray, deterministic: bool = False) -> np.ndarray:
        """Actions for network inputs of shape (n, n_inputs): integers (n,), or vectors (n, n_actions) within the bounds."""
        if not deterministic:
            values, _ = self.actor.activities(observations, self._prediction_rng, SAMPLE, self.exploration_probability)
            return self.to_actions(values[:, self.actor.slot(-1)])
        if self.deterministic_mode == "marginal":
            return self.to_actions(self._most_likely(self.marginal_means(observations).mean(axis=1)))
        noise = self._hashed_noise(observations) if self.deterministic_mode == "hashed" else None
        mode = DETERMINISTIC_MODES[self.deterministic_mode]
        values, _ = self.actor.activities(observations, self._prediction_rng, mode, self.exploration_probability, noise)
        return self.to_actions(values[:, self.actor.slot(-1)])

    def _most_likely(self, means: np.ndarray) -> np.ndarray:
        """Values of the output layer that are most likely where these are its means, shape (n, n_means) → (n, n_values)."""
        layer = self.actor.layers[-1]
        if layer.kind == "categorical":
            return means.reshape(len(means), layer.n_values, -1).argmax(axis=2)
        return means > 0.5 if layer.kind == "bernoulli" else means

    def marginal_means(self, observations: np.ndarray) -> np.ndarray:
        """Output means under each sample of the `bank`, (n, n_samples, n_means), for inputs of shape (n, n_inputs).

        They are as many as the layer has values, of categorical units the probabilities of all levels.
        """
        bank, parts = self.bank, []
        first_mean, n_means = self.actor.slot(-1).start, max(self.actor.biases(-1).size, self.actor.layers[-1].n_values)
        n, size = len(bank), max(ROWS // len(self.bank), 1)
        for first in range(0, max(len(observations), 1), size):
            rows = np.repeat(observations[first : first + size], n, axis=0)
            noise = bank[None] if len(rows) == n else np.tile(bank, (len(rows) // n, 1))[None]
            _, means = self.actor.activities(rows, mode=SAMPLE_HIDDEN, noise=noise)
            parts.append(means[:, first_mean : first_mean + n_means].reshape(-1, n, n_means))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _hashed_noise(self, observations: np.ndarray) -> np.ndarray:
        network, key = self.actor, hash_of(np.ascontiguousarray(observations, dtype=np.float32))
        noise = np.zeros((1, len(observations), network.width), dtype=network.parameters.dtype)
        for index, layer in enumerate(self._layers()):
            probability = self.exploration_probability if index < network.depth - 1 else 1.0
            first = network.slot(index).start
            noise[0, :, first : first + layer.n_noise] = hashed_noise(key, index, layer, probability)
        return noise

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        given = observation.numpy() if isinstance(observation, th.Tensor) else observation
        return th.as_tensor(self.act(self.encode(given), deterministic))

    @property
    def holds_values(self) -> bool:
        """Whether units may hold their values from step to step."""
        return any(rate < 1.0 for rate in self.firing_rate)

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """As in Stable-Baselines3; where units may hold their values, these are the state, see `sample_holding`."""
        if deterministic or not self.holds_values:
            return super().predict(observation, state, episode_start, deterministic)
        return sample_holding(self, observation, state, episode_start)

    def _layers(self) -> list[LayerArrays]:
        """The actor's layers over the memory of its parameters, as `coagent_rl.exported.forward` takes them."""
        network = self.actor
        return [
            LayerArrays(
                layer.kind,
                layer.n_values,
                layer.temperature,
                network.weights(index),
                network.biases(index),
                np.exp(network.log_deviations(index)) if layer.learned_deviation else np.float32(layer.deviation),
                np.array(layer.levels, dtype=np.float32),
                symmetric(network.couplings(index), layer.n_values) if layer.is_coupled else None,
                layer.sweeps if layer.is_coupled else 0,
            )
            for index, layer in enumerate(network.layers)
        ]

    # ------------------------------------------------------------------ the distribution of actions

    def get_distribution(self, obs: th.Tensor) -> Distribution:
        """The marginal distribution of actions, π(a|s) = E[π(a | hidden values)], estimated with the noise of the `bank`.

        Its ``mode()`` is the action of the mode "marginal" (before it is clipped to the bounds).

        Args:
            obs: shape (n, …), as `obs_to_tensor` gives it.

        Raises:
            ValueError: where the largest of noisy outputs is taken, the probabilities of which have no closed form, and for
                actions other than `Discrete` from 0 on or a `Box` of one dimension.
        """
        kind, layer = self.action_kind, self.actor.layers[-1]
        if kind is None:
            raise ValueError(
                f"{type(self).__name__} gives the distribution of Discrete actions from 0 on and of a Box of one dimension, "
                f"not of {self.action_space}."
            )
        if kind == LARGEST and layer.is_gaussian:
            raise ValueError(
                "The action is the largest of noisy outputs, whose probabilities have no closed form: there is no "
                "distribution of it. predict(…, deterministic=False) draws from it."
            )
        means = th.as_tensor(self.marginal_means(self.encode(obs)))
        if kind == LARGEST:
            return CategoricalDistribution(layer.n_values).proba_distribution(means.mean(1).log())
        log_deviation = th.as_tensor(np.log(self._layers()[-1].deviation)).expand(layer.n_values)
        if kind == SCALED:
            assert isinstance(self.action_space, spaces.Box)
            low, high = th.as_tensor(self.action_space.low), th.as_tensor(self.action_space.high)
            means, log_deviation = low + (means + 1.0) * 0.5 * (high - low), log_deviation + ((high - low) * 0.5).log()
        return GaussianMixture(layer.n_values).proba_distribution(means, log_deviation)

    def evaluate_actions(self, obs: th.Tensor, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor | None]:
        """State values (n, 1), log-probabilities of actions (n,) and entropies (n,) or None, as in Stable-Baselines3.

        The probabilities are those of `get_distribution`.

        Raises:
            ValueError: without a critic, or where there is no distribution.
        """
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()

    def predict_values(self, obs: th.Tensor) -> th.Tensor:
        """State values, shape (n, 1)."""
        raise NotImplementedError
