"""How good are a rule's updates? Their bias, noise and direction against the exact gradient of the expected reward."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch as th

from coagent_rl.agents.base import CoagentAlgorithm
from coagent_rl.agents.rule_checks import check_result
from coagent_rl.analysis.gradients import ExactGradient, Rewards, exact_gradient, rewards_of
from coagent_rl.arrays import NOISE_STEP, VALUES
from coagent_rl.critics import NeuronCritics
from coagent_rl.learner import Learner
from coagent_rl.networks import SAMPLE
from coagent_rl.networks.forward import forward
from coagent_rl.noise import Noise
from coagent_rl.schedules import constant_schedule

_RATE = 1024.0
"""Rate with which rules learn while they are watched: large, so that single precision loses nothing of the update."""


@dataclass(frozen=True)
class Quality:
    """How a rule's updates Δ of some parameters relate to the exact gradient g.

    Attributes:
        bias: ‖E[Δ] - g‖ / ‖g‖, without what sampling adds to it; a rule that is right up to a factor has one too.
        noise: √(E‖Δ - E[Δ]‖²) / ‖g‖.
        direction: cosine of E[Δ] with g, 1 for every rule that is right up to a factor. As that of a mean of samples it is
            somewhat too small; see ``error``.
        cosine: E[Δ·g] / √(E‖Δ‖² ‖g‖²), what a single update has in common with the gradient. 1 / cosine² updates must be
            averaged for signal and noise to be equal, roughly; it does not depend on the size of updates.
        error: standard error of ‖E[Δ] - g‖ / ‖g‖ from sampling: a bias below it is none that was seen.
        gradient_norm: ‖g‖.
    """

    bias: float
    noise: float
    direction: float
    cosine: float
    error: float
    gradient_norm: float


def gradient_quality(
    model: CoagentAlgorithm,
    observation: np.ndarray,
    rewards: Rewards,
    *,
    n_samples: int = 10_000,
    warm_up: int = 0,
    baseline: float | None = None,
    exact: ExactGradient | None = None,
    seed: int = 0,
) -> dict[str, Quality]:
    """Let an agent's own rule learn from one state many times, and compare with the gradient of E[R | s].

    A sample is what happens in training with plain gradient steps and no traces: the network acts with the agent's noise
    and the rule is told the TD error R - b. Then all is put back. The model is left as it was.

    Args:
        model: any agent, trained or not, of one environment; its rule is driven with its options. What a rule has learned
            beside the network's parameters stays as it is while it is watched.
        observation: s, the network's inputs, shape (n_inputs,).
        rewards: R of each action, or of output values, see `exact_gradient`.
        n_samples: number of updates.
        warm_up: number of updates before, in which the network does not change but what else the rule learns may.
        baseline: b; None is E[R | s], what a perfect critic says.
        exact: the gradient, where it is known already.
        seed: of the noise.

    Returns:
        Quality for ``"hidden"``, all hidden layers together, and for each layer, ``"layer_1"`` (next to the inputs), ….

    Raises:
        ValueError: for agents of several environments, or whose neurons listen to critics of their own; if an update is not
            finite, the hidden layers never learn, or have no gradient; see also `exact_gradient`.

    Example:
        >>> from coagent_rl import Reinforce
        >>> model = Reinforce("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={"net_arch": [4]})
        >>> quality = gradient_quality(model, [0.1, -0.5, 0.2, 0.4], [1.0, -1.0], n_samples=2000)["hidden"]
        >>> bool(quality.bias < 3 * quality.error), bool(quality.noise > 1)
        (True, True)
    """
    if model.n_envs != 1:
        raise ValueError(f"Updates are watched one by one: the agent must have one environment, not {model.n_envs}.")
    if isinstance(model.critic_model, NeuronCritics):
        raise ValueError(f"The neurons of {type(model).__name__} learn from critics of their own, not from a TD error.")
    if n_samples < 2:
        raise ValueError(f"n_samples must be at least 2, not {n_samples!r}.")
    observation = np.asarray(observation, np.float64)
    network = copy.deepcopy(model.policy.actor)
    if exact is None:
        exact = exact_gradient(network, observation, rewards)
    first_output = int(network.layout[-1, 6])
    if first_output > 0 and not np.any(exact.gradient[:first_output]):
        raise ValueError("The exact gradient of the hidden layers is zero in this state: nothing can be compared with it.")
    told = exact.expected_reward if baseline is None else baseline
    learner = _learner_of(model, network)
    _watch(model, learner, observation, rewards, told, warm_up, 0.0, seed + 1)
    totals, squares = _watch(model, learner, observation, rewards, told, n_samples, _RATE, seed)
    if first_output > 0 and not np.any(squares[:first_output]):
        raise ValueError(f"The rule of {type(model).__name__} never moved a hidden layer in {n_samples} samples.")
    parts = {"hidden": slice(0, first_output)} if first_output > 0 else {}
    parts |= {f"layer_{k + 1}": slice(int(row[6]), int(row[8])) for k, row in enumerate(network.layout)}
    return {name: _quality(totals[part], squares[part], n_samples, exact, part) for name, part in parts.items()}


def _learner_of(model: CoagentAlgorithm, network: object) -> Learner:
    """The agent's learner of a network, with plain gradient steps, and without traces where the rule can be without."""
    own = model.actor_learner
    learner = Learner(
        network,  # type: ignore[arg-type]
        1,
        constant_schedule(0.0),
        "sgd",
        0.0,
        options=model._rule_options(network),  # type: ignore[arg-type]
        store=model._rule_store(network, 1),  # type: ignore[arg-type]
        has_traces=model._rule_has_traces(),
    )
    if learner.store.shape == own.store.shape:
        learner.store[...] = own.store
    return learner


def _watch(
    model: CoagentAlgorithm,
    learner: Learner,
    observation: np.ndarray,
    rewards: Rewards,
    baseline: float,
    n_samples: int,
    rate: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the updates and of their squares, shape (n_parameters,) each; at rate zero what else the rule learns stays."""
    network, rule = learner.network, model.rule
    parameters, before, store = network.parameters, network.parameters.copy(), learner.store.copy()
    learner.set_rates(np.full((2, network.depth), rate), 1.0)
    totals, squares = np.zeros(parameters.size), np.zeros(parameters.size)
    noise = Noise(np.random.default_rng(seed))
    inputs, starts = observation[None].astype(parameters.dtype), np.ones(1, bool)
    outputs, told = learner.activity[VALUES][:, network.slot(-1)], np.zeros((1, network.width), parameters.dtype)
    is_table = not callable(rewards)
    for _ in range(n_samples):
        if noise.cursor >= len(noise.block):
            noise.cursor = 0
            model._draw_noise(noise)
            learner.set_noise(noise.block)
        structure = (network.layout, network.constants, model.acting_parameters(learner))
        forward(structure, learner.activity, inputs, learner.noise, noise.cursor, SAMPLE)
        learner.counters[NOISE_STEP] = noise.cursor
        noise.cursor += 1
        reward = outputs[0] @ rewards if is_table else float(rewards_of(rewards, th.as_tensor(outputs))[0])
        told[:] = reward - baseline
        if not (is_finite := rule(learner.arrays, told, starts, 0.0)):
            check_result(is_finite, type(model).__name__)
            raise ValueError(f"An update of {type(model).__name__} is not finite.")
        if rate > 0.0:
            change = (parameters.astype(np.float64) - before) / rate
            totals += change
            squares += change * change
            parameters[:] = before
            if model.store_is_learned:
                learner.store[...] = store
    return totals, squares


def _quality(totals: np.ndarray, squares: np.ndarray, n: int, exact: ExactGradient, part: slice) -> Quality:
    gradient, mean = exact.gradient[part], totals / n
    norm = float(np.linalg.norm(gradient))
    variance = float(np.sum(squares / n - mean**2)) * n / (n - 1)
    error = variance / n + float(np.sum(exact.errors[part] ** 2))
    along = float(mean @ gradient)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Quality(
            bias=float(np.sqrt(max(float(np.sum((mean - gradient) ** 2)) - error, 0.0)) / np.float64(norm)),
            noise=float(np.sqrt(max(variance, 0.0)) / np.float64(norm)),
            direction=float(np.float64(along) / (np.linalg.norm(mean) * norm)),
            cosine=float(np.float64(along) / (np.sqrt(np.sum(squares) / n) * norm)),
            error=float(np.sqrt(error) / np.float64(norm)),
            gradient_norm=norm,
        )


def quality_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A Markdown table of rows with the keys ``rule``, ``network``, ``part`` and those of `Quality`; see `quality_row`."""
    lines = [
        "| network | part | rule | bias | noise | direction | cosine | error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = " | ".join(f"{float(str(row[name])):.3g}" for name in ("bias", "noise", "direction", "cosine", "error"))
        lines.append(f"| {row['network']} | {row['part']} | {row['rule']} | {numbers} |")
    return "\n".join(lines) + "\n"


def quality_row(rule: str, network: str, part: str, quality: Quality) -> dict[str, object]:
    """One row of `quality_table`, as JSON can hold it."""
    return {"rule": rule, "network": network, "part": part, **asdict(quality)}
