"""How a policy acts: what ``deterministic=True`` means, the distribution of its actions, and its export."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecNormalize

from coagent_rl import exported
from coagent_rl.agents.block import CLIPPED, LARGEST, SCALED
from coagent_rl.agents.holding import sample_holding
from coagent_rl.exported import LayerArrays, hash_of, hashed_noise, most_likely_noise, symmetric
from coagent_rl.files import write_whole
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
    deterministic_mode: str
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
        if th.jit.is_tracing() or th.compiler.is_exporting():
            return self._torch_actions(observation, deterministic)
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

    def forward(self, obs: th.Tensor, deterministic: bool = False) -> th.Tensor:
        """Actions for a batch of observations, as `_predict`; it can be traced by ``torch.jit`` and exported to ONNX.

        Raises:
            ValueError: where it is traced without ``deterministic``, or in a mode that is not repeatable.
        """
        return self._predict(obs, deterministic)

    # ------------------------------------------------------------------ in torch

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

    def _torch_layers(self) -> list[LayerArrays]:
        layers = []
        for layer, module in zip(self._layers(), self.actor_layers, strict=True):  # type: ignore[arg-type]
            learned = getattr(module, "log_deviation", None)
            layers.append(
                layer._replace(
                    weight=module.weight,
                    bias=module.bias,
                    deviation=float(layer.deviation) if learned is None else learned.exp(),
                    levels=th.as_tensor(layer.levels),
                    coupling=None if layer.coupling is None else th.as_tensor(layer.coupling),
                )
            )
        return layers

    def _torch_actions(self, observation: th.Tensor, deterministic: bool) -> th.Tensor:
        mode, repeatable = self.deterministic_mode, exported.REPEATABLE
        if not deterministic or mode not in repeatable:
            what = f"the deterministic_mode {mode!r}" if deterministic else "deterministic=False"
            raise ValueError(
                f"A trace records one function of the observation, but {what} draws anew in every call: trace "
                f"deterministic=True with one of the modes {', '.join(repeatable)}."
            )
        layers, last = self._torch_layers(), self.actor.depth - 1
        inputs = self._torch_inputs(observation)
        if mode == "marginal":
            bank, network = th.as_tensor(self.bank), self.actor
            means, _ = exported.forward(
                inputs[:, None, :],
                layers,
                lambda i: bank[:, network.slot(i).start :][:, : layers[i].n_noise] if i < last else None,
                th,
            )
            return self._torch_map(means.mean(1))
        key = hash_of(inputs, th) if mode == "hashed" else None
        probability = self.exploration_probability

        def noise(i: int) -> th.Tensor | None:
            if key is not None:
                return hashed_noise(key, i, layers[i], probability if i < last else 1.0, th)
            if mode == "mean" or i == last:
                return None
            return th.full((1, layers[i].n_noise), most_likely_noise(layers[i]))

        return self._torch_map(exported.forward(inputs, layers, noise, th)[1])

    def _torch_inputs(self, observation: th.Tensor) -> th.Tensor:
        space = self.observation_space
        if isinstance(space, spaces.Discrete):
            states = observation.long().reshape(-1) - int(space.start)
            return (states[:, None] == th.arange(int(space.n))).float()
        self._check_box("traced")
        return observation.float().reshape(-1, self.actor.n_inputs)

    def _torch_map(self, outputs: th.Tensor) -> th.Tensor:
        kind = self._known_kind("traced")
        if kind == LARGEST:
            return outputs.argmax(1) + int(getattr(self.action_space, "start", 0))
        assert isinstance(self.action_space, spaces.Box)
        low, high = th.as_tensor(self.action_space.low), th.as_tensor(self.action_space.high)
        if kind == SCALED:
            outputs = low + (outputs + 1.0) * 0.5 * (high - low)
        return th.minimum(th.maximum(outputs, low), high)

    def _known_kind(self, what: str) -> int:
        kind = self.action_kind
        if kind not in (LARGEST, CLIPPED, SCALED) or not isinstance(self.action_space, spaces.Box | spaces.Discrete):
            raise ValueError(f"{type(self).__name__} turns outputs into actions in a way of its own: it cannot be {what}.")
        return kind

    def _check_box(self, what: str) -> None:
        if not isinstance(self.observation_space, spaces.Box):
            raise ValueError(
                f"Observations must be a Box or Discrete for the policy to be {what}: {self.observation_space}."
            )

    # ------------------------------------------------------------------ the distribution of actions

    def get_distribution(self, obs: th.Tensor) -> Distribution:
        """The marginal distribution of actions, π(a|s) = E[π(a | hidden values)], estimated with the noise of the `bank`.

        Its ``mode()`` is the action of the mode "marginal" (before it is clipped to the bounds).

        Args:
            obs: shape (n, …), as `obs_to_tensor` gives it.

        Raises:
            ValueError: where the largest of noisy outputs is taken, the probabilities of which have no closed form.
        """
        kind, layer = self._known_kind("asked for a distribution"), self.actor.layers[-1]
        if kind == LARGEST and layer.is_gaussian:
            raise ValueError(
                "The action is the largest of noisy outputs, whose probabilities have no closed form: there is no "
                "distribution of it. predict(…, deterministic=False) draws from it."
            )
        means = th.as_tensor(self.marginal_means(self.encode(obs.numpy())))
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

    # ------------------------------------------------------------------ export

    def export(self, path: str | os.PathLike[str], normalizer: VecNormalize | None = None) -> None:
        """Write all that acting needs to one ``.npz``, which `coagent_rl.exported.ExportedAgent` reads with NumPy alone.

        Args:
            path: of the file; ``.npz`` is added where it is missing.
            normalizer: whose observations the agent learned from, ``model.get_vec_normalize_env()``; exported with it, the
                agent takes observations as the environment gives them.

        Raises:
            ValueError: if parameters are not finite, for observations or actions of a kind that the file does not know, or
                a normaliser of other observations.
        """
        actor, space = self.actor, self.observation_space
        kind = self._known_kind("exported")
        if not np.isfinite(actor.parameters).all():
            raise ValueError("The actor's parameters are not all finite: it has diverged, and is not exported.")
        encoding: dict[str, Any] = {"kind": "flat", "shape": list(space.shape or ())}
        arrays: dict[str, np.ndarray] = {}
        if isinstance(space, spaces.Discrete):
            encoding.update(kind="one_hot", start=int(space.start))
        else:
            self._check_box("exported")
        if normalizer is not None and normalizer.norm_obs:
            if not isinstance(space, spaces.Box) or normalizer.observation_space.shape != space.shape:
                raise ValueError(f"The normaliser is of {normalizer.observation_space}, the policy of {space}.")
            statistics: Any = normalizer.obs_rms
            arrays.update(mean=statistics.mean.reshape(-1), variance=statistics.var.reshape(-1))
            encoding.update(epsilon=float(normalizer.epsilon), clip=float(normalizer.clip_obs))
        names = {LARGEST: "largest", CLIPPED: "clipped", SCALED: "scaled"}
        if isinstance(self.action_space, spaces.Box):
            arrays.update(low=self.action_space.low, high=self.action_space.high)
        description = {
            "format": exported.FORMAT,
            "n_inputs": actor.n_inputs,
            "layers": [asdict(layer) for layer in actor.layers],
            "mode": self.deterministic_mode,
            "exploration_probability": float(self.exploration_probability),
            "encoding": encoding,
            "action": {"map": names[kind], "start": int(getattr(self.action_space, "start", 0))},
        }
        starts = [actor.slot(index).start for index in range(actor.depth)]
        columns = np.concatenate(
            [first + np.arange(layer.n_noise) for first, layer in zip(starts, actor.layers, strict=True)]
        )
        arrays.update(parameters=actor.parameters, bank=self.bank[:, columns], description=np.array(json.dumps(description)))
        target = Path(path)
        if target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        write_whole(target, lambda beside: np.savez(beside, **arrays))  # type: ignore[arg-type]
