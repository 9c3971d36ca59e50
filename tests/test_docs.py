"""The code in the documentation runs as it stands."""

import doctest
import importlib
import inspect
import math
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common import callbacks, vec_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy

import coagent_rl
from coagent_rl import zoo
from coagent_rl.analysis.known import TASKS

ROOT = Path(__file__).parents[1]


def code_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.S)


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_all(blocks: list[str], folder: Path) -> list[str]:
    """What each block prints, all in one process, since importing takes seconds; each with names of its own."""
    each = f"for block in {blocks!r}:\n    exec(block, {{'__name__': '__main__'}})\n    print(end='\\0')"
    return run(each, folder).split("\0")[:-1]


def test_adding_a_rule(tmp_path) -> None:
    rule, use, remembers, use_store, check = code_blocks(ROOT / "docs" / "adding_a_rule.md")
    (tmp_path / "node_perturbation.py").write_text(rule, encoding="utf-8")
    (tmp_path / "proportion.py").write_text(remembers, encoding="utf-8")
    words = ["--algo", "node_perturbation:NodePerturbation", "-n", "300", "--eval-freq", "-1", "--final-eval-episodes", "1"]
    command = f"from coagent_rl import train\nassert train.main({words!r}) == 0"
    printed = run_all([use, check, command, use_store], tmp_path)
    assert (printed[0].strip(), printed[3].strip()) == ("2000", "0.9 True")
    assert (tmp_path / "logs" / "node_perturbation.NodePerturbation" / "CartPole-v1_1" / "summary.json").is_file()
    wrong = rule.replace("* slopes[i]", "* slopes[i] * 1.1")
    assert wrong != rule
    (tmp_path / "node_perturbation.py").write_text(wrong, encoding="utf-8")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        run(check, tmp_path)


def test_plain_python_finds_a_wrong_index(tmp_path) -> None:
    *_, remembers, _, _ = code_blocks(ROOT / "docs" / "adding_a_rule.md")
    (tmp_path / "proportion.py").write_text(remembers.replace("def _rule_store", "def _forgotten"), encoding="utf-8")
    learn = 'from proportion import Proportion\nProportion("MlpPolicy", "CartPole-v1").learn(5)'
    with pytest.raises(
        AssertionError, match=r"(?s)squares = learner\.store\[0, 0, row\].*IndexError: index 0 is out of bounds"
    ):
        run("import os\nos.environ['NUMBA_DISABLE_JIT'] = '1'\n" + learn, tmp_path)


def test_files(tmp_path) -> None:
    (block,) = code_blocks(ROOT / "docs" / "files.md")
    assert run(block, tmp_path).split() == ["VecNormalize", "501"]


@pytest.mark.parametrize(
    "path",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda path: path.stem if path.parent.name == "docs" else str(path.relative_to(ROOT)),
)
def test_links_and_placeholders(path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "@@" not in text
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / link).exists(), link


def test_readme(tmp_path) -> None:
    """What it promises: CartPole is learned, and the whole is short."""
    path = ROOT / "README.md"
    (block,) = code_blocks(path)
    assert float(run(block, tmp_path).split()[0]) > TASKS["CartPole-v1"].reference
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120


def test_studies(tmp_path) -> None:
    """The second block goes on from the first."""
    first, second = code_blocks(ROOT / "docs" / "studies.md")
    printed = run(first + second, tmp_path).splitlines()
    assert printed[0].startswith("γ = 0.9 ")
    assert printed[1] == "[20, 20, 20]"
    assert printed[-1] == "6 8"
    assert (tmp_path / "logs" / "discounts" / "γ = 0.98" / "seed_3" / "summary.json").is_file()


def test_supervised(tmp_path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn, the extra 'supervised', is not installed")
    in_a_pipeline, on_the_walk = code_blocks(ROOT / "docs" / "supervised.md")
    assert float(run(in_a_pipeline, tmp_path).split()[-1]) > 0.9
    assert float(run(on_the_walk, tmp_path).split()[0]) < 0.349


def test_unbiased_relatives(tmp_path) -> None:
    (block,) = code_blocks(ROOT / "docs" / "unbiased_relatives.md")
    global_one, posterior = ([float(number) for number in line.split()[1:]] for line in run(block, tmp_path).splitlines())
    assert posterior[0] < 0.7 * global_one[0]
    assert posterior[1] < 0.3 * global_one[1]


def test_using_with_sb3(tmp_path) -> None:
    printed = run_all(code_blocks(ROOT / "docs" / "using_with_sb3.md"), tmp_path)
    assert [text.strip() for text in printed] == [
        "5000 True",
        "(5,) True True",
        "(1, 1)",
        "torch.Size([3, 2]) torch.Size([3, 1]) torch.Size([3]) torch.Size([3])",
        "True",
        "True",
    ]


def test_commands_for_the_zoo(tmp_path, monkeypatch) -> None:
    """Each as it stands, but short; the folder of one is what the next one reads. The first in a process of its own."""
    pytest.importorskip("rl_zoo3", reason="RL Zoo is not installed (the extra zoo)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    text = (ROOT / "docs" / "using_with_sb3.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m coagent_rl.zoo (.*)$", text, flags=re.M)
    assert len(commands) == 5
    for command in commands:
        short = ["-n", "300", "--eval-freq", "-1", "--eval-episodes", "1", "--no-optim-plots"]
        words = command.replace("--n-trials 20", "--n-trials 4").split()
        more = ["--no-render", "-n", "300"] if words[0] == "enjoy" else short
        if command == commands[0]:
            done = subprocess.run([sys.executable, "-m", "coagent_rl.zoo", *words, *more], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            assert zoo.main([*words, *more]) == 0


def test_stable_baselines3(tmp_path) -> None:
    rates, replay = code_blocks(ROOT / "docs" / "stable_baselines3.md")
    assert run(rates, tmp_path) == "3000 True\n"
    assert run(replay, tmp_path) == "400 200 38\n"


def test_every_feature_of_stable_baselines3_is_on_the_page() -> None:
    """Arguments of all its algorithms and of their policies, methods, callbacks and wrappers."""
    text = (ROOT / "docs" / "stable_baselines3.md").read_text(encoding="utf-8")
    kinds = [A2C, PPO, DQN, DDPG, TD3, SAC, ActorCriticPolicy]
    names = {name for kind in kinds for name in inspect.signature(kind).parameters if name[0] != "_"}
    names |= {name for name in dir(OffPolicyAlgorithm) if name[0] != "_"} - {"policy_aliases"}
    found = [name for name, kind in vars(callbacks).items() if inspect.isclass(kind) and issubclass(kind, BaseCallback)]
    names |= {*found, *vec_env.__all__} - {"CloudpickleWrapper", "VecEnv"}
    names -= {"observation_space", "action_space", "lr_schedule"}
    assert len(names) > 90
    assert not [name for name in sorted(names) if not re.search(rf"\b{name}\b", text)]


def test_comparing() -> None:
    (block,) = code_blocks(ROOT / "docs" / "comparing.md")
    assert "| CartPole-v1 | Weight Max " in run(block, ROOT)


def test_levels_in_the_page_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
    for env_id, task in TASKS.items():
        possible = "unknown" if math.isinf(task.low) else f"{task.low:g} … {task.high:g}"
        assert f"| {env_id} | {possible} | {task.random:g} | {task.reference:g} | {task.source} |" in text


def test_tuning(tmp_path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (the extra tune)")
    own, use = code_blocks(ROOT / "docs" / "tuning.md")
    run(own, tmp_path)
    assert "actor_learning_rate" in run(use, tmp_path)


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.walk_packages(coagent_rl.__path__, "coagent_rl.")))
def test_examples_in_docstrings(name) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
