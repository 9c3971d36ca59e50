"""Backprop: deterministic hidden units, trained by the chain rule; the output units learn by REINFORCE."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.backprop import backpropagate
from coagent_rl.credit.reinforce import broadcast
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import SIGNALS, local_scores
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.schedules import LinearSchedule, Rates
from coagent_rl.traces import accumulate, three_factor_update


@kernel
def learn_backprop(
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
    smooth: bool,
) -> None:
    """One learning step: the output's score → down to all layers → traces → one signal for all → update.

    ``smooth`` chooses the slope of stochastic hidden units, see `coagent_rl.credit.straight_through`.
    """
    local_scores(layout, constants, activity)
    for row in range(td_errors.size):
        backpropagate(layout, constants, parameters, activity, row, smooth)
        broadcast(td_errors[row], activity[SIGNALS, row])
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)


class Backprop(CoagentAlgorithm):
    """Actor-critic with eligibility traces whose hidden units are deterministic (ReLU) and learn by backprop.

    Not a coagent rule: the comparator that coagent networks are measured by (Chung 2022, table 1).
    The arguments are those of `CoagentAlgorithm`; hidden units are of kind ``relu`` unless ``policy_kwargs`` say otherwise.
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

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "relu"}

    def _check_networks(self, policy: CoagentPolicy) -> None:
        for layer in policy.actor.layers[:-1]:
            if layer.is_stochastic:
                raise ValueError(f"Backprop trains deterministic hidden units, not {layer.kind!r} ones; see STEBackprop.")

    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        learn_backprop(*actor.arguments, td_errors, episode_starts, self.num_timesteps, False)
