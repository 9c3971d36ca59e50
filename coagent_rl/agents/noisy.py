"""What agents share whose neurons are deterministic with noise added: the policy, the noise, their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.block import LARGEST, SCALED
from coagent_rl.agents.holding import check_firing
from coagent_rl.agents.policy import CoagentPolicy, hidden_sizes
from coagent_rl.agents.spaces import in_space, n_actions
from coagent_rl.networks import UNIT_KINDS, Layer
from coagent_rl.networks.units import GAUSSIAN
from coagent_rl.noise import Noise
from coagent_rl.schedules import LearningRate

TWO_SIDED = ("gaussian_tanh", "gaussian_linear")
"""Kinds of output units whose mean takes both signs."""


def is_gaussian(kind: str) -> bool:
    """Whether units of this kind put out a mean plus noise."""
    return UNIT_KINDS.get(kind, (None,))[0] == GAUSSIAN


class BoundedPolicy(CoagentPolicy):
    """A policy whose output neurons are bounded like the others: one per action.

    For `Box` actions an output of -1 is the lower bound and one of 1 the upper; of discrete actions (of each group of them)
    the one with the largest output is taken, and a binary one is 1 where its output is positive. ``output_units`` is a kind
    of Gaussian units, Gaussian meaning that noise is added to them, for `Box` and binary actions one whose mean can be
    negative.
    """

    action_maps = {  # noqa: RUF012  as in `CoagentPolicy`
        spaces.Box: "scaled",
        spaces.Discrete: "largest",
        spaces.MultiDiscrete: "groups",
        spaces.MultiBinary: "positive",
    }

    def _output_layer(self, kind: str, temperature: float, learned_deviation: bool) -> Layer:
        space = self.action_space
        if not is_gaussian(kind):
            raise ValueError(f"The output neurons must be Gaussian, a mean with noise added, not {kind!r}.")
        if isinstance(space, spaces.Box | spaces.MultiBinary) and kind not in TWO_SIDED:
            raise ValueError(
                f"For {type(space).__name__} actions output_units must be one of {TWO_SIDED}, which take both signs, "
                f"not {kind!r}."
            )
        return Layer(kind, n_actions(space), temperature)

    @property
    def action_kind(self) -> int | None:
        if type(self).to_actions is not BoundedPolicy.to_actions:
            return None
        return LARGEST if self._is_index else (SCALED if self._is_vector else None)

    def to_actions(self, outputs: np.ndarray) -> np.ndarray:
        if self._bounds is None:
            return super().to_actions(outputs)
        low, high = self._bounds
        # Clipped last, because an output of 1 may be rounded to something above the bound.
        scaled = np.clip(low + (outputs + 1.0) * 0.5 * (high - low), low, high)
        return scaled if self._is_vector else in_space(self.action_space, scaled)

    def _chosen(self, outputs: np.ndarray) -> np.ndarray:
        if isinstance(self.action_space, spaces.MultiDiscrete):
            groups = np.split(outputs, np.cumsum(self.action_space.nvec.reshape(-1))[:-1], axis=1)
            return np.stack([group.argmax(axis=1) for group in groups], axis=1)
        return outputs > 0.0 if isinstance(self.action_space, spaces.MultiBinary) else super()._chosen(outputs)


class NoisyNeurons(CoagentAlgorithm):
    """Base of the agents whose neurons put out a mean plus noise of fixed size.

    Args:
        hidden_noise, output_noise: standard deviation of the noise of hidden and of output neurons.
        noise_correlation_rate: θ of the Ornstein-Uhlenbeck noise of all neurons in (0, 1]; 1 is white noise.
        exploration_probability: of each hidden neuron at each step; the others put out their mean. Output neurons always
            explore.

    The others are those of `CoagentAlgorithm`. In ``policy_kwargs``, ``units`` and ``output_units`` (both
    ``"gaussian_tanh"``) are kinds of Gaussian units.
    """

    policy_aliases = {"MlpPolicy": BoundedPolicy, "MultiInputPolicy": BoundedPolicy}  # noqa: RUF012  as in Stable-Baselines3
    default_rates = {"actor_learning_rate": 1e-4, "critic_learning_rate": 2e-3}  # noqa: RUF012

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        hidden_noise: float = 0.2,
        output_noise: float = 0.4,
        noise_correlation_rate: float = 0.25,
        exploration_probability: float = 1.0,
        gamma: float = 0.99,
        critic_lambda: float = 0.9,
        **kwargs: Any,
    ) -> None:
        self.hidden_noise = hidden_noise
        self.output_noise = output_noise
        self.noise_correlation_rate = noise_correlation_rate
        self.exploration_probability = exploration_probability
        rates = (actor_learning_rate, critic_learning_rate)
        super().__init__(policy, env, *rates, gamma=gamma, critic_lambda=critic_lambda, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw rates, λ, γ and noise."""
        drawn = search.noisy_neurons(trial, settings)
        if cls.actor_has_traces:
            choices = (0.8, 0.9, 0.95)
            λ = drawn["critic_lambda"] if "critic_lambda" in drawn else trial.suggest_categorical("actor_lambda", choices)
            drawn["actor_lambda"] = λ
        return drawn

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_share("noise_correlation_rate")
        self._check_share("exploration_probability")
        self._check_positive("hidden_noise")
        self._check_positive("output_noise")

    def _policy_arguments(self) -> dict[str, Any]:
        if not issubclass(self.policy_class, BoundedPolicy):
            raise ValueError(f"The policy must be 'MlpPolicy' or a subclass of BoundedPolicy, not {self.policy_class}.")
        if self.policy_kwargs.get("learned_deviation"):
            raise ValueError("learned_deviation is not defined here: the neurons' noise is not learned.")
        for key, argument in (
            ("variance", "hidden_noise and output_noise"),
            ("exploration_probability", "exploration_probability"),
        ):
            if key in self.policy_kwargs:
                raise ValueError(f"policy_kwargs must not hold {key!r} here: the agent's argument is {argument}.")
        units = self.policy_kwargs.get("units", "gaussian_tanh")
        if not all(is_gaussian(kind) for kind in (units if isinstance(units, list | tuple) else [units])):
            raise ValueError(f"{self.algorithm} trains Gaussian units (a mean with noise added), not {units!r}.")
        n_hidden = len(hidden_sizes(self.policy_kwargs.get("net_arch"))[0])
        return {
            "units": units,
            "output_units": "gaussian_tanh",
            "variance": [self.hidden_noise**2] * n_hidden + [self.output_noise**2],
            "deterministic_mode": "mean",
            "exploration_probability": self.exploration_probability,
        }

    def _check_networks(self, policy: CoagentPolicy) -> None:
        super()._check_networks(policy)
        check_firing(policy, None, self.algorithm)

    def _draw_noise(self, noise: Noise) -> None:
        rate, policy = float(self.noise_correlation_rate), self.policy
        noise.draw_block(
            policy.actor, self.n_envs, policy.exploration_probability, rate, persistence=policy.noise_persistence
        )
