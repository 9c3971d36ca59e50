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
from coagent_rl.networks.forward import SCORES, SIGNALS, local_scores
from coagent_rl.networks.layout import SLOT
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.schedules import LinearSchedule, Rates
from coagent_rl.traces import accumulate, accumulate_delayed, three_factor_update

TRACE_FORMS = ("synchronous", "pipelined")


@kernel
def signal_below(layout: Array, index: int, parameters: Array, trace: Array, signals: Array, norm_order: float) -> None:
    """Write the signals of the units below layer ``index``, from how its weights are about to change, in one row."""
    _, _, n_in, n_pre, _, _, w, b, _, inputs, slot = layout[index]
    outgoing_weight_growth(
        parameters[w:b].reshape(n_in, n_pre),
        trace[w:b].reshape(n_in, n_pre),
        signals[slot : slot + n_pre],
        norm_order,
        signals[inputs : inputs + n_in],
    )


@kernel
def synchronous_signals(
    layout: Array, parameters: Array, traces: Array, td_errors: Array, norm_order: float, activity: Array
) -> None:
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
        slot = layout[layout.shape[0] - 1, SLOT]
        broadcast(td_errors[row], signals[row, slot:])
        for index in range(layout.shape[0] - 1, 0, -1):
            signal_below(layout, index, parameters, traces[row], signals[row], norm_order)


@kernel
def learn_weight_max(
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
    norm_order: float,
) -> None:
    """One learning step of the actor: scores → traces → signals → update. See `Learner` for the arrays."""
    local_scores(layout, constants, activity)
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    synchronous_signals(layout, parameters, traces, td_errors, norm_order, activity)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)


@kernel
def pipelined_signals(layout: Array, parameters: Array, traces: Array, norm_order: float, activity: Array) -> None:
    """Weight Max's SIGNALS of the hidden layers for the next step, from how the layers above are about to change now.

    The arguments are those of `synchronous_signals`; the output layer's next signal is not known yet and stays.

    Source: Chung (2022), eqs. 15 and 16.
    """
    signals = activity[SIGNALS]
    for row in range(traces.shape[0]):
        # From the bottom up: the signal that a layer learned from now is read before it is replaced.
        for index in range(1, layout.shape[0]):
            signal_below(layout, index, parameters, traces[row], signals[row], norm_order)


@kernel
def learn_pipelined_from_scores(
    layout: Array,
    settings: Array,
    rates: Array,
    parameters: Array,
    memory: Array,
    traces: Array,
    activity: Array,
    td_errors: Array,
    episode_starts: Array,
    time: float,
    norm_order: float,
    trace_gain: float,
    ring: Array,
    ring_starts: Array,
    n_steps: int,
) -> None:
    """One learning step of eqs. 13-17, given the SCORES: all layers learn at once from what the step before told them.

    ``trace_gain`` is the factor 1 - λ of eq. 13; `coagent_rl.traces.accumulate_delayed` explains the ring.
    """
    gain, top = parameters.dtype.type(trace_gain), layout[layout.shape[0] - 1, SLOT]
    scores = activity[SCORES]
    for row in range(td_errors.size):
        for k in range(scores.shape[1]):
            scores[row, k] *= gain
        broadcast(td_errors[row], activity[SIGNALS, row, top:])
    accumulate_delayed(layout, activity, episode_starts, settings[TRACE_DECAY], traces, ring, ring_starts, n_steps)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    pipelined_signals(layout, parameters, traces, norm_order, activity)
    ascend(layout, settings, rates, parameters, memory, time)


@kernel
def learn_weight_max_pipelined(
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
    norm_order: float,
    trace_gain: float,
    ring: Array,
    ring_starts: Array,
    n_steps: int,
) -> None:
    """`learn_pipelined_from_scores` from the scores of what the units just did."""
    local_scores(layout, constants, activity)
    learn_pipelined_from_scores(
        layout,
        settings,
        rates,
        parameters,
        memory,
        traces,
        activity,
        td_errors,
        episode_starts,
        time,
        norm_order,
        trace_gain,
        ring,
        ring_starts,
        n_steps,
    )


class WeightMax(CoagentAlgorithm):
    """Weight Maximization: each hidden unit maximises the norm of its outgoing weights (Chung, AAAI 2022).

    The output layer learns by REINFORCE from the TD error; unit i of a hidden layer learns by REINFORCE from
    R_i = Σ_j p |w_ij|^(p-1) sgn(w_ij) Δw_ij, the growth of its outgoing weights' L^p norm. The layers are swept from the
    output down within one time step, as in the released code, or all learn at once from what the step before gave them.

    Args:
        norm_order: p ≥ 1 of the L^p norm.
        trace_form: ``"synchronous"`` (the released code) or ``"pipelined"`` (eqs. 13-17: every layer's trace and signal lag
            one step more behind than those of the layer above, and traces have the factor 1 - λ).

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
        actor_learning_rate: Rates | LinearSchedule | None = None,
        critic_learning_rate: Rates | LinearSchedule | None = None,
        *,
        norm_order: float = 2.0,
        trace_form: str = "synchronous",
        **kwargs: Any,
    ) -> None:
        self.norm_order = norm_order
        self.trace_form = trace_form
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_number("norm_order")
        if not 1.0 <= self.norm_order < np.inf:
            raise ValueError(f"norm_order is the p of an L^p norm and must be at least 1, not {self.norm_order!r}.")
        if self.trace_form not in TRACE_FORMS:
            raise ValueError(f"trace_form must be one of {TRACE_FORMS}, not {self.trace_form!r}.")
        if self.trace_form == "pipelined" and self.actor_lambda == 1.0:
            raise ValueError("actor_lambda must be below 1 with pipelined traces, whose factor 1 - λ would be zero.")

    def _needs_delay_line(self) -> bool:
        return self.trace_form == "pipelined"

    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        time, norm_order = self.num_timesteps, float(self.norm_order)
        if self.trace_form == "synchronous":
            learn_weight_max(*actor.arguments, td_errors, episode_starts, time, norm_order)
        else:
            gain, ring = 1.0 - self.actor_lambda, (actor.ring, actor.ring_starts, self._n_updates)
            learn_weight_max_pipelined(*actor.arguments, td_errors, episode_starts, time, norm_order, gain, *ring)
