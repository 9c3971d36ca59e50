"""Weight Maximization."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.reinforce import broadcast
from coagent_rl.credit.weight_max import outgoing_weight_growth
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import SIGNALS, local_scores
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.schedules import LinearSchedule, Rates
from coagent_rl.traces import accumulate, reinforce


@kernel
def synchronous_signals(layout: Array, parameters: Array, traces: Array, td_errors: Array, norm_order: float, activity: Array) -> None:
    """Weight Max's SIGNALS of every layer and row, from the output layer down, within one time step.

    Args:
        layout, parameters: see `coagent_rl.networks.Network`.
        traces: shape (n_rows, n_parameters).
        td_errors: shape (n_rows,).
        norm_order: p of the L^p norm.
        activity: shape (4, n_rows, width), whose SIGNALS are written.
    """
    signals = activity[SIGNALS]
    for row in range(td_errors.size):
        slot = layout[layout.shape[0] - 1, 10]
        broadcast(td_errors[row], signals[row, slot:])
        for index in range(layout.shape[0] - 1, 0, -1):
            _, _, n_in, n_pre, _, _, w, b, _, inputs, slot = layout[index]
            outgoing_weight_growth(
                parameters[w:b].reshape(n_in, n_pre),
                traces[row, w:b].reshape(n_in, n_pre),
                signals[row, slot : slot + n_pre],
                norm_order,
                signals[row, inputs : inputs + n_in],
            )


@kernel
def learn_weight_max(layout: Array, constants: Array, settings: Array, rates: Array, parameters: Array, memory: Array, traces: Array, activity: Array, td_errors: Array, episode_starts: Array, time: float, norm_order: float) -> None:
    """One learning step of the actor: scores → traces → signals → update. See `Learner` for the arrays."""
    local_scores(layout, constants, activity)
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    synchronous_signals(layout, parameters, traces, td_errors, norm_order, activity)
    reinforce(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)


class WeightMax(CoagentAlgorithm):
    """Weight Maximization: each hidden unit maximises the norm of its outgoing weights (Chung, AAAI 2022).

    The output layer learns by REINFORCE from the TD error; unit i of a hidden layer learns by REINFORCE from
    R_i = Σ_j p |w_ij|^(p-1) sgn(w_ij) Δw_ij, the growth of its outgoing weights' L^p norm. The layers are swept from the
    output down within one time step, as in the released code.

    Args:
        norm_order: p ≥ 1 of the L^p norm.

    The others are those of `CoagentAlgorithm`.

    Example:
        >>> from coagent_rl import WeightMax
        >>> model = WeightMax("MlpPolicy", "CartPole-v1", seed=0).learn(1_000)
        >>> model.num_timesteps
        1000
    """

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: Rates | LinearSchedule = 1e-3,
        critic_learning_rate: Rates | LinearSchedule = 1e-3,
        *,
        norm_order: float = 2.0,
        **kwargs: Any,
    ) -> None:
        self.norm_order = norm_order
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if not 1.0 <= self.norm_order < np.inf:
            raise ValueError(f"norm_order is the p of an L^p norm and must be at least 1, not {self.norm_order!r}.")

    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        learn_weight_max(*actor.arguments, td_errors, episode_starts, self.num_timesteps, float(self.norm_order))
