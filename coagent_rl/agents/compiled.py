"""Which road `learn` takes, and the compiled one: blocks of steps between the moments at which Python is needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numba import config, types
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    ConvertCallback,
    EvalCallback,
    EveryNTimesteps,
)
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from coagent_rl.agents import block
from coagent_rl.agents.logs import remember
from coagent_rl.arrays import NOISE_STEP
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.networks.forward import forward
from coagent_rl.networks.units import SAMPLE
from coagent_rl.pointers import FORWARD, RULE, address, critic_types, environment_types

if TYPE_CHECKING:
    from coagent_rl.agents.base import CoagentAlgorithm

STEPS_AT_ONCE = 4096
"""Environment steps of a block at most: some hundredths of a second."""
MOST_NORMALISED = 7
"""With more environments NumPy adds up a batch in another order than a loop does."""


def reason_for_steps(model: CoagentAlgorithm, callback: BaseCallback) -> str | None:
    """Say why training must go step by step, or None where it can be compiled."""
    env = model.env
    normaliser = env if isinstance(env, VecNormalize) else None
    inner = env if normaliser is None else normaliser.venv
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return "nothing is compiled (NUMBA_DISABLE_JIT)"
    if not isinstance(inner, CompiledVecEnv):
        return f"the environment is not a compiled one ({type(inner).__name__})"
    if normaliser is not None and (type(normaliser) is not VecNormalize or inner.num_envs > MOST_NORMALISED):
        return f"observations are normalised by {type(normaliser).__name__} with {inner.num_envs} environments"
    if model._rates_move:
        return "a learning rate is a function, which Python must be asked for"
    if why := model._reason_for_steps():
        return why
    return _asked_at_every_step(callback)


def is_nothing(callback: BaseCallback) -> bool:
    """Whether a callback is what Stable-Baselines3 makes of None."""
    return type(callback) is ConvertCallback and callback.callback is None


def _asked_at_every_step(callback: BaseCallback) -> str | None:
    if isinstance(callback, CallbackList) and type(callback) is CallbackList:
        return next((why for child in callback.callbacks if (why := _asked_at_every_step(child))), None)
    if _steps_until(callback) is None:
        return f"the callback {type(callback).__name__} is asked at every step (it has no steps_until_needed)"
    return None


def _steps_until(callback: BaseCallback) -> float | None:
    """Steps until a callback must be asked again (infinity for never), or None if it must be asked at every step."""
    if is_nothing(callback):
        return math.inf
    if hasattr(callback, "steps_until_needed"):
        return float(callback.steps_until_needed())
    if type(callback) is CheckpointCallback:
        return callback.save_freq - callback.n_calls % callback.save_freq
    if isinstance(callback, EvalCallback) and type(callback)._on_step is EvalCallback._on_step:
        return callback.eval_freq - callback.n_calls % callback.eval_freq if callback.eval_freq > 0 else math.inf
    if type(callback) is EveryNTimesteps:
        n_envs = callback.model.get_env().num_envs  # type: ignore[union-attr]
        missing = callback.n_steps - (callback.model.num_timesteps - callback.last_time_trigger)
        return max(1, -(-missing // n_envs))
    return None


def _leaves(callback: BaseCallback) -> list[BaseCallback]:
    if type(callback) is CallbackList:
        return [leaf for child in callback.callbacks for leaf in _leaves(child)]
    return [callback]


class CompiledTraining:
    """Everything that `block.train_block` needs of one call of ``learn``, and what Python does between two blocks.

    Args:
        model: its environment, rule and critic are compiled (`reason_for_steps`).
        callback: asked after those steps after which it wants to be.
    """

    def __init__(self, model: CoagentAlgorithm, callback: BaseCallback) -> None:
        self.model, self.callback, self.leaves = model, callback, _leaves(callback)
        env = model.env
        self.normaliser = env if isinstance(env, VecNormalize) else None
        inner = env.venv if isinstance(env, VecNormalize) else env
        assert isinstance(inner, CompiledVecEnv)
        self.env, self.n_envs = inner, inner.num_envs
        critic, network = model.critic_model, model.policy.actor
        is_discrete = isinstance(model.action_space, spaces.Discrete)
        n_learners = len(critic.learners)
        self.addresses = (
            address(inner.twin.advance, environment_types(is_discrete), types.int64),
            address(critic.kernel, critic_types(n_learners, critic.reads_actor)),
            address(model.rule, RULE),
            address(forward, FORWARD),
        )
        slot = network.slot(-1)
        self.columns = (slot.start, slot.stop)
        n = self.n_envs
        if isinstance(model.action_space, spaces.Box):
            bounds = (model.action_space.low, model.action_space.high)
            self.actions = np.zeros((n, *model.action_space.shape), np.float32)
        else:
            bounds = (np.zeros(1), np.zeros(1))
            self.actions = np.zeros(n, np.int64)
        self.bounds = tuple(np.ascontiguousarray(bound, np.float32) for bound in bounds)
        self.plan = np.zeros(block.N_PLAN)
        self.plan[block.ACTION_KIND] = model.policy.action_kind
        self.plan[block.MODE] = SAMPLE
        self.plan[block.CLIPS_OUTPUTS] = float(model._clips_outputs())
        self.settings, self.statistics = self._statistics()
        width = network.n_inputs
        assert model._last_episode_starts is not None
        self.observations = np.array(model._encode(model._last_obs, n), np.float32)
        self.starts = np.array(model._last_episode_starts, bool)
        self.loop = (
            self.observations,
            self.starts,
            np.zeros((n, width), np.float32),
            np.zeros(n, np.float32),
            np.zeros((n, width), np.float32),
            np.zeros(n, bool),
            np.zeros(n, bool),
        )
        n_steps = max(1, STEPS_AT_ONCE // n)
        self.record = (np.zeros((n_steps, n)), np.zeros((n_steps, n), bool), np.zeros((n_steps, n)))

    # ------------------------------------------------------------------ the normaliser

    def _statistics(self) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        settings = np.zeros(block.N_NORMALISER)
        vec, one = self.normaliser, np.ones(1)
        if vec is None:
            return settings, (one, one, one, one, np.zeros(self.n_envs))
        width = self.model.policy.actor.n_inputs
        rms = vec.obs_rms if vec.norm_obs else RunningMeanStd(shape=(width,))
        assert isinstance(rms, RunningMeanStd)
        settings[: block.EPSILON + 1] = [
            1.0,
            vec.training,
            vec.norm_obs,
            vec.norm_reward,
            vec.clip_obs,
            vec.clip_reward,
            vec.gamma,
            vec.epsilon,
        ]
        settings[block.OBS_COUNT], settings[block.RETURN_COUNT] = rms.count, vec.ret_rms.count
        moments = (rms.mean, rms.var, vec.ret_rms.mean, vec.ret_rms.var, vec.returns)
        return settings, tuple(np.array(part, np.float64).reshape(-1) for part in moments)

    def _put_back_statistics(self) -> None:
        vec = self.normaliser
        if vec is None:
            return
        obs_mean, obs_var, return_mean, return_var, returns = (part.copy() for part in self.statistics)
        if vec.norm_obs:
            assert isinstance(vec.obs_rms, RunningMeanStd)
            vec.obs_rms.mean, vec.obs_rms.var = obs_mean, obs_var
            vec.obs_rms.count = float(self.settings[block.OBS_COUNT])
        vec.ret_rms.mean, vec.ret_rms.var = return_mean.reshape(()), return_var.reshape(())
        vec.ret_rms.count = float(self.settings[block.RETURN_COUNT])
        vec.returns = returns
        if np.isfinite(self.env.observations).all() and np.isfinite(self.env._rewards).all():
            vec.old_obs, vec.old_reward = self.env.observations.copy(), self.env._rewards.copy()

    # ------------------------------------------------------------------ blocks

    def steps_until_needed(self) -> float:
        """Steps until a callback must be asked."""
        return min((_steps_until(leaf) or 1.0 for leaf in self.leaves), default=math.inf)

    def episodes_until_needed(self) -> float:
        """Finished episodes until a callback must be asked."""
        asked = [leaf.episodes_until_needed() for leaf in self.leaves if hasattr(leaf, "episodes_until_needed")]
        return min(asked, default=math.inf)

    def run(self, most_steps: int, stops: list[tuple[float, float]]) -> tuple[int, list[dict[str, Any]]]:
        """Run one block.

        Args:
            most_steps: steps at most.
            stops: pairs of a number of episodes finished in this block and a least number of environment steps in it, from
                which on the block ends with an episode; two at most.

        Returns:
            Number of steps; infos of the last step.

        Raises:
            ValueError: as in `CoagentAlgorithm.learn`.
        """
        model, env = self.model, self.env
        noise, critic, actor = model.noise, model.critic_model, model.actor_learner
        assert noise is not None
        if noise.cursor >= len(noise.block):
            noise.cursor = 0
            model._draw_noise(noise)
            actor.set_noise(noise.block)
        most_steps = min(most_steps, len(self.record[0]), critic.steps_until_draw())
        actor.counters[NOISE_STEP] = noise.cursor
        self.plan[block.TIME], self.plan[block.MOST_STEPS] = model.num_timesteps, most_steps
        self.plan[block.REWARD_CLIP] = model.reward_clip or 0.0
        self.plan[block.IGNORES_CUTS] = float(model.truncation == "zero_td_error")
        self.plan[block.STOP_EPISODES :] = math.inf
        for number, pair in enumerate(stops):
            self.plan[block.STOP_EPISODES + 2 * number : block.STOP_EPISODES + 2 * number + 2] = pair
        if env.twin.max_episode_steps is None:
            self._make_room(most_steps)
        carried = [env.episode_rewards[row, : env.elapsed[row]].tolist() for row in range(self.n_envs)]
        judged = actor.arrays if critic.reads_actor else ()
        why, n_steps = block.train_block(
            self.addresses,
            env._arguments,
            critic.learners,
            actor.arrays,
            judged,
            model._acting,
            model.acting_parameters(actor),
            self.columns,
            self.bounds,
            self.plan,
            self.settings,
            self.statistics,
            self.loop,
            self.actions,
            (critic.td_errors, critic.reinforcements),
            self.record,
        )
        noise.cursor += n_steps
        critic.drawn(n_steps)
        model.num_timesteps += n_steps * self.n_envs
        model._n_updates += n_steps
        remember(model.recent_errors, self.record[2][:n_steps])
        infos = self._report(n_steps, carried)
        self._put_back_statistics()
        model._last_obs, model._last_episode_starts = self.observations.copy(), self.starts.copy()
        if why != block.FINISHED:
            self._raise(why)
        env.draws.refill()
        return n_steps, infos

    def _make_room(self, n_steps: int) -> None:
        """Have room for the rewards of episodes that nothing cuts."""
        missing = int(self.env.elapsed.max()) + n_steps - self.env.episode_rewards.shape[1]
        if missing > 0:
            room = np.zeros((self.n_envs, missing + n_steps))
            self.env.episode_rewards = np.hstack([self.env.episode_rewards, room])
            self.env._collect()

    def _report(self, n_steps: int, carried: list[list[float]]) -> list[dict[str, Any]]:
        """Report the episodes that ended, in their order; return the infos of the last step."""
        rewards, dones = (part[:n_steps] for part in self.record[:2])
        begins = [0] * self.n_envs
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.n_envs)]
        ended = np.argwhere(dones).tolist()
        reported: list[dict[str, Any]] = []
        for step, row in ended:
            of_episode = carried[row] + rewards[begins[row] : step + 1, row].tolist()
            carried[row], begins[row] = [], step + 1
            # Python's own sum, as in Monitor: from Python 3.12 on it rounds otherwise than adding one by one.
            info = {"episode": self.env.episode(sum(of_episode), len(of_episode))}
            reported.append(info)
            if step == n_steps - 1:
                end = self.loop[4][row].copy()
                infos[row] = {"TimeLimit.truncated": bool(self.env._cut[row]), "terminal_observation": end, **info}
        if reported:
            self.model._update_info_buffer(reported)
            self.model._episode_num += len(reported)
            for leaf in self.leaves:
                if hasattr(leaf, "take_episodes"):
                    leaf.take_episodes([info["episode"] for info in reported])
        return infos

    def _raise(self, why: int) -> None:
        model = self.model
        if why == block.ACTOR_NOT_FINITE:
            model._raise_not_finite(self.observations, None)
        if why == block.ACTION_REFUSED:
            self.env._raise_not_permitted(self.actions, 0)
        if why == block.CRITIC_REFUSED:
            model._raise_not_finite(self.loop[4], self.loop[3])
        model._raise_diverged(model._rule_diverged(), self.loop[3])  # block.RULE_REFUSED

    def ask(self, n_steps: int, infos: list[dict[str, Any]]) -> bool:
        """Ask the callbacks after a block; returns whether to go on."""
        for leaf in self.leaves:
            leaf.n_calls += n_steps - 1
        dones = self.starts.copy()
        step = {
            "self": self.model,
            "infos": infos,
            "dones": dones,
            "rewards": self.loop[3].copy(),
            "new_obs": self.observations.copy(),
            "actions": self.actions.copy(),
            "compiled": True,
        }
        self.callback.update_locals(step)
        return bool(self.callback.on_step())
