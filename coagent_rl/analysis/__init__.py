"""Analysis: plots and statistics of units."""

from coagent_rl.analysis.plots import learning_curve, network_picture, running_mean
from coagent_rl.analysis.units import LayerStatistics, absolute_correlation, unit_statistics, unit_statistics_figure

__all__ = [
    "LayerStatistics",
    "absolute_correlation",
    "learning_curve",
    "network_picture",
    "running_mean",
    "unit_statistics",
    "unit_statistics_figure",
]
