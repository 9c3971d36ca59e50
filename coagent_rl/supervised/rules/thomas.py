"""REINFORCE with fewer explorers: the variance reduction of Thomas (2011)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coagent_rl.schedules import is_positive
from coagent_rl.supervised.batch import BatchLayer
from coagent_rl.supervised.rules.base import register
from coagent_rl.supervised.rules.reinforce import Reinforce


@register
@dataclass
class Thomas(Reinforce):
    """c = A ∂ ln π / ∂z for units that explored, zero for the others, which took their most likely value.

    Each hidden unit explores with a given probability, anew on every path. See `coagent_rl.credit.thomas`.

    Attributes:
        exploration_probability: q in (0, 1].
    """

    exploration_probability: float = 0.1

    name = "thomas"
    why_all_explore = "it chooses the units that explore itself"

    def __post_init__(self) -> None:
        if not is_positive(self.exploration_probability) or self.exploration_probability > 1.0:
            raise ValueError(f"exploration_probability must lie in (0, 1], not {self.exploration_probability!r}.")

    def draw(self, layer: BatchLayer, rng: np.random.Generator) -> None:
        chances = rng.random((layer.n_rows, layer.n_values), dtype=np.float32)
        layer.exploring = chances < self.exploration_probability
        super().draw(layer, rng)
