"""Speed on CartPole-v1 with one environment, all in one run and in pairs: ``python -m benchmarks.speed``.

Each round times, one after the other, the bare `DummyVecEnv` + `Monitor` loop with random actions, the same with the
`SerialVecEnv` that the agents make, Stable-Baselines3's A2C with the same hidden layers, and the agents through
`learn`. What an agent takes beyond the bare loop of its own kind of environment is the time in the agent. Reported
are medians over the rounds of the ratios within a round, so that a machine whose speed drifts does not matter;
absolute numbers are this machine's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np

ENV = "CartPole-v1"
HIDDEN = [64, 32]

START = """
import sys, time
started = time.perf_counter()
from coagent_rl import WeightMax
WeightMax("MlpPolicy", "CartPole-v1", seed=0).learn(1)
print(time.perf_counter() - started)
"""


def start_up_seconds() -> tuple[float, float]:
    """Seconds from the first import to the first learned step: without machine code on disk, and with it."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        times = [
            float(
                subprocess.run(
                    [sys.executable, "-c", START], check=True, capture_output=True, text=True, env=environment
                ).stdout
            )
            for _ in range(2)
        ]
    return times[0], times[1]


def timed(work: Callable[[], object], n_steps: int) -> float:
    """Microseconds per step."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / n_steps * 1e6


def measure(n_rounds: int, n_steps: int) -> dict[str, np.ndarray]:
    """Microseconds per step of every contender in every round."""
    import gymnasium as gym
    import torch as th
    from stable_baselines3 import A2C
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from coagent_rl.envs.vec_env import SerialVecEnv
    from coagent_rl.registry import algorithm_class
    from coagent_rl.training.hyperparameters import RUN_KEYS, load_hyperparameters

    th.set_num_threads(1)

    def agent(algorithm: str) -> Callable[[int], object]:
        settings = {k: v for k, v in load_hyperparameters(algorithm, ENV).items() if k not in RUN_KEYS}
        settings["policy_kwargs"] = {**settings.get("policy_kwargs", {}), "net_arch": HIDDEN}
        model = algorithm_class(algorithm)("MlpPolicy", ENV, seed=0, **settings).learn(2 * n_steps)
        return lambda n: model.learn(n, reset_num_timesteps=False)

    actions = np.random.default_rng(0).integers(0, 2, (n_steps, 1))

    def bare(kind: type[DummyVecEnv]) -> Callable[[int], None]:
        env = kind([lambda: Monitor(gym.make(ENV))])
        env.reset()

        def loop(n: int) -> None:
            for action in actions[:n]:
                env.step(action)

        return loop

    a2c = A2C("MlpPolicy", ENV, policy_kwargs={"net_arch": HIDDEN}, device="cpu", seed=0)
    contenders: dict[str, tuple[Callable[[int], object], int]] = {
        "bare loop": (bare(DummyVecEnv), n_steps),
        "bare loop, SerialVecEnv": (bare(SerialVecEnv), n_steps),
        "A2C": (lambda n: a2c.learn(n), n_steps // 10),
        "weight_max": (agent("weight_max"), n_steps),
        "reinforce": (agent("reinforce"), n_steps),
        "map_prop": (agent("map_prop"), n_steps // 2),
        "decentralized_ddpg": (agent("decentralized_ddpg"), n_steps // 2),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(n_rounds):
        for name, (work, n) in contenders.items():
            times[name].append(timed(lambda work=work, n=n: work(n), n))  # type: ignore[misc]
    return {name: np.array(values) for name, values in times.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--steps", type=int, default=20_000, help="per contender and round (A2C a tenth, slower agents half)")
    arguments = p.parse_args(argv)
    times = measure(arguments.rounds, arguments.steps)
    print(f"\n{ENV}, one environment, hidden layers {HIDDEN}, medians of {arguments.rounds} paired rounds\n")
    print("| | µs per step | steps/s | × A2C | share of the bare loop's speed | µs per step in the agent |")
    print("|---|---|---|---|---|---|")

    def inside(name: str, values: np.ndarray) -> str:
        if name.startswith("bare loop"):
            return ""
        own = "bare loop" if name == "A2C" else "bare loop, SerialVecEnv"
        return f"{np.median(values - times[own]):.1f}"

    for name, values in times.items():
        print(
            f"| {name} | {np.median(values):.1f} | {1e6 / np.median(values):.0f} | {np.median(times['A2C'] / values):.1f} | "
            f"{np.median(times['bare loop'] / values):.0%} | {inside(name, values)} |"
        )
    cold, warm = start_up_seconds()
    print(f"\nFrom import to the first learned step: {cold:.1f} s without compiled kernels on disk, {warm:.1f} s with them.")


if __name__ == "__main__":
    main()
