"""The agents: Stable-Baselines3 algorithm classes, one file each."""

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.agents.reinforce import Reinforce
from coagent_rl.agents.weight_max import WeightMax

__all__ = ["CoagentAlgorithm", "CoagentPolicy", "Reinforce", "WeightMax"]
