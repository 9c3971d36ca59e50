"""The pages about tasks: their commands can be given as they stand, and they are about all tasks with settings."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarks import tasks
from coagent_rl import evaluate, train
from coagent_rl.registry import ALGORITHMS
from coagent_rl.training.files import folder_name
from coagent_rl.training.hyperparameters import has_settings, shipped_environments

PAGES = Path(__file__).parents[1] / "docs" / "tasks"


def test_every_task_with_settings_has_a_page() -> None:
    shipped = {env_id for algorithm in ALGORITHMS for env_id in shipped_environments(algorithm)}
    assert {env_id for env_ids in tasks.PAGES.values() for env_id in env_ids} == shipped
    assert {path.stem for path in PAGES.glob("*.md")} == {*tasks.PAGES, "index"}
    nav = (PAGES.parents[1] / "mkdocs.yml").read_text(encoding="utf-8")
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    assert all(f"tasks/{page}.md" in nav and f"({page}.md)" in index for page in tasks.PAGES)


@pytest.mark.parametrize("page", tasks.PAGES)
def test_commands(page) -> None:
    """The first trains with settings that are shipped, and what is evaluated is what it has trained."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python (train|evaluate)\.py (.*)$", text, flags=re.M)
    runs = []
    for script, words in commands:
        if script == "train":
            arguments = train.parser().parse_args(shlex.split(words))
            algorithm, env_id, settings, _ = train.prepare(arguments)
            assert env_id in tasks.PAGES[page]
            assert {"n_episodes", "n_timesteps"} & set(settings)
            assert runs or has_settings(algorithm, env_id)
            runs.append(f"logs/{algorithm}/{folder_name(env_id)}_1")
        else:
            assert evaluate.parser().parse_args(shlex.split(words)).folder == runs[0]
    assert runs


def test_a_row_says_what_the_runs_say() -> None:
    """By hand from the files of the runs, without what makes the table."""
    import json

    import numpy as np

    from benchmarks.runs import RESULTS

    finals = []
    for path in (RESULTS / "decentralized_ddpg" / "node_perturbation" / "Pendulum-v1").glob("seed_*.npz"):
        with np.load(path) as file:
            finals.append(json.loads(str(file["facts"]))["final_evaluation"]["mean_return"])
    page = (PAGES / "pendulum.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in page if line.startswith("| `NodePerturbation`"))
    assert f"| {len(finals)} |" in row
    assert f"| {np.mean(finals):.1f} ± {np.std(finals, ddof=1):.1f} |" in row
    frozen = next(line for line in page if line.startswith("| `DecentralizedDDPG`"))
    assert frozen.endswith("| -1065.1 ± 94.5 |")  # the row "hidden neurons frozen at random" of its own table
