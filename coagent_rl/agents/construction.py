"""How an agent is made: its arguments and their checks, its networks, learners and critic."""

from __future__ import annotations

import inspect
import os
import warnings
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from coagent_rl.agents import search
from coagent_rl.agents.arguments import CRITICS, Arguments
from coagent_rl.agents.logs import N_RECENT
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.agents.rule_checks import check_rule
from coagent_rl.agents.signatures import unknown_argument
from coagent_rl.agents.spaces import check_action_space, observation_size
from coagent_rl.critics import Critic, MAPPropCritic, NeuronCritics, RewardCritic, TDLambdaCritic
from coagent_rl.envs.compiled import twin_of
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import SerialVecEnv
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.units import BERNOULLI, GAUSSIAN, GAUSSIAN_PREACTIVATION, kinds_of
from coagent_rl.noise import Noise
from coagent_rl.optimizers import CRITIC_KAPPA
from coagent_rl.schedules import LearningRate
from coagent_rl.streams import as_seed, generator

UNSAVED = ("recent_errors", "_logged", "_rates_move")


class Construction(Arguments):
    """The part of `CoagentAlgorithm` that makes and checks; the arguments are explained there."""

    policy: CoagentPolicy
    _logged: tuple[int, int]
    _rates_move: bool
    recent_errors: deque[bytes]
    supported_action_spaces: ClassVar[tuple[type[spaces.Space[Any]], ...]] = (
        spaces.Discrete,
        spaces.Box,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
    )
    supports_multi_env: ClassVar[bool] = True
    actor_has_traces: ClassVar[bool] = True
    """What an agent cannot do it says in these; the last is whether ``actor_lambda`` may be other than 0."""
    hidden_kinds: ClassVar[tuple[str, ...] | None] = None
    """The only kinds of hidden units for which the rule is defined; None for all stochastic ones."""

    def __init__(
        self,
        policy: str | type[CoagentPolicy],
        env: GymEnv | str | None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        gamma: float = 0.98,
        actor_lambda: float = 0.0,
        critic_lambda: float = 0.8,
        temperature: float = 1.0,
        critic: str | None = "td",
        critic_kwargs: dict[str, Any] | None = None,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        frozen_layers: str | Sequence[int] = (),
        truncation: str = "bootstrap",
        reward_clip: float | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        learning_rate: LearningRate | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: Any = "auto",
        _init_setup_model: bool = True,
        **unknown: Any,
    ) -> None:
        if unknown:
            name, value = next(iter(unknown.items()))
            raise TypeError(unknown_argument(type(self), name, value, policy if isinstance(policy, type) else None))
        if not isinstance(policy_kwargs, Mapping | None):
            raise ValueError(f"policy_kwargs must be a dictionary, not {policy_kwargs!r}.")
        if isinstance(stats_window_size, bool) or not isinstance(stats_window_size, int) or stats_window_size < 1:
            raise ValueError(f"stats_window_size must be a whole number from 1, not {stats_window_size!r}.")
        self._check_policy(policy)
        if not isinstance(verbose, int) or verbose < 0:
            raise ValueError(f"verbose must be a whole number from 0, not {verbose!r}.")
        if not isinstance(tensorboard_log, str | os.PathLike | None):
            raise ValueError(f"tensorboard_log must be a folder's path or None, not {tensorboard_log!r}.")
        has_critic = (policy_kwargs or {}).get("has_critic", critic is not None)
        if has_critic != (critic is not None):
            raise ValueError(
                f"policy_kwargs: has_critic={has_critic!r} does not go with critic={critic!r}, which says whether "
                f"there is a critic (None for none): leave has_critic away."
            )
        if str(device) not in ("auto", "cpu"):
            warnings.warn(f"Everything runs on the CPU; device={device!r} is ignored.", stacklevel=2)
        super().__init__(
            policy,
            _with_twin(env, verbose),
            learning_rate=learning_rate,  # type: ignore[arg-type]  # every layer has its own
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=None if tensorboard_log is None else os.fspath(tensorboard_log),
            verbose=int(verbose),
            device="cpu",
            support_multi_env=True,
            seed=as_seed(seed),
        )
        if env is None and _init_setup_model:
            raise ValueError("env is None: give an environment, or its id, to learn from.")
        self.algorithm = type(self).__name__
        self.actor_learning_rate = actor_learning_rate
        self.critic_learning_rate = critic_learning_rate
        self.gamma = gamma
        self.actor_lambda = actor_lambda
        self.critic_lambda = critic_lambda
        self.temperature = temperature
        self.critic = critic
        self.critic_kwargs = critic_kwargs
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.frozen_layers = frozen_layers
        self.truncation = truncation
        self.reward_clip = reward_clip
        self.why_step_by_step: str | None = None
        self.noise: Noise | None = None
        self.critic_noise: Noise | None = None
        if _init_setup_model:
            self._setup_model()

    # ------------------------------------------------------------------ the rule, given by a subclass

    @property
    @abstractmethod
    def rule(self) -> Callable[..., bool]:
        """The compiled learning step of the actor, ``(arrays, reinforcements, episode_starts, time) -> bool``.

        See `coagent_rl.credit.reinforce.learn_reinforce` for arguments and result; a subclass says
        ``rule = staticmethod(learn_reinforce)``.
        """

    def _rule_options(self, network: Network) -> Sequence[float]:
        """The numbers that the rule reads from ``learner.options``."""
        return ()

    def _rule_store(self, network: Network, n_rows: int) -> np.ndarray | None:
        """What the rule keeps from step to step in ``learner.store``, four-dimensional."""
        return None

    def _rule_has_traces(self) -> bool:
        """Whether the rule needs traces even where they decay at once."""
        return False

    def _rule_diverged(self) -> str:
        """What to say where the rule finds that its update is not finite."""
        return "The actor's update is not finite: its signals or parameters have diverged. Lower actor_learning_rate"

    def _policy_arguments(self) -> dict[str, Any]:
        """Arguments of the policy that a rule needs to be different; the user's ``policy_kwargs`` win."""
        return {}

    def _critic_arguments(self) -> dict[str, Any]:
        """Arguments of the critic that go with the rule; the user's ``critic_kwargs`` win."""
        return {}

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw the settings that tuning tries next, constructor arguments by name.

        Args:
            trial: suggests values; an Optuna trial, or whatever has its ``suggest_float``, ``suggest_int`` and
                ``suggest_categorical``. A suggestion is named after its setting, see `coagent_rl.agents.search`.
            settings: those that are not drawn, as `load_hyperparameters` gives them: the networks' sizes, whether there is
                a critic, the length of training.

        Returns:
            What replaces the settings of the same names (in ``policy_kwargs``, of the same keys), as YAML can hold it.
        """
        return search.actor_critic(trial, settings, has_traces=cls.actor_has_traces)

    def _check_networks(self, policy: CoagentPolicy) -> None:
        """Raise a ValueError where the rule is not defined for the network's hidden units."""
        for layer in policy.actor.layers[:-1]:
            if self.hidden_kinds is not None and layer.kind not in self.hidden_kinds:
                kinds = ", ".join(map(repr, self.hidden_kinds))
                raise ValueError(f"{self.algorithm} is defined for {kinds} hidden units, not {layer.kind!r} ones.")
            if self.hidden_kinds is None and not layer.is_stochastic:
                possible = ", ".join(kinds_of(BERNOULLI, GAUSSIAN, GAUSSIAN_PREACTIVATION))
                raise ValueError(
                    f"{self.algorithm} trains stochastic hidden units (each learns from its own exploration), "
                    f"not {layer.kind!r} ones; possible are {possible}."
                )

    # ------------------------------------------------------------------ construction

    def _setup_model(self) -> None:
        self.algorithm = type(self).__name__  # a file of a class that this one inherits from names that
        self._check_arguments()
        if not isinstance(self.action_space, self.supported_action_spaces):
            kinds = " or ".join(kind.__name__ for kind in self.supported_action_spaces)
            raise ValueError(f"{self.algorithm} takes {kinds} actions, not {self.action_space}.")
        if self.n_envs > 1 and not self.supports_multi_env:
            raise ValueError(f"{self.algorithm} learns from one environment, not from {self.n_envs}.")
        self.set_random_seed(self.seed)
        arguments = {
            "temperature": self.temperature,
            "has_critic": self.critic is not None,
            "critic_units": CRITICS[self.critic],
            "seed": self.seed,
            **self._policy_arguments(),
            **self.policy_kwargs,
        }
        known = inspect.signature(self.policy_class).parameters
        if unknown := set(arguments) - set(known):
            raise ValueError(f"policy_kwargs: unknown {', '.join(map(repr, sorted(unknown)))}; known: {', '.join(known)}.")
        policy = self.policy_class(self.observation_space, self.action_space, **arguments)
        assert isinstance(policy, CoagentPolicy)
        self._check_networks(policy)
        check_rule(policy, self.rule, self.algorithm)
        self.policy = policy
        policy.normaliser = self.get_vec_normalize_env()
        network = policy.actor
        rows = self._learning_rows()
        self.actor_learner = Learner(
            network,
            rows,
            self._rates_now("actor_learning_rate", network.depth),
            self.optimizer,
            self.gamma * self.actor_lambda,
            self.weight_decay,
            "actor_learning_rate",
            self._frozen_indices(network.depth),
            self._rule_options(network),
            self._rule_store(network, rows),
            self._rule_has_traces(),
            policy.holds_values,
        )
        self._acting = self.actor_learner.activity if rows == self.n_envs else network.activity(self.n_envs)
        if self.noise is None:
            self.noise = Noise(generator(self.seed, "actor_noise"))
        elif self.noise.cursor:  # a loaded model, in the middle of a block
            self._draw_noise(self.noise)
            self.actor_learner.set_noise(self.noise.block)
        if self.critic_noise is None and self.critic == "map_prop":
            self.critic_noise = Noise(generator(self.seed, "critic_noise"))
        self.critic_model = self._make_critic(self.policy.critic)
        self._never = np.zeros(self.n_envs, dtype=bool)
        self.recent_errors = deque(maxlen=N_RECENT)

    def _make_critic(self, network: Network | None) -> Critic:
        actor, rows = self.policy.actor, self._learning_rows()
        if network is None:
            return RewardCritic(actor, rows)
        if any(layer.is_stochastic for layer in network.layers) != (self.critic == "map_prop"):
            kind = "deterministic" if self.critic == "td" else "Gaussian"
            raise ValueError(f"The critic {self.critic!r} trains {kind} hidden units, not {network.layers[0].kind!r} ones.")
        options = [float(self.gamma)]
        if self.critic == "map_prop":
            arguments = {**self._critic_arguments(), **(self.critic_kwargs or {})}
            known = list(inspect.signature(MAPPropCritic.options).parameters)[2:]
            if unknown := set(arguments) - set(known):
                names = ", ".join(map(repr, sorted(unknown)))
                raise ValueError(f"critic_kwargs: unknown {names}; known: {', '.join(known)}.")
            options = MAPPropCritic.options(network, self.gamma, **arguments)
        rate, decay = self._rates_now("critic_learning_rate", network.depth), self.gamma * self.critic_lambda
        own = {"name": "critic_learning_rate", "options": options, "kappa": CRITIC_KAPPA}
        learner = Learner(network, rows, rate, self.optimizer, decay, **own)  # type: ignore[arg-type]
        if self.critic == "td":
            return TDLambdaCritic(actor, learner)
        assert self.critic_noise is not None
        return MAPPropCritic(actor, learner, self.critic_noise)

    def _rated(self) -> dict[str, Learner | NeuronCritics]:
        found: dict[str, Learner | NeuronCritics] = {"actor_learning_rate": self.actor_learner}
        if not isinstance(self._value_critic(), RewardCritic):
            found["critic_learning_rate"] = self.critic_learner
        return found

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the environments, the noise of training and that of `predict`; initial parameters stay as they are."""
        seed = as_seed(seed)
        super().set_random_seed(seed)
        if seed is not None and getattr(self, "policy", None) is not None:
            self.noise = Noise(generator(seed, "actor_noise"))
            if self.critic == "map_prop":
                self.critic_noise = Noise(generator(seed, "critic_noise"))
                self._value_critic().noise = self.critic_noise  # type: ignore[attr-defined]
            self.policy.seed_predictions(seed)

    @staticmethod
    def _wrap_env(env: GymEnv | str, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        env = maybe_make_env(_with_twin(env, verbose), verbose)
        if not (hasattr(env, "observation_space") and hasattr(env, "action_space")):
            raise ValueError(f"env must be an environment, its id, or a vectorised environment, not {env!r}.")
        observation_size(env.observation_space)
        check_action_space(env.action_space)
        if isinstance(env, gym.Env):
            monitored = Monitor(env) if monitor_wrapper and not is_wrapped(env, Monitor) else env
            if verbose >= 1:
                if monitored is not env:
                    print("Wrapping the env with a `Monitor` wrapper")
                print("Wrapping the env in a SerialVecEnv.")
            env = SerialVecEnv([lambda: monitored])
        return BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in Stable-Baselines3."""
        super().set_env(env, force_reset)
        self.policy.normaliser = self.get_vec_normalize_env()

    def _learning_rows(self) -> int:
        """Return the number of transitions that one learning step learns from."""
        return self.n_envs

    def _draw_noise(self, noise: Noise) -> None:
        """Draw the next block of the actor's noise."""
        policy, n, held = self.policy, self.n_envs, self.policy.noise_persistence
        noise.draw_block(policy.actor, n, policy.exploration_probability, persistence=held, rates=policy.firing_rate)

    def _value_critic(self) -> Critic:
        """The critic of state values, which all units share."""
        return self.critic_model

    @property
    def critic_learner(self) -> Learner:
        """The critic's learner; only agents with a critic network have one."""
        critic = self._value_critic()
        assert isinstance(critic, TDLambdaCritic | MAPPropCritic)
        return critic.learner

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names = ["policy", "actor_learner"]
        if not isinstance(self._value_critic(), RewardCritic):
            names.append("critic_learner")
        return names, []

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor_learner", "critic_model", "_acting", "_never", *UNSAVED]


def _with_twin(env: Any, verbose: int) -> Any:
    """The compiled twin of an environment that is given by its id, if it has one; otherwise what is given."""
    twin = twin_of(env, {}) if isinstance(env, str) else None
    if twin is None:
        return env
    if verbose >= 1:
        print(f"Creating environment from the given name '{env}'")
        print("Wrapping the env in a CompiledVecEnv, which monitors itself.")
    return CompiledVecEnv(twin)
