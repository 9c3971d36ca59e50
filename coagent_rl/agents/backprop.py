"""Backprop: deterministic hidden units, trained by the chain rule; the output units learn by REINFORCE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.reinforce import learn_reinforce


class Backprop(CoagentAlgorithm):
    """Actor-critic with eligibility traces whose hidden units are deterministic (ReLU) and learn by backprop.

    Not a coagent rule: the comparator that coagent networks are measured by (Chung 2022, table 1). It is REINFORCE with a
    single coagent, the whole network.

    The arguments are those of `CoagentAlgorithm`; hidden units are of kind ``relu`` unless ``policy_kwargs`` say otherwise.
    """

    rule = staticmethod(learn_reinforce)

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "relu"}

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.GRADIENT_RULE)

    def _check_networks(self, policy: CoagentPolicy) -> None:
        for layer in policy.actor.layers[:-1]:
            if layer.is_stochastic:
                raise ValueError(f"Backprop trains deterministic hidden units, not {layer.kind!r} ones; see STEBackprop.")
