"""State values of a network of Gaussian units that learns by MAP Propagation: a critic without backprop."""

from __future__ import annotations

import math

import numpy as np

from coagent_rl.arrays import NOISE_STEP, Arrays, LearnerArrays, named, structure, transition_of
from coagent_rl.credit.map_prop import divide_by_noise, relax
from coagent_rl.critics.critic import Critic
from coagent_rl.critics.reward import take_value, tell_all
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks import Network
from coagent_rl.networks.forward import all_finite, forward
from coagent_rl.networks.layout import place
from coagent_rl.networks.units import SAMPLE
from coagent_rl.noise import Noise
from coagent_rl.optimizers import update
from coagent_rl.schedules import is_positive
from coagent_rl.traces import accumulate

# The critic's options; the step sizes are one a layer, from there on.
DISCOUNT, GUARD, RELAXATION_STEPS, STEP_SIZES = range(4)


@kernel
def learn_map_prop_critic(learner: LearnerArrays, td_errors: Array, episode_starts: Array, time: float) -> bool:
    """One learning step from given TD errors: relaxation → scores / (output value - output mean) → traces → update.

    Args:
        learner: of a network whose values and means hold a forward pass. Its options are those of the critic: GUARD, the
            least |output value - output mean| that is divided by (see `divide_by_noise`); RELAXATION_STEPS and STEP_SIZES,
            see `coagent_rl.credit.map_prop.relax`.
        td_errors, episode_starts: shape (n_rows,).
        time: environment steps so far, for the learning rate's schedule.

    Returns:
        Whether all relaxed values and the update are finite; nothing is learned where one is not.
    """
    options = learner.options
    output = place(learner.layout, learner.layout.shape[0] - 1).slot
    for row in range(td_errors.size):
        relax(learner, row, int(options[RELAXATION_STEPS]), options[STEP_SIZES:])
        noise = learner.values[row, output] - learner.means[row, output]
        divide_by_noise(noise, options[GUARD], learner.scores[row])
        learner.signals[row] = td_errors[row]
    if not all_finite(learner.scores):
        return False
    accumulate(learner, episode_starts)
    return update(learner, time)


@kernel
def map_prop_td(
    learners: tuple[Arrays, ...], actor: Arrays, transition: Arrays, time: float, td_errors: Array, reinforcements: Array
) -> bool:
    """TD errors from the output means of two sampled forward passes, and `learn_map_prop_critic` from them.

        δ = R + γ m(S') - m(S)

    Arguments and result are those of `coagent_rl.critics.td_lambda.td_lambda`. The step that the learner's counter
    NOISE_STEP names is the noise for S and the next one that for S', so that a state has the same noise in both of the TD
    errors that it is part of: with traces it then cancels. The counter is moved on.
    """
    learner, given = named(learners[0]), transition_of(transition)
    observations, rewards = given.observations, given.rewards
    if not (all_finite(given.next_observations) and all_finite(observations)):
        return False
    for row in range(rewards.size):
        if not math.isfinite(rewards[row]):
            return False
    output = place(learner.layout, learner.layout.shape[0] - 1).slot
    step = int(learner.counters[NOISE_STEP])
    learner.counters[NOISE_STEP] = step + 1
    for is_present in range(2):  # a loop, so that the forward pass is compiled into this function once
        states, noise_step = (observations, step) if is_present else (given.next_observations, step + 1)
        forward(structure(learner), learner.activity, states, learner.noise, noise_step, int(SAMPLE))
        take_value(given, learner.options[DISCOUNT], learner.means, output, is_present, td_errors)
    for row in range(rewards.size):
        if not math.isfinite(td_errors[row]):
            return False
    tell_all(td_errors, reinforcements)
    return learn_map_prop_critic(learner, td_errors, given.episode_starts, time)


class MAPPropCritic(Critic):
    """State values learned by MAP Propagation, the critic of Chung (2021).

    Args:
        actor: the network that is judged.
        learner: of a network of Gaussian units with one linear output, with the options of `options`.
        noise: of the critic's units.
    """

    kernel = staticmethod(map_prop_td)
    diverged = (
        "The TD error is not finite: the parameters of the critic have diverged, or the relaxation of its units. Lower "
        "critic_learning_rate, or relaxation_rate"
    )

    def __init__(self, actor: Network, learner: Learner, noise: Noise) -> None:
        super().__init__(actor, learner.n_rows)
        self.learner = learner
        self.noise = noise
        if noise.cursor:  # a loaded model, in the middle of a block
            self._draw_block()

    @property
    def learners(self) -> tuple[Arrays, ...]:
        return (self.learner.arrays,)

    def _draw_block(self) -> None:
        self.noise.draw_block(self.learner.network, self.learner.n_rows, overlapping=True)
        self.learner.set_noise(self.noise.block)

    def before_step(self) -> None:
        self.steps_until_draw()
        self.noise.cursor += 1

    def steps_until_draw(self) -> int:
        noise = self.noise
        if noise.cursor + 1 >= len(noise.block):
            noise.cursor = 0
            self._draw_block()
        self.learner.counters[NOISE_STEP] = noise.cursor
        return len(noise.block) - 1 - noise.cursor

    def drawn(self, n_steps: int) -> None:
        self.noise.cursor += n_steps

    @staticmethod
    def options(
        network: Network,
        discount: float,
        relaxation_steps: int = 20,
        relaxation_rate: float = 0.5,
        guard: float = 1e-3,
    ) -> list[float]:
        """Check the critic's arguments and make its learner's options of them.

        Args:
            network: the critic's.
            discount: γ.
            relaxation_steps: N ≥ 0.
            relaxation_rate: step size of the relaxation in units of each layer's variance.
            guard: least |output value - output mean| that scores are divided by, in standard deviations of the output.
                Values and means that nearly coincide carry no information about the direction and would give steps without
                bound.

        Raises:
            ValueError: for values out of range.
        """
        if not is_positive(guard):
            raise ValueError(f"guard must be a positive number, not {guard!r}: scores are divided by it at least.")
        relaxation = relaxation_options(network, relaxation_steps, relaxation_rate)
        return [discount, guard * network.layers[-1].deviation, *relaxation]


def relaxation_options(network: Network, relaxation_steps: int, relaxation_rate: float) -> list[float]:
    """Check N, and turn a rate in units of each layer's variance into step sizes: N, then one step size a layer.

    Raises:
        ValueError: for values out of range.
    """
    if isinstance(relaxation_steps, bool) or not isinstance(relaxation_steps, (int, np.integer)) or relaxation_steps < 0:
        raise ValueError(f"relaxation_steps must be a whole number from 0, not {relaxation_steps!r}.")
    if not is_positive(relaxation_rate):
        raise ValueError(f"relaxation_rate must be a positive number, not {relaxation_rate!r}.")
    return [int(relaxation_steps), *(relaxation_rate * layer.deviation**2 for layer in network.layers)]
