"""The agents: Stable-Baselines3 algorithm classes, one file each."""

from coagent_rl.agents.backprop import Backprop
from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.decentralized_ddpg import DecentralizedDDPG
from coagent_rl.agents.map_prop import MAPProp
from coagent_rl.agents.node_perturbation import NodePerturbation
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.agents.reinforce import Reinforce
from coagent_rl.agents.straight_through import STEBackprop
from coagent_rl.agents.thomas import ReinforceThomas
from coagent_rl.agents.weight_max import WeightMax

__all__ = [
    "Backprop",
    "CoagentAlgorithm",
    "CoagentPolicy",
    "DecentralizedDDPG",
    "MAPProp",
    "NodePerturbation",
    "Reinforce",
    "ReinforceThomas",
    "STEBackprop",
    "WeightMax",
]
