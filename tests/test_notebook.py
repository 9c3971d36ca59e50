"""The notebook: its cells run in order, in a folder of their own, without Jupyter."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "coagent_networks.ipynb"


def cells(kind: str) -> list[str]:
    return [
        "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == kind
    ]


def test_the_notebook_runs(tmp_path) -> None:
    source = cells("code")
    assert len(source) == 9
    show = "\nprint('episodes:', len(frozen.returns), len(recorder.returns))\n"
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(source) + show, encoding="utf-8")
    env = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    assert "hidden weights have not moved: True" in printed
    assert printed.endswith("episodes: 300 300\n")
    assert {path.name for path in tmp_path.glob("*.png")} == {"three_rules.png", "network.png", "all.png"}
    # Learning neurons do better than frozen ones; random actions last 22 steps.
    reached = [float(part.split()[0]) for part in printed.split("last 50 episodes:")[1:]]
    assert len(reached) == 5
    assert max(reached[:3]) > 200 > 4 * 22 > reached[3]


def test_the_notebook_is_light_and_names_no_machine() -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert len(text) < 700_000
    assert str(ROOT) not in text
    assert all(line.rstrip() == line for source in cells("code") for line in source.splitlines())
