"""Worked examples of supervised coagent networks, in float64, against the functions that `fit` uses too.

Conventions of the files: gradients are of a loss to be minimised, the library's directions go up the return.
"""

import numpy as np

from coagent_rl.arrays import DIRECTION
from coagent_rl.networks import Layer, Network
from coagent_rl.optimizers import EPSILON, RMSPROP_DECAY
from coagent_rl.supervised.baselines import GlobalBaseline, StateBaseline, make_baseline
from coagent_rl.supervised.critics import LayerCritics
from coagent_rl.supervised.learner import BatchLearner
from coagent_rl.supervised.network import ValueNetwork

TOLERANCE = 1e-9
OUTPUTS = {
    "softmax_cross_entropy": ("linear", "cross_entropy"),
    "squared_error": ("linear", "squared_error"),
    "gaussian_logits": ("gaussian_linear", "cross_entropy"),
    "gaussian": ("gaussian_linear", "squared_error"),
}
BASELINES = {"none": None, "global": "global", "state_global": "state", "state_layer": "layer"}
CRITICS = {"coagent_actor_critic_on_policy": "on_policy", "coagent_actor_critic_off_policy": "off_policy"}
SIGNALS = {"target": "target", "critic": "value"}


def close(computed, wanted, name: str) -> None:
    wanted = np.asarray(wanted, dtype=float)
    np.testing.assert_allclose(np.asarray(computed).reshape(wanted.shape), wanted, rtol=TOLERANCE, atol=1e-14, err_msg=name)


def read_learner(case: dict) -> BatchLearner:
    """The network, baseline and critics of a case, with their parameters."""
    assert (case["rmsprop"]["beta"], case["rmsprop"]["eps"]) == (RMSPROP_DECAY, EPSILON), "the library's constants"
    layers = []
    for number, given in enumerate(case["layers"]):
        kind, n_pre = given["units"], len(given["bias"])
        if number == len(case["layers"]) - 1:
            kind, loss = OUTPUTS[kind]
        levels = tuple(given.get("levels", (0.0, 1.0)))
        n_values = n_pre // len(levels) if kind == "categorical" else n_pre
        layers.append(Layer(kind, n_values, deviation=given.get("std", 1.0), levels=levels))
    network = Network(len(case["layers"][0]["weights"]), layers, dtype=np.float64)
    for index, given in enumerate(case["layers"]):
        network.weights(index)[:] = given["weights"]
        network.biases(index)[:] = given["bias"]
    learner = BatchLearner(
        network,
        loss,
        "reinforce",
        learning_rate=case["learning_rate"],
        critic=CRITICS.get(case["rule"]),
        critic_signal=SIGNALS[case.get("actor_signal", "target")],
        log_offsets=[given.get("log_offset", 0.0) or 0.0 for given in case["layers"]],
    )
    if "critics" in case:
        read_critics(case, learner)
    if "baseline" in case:
        learner.reinforcement = read_baseline(case, learner)
    return learner


def read_baseline(case: dict, learner: BatchLearner):
    given = case["baseline"]
    baseline = make_baseline(BASELINES[given["kind"]], learner)
    if isinstance(baseline, GlobalBaseline):
        baseline.decay = given["decay"]
    elif isinstance(baseline, StateBaseline):
        entries = case["steps"][0]["expected"]["baseline"]["biases"]
        if not baseline.shared and len(entries) == learner.network.depth:  # one entry a layer, not one a sampled layer
            baseline = StateBaseline(learner, [index for index, entry in enumerate(entries) if entry is not None])
        assert given.get("initial", "zero") == "zero"
        for value in baseline.values.values():
            assert not np.any(value.network.parameters)
            value.set_rates(np.full(1, given["learning_rate"]))
    return baseline


def read_critics(case: dict, learner: BatchLearner) -> None:
    reinforcement = learner.reinforcement
    assert isinstance(reinforcement, LayerCritics)
    reinforcement.values.clear()
    for index, given in enumerate(case["critics"]):
        if given is not None:
            weights = [np.asarray(w, dtype=float) for w in given["weights"]]
            sizes = [len(bias) for bias in given["biases"][:-1]]
            critic = ValueNetwork(len(weights[0]), sizes, case["critic_learning_rate"], "rmsprop", np.float64)
            for number, bias in enumerate(given["biases"]):
                critic.network.weights(number)[:] = weights[number].reshape(critic.network.weights(number).shape)
                critic.network.biases(number)[:] = bias
            reinforcement.values[index] = critic
            layer, coagent = learner.layers[index], learner.layers[learner.bottom(index)]
            if len(weights[0]) != coagent.n_in + layer.n_values:
                reinforcement.reads[index] = index  # the file's critic reads what the layer itself reads


def directions(learner) -> Network:
    """Minus the gradients, as a network over the direction."""
    network = learner.network
    view = Network(network.n_inputs, network.layers, dtype=np.float64)
    view.parameters = -learner.memory[DIRECTION]
    return view


def check_values(name: str, expected: dict, learner: ValueNetwork) -> None:
    """Gradients of a step and parameters after it of a critic or baseline."""
    gradients, network = directions(learner), learner.network
    for number in range(network.depth):
        for field, computed in (
            ("weight_gradients", gradients.weights(number)),
            ("bias_gradients", gradients.biases(number)),
            ("weights", network.weights(number)),
            ("biases", network.biases(number)),
        ):
            if field in expected:
                close(computed, expected[field][number], f"{name}: {field} {number}")


def check_baseline(expected: dict, learner: BatchLearner) -> None:
    baseline = learner.reinforcement
    if isinstance(baseline, GlobalBaseline):
        close(baseline.value, expected["value"], "baseline")
    elif isinstance(baseline, StateBaseline):
        places = [place for place, entry in enumerate(expected["biases"]) if entry is not None]
        for place, index in zip(places, sorted(baseline.values), strict=True):
            own = {field: [values[place]] for field, values in expected.items()}
            check_values(f"baseline of layer {index}", own, baseline.values[index])


def check_critics(expected: list, learner: BatchLearner) -> None:
    critics = learner.reinforcement
    assert isinstance(critics, LayerCritics)
    for index, given in enumerate(expected):
        if given is not None:
            close(critics.targets[index], given["target"], f"target of critic {index}")
            close(critics.estimates[index], given["value"], f"value of critic {index}")
            check_values(f"critic {index}", given, critics.values[index])


def check_coagents(case: dict) -> None:
    learner = read_learner(case)
    network = learner.network
    for number, step in enumerate(case["steps"]):
        targets = np.asarray(step["targets"])
        if learner.loss == "squared_error":
            targets = targets.astype(float).reshape(len(targets), -1)
        drawn = [None if given is None else np.asarray(given, dtype=float) for given in step["values"]]
        learner.replay(np.asarray(step["inputs"], dtype=float), drawn)
        learner.judge(targets)
        close(learner.losses, step["losses"], f"losses of step {number}")
        learner.assign_credit()
        learner.compute_direction()
        learner.reinforcement.learn(learner)
        learner.update()

        expected = step["expected"]
        for field in ("advantages", "signals"):
            for index, wanted in enumerate(expected.get(field, [])):
                advantage = learner.advantages[index]
                assert (wanted is None) == (advantage is None), f"{field} of layer {index}, step {number}"
                if wanted is not None:
                    close(advantage, wanted, f"{field} of layer {index}, step {number}")
        gradients = directions(learner)
        for index in range(network.depth):
            close(gradients.weights(index), expected["weight_gradients"][index], f"weight gradients {index}, step {number}")
            close(gradients.biases(index), expected["bias_gradients"][index], f"bias gradients {index}, step {number}")
            close(network.weights(index), expected["weights"][index], f"weights {index}, step {number}")
            close(network.biases(index), expected["biases"][index], f"biases {index}, step {number}")
        if "baseline" in expected:
            check_baseline(expected["baseline"], learner)
        if "critics" in expected:
            check_critics(expected["critics"], learner)


SUPERVISED_CHECKS = dict.fromkeys(("coagent_reinforce", *CRITICS), check_coagents)
