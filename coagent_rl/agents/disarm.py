"""DisARM: REINFORCE against an antithetic twin of every hidden layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.credit.disarm import learn_disarm


class DisARM(CoagentAlgorithm):
    """DisARM: a hidden layer learns by comparison with its twin that drew the opposite noise (Dong, Mnih & Tucker 2020).

    For each hidden layer a second pass says how probable the action would have been, had its units drawn with the opposite
    noise and the layers above with the same. The estimate is unbiased, and what made no difference to the action learns
    nothing from it. `REBAR` needs derivatives through the network too; this needs passes only.

    The arguments are those of `CoagentAlgorithm`; hidden units must be of kind ``bernoulli``.
    """

    rule = staticmethod(learn_disarm)
    hidden_kinds = ("bernoulli",)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.REINFORCE_RULE)
