"""The pages that a new user reads first: their commands and code run, their numbers are the library's."""

import math
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coagent_rl import evaluate, plot, train

ROOT = Path(__file__).parents[1]
COMMANDS = {"train.py": train.main, "evaluate.py": evaluate.main, "-m coagent_rl.plot": plot.main}
SHORT = ["--eval-freq", "-1", "--final-eval-episodes", "1"]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.S)


def shortened(script: str, words: list[str]) -> list[str]:
    """The command as the page has it, with less to do."""
    if script == "evaluate.py":
        return [*words, "--n-episodes", "1"]
    if script != "train.py" or "--resume" in words:
        return words
    words = ["0-1" if word == "0-4" else word for word in words]
    if "--optimize" in words:
        words[words.index("--n-trials") + 1] = "2"
        return [*words, *SHORT, "-n", "300", "--confirm", "1", "--confirm-seeds", "2000"]
    length = [] if "-conf" in words else ["-n", "300"]  # what was tuned has its length in the file
    return [*words, *SHORT, *length]


def kill_when_there_is_a_checkpoint(words: list[str], folder: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *words, "--eval-freq", "-1", "--save-freq", "100"]
    running = subprocess.Popen([*command, "-n", "3000", "--final-eval-episodes", "1"], cwd=folder.parents[2])
    deadline = time.monotonic() + 120
    while not list(folder.glob("rl_model_*.zip")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL


def test_five_minutes(tmp_path, monkeypatch) -> None:
    """Every command and every block of the page, in its order, in one folder."""
    pytest.importorskip("optuna", reason="Optuna is not installed (the extra tune)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    seen = []
    for language, text in re.findall(r"```(\w+)\n(.*?)```", page, flags=re.S):
        if language == "python":
            if "class SignRule" in text:
                (tmp_path / "my_rule.py").write_text(text, encoding="utf-8")
            else:
                exec(text.replace("100_000", "300"), {})
            continue
        for line in text.splitlines():
            script = next((name for name in COMMANDS if line.startswith(f"python {name}")), None)
            if script is None:
                assert line in ("make install", "source .venv/bin/activate")
                continue
            words = shlex.split(line.removeprefix(f"python {script}"))
            seen.append(words)
            if "LunarLander-v3" in words:
                kill_when_there_is_a_checkpoint(words, tmp_path / "logs" / "weight_max" / "LunarLander-v3_1")
            else:
                assert COMMANDS[script](shortened(script, words)) in (0, None), line
    assert len(seen) == 12
    for name in ("episode.html", "episode.gif", "compare.png", "cartpole.npz"):
        assert (tmp_path / name).stat().st_size > 1000
    logs = tmp_path / "logs"
    assert "frozen_layers: hidden" in (logs / "weight_max" / "CartPole-v1_2" / "config.yml").read_text()
    assert (logs / "my_rule.SignRule" / "CartPole-v1_1" / "summary.json").is_file()
    assert '"timesteps": 3000' in (logs / "weight_max" / "LunarLander-v3_1" / "summary.json").read_text()


RULES = ("REINFORCE", "Weight Max", "posterior rule", "product rule", "straight-through")


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def means_over_all_draws() -> dict[str, float]:
    """Mean credit of the hidden unit by the page's formulas, where action 0 earns 1 and action 1 nothing."""
    p, v, π = logistic(0.2), 0.6, {h: logistic(0.6 * h - 0.1) for h in (0, 1)}
    means = dict.fromkeys(RULES, 0.0)
    for h in (0, 1):
        probability = (p if h else 1 - p) * π[h]  # of this value and action 0
        q = p * π[1] / (p * π[1] + (1 - p) * π[0])
        credits = (h - p, 2 * v * (1 - π[h]) * h * (h - p), q - p, (1 - π[0] / π[1]) * h * (h - p), v * (1 - π[h]))
        for rule, credit in zip(RULES, credits, strict=True):
            means[rule] += probability * credit
    return means


def test_the_neuron_by_hand_is_the_librarys(tmp_path) -> None:
    """The page's credits are the updates that its code prints; their means are computed from the formulas."""
    path = ROOT / "docs" / "coagent_networks.md"
    (code,) = blocks(path, "python")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = [[float(x) for x in re.findall(r"-?\d+\.\d*", line)] for line in done.stdout.splitlines()]
    page = path.read_text(encoding="utf-8")
    means = means_over_all_draws()
    for rule, (w1, w2, bias, v, output_bias) in zip(RULES, printed, strict=True):
        (cells,) = re.findall(rf"^\| {rule} \| .* \| ([\d.]+) \| ([\d.]+) \|$", page, flags=re.M)
        assert float(cells[0]) == w1 == bias
        assert w2 == pytest.approx(w1 / 2, abs=1e-4)
        assert v == output_bias == 0.3775
        assert float(cells[1]) == round(means[rule], 4)
    p, π, π_0 = logistic(0.2), logistic(0.5), logistic(-0.1)
    for number in (p, 1 - p, π, 1 - π, π_0, 2 * 0.6 * (1 - π), p * π / (p * π + (1 - p) * π_0), p * (1 - p) * (π - π_0)):
        assert f"= {number:.4f}" in page


def pairs_of_the_faq() -> list[tuple[str, str, str]]:
    """Language, cause and message, in the order of the page."""
    page = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    return re.findall(r"```(sh|python)\n(.*?)```\n\n```output\n(.*?)\n```", page, flags=re.S)


def test_every_error_of_the_faq_is_the_librarys(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    pairs = pairs_of_the_faq()
    assert len(pairs) == page.count("```output")
    for language, cause, message in pairs:
        if language == "sh":
            _, script, *words = shlex.split(cause)
            assert COMMANDS[script](words) == 2, cause
            said = capsys.readouterr().err.strip().partition("error: ")[2]
        else:
            with pytest.raises((ValueError, OSError)) as caught:
                exec(cause, {})
            said = str(caught.value)
        assert re.fullmatch(".*".join(re.escape(part) for part in message.split("…")), said, flags=re.S), said
