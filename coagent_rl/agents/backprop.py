"""Backprop: deterministic hidden units, trained by the chain rule; the output units learn by REINFORCE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.networks.units import DETERMINISTIC, kinds_of


class Backprop(CoagentAlgorithm):
    """Actor-critic with eligibility traces whose hidden units are deterministic (ReLU) and learn by backprop.

    Not a coagent rule: the comparator that coagent networks are measured by (Chung 2022, table 1). It is REINFORCE with a
    single coagent, the whole network.

    The arguments are those of `CoagentAlgorithm`; hidden units are deterministic, of kind ``relu`` unless ``policy_kwargs``
    say otherwise. `STEBackprop` is for Bernoulli units.
    """

    rule = staticmethod(learn_reinforce)
    hidden_kinds = kinds_of(DETERMINISTIC)

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "relu"}

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.GRADIENT_RULE)
