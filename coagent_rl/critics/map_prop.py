"""State values of a network of Gaussian units that learns by MAP Propagation: a critic without backprop."""

from __future__ import annotations

import math

import numpy as np

from coagent_rl.credit.map_prop import divide_by_noise, relax
from coagent_rl.credit.reinforce import broadcast
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import MEANS, SCORES, SIGNALS, VALUES, all_finite, forward
from coagent_rl.networks.layout import SLOT
from coagent_rl.networks.units import SAMPLE
from coagent_rl.noise import Noise
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.schedules import is_positive
from coagent_rl.traces import accumulate, three_factor_update


@kernel
def learn_map_prop_critic(
    layout: Array,
    constants: Array,
    settings: Array,
    rates: Array,
    parameters: Array,
    memory: Array,
    traces: Array,
    activity: Array,
    td_errors: Array,
    episode_starts: Array,
    time: float,
    n_steps: int,
    step_sizes: Array,
    guard: float,
) -> bool:
    """One learning step from given TD errors: relaxation → scores / (output value - output mean) → traces → update.

    Args:
        layout … activity: the network and its learner, see `Network` and `Learner`; ``activity`` holds a forward pass.
        td_errors, episode_starts: shape (n_rows,).
        time: environment steps so far, for the learning rate's schedule.
        n_steps, step_sizes: of the relaxation, see `coagent_rl.credit.map_prop.relax`.
        guard: least |output value - output mean| that is divided by, see `divide_by_noise`.

    Returns:
        Whether all relaxed values are finite; nothing is learned where one is not.
    """
    output = layout[layout.shape[0] - 1, SLOT]
    for row in range(td_errors.size):
        relax(layout, constants, parameters, activity, row, n_steps, step_sizes)
        divide_by_noise(activity[VALUES, row, output] - activity[MEANS, row, output], guard, activity[SCORES, row])
        broadcast(td_errors[row], activity[SIGNALS, row])
    if not all_finite(activity[SCORES]):
        return False
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)
    return True


@kernel
def map_prop_td(
    layout: Array,
    constants: Array,
    settings: Array,
    rates: Array,
    parameters: Array,
    memory: Array,
    traces: Array,
    activity: Array,
    observations: Array,
    rewards: Array,
    next_observations: Array,
    terminated: Array,
    ignored: Array,
    episode_starts: Array,
    discount: float,
    time: float,
    td_errors: Array,
    noise: Array,
    noise_step: int,
    n_steps: int,
    step_sizes: Array,
    guard: float,
) -> bool:
    """TD errors from the output means of two sampled forward passes, and `learn_map_prop_critic` from them.

        δ = R + γ m(S') - m(S)

    The arguments and the result are those of `coagent_rl.critics.td_lambda.td_lambda` and of `learn_map_prop_critic`. Step
    ``noise_step`` of ``noise`` is for S and the next one for S', so that a state has the same noise in both of the TD errors
    that it is part of: with traces it then cancels.
    """
    if not (all_finite(next_observations) and all_finite(observations)):
        return False
    for row in range(rewards.size):
        if not math.isfinite(rewards[row]):
            return False
    output = layout[layout.shape[0] - 1, SLOT]
    forward(layout, constants, parameters, activity, next_observations, noise, noise_step + 1, SAMPLE)
    for row in range(rewards.size):
        td_errors[row] = rewards[row]
        if not terminated[row]:
            td_errors[row] += discount * activity[MEANS, row, output]
    forward(layout, constants, parameters, activity, observations, noise, noise_step, SAMPLE)
    for row in range(rewards.size):
        td_errors[row] = 0.0 if ignored[row] else td_errors[row] - activity[MEANS, row, output]
        if not math.isfinite(td_errors[row]):
            return False
    return learn_map_prop_critic(
        layout,
        constants,
        settings,
        rates,
        parameters,
        memory,
        traces,
        activity,
        td_errors,
        episode_starts,
        time,
        n_steps,
        step_sizes,
        guard,
    )


class MAPPropCritic:
    """State values learned by MAP Propagation, the critic of Chung (2021).

    Args:
        learner: of a network of Gaussian units with one linear output.
        discount: γ.
        noise: of the units.
        relaxation_steps: N ≥ 0.
        relaxation_rate: step size of the relaxation in units of each layer's variance.
        guard: least |output value - output mean| that scores are divided by, in standard deviations of the output. Values
            and means that nearly coincide carry no information about the direction and would give steps without bound.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(
        self,
        learner: Learner,
        discount: float,
        noise: Noise,
        relaxation_steps: int = 20,
        relaxation_rate: float = 0.5,
        guard: float = 1e-3,
    ) -> None:
        if not is_positive(guard):
            raise ValueError(f"guard must be a positive number, not {guard!r}: scores are divided by it at least.")
        self.learner = learner
        self.discount = float(discount)
        self.noise = noise
        self.n_steps, self.step_sizes = relaxation(learner, relaxation_steps, relaxation_rate)
        self.guard = float(guard * learner.network.layers[-1].deviation)
        self.td_errors = np.zeros(learner.traces.shape[0])
        if noise.cursor:  # a loaded model, in the middle of a block
            noise.draw_block(learner.network, self.td_errors.size, overlapping=True)

    def learn(
        self,
        observations: np.ndarray,
        rewards: np.ndarray,
        next_observations: np.ndarray,
        terminated: np.ndarray,
        ignored: np.ndarray,
        episode_starts: np.ndarray,
        time: int,
    ) -> bool:
        """Learn from one transition per environment and write ``td_errors``. See `map_prop_td` for arguments and result."""
        noise = self.noise
        if noise.cursor + 1 >= len(noise.block):
            noise.cursor = 0
            noise.draw_block(self.learner.network, self.td_errors.size, overlapping=True)
        noise.cursor += 1
        return bool(
            map_prop_td(
                *self.learner.arguments,
                observations,
                rewards,
                next_observations,
                terminated,
                ignored,
                episode_starts,
                self.discount,
                time,
                self.td_errors,
                noise.block,
                noise.cursor - 1,
                self.n_steps,
                self.step_sizes,
                self.guard,
            )
        )


def relaxation(learner: Learner, n_steps: int, rate: float) -> tuple[int, np.ndarray]:
    """Check N, and turn a rate in units of each layer's variance into step sizes of shape (depth,).

    Raises:
        ValueError: for values out of range.
    """
    if isinstance(n_steps, bool) or not isinstance(n_steps, (int, np.integer)) or n_steps < 0:
        raise ValueError(f"relaxation_steps must be a whole number from 0, not {n_steps!r}.")
    if not is_positive(rate):
        raise ValueError(f"relaxation_rate must be a positive number, not {rate!r}.")
    return int(n_steps), np.array([rate * layer.deviation**2 for layer in learner.network.layers])
