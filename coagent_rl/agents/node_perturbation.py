"""Node perturbation: what follows a neuron's noise tells it which way to move its mean."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.type_aliases import GymEnv

from coagent_rl.agents.noisy import NoisyNeurons
from coagent_rl.agents.policy import CoagentPolicy
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.schedules import LearningRate


class NodePerturbation(NoisyNeurons):
    """Node perturbation with eligibility traces: e ← γλ e + v (ξ / σ²) f'(z), K ← K + α δ e, with a neuron's noise ξ.

    The comparator of `DecentralizedDDPG` without any critic in the neurons: the same network, noise and TD error. It is
    global REINFORCE for neurons with noise of a fixed size, and exactly so only with white noise.

    The arguments are those of `NoisyNeurons` and `CoagentAlgorithm`.

    Raises:
        ValueError: for values out of range.

    Source: Williams (1992), §6; Werfel, Xie & Seung (2005).

    Example:
        >>> from coagent_rl import NodePerturbation
        >>> model = NodePerturbation("MlpPolicy", "Pendulum-v1", seed=0).learn(1_000)
        >>> model.num_timesteps
        1000
    """

    rule = staticmethod(learn_reinforce)

    def __init__(
        self,
        policy: str | type[CoagentPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        actor_learning_rate: LearningRate | None = None,
        critic_learning_rate: LearningRate | None = None,
        *,
        noise_correlation_rate: float = 1.0,
        actor_lambda: float = 0.9,
        **kwargs: Any,
    ) -> None:
        own = {"noise_correlation_rate": noise_correlation_rate, "actor_lambda": actor_lambda}
        super().__init__(policy, env, actor_learning_rate, critic_learning_rate, **own, **kwargs)
