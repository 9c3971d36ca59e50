"""The arrays of a learner and of a transition under their names.

Python passes plain tuples, which cost as little as arrays passed one by one and leave numba's cache working; a kernel names
the parts once, with `named` or `transition_of`, and reads like its paper from there on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from coagent_rl.kernel import Array, part

Arrays = tuple[Array, ...]
"""A plain tuple of arrays; the kernel that takes it says which."""

# What `activity`, of shape (5, n_rows, width), holds for every row and every layer's slot.
VALUES, MEANS, SCORES, SIGNALS, CHANGES = range(5)
N_PLANES = 5

# Rows of `memory`: the direction that the rule asks for, running means of it and of its square.
DIRECTION, FIRST, SECOND = range(3)

# Entries of `settings`, which do not change; those of the rule itself begin at OPTIONS.
OPTIMIZER, SCHEDULE_STEPS, WEIGHT_DECAY, TRACE_DECAY, KAPPA, OPTIONS = range(6)

# Entries of `counters`, which do: optimizer steps taken, and the step of the noise that the values were drawn with.
N_UPDATES, NOISE_STEP = range(2)


class LearnerArrays(NamedTuple):
    """A network and what it needs to learn, for n_rows environments (or transitions of a batch) side by side.

    Attributes:
        layout: shape (depth, 11), see `coagent_rl.networks.layout.Place`.
        constants: shape (depth, 4), each layer's temperature, deviation, and learning rate at the schedule's start and end.
        settings: OPTIMIZER, a code; SCHEDULE_STEPS, length of the linear schedule of the rates in environment steps;
            WEIGHT_DECAY c; TRACE_DECAY γλ; KAPPA κ of OBGD; from OPTIONS on, the rule's own numbers.
        options: the rule's own numbers, a view of the settings.
        counters: shape (2,), N_UPDATES and NOISE_STEP.
        parameters: shape (n_parameters,).
        direction: Δ, what the rule asks for, shape (n_parameters,); scratch where there are no traces.
        first, second: the optimizer's running means of Δ and Δ², shape (n_parameters,).
        memory: the last three as one array, shape (≥ 3, n_parameters).
        traces: shape (n_rows, n_parameters), or (0, n_parameters) where γλ = 0: then nothing needs to be remembered.
        activity: the next five as one array, shape (5, n_rows, width).
        values: what the units did, x and h.
        means: their means, and the standard deviations of Gaussian units after them.
        scores: ∂ log π / ∂z of every pre-activation.
        signals: the reinforcement that each pre-activation learns from.
        changes: score × signal, averaged over the rows: the step that every pre-activation asks for.
        noise: what the units draw with, shape (n_steps, n_rows, width).
        store: what a rule keeps from step to step beside traces, four-dimensional; empty for most.
    """

    layout: Any
    constants: Any
    settings: Any
    options: Any
    counters: Any
    parameters: Any
    direction: Any
    first: Any
    second: Any
    memory: Any
    traces: Any
    activity: Any
    values: Any
    means: Any
    scores: Any
    signals: Any
    changes: Any
    noise: Any
    store: Any


@part
def named(arrays: Arrays) -> LearnerArrays:
    """Name the parts of `coagent_rl.learner.Learner.arrays`."""
    layout, constants, settings, counters, parameters, memory, traces, activity, noise, store = arrays
    return LearnerArrays(
        layout,
        constants,
        settings,
        settings[OPTIONS:],
        counters,
        parameters,
        memory[DIRECTION],
        memory[FIRST],
        memory[SECOND],
        memory,
        traces,
        activity,
        activity[VALUES],
        activity[MEANS],
        activity[SCORES],
        activity[SIGNALS],
        activity[CHANGES],
        noise,
        store,
    )


@part
def structure(learner: LearnerArrays) -> Arrays:
    """The network alone, see `coagent_rl.networks.layout`."""
    return (learner.layout, learner.constants, learner.parameters)


class Transition(NamedTuple):
    """One step of every environment.

    Attributes:
        observations, next_observations: S and S', shape (n_rows, n_inputs); S' is the terminal observation where an episode
            ended.
        rewards: R, shape (n_rows,).
        terminated: shape (n_rows,), where v(S') is zero by definition.
        ignored: shape (n_rows,), where the TD error is taken as zero.
        episode_starts: shape (n_rows,), where S is an episode's first state.
    """

    observations: Any
    rewards: Any
    next_observations: Any
    terminated: Any
    ignored: Any
    episode_starts: Any


@part
def transition_of(arrays: Arrays) -> Transition:
    """Name the parts of a transition."""
    observations, rewards, next_observations, terminated, ignored, episode_starts = arrays
    return Transition(observations, rewards, next_observations, terminated, ignored, episode_starts)
