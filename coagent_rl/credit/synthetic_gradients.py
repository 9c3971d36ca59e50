"""Synthetic gradients: each layer predicts what backprop would tell it, and learns the prediction from the layer above."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import all_finite, local_scores
from coagent_rl.networks.layout import TEMPERATURE, Place, place, weights_of
from coagent_rl.networks.units import slope
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

# The rule's options.
PREDICTOR_RATE, GRADIENT_LAMBDA = range(2)


@part
def predict_gradient(predictor: Array, values: Array, scores_out: Array, predictions: Array) -> None:
    """g_i = Σ_f A_fi x_f with x = (h of the layer, s of the output, 1), which stands for ∂ log π(a) / ∂h_i.

    What the output's score says of the action is broadcast, as labels are in conditional synthetic gradients; no weight is
    read. (Without it the prediction could be zero only: the score's mean over the actions is.)

    Args:
        predictor: A, shape (≥ n + n_out + 1, n).
        values: h, shape (n,).
        scores_out: s of the output layer, shape (n_out,).
        predictions: g, shape (n,), overwritten.

    Source: Jaderberg et al. (2017), §2.1 and §3.1.
    """
    n, n_out = values.size, scores_out.size
    for i in range(n):
        predictions[i] = predictor[n + n_out, i]
    for f in range(n + n_out):
        x = values[f] if f < n else scores_out[f - n]
        if x != 0.0:
            for i in range(n):
                predictions[i] += predictor[f, i] * x


@part
def learn_to_predict(predictor: Array, values: Array, scores_out: Array, errors: Array, rate: float) -> None:
    """A_fi ← A_fi + η x_f (t_i - g_i) / ‖x‖², normalised least mean squares, whatever the size of x.

    Args:
        predictor, values, scores_out: as in `predict_gradient`; the predictor is updated in place.
        errors: t - g, shape (n,).
        rate: η in (0, 1], the share of the error that is taken away.

    Source: Jaderberg et al. (2017), eq. 2 with a squared error; Widrow & Hoff (1960).
    """
    n, n_out, squares = values.size, scores_out.size, 1.0
    for f in range(n + n_out):
        x = values[f] if f < n else scores_out[f - n]
        squares += x * x
    share = predictor.dtype.type(rate / squares)
    for f in range(n + n_out):
        x = share * (values[f] if f < n else scores_out[f - n])
        if x != 0.0:
            for i in range(n):
                predictor[f, i] += x * errors[i]
    for i in range(n):
        predictor[n + n_out, i] += share * errors[i]


@part
def blended_scores(predictions: Array, targets: Array, slopes: Array, gradient_lambda: float, scores: Array) -> None:
    """m'(z_i) ((1 - λ) g_i + λ t_i): what the layer below is told.

    With λ = 0 it bootstraps from this layer's prediction; with λ = 1 it hears the true gradient.
    """
    λ = scores.dtype.type(gradient_lambda)
    for i in range(scores.size):
        scores[i] = slopes[i] * (predictions[i] + λ * (targets[i] - predictions[i]))


@part
def predictor_of(learner: LearnerArrays, here: Place) -> Array:
    """A of a layer; it lies in ``learner.store``, shape (1, 1, features, width), in the layer's own columns."""
    return learner.store[0, 0, :, here.slot : here.slot + here.n_values]


@part
def synthetic_scores(learner: LearnerArrays) -> None:
    """Overwrite the scores of all hidden layers and rows with the predicted ones; write the errors t - g into the changes.

    The signals are the room of the predictions g, the changes of the targets t_i = Σ_j w_ij s_j, with the blended scores s
    of the layer above.

    Args:
        learner: its option GRADIENT_LAMBDA is λ.
    """
    layout, top = learner.layout, learner.layout.shape[0] - 1
    output = place(layout, top)
    for row in range(learner.values.shape[0]):
        scores = learner.scores[row]
        scores_out = scores[output.slot : output.slot + output.n_pre]
        for index in range(top - 1, -1, -1):
            here, above = place(layout, index), place(layout, index + 1)
            own = slice(here.slot, here.slot + here.n_values)
            predictions, targets = learner.signals[row, own], learner.changes[row, own]
            predict_gradient(predictor_of(learner, here), learner.values[row, own], scores_out, predictions)
            weights = weights_of(above, learner.parameters)
            for i in range(here.n_values):
                total = weights.dtype.type(0.0)
                for j in range(above.n_pre):
                    total += weights[i, j] * scores[above.slot + j]
                targets[i] = total
            slope(here.activation, learner.constants[index, TEMPERATURE], learner.means[row, own], scores[own])
            blended_scores(predictions, targets, scores[own], learner.options[GRADIENT_LAMBDA], scores[own])
        for index in range(top):
            here = place(layout, index)
            own = slice(here.slot, here.slot + here.n_values)
            predictions, errors = learner.signals[row, own], learner.changes[row, own]
            slope(here.activation, learner.constants[index, TEMPERATURE], learner.means[row, own], scores[own])
            for i in range(here.n_values):
                errors[i] -= predictions[i]
                scores[here.slot + i] *= predictions[i]


@part
def learn_predictors(learner: LearnerArrays) -> None:
    """Learn from the errors of all rows, in the changes; the share of each row is one n_rows-th."""
    n_rows, top = learner.values.shape[0], learner.layout.shape[0] - 1
    output = place(learner.layout, top)
    rate = learner.options[PREDICTOR_RATE] / n_rows
    for row in range(n_rows):
        scores_out = learner.scores[row, output.slot : output.slot + output.n_pre]
        for index in range(top):
            here = place(learner.layout, index)
            own = slice(here.slot, here.slot + here.n_values)
            values, errors = learner.values[row, own], learner.changes[row, own]
            learn_to_predict(predictor_of(learner, here), values, scores_out, errors, rate)


@kernel
def learn_synthetic_gradients(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: predicted scores → the predictors learn → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`. The layers learn from what was
    predicted before the predictors learned, as they would if they did not wait for the layers above.
    """
    learner = named(arrays)
    local_scores(learner)
    synthetic_scores(learner)
    if not (all_finite(learner.scores) and all_finite(learner.changes)):
        return False
    learn_predictors(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
