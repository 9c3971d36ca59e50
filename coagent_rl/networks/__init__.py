"""What a network is: units, layers, parameters, the forward pass."""

from coagent_rl.networks.network import Layer, Network
from coagent_rl.networks.units import MEAN, MOST_LIKELY, SAMPLE, SAMPLE_HIDDEN, UNIT_KINDS

__all__ = ["MEAN", "MOST_LIKELY", "SAMPLE", "SAMPLE_HIDDEN", "UNIT_KINDS", "Layer", "Network"]
