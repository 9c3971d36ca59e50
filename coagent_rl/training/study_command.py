"""What ``train.py`` does besides one run: studies of many seeds, and the list of what there is."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from coagent_rl.registry import ALGORITHMS, algorithm_folder, summary_of
from coagent_rl.training.files import new_run, write_text
from coagent_rl.training.hyperparameters import check_imports, parse_seeds, shipped_environments, trust_flag

HOW = ("resume", "n_jobs", "backend", "address", "progress", "trust")
"""Arguments that say how a study is made, not what it is."""


def run_study(
    arguments: argparse.Namespace,
    command: Sequence[str],
    algorithm: str,
    env_id: str,
    settings: Mapping[str, Any],
    env_kwargs: Mapping[str, Any],
) -> int:
    """Make the study of ``--seeds``; returns the exit code."""
    from coagent_rl.training.run import Options

    if arguments.seed is not None:
        raise ValueError("Give --seed for one run or --seeds for a study of many, not both.")
    if arguments.trained_agent is not None:
        raise ValueError("--trained-agent belongs to a single run: a study begins with new agents.")
    seeds = parse_seeds(arguments.seeds)
    options = Options(
        tensorboard_log=arguments.tensorboard_log,
        n_envs=arguments.n_envs,
        eval_freq=arguments.eval_freq,
        eval_episodes=arguments.eval_episodes,
        save_freq=arguments.save_freq or -1,  # a study is completed run by run
        env_kwargs=env_kwargs,
        final_eval_episodes=arguments.final_eval_episodes,
        verbose=arguments.verbose,
    )
    folder = new_run(Path(arguments.log_folder), algorithm_folder(algorithm), f"{env_id}_study")
    try:
        return _made(arguments, command, folder, algorithm, arguments.env, settings, seeds, options=options)
    except BaseException:
        if {path.name for path in folder.iterdir()} <= {"command.txt"}:  # it failed before anything was made
            (folder / "command.txt").unlink(missing_ok=True)
            folder.rmdir()
        raise


def resume_study(arguments: argparse.Namespace, command: Sequence[str], defaults: Mapping[str, Any]) -> int:
    """Complete the study in the folder of ``--resume``, which knows all about it; returns the exit code."""
    from coagent_rl.training.results import read_study
    from coagent_rl.training.run import Options

    given = [name for name, value in vars(arguments).items() if name not in HOW and value != defaults[name]]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"--resume takes what is trained from the study: {names} cannot be given with it.")
    folder = Path(arguments.resume)
    there = read_study(folder)
    variants = None if list(there["settings"]) == [""] else there["settings"]
    settings = next(iter(there["settings"].values()))
    if not arguments.trust:
        check_imports(there["algo"], there["env"], list(there["settings"].values()), folder)
    try:
        options = Options(**there["options"])
    except TypeError as error:
        raise ValueError(f"The options of the study in {folder} are not those of a run: {error}.") from error
    words = (folder, there["algo"], there["env"], settings, there["seeds"])
    return _made(arguments, command, *words, variants=variants, options=options, resume=True)


def _made(
    arguments: argparse.Namespace,
    command: Sequence[str],
    folder: Path,
    algorithm: str,
    env: str,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    **others: Any,
) -> int:
    from coagent_rl.training.results import STUDY_FILE
    from coagent_rl.training.studies import study

    words = shlex.join(["python", *command])
    print(f"Training {algorithm} on {env}, {len(seeds)} seeds, in {folder}")
    how = {"n_jobs": arguments.n_jobs, "backend": arguments.backend, "address": arguments.address}
    try:
        made = study(algorithm, env, settings, seeds, folder=folder, command=words, **how, **others)
    except KeyboardInterrupt:
        if not (folder / STUDY_FILE).is_file():
            raise
        flag = trust_flag(algorithm, env, [settings, *(others.get("variants") or {}).values()])
        print(f"Interrupted. What is finished stays; --resume {folder}{flag} completes the study.", file=sys.stderr)
        return 130
    write_text(folder / "command.txt", words + "\n")
    print(f"\n{made.table()}")
    for path in sorted(folder.iterdir()):
        print(f"  {path}")
    if not made.failures:
        return 0
    names = "; ".join(made.name(key) for key in made.failures)
    print(f"train.py: {len(made.failures)} of {len(made.expected())} runs failed: {names}", file=sys.stderr)
    return 1


def listing() -> str:
    """All agents, environments with shipped settings for each, and what these reached where there are results."""
    from coagent_rl.training.results import SCORES

    reached = yaml.safe_load(resources.files(__package__).joinpath("reached.yml").read_text(encoding="utf-8"))
    lines = ["Agents, environments with shipped settings, and the mean return that these reached over all seeds.", ""]
    for name in ALGORITHMS:
        lines.append(f"{name}: {summary_of(name)}")
        for env_id in shipped_environments(name):
            scores = "no results with these settings"
            if found := reached.get(name, {}).get(env_id):
                scores = ", ".join(f"{found[key]:.2f} {label}" for key, label in SCORES.items())
                scores += f" ({found['seeds']} seeds)"
            lines.append(f"    {env_id:<26}{scores}")
    return "\n".join(lines)
