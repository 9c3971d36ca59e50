"""Global REINFORCE: the team of agents that all receive the same reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.reinforce import learn_reinforce


class Reinforce(CoagentAlgorithm):
    """Global REINFORCE: every unit learns from the same TD error (Williams 1992).

    Unbiased, and the baseline that structural credit assignment must beat: its variance grows with the number of units.
    Hidden layers of deterministic units belong to the coagents that end at the next stochastic layer above them, inside
    which the chain rule holds; with deterministic hidden layers only this is `Backprop`.

    The arguments are those of `CoagentAlgorithm`.
    """

    rule = staticmethod(learn_reinforce)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.REINFORCE_RULE)

    def _check_networks(self, policy: CoagentPolicy) -> None:
        """It is defined for all kinds of units."""
