"""Critics: who says how good it was? Each writes one reinforcement for every unit of the actor."""

from coagent_rl.critics.critic import Critic
from coagent_rl.critics.map_prop import MAPPropCritic
from coagent_rl.critics.per_neuron import NeuronCritics
from coagent_rl.critics.reward import RewardCritic
from coagent_rl.critics.td_lambda import TDLambdaCritic

__all__ = ["Critic", "MAPPropCritic", "NeuronCritics", "RewardCritic", "TDLambdaCritic"]
