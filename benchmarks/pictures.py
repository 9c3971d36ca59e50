"""The picture in the README: ``python -m benchmarks.pictures``."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def main() -> None:
    """Train a small network on CartPole and draw it in the act."""
    from coagent_rl import WeightMax
    from coagent_rl.analysis.plots import network_picture
    from coagent_rl.training.hyperparameters import RUN_KEYS, load_hyperparameters

    settings = {k: v for k, v in load_hyperparameters("weight_max", "CartPole-v1").items() if k not in RUN_KEYS}
    model = WeightMax("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={"net_arch": [12, 8]}, **settings).learn(60_000)
    path = Path(__file__).parents[1] / "docs" / "images" / "network.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    network_picture(path, model.policy.actor, np.array([0.1, -0.3, 0.05, 0.4]))
    print(path)


if __name__ == "__main__":
    main()
