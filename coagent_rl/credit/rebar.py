"""REBAR: REINFORCE of what a relaxed twin of the layer does not explain; the twin's share by its derivative."""

from __future__ import annotations

import math

from coagent_rl.arrays import NOISE_STEP, Arrays, LearnerArrays, named, structure
from coagent_rl.credit.backprop import chain_rule
from coagent_rl.credit.reinforce import listen
from coagent_rl.credit.straight_through import surrogate_slopes
from coagent_rl.kernel import TINY, Array, flush, kernel, part
from coagent_rl.networks.elementary import sigmoid
from coagent_rl.networks.forward import means_of_layer
from coagent_rl.networks.layout import TEMPERATURE, place, weights_of
from coagent_rl.networks.likelihood import LEAST, log_probability
from coagent_rl.networks.units import BERNOULLI, neutral_noise, score
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

# The rule's options.
RELAXATION, TUNING_RATE = range(2)

# What is remembered of every unit, ``store`` of shape (1, 2, 1, width): running means of δ² k s and of δ² k².
PRODUCTS, SQUARES = range(2)


@part
def relaxed_values(noise: Array, means: Array, relaxation: float, values: Array) -> None:
    """b_i = σ(ζ_i / τ) with ζ_i = logit(p_i) - logit(u_i): above ½ where the unit fires, u < p, and h itself as τ → 0.

    Args:
        noise, means: u and p, shape (n,).
        relaxation: τ.
        values: shape (n,), overwritten.

    Source: Maddison, Mnih & Teh (2017); Jang, Gu & Poole (2017).
    """
    for i in range(values.size):
        p, u = float(means[i]), float(noise[i])
        odds = math.log(max(p * (1.0 - u), LEAST)) - math.log(max((1.0 - p) * u, LEAST))
        values[i] = sigmoid(odds / relaxation)


@part
def reparameterised_share(value: float, mean: float, noise: float) -> float:
    """m = ∂ζ/∂logit(p) - ∂ζ̃/∂logit(p), where ζ̃ is ζ as it is drawn given h: (1 - p) / (1 - u) if h = 1, p / u if h = 0.

    Given h = 1, u is uniform below p. Drawn as u = v p, with the v that gives the same u, ζ̃ = ζ; but its derivative at a
    fixed v is 1 - (1 - p) / (1 - u). Given h = 0, 1 - u = (1 - v) (1 - p).

    Source: Tucker et al. (2017), appendix; the same random numbers for both, as there.
    """
    inside, outside = (1.0 - mean, 1.0 - noise) if value > 0.5 else (mean, noise)
    return inside / outside if inside < outside else 1.0


@part
def tuned_share(products: float, squares: float) -> float:
    """φ = E[δ² k s] / E[δ² k²] within [0, 1], which makes E[δ² (s - φ k)²] least; one before anything is known."""
    return min(max(products / squares, 0.0), 1.0) if squares > 0.0 else 1.0


@part
def rebar(
    values: Array,
    means: Array,
    noise: Array,
    reward: float,
    relaxed: float,
    weight: float,
    temperature: float,
    rate: float,
    tuning: Array,
    credit: Array,
) -> None:
    """c_i = R s_i - φ_i k_i with s_i = (h_i - p_i) / T and k_i = R̃ s_i - m_i ∂R̃ / ∂z_i, the mean of which is zero.

    R = f(h) is what drawn units are worth, R̃ = f(b) relaxed ones. REBAR takes from REINFORCE what it would be for the
    relaxed units, and adds the mean of that, by reparameterisation with the same random numbers. Whatever φ is, there is
    no bias, as long as φ does not depend on h. With φ = 0 it is REINFORCE; with φ = 1 and b near h, what remains is the
    gradient through the relaxed units. The φ of each unit makes its own squared estimate least; as the estimate is linear in
    φ, in closed form.

    Args:
        values, means, noise: h, p and u, shape (n,).
        reward, relaxed: R and R̃.
        weight: of this estimate among those from which φ is learned, after it was used.
        temperature: T.
        rate: η, how fast the running means forget.
        tuning: PRODUCTS and SQUARES, shape (2, n), updated in place.
        credit: ∂R̃ / ∂z through the relaxed units, shape (n,), overwritten with c. Units that did not explore have none.

    Source: Tucker et al. (2017), eq. 5 and §3.3; Grathwohl et al. (2018). A share for every unit is ours.
    """
    for i in range(credit.size):
        if noise[i] == neutral_noise(BERNOULLI):
            credit[i] = 0.0
            continue
        own = (float(values[i]) - float(means[i])) / temperature
        share = reparameterised_share(float(values[i]), float(means[i]), float(noise[i]))
        k = relaxed * own - share * float(credit[i])
        products, squares = float(tuning[PRODUCTS, i]), float(tuning[SQUARES, i])
        credit[i] = reward * own - tuned_share(products, squares) * k
        tuning[PRODUCTS, i] = flush(products + rate * (weight * k * reward * own - products), TINY, 0.0)
        tuning[SQUARES, i] = flush(squares + rate * (weight * k * k - squares), TINY, 0.0)


@part
def relaxed_pass(learner: LearnerArrays, row: int, first: int, values: Array, means: Array) -> None:
    """From layer ``first`` upwards with relaxed units, of the noise that they had; means of the output.

    Args:
        values, means: shape (width,), overwritten from the slot of layer ``first`` on.
    """
    depth, relaxation = learner.layout.shape[0], learner.options[RELAXATION]
    noise = learner.noise[int(learner.counters[NOISE_STEP]), row]
    for index in range(first, depth):
        here = place(learner.layout, index)
        own = slice(here.slot, here.slot + here.n_values)
        if index == first:
            relaxed_values(noise[own], learner.means[row, own], relaxation, values[own])
        else:
            means_of_layer(structure(learner), index, values, means)
            if index < depth - 1:
                relaxed_values(noise[own], means[own], relaxation, values[own])


@part
def score_of_output(learner: LearnerArrays, row: int, means: Array) -> None:
    """Write the output's score, from the action that was taken and the means of this or another pass, shape (width,)."""
    index = learner.layout.shape[0] - 1
    here = place(learner.layout, index)
    score(
        here.distribution,
        here.activation,
        learner.constants[index, TEMPERATURE],
        here.n_biases > here.n_pre,
        learner.values[row, here.slot :],
        means[here.slot :],
        here.n_values,
        learner.scores[row, here.slot : here.slot + here.n_biases],
    )


@part
def relaxed_gradients(learner: LearnerArrays, row: int, first: int, values: Array) -> None:
    """∂ρ / ∂z, by the chain rule from the output's score down to layer ``first``, into the scores of the row."""
    scores = learner.scores[row]
    for index in range(learner.layout.shape[0] - 1, first, -1):
        here = place(learner.layout, index)
        below = scores[here.inputs : here.inputs + here.n_inputs]
        softness = learner.options[RELAXATION] * learner.constants[index - 1, TEMPERATURE]
        surrogate_slopes(values[here.inputs : here.inputs + here.n_inputs], softness, True, below)
        chain_rule(weights_of(here, learner.parameters), scores[here.slot : here.slot + here.n_pre], below, below)


@part
def rebar_scores(learner: LearnerArrays, reinforcements: Array) -> None:
    """Overwrite the scores of all layers and rows; signals and changes are the room of the relaxed passes.

    Only one action can be taken, a ~ π(·|h), and δ is known of it alone. But δ is an unbiased estimate of f(h) = Σ_a π(a|h)
    A(a), and ρ δ, with ρ = π(a|b) / π(a|h), one of f(b), as in DisARM. So δ times the estimate with R = 1 and R̃ = ρ is
    unbiased; and so is the trace of the estimate with later TD errors, because what follows the action does not depend on
    h. A control variate without δ in it could not be carried by the trace, and one that knows nothing of the
    action leaves its luck in the estimate.

    Layer by layer, from below: the scores of the layers above are the room of the way down. The layers above relax with the
    noise that they had. This is independent of the layer's, so the estimate is unbiased given it.
    """
    layout, top = learner.layout, learner.layout.shape[0] - 1
    n_rows, step = learner.values.shape[0], int(learner.counters[NOISE_STEP])
    output = place(layout, top)
    for row in range(n_rows):
        values, means = learner.signals[row], learner.changes[row]
        action = learner.values[row, output.slot :]
        before = log_probability(output, action, learner.means[row, output.slot :])
        for index in range(top):
            here = place(layout, index)
            own = slice(here.slot, here.slot + here.n_values)
            relaxed_pass(learner, row, index, values, means)
            ratio = math.exp(log_probability(output, action, means[output.slot :]) - before)
            score_of_output(learner, row, means)
            for k in range(output.slot, output.slot + output.n_pre):
                learner.scores[row, k] *= ratio  # ∂ρ = ρ ∂ log ρ
            relaxed_gradients(learner, row, index, values)
            error = float(reinforcements[row, here.slot])
            rebar(
                learner.values[row, own],
                learner.means[row, own],
                learner.noise[step, row, own],
                1.0,
                ratio,
                error * error,
                learner.constants[index, TEMPERATURE],
                learner.options[TUNING_RATE] / n_rows,
                learner.store[0, :, 0, own],
                learner.scores[row, own],
            )
        score_of_output(learner, row, learner.means[row])


@kernel
def learn_rebar(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: a relaxed pass up and down of every hidden layer → scores → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`.
    """
    learner = named(arrays)
    rebar_scores(learner, reinforcements)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
