"""Decentralized DDPG: every neuron is a deterministic actor with a critic of its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents.noisy import NoisyNeurons
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.deterministic_policy_gradient import CRITIC_KINDS, action_slopes, n_action_features
from coagent_rl.critics.per_neuron import NeuronCritics
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import MEANS, SCORES, SIGNALS, VALUES, means_of_layer
from coagent_rl.networks.layout import END, N_INPUTS, TEMPERATURE, WEIGHTS
from coagent_rl.networks.units import slope
from coagent_rl.optimizers import DIRECTION, ascend
from coagent_rl.schedules import LinearSchedule, Rates, as_schedule
from coagent_rl.traces import accumulate, three_factor_update

TD_SOURCES = ("shared", "neuron")


@kernel
def all_action_slopes(
    layout: Array,
    constants: Array,
    activity: Array,
    critic_layout: Array,
    critic_weights: Array,
    kind: int,
) -> bool:
    """Write SIGNALS, ∂Q/∂a at a = μ(v) of each neuron's own critic, and SCORES, the slopes μ', of all layers and rows.

    Args:
        layout, constants, activity: see `coagent_rl.networks.Network`; VALUES and MEANS are read.
        critic_layout, critic_weights, kind: see `coagent_rl.critics.per_neuron.learn_neuron_critics`.

    Returns:
        Whether all of them are finite; the first that is not ends it.
    """
    for row in range(activity.shape[1]):
        for index in range(layout.shape[0]):
            _, activation, n_in, n, _, _, _, _, _, inputs, slot = layout[index]
            means, slopes = activity[MEANS, row, slot : slot + n], activity[SCORES, row, slot : slot + n]
            slope(activation, constants[index, TEMPERATURE], means, slopes)
            own = critic_weights[critic_layout[index, WEIGHTS] : critic_layout[index, END]]
            n_features = critic_layout[index, N_INPUTS]
            weights = own.reshape(n_features, n)[n_features - n_action_features(kind, n_in) :]
            v = activity[VALUES, row, inputs : inputs + n_in]
            signals = activity[SIGNALS, row, slot : slot + n]
            action_slopes(kind, weights, v, means, slopes, signals)
            for j in range(n):
                if not math.isfinite(signals[j]):
                    return False
    return True


@kernel
def learn_deterministic_policy(
    layout: Array,
    constants: Array,
    settings: Array,
    rates: Array,
    parameters: Array,
    memory: Array,
    traces: Array,
    activity: Array,
    episode_starts: Array,
    time: float,
    critic_layout: Array,
    critic_weights: Array,
    kind: int,
) -> bool:
    """One learning step of all neurons: Δk = ∂Q/∂a ∂a/∂k at a = μ(v), each with its own critic.

    Args:
        layout … activity: see `Learner`; ``activity`` holds VALUES and MEANS of what the neurons did.
        episode_starts: shape (n_rows,); as traces last for one step only, nothing depends on it.
        time: environment steps so far.
        critic_layout, critic_weights, kind: see `coagent_rl.critics.per_neuron.learn_neuron_critics`.

    Returns:
        Whether all slopes ∂Q/∂a are finite; nothing is learned where one is not.

    Source: Silver et al. (2014), eq. 9; Guss (2016), §4.2.
    """
    if not all_action_slopes(layout, constants, activity, critic_layout, critic_weights, kind):
        return False
    accumulate(layout, activity, episode_starts, 0.0, traces)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)
    return True


@kernel
def means_of_values(layout: Array, constants: Array, parameters: Array, activity: Array) -> None:
    """Write the MEANS of all layers and rows, given the VALUES of the layers below."""
    for row in range(activity.shape[1]):
        for index in range(layout.shape[0]):
            means_of_layer(layout, constants, parameters, index, activity[VALUES, row], activity[MEANS, row])


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
        neuron_critic_learning_rate: of the neurons' critics; as the other rates.
        neuron_critic_lambda: trace decay rate of the neurons' critics when learning online; replayed transitions have no
            traces, neither there nor in the shared critic.
        buffer_size: number of transitions to replay, or None to learn online.
        batch_size, learning_starts, train_freq, gradient_steps: with a buffer, as in Stable-Baselines3's DDPG, except that
            exploration is the neurons' from the first step, and that `VecNormalize` normalises transitions once, when
            they are stored. Learning starts when so many transitions are in the buffer.
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

    actor_has_traces = False  # its neurons' critics have them

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: Rates | LinearSchedule | None = 1e-4,
        critic_learning_rate: Rates | LinearSchedule | None = 2e-3,
        *,
        neuron_critic_learning_rate: Rates | LinearSchedule = 2e-3,
        neuron_critic_lambda: float = 0.9,
        critic_kind: str = "compatible",
        td_source: str = "shared",
        buffer_size: int | None = None,
        batch_size: int = 32,
        learning_starts: int = 100,
        train_freq: int = 1,
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
        self.replay_buffer: ReplayBuffer | None = None
        self.replay_rng: np.random.Generator | None = None
        if "critic" not in kwargs:
            kwargs["critic"] = "td" if td_source == "shared" else None
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

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
        whole = {"batch_size": 1, "train_freq": 1, "gradient_steps": 1, "learning_starts": 0}
        for name, least in {**whole, **({} if self.buffer_size is None else {"buffer_size": 1})}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name} must be a whole number from {least}, not {value!r}.")

    def _learning_rows(self) -> int:
        return self.n_envs if self.buffer_size is None else self.batch_size

    def _setup_model(self) -> None:
        super()._setup_model()
        network, rows = self.policy.actor, self._learning_rows()
        self.neuron_critics = NeuronCritics(
            network,
            rows,
            self.critic_kind,
            self.td_source == "shared",
            as_schedule(self.neuron_critic_learning_rate, "neuron_critic_learning_rate"),
            self.optimizer,
            self.gamma,
            self.gamma * self.neuron_critic_lambda if self.buffer_size is None else 0.0,
            self.tau,
        )
        self._always = np.ones(rows, dtype=bool)
        self._value_columns = np.concatenate([np.arange(network.width)[network.slot(i)] for i in range(network.depth)])
        if self.buffer_size is not None:
            self.replay_buffer = ReplayBuffer(
                self.buffer_size,
                spaces.Box(-np.inf, np.inf, (network.n_inputs,), np.float32),
                spaces.Box(-np.inf, np.inf, (self._value_columns.size,), np.float32),
                device="cpu",
                n_envs=self.n_envs,
            )
            capacity = self.replay_buffer.buffer_size * self.n_envs
            if self.learning_starts > capacity:
                raise ValueError(
                    f"learning_starts ({self.learning_starts}) is more than the buffer holds ({capacity} transitions of "
                    f"{self.n_envs} environments): nothing would be learned."
                )
            if self.replay_rng is None:
                self.replay_rng = np.random.default_rng(np.random.SeedSequence(self.seed).spawn(5)[4])

    def set_random_seed(self, seed: int | None = None) -> None:
        """As in `CoagentAlgorithm`, and of the choice of replayed transitions."""
        super().set_random_seed(seed)
        if seed is not None and self.replay_rng is not None and getattr(self, "policy", None) is not None:
            self.replay_rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(5)[4])

    # ------------------------------------------------------------------ learning

    def _learn_from(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        ends: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
    ) -> None:
        network, acting = self.policy.actor, self._acting
        outputs = acting[VALUES][:, network.slot(-1)]
        if isinstance(self.action_space, spaces.Box):
            np.clip(outputs, -1.0, 1.0, out=outputs)  # what the environment saw
        if self.replay_buffer is None:
            self._learn_batch(observations, rewards, ends, terminated, ignored, episode_starts)
            return
        if not (np.isfinite(rewards).all() and np.isfinite(ends).all()):
            self._raise_not_finite(ends, rewards)
        buffer = self.replay_buffer
        # The buffer's mark for time limits is used for steps whose TD error is to be ignored (zero_td_error).
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": bool(flag)} for flag in ignored]
        buffer.add(observations, ends, acting[VALUES][:, self._value_columns], rewards, terminated, infos)
        steps = self.num_timesteps // self.n_envs + 1
        if buffer.size() * self.n_envs >= self.learning_starts and steps % self.train_freq == 0:
            for _ in range(self.gradient_steps):
                self._learn_replayed(buffer)

    def _learn_replayed(self, buffer: ReplayBuffer) -> None:
        assert self.replay_rng is not None
        network, activity = self.policy.actor, self.actor.activity
        steps = self.replay_rng.integers(0, buffer.size(), self.batch_size)
        envs = self.replay_rng.integers(0, self.n_envs, self.batch_size)
        observations = buffer.observations[steps, envs]
        activity[VALUES][:, : network.n_inputs] = observations
        activity[VALUES][:, self._value_columns] = buffer.actions[steps, envs]
        means_of_values(network.layout, network.constants, network.parameters, activity)
        rewards, terminated = buffer.rewards[steps, envs], buffer.dones[steps, envs] > 0.0
        ends, ignored = buffer.next_observations[steps, envs], buffer.timeouts[steps, envs] > 0.0
        self._learn_batch(observations, rewards, ends, terminated, ignored, self._always)

    def _learn_batch(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        ends: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
    ) -> None:
        """Learn from transitions of which ``self.actor.activity`` holds what the neurons did."""
        critic, time = self.critic_model, self.num_timesteps
        if not critic.learn(observations, rewards, ends, terminated, ignored, episode_starts, time):
            self._raise_not_finite(ends, rewards)
        activity, critics = self.actor.activity, self.neuron_critics
        if not critics.learn(activity, critic.td_errors, ends, terminated, ignored, episode_starts, time):
            self._raise_diverged()
        self._learn_actor(self.actor, critic.td_errors, episode_starts)

    def _td_errors(self) -> np.ndarray:
        return self.neuron_critics.errors[:, self._value_columns]

    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        critics = self.neuron_critics
        arguments = (episode_starts, self.num_timesteps, critics.layout, critics.weights, critics.kind)
        if not learn_deterministic_policy(*actor.arguments, *arguments):
            self._raise_diverged()

    def _raise_diverged(self) -> None:
        raise ValueError(
            f"The neurons' critics are not finite at time step {self.num_timesteps}: their weights have diverged. The actor "
            f"did not learn from them. Lower neuron_critic_learning_rate or actor_learning_rate, or normalise observations "
            f"and rewards."
        )

    # ------------------------------------------------------------------ saving and loading

    def save_replay_buffer(self, path: str | Path) -> None:
        """Save the replay buffer, which `save` leaves out, as in Stable-Baselines3, with the layers that it belongs to."""
        if self.replay_buffer is None:
            raise ValueError("There is no replay buffer: buffer_size is None.")
        save_to_pkl(path, (self._shape_of_replay(), self.replay_buffer), self.verbose)

    def load_replay_buffer(self, path: str | Path) -> None:
        """Put back what `save_replay_buffer` saved.

        Raises:
            ValueError: for a buffer of another network, size or number of environments, or another kind of file.
        """
        own, saved = self._shape_of_replay(), load_from_pkl(path, self.verbose)
        if not (isinstance(saved, tuple) and len(saved) == 2 and isinstance(saved[1], ReplayBuffer)):
            raise ValueError(f"{path} does not hold a replay buffer of this package.")
        if saved[0] != own:
            raise ValueError(f"{path} does not hold a replay buffer of this model: it has {saved[0]}, the model {own}.")
        self.replay_buffer = saved[1]

    def _shape_of_replay(self) -> dict[str, Any]:
        network = self.policy.actor
        layers = [(layer.kind, layer.n_values) for layer in network.layers]
        return {"inputs": network.n_inputs, "layers": layers, "environments": self.n_envs, "buffer_size": self.buffer_size}

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, "neuron_critics"], variables

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "neuron_critics", "replay_buffer", "_always", "_value_columns"]
