"""The posterior rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.credit.posterior import learn_posterior


class PosteriorRule(CoagentAlgorithm):
    """Posterior rule: REINFORCE with a hidden unit's value replaced by its probability given all that it touches.

    The score h - p becomes q - p, q_i = σ(z_i + Σ_j log Pr(h'_j | h_i = 1) / Pr(h'_j | h_i = 0)), with h' the layer above.
    Unbiased as REINFORCE is, and never noisier. See `coagent_rl.credit.posterior`.

    The arguments are those of `CoagentAlgorithm`; hidden units are Bernoulli.
    """

    rule = staticmethod(learn_posterior)
    hidden_kinds = ("bernoulli",)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.REINFORCE_RULE)
