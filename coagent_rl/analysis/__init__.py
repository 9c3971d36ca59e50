"""Analysis: plots and statistics of units."""

from coagent_rl.analysis.plots import learning_curve, learning_curves, network_picture, running_mean, sweep_figure
from coagent_rl.analysis.units import LayerStatistics, absolute_correlation, unit_statistics, unit_statistics_figure

__all__ = [
    "LayerStatistics",
    "absolute_correlation",
    "learning_curve",
    "learning_curves",
    "network_picture",
    "running_mean",
    "sweep_figure",
    "unit_statistics",
    "unit_statistics_figure",
]
