"""Decentralized DDPG: every neuron is a deterministic actor with a critic of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.noisy import NoisyNeurons
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.agents.rates import RateAttribute
from coagent_rl.agents.replay import Replay, value_columns
from coagent_rl.archive import File
from coagent_rl.arrays import VALUES
from coagent_rl.credit.deterministic_policy_gradient import CRITIC_KINDS, learn_deterministic_policy
from coagent_rl.critics import Critic, NeuronCritics
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.schedules import LearningRate
from coagent_rl.streams import generator

TD_SOURCES = ("shared", "neuron")


class DecentralizedDDPG(NoisyNeurons):
    """Every neuron is a deterministic actor that climbs a small critic of its own (Guss 2016).

    Neuron n puts out a = σ(K v) plus noise, where v are the values of the layer below. Its critic learns how the reward
    depends on v and a, and K moves along ∂Q/∂a ∂a/∂K. No neuron reads another neuron's weights or critic.

    Without a buffer the agent learns online, its critics with eligibility traces. With one it learns from replayed
    minibatches: the noisy values of all neurons are stored with each transition, because a critic learns from what its
    neuron tried, which cannot be recomputed; the means around which they were tried, and all about the next state, are
    computed anew.

    Args:
        critic_kind: ``"compatible"``, ``"quadratic"`` or ``"linear"`` (the paper's), see
            `coagent_rl.credit.deterministic_policy_gradient.CRITIC_KINDS`.
        td_source: where the TD error comes from: ``"shared"``, one state-value critic for all (``critic="td"``), or
            ``"neuron"``, each neuron's own critic with a target copy (the paper's); then there is no other critic, and
            nothing that ``critic_learning_rate`` and ``critic_lambda`` are for.
        neuron_critic_learning_rate: of the neurons' critics; as the other rates. None is ``learning_rate``, and without that
            2e-3.
        neuron_critic_lambda: trace decay rate of the neurons' critics when learning online; replayed transitions have no
            traces, neither there nor in the shared critic.
        buffer_size: number of transitions to replay, or None to learn online.
        batch_size, learning_starts, train_freq, gradient_steps: with a buffer, as in Stable-Baselines3's DDPG, except that
            exploration is the neurons' from the first step, and that `VecNormalize` normalises transitions once, when
            they are stored. Learning starts when so many transitions are in the buffer. ``train_freq`` is a number of steps,
            ``(n, "step")`` or, with one environment, ``(n, "episode")``; ``gradient_steps=-1`` means as many as there were
            transitions since the last time.
        tau: share by which target copies follow (they are used with ``td_source="neuron"``).

    The others are those of `NoisyNeurons` and `CoagentAlgorithm`.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> from coagent_rl import DecentralizedDDPG
        >>> model = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", seed=0).learn(1_000)
        >>> model.num_timesteps
        1000
    """

    rule = staticmethod(learn_deterministic_policy)
    actor_has_traces = False
    default_rates = {**NoisyNeurons.default_rates, "neuron_critic_learning_rate": 2e-3}  # noqa: RUF012
    neuron_critic_learning_rate = RateAttribute()
    assignable = NoisyNeurons.assignable | {"learning_starts", "train_freq", "gradient_steps"}

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        neuron_critic_learning_rate: LearningRate | None = None,
        neuron_critic_lambda: float = 0.9,
        critic_kind: str = "compatible",
        td_source: str = "shared",
        buffer_size: int | None = None,
        batch_size: int = 32,
        learning_starts: int = 100,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        tau: float = 5e-3,
        **kwargs: Any,
    ) -> None:
        self.neuron_critic_learning_rate = neuron_critic_learning_rate
        self.neuron_critic_lambda = neuron_critic_lambda
        self.critic_kind = critic_kind
        self.td_source = td_source
        self.buffer_size = buffer_size
        self.batch_size = batch_size
        self.learning_starts = learning_starts
        self.train_freq = train_freq
        self.gradient_steps = gradient_steps
        self.tau = tau
        self.transitions_since = self.episodes_since = 0  # the last gradient steps
        self.replay_buffer: Replay | None = None
        self.replay_rng: np.random.Generator | None = None
        if "critic" not in kwargs:
            kwargs["critic"] = "td" if td_source == "shared" else None
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw rates, λ, γ and noise, and the rate of the neurons' critics."""
        return search.decentralized_ddpg(trial, settings)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        for name, known in (("critic_kind", tuple(CRITIC_KINDS)), ("td_source", TD_SOURCES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, not {getattr(self, name)!r}.")
        if self.actor_lambda != 0.0:
            raise ValueError(f"actor_lambda must be 0, not {self.actor_lambda!r}: the neurons' critics have the traces.")
        if (self.critic is None) != (self.td_source == "neuron"):
            raise ValueError(f"td_source={self.td_source!r} does not go with critic={self.critic!r}.")
        self._check_share("neuron_critic_lambda", "[0")
        self._check_share("tau")
        if self._train_freq()[1] == "episode" and self.n_envs > 1:
            raise ValueError(
                f"train_freq={self.train_freq!r} counts episodes of one environment, but there are {self.n_envs}."
            )
        whole = {"batch_size": 1, "learning_starts": 0}
        if self.gradient_steps != -1:
            whole["gradient_steps"] = 1
        for name, least in {**whole, **({} if self.buffer_size is None else {"buffer_size": 1})}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                other = ", or -1 for as many as there were transitions" if name == "gradient_steps" else ""
                raise ValueError(f"{name} must be a whole number from {least}{other}, not {value!r}.")
        self._check_learning_starts()

    def _check_learning_starts(self) -> None:
        replay = self.replay_buffer
        if replay is not None and self.learning_starts > replay.capacity:
            raise ValueError(
                f"learning_starts ({self.learning_starts}) is more than the buffer holds ({replay.capacity} "
                f"transitions of {self.n_envs} environments): nothing would be learned."
            )

    def _train_freq(self) -> tuple[int, str]:
        """``train_freq`` as a number and its unit; raises a ValueError where it is something else."""
        given = self.train_freq
        frequency, unit = given if isinstance(given, tuple | list) and len(given) == 2 else (given, "step")
        is_whole = isinstance(frequency, int | np.integer) and not isinstance(frequency, bool)
        if not is_whole or frequency < 1 or unit not in ("step", "episode"):
            raise ValueError(
                f"train_freq must be a whole number from 1, or a pair of one and 'step' or 'episode', not {given!r}."
            )
        return int(frequency), unit

    def _learning_rows(self) -> int:
        return self.n_envs if self.buffer_size is None else self.batch_size

    def _make_critic(self, network: Network | None) -> Critic:
        return NeuronCritics(
            self.policy.actor,
            self._learning_rows(),
            super()._make_critic(network),
            self.critic_kind,
            self._rates_now("neuron_critic_learning_rate", self.policy.actor.depth),
            self.optimizer,
            self.gamma,
            self.gamma * self.neuron_critic_lambda if self.buffer_size is None else 0.0,
            self.tau,
        )

    def _value_critic(self) -> Critic:
        return self.neuron_critics.shared

    def _rated(self) -> dict[str, Learner | NeuronCritics]:
        return {**super()._rated(), "neuron_critic_learning_rate": self.neuron_critics}

    @property
    def neuron_critics(self) -> NeuronCritics:
        """The critics of all neurons."""
        assert isinstance(self.critic_model, NeuronCritics)
        return self.critic_model

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.buffer_size is not None:
            self.replay_buffer = Replay(self.policy.actor, self.buffer_size, self.n_envs)
            self._check_learning_starts()
            if self.replay_rng is None:
                self.replay_rng = generator(self.seed, "replay")

    def set_random_seed(self, seed: int | None = None) -> None:
        """As in `CoagentAlgorithm`, and of the choice of replayed transitions."""
        super().set_random_seed(seed)
        if seed is not None and self.replay_rng is not None and getattr(self, "policy", None) is not None:
            self.replay_rng = generator(seed, "replay")

    # ------------------------------------------------------------------ learning

    def _clips_outputs(self) -> bool:
        return isinstance(self.action_space, spaces.Box)

    def _reason_for_steps(self) -> str | None:
        if self.replay_buffer is not None:
            return "transitions are replayed"
        return None if type(self)._learn_from is DecentralizedDDPG._learn_from else super()._reason_for_steps()

    def _learn_from(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        ends: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
    ) -> None:
        values = self._acting[VALUES]
        if isinstance(self.action_space, spaces.Box):
            outputs = values[:, self.policy.actor.slot(-1)]
            np.clip(outputs, -1.0, 1.0, out=outputs)  # what the environment saw
        replay = self.replay_buffer
        if replay is None:
            super()._learn_from(observations, rewards, ends, terminated, ignored, episode_starts)
            return
        if not (np.isfinite(rewards).all() and np.isfinite(ends).all()):
            self._raise_not_finite(ends, rewards)
        replay.store(observations, rewards, ends, terminated, ignored, values)
        self.transitions_since += self.n_envs
        frequency, unit = self._train_freq()
        if unit == "step" and (self.num_timesteps // self.n_envs + 1) % frequency == 0:
            self._replay()

    def _is_between_updates(self) -> bool:
        return self.transitions_since > 0 and self._train_freq()[1] == "step"

    def _episodes_ended(self) -> None:
        if self.replay_buffer is not None:
            self.episodes_since += 1
            frequency, unit = self._train_freq()
            if unit == "episode" and self.episodes_since >= frequency:
                self._replay()

    def _replay(self) -> None:
        """Learn from replayed transitions, if there are enough."""
        replay, n_steps = self.replay_buffer, self.transitions_since if self.gradient_steps == -1 else self.gradient_steps
        assert replay is not None
        assert self.replay_rng is not None
        self.transitions_since = self.episodes_since = 0
        if replay.n_transitions >= self.learning_starts:
            for _ in range(n_steps):
                super()._learn_from(*replay.draw(self.replay_rng, self.batch_size, self.actor_learner))

    def _td_errors(self) -> np.ndarray:
        if self.td_source == "shared":
            return super()._td_errors()
        return self.neuron_critics.errors[:, value_columns(self.policy.actor)]

    # ------------------------------------------------------------------ saving and loading

    def save_replay_buffer(self, path: File) -> str:
        """Save the replay buffer, which `save` leaves out, as arrays with the layers that it belongs to.

        Args:
            path: a file's name, or a file that is open for binary writing.

        Returns:
            The file's own SHA-256 sum.

        Raises:
            ValueError: if there is no replay buffer.
        """
        if self.replay_buffer is None:
            why = "buffer_size is None" if self.buffer_size is None else "replay_buffer was set to None"
            raise ValueError(f"There is no replay buffer: {why}.")
        return self.replay_buffer.save(path)

    def load_replay_buffer(self, path: File, truncate_last_traj: bool = True) -> str:
        """Put back what `save_replay_buffer` saved, and return the file's own SHA-256 sum.

        Args:
            path: a file's name, or a file that is open for binary reading.
            truncate_last_traj: nothing here, where single transitions are replayed; it is an argument in Stable-Baselines3.

        Raises:
            ValueError: for a buffer of another network, size or number of environments, or another kind of file.
        """
        if self.buffer_size is None:
            raise ValueError("There is no replay buffer: buffer_size is None.")
        if self.replay_buffer is None:
            self.replay_buffer = Replay(self.policy.actor, self.buffer_size, self.n_envs)
        self.replay_buffer.device = self.device  # where `sample` puts its tensors
        return self.replay_buffer.load(path)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, "neuron_critics"], variables

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "replay_buffer"]
