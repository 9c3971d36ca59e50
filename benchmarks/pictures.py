"""The picture of a trained network: ``python -m benchmarks.pictures --overwrite``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coagent_rl.files import check_writable

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "network.png"


def draw(path: Path) -> None:
    """Train a small network on CartPole and draw it in the act."""
    from coagent_rl import WeightMax
    from coagent_rl.analysis.network_drawing import network_picture
    from coagent_rl.training.hyperparameters import RUN_KEYS, load_hyperparameters

    settings = {k: v for k, v in load_hyperparameters("weight_max", "CartPole-v1").items() if k not in RUN_KEYS}
    model = WeightMax("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={"net_arch": [12, 8]}, **settings).learn(60_000)
    network_picture(path, model.policy.actor, np.array([0.1, -0.3, 0.05, 0.4]), env_id="CartPole-v1")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=draw.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--output", type=Path, default=PICTURE, metavar="FILE.png", help="where the picture goes")
    p.add_argument("--overwrite", action="store_true", help="replace the picture that is there")
    arguments = p.parse_args(argv)
    if arguments.output.exists() and not arguments.overwrite:
        p.error(f"{arguments.output} is there already: give --overwrite, or another --output")
    check_writable(arguments.output, "--output")
    draw(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
