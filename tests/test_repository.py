"""What a repository needs besides code."""

import ast
import importlib
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import coagent_rl

ROOT = Path(__file__).parents[1]
LARGEST = 1_000_000


def test_no_tracked_file_is_large() -> None:
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout: which files are tracked is not known")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    assert files
    sizes = {str(path): path.stat().st_size for path in files if path.is_file()}
    assert {path: size for path, size in sizes.items() if size > LARGEST} == {}


def names(lines: list[str]) -> set[str]:
    """Packages named by requirements, without versions, extras and comments."""
    found = (re.match(r"[A-Za-z0-9_.-]+", line) for line in lines if not line.startswith(("#", "-")))
    return {match[0].lower() for match in found if match}


def test_requirements_pin_what_the_package_names() -> None:
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    base, dev = (
        (ROOT / name).read_text(encoding="utf-8").splitlines() for name in ("requirements.txt", "requirements-dev.txt")
    )
    assert "-r requirements.txt" in dev
    pinned = [line for line in base + dev if line and not line.startswith(("#", "-"))]
    assert all("==" in line for line in pinned)
    assert names(project["dependencies"]) | {"torch", "setuptools"} == names(base)  # torch comes with Stable-Baselines3
    extras = project["optional-dependencies"]
    assert names([line for lines in extras.values() for line in lines]) - {"setuptools", "ray"} == names(dev)
    assert not names(extras["dev"]) & names(project["dependencies"])


def test_every_version_is_in_the_changelog() -> None:
    headings = re.findall(r"^## \[(.+)\]$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert headings[0] == "Unreleased"
    assert coagent_rl.__version__ in headings


def test_citation_and_workflow_can_be_read() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == "MIT"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["steps"][-1] == {"run": ".ci/run"}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]  # nothing is downloaded


def test_imports_within_functions_find_what_they_name() -> None:
    """They are only made when the function runs, which for a benchmark no test may do."""
    pytest.importorskip("sklearn", reason="scikit-learn, the extra 'supervised', is not installed")
    missing = []
    for path in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "coagent_rl").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("coagent_rl", "benchmarks")):
                module = importlib.import_module(str(node.module))
                for name in node.names:
                    is_module = hasattr(module, "__path__") and find_spec(f"{node.module}.{name.name}") is not None
                    if not hasattr(module, name.name) and not is_module:
                        missing.append(f"{path.name}: {node.module}.{name.name}")
    assert missing == []
