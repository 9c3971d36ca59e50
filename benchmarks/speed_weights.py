"""What a learning step costs against the number of weights, beside what the memory's bandwidth allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from coagent_rl import WeightMax
from coagent_rl.arrays import Arrays
from coagent_rl.credit.weight_max import learn_weight_max
from coagent_rl.kernel import Array, releasing_kernel
from coagent_rl.optimizers import ADAM, step

WIDTHS, DEPTH = (16, 32, 64, 128, 256, 512, 1024), 2
DEPTHS, WIDTH = (1, 2, 4, 8), 128
BYTES_A_WEIGHT = 24
"""A parameter and two running means of four bytes each, read and written."""
FAR_BEYOND_THE_CACHE = 1 << 25  # numbers of four bytes in each of three arrays: 400 MB
IN_THE_NEAREST_CACHE = 1 << 10  # in each of four: 16 kB


@releasing_kernel
def triad(a: Array, b: Array, c: Array, n_times: int) -> None:
    """The triad of STREAM (McCalpin 1995), a = b + s c, so many times; it counts as twelve bytes an entry."""
    for number in range(n_times):
        s = a.dtype.type(number)
        for k in range(a.size):
            a[k] = b[k] + s * c[k]


@releasing_kernel
def read_and_write(a: Array, b: Array, c: Array, n_times: int) -> None:
    """Read and write three arrays, so many times: the way of an optimizer's step through memory without its arithmetic."""
    for number in range(n_times):
        s = a.dtype.type(number)
        for k in range(a.size):
            a[k] += s
            b[k] += s
            c[k] += s


@releasing_kernel
def learn_repeatedly(arrays: Arrays, reinforcements: Array, episode_starts: Array, n_times: int) -> bool:
    """Take so many learning steps of Weight Max from the same values of all units."""
    fine = True
    for number in range(n_times):
        fine = learn_weight_max(arrays, reinforcements, episode_starts, float(number)) and fine
    return fine


@releasing_kernel
def adam_repeatedly(direction: Array, parameters: Array, first: Array, second: Array, n_times: int) -> None:
    """Take so many steps of Adam up the same direction."""
    for _ in range(n_times):
        step(ADAM, direction, 1e-6, (1.0, 1.0), 0.0, parameters, first, second)


def seconds_each(work: Callable[[int], Any], n_times: int) -> float:
    """Process time of each of so many times."""
    started = time.process_time()
    work(n_times)
    return (time.process_time() - started) / n_times


def fitting(work: Callable[[int], Any], seconds: float) -> int:
    """Warm up, and return how many times take about so many seconds."""
    work(1)
    n_times = 1
    while (took := seconds_each(work, n_times) * n_times) < seconds / 4:
        n_times *= 4
    return max(1, round(n_times * seconds / took))


class Size:
    """Networks of one width and depth, and arrays as large as their parameters and moments."""

    def __init__(self, width: int, depth: int, seconds: float) -> None:
        model = WeightMax(
            "MlpPolicy",
            "CartPole-v1",
            actor_learning_rate=1e-6,
            critic=None,
            seed=0,
            policy_kwargs={"net_arch": [width] * depth},
        )
        self.width, self.depth, self.n_weights = width, depth, model.policy.actor.parameters.size
        model.learn(100)
        arrays, starts = model.actor_learner.arrays, np.zeros(1, bool)
        reinforcements = np.full_like(model.critic_model.reinforcements, 0.1)
        a, b, c = (np.ones(self.n_weights, np.float32) for _ in range(3))

        def rule(n_times: int) -> None:
            if not learn_repeatedly(arrays, reinforcements, starts, n_times):
                raise AssertionError("The network that is timed diverged.")

        works: dict[str, Callable[[int], Any]] = {
            "triad": lambda n: triad(a, b, c, n),
            "read_and_write": lambda n: read_and_write(a, b, c, n),
            "rule": rule,
            "step": lambda n: model.learn(n, reset_num_timesteps=False),
        }
        self._works = {name: (work, fitting(work, seconds)) for name, work in works.items()}
        self.nanoseconds: dict[str, list[float]] = {name: [] for name in works}

    def measure(self) -> None:
        """Time everything once, one thing after the other."""
        for name, (work, n_times) in self._works.items():
            self.nanoseconds[name].append(seconds_each(work, n_times) / self.n_weights * 1e9)

    def record(self) -> dict[str, Any]:
        """What is written of it: nanoseconds a weight, one number a round."""
        return {"width": self.width, "depth": self.depth, "weights": self.n_weights, "nanoseconds": self.nanoseconds}


def measure(n_rounds: int, seconds: float, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Time learning steps and the ways through memory, in rounds.

    Args:
        n_rounds: number of rounds; each times everything once.
        seconds: process time that each measurement takes.
        sizes: width and depth of the hidden layers.

    Returns:
        ``"large"``, nanoseconds an entry of arrays far larger than the cache; ``"adam"``, those of Adam's arithmetic, in the
        nearest cache; ``"sizes"``, `Size.record` of each.
    """
    timed = [Size(width, depth, seconds) for width, depth in sizes]
    a, b, c = (np.ones(FAR_BEYOND_THE_CACHE, np.float32) for _ in range(3))
    large: dict[str, list[float]] = {"triad": [], "read_and_write": []}
    adam: list[float] = []
    g, w, m, v = (np.full(IN_THE_NEAREST_CACHE, 0.1, np.float32) for _ in range(4))
    n_adam = fitting(lambda n: adam_repeatedly(g, w, m, v, n), seconds)
    for _ in range(n_rounds):
        adam.append(seconds_each(lambda n: adam_repeatedly(g, w, m, v, n), n_adam) / IN_THE_NEAREST_CACHE * 1e9)
        for name, way in (("triad", triad), ("read_and_write", read_and_write)):
            work = lambda n, way=way: way(a, b, c, n)  # noqa: E731
            large[name].append(seconds_each(work, 2) / a.size * 1e9)
        for size in timed:
            size.measure()
    return {"large": large, "adam": adam, "sizes": [size.record() for size in timed]}
