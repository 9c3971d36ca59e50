"""The library's own functions against worked examples in float64, computed from the equations by independent code.

They lie in ``tests/vectors`` or in the folder that the environment variable COAGENT_VECTORS names; each names its rule.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from coagent_rl.arrays import DIRECTION, MEANS, SCORES, SIGNALS, VALUES, named
from coagent_rl.credit.map_prop import learn_map_prop
from coagent_rl.credit.weight_max import learn_pipelined_from_scores, learn_weight_max
from coagent_rl.critics.map_prop import learn_map_prop_critic
from coagent_rl.learner import Learner
from coagent_rl.networks import Layer, Network
from coagent_rl.networks.forward import means_of_layer
from coagent_rl.schedules import LinearSchedule, constant_schedule
from tests.supervised_vectors import SUPERVISED_CHECKS

FOLDER = Path(os.environ.get("COAGENT_VECTORS", Path(__file__).parent / "vectors"))
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


def read_learner(case: dict, network: Network, options: list[float], has_traces: bool = True) -> Learner:
    adam = case["adam"]
    assert (adam["beta1"], adam["beta2"], adam["eps"]) == (0.9, 0.999, 1e-8), "the library's Adam has these constants"
    rates = constant_schedule(case["learning_rates"])
    # The examples state traces also where they decay at once; the library then has none, unless it is told to.
    return Learner(network, 1, rates, "adam", trace_decay=case["trace_decay"], options=options, has_traces=has_traces)


def told(learner: Learner, reinforcement: float) -> np.ndarray:
    """The same reinforcement for every unit."""
    return np.full((1, learner.network.width), reinforcement)


def put_values(learner: Learner, observation: list, values: list) -> None:
    """Write an observation and sampled values, and compute every layer's means given the values below it."""
    network, activity = learner.network, learner.activity
    activity[VALUES, 0, : network.n_inputs] = observation
    for index, given in enumerate(values):
        activity[VALUES, 0, network.slot(index)] = given
    for index in range(network.depth):
        means_of_layer(network.structure, index, activity[VALUES, 0], activity[MEANS, 0])


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
    if len(learner.traces):
        traces.parameters[:] = learner.traces[0]
    else:
        expected = {name: value for name, value in expected.items() if not name.startswith("trace_")}
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
    """Where traces decay at once, with and without them."""
    for has_traces in (True, False)[: 2 if case["trace_decay"] == 0.0 else 1]:
        check_weight_max_steps(case, has_traces)


def check_weight_max_steps(case: dict, has_traces: bool) -> None:
    network = read_network(case)
    learner = read_learner(case, network, [case["norm_order"], 1.0], has_traces)
    for number, step in enumerate(case["steps"]):
        put_values(learner, step["observation"], step["values"])
        starts = np.array([step["episode_start"]])
        assert learn_weight_max(learner.arrays, told(learner, step["td_error"]), starts, float(number))
        assert_step(step["expected"], number, learner)


def check_weight_max_pipelined(case: dict) -> None:
    """Here the paper's signal holds the step size α of the layer above (eq. 15), the library's does not.

    So layer l of L learns in the library at the rate α^(L - l + 1), and its signals are α^-(L - l) larger: equal updates.
    """
    network = read_network(case)
    α, λ, depth = case["learning_rate"], case["trace_decay_rate"], network.depth
    rates = [α ** (depth - index) for index in range(depth)]
    store = np.zeros((depth, 3, 1, network.width))
    options = [case["norm_order"], 1.0 - λ]
    learner = Learner(
        network, 1, constant_schedule(rates), "sgd", case["discount"] * λ, options=options, store=store, has_traces=True
    )
    activity = learner.activity
    for time, (inputs, scores, td_error) in enumerate(zip(case["inputs"], case["scores"], case["td_errors"], strict=True)):
        for index in range(depth):
            _, _, n_in, n_pre, _, _, _, _, _, start, slot = network.layout[index]
            activity[VALUES, 0, start : start + n_in] = inputs[index]
            activity[SCORES, 0, slot : slot + n_pre] = scores[index]
        slots = [network.layout[i, 10] for i in range(depth)]
        activity[SIGNALS, 0, slots[-1] :] = td_error  # the hidden layers' signals are there since the step before
        signals = [
            activity[SIGNALS, 0, slots[i] : slots[i] + network.layout[i, 3]] * α ** (depth - 1 - i) for i in range(depth)
        ]
        before = [network.weights(i).copy() for i in range(depth)]
        starts = np.array([time == 0])
        assert learn_pipelined_from_scores(named(learner.arrays), told(learner, td_error), starts, float(time))
        traces = Network(network.n_inputs, network.layers, dtype=np.float64)
        traces.parameters[:] = learner.traces[0]
        changes = Network(network.n_inputs, network.layers, dtype=np.float64)
        changes.parameters[:] = learner.memory[DIRECTION]
        expected = case["expected"]
        assert_layers("traces", time, expected["traces"][time], [traces.weights(i) for i in range(depth)])
        assert_layers("signals", time, expected["signals"][time], signals)
        changed = [changes.weights(i) * rates[i] for i in range(depth)]
        assert_layers("weight changes", time, expected["weight_changes"][time], changed)
        for i in range(depth):
            np.testing.assert_allclose(network.weights(i) - before[i], changed[i], rtol=1e-6, atol=1e-14)


def check_map_prop(case: dict) -> None:
    """Where traces decay at once, with and without them."""
    for has_traces in (True, False)[: 2 if case["trace_decay"] == 0.0 else 1]:
        check_map_prop_steps(case, has_traces)


def check_map_prop_steps(case: dict, has_traces: bool) -> None:
    """The critic's rule differs by a division, for which the worked examples state no guard: it is out of the way here."""
    network = read_network(case)
    relaxation = [case["relaxation_steps"], *case["relaxation_step_sizes"]]
    is_critic = case["rule"] == "map_prop_critic"
    learner = read_learner(case, network, [0.0, 1e-12, *relaxation] if is_critic else relaxation, has_traces)
    for number, step in enumerate(case["steps"]):
        put_values(learner, step["observation"], step["values"])
        starts, time = np.array([step["episode_start"]]), float(number)
        if is_critic:
            assert learn_map_prop_critic(named(learner.arrays), np.array([step["td_error"]]), starts, time)
        else:
            assert learn_map_prop(learner.arrays, told(learner, step["td_error"]), starts, time)
        assert_step(step["expected"], number, learner)


CHECKS = {
    "map_prop": check_map_prop,
    "map_prop_critic": check_map_prop,
    "weight_max": check_weight_max,
    "weight_max_pipelined": check_weight_max_pipelined,
    **SUPERVISED_CHECKS,
}


def test_vectors_are_there() -> None:
    assert FILES, f"There are no reference vectors in {FOLDER}."


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
