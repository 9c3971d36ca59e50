"""Analysis: comparisons of runs, plots, statistics of units, the quality of updates, the relaxation of MAP Propagation.

Names are imported when they are first asked for, so that comparing and drawing runs needs no torch. What compares runs is in
`coagent_rl.analysis.compare`.
"""
# ruff: noqa: F401  imported for type checkers, found by __getattr__

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coagent_rl.analysis.gradients import ExactGradient, exact_gradient
    from coagent_rl.analysis.network_drawing import network_picture
    from coagent_rl.analysis.neurons import NeuronStates, NeuronWatch, neuron_states
    from coagent_rl.analysis.plots import learning_curve, learning_curves, running_mean, sweep_figure
    from coagent_rl.analysis.quality import Quality, gradient_quality
    from coagent_rl.analysis.relaxation import UpdateAngles, relaxation_energies, relaxation_figure, update_angles
    from coagent_rl.analysis.units import LayerStatistics, absolute_correlation, unit_statistics, unit_statistics_figure

_HOMES = {
    "ExactGradient": "gradients",
    "LayerStatistics": "units",
    "NeuronStates": "neurons",
    "NeuronWatch": "neurons",
    "Quality": "quality",
    "UpdateAngles": "relaxation",
    "absolute_correlation": "units",
    "exact_gradient": "gradients",
    "gradient_quality": "quality",
    "learning_curve": "plots",
    "learning_curves": "plots",
    "network_picture": "network_drawing",
    "neuron_states": "neurons",
    "relaxation_energies": "relaxation",
    "relaxation_figure": "relaxation",
    "running_mean": "plots",
    "sweep_figure": "plots",
    "unit_statistics": "units",
    "unit_statistics_figure": "units",
    "update_angles": "relaxation",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"coagent_rl.analysis.{_HOMES[name]}"), name)
