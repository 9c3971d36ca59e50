"""An environment in which every number tells when it belongs."""

import gymnasium as gym
import numpy as np


class Clock(gym.Env):
    """Observes the time step t of its life and rewards t / 1000; every third episode terminates, the others are cut."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self) -> None:
        self.t, self.episodes = 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.step_of_episode, self.episodes = self.t + 1, 0, self.episodes + 1
        return np.array([self.t], np.float32), {}

    def step(self, action):
        self.t, self.step_of_episode = self.t + 1, self.step_of_episode + 1
        end, terminates = self.step_of_episode == 4, self.episodes % 3 == 0
        return np.array([self.t], np.float32), self.t / 1000, end and terminates, end and not terminates, {}
