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
