"""The package's own environments, registered with Gymnasium under ``coagent_rl/…``."""

from gymnasium.envs.registration import register

register(
    id="coagent_rl/Multiplexer-v0",
    entry_point="coagent_rl.envs.multiplexer:MultiplexerEnv",
    vector_entry_point="coagent_rl.envs.multiplexer:MultiplexerVectorEnv",
)
register(
    id="coagent_rl/Corridor-v0",
    entry_point="coagent_rl.envs.corridor:CorridorEnv",
    max_episode_steps=1000,
    reward_threshold=100.0,
)
register(
    id="coagent_rl/PiecewiseRandomWalk-v0",
    entry_point="coagent_rl.envs.piecewise_random_walk:PiecewiseRandomWalkEnv",
    vector_entry_point="coagent_rl.envs.piecewise_random_walk:PiecewiseRandomWalkVectorEnv",
)
register(
    id="coagent_rl/Supervised-v0",
    entry_point="coagent_rl.envs.supervised:SupervisedEnv",
    vector_entry_point="coagent_rl.envs.supervised:SupervisedVectorEnv",
)
