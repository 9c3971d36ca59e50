"""Short runs of every agent, trace form and critic, kept from version 0.1.0: a change of the house changes no result.

The parameters after 200 steps are those of one machine; on another, vector instructions round otherwise, and the order of
additions may change with the layout of a loop. Adam makes steps of one size out of directions near zero, and on one
processor a parameter of 202 moved by 5e-4; so they are compared to a few times single precision. Rules without traces no
longer make x ⊗ score first and multiply by the signal then: the same product in another order.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from coagent_rl import (
    Backprop,
    DecentralizedDDPG,
    MAPProp,
    NodePerturbation,
    Reinforce,
    ReinforceThomas,
    STEBackprop,
    WeightMax,
)

STORED = Path(__file__).parent / "stored_runs.npz"
RATES = {"actor_learning_rate": [1e-2, 1e-3, 1e-3], "critic_learning_rate": [1e-2, 1e-3, 1e-3]}
N_STEPS = 200

CASES = {
    f"{agent.__name__}-{critic}-{λ}-{n_envs}": partial(agent, critic=critic, actor_lambda=λ)
    for agent in (WeightMax, Reinforce, ReinforceThomas, STEBackprop, Backprop, MAPProp)
    for critic in ("td", "map_prop", None)
    for λ, n_envs in ((0.0, 1), (0.8, 3))
}
# What was the default when these runs were stored.
THEN = {"critic_lambda": 0.8, "relaxation_rate": 0.5}
VARIANCES_THEN = {"variance": 0.1, "critic_variance": 0.1}
CASES |= {name: partial(case, **THEN) for name, case in CASES.items() if name.startswith("MAPProp")}
CASES |= {
    "WeightMax-pipelined-1": partial(WeightMax, trace_form="pipelined", actor_lambda=0.8),
    "WeightMax-pipelined-3": partial(WeightMax, trace_form="pipelined"),
    "WeightMax-rmsprop-1": partial(WeightMax, optimizer="rmsprop", norm_order=3.0, weight_decay=0.01),
    "WeightMax-sgd-1": partial(WeightMax, optimizer="sgd", actor_lambda=0.5),
    "NodePerturbation-pendulum-1": partial(NodePerturbation, actor_lambda=0.9),
    **{
        f"DecentralizedDDPG-{kind}-{source}-{size}-pendulum-2": partial(
            DecentralizedDDPG, critic_kind=kind, td_source=source, buffer_size=size, neuron_critic_learning_rate=1e-3
        )
        for kind in ("linear", "compatible", "quadratic")
        for source, size in (("shared", None), ("neuron", None), ("neuron", 150))
    },
}


def parameters(name: str) -> np.ndarray:
    """Parameters after a short run."""
    env = make_vec_env("Pendulum-v1" if "pendulum" in name else "CartPole-v1", int(name[-1]), seed=5)
    variances = VARIANCES_THEN if name.startswith("MAPProp") else {}
    kwargs = {"policy_kwargs": {"net_arch": [8, 6], **variances}, **RATES}
    return CASES[name]("MlpPolicy", env, seed=3, **kwargs).learn(N_STEPS).policy.parameters_to_vector()


@pytest.mark.parametrize("name", CASES)
def test_a_short_run_is_what_it_was(name) -> None:
    with np.load(STORED) as stored:
        expected = stored[name]
    np.testing.assert_allclose(parameters(name), expected, rtol=2e-3, atol=8e-4)


if __name__ == "__main__":
    np.savez_compressed(STORED, **{name: parameters(name) for name in CASES})
