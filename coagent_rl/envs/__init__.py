"""The package's own environments, registered with Gymnasium under ``coagent_rl/…``."""
