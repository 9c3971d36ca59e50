"""What all agents share: the training loop, saving and loading, logging."""

from __future__ import annotations

import inspect
import io
import json
import numbers
import pickle
import sys
import time
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv

from coagent_rl.agents.policy import CoagentPolicy, check_action_space, observation_size
from coagent_rl.critics import MAPPropCritic, RewardCritic, TDLambdaCritic
from coagent_rl.envs.vec_env import SerialVecEnv
from coagent_rl.files import write_whole
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.forward import VALUES, forward
from coagent_rl.networks.units import SAMPLE
from coagent_rl.noise import Noise
from coagent_rl.schedules import LinearSchedule, Rates, as_schedule

SelfCoagent = TypeVar("SelfCoagent", bound="CoagentAlgorithm")

TRUNCATIONS = ("bootstrap", "zero_td_error")
CRITICS = {"td": "softplus", "map_prop": "gaussian_softplus", None: "softplus"}
"""Name of a critic → its hidden units, where the user names none."""


class CoagentAlgorithm(BaseAlgorithm):
    """Actor-critic with eligibility traces whose actor is a coagent network.

    Each environment step is one learning step: the critic turns the transition into a TD error, the rule (a subclass) turns
    the TD error into a signal for every unit, and trace × signal moves the parameters.

    Args:
        policy: ``"MlpPolicy"`` or a subclass of `CoagentPolicy`.
        env: a Gymnasium environment, its id, or a Stable-Baselines3 vectorised environment of any size. With several, each
            has traces of its own and the updates are averaged.
        actor_learning_rate, critic_learning_rate: a number, one per layer (input side → output), or a `LinearSchedule`;
            None is 1e-2 for the first layer and 1e-4 for the others.
        gamma: discount γ.
        actor_lambda, critic_lambda: trace decay rates λ; traces decay by γλ per step.
        temperature: of the output layer's softmax.
        critic: ``"td"``, a network trained by TD(λ) with backprop, ``"map_prop"``, one of Gaussian units trained by MAP
            Propagation, or None: the reward is the reinforcement.
        critic_kwargs: what `MAPPropCritic` takes besides.
        optimizer: of actor and critic, ``"adam"``, ``"rmsprop"`` or ``"sgd"``.
        weight_decay: c in the actor's -2cw.
        frozen_layers: actor layers that keep their initial parameters, by index, or ``"hidden"`` for all but the output: the
            control that shows what the hidden units' learning adds.
        truncation: where a time limit cuts an episode, ``"bootstrap"`` from the last observation, or take a
            ``"zero_td_error"`` as the papers' code does.
        reward_clip: clip the rewards that are learned from to ±``reward_clip``; reported returns stay as they are.
        policy_kwargs: see `CoagentPolicy`, e.g. ``dict(net_arch=dict(pi=[64, 32], vf=[64, 32]))``.
        stats_window_size, tensorboard_log, verbose, seed: as in Stable-Baselines3.
        device: accepted for compatibility; everything runs on the CPU.

    Raises:
        ValueError: for unsupported spaces, learning rates that do not match the layers, or other values out of range.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": CoagentPolicy}
    policy: CoagentPolicy
    supported_action_spaces: ClassVar[tuple[type[spaces.Space[Any]], ...]] = (spaces.Discrete, spaces.Box)
    supports_multi_env: ClassVar[bool] = True
    actor_has_traces: ClassVar[bool] = True
    """What an agent cannot do it says in these; the last is whether ``actor_lambda`` may be other than 0."""

    def __init__(
        self,
        policy: str | type[CoagentPolicy],
        env: GymEnv | str | None,
        actor_learning_rate: Rates | LinearSchedule | None = None,
        critic_learning_rate: Rates | LinearSchedule | None = None,
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
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: Any = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if not isinstance(policy_kwargs, Mapping | None):
            raise ValueError(f"policy_kwargs must be a dictionary, not {policy_kwargs!r}.")
        if isinstance(stats_window_size, bool) or not isinstance(stats_window_size, int) or stats_window_size < 1:
            raise ValueError(f"stats_window_size must be a whole number from 1, not {stats_window_size!r}.")
        super().__init__(
            policy,
            env,
            learning_rate=0.0,  # every layer has its own rate below
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device="cpu",
            support_multi_env=True,
            seed=seed,
        )
        if not issubclass(self.policy_class, CoagentPolicy):
            raise ValueError(f"The policy must be 'MlpPolicy' or a subclass of CoagentPolicy, not {policy!r}.")
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
        self.noise: Noise | None = None
        self.critic_noise: Noise | None = None
        if _init_setup_model:
            self._setup_model()

    # ------------------------------------------------------------------ the rule, given by a subclass

    @abstractmethod
    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        """Change the actor's parameters by what the rule makes of the TD errors.

        ``actor.activity`` holds what the units did in the step that ``td_errors`` (n_envs,) judges.
        """

    def _policy_arguments(self) -> dict[str, Any]:
        """Arguments of the policy that a rule needs to be different; the user's ``policy_kwargs`` win."""
        return {}

    def _critic_arguments(self) -> dict[str, Any]:
        """Arguments of the critic that go with the rule; the user's ``critic_kwargs`` win."""
        return {}

    def _needs_delay_line(self) -> bool:
        """Whether the rule reads the ring of past steps, `Learner.ring`."""
        return False

    def _check_networks(self, policy: CoagentPolicy) -> None:
        """Raise a ValueError where the rule is not defined for the network's hidden units."""
        for layer in policy.actor.layers[:-1]:
            if not layer.is_stochastic:
                raise ValueError(
                    f"{self.algorithm} trains stochastic hidden units (each learns from its own exploration), "
                    f"not {layer.kind!r} ones."
                )

    def _check_arguments(self) -> None:
        """Raise a ValueError for values out of range; called where a model is made and where one is loaded."""
        for name in ("gamma", "actor_lambda", "critic_lambda", "temperature", "weight_decay"):
            self._check_number(name)
        for name in ("gamma", "actor_lambda", "critic_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)!r}.")
        if not 0.0 <= self.weight_decay < np.inf:
            raise ValueError(f"weight_decay must be finite and not negative, not {self.weight_decay!r}.")
        if not isinstance(self.critic, str | None) or self.critic not in CRITICS:
            raise ValueError(f"critic must be one of {tuple(CRITICS)}, not {self.critic!r}.")
        if not isinstance(self.critic_kwargs, Mapping | None):
            raise ValueError(f"critic_kwargs must be a dictionary, not {self.critic_kwargs!r}.")
        if self.critic != "map_prop" and self.critic_kwargs:
            raise ValueError(
                f"critic_kwargs are for the critic 'map_prop'; {self.critic!r} takes none: {self.critic_kwargs}."
            )
        if self.truncation not in TRUNCATIONS:
            raise ValueError(f"truncation must be one of {TRUNCATIONS}, not {self.truncation!r}.")

        if self.reward_clip is not None:
            self._check_number("reward_clip")
            if not self.reward_clip > 0.0:
                raise ValueError(f"reward_clip must be positive or None, not {self.reward_clip!r}.")

    def _check_number(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(f"{name} must be a number, not {value!r}.")

    # ------------------------------------------------------------------ construction

    def _setup_model(self) -> None:
        if not isinstance(self.action_space, self.supported_action_spaces):
            kinds = " or ".join(kind.__name__ for kind in self.supported_action_spaces)
            raise ValueError(f"{self.algorithm} takes {kinds} actions, not {self.action_space}.")
        if self.n_envs > 1 and not self.supports_multi_env:
            raise ValueError(f"{self.algorithm} learns from one environment, not from {self.n_envs}.")
        self._check_arguments()
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
        self.policy = policy
        network = policy.actor
        rows = self._learning_rows()
        self.actor = Learner(
            network,
            rows,
            _schedule(self.actor_learning_rate, network.depth, "actor_learning_rate"),
            self.optimizer,
            self.gamma * self.actor_lambda,
            self.weight_decay,
            "actor_learning_rate",
            self._frozen_indices(network.depth),
            self._needs_delay_line(),
        )
        actor_seed, critic_seed = _noise_seeds(self.seed)
        if self.noise is None:
            self.noise = Noise(np.random.default_rng(actor_seed))
        elif self.noise.cursor:  # a loaded model, in the middle of a block
            self._draw_noise(self.noise)
        if self.critic_noise is None and self.critic == "map_prop":
            self.critic_noise = Noise(np.random.default_rng(critic_seed))
        self.critic_model = self._make_critic(self.policy.value)
        self._acting = self.actor.activity if rows == self.n_envs else network.activity(self.n_envs)
        self._never = np.zeros(self.n_envs, dtype=bool)

    def _make_critic(self, network: Network | None) -> TDLambdaCritic | MAPPropCritic | RewardCritic:
        if network is None:
            return RewardCritic(self._learning_rows())
        if any(layer.is_stochastic for layer in network.layers) != (self.critic == "map_prop"):
            kind = "deterministic" if self.critic == "td" else "Gaussian"
            raise ValueError(f"The critic {self.critic!r} trains {kind} hidden units, not {network.layers[0].kind!r} ones.")
        learner = Learner(
            network,
            self._learning_rows(),
            _schedule(self.critic_learning_rate, network.depth, "critic_learning_rate"),
            self.optimizer,
            self.gamma * self.critic_lambda,
            name="critic_learning_rate",
        )
        if self.critic == "td":
            return TDLambdaCritic(learner, self.gamma)
        assert self.critic_noise is not None
        arguments = {**self._critic_arguments(), **(self.critic_kwargs or {})}
        known = list(inspect.signature(MAPPropCritic).parameters)[3:]
        if unknown := set(arguments) - set(known):
            raise ValueError(f"critic_kwargs: unknown {', '.join(map(repr, sorted(unknown)))}; known: {', '.join(known)}.")
        return MAPPropCritic(learner, self.gamma, self.critic_noise, **arguments)

    def _frozen_indices(self, depth: int) -> tuple[int, ...]:
        if self.frozen_layers == "hidden":
            return tuple(range(depth - 1))
        indices = self.frozen_layers
        is_list = isinstance(indices, Sequence) and not isinstance(indices, str)
        if not is_list or not all(type(index) is int and 0 <= index < depth for index in indices):
            raise ValueError(
                f"frozen_layers must be 'hidden' or indices of layers from 0 to {depth - 1}, not {self.frozen_layers!r}."
            )
        return tuple(index for index in indices if isinstance(index, int))

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the environments, the noise of training and that of `predict`; initial parameters stay as they are."""
        super().set_random_seed(seed)
        if seed is not None and getattr(self, "policy", None) is not None:
            actor_seed, critic_seed = _noise_seeds(seed)
            self.noise = Noise(np.random.default_rng(actor_seed))
            if isinstance(self.critic_model, MAPPropCritic):
                self.critic_model.noise = self.critic_noise = Noise(np.random.default_rng(critic_seed))
            self.policy.seed_predictions(seed)

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        env = maybe_make_env(env, verbose)
        if isinstance(env, gym.Env):
            monitored = Monitor(env) if monitor_wrapper and not is_wrapped(env, Monitor) else env
            env = SerialVecEnv([lambda: monitored])
        observation_size(env.observation_space)
        check_action_space(env.action_space)
        return BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)

    # ------------------------------------------------------------------ training

    def learn(
        self: SelfCoagent,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfCoagent:
        """Train for ``total_timesteps`` environment steps, one learning step each.

        Args:
            log_interval: number of finished episodes between two log entries (at least 1 000 time steps apart), or None.

        The others are as in Stable-Baselines3. Learning never pauses, so one call is one rollout for callbacks.
        ``learn(n); learn(n, reset_num_timesteps=False)`` equals ``learn(2n)``.

        Raises:
            ValueError: if an observation, a reward or a TD error is NaN or infinite, before anything is learned from it; if
                the actor's parameters have diverged; for observations of another shape than the space's.
        """
        if self.env is None:
            raise ValueError("There is no environment to learn from: give one to load, or call set_env.")
        if not isinstance(total_timesteps, numbers.Real) or np.isnan(float(total_timesteps)):
            raise ValueError(f"total_timesteps must be a number, not {total_timesteps!r}.")
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name or self.algorithm, progress_bar
        )
        env = self.env
        assert env is not None
        assert self.noise is not None
        assert self._last_episode_starts is not None
        callback.on_training_start(locals(), globals())
        callback.on_rollout_start()
        policy, network, noise = self.policy, self.policy.actor, self.noise
        structure = (network.layout, network.constants, network.parameters, self._acting)
        outputs = self._acting[VALUES][:, network.slot(-1)]
        clip = self.reward_clip
        zero_where_truncated = self.truncation == "zero_td_error"
        last_logged, last_logged_at = self._episode_num, self.num_timesteps
        observations = self._encode(self._last_obs, self.n_envs)

        while self.num_timesteps < total_timesteps:
            if noise.cursor >= len(noise.block):
                noise.cursor = 0
                self._draw_noise(noise)
            if not forward(*structure, observations, noise.block, noise.cursor, SAMPLE):
                self._raise_not_finite(observations, None)
            noise.cursor += 1
            actions = policy.to_actions(outputs)

            new_obs, rewards, dones, infos = env.step(actions)
            next_inputs = self._encode(new_obs, self.n_envs)
            ended = int(np.count_nonzero(dones))
            if ended:
                ends, truncated = self._ends(next_inputs, dones, infos)
                terminated = dones & ~truncated
                ignored = truncated if zero_where_truncated else self._never
            else:
                ends, terminated, ignored = next_inputs, dones, self._never
            episode_starts = self._last_episode_starts
            # NaN stays NaN, but clipping would hide an infinite reward.
            learned = rewards if clip is None or not np.isfinite(rewards).all() else np.clip(rewards, -clip, clip)
            self._learn_from(observations, learned, ends, terminated, ignored, episode_starts)
            self.num_timesteps += self.n_envs
            self._n_updates += 1

            self._last_obs = new_obs
            self._last_episode_starts = dones
            observations = next_inputs
            self._update_info_buffer(infos, dones)
            self._episode_num += ended
            callback.update_locals(locals())
            if not callback.on_step():
                break
            if (
                ended
                and log_interval is not None
                and self._episode_num - last_logged >= log_interval
                and self.num_timesteps - last_logged_at >= 1000
            ):
                last_logged, last_logged_at = self._episode_num, self.num_timesteps
                self.dump_logs()

        callback.on_rollout_end()
        callback.on_training_end()
        return self

    def _encode(self, observations: Any, n_rows: int) -> np.ndarray:
        n_inputs = self.policy.actor.n_inputs
        # Kernels do not look whether an array is as long as it should be.
        if observations.size == n_rows * n_inputs or isinstance(self.observation_space, spaces.Discrete):
            inputs = self.policy.encode(observations)
            if inputs.shape == (n_rows, n_inputs):
                return inputs
        raise ValueError(
            f"Observations of shape {observations.shape} were given where {n_rows} of the space {self.observation_space} "
            f"were expected."
        )

    def _td_errors(self) -> np.ndarray:
        """TD errors of the last learning step, for the logger."""
        return self.critic_model.td_errors

    def _learning_rows(self) -> int:
        """Return the number of transitions that one learning step learns from."""
        return self.n_envs

    def _learn_from(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        ends: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
    ) -> None:
        """One learning step from one transition per environment, which ends in ``ends``; see `TDLambdaCritic.learn`."""
        critic = self.critic_model
        if not critic.learn(observations, rewards, ends, terminated, ignored, episode_starts, self.num_timesteps):
            self._raise_not_finite(ends, rewards)
        self._learn_actor(self.actor, critic.td_errors, episode_starts)

    def _draw_noise(self, noise: Noise) -> None:
        """Draw the next block of the actor's noise."""
        noise.draw_block(self.policy.actor, self.n_envs, self.policy.exploration_probability)

    def _ends(
        self, next_inputs: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Network inputs with the terminal observation where an episode ended, and which of the ends were cuts."""
        ends, truncated = next_inputs.copy(), np.zeros_like(dones)
        for row in np.flatnonzero(dones):
            ends[row] = self._encode(np.asarray(infos[row]["terminal_observation"])[None], 1)[0]
            truncated[row] = infos[row].get("TimeLimit.truncated", False)
        return ends, truncated

    def _raise_not_finite(self, inputs: np.ndarray, rewards: np.ndarray | None) -> None:
        for name, rows in (("observation", inputs), ("reward", rewards)):
            if rows is None:
                continue
            for row, values in enumerate(np.atleast_1d(rows)):
                if not np.all(np.isfinite(values)):
                    raise ValueError(
                        f"The {name} of environment {row} is not finite at time step {self.num_timesteps}: {values}. "
                        f"Nothing was learned from it; the parameters are those of the last finite step."
                    )
        if rewards is None:
            raise ValueError(
                f"The actor's units are not finite at time step {self.num_timesteps}: its parameters have diverged. Lower "
                f"actor_learning_rate or normalise observations and rewards."
            )
        raise ValueError(
            f"The TD error is not finite at time step {self.num_timesteps}: the parameters of the critic have diverged, or "
            f"the relaxation of a MAP Propagation critic. Lower the learning rates (critic_learning_rate first) or "
            f"normalise observations and rewards."
        )

    def dump_logs(self) -> None:
        """Write the running statistics to the logger."""
        assert self.ep_info_buffer is not None
        elapsed = max((time.time_ns() - self.start_time) / 1e9, sys.float_info.epsilon)
        if self.ep_info_buffer:
            self.logger.record("rollout/ep_rew_mean", safe_mean([info["r"] for info in self.ep_info_buffer]))
            self.logger.record("rollout/ep_len_mean", safe_mean([info["l"] for info in self.ep_info_buffer]))
        self.logger.record("time/episodes", self._episode_num, exclude="tensorboard")
        self.logger.record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / elapsed))
        self.logger.record("time/time_elapsed", int(elapsed), exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.record("train/td_error", float(np.mean(np.abs(self._td_errors()))))
        self.logger.record("train/actor_learning_rate", float(self.actor.learning_rates(self.num_timesteps)[-1]))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    # ------------------------------------------------------------------ saving and loading

    @property
    def critic_learner(self) -> Learner:
        """The critic's learner; only agents with a critic network have one."""
        assert not isinstance(self.critic_model, RewardCritic)
        return self.critic_model.learner

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names = ["policy", "actor"]
        if not isinstance(self.critic_model, RewardCritic):
            names.append("critic_learner")
        return names, []

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor", "critic_model", "_acting", "_never"]

    def save(
        self,
        path: str | Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """As in Stable-Baselines3, but the file appears whole or not at all: it is written beside and then renamed."""
        if isinstance(path, io.BufferedIOBase):
            super().save(path, exclude, include)
            return
        target = Path(path)
        if target.suffix == "":
            target = target.with_name(target.name + ".zip")
        write_whole(target, lambda beside: super(CoagentAlgorithm, self).save(beside, exclude, include))

    @classmethod
    def load(cls: type[SelfCoagent], path: str | Path | io.BufferedIOBase, *args: Any, **kwargs: Any) -> SelfCoagent:
        """As in Stable-Baselines3. With ``force_reset=False`` and the environment as it was, training goes on bit for bit.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a model, or one of another algorithm.
        """
        where = "the given file" if isinstance(path, io.BufferedIOBase) else _existing(path)
        _check_model_file(where if isinstance(where, Path) else path, str(where), cls.__name__)
        try:
            return super().load(path, *args, **kwargs)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"The parameters in {where} cannot be read, or are of another network: {error}") from error


def _schedule(rates: Rates | LinearSchedule | None, depth: int, name: str) -> LinearSchedule:
    return as_schedule([1e-2] + [1e-4] * (depth - 1) if rates is None else rates, name)


def _noise_seeds(seed: int | None) -> list[np.random.SeedSequence]:
    """Seeds of the actor's and of the critic's noise; the policy takes the two before them."""
    return np.random.SeedSequence(seed).spawn(4)[2:]


def _existing(path: str | Path) -> Path:
    for candidate in (Path(path), Path(f"{path}.zip")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"There is no model at {path} (nor at {path}.zip).")


def _check_model_file(file: Any, name: str, algorithm: str) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            data = json.loads(archive.read("data"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{name} is not a saved model: {error}.") from error
    finally:
        if hasattr(file, "seek"):
            file.seek(0)
    saved = data.get("algorithm") if isinstance(data, dict) else None
    if saved != algorithm:
        raise ValueError(
            f"{name} holds a model of {saved or 'another library'}, not of {algorithm}: load it with its own class."
        )
