"""MAP Propagation."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.map_prop import relax
from coagent_rl.credit.reinforce import broadcast
from coagent_rl.critics.map_prop import relaxation
from coagent_rl.kernel import Array, kernel
from coagent_rl.learner import Learner
from coagent_rl.networks.forward import SCORES, SIGNALS, all_finite
from coagent_rl.optimizers import DIRECTION, TRACE_DECAY, ascend
from coagent_rl.schedules import LinearSchedule, Rates
from coagent_rl.traces import accumulate, three_factor_update


@kernel
def learn_map_prop(
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
) -> bool:
    """One learning step of the actor: relaxation → scores → traces → one signal for all → update.

    See `Learner` for the arrays and `coagent_rl.credit.map_prop.relax` for the last two. Returns whether the relaxed network
    is finite; nothing is learned where it is not.
    """
    for row in range(td_errors.size):
        relax(layout, constants, parameters, activity, row, n_steps, step_sizes)
        broadcast(td_errors[row], activity[SIGNALS, row])
    if not all_finite(activity[SCORES]):
        return False
    accumulate(layout, activity, episode_starts, settings[TRACE_DECAY], traces)
    three_factor_update(layout, activity, traces, memory[DIRECTION])
    ascend(layout, settings, rates, parameters, memory, time)
    return True


class MAPProp(CoagentAlgorithm):
    """MAP Propagation: all units get the same TD error for what they most probably did (Chung 2021).

    Hidden units are Gaussian. After an action they move to the values that make the whole network's doings most probable,
    each by what the layers right below and above it do; the scores of these values replace those of the values drawn, which
    takes most of REINFORCE's variance away. The critic learns in the same way.

    Args:
        relaxation_steps: N ≥ 0 steps up log Pr(H, A | S); 0 is `Reinforce`.
        relaxation_rate: step size of the relaxation in units of each layer's variance.

    The others are those of `CoagentAlgorithm`, with ``critic="map_prop"`` (relaxed as the actor unless ``critic_kwargs`` say
    otherwise) and, in ``policy_kwargs``, ``units="gaussian_softplus"``, ``output_units="softmax"``,
    ``learned_deviation=False`` and ``variance=0.1`` as defaults.

    Raises:
        ValueError: also if the relaxation diverges, before the network that diverged learns from it.

    Example:
        >>> from coagent_rl import MAPProp
        >>> model = MAPProp("MlpPolicy", "CartPole-v1", seed=0).learn(1_000)
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
        relaxation_steps: int = 20,
        relaxation_rate: float = 0.5,
        critic: str | None = "map_prop",
        **kwargs: Any,
    ) -> None:
        self.relaxation_steps = relaxation_steps
        self.relaxation_rate = relaxation_rate
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, critic=critic, **kwargs)

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "gaussian_softplus", "output_units": "softmax", "learned_deviation": False, "variance": 0.1}

    def _critic_arguments(self) -> dict[str, Any]:
        return {"relaxation_steps": self.relaxation_steps, "relaxation_rate": self.relaxation_rate}

    def _check_networks(self, policy: CoagentPolicy) -> None:
        for layer in policy.actor.layers[:-1]:
            if not layer.is_gaussian:
                raise ValueError(f"MAP Propagation relaxes Gaussian hidden units, not {layer.kind!r} ones.")

    def _setup_model(self) -> None:
        super()._setup_model()
        self._relaxation = relaxation(self.actor, self.relaxation_steps, self.relaxation_rate)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_relaxation"]

    def _learn_actor(self, actor: Learner, td_errors: np.ndarray, episode_starts: np.ndarray) -> None:
        if not learn_map_prop(*actor.arguments, td_errors, episode_starts, self.num_timesteps, *self._relaxation):
            raise ValueError(
                f"The relaxation of the hidden units diverged at time step {self.num_timesteps}; the actor did not learn "
                f"from it. Lower relaxation_rate ({self.relaxation_rate}) or the actor's learning rates."
            )
