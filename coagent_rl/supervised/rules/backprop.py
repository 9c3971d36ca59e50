"""Backprop: deterministic hidden layers by the chain rule, the comparator."""

from __future__ import annotations

from coagent_rl.supervised.rules.base import DETERMINISTIC_KINDS, Rule, register


@register
class Backprop(Rule):
    """c_i = m'(z_i) Σ_j w_ij c_j: the whole network is one coagent. See `BatchLayer.chain_rule`.

    Source: Rumelhart, Hinton & Williams (1986).
    """

    name = "backprop"
    why_all_explore = "its units do not explore"
    kinds = DETERMINISTIC_KINDS
    units = "relu"
    reason = "a value that was drawn has no derivative (straight_through takes one all the same)"
