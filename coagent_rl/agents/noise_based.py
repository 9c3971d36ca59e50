"""Noise-based reward-modulated learning: did the hidden units' noise make the action more probable?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces

from coagent_rl.agents import search
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import hidden_sizes
from coagent_rl.credit.noise_based import learn_noise_based
from coagent_rl.networks import UNIT_KINDS
from coagent_rl.networks.units import GAUSSIAN, GAUSSIAN_PREACTIVATION

HIDDEN_VARIANCE, OUTPUT_VARIANCE = 0.01, 0.25


class NoiseBased(CoagentAlgorithm):
    """Noise-based learning: what noise adds to the action's log-probability is credited to the noise (arXiv 2503.23972).

    A second pass without the hidden units' noise says how probable the action would have been. Each hidden unit learns from
    how much more probable it was with the noise, times its own noise; the TD error says whether the action was good.

    The arguments are those of `CoagentAlgorithm`. Hidden units are Gaussian, of kind ``gaussian_preactivation_relu`` (noise
    before the activation) with the variance 0.01 unless ``policy_kwargs`` say otherwise.
    """

    rule = staticmethod(learn_noise_based)

    @classmethod
    def search_space(cls, trial: search.Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
        """See `CoagentAlgorithm.search_space`."""
        return search.actor_critic(trial, settings, search.GRADIENT_RULE)

    def _policy_arguments(self) -> dict[str, Any]:
        units = self.policy_kwargs.get("units", "gaussian_preactivation_relu")
        for kind in [units] if isinstance(units, str) else units:
            if UNIT_KINDS.get(kind, (None,))[0] not in (GAUSSIAN, GAUSSIAN_PREACTIVATION):
                raise ValueError(f"Noise-based learning trains hidden units with Gaussian noise, not {kind!r} ones.")
        n_hidden = len(hidden_sizes(self.policy_kwargs.get("net_arch"))[0])
        has_gaussian_output = isinstance(self.action_space, spaces.Box)
        return {"units": units, "variance": [HIDDEN_VARIANCE] * n_hidden + [OUTPUT_VARIANCE] * has_gaussian_output}
