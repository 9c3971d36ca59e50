"""Updates per CPU second of supervised coagent networks, beside torch: ``python -m benchmarks.supervised_speed``.

Each round times, one after the other, the library's update and the same update written with torch's autograd and optimizers,
on one thread each, in CPU time of this process. Reported are medians over the rounds, and of the ratios within a round, so
that a machine whose speed drifts does not matter; absolute numbers are this machine's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before BLAS is loaded

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from coagent_rl.networks import Layer, Network
from coagent_rl.supervised import BatchLearner
from coagent_rl.supervised.network import initialise

BATCH = 32
LEARNING_RATE = 2.0**-11


@dataclass(frozen=True)
class Setting:
    """A network of hidden layers of 64 units of one kind, on inputs as long as an MNIST image, with 10 classes."""

    name: str
    kind: str
    n_layers: int
    rule: str = "reinforce"
    output: str = "linear"
    baseline: str | None = "global"
    n_samples: int = 1


SETTINGS = (
    Setting("Co-G, one logit, 1 layer", "bernoulli", 1),
    Setting("Co-G, two logits, 1 layer", "categorical", 1),
    Setting("Co-G, one logit, 2 layers", "bernoulli", 2),
    Setting("Co-G, two logits, 2 layers", "categorical", 2),
    Setting("Co-G Gaussian, 1 layer", "gaussian_preactivation_relu", 1, output="gaussian_linear"),
    Setting("Co-G Gaussian, 2 layers", "gaussian_preactivation_relu", 2, output="gaussian_linear"),
    Setting("Co-G, one logit, 2 layers, N = 10", "bernoulli", 2, n_samples=10),
    Setting("Co-G Gaussian, 2 layers, N = 10", "gaussian_preactivation_relu", 2, output="gaussian_linear", n_samples=10),
    Setting("straight-through, 1 layer", "bernoulli", 1, "straight_through", baseline=None),
    Setting("backprop, 1 layer", "relu", 1, "backprop", baseline=None),
    Setting("backprop, 2 layers", "relu", 2, "backprop", baseline=None),
)


def data(n: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise in [-1, 1] with classes: what an update costs does not depend on what is in them."""
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (n, 784)).astype(np.float32), rng.integers(0, 10, n)


def ours(setting: Setting, inputs: np.ndarray, classes: np.ndarray) -> tuple[Callable[[int], None], Network]:
    """A function that makes so many updates with the library, as `CoagentClassifier.fit` does, and the network."""
    rng = np.random.default_rng(0)
    network = Network(784, [*(Layer(setting.kind, 64) for _ in range(setting.n_layers)), Layer(setting.output, 10)])
    initialise(network, rng)
    learner = BatchLearner(
        network,
        "cross_entropy",
        setting.rule,
        learning_rate=LEARNING_RATE,
        baseline=setting.baseline,
        n_samples=setting.n_samples,
        rng=rng,
    )
    batch = np.empty((BATCH, 784), np.float32)

    def update(n: int) -> None:
        order = rng.permutation(len(inputs))
        for number in range(n):
            start = number * BATCH % len(inputs)
            chosen = order[start : start + BATCH]
            learner.learn(np.take(inputs, chosen, axis=0, out=batch, mode="clip"), classes[chosen])

    return update, network


def with_torch(
    setting: Setting, images: np.ndarray, labels: np.ndarray, start: Network
) -> tuple[Callable[[int], None], list[Any]]:
    """The same update with autograd, from the same parameters: a function that makes so many, and torch's layers.

    What falls is the mean loss, where it is exact, minus the mean of advantage × log-probability.
    """
    import torch as th
    from torch.nn import functional

    th.manual_seed(0)
    inputs, classes = th.as_tensor(images), th.as_tensor(labels)
    per_unit = 2 if setting.kind == "categorical" else 1
    sizes = [784, *[64] * setting.n_layers]
    hidden = [th.nn.Linear(n_in, 64 * per_unit) for n_in in sizes[:-1]]
    output = th.nn.Linear(64, 10)
    with th.no_grad():
        for index, layer in enumerate((*hidden, output)):
            layer.weight.copy_(th.as_tensor(start.weights(index)).T)
            layer.bias.copy_(th.as_tensor(start.biases(index)))
    parameters = [parameter for layer in (*hidden, output) for parameter in layer.parameters()]
    optimizer = th.optim.RMSprop(parameters, lr=LEARNING_RATE)
    baseline: float | None = None

    def pass_on(z: th.Tensor) -> tuple[th.Tensor, th.Tensor | None]:
        """What a layer puts out, and the log-probability of what its units drew."""
        if setting.kind == "relu":
            return th.relu(z), None
        if setting.rule == "straight_through":
            drawn = th.bernoulli(th.sigmoid(z.detach()))
            return drawn * (1 + z - z.detach()), None  # the gradient is that of the layer above times the sample
        if setting.kind == "bernoulli":
            drawn = th.bernoulli(th.sigmoid(z.detach()))
            return drawn, -functional.binary_cross_entropy_with_logits(z, drawn, reduction="none").sum(1)
        if setting.kind == "categorical":
            units = th.distributions.Categorical(logits=z.reshape(len(z), 64, 2))
            chosen = units.sample()
            return chosen.float(), units.log_prob(chosen).sum(1)
        drawn = z.detach() + th.randn_like(z)
        return th.relu(drawn), -0.5 * ((drawn - z) ** 2).sum(1)

    def update(n: int) -> None:
        nonlocal baseline
        order = th.randperm(len(inputs))
        for number in range(n):
            start = number * BATCH % len(inputs)
            chosen = order[start : start + BATCH]
            wanted, h = classes[chosen], inputs[chosen]
            if setting.n_samples > 1:
                wanted, h = wanted.repeat_interleave(setting.n_samples), h.repeat_interleave(setting.n_samples, 0)
            log_probabilities: list[th.Tensor] = []
            for layer in hidden:
                h, log_probability = pass_on(layer(h))
                log_probabilities += [] if log_probability is None else [log_probability]
            logits = output(h)
            if setting.output != "linear":
                drawn = logits.detach() + th.randn_like(logits)
                log_probabilities.append(-0.5 * ((drawn - logits) ** 2).sum(1))
                logits = drawn
            losses = functional.cross_entropy(logits, wanted, reduction="none")
            objective = losses.mean() if losses.requires_grad else th.zeros(())
            if log_probabilities:
                returns = -losses.detach()
                advantages = returns if baseline is None else returns - baseline
                objective = objective - (advantages * th.stack(log_probabilities).sum(0)).mean()
                mean = returns.mean().item()
                baseline = mean if baseline is None else 0.99 * baseline + 0.01 * mean
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()

    return update, [*hidden, output]


def cpu_seconds(update: Callable[[int], None], n: int) -> float:
    """CPU seconds per update."""
    started = time.process_time()
    update(n)
    return (time.process_time() - started) / n


def measure(settings: tuple[Setting, ...], n_rounds: int, n_updates: int) -> dict[str, np.ndarray]:
    """CPU seconds per update, name of a setting → shape (n_rounds, 2): ours, torch's."""
    import torch as th

    th.set_num_threads(1)
    times: dict[str, np.ndarray] = {}
    for setting in settings:
        mine, network = ours(setting, *data())
        contenders = (mine, with_torch(setting, *data(), network)[0])
        for update in contenders:
            update(20)  # compiles, and warms caches
        n = max(n_updates // setting.n_samples, 20)
        times[setting.name] = np.array([[cpu_seconds(update, n) for update in contenders] for _ in range(n_rounds)])
    return times


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument(
        "--updates", type=int, default=500, help="per contender and round (a share of them where N paths are averaged)"
    )
    arguments = p.parse_args(argv)
    times = measure(SETTINGS, arguments.rounds, arguments.updates)
    print(
        f"\n784 inputs, layers of 64, batches of {BATCH}, RMSProp, one thread; medians of {arguments.rounds} paired rounds\n"
    )
    print("| | updates per CPU second | torch | × torch |")
    print("|---|---|---|---|")
    for name, seconds in times.items():
        mine, torchs = np.median(1.0 / seconds, axis=0)
        print(f"| {name} | {mine:.0f} | {torchs:.0f} | {np.median(seconds[:, 1] / seconds[:, 0]):.1f} |")


if __name__ == "__main__":
    main()
