"""REINFORCE with the variance reduction of Thomas (2011)."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.reinforce import broadcast
from coagent_rl.credit.thomas import explorers_only
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import SCORES, SIGNALS, local_scores
from coagent_rl.noise import Noise
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.schedules import LinearSchedule, Rates
from coagent_rl.traces import accumulate, three_factor_update


@kernel
def learn_thomas(
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
    exploring: Array,
    step: int,
) -> None:
    """One learning step: scores of those units that explored → traces → one signal for all → update.

    ``exploring``, of shape (n_steps, n_rows, width), says at ``step`` which units drew their value.
    """
    local_scores(layout, constants, activity)
    for row in range(td_errors.size):
        explorers_only(exploring[step, row], activity[SCORES, row])
        broadcast(td_errors[row], activity[SIGNALS, row])
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)


class ReinforceThomas(CoagentAlgorithm):
    """Global REINFORCE in which only a random part of the hidden units explores at each step (Thomas 2011).

    Args:
        exploration_probability: q in (0, 1], the chance of each hidden unit to explore; q = 1 is `Reinforce`. Output units
            always explore. See `coagent_rl.credit.thomas` for what the sources leave open.

    The others are those of `CoagentAlgorithm`.
    """

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: Rates | LinearSchedule | None = None,
        critic_learning_rate: Rates | LinearSchedule | None = None,
        *,
        exploration_probability: float = 0.5,
        **kwargs: Any,
    ) -> None:
        self.exploration_probability = exploration_probability
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_number("exploration_probability")
        if not 0.0 < self.exploration_probability <= 1.0:
            raise ValueError(f"exploration_probability must lie in (0, 1], not {self.exploration_probability!r}.")

    def _policy_arguments(self) -> dict[str, Any]:
        return {"exploration_probability": self.exploration_probability}

    def _draw_noise(self, noise: Noise) -> None:
        super()._draw_noise(noise)
        noise.exploring = self.policy.actor.exploring(noise.block)

    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        assert self.noise is not None
        time, step = self.num_timesteps, self.noise.cursor - 1
        learn_thomas(*actor.arguments, td_errors, episode_starts, time, self.noise.exploring, step)
