"""The training loop, compiled: many steps of environment, actor, critic and rule without Python in between."""

from __future__ import annotations

import math
from typing import Any

from coagent_rl.arrays import NOISE_STEP, Arrays, named
from coagent_rl.kernel import Array, copy, exact_kernel, part, releasing_kernel
from coagent_rl.networks.forward import all_finite
from coagent_rl.pointers import call_critic, call_environment, call_forward, call_rule

# Why a block ended.
FINISHED, ACTOR_NOT_FINITE, CRITIC_REFUSED, RULE_REFUSED, ACTION_REFUSED = range(5)

# How outputs become actions: the largest, clipped to the bounds, or from ±1 to the bounds.
LARGEST, CLIPPED, SCALED = range(3)

# Entries of `plan`, float64: environment steps so far; steps at most; how outputs become actions; whether the outputs that
# are learned from are clipped to ±1; the largest reward that is learned from (0 for any); whether a cut episode's TD error
# is ignored; the mode of the forward pass, SAMPLE; and of two stops each, the number of finished episodes and the least
# number of environment steps in this block from which on the block ends with an episode.
TIME, MOST_STEPS, ACTION_KIND, CLIPS_OUTPUTS, REWARD_CLIP, IGNORES_CUTS, MODE, STOP_EPISODES, STOP_STEPS = range(9)
N_PLAN = STOP_STEPS + 3

# Entries of `normaliser`, float64, as in Stable-Baselines3's VecNormalize.
NORMALISES, TRAINING, NORM_OBS, NORM_REWARD, CLIP_OBS, CLIP_REWARD, GAMMA, EPSILON, OBS_COUNT, RETURN_COUNT = range(10)
N_NORMALISER = 10


@exact_kernel
def limited(x: float, low: float, high: float) -> float:
    """Clip x to [low, high]; NaN stays NaN."""
    return low if x < low else (high if x > high else x)


@exact_kernel
def actions_of(kind: int, outputs: Array, low: Array, high: Array, actions: Array) -> None:
    """Actions of all rows, shape (n_rows, n), from the output units' values; rounds as NumPy does."""
    one, half = outputs.dtype.type(1.0), outputs.dtype.type(0.5)
    for row in range(outputs.shape[0]):
        if kind == LARGEST:
            chosen = 0
            for j in range(1, outputs.shape[1]):
                if outputs[row, j] > outputs[row, chosen]:
                    chosen = j
            actions[row, 0] = chosen
        else:
            for j in range(outputs.shape[1]):
                x = outputs[row, j]
                if kind == SCALED:
                    x = low[j] + (x + one) * half * (high[j] - low[j])
                actions[row, j] = limited(x, low[j], high[j])


@exact_kernel
def update_moments(mean: Array, var: Array, count: float, rows: Array) -> None:
    """Take a batch into running moments as Stable-Baselines3's `RunningMeanStd` does, to the bit.

    Args:
        mean, var: float64, shape (d,), updated in place.
        count: what they are of so far.
        rows: shape (n, d), n < 8 (more rows NumPy adds in another order). The batch's own moments are computed in its own
            precision; a single row is its own mean.
    """
    n_rows = rows.shape[0]
    n = rows.dtype.type(n_rows)
    total = count + n_rows
    for k in range(rows.shape[1]):
        added = rows[0, k]
        for row in range(1, n_rows):
            added += rows[row, k]
        centre = added / n
        first = rows[0, k] - centre
        squares = first * first
        for row in range(1, n_rows):
            deviation = rows[row, k] - centre
            squares += deviation * deviation
        m_b = float((squares / n) * n) if n_rows > 1 else 0.0
        delta = float(centre) - mean[k]
        m_2 = var[k] * count + m_b + delta * delta * count * n_rows / total
        mean[k] = mean[k] + delta * n_rows / total
        var[k] = m_2 / total


@exact_kernel
def normalise_observations(settings: Array, mean: Array, var: Array, given: Array, out: Array) -> None:
    """Observations of all rows, float32, by running statistics, as in `VecNormalize`."""
    for row in range(given.shape[0]):
        for k in range(given.shape[1]):
            x = (given[row, k] - mean[k]) / math.sqrt(var[k] + settings[EPSILON])
            out[row, k] = limited(x, -settings[CLIP_OBS], settings[CLIP_OBS])


@exact_kernel
def normalise(
    settings: Array,
    statistics: Arrays,
    observations: Array,
    ends: Array,
    rewards: Array,
    dones: Array,
    normal_observations: Array,
    normal_ends: Array,
    normal_rewards: Array,
) -> None:
    """A step of Stable-Baselines3's `VecNormalize`.

    Args:
        settings: entries NORMALISES … RETURN_COUNT; the counts move on.
        statistics: mean and variance of observations, shape (d,); mean, variance and running value of returns, shapes (1,),
            (1,) and (n_rows,).
        observations, ends, rewards, dones: what the environments gave; ``ends`` of the episodes that ended.
        normal_observations, normal_ends, normal_rewards: overwritten.
    """
    obs_mean, obs_var, return_mean, return_var, returns = statistics
    n_rows = rewards.size
    trains = settings[TRAINING] > 0.0
    if trains and settings[NORM_OBS] > 0.0:
        update_moments(obs_mean, obs_var, settings[OBS_COUNT], observations)
        settings[OBS_COUNT] += n_rows
    if settings[NORM_OBS] > 0.0:
        normalise_observations(settings, obs_mean, obs_var, observations, normal_observations)
        normalise_observations(settings, obs_mean, obs_var, ends, normal_ends)
    else:
        for row in range(n_rows):
            copy(observations[row], normal_observations[row])
            copy(ends[row], normal_ends[row])
    if trains:
        for row in range(n_rows):
            returns[row] = returns[row] * settings[GAMMA] + rewards[row]
        update_moments(return_mean, return_var, settings[RETURN_COUNT], returns.reshape(n_rows, 1))
        settings[RETURN_COUNT] += n_rows
    for row in range(n_rows):
        reward = float(rewards[row])
        if settings[NORM_REWARD] > 0.0:
            reward = reward / math.sqrt(return_var[0] + settings[EPSILON])
            reward = limited(reward, -settings[CLIP_REWARD], settings[CLIP_REWARD])
        normal_rewards[row] = reward
        if dones[row]:
            returns[row] = 0.0


@releasing_kernel
def train_block(
    addresses: tuple[int, int, int, int],
    environment: Any,
    learners: tuple[Arrays, ...],
    actor: Arrays,
    judged: Arrays,
    acting: Array,
    parameters: Array,
    columns: tuple[int, int],
    bounds: Arrays,
    plan: Array,
    normaliser: Array,
    statistics: Arrays,
    loop: Arrays,
    actions: Array,
    critic_outputs: Arrays,
    record: Arrays,
) -> tuple[int, int]:
    """Train until a callback, a random generator or the log needs Python again.

    Args:
        addresses: of the environment's step, the critic's and the rule's learning step, and the forward pass
            (`coagent_rl.pointers`).
        environment: what `coagent_rl.envs.compiled.base.advance_environments` takes.
        learners, actor, judged: arrays of the critic's learners, of the actor's, and what the critic reads of it.
        acting, parameters: the activity that the actor acts in, and the parameters with which it does.
        columns: where the output units' values begin and end.
        bounds: lowest and highest actions, float32, shape (n_action,).
        plan: entries TIME …; TIME moves on.
        normaliser, statistics: see `normalise`.
        loop: observations and starts of episodes with which the loop goes on; rooms for the transition: the observations
            that are learned from, rewards, ends, terminated, ignored.
        actions: int64, shape (n_envs,), or float32, shape (n_envs, n_action).
        critic_outputs: the critic's TD errors and reinforcements.
        record: rewards (float64), dones and TD errors (float64) of every step of the block, shape (n_steps, n_envs),
            overwritten.

    Returns:
        Why the block ended, and how many steps were finished.
    """
    learner = named(actor)
    counters, noise = learner.counters, learner.noise
    draws, cursor, elapsed, episode_rewards = environment[3], environment[4], environment[6], environment[7]
    raw_observations, raw_ends, raw_rewards, dones, cut = environment[8:13]
    observations, starts, before, rewards, ends, terminated, ignored = loop
    td_errors, reinforcements = critic_outputs
    all_rewards, all_dones, all_errors = record
    n_rows = starts.size
    outputs = acting[0][:, columns[0] : columns[1]]
    flat_actions = actions.reshape(n_rows, actions.size // n_rows)
    transition = (before, rewards, ends, terminated, ignored, starts)
    network = (learner.layout, learner.constants, parameters)
    n_episodes, step, why = 0, 0, FINISHED
    noise_step, last_noise = int(counters[NOISE_STEP]), noise.shape[0]
    n_draws = draws.shape[1]
    sampled = int(plan[MODE])
    while step < plan[MOST_STEPS] and noise_step < last_noise and all_below(n_draws, cursor):
        if noise.shape[2] > acting.shape[2]:
            for row in range(n_rows):
                if starts[row]:  # all fire
                    for k in range(acting.shape[2], noise.shape[2]):
                        noise[noise_step, row, k] = 1.0
        if not call_forward(addresses[3], network, acting, observations, noise, noise_step, sampled):
            return ACTOR_NOT_FINITE, step
        counters[NOISE_STEP] = noise_step
        noise_step += 1
        actions_of(int(plan[ACTION_KIND]), outputs, bounds[0], bounds[1], flat_actions)
        for row in range(n_rows):
            # Where the reward of this step will be.
            ignored[row] = False
            all_rewards[step, row] = elapsed[row]
        n_ended = call_environment(addresses[0], environment, actions)
        if n_ended < 0:
            return ACTION_REFUSED, step
        for row in range(n_rows):
            all_rewards[step, row] = episode_rewards[row, int(all_rewards[step, row])]
            all_dones[step, row] = dones[row]
            copy(observations[row], before[row])
            terminated[row] = dones[row] and not cut[row]
            ignored[row] = cut[row] and plan[IGNORES_CUTS] > 0.0
        if normaliser[NORMALISES] > 0.0:
            if normaliser[TRAINING] > 0.0 and not (all_finite(raw_observations) and all_finite(raw_rewards.reshape(1, -1))):
                # The statistics would be NaN for good; what the environments gave is what the error shows.
                for row in range(n_rows):
                    rewards[row] = raw_rewards[row]
                    copy(raw_observations[row], ends[row])
                return CRITIC_REFUSED, step
            normalise(normaliser, statistics, raw_observations, raw_ends, raw_rewards, dones, observations, ends, rewards)
        else:
            for row in range(n_rows):
                rewards[row] = raw_rewards[row]
                copy(raw_observations[row], observations[row])
                copy(raw_ends[row], ends[row])
        for row in range(n_rows):
            if not dones[row]:
                copy(observations[row], ends[row])
        clip_rewards(plan[REWARD_CLIP], rewards)
        if plan[CLIPS_OUTPUTS] > 0.0:
            for row in range(n_rows):
                for k in range(outputs.shape[1]):
                    outputs[row, k] = limited(outputs[row, k], -1.0, 1.0)
        time = plan[TIME]
        if not call_critic(addresses[1], learners, judged, transition, time, td_errors, reinforcements):
            return CRITIC_REFUSED, step
        if not call_rule(addresses[2], actor, reinforcements, starts, time):
            return RULE_REFUSED, step
        for row in range(n_rows):
            all_errors[step, row] = td_errors[row]
            starts[row] = dones[row]
        plan[TIME] += n_rows
        step += 1
        n_episodes += n_ended
        if n_ended > 0:
            for k in range(0, 4, 2):
                if n_episodes >= plan[STOP_EPISODES + k] and step * n_rows >= plan[STOP_STEPS + k]:
                    return why, step
    return why, step


@part
def all_below(limit: int, numbers: Array) -> bool:
    """Whether all numbers of a vector are below the limit."""
    fine = True
    for k in range(numbers.size):
        fine = fine and numbers[k] < limit
    return fine


@part
def clip_rewards(limit: float, rewards: Array) -> None:
    """Clip rewards to ±limit where that is positive, unless one of them is not finite: that must be noticed."""
    if limit > 0.0:
        for row in range(rewards.size):
            if not math.isfinite(rewards[row]):
                return
        largest = rewards.dtype.type(limit)
        for row in range(rewards.size):
            rewards[row] = limited(rewards[row], -largest, largest)
