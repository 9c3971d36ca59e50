"""The product rule, of which Weight Maximization is the first order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.credit.product import learn_product


class ProductRule(CoagentAlgorithm):
    """Product rule: a hidden unit that fired is told how much less likely the layer above had been without it.

    Unit i learns by REINFORCE from R_i = R h_i (1 - Π_j Pr(h'_j | z_j - w_ij) / Pr(h'_j | z_j)), with h' the layer above.
    Unbiased, and to first order in the weights half of what Weight Maximization says. See `coagent_rl.credit.product`.

    The arguments are those of `CoagentAlgorithm`; hidden units are Bernoulli.
    """

    rule = staticmethod(learn_product)
    hidden_kinds = ("bernoulli",)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.REINFORCE_RULE)
