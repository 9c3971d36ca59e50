"""Global REINFORCE: the team of agents that all receive the same reward."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.reinforce import broadcast
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import SIGNALS, local_scores
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.schedules import LinearSchedule, Rates
from coagent_rl.traces import accumulate, three_factor_update


@kernel
def learn_reinforce(
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
) -> None:
    """One learning step of the actor: scores → traces → one signal for all → update. See `Learner` for the arrays."""
    local_scores(layout, constants, activity)
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    for row in range(td_errors.size):
        broadcast(td_errors[row], activity[SIGNALS, row])
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)


class Reinforce(CoagentAlgorithm):
    """Global REINFORCE: every unit learns from the same TD error (Williams 1992).

    Unbiased, and the baseline that structural credit assignment must beat: its variance grows with the number of units.
    The arguments are those of `CoagentAlgorithm`.
    """

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: Rates | LinearSchedule | None = None,
        critic_learning_rate: Rates | LinearSchedule | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        learn_reinforce(*actor.arguments, td_errors, episode_starts, self.num_timesteps)
