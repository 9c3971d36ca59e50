"""Slips in a rule of one's own are said when the agent is made, or before it has learned anything."""

import numpy as np
import pytest

from coagent_rl import Reinforce
from coagent_rl.agents import CoagentAlgorithm
from coagent_rl.agents.rule_checks import check_rule
from coagent_rl.analysis.quality import gradient_quality
from coagent_rl.kernel import kernel
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.pointers import RULE, address
from coagent_rl.schedules import constant_schedule
from tests.plain_python import printed_by
from tests.test_agents import Scripted


def plain(arrays, reinforcements, episode_starts, time):
    return True


@kernel
def without_return(arrays, reinforcements, episode_starts, time):
    arrays[4][0] += 1.0


@kernel
def with_half_a_return(arrays, reinforcements, episode_starts, time):
    if time > 1.0:
        return True


@kernel
def right(arrays, reinforcements, episode_starts, time):
    return True


class Plain(CoagentAlgorithm):
    rule = staticmethod(plain)


class Bound(CoagentAlgorithm):
    rule = right


class Nothing(CoagentAlgorithm):
    rule = None


class Silent(CoagentAlgorithm):
    rule = staticmethod(without_return)


class Flat(CoagentAlgorithm):
    rule = staticmethod(right)
    store = np.zeros(5)

    def _rule_store(self, network, n_rows):
        return self.store


@pytest.mark.parametrize("env", ["CartPole-v1", Scripted()], ids=["compiled", "step by step"])
def test_what_is_no_compiled_function_of_four_arguments(env) -> None:
    for kind, message in (
        (Plain, r"Plain.rule must be a compiled function, not <function plain at .*: write @kernel .* above plain\."),
        (Bound, r"Bound.rule would get the agent as its first argument.*: write rule = staticmethod\(right\) in the class"),
        (Nothing, r"Nothing.rule must be a compiled function, not None"),
    ):
        with pytest.raises(ValueError, match=message):
            kind("MlpPolicy", env)


def test_a_rule_that_does_not_say_whether_its_update_was_finite() -> None:
    model = Silent("MlpPolicy", "CartPole-v1")
    before = model.policy.actor.parameters.copy()
    with pytest.raises(ValueError, match=r"without_return returns None where bool is expected, .*return update"):
        model.learn(10)
    assert np.array_equal(model.policy.actor.parameters, before)
    model = Silent("MlpPolicy", Scripted())
    with pytest.raises(ValueError, match=r"Silent.rule returned None where True or False is expected.*return update"):
        model.learn(10)
    with pytest.raises(ValueError, match=r"Silent.rule returned None"):
        gradient_quality(model, np.ones(2), [1.0, 0.0], n_samples=2)
    with pytest.raises(ValueError, match=r"with_half_a_return returns Optional.* where bool is expected"):
        address(with_half_a_return, RULE)


@pytest.mark.parametrize("store", [np.zeros(5), 3.0, [[1.0]]], ids=["vector", "number", "list"])
def test_a_store_of_other_than_four_dimensions(store, monkeypatch) -> None:
    monkeypatch.setattr(Flat, "store", store)
    with pytest.raises(ValueError, match=r"\(_rule_store\) must be None or an array of four dim.*not one of shape \("):
        Flat("MlpPolicy", "CartPole-v1")


def test_a_store_in_another_order_is_the_same_for_kernels() -> None:
    """They are compiled for one order only."""
    store = np.asfortranarray(np.arange(24.0).reshape(1, 2, 3, 4))
    network = Network(3, [Layer("bernoulli", 2)])
    learner = Learner(network, 1, constant_schedule(0.1), "sgd", 0.0, store=store)
    assert learner.store.flags.c_contiguous
    assert np.array_equal(learner.store, store)
    assert learner.arrays[9] is learner.store


PLAIN_PYTHON = """
from coagent_rl.agents import CoagentAlgorithm

class Plain(CoagentAlgorithm):
    rule = staticmethod(lambda arrays, reinforcements, episode_starts, time: {jit})

print(Plain("MlpPolicy", "CartPole-v1").learn(2).num_timesteps)
"""


def test_in_a_debugger_rules_are_plain_python() -> None:
    assert printed_by(PLAIN_PYTHON.replace("{jit}", "True"), jit=False) == "2\n"


def test_the_packages_own_rules_pass() -> None:
    model = Reinforce("MlpPolicy", Scripted())
    check_rule(model.policy, model.rule, "Reinforce")
