"""A task of one step whose best action is known."""

import gymnasium as gym
import numpy as np


class Follow(gym.Env):
    """The reward falls with the distance of the action from ``sign`` times the observation."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return self.x, {}

    def step(self, action):
        return self.x, -float((action[0] - self.sign * self.x[0]) ** 2), True, False, {}
