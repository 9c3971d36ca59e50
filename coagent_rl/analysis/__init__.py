"""Analysis: plots, statistics of units, and the relaxation of MAP Propagation."""

from coagent_rl.analysis.neurons import NeuronStates, NeuronWatch, neuron_states
from coagent_rl.analysis.plots import learning_curve, learning_curves, network_picture, running_mean, sweep_figure
from coagent_rl.analysis.relaxation import UpdateAngles, relaxation_energies, relaxation_figure, update_angles
from coagent_rl.analysis.units import LayerStatistics, absolute_correlation, unit_statistics, unit_statistics_figure

__all__ = [
    "LayerStatistics",
    "NeuronStates",
    "NeuronWatch",
    "UpdateAngles",
    "absolute_correlation",
    "learning_curve",
    "learning_curves",
    "network_picture",
    "neuron_states",
    "relaxation_energies",
    "relaxation_figure",
    "running_mean",
    "sweep_figure",
    "unit_statistics",
    "unit_statistics_figure",
    "update_angles",
]
