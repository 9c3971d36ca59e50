"""The table of MAP Propagation (Chung 2021): ``python -m benchmarks.map_prop table --seeds 0-9 --n-jobs 2``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.tables import Method, Table, parse

MOUNTAIN_CAR = "MountainCarContinuous-v0"
PLAIN_MAP = {"env_wrapper": None}

METHODS: dict[str, Method] = {
    "map_prop": Method("MAP Propagation", "map_prop", "map_prop"),
    "map_prop_plain": Method("MAP Propagation, plain action map", "map_prop", "map_prop", PLAIN_MAP, {MOUNTAIN_CAR: {}}),
    "reinforce": Method(
        "the same without relaxation (REINFORCE)",
        "map_prop",
        "map_prop",
        {"relaxation_steps": 0, "critic_kwargs": {"relaxation_steps": 20}},
        {"CartPole-v1": {}, "Acrobot-v1": {}, MOUNTAIN_CAR: {}},
    ),
    "frozen": Method("hidden units frozen, output layer tuned", "map_prop", "map_prop", {"frozen_layers": "hidden"}, {}),
}

PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "map_prop": {
        "CartPole-v1": (459.70, 13.89),
        "Acrobot-v1": (-100.29, 5.40),
        "LunarLander-v3": (127.88, 24.57),
        MOUNTAIN_CAR: (39.45, 30.48),
    },
}
"""Mean and standard deviation of the average return over all episodes, 10 runs (Chung 2021)."""

TABLE = Table(
    "map_prop",
    {"CartPole-v1": 1000, "Acrobot-v1": 500, "LunarLander-v3": 2500, MOUNTAIN_CAR: 500},
    METHODS,
    PUBLISHED,
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    commands = p.add_subparsers(required=True)
    TABLE.add_command(commands, "table", "average return over all episodes, MAP Propagation and its controls")
    parse(p, commands, argv)


if __name__ == "__main__":
    main()
