"""Equilibrium propagation: hidden units settle with a nudged output, and learn from how they moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.equilibrium_propagation import learn_equilibrium_propagation
from coagent_rl.networks import Network
from coagent_rl.networks.units import DETERMINISTIC, kinds_of
from coagent_rl.schedules import LearningRate


class EquilibriumPropagation(CoagentAlgorithm):
    """Equilibrium propagation: hidden units learn from how a nudge of the output moves them (Scellier & Bengio 2017).

    The network's energy is ½ Σ_l ‖h^l - m(z^l)‖², whose free equilibrium is the forward pass. In a second phase the output
    is nudged towards the action taken, by β log π(a|h); hidden units settle again, and the difference of the two phases over
    β, times the TD error, is what the weights learn from. The smaller β and the more steps, the closer it is to `Backprop`.
    (The energy is not the paper's Hopfield energy, whose free phase would have to settle before an action can be chosen.
    With this one the nudged phase is the relaxation of `MAPProp` with variance β, begun at the means.)

    Args:
        nudge: β > 0.
        relaxation_steps: from 1, steps down the nudged energy; a hidden layer k layers below the output needs k at least.
        relaxation_rate: step size; large weights need a small one, since the energy is steep where they are.

    The others are those of `CoagentAlgorithm`; hidden units are deterministic, of kind ``tanh`` unless ``policy_kwargs`` say
    otherwise.

    Raises:
        ValueError: also if the relaxation diverges, before the network that diverged learns from it.
    """

    rule = staticmethod(learn_equilibrium_propagation)
    hidden_kinds = kinds_of(DETERMINISTIC)

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        nudge: float = 0.1,
        relaxation_steps: int = 20,
        relaxation_rate: float = 0.02,
        **kwargs: Any,
    ) -> None:
        self.nudge = nudge
        self.relaxation_steps = relaxation_steps
        self.relaxation_rate = relaxation_rate
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Draw what every agent has, and the nudge."""
        drawn = search.actor_critic(trial, settings, search.GRADIENT_RULE)
        return {**drawn, "nudge": trial.suggest_categorical("nudge", (0.01, 0.1, 1.0))}

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_positive("nudge")
        self._check_positive("relaxation_rate")
        steps = self.relaxation_steps
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise ValueError(f"relaxation_steps must be a whole number from 1, not {steps!r}.")

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "tanh"}

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.relaxation_steps), float(self.relaxation_rate), float(self.nudge)]

    def _rule_diverged(self) -> str:
        return (
            "The relaxation of the hidden units diverged. Lower relaxation_rate "
            f"({self.relaxation_rate}), nudge ({self.nudge}) or the actor's learning rates"
        )
