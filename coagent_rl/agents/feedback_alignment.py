"""Direct feedback alignment: what reaches the hidden layers are fixed random mixtures of the output's score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.credit.feedback_alignment import learn_feedback_alignment
from coagent_rl.networks import Network
from coagent_rl.networks.units import DETERMINISTIC, kinds_of
from coagent_rl.streams import generator


class FeedbackAlignment(CoagentAlgorithm):
    """Direct feedback alignment: hidden units get the output's score through fixed random weights (Nøkland 2016).

    Like backprop, but no unit reads a forward weight backwards. Feedback weights are uniform in ±1/√n_out and never change.

    The arguments are those of `CoagentAlgorithm`; hidden units are deterministic, of kind ``relu`` unless ``policy_kwargs``
    say otherwise.
    """

    rule = staticmethod(learn_feedback_alignment)
    hidden_kinds = kinds_of(DETERMINISTIC)

    def _policy_arguments(self) -> dict[str, Any]:
        return {"units": "relu"}

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.GRADIENT_RULE)

    def _rule_store(self, network: Network, n_rows: int) -> np.ndarray:
        n_out = network.layers[-1].n_pre
        bound = 1.0 / np.sqrt(n_out)
        return generator(self.seed, "feedback").uniform(-bound, bound, (1, 1, n_out, network.width))
