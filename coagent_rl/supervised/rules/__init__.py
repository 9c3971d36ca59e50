"""Structural credit on batches, one rule a file: what each layer's credit ∂G/∂z is taken to be."""

from coagent_rl.supervised.rules.action_values import ActionValues
from coagent_rl.supervised.rules.backprop import Backprop
from coagent_rl.supervised.rules.base import RULES, Rule, make_rule
from coagent_rl.supervised.rules.disarm import DisARM
from coagent_rl.supervised.rules.equilibrium_propagation import EquilibriumPropagation
from coagent_rl.supervised.rules.feedback_alignment import FeedbackAlignment
from coagent_rl.supervised.rules.map_prop import MAPPropagation
from coagent_rl.supervised.rules.node_perturbation import NodePerturbation
from coagent_rl.supervised.rules.noise_based import NoiseBased
from coagent_rl.supervised.rules.posterior import PosteriorRule
from coagent_rl.supervised.rules.product import ProductRule
from coagent_rl.supervised.rules.rebar import REBAR
from coagent_rl.supervised.rules.reinforce import Reinforce
from coagent_rl.supervised.rules.straight_through import StraightThrough
from coagent_rl.supervised.rules.synthetic_gradients import SyntheticGradients
from coagent_rl.supervised.rules.thomas import Thomas
from coagent_rl.supervised.rules.weight_max import WeightMax

__all__ = [
    "REBAR",
    "RULES",
    "ActionValues",
    "Backprop",
    "DisARM",
    "EquilibriumPropagation",
    "FeedbackAlignment",
    "MAPPropagation",
    "NodePerturbation",
    "NoiseBased",
    "PosteriorRule",
    "ProductRule",
    "Reinforce",
    "Rule",
    "StraightThrough",
    "SyntheticGradients",
    "Thomas",
    "WeightMax",
    "make_rule",
]
