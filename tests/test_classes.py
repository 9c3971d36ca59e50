"""Networks of which not everything is said, and classes that inherit from agents."""

import inspect
import pydoc
import re

import pytest

from coagent_rl import NodePerturbation, Reinforce, WeightMax
from coagent_rl.registry import ALGORITHMS, algorithm_class

SMALL = {"net_arch": {"pi": [8, 6], "vf": [8]}}


def make(agent=WeightMax, env="CartPole-v1", **kwargs):
    return agent("MlpPolicy", env, **{"seed": 0, "policy_kwargs": SMALL, **kwargs})


@pytest.mark.parametrize(
    ("net_arch", "sizes"), [(None, [64, 32, 64, 32]), ({"pi": [8]}, [8]), ({"vf": [5]}, [5]), ({}, []), ([3], [3, 3])]
)
def test_networks_of_which_not_all_is_said(net_arch, sizes) -> None:
    for agent in (WeightMax, NodePerturbation):
        policy = make(agent, "Pendulum-v1", policy_kwargs={"net_arch": net_arch}).learn(10).policy
        assert [layer.n_values for network in (policy.actor, policy.critic) for layer in network.layers[:-1]] == sizes


def test_networks_in_the_form_of_old_versions() -> None:
    with pytest.warns(UserWarning, match="before version 1.8"):
        policy = make(policy_kwargs={"net_arch": [{"pi": [8], "vf": [5]}]}).policy
    assert [policy.actor.layers[0].n_values, policy.critic.layers[0].n_values] == [8, 5]
    assert make(policy_kwargs={"net_arch": None}).policy.net_arch == (64, 32)


class Heir(WeightMax):
    pass


def test_subclasses_load_the_files_of_their_parents(tmp_path) -> None:
    make().learn(50).save(tmp_path / "parent")
    heir = Heir.load(tmp_path / "parent", env="CartPole-v1")
    assert (type(heir), heir.algorithm, heir.num_timesteps) == (Heir, "Heir", 50)
    heir.learn(10, reset_num_timesteps=False).save(tmp_path / "heir")
    assert Heir.load(tmp_path / "heir").num_timesteps == 60
    with pytest.raises(ValueError, match="a model of Heir, not of WeightMax"):
        WeightMax.load(tmp_path / "heir")


class Slow(WeightMax):
    """Weight Max with a patience.

    Args:
        patience: of its own.
    """

    def __init__(self, *args, patience=3, norm_order=1.0, **kwargs):
        self.patience = patience
        super().__init__(*args, norm_order=norm_order, **kwargs)


class Closed(Reinforce):
    def __init__(self, policy, env, seed=None):
        super().__init__(policy, env, seed=seed)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_help_shows_all_arguments(name) -> None:
    """Each is in the signature and explained in the text; `help` prints both."""
    kind = algorithm_class(name)
    text, arguments = pydoc.plain(pydoc.render_doc(kind)), inspect.signature(kind).parameters
    assert {"policy", "env", "gamma", "actor_lambda", "frozen_layers", "policy_kwargs", "seed"} <= set(arguments)
    assert not any(parameter.kind == parameter.VAR_KEYWORD for parameter in arguments.values())
    for argument in arguments:
        if argument != "_init_setup_model":
            assert re.search(rf"^ \| +([a-z_]+, )*{argument}(, [a-z_]+)*: \S", text, flags=re.M), argument


def test_signatures_of_classes_of_ones_own() -> None:
    arguments = inspect.signature(Slow).parameters
    assert [arguments[name].default for name in ("patience", "norm_order", "trace_form")] == [3, 1.0, "synchronous"]
    assert {"gamma", "policy", "env"} <= set(arguments)
    assert "Args of WeightMax:\n    norm_order: p ≥ 1" in Slow.__doc__
    assert list(inspect.signature(Closed).parameters) == ["policy", "env", "seed"]
    assert make(Slow, patience=5).patience == 5
