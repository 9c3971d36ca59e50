"""What makes training fast stays so, and what measures it measures what it says. No absolute times."""

import ast
import json
import platform
import re
import shlex
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from stable_baselines3.common.callbacks import BaseCallback

import coagent_rl
from benchmarks import speed, speed_contenders, speed_processes, speed_report
from coagent_rl import MAPProp, Reinforce, WeightMax
from coagent_rl.agents import block
from coagent_rl.credit.weight_max import learn_weight_max
from coagent_rl.envs.compiled.draws import ResetDraws
from coagent_rl.kernel import releasing_kernel
from coagent_rl.optimizers import ADAM, BETA1, BETA2, EPSILON, step
from tests.test_docs import code_blocks, run

N_STEPS, STEPS_AT_ONCE = 20_000, 4096


# ---------------------------------------------------------------------- compiled training


CASES = [(WeightMax, {}), (Reinforce, {"actor_lambda": 0.9}), (MAPProp, {"learning_rate": 1e-4})]


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """Steps of every compiled block that Python enters."""
    entered: list[int] = []
    enter = block.train_block

    def counted(*arguments):
        why, n_steps = enter(*arguments)
        entered.append(n_steps)
        return why, n_steps

    monkeypatch.setattr(block, "train_block", counted)
    return entered


@pytest.mark.parametrize(("agent", "kwargs"), CASES)
def test_python_is_entered_once_a_block(agent, kwargs, calls) -> None:
    """Blocks end where they are full, or where episodes have used up the numbers drawn for their resets."""
    model = agent("MlpPolicy", "CartPole-v1", seed=0, **kwargs).learn(N_STEPS, log_interval=None)
    assert model.why_step_by_step is None
    assert sum(calls) == N_STEPS
    n_draws = model._episode_num / ResetDraws.ROWS_AT_ONCE
    n_noises = N_STEPS / STEPS_AT_ONCE
    n_critic = N_STEPS / STEPS_AT_ONCE if agent is MAPProp else 0  # its units have noise of their own
    assert len(calls) <= N_STEPS / STEPS_AT_ONCE + n_draws + n_critic + n_noises + 2


def test_no_memory_is_left_behind() -> None:
    model = WeightMax("MlpPolicy", "CartPole-v1", seed=0).learn(N_STEPS)

    def learn() -> None:
        model.learn(N_STEPS, reset_num_timesteps=False)

    learn()
    tracemalloc.start()
    try:
        learn()
        before = tracemalloc.get_traced_memory()[0]
        learn()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # The returns of the last hundred episodes are kept, and some are longer numbers than others.
    assert growth < 16_000


class Joins(BaseCallback):
    """A callback of one's own on the compiled road: asked every 1000 steps, told of every episode."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.lengths = [], []

    def steps_until_needed(self) -> float:
        return 1000 - self.n_calls % 1000

    def take_episodes(self, episodes) -> None:
        self.lengths += [int(episode["l"]) for episode in episodes]

    def _on_step(self) -> bool:
        if self.n_calls % 1000 == 0:
            self.asked.append(self.num_timesteps)
        return True


def test_a_callback_of_ones_own_joins() -> None:
    callback = Joins()
    model = WeightMax("MlpPolicy", "CartPole-v1", seed=0).learn(3500, callback=callback)
    assert model.why_step_by_step is None
    assert callback.asked == [1000, 2000, 3000]
    assert len(callback.lengths) == model._episode_num
    assert sum(callback.lengths) == 3500 - model.env.elapsed[0]


# ---------------------------------------------------------------------- kernels


@releasing_kernel
def learn_often(arrays, reinforcements, episode_starts, n_times):
    for number in range(n_times):
        learn_weight_max(arrays, reinforcements, episode_starts, float(number))


class Twin:
    """One learning step of Weight Max with Adam (λ = 0) in NumPy, on Bernoulli hidden units and a softmax output."""

    def __init__(self, model) -> None:
        network = model.policy.actor
        self.weights = [network.weights(index).copy() for index in range(network.depth)]
        self.biases = [network.biases(index).copy() for index in range(network.depth)]
        self.moments = [[np.zeros_like(p), np.zeros_like(p)] for p in (*self.weights, *self.biases)]
        self.rate, self.count = float(model.actor_learner.learning_rates(0.0)[0]), 0

    def learn(self, values, means, reinforcement) -> None:
        changes: list[np.ndarray] = [None] * len(self.weights)
        n_pre = self.weights[-1].shape[1]  # the last action is the reference of the others
        changes[-1] = (values[-1] - means[-1])[:n_pre] * reinforcement
        for index in range(len(self.weights) - 1, 0, -1):
            signal = 2.0 * values[index] * (self.weights[index] @ changes[index])
            changes[index - 1] = (values[index] - means[index]) * signal
        directions = [np.outer(x, change) for x, change in zip(values[:-1], changes, strict=True)]
        self.count += 1
        first_share, second_share = 1 - BETA1**self.count, np.sqrt(1 - BETA2**self.count)
        rate, ε = self.rate * second_share / first_share, EPSILON * second_share
        for p, g, (m, v) in zip((*self.weights, *self.biases), (*directions, *changes), self.moments, strict=True):
            m *= np.float32(BETA1)
            m += np.float32(1 - BETA1) * g
            v *= np.float32(BETA2)
            v += np.float32(1 - BETA2) * (g * g)
            p += np.float32(rate) * m / (np.sqrt(v) + np.float32(ε))


def test_the_compiled_rule_is_faster_than_numpy() -> None:
    """The same arithmetic on the same numbers, and several times as fast."""
    model = WeightMax("MlpPolicy", "CartPole-v1", 1e-3, critic=None, seed=0, policy_kwargs={"net_arch": [64, 32]})
    model.learn(1)
    learner, network = model.actor_learner, model.policy.actor
    learner.memory[:], learner.counters[0] = 0.0, 0.0
    twin = Twin(model)
    of_rows, of_means = learner.activity[0, 0], learner.activity[1, 0]
    slots = [slice(0, network.n_inputs), *(network.slot(index) for index in range(network.depth))]
    values, means = [of_rows[slot].copy() for slot in slots], [of_means[slot].copy() for slot in slots]
    reinforcements = np.zeros_like(model.critic_model.reinforcements)
    reinforcements[:, slots[-1]] = 0.5
    starts = np.zeros(1, bool)
    assert learn_weight_max(learner.arrays, reinforcements, starts, 0.0)
    twin.learn(values, means, np.float32(0.5))
    for index in range(network.depth):
        np.testing.assert_allclose(network.weights(index), twin.weights[index], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(network.biases(index), twin.biases[index], rtol=1e-4, atol=1e-6)

    def seconds(work) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    learn_often(learner.arrays, reinforcements, starts, 1)
    n = 300
    compiled = min(seconds(lambda: learn_often(learner.arrays, reinforcements, starts, n)) for _ in range(7))
    numpy = min(seconds(lambda: [twin.learn(values, means, np.float32(0.5)) for _ in range(n)]) for _ in range(7))
    assert numpy / compiled > 8.0  # 34 where this was written


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of instructions of x86-64")
def test_adam_is_made_of_vector_instructions() -> None:
    """Compiled anew, because what comes from disk has no assembler text."""
    options = {"fastmath": {"contract", "reassoc"}, "error_model": "numpy"}
    inlined = njit(forceinline=True, **options)(step.py_func)

    @njit(**options)
    def compiled(direction, parameters, first, second):  # of all optimizers only Adam is left
        inlined(ADAM, direction, 0.1, (1.0, 1.0), 0.0, parameters, first, second)

    numbers = np.ones(64, np.float32)
    compiled(*(numbers.copy() for _ in range(4)))
    (text,) = compiled.inspect_asm().values()
    for packed in (r"v?sqrtps", r"v?divps", r"v?(mul|fmadd\d+)ps"):
        assert re.search(rf"\b{packed}\b", text), packed


# ---------------------------------------------------------------------- what measures it


def test_every_contender_is_named_once_and_does_what_its_road_says() -> None:
    found = speed_contenders.contenders("coagent_rl/Multiplexer-v0", [1, 8])
    keys = [(one.name, one.road, one.n_envs) for one in found]
    assert len(set(keys)) == len(keys)
    chosen = [one for one in found if one.name in ("weight_max", "CompiledVecEnv", "A2C") and one.n_envs == 8]
    assert {one.road for one in chosen} == {"compiled", "step by step", "bare loop", "Stable-Baselines3"}
    for one in chosen:
        one.prepare(80, 0.0)
        one.measure()
        one.measure()
        assert one.record()["microseconds"] == one.microseconds
        assert len(one.microseconds) == 2
        assert one.microseconds[0] > 0.0


def test_what_cannot_be_timed_says_why() -> None:
    discrete = speed_contenders.Contender("CartPole-v1", "x", "bare loop", 1, lambda: int("no number"))
    discrete.prepare(10, 0.0)
    discrete.measure()
    assert "no number" in discrete.record()["why_not"]


def results() -> dict:
    """Made-up numbers in the form of the JSON."""

    def contender(name, road, n_envs, *microseconds) -> dict:
        facts = {"task": "CartPole-v1", "name": name, "road": road, "n_envs": n_envs}
        return {**facts, "steps": 10, "microseconds": list(microseconds)}

    size = {"triad": [1.0, 1.0], "read_and_write": [2.0, 2.0], "rule": [4.0, 8.0], "step": [5.0, 5.0]}
    return {
        "command": "python -m benchmarks.speed",
        "rounds": 2,
        "machine": {"processor": "a processor", "cores": 2, "load": 0.1, "versions": {"python": "3"}},
        "contenders": [
            contender("DummyVecEnv + Monitor", "bare loop", 1, 20.0, 40.0),
            contender("A2C", "Stable-Baselines3", 1, 1000.0, 3000.0),
            contender("weight_max", "compiled", 1, 10.0, 20.0),
            contender("weight_max", "compiled", 8, 5.0, 5.0),
            {"task": "CartPole-v1", "name": "map_prop", "road": "compiled", "n_envs": 1, "why_not": "it is tired"},
        ],
        "parts": {"environment": [1.0, 2.0], "compiled step": [3.0, 3.0], "ordinary step": [10.0, 4.0]},
        "weights": {
            "large": {"triad": [1.0, 2.0], "read_and_write": [2.0, 2.0]},
            "adam": [1.0, 1.0],
            "sizes": [{"width": 1024, "depth": 2, "weights": 10, "nanoseconds": size}],
        },
        "threads": {"steps": 10, "one": [[1.0, 1.0], [1.0, 1.0]], "two": [[1.0, 2.0], [2.0, 2.0]]},
        "start_up": {"help": [[0.3, 0.2]], "warm": [[2.0, 1.0]], "cold": [[9.0, 8.0]]},
        "memory": {"weight_max": 300_000_000},
        "outsiders": {"mine": [5.0, 6.0]},
    }


def test_ratios_are_taken_within_rounds() -> None:
    made = speed_report.tables(results())
    # The ratios of the rounds are 100 and 150; that of the medians would be 133.
    assert "| Weight Max, CartPole, compiled, × A2C | 125.0 (100.0 … 150.0) |" in made["Summary"]
    assert "| two threads of compiled training, efficiency by the clock | 75% (50% … 100%) |" in made["Summary"]
    # 24 bytes a weight against the 12 of the triad: 4 / 2 and 8 / 4 ns.
    assert "beyond the cache | 2.00 (2.00 … 2.00) |" in made["Summary"]
    assert "| weight_max | compiled | 15.0 · 5.0 | 125.0 · – | 2.00 · – | 1.0 · 3.0 |" in made["CartPole-v1"]
    assert "| environment | 1.5 | 30% |" in made["Parts of a step"]
    assert "| the rest: between these, and Python between blocks | 1.5 | 22% |" in made["Parts of a step"]
    assert "map_prop" not in made["CartPole-v1"]
    assert all("mine" not in table for table in made.values())


def test_files_are_written_whole_and_can_be_read_again(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- speed: Memory -->\nold\n<!-- end -->\nb\n", encoding="utf-8")
    speed.write(results(), tmp_path, page)
    assert json.loads((tmp_path / "speed.json").read_text(encoding="utf-8")) == results()
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    table = speed_report.tables(results())["Memory"]
    assert page.read_text(encoding="utf-8") == f"a\n<!-- speed: Memory -->\n{table}<!-- end -->\nb\n"
    assert table in (tmp_path / "speed.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="marks a table 'other' that was not measured"):
        speed_report.filled("<!-- speed: other -->\n<!-- end -->\n", results())


def test_published_tables_are_those_of_the_measurement() -> None:
    measured = json.loads((speed.RESULTS / "speed.json").read_text(encoding="utf-8"))
    assert (speed.RESULTS / "speed.md").read_text(encoding="utf-8") == speed_report.markdown(measured)
    page = speed.PAGE.read_text(encoding="utf-8")
    assert page == speed_report.filled(page, measured)
    assert page.count("<!-- speed: ") >= 4
    assert "outsiders" not in measured


def test_the_callback_in_the_page_joins(tmp_path) -> None:
    (block_of_code,) = code_blocks(speed.PAGE)
    printed = run(block_of_code, tmp_path).split("\n")
    assert [line.split()[0] for line in printed if line] == ["5000", "10000", "15000", "20000"]


def test_outsiders_print_steps_and_seconds() -> None:
    def command(code) -> dict:
        return speed_processes.read_outsiders([f"one={shlex.join([sys.executable, '-c', code])}"])

    with pytest.raises(ValueError, match="name=command, not 'nothing'"):
        speed_processes.read_outsiders(["nothing"])
    assert speed_processes._outsider_microseconds("one", command("print('log'); print(2000, 0.5)")["one"]) == 250.0
    for code, message in (
        ("print('hello world')", "must print"),
        ("1 / 0", "ZeroDivisionError"),
        ("print(0, 1)", "must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            speed_processes._outsider_microseconds("one", command(code)["one"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "weight_maxx"], "unknown weight_maxx"),
        (["--tasks", "Pong"], "unknown Pong"),
        (["--rounds", "-1"], "must not be negative"),
        (["--outsider", "x"], "name=command"),
    ],
)
def test_wrong_arguments(words, message, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        speed.main(words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_part_is_measured_into_a_folder_of_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    published = speed.PAGE.read_text(encoding="utf-8")
    speed.main(["--only", "CompiledVecEnv", "weight_max", "--tasks", "CartPole-v1", "--steps", "128", "--rounds", "2"])
    measured = json.loads((tmp_path / "logs" / "speed" / "speed.json").read_text(encoding="utf-8"))
    assert {len(record["microseconds"]) for record in measured["contenders"]} == {2}
    assert measured["machine"]["versions"]["numpy"] == np.__version__
    assert speed.PAGE.read_text(encoding="utf-8") == published


def test_no_part_of_a_kernel_is_called_from_python() -> None:
    """There it would run as plain Python: only what looks at a single sample, or is made once, may do so."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in Path(coagent_rl.__file__).parent.rglob("*.py")}

    def decorators(node: ast.AST) -> set[str]:
        return {ast.unparse(d).partition("(")[0] for d in getattr(node, "decorator_list", ())}

    compiled = {"kernel", "part", "exact_kernel", "releasing_kernel", "njit"}
    parts = {node.name for tree in trees.values() for node in tree.body if "part" in decorators(node)}
    assert {"update", "accumulate", "named"} < parts
    called = set()
    for path, tree in trees.items():
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and not compiled & decorators(function):
                names = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
                called |= {(path.stem, name) for name in names & parts & imported if path.parent.name != "analysis"}
    assert called == {("batch", "n_means")}
