"""Critics: who computes the reinforcement that the actor's output layer receives?"""

from coagent_rl.critics.map_prop import MAPPropCritic
from coagent_rl.critics.reward import RewardCritic
from coagent_rl.critics.td_lambda import TDLambdaCritic

__all__ = ["MAPPropCritic", "RewardCritic", "TDLambdaCritic"]
