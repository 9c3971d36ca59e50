"""Hindsight credit: how probable was it that a unit had fired, now that the action is known?"""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.elementary import sigmoid
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import TEMPERATURE, Place, place, weights_of
from coagent_rl.networks.units import pre_activations
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

HINDSIGHT_RATE = 0
"""Which of the rule's options is the learning rate of the hindsight models."""


@part
def evidence_of_action(models: Array, inputs: Array, action: Array, evidence: Array) -> None:
    """E_i = Σ_k a_k (v_ki · x + c_ki), what the action adds to the logit of q_i = Pr(h_i = 1 | x, a) = σ(z_i/T + E_i).

    The prior's logit is known, so only what the action adds is learned: the logarithm of Pr(a | h_i = 1) / Pr(a | h_i = 0).
    With v = 0, q is the prior.

    Args:
        models: v, and c behind it; shape (n_out, ≥ n_in + 1, n).
        inputs: x, what the layer reads, shape (n_in,).
        action: a, what the output units did, shape (n_out,); one-hot for discrete actions.
        evidence: shape (n,), overwritten.

    Source: Young (2021), Hindsight Network Credit Assignment, which computes q from the outgoing weights; Harutyunyan et al.
        (2019), in which it is learned, of actions given what followed them.
    """
    n_in, n = inputs.size, evidence.size
    for i in range(n):
        evidence[i] = 0.0
    for k in range(action.size):
        a = action[k]
        if a != 0.0:
            for i in range(n):
                evidence[i] += a * models[k, n_in, i]
            for f in range(n_in):
                x = a * inputs[f]
                if x != 0.0:
                    for i in range(n):
                        evidence[i] += x * models[k, f, i]


@part
def learn_hindsight(models: Array, inputs: Array, action: Array, errors: Array, rate: float) -> None:
    """v_kfi ← v_kfi + η a_k x_f (h_i - q_i) / (1 + ‖a‖² ‖x‖²): up the log-likelihood of what unit i did.

    Args:
        models, inputs, action: as in `evidence_of_action`; the models are updated in place, with the constant input 1.
        errors: h - q, shape (n,).
        rate: η.
    """
    n_in, n = inputs.size, errors.size
    of_inputs, of_action = 1.0, 0.0
    for f in range(n_in):
        of_inputs += inputs[f] * inputs[f]
    for k in range(action.size):
        of_action += action[k] * action[k]
    share = rate / (1.0 + of_action * of_inputs)
    for k in range(action.size):
        a = models.dtype.type(share * action[k])
        if a != 0.0:
            for f in range(n_in + 1):
                x = a * (inputs[f] if f < n_in else models.dtype.type(1.0))
                if x != 0.0:
                    for i in range(n):
                        models[k, f, i] += x * errors[i]


@part
def models_of(learner: LearnerArrays, here: Place) -> Array:
    """The hindsight models of a layer; they lie in ``learner.store``, shape (1, n_out, max n_in + 1, width)."""
    return learner.store[0, :, :, here.slot : here.slot + here.n_values]


@part
def hindsight_scores(learner: LearnerArrays) -> None:
    """s_i = (q_i - p_i) / T for all hidden units and rows, in the place of (h_i - p_i) / T; h - q into the changes.

    Given x and a, what follows does not depend on h_i: with the true q, s δ has the mean of REINFORCE's, and less variance.
    """
    layout, top = learner.layout, learner.layout.shape[0] - 1
    output = place(layout, top)
    for row in range(learner.values.shape[0]):
        action = learner.values[row, output.slot : output.slot + output.n_values]
        for index in range(top):
            here, temperature = place(layout, index), learner.constants[index, TEMPERATURE]
            own = slice(here.slot, here.slot + here.n_values)
            inputs = learner.values[row, here.inputs : here.inputs + here.n_inputs]
            evidence, scores, errors = learner.signals[row, own], learner.scores[row, own], learner.changes[row, own]
            evidence_of_action(models_of(learner, here), inputs, action, evidence)
            biases = learner.parameters[here.biases : here.end]
            pre_activations(weights_of(here, learner.parameters), biases, inputs, scores)
            for i in range(here.n_values):
                p = learner.means[row, here.slot + i]
                # Where the action says nothing, q is p: what rounding leaves of q - p, Adam would make a whole step of.
                q = sigmoid(scores[i] / temperature + evidence[i]) if evidence[i] != 0.0 else float(p)
                scores[i] = (q - p) / temperature
                errors[i] = learner.values[row, here.slot + i] - q


@part
def learn_models(learner: LearnerArrays) -> None:
    """Learn from the errors of all rows, in the changes; the share of each row is one n_rows-th."""
    n_rows, top = learner.values.shape[0], learner.layout.shape[0] - 1
    output = place(learner.layout, top)
    for row in range(n_rows):
        action = learner.values[row, output.slot : output.slot + output.n_values]
        for index in range(top):
            here = place(learner.layout, index)
            inputs = learner.values[row, here.inputs : here.inputs + here.n_inputs]
            errors = learner.changes[row, here.slot : here.slot + here.n_values]
            learn_hindsight(models_of(learner, here), inputs, action, errors, learner.options[HINDSIGHT_RATE] / n_rows)


@kernel
def learn_with_hindsight(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: scores in hindsight → the models learn → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    local_scores(learner)
    hindsight_scores(learner)
    learn_models(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
