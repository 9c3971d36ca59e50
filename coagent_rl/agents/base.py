"""What all agents share: the training loop and its log."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar, TypeVar

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from coagent_rl.agents.compiled import CompiledTraining, is_nothing, reason_for_steps
from coagent_rl.agents.construction import Construction
from coagent_rl.agents.logs import record_learning, record_training, remembered, run_name
from coagent_rl.agents.normaliser import BeforeStep
from coagent_rl.agents.rule_checks import check_result
from coagent_rl.agents.signatures import show_all_arguments
from coagent_rl.agents.spaces import batch_of_one, describe
from coagent_rl.arrays import NOISE_STEP, VALUES
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import forward
from coagent_rl.networks.units import SAMPLE
from coagent_rl.streams import as_seed

STEPS_BETWEEN_LOGS = 1000  # environment steps at least
FOREVER = 2**62
SelfCoagent = TypeVar("SelfCoagent", bound="CoagentAlgorithm")


class CoagentAlgorithm(Construction):
    """Actor-critic with eligibility traces whose actor is a coagent network.

    Each environment step is one learning step: the critic turns the transition into a TD error, the rule (a subclass) turns
    the TD error into a signal for every unit, and trace × signal moves the parameters.

    Args:
        policy: ``"MlpPolicy"``, for `Dict` observations ``"MultiInputPolicy"``, or a subclass of `CoagentPolicy`.
        env: a Gymnasium environment, its id, or a Stable-Baselines3 vectorised environment of any size. With several, each
            has traces of its own and the updates are averaged.
        actor_learning_rate, critic_learning_rate: a number, one per layer (input side → output), a `LinearSchedule` over
            environment steps, ``"lin_0.001"`` (to zero at the end of ``learn``), one of Stable-Baselines3's schedules, or
            any function of the share of training that remains that pickles (with one, training goes step by step); None is
            ``learning_rate``.
        gamma: discount γ.
        actor_lambda, critic_lambda: trace decay rates λ; traces decay by γλ per step.
        temperature: of the output layer's softmax.
        critic: ``"td"``, a network trained by TD(λ) with backprop, ``"map_prop"``, one of Gaussian units trained by MAP
            Propagation, or None: the reward is the reinforcement.
        critic_kwargs: what `MAPPropCritic` takes besides.
        optimizer: of actor and critic, ``"adam"``, ``"rmsprop"``, ``"sgd"`` or ``"obgd"``, plain steps that the size of the
            traces bounds (Elsayed et al. 2024, with κ of 3 for the actor and 2 for critics), see
            `coagent_rl.optimizers.share_of_step`.
        weight_decay: c in the actor's -2cw.
        frozen_layers: actor layers that keep their initial parameters, by index, or ``"hidden"`` for all but the output: the
            control that shows what the hidden units' learning adds.
        truncation: where a time limit cuts an episode, ``"bootstrap"`` from the last observation, or take a
            ``"zero_td_error"`` as the papers' code does.
        reward_clip: clip the rewards that are learned from to ±``reward_clip``; reported returns stay as they are.
        policy_kwargs: see `CoagentPolicy`, e.g. ``dict(net_arch=dict(pi=[64, 32], vf=[64, 32]))``.
        learning_rate: of all networks that are given none of their own; None is the agent's default, 1e-2 for the first
            layer and 1e-4 for the others where it has none of its own, and 1 for all layers with ``"obgd"``. A model's rates
            may be assigned at any time, or given to `load`; this one then replaces the networks' own.
        stats_window_size, tensorboard_log, verbose, seed: as in Stable-Baselines3.
        device: accepted for compatibility; everything runs on the CPU.

    Raises:
        ValueError: for unsupported spaces, learning rates that do not match the layers, or other values out of range.
    """

    store_is_learned: ClassVar[bool] = True
    """Whether what the rule keeps beside traces is learned, and not drawn."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        show_all_arguments(cls, BaseAlgorithm)

    @classmethod
    def tuned(cls: type[SelfCoagent], env_id: str, seed: int | None = None) -> SelfCoagent:
        """The agent with the settings that are shipped for an environment, in that environment, as ``train.py`` makes it.

        Wrappers and normalisation that the settings name are put around the environment: it is ``model.get_env()``. With the
        same seed, ``learn`` gives the same bits as ``train.py``. How long the settings train, `shipped_settings` says.

        Args:
            env_id: one of those that ``train.py --list`` names for the agent; a subclass has the settings of its parent.
            seed: of parameters, units' noise and environment.

        Raises:
            ValueError: if no settings are shipped for the agent or the environment; it lists those that are.

        Example:
            >>> from coagent_rl import WeightMax
            >>> WeightMax.tuned("CartPole-v1", seed=0).learn(1_000).critic_lambda
            0.8
        """
        from coagent_rl.training.environments import make_environments, normalised
        from coagent_rl.training.hyperparameters import RUN_KEYS, shipped_settings

        seed = as_seed(seed)
        settings = shipped_settings(cls, env_id)
        env = make_environments(env_id, 1, seed, {}, settings.get("env_wrapper"))
        arguments = {key: value for key, value in settings.items() if key not in RUN_KEYS}
        return cls("MlpPolicy", normalised(env, settings.get("normalize")), seed=seed, **arguments)

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
            log_interval: number of finished episodes between two log entries (from the second on at least 1 000 time steps
                apart), or None for none at all; what was not logged yet is logged at the end.
            tb_log_name: of the run in TensorBoard, before its number; None is the agent's name and the environment's.

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
        before_step = BeforeStep(self.get_vec_normalize_env())
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name or run_name(self), progress_bar
        )
        env = self.env
        assert env is not None
        assert self.noise is not None
        assert self._last_episode_starts is not None
        self._logged = self._episode_num, self.num_timesteps - STEPS_BETWEEN_LOGS
        self._set_rates()
        callback.on_training_start(locals(), globals())
        callback.on_rollout_start()
        self.why_step_by_step = reason_for_steps(self, callback)
        try:
            if self.why_step_by_step is None:
                self._learn_compiled(int(min(total_timesteps, FOREVER)), callback, log_interval)
            else:
                self._learn_step_by_step(total_timesteps, callback, log_interval, before_step)
        except ValueError:
            before_step.put_back()
            raise
        callback.on_rollout_end()
        if log_interval is not None and self.num_timesteps > max(self._logged[1], self._num_timesteps_at_start):
            self._log()
            record_learning(self)  # what was dumped is gone from the logger, where users look for it
        callback.on_training_end()
        return self

    def _learn_compiled(self, total_timesteps: int, callback: BaseCallback, log_interval: int | None) -> None:
        """Train in compiled blocks; the same bits as step by step."""
        training = CompiledTraining(self, callback)
        go_on = True
        while go_on and self.num_timesteps < total_timesteps:
            most_steps = min(-(-(total_timesteps - self.num_timesteps) // self.n_envs), training.steps_until_needed())
            stops = [(training.episodes_until_needed(), 0.0)]
            if log_interval is not None:
                episodes, steps = self._episode_num - self._logged[0], self.num_timesteps - self._logged[1]
                stops.append((log_interval - episodes, STEPS_BETWEEN_LOGS - steps))
            if self._rates_move:  # a callback has assigned a function
                self._set_rates()
                most_steps = 1
            n_steps, infos = training.run(int(most_steps), stops)
            go_on = training.ask(n_steps, infos)
            if go_on and training.starts.any() and self._is_time_to_log(log_interval):
                self._log()

    def _is_time_to_log(self, log_interval: int | None) -> bool:
        return (
            log_interval is not None
            and self._episode_num - self._logged[0] >= log_interval
            and self.num_timesteps - self._logged[1] >= STEPS_BETWEEN_LOGS
        )

    def _log(self) -> None:
        self._logged = self._episode_num, self.num_timesteps
        self.dump_logs()

    def _learn_step_by_step(
        self, total_timesteps: float, callback: BaseCallback, log_interval: int | None, before_step: BeforeStep
    ) -> None:
        env, noise = self.env, self.noise
        assert env is not None
        assert noise is not None
        assert self._last_episode_starts is not None
        policy, network = self.policy, self.policy.actor
        holds_values = policy.holds_values
        actor, counters = self.actor_learner, self.actor_learner.counters
        structure = (network.layout, network.constants, self.acting_parameters(actor))
        outputs = self._acting[VALUES][:, network.slot(-1)]
        observations = self._encode(self._last_obs, self.n_envs)
        is_asked = not is_nothing(callback)
        learn_from, encode, n_envs, block = self._learn_from, self._encode, self.n_envs, noise.block
        is_normalised = before_step.env is not None

        while self.num_timesteps < total_timesteps or self._is_between_updates():
            if noise.cursor >= len(block):
                noise.cursor = 0
                self._draw_noise(noise)
                block = noise.block
                actor.set_noise(block)
            if holds_values:
                block[noise.cursor, self._last_episode_starts, self._acting.shape[2] :] = 1.0  # all fire
            if not forward(structure, self._acting, observations, block, noise.cursor, SAMPLE):
                self._raise_not_finite(observations, None)
            counters[NOISE_STEP] = noise.cursor
            noise.cursor += 1
            actions = policy.to_actions(outputs)

            if is_normalised:
                before_step.keep()
            new_obs, rewards, dones, infos = env.step(actions)
            next_inputs = encode(new_obs, n_envs)
            ended = int(np.count_nonzero(dones))
            if ended:
                ends, truncated = self._ends(next_inputs, dones, infos)
                terminated = dones & ~truncated
                ignored = truncated if self.truncation == "zero_td_error" else self._never
            else:
                ends, terminated, ignored = next_inputs, dones, self._never
            episode_starts = self._last_episode_starts
            if self._rates_move:
                self._set_rates()
            clip = self.reward_clip
            # NaN stays NaN, but clipping would hide an infinite reward.
            learned = rewards if clip is None or not np.isfinite(rewards).all() else np.clip(rewards, -clip, clip)
            learn_from(observations, learned, ends, terminated, ignored, episode_starts)
            self.num_timesteps += n_envs

            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = dones
            observations = next_inputs
            if ended:
                self._update_info_buffer(infos, dones)
                self._episode_num += ended
                self._episodes_ended()
            if is_asked:
                callback.update_locals(locals())
                if not callback.on_step():
                    break
            if ended and self._is_time_to_log(log_interval):
                self._log()

    def _encode(self, observations: Any, n_rows: int) -> np.ndarray:
        policy = self.policy
        inputs = policy.encode(observations)
        # Kernels do not look whether an array is as long as it should be.
        if inputs.shape != (n_rows, policy.actor.n_inputs):
            raise ValueError(
                f"Observations of shape {describe(observations)} were given where {n_rows} of the space "
                f"{self.observation_space} were expected."
            )
        return inputs

    def acting_parameters(self, learner: Learner) -> np.ndarray:
        """The parameters that act in training: the network's own, where the rule does not perturb them."""
        return learner.network.parameters

    def _is_between_updates(self) -> bool:
        """Whether there are steps to be finished before training may end; only where it goes step by step."""
        return False

    def _episodes_ended(self) -> None:
        """Do what is to be done after steps with which episodes ended; only where training goes step by step."""

    def _td_errors(self) -> np.ndarray:
        """TD errors of the last learning steps, for the logger."""
        return remembered(self.recent_errors)

    def _clips_outputs(self) -> bool:
        """Whether the outputs are clipped to ±1 before the rule learns from them."""
        return False

    def _reason_for_steps(self) -> str | None:
        """Why training cannot be compiled whatever the environment and the callbacks are, or None."""
        if type(self)._learn_from is not CoagentAlgorithm._learn_from:
            return f"{self.algorithm} learns in a way of its own"
        if self.policy.action_kind is None:
            return f"{type(self.policy).__name__} turns outputs into {self.action_space} in a way of its own"
        return None

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
        critic, actor, time = self.critic_model, self.actor_learner, float(self.num_timesteps)
        transition = (observations, rewards, ends, terminated, ignored, episode_starts)
        if not critic.learn(actor, transition, time):
            self._raise_not_finite(ends, rewards)
        self.recent_errors.append(critic.td_errors.tobytes())
        if not (is_finite := self.rule(actor.arrays, critic.reinforcements, episode_starts, time)):
            check_result(is_finite, self.algorithm)
            self._raise_diverged(self._rule_diverged(), rewards)
        self._n_updates += 1

    def _ends(
        self, next_inputs: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Network inputs with the terminal observation where an episode ended, and which of the ends were cuts."""
        ends, truncated = next_inputs.copy(), np.zeros_like(dones)
        for row in np.flatnonzero(dones):
            ends[row] = self._encode(batch_of_one(infos[row]["terminal_observation"]), 1)[0]
            truncated[row] = infos[row].get("TimeLimit.truncated", False)
        return ends, truncated

    def _raise_not_finite(self, inputs: np.ndarray, rewards: np.ndarray | None) -> None:
        vec = self.get_vec_normalize_env()
        for name, rows, source in (("observation", inputs, "old_obs"), ("reward", rewards, "old_reward")):
            if rows is None or np.isfinite(rows).all():
                continue
            # One number that is not finite makes all normalised ones NaN: what the environments gave says which it was.
            raw = getattr(vec, source, None)
            if isinstance(raw, np.ndarray) and not np.isfinite(raw).all():
                rows = raw
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
        self._raise_diverged(self.critic_model.diverged, rewards)

    def _raise_diverged(self, what: str, rewards: np.ndarray) -> None:
        raise ValueError(
            f"{what}, or normalise observations and rewards. It did not learn from this step. (Time step "
            f"{self.num_timesteps}; the rewards were {rewards}.)"
        )

    def dump_logs(self) -> None:
        """Write the running statistics to the logger; see `coagent_rl.agents.logs`."""
        record_training(self)
        self.logger.dump(step=self.num_timesteps)
