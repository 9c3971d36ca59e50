"""Evaluation of a trained model, and what can be said about its mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from coagent_rl.agents.base import CoagentAlgorithm


def evaluate(
    model: CoagentAlgorithm, env: VecEnv, n_episodes: int, deterministic: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths of ``n_episodes`` episodes, each of shape (n_episodes,)."""
    from stable_baselines3.common.evaluation import evaluate_policy  # not above: the interval alone needs no torch

    returns, lengths = evaluate_policy(model, env, n_episodes, deterministic=deterministic, return_episode_rewards=True)
    return np.array(returns, dtype=float), np.array(lengths, dtype=int)


def bootstrap_interval(
    sample: np.ndarray, level: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap confidence interval of the mean.

    Args:
        sample: shape (n,), n ≥ 1.
        level: coverage wanted.
        seed: of the resampling, so that the same sample gives the same interval.

    Raises:
        ValueError: for an empty sample.

    Source: Efron & Tibshirani (1993), ch. 13.
    """
    if sample.size == 0:
        raise ValueError("There is no confidence interval of an empty sample.")
    rng = np.random.default_rng(seed)
    means = rng.choice(sample, size=(n_resamples, sample.size)).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
