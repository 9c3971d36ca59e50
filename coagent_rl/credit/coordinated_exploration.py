"""Coordinated exploration: units draw together, and learn by reward-modulated Hebbian rules which to draw with which."""

from __future__ import annotations

from coagent_rl.arrays import Arrays, LearnerArrays, named
from coagent_rl.credit.reinforce import listen
from coagent_rl.kernel import Array, kernel, part
from coagent_rl.networks.forward import local_scores
from coagent_rl.networks.layout import TEMPERATURE, place
from coagent_rl.networks.units import BOLTZMANN
from coagent_rl.optimizers import update
from coagent_rl.traces import accumulate

CENTRED = 0
"""Which of the rule's options says whether activities are counted from what they would be without connections."""


@part
def hebbian_scores(temperature: float, values: Array, n: int, scores: Array) -> None:
    """h_i / T for every unit, then h_i h_j / T for every pair i < j; times δ that is ΔW ∝ δ h ⊗ x and ΔU ∝ δ h ⊗ h.

    Args:
        temperature: T.
        values: h, shape (≥ n,).
        n: number of units.
        scores: shape (n + n (n - 1) / 2,), overwritten.

    Source: Chung (2023): with E[δ | x] = 0 the negative phase, - E[h] and - E[h hᵀ], changes nothing on average, x being the
    layer's inputs. For layers above the first one a critic of states does not give that.
    """
    k = n
    for i in range(n):
        scores[i] = values[i] / temperature
        for j in range(i + 1, n):
            scores[k] = values[i] * values[j] / temperature
            k += 1


@part
def leave_uncentred(learner: LearnerArrays) -> None:
    """Overwrite the scores of all layers of Boltzmann units and rows by `hebbian_scores`."""
    for row in range(learner.values.shape[0]):
        for index in range(learner.layout.shape[0]):
            here = place(learner.layout, index)
            if here.distribution == BOLTZMANN:
                scores = learner.scores[row, here.slot : here.slot + here.n_biases]
                hebbian_scores(
                    learner.constants[index, TEMPERATURE], learner.values[row, here.slot :], here.n_values, scores
                )


@kernel
def learn_coordinated_exploration(arrays: Arrays, reinforcements: Array, episode_starts: Array, time: float) -> bool:
    """One learning step: scores of units and of pairs of units → traces → what the critic says → update.

    The arguments and the result are those of `coagent_rl.credit.reinforce.learn_reinforce`; the option CENTRED says whether
    scores are those of `coagent_rl.networks.coupled.coupled_scores` or of `hebbian_scores`.
    """
    learner = named(arrays)
    local_scores(learner)
    if learner.options[CENTRED] == 0.0:
        leave_uncentred(learner)
    accumulate(learner, episode_starts)
    listen(learner, reinforcements)
    return update(learner, time)
