"""Coordinated exploration: REINFORCE of units that do not draw independently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.coordinated_exploration import learn_coordinated_exploration
from coagent_rl.networks import Network
from coagent_rl.schedules import LearningRate


class CoordinatedExploration(CoagentAlgorithm):
    """Coordinated exploration: the units of a layer draw together, by connections U that learn from δ h ⊗ h (Chung 2023).

    A hidden layer is a Boltzmann machine, Pr(h | s) ∝ exp(h·(Ws + b) + ½ h·Uh) with symmetric U; W and U learn by REINFORCE
    from the TD error. U begins at zero, where this is `Reinforce`. See `coagent_rl.networks.coupled` and
    `coagent_rl.credit.coordinated_exploration`.

    Args:
        gibbs_sweeps: how often each unit draws anew, given the others, before the layer's values are passed on.
        centred: whether units learn from h - p and h ⊗ h - p ⊗ p, p being their probabilities without connections, which
            depend on the layer's inputs alone, or from h and h ⊗ h, as in the source. The latter follows the gradient in the
            first layer only, and there only where the TD error is zero on average.

    The others are those of `CoagentAlgorithm`.

    Source: Chung (2023), *Structural credit assignment with coordinated exploration*.
    """

    rule = staticmethod(learn_coordinated_exploration)
    hidden_kinds = ("boltzmann",)

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        gibbs_sweeps: int = 5,
        centred: bool = True,
        **kwargs: Any,
    ) -> None:
        self.gibbs_sweeps = gibbs_sweeps
        self.centred = centred
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **kwargs)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.REINFORCE_RULE)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if type(self.gibbs_sweeps) is not int or self.gibbs_sweeps < 1:
            raise ValueError(f"gibbs_sweeps must be a whole number from 1, not {self.gibbs_sweeps!r}.")
        if not isinstance(self.centred, bool):
            raise ValueError(f"centred must be True or False, not {self.centred!r}.")

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "boltzmann", "gibbs_sweeps": self.gibbs_sweeps}

    def _rule_options(self, network: Network) -> list[float]:
        return [float(self.centred)]
