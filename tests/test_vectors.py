"""The library's own functions against worked examples in float64, computed from the equations by independent code.

The folder is the environment variable COAGENT_VECTORS; each file names its rule.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from coagent_rl.agents.weight_max import learn_weight_max
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import MEANS, SCORES, SIGNALS, VALUES, layer_means
from coagent_rl.schedules import LinearSchedule, constant_schedule

FOLDER = Path(os.environ.get("COAGENT_VECTORS", Path(__file__).parents[2] / "shared" / "vectors"))
FILES = sorted(FOLDER.glob("*.json"))
TOLERANCE = 1e-9


def read_network(case: dict) -> Network:
    """Build the network of a case, with its parameters, in float64."""
    layers = []
    for given in case["layers"]:
        n_pre = len(given["bias"])
        kind = given["units"]
        layers.append(
            Layer(
                kind,
                n_pre + 1 if kind == "softmax_reference" else n_pre,
                temperature=given.get("temperature", 1.0),
                deviation=np.sqrt(given.get("variance", 1.0)),
            )
        )
    network = Network(len(case["layers"][0]["weights"]), layers, dtype=np.float64)
    for index, given in enumerate(case["layers"]):
        network.weights(index)[:] = given["weights"]
        network.biases(index)[:] = given["bias"]
    return network


def read_learner(case: dict, network: Network) -> Learner:
    adam = case["adam"]
    assert (adam["beta1"], adam["beta2"], adam["eps"]) == (0.9, 0.999, 1e-8), "the library's Adam has these constants"
    return Learner(network, 1, constant_schedule(case["learning_rates"]), "adam", trace_decay=case["trace_decay"])


def put_values(learner: Learner, observation: list, values: list) -> None:
    """Write an observation and sampled values, and compute every layer's means given the values below it."""
    network, activity = learner.network, learner.activity
    activity[VALUES, 0, : network.n_inputs] = observation
    for index, given in enumerate(values):
        activity[VALUES, 0, network.slot(index)] = given
    for index in range(network.depth):
        distribution, activation, n_in, n_pre, n_values, _, w, b, end, inputs, slot = network.layout[index]
        layer_means(
            distribution,
            activation,
            n_values,
            *network.constants[index],
            network.parameters[w:b].reshape(n_in, n_pre),
            network.parameters[b:end],
            activity[VALUES, 0, inputs : inputs + n_in],
            activity[MEANS, 0, slot : slot + 2 * n_values],
        )


def assert_layers(name: str, step: int, expected: list, computed: list) -> None:
    assert len(expected) == len(computed)
    for index, (wanted, got) in enumerate(zip(expected, computed, strict=True)):
        np.testing.assert_allclose(
            got, np.asarray(wanted), rtol=TOLERANCE, atol=1e-15, err_msg=f"{name} of layer {index}, step {step}"
        )


def assert_step(expected: dict, step: int, learner: Learner) -> None:
    """Compare everything that a case states about one step."""
    network, activity = learner.network, learner.activity
    traces = Network(network.n_inputs, network.layers, dtype=np.float64)
    traces.parameters[:] = learner.traces[0]
    depth = range(network.depth)
    pre = [slice(network.layout[i, 10], network.layout[i, 10] + network.layout[i, 3]) for i in depth]
    computed = {
        "relaxed_values": [activity[VALUES, 0, network.slot(i)] for i in depth],
        "means": [activity[MEANS, 0, network.slot(i)] for i in depth],
        "scores": [activity[SCORES, 0, pre[i]] for i in depth],
        "signals": [activity[SIGNALS, 0, pre[i]] for i in depth],
        "trace_weights": [traces.weights(i) for i in depth],
        "trace_biases": [traces.biases(i) for i in depth],
        "weights": [network.weights(i) for i in depth],
        "biases": [network.biases(i) for i in depth],
    }
    assert set(expected) <= set(computed)
    for name, wanted in expected.items():
        assert_layers(name, step, wanted, computed[name])


def check_weight_max(case: dict) -> None:
    network = read_network(case)
    learner = read_learner(case, network)
    for number, step in enumerate(case["steps"]):
        put_values(learner, step["observation"], step["values"])
        learn_weight_max(
            *learner.arguments,
            np.array([step["td_error"]]),
            np.array([step["episode_start"]]),
            number,
            case["norm_order"],
        )
        assert_step(step["expected"], number, learner)


CHECKS = {"weight_max": check_weight_max}


@pytest.mark.skipif(bool(FILES), reason="the reference vectors are there")
def test_vectors_are_missing() -> None:
    if "COAGENT_VECTORS" in os.environ:
        pytest.fail(f"COAGENT_VECTORS names {FOLDER}, which holds no .json file.")
    pytest.skip(f"There are no reference vectors in {FOLDER}; set COAGENT_VECTORS.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    case = json.loads(path.read_text())
    if case["rule"] not in CHECKS:
        pytest.skip(f"rule {case['rule']} is not part of the library")
    CHECKS[case["rule"]](case)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_vector_can_fail(path: Path) -> None:
    """A change of one thousandth of one given number must not pass."""
    case = json.loads(path.read_text())
    if case["rule"] not in CHECKS:
        pytest.skip(f"rule {case['rule']} is not part of the library")
    case["layers"][-1]["weights"][0][0] *= 1.001
    with pytest.raises(AssertionError):
        CHECKS[case["rule"]](case)


def test_schedule_of_the_vectors_is_constant() -> None:
    assert constant_schedule([1.0, 2.0]) == LinearSchedule([1.0, 2.0], [1.0, 2.0], 1.0)
