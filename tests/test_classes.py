"""Networks of which not everything is said, and classes that inherit from agents."""

import pytest

from coagent_rl import NodePerturbation, WeightMax

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
