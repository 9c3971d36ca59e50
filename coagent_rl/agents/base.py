"""What all agents share: the training loop and its log."""

from __future__ import annotations

import numbers
import sys
import time
from typing import Any, TypeVar

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import safe_mean

from coagent_rl.agents.compiled import CompiledTraining, is_nothing, reason_for_steps
from coagent_rl.agents.construction import Construction
from coagent_rl.arrays import NOISE_STEP, VALUES
from coagent_rl.networks.forward import forward
from coagent_rl.networks.units import SAMPLE

STEPS_BETWEEN_LOGS = 1000  # environment steps at least
FOREVER = 2**62
SelfCoagent = TypeVar("SelfCoagent", bound="CoagentAlgorithm")


class CoagentAlgorithm(Construction):
    """Actor-critic with eligibility traces whose actor is a coagent network.

    Each environment step is one learning step: the critic turns the transition into a TD error, the rule (a subclass) turns
    the TD error into a signal for every unit, and trace × signal moves the parameters.

    Args:
        policy: ``"MlpPolicy"`` or a subclass of `CoagentPolicy`.
        env: a Gymnasium environment, its id, or a Stable-Baselines3 vectorised environment of any size. With several, each
            has traces of its own and the updates are averaged.
        actor_learning_rate, critic_learning_rate: a number, one per layer (input side → output), or a `LinearSchedule`;
            None is the agent's default, 1e-2 for the first layer and 1e-4 for the others where it has none of its own.
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
        learning_rate: of actor and critic, where they are given none of their own.
        stats_window_size, tensorboard_log, verbose, seed: as in Stable-Baselines3.
        device: accepted for compatibility; everything runs on the CPU.

    Raises:
        ValueError: for unsupported spaces, learning rates that do not match the layers, or other values out of range.
    """

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
        self.why_step_by_step = reason_for_steps(self, callback)
        if self.why_step_by_step is None:
            self._learn_compiled(int(min(total_timesteps, FOREVER)), callback, log_interval)
        else:
            self._learn_step_by_step(total_timesteps, callback, log_interval)
        callback.on_rollout_end()
        callback.on_training_end()
        return self

    def _learn_compiled(self, total_timesteps: int, callback: BaseCallback, log_interval: int | None) -> None:
        """Train in compiled blocks; the same bits as step by step."""
        training = CompiledTraining(self, callback)
        last_logged, last_logged_at, go_on = self._episode_num, self.num_timesteps, True
        while go_on and self.num_timesteps < total_timesteps:
            remaining = -(-(total_timesteps - self.num_timesteps) // self.n_envs)
            stops = [(training.episodes_until_needed(), 0.0)]
            if log_interval is not None:
                since = self._episode_num - last_logged, self.num_timesteps - last_logged_at
                stops.append((log_interval - since[0], STEPS_BETWEEN_LOGS - since[1]))
            n_steps, infos, _ = training.run(int(min(remaining, training.steps_until_needed())), stops)
            go_on = training.ask(n_steps, infos)
            ended = bool(training.starts.any())
            if go_on and ended and self._is_time_to_log(log_interval, last_logged, last_logged_at):
                last_logged, last_logged_at = self._episode_num, self.num_timesteps
                self.dump_logs()

    def _is_time_to_log(self, log_interval: int | None, last_logged: int, last_logged_at: int) -> bool:
        return (
            log_interval is not None
            and self._episode_num - last_logged >= log_interval
            and self.num_timesteps - last_logged_at >= STEPS_BETWEEN_LOGS
        )

    def _learn_step_by_step(self, total_timesteps: float, callback: BaseCallback, log_interval: int | None) -> None:
        env, noise = self.env, self.noise
        assert env is not None
        assert noise is not None
        assert self._last_episode_starts is not None
        policy, network = self.policy, self.policy.actor
        actor, structure, counters = self.actor_learner, network.structure, self.actor_learner.counters
        outputs = self._acting[VALUES][:, network.slot(-1)]
        clip = self.reward_clip
        zero_where_truncated = self.truncation == "zero_td_error"
        last_logged, last_logged_at = self._episode_num, self.num_timesteps
        observations = self._encode(self._last_obs, self.n_envs)
        is_asked = not is_nothing(callback)
        learn_from, encode, n_envs, block = self._learn_from, self._encode, self.n_envs, noise.block

        while self.num_timesteps < total_timesteps:
            if noise.cursor >= len(block):
                noise.cursor = 0
                self._draw_noise(noise)
                block = noise.block
                actor.set_noise(block)
            if not forward(structure, self._acting, observations, block, noise.cursor, SAMPLE):
                self._raise_not_finite(observations, None)
            counters[NOISE_STEP] = noise.cursor
            noise.cursor += 1
            actions = policy.to_actions(outputs)

            new_obs, rewards, dones, infos = env.step(actions)
            next_inputs = encode(new_obs, n_envs)
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
            learn_from(observations, learned, ends, terminated, ignored, episode_starts)
            self.num_timesteps += n_envs
            self._n_updates += 1

            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = dones
            observations = next_inputs
            if ended:
                self._update_info_buffer(infos, dones)
                self._episode_num += ended
            if is_asked:
                callback.update_locals(locals())
                if not callback.on_step():
                    break
            if ended and self._is_time_to_log(log_interval, last_logged, last_logged_at):
                last_logged, last_logged_at = self._episode_num, self.num_timesteps
                self.dump_logs()

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

    def _clips_outputs(self) -> bool:
        """Whether the outputs are clipped to ±1 before the rule learns from them."""
        return False

    def _reason_for_steps(self) -> str | None:
        """Why training cannot be compiled whatever the environment and the callbacks are, or None."""
        if type(self)._learn_from is not CoagentAlgorithm._learn_from:
            return f"{self.algorithm} learns in a way of its own"
        if self.policy.action_kind is None:
            return f"{type(self.policy).__name__} turns outputs into actions in a way of its own"
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
        if not self.rule(actor.arrays, critic.reinforcements, episode_starts, time):
            self._raise_diverged(self._rule_diverged(), rewards)

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
        self._raise_diverged(self.critic_model.diverged, rewards)

    def _raise_diverged(self, what: str, rewards: np.ndarray) -> None:
        raise ValueError(
            f"{what}, or normalise observations and rewards. It did not learn from this step. (Time step "
            f"{self.num_timesteps}; the rewards were {rewards}.)"
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
        self.logger.record("train/actor_learning_rate", float(self.actor_learner.learning_rates(self.num_timesteps)[-1]))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    # ------------------------------------------------------------------ saving and loading
