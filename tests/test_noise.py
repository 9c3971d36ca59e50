"""Noise that stays from step to step: what it keeps, what it leaves alone, and that training with it goes on bit for bit."""

import gymnasium as gym
import numpy as np
import pytest

from coagent_rl import WeightMax
from coagent_rl.networks import Layer, Network
from coagent_rl.noise import Noise


def drawn(persistence: tuple[float, ...], n_blocks: int = 2) -> tuple[Network, np.ndarray]:
    network = Network(3, [Layer("bernoulli", 20), Layer("softmax", 4)])
    noise = Noise(np.random.default_rng(0))
    blocks = []
    for _ in range(n_blocks):
        noise.draw_block(network, 2, persistence=persistence)
        blocks.append(noise.block.copy())
    return network, np.concatenate(blocks)


def test_units_keep_their_number_as_often_as_is_said() -> None:
    network, block = drawn((0.5, 0.9))
    kept = block[1:] == block[:-1]  # also from one block to the next
    assert kept[..., network.slot(0)].mean() == pytest.approx(0.5, abs=0.01)
    assert kept[..., network.slot(1)].mean() == pytest.approx(0.9, abs=0.01)
    assert not kept[..., :3].any()
    half = len(block) // 2
    assert kept[half - 1, :, network.slot(1)].any()
    # Units decide for themselves, and what they draw is uniform as before.
    together = kept[..., 3].ravel() == kept[..., 4].ravel()
    assert together.mean() == pytest.approx(0.5, abs=0.03)
    assert np.quantile(block[..., network.slot(0)], [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)


def test_without_persistence_nothing_else_is_drawn() -> None:
    np.testing.assert_array_equal(drawn((0.0, 0.0))[1], drawn(())[1])


def test_training_goes_on_and_is_compiled_with_the_same_bits(tmp_path) -> None:
    kwargs = {"policy_kwargs": {"net_arch": [8], "noise_persistence": [0.5, 0.9]}, "seed": 0}
    whole = WeightMax("MlpPolicy", "CartPole-v1", **kwargs).learn(5000)
    stepwise = WeightMax("MlpPolicy", gym.make("CartPole-v1"), **kwargs).learn(5000)
    assert whole.why_step_by_step is None
    assert stepwise.why_step_by_step is not None
    half = WeightMax("MlpPolicy", "CartPole-v1", **kwargs).learn(2500)
    half.learn(2500, reset_num_timesteps=False)
    for other in (stepwise, half):
        np.testing.assert_array_equal(other.policy.actor.parameters, whole.policy.actor.parameters)
    fresh = WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [8]}, seed=0).learn(5000)
    assert np.any(fresh.policy.actor.parameters != whole.policy.actor.parameters)


@pytest.mark.parametrize("given", [1.0, -0.1, [0.5], "often", [0.5, 0.5, np.nan]])
def test_impossible_persistence(given) -> None:
    with pytest.raises(
        ValueError, match=r"noise_persistence must lie in \[0, 1\), a number or one for each of the 3 layers"
    ):
        WeightMax("MlpPolicy", "CartPole-v1", policy_kwargs={"noise_persistence": given})
