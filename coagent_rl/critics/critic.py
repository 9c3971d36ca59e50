"""What all critics share: how they are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from coagent_rl.arrays import Arrays
from coagent_rl.learner import Learner
from coagent_rl.networks import Network


class Critic:
    """Learns from a transition and writes one reinforcement for each of the actor's pre-activations.

    Args:
        actor: the network that is judged.
        n_rows: number of transitions that a learning step learns from.

    Attributes:
        td_errors: δ of every transition, shape (n_rows,), float64; without a value to compare with, the reward itself.
        reinforcements: what every unit is told, shape (n_rows, width): the same for all, or a neuron's own.
        kernel: the compiled learning step, ``(learners, actor, transition, time, td_errors, reinforcements) -> bool``: the
            arrays of the critic's own learners, those of the actor if ``reads_actor`` (an empty tuple otherwise), those of
            `coagent_rl.arrays.Transition`, environment steps so far, and the two arrays that it writes. It returns whether
            what it was given, and what it made of it, is finite; nothing is learned where it is not.
        diverged: what has diverged, and what helps, where the given transition was finite and the kernel returns False.
    """

    kernel: Callable[..., bool]
    reads_actor: ClassVar[bool] = False
    diverged: ClassVar[str] = "The reinforcement is not finite"

    def __init__(self, actor: Network, n_rows: int) -> None:
        self.td_errors = np.zeros(n_rows)
        self.reinforcements = np.zeros((n_rows, actor.width), actor.parameters.dtype)

    @property
    def learners(self) -> tuple[Arrays, ...]:
        """Arrays of the critic's own learners, for its kernel."""
        return ()

    def before_step(self) -> None:
        """Draw what the next call of the kernel needs."""

    def steps_until_draw(self) -> int:
        """Draw what a compiled loop needs, and say for how many steps that is enough; see `drawn`."""
        return 2**62

    def drawn(self, n_steps: int) -> None:
        """Note that a compiled loop has used what was drawn for so many steps."""

    def learn(self, actor: Learner, transition: Arrays, time: float) -> bool:
        """Learn from one transition per row, and write ``td_errors`` and ``reinforcements``; see ``kernel``."""
        self.before_step()
        judged = actor.arrays if self.reads_actor else ()
        return self.kernel(self.learners, judged, transition, time, self.td_errors, self.reinforcements)
