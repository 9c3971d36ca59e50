"""``train.py --resume``: go on with what is in a folder, a run or a study, which know all about themselves."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coagent_rl.files import held
from coagent_rl.registry import check_algorithm
from coagent_rl.training.files import read_config
from coagent_rl.training.hyperparameters import check_env_kwargs, check_environment, check_imports, check_keys
from coagent_rl.training.reading import read_summary, read_yaml
from coagent_rl.training.results import STUDY_FILE

FREE = {"resume", "progress", "verbose", "trust"}
"""Arguments that may be given with ``--resume`` of a run; all others it knows."""
NUMBERS = {"n_envs": 1, "eval_freq": 25_000, "eval_episodes": 5, "save_freq": 0, "final_eval_episodes": 100}
"""Arguments that a run keeps in ``args.yml``, and what they are where it does not say."""


def resume(arguments: argparse.Namespace, command: Sequence[str], defaults: Mapping[str, Any]) -> int:
    """Go on with the run, or complete the study, in the folder of ``--resume``; returns the exit code."""
    folder = Path(arguments.resume)
    if not any((folder / name).is_file() for name in (STUDY_FILE, "config.yml")):
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder} in which a run or a study could go on.")
        raise FileNotFoundError(
            f"Nothing has begun in {folder}: it has neither a config.yml nor a {STUDY_FILE}. A run that was stopped before "
            f"it wrote one is started again, by its command."
        )
    if (folder / STUDY_FILE).is_file():
        from coagent_rl.training.study_command import resume_study

        return resume_study(arguments, command, defaults)
    if given := [name for name, value in vars(arguments).items() if name not in FREE and value != defaults[name]]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"--resume takes what is trained from the run: {names} cannot be given with it.")
    resume_run(folder, arguments)
    return 0


def resume_run(folder: Path, arguments: argparse.Namespace) -> None:
    """Go on with a run from its last checkpoint, or from its beginning where there is none yet.

    Raises:
        ValueError: if the run is complete, or still training, or its files are damaged or name modules that are not trusted.
    """
    config, kept = read_config(folder), _read_arguments(folder)
    if not arguments.trust:
        check_imports(config["algo"], config["env"], [config["settings"]], folder / "config.yml")
    algorithm, env_id = check_algorithm(config["algo"]), check_environment(config["env"])
    check_keys(config["settings"], algorithm, str(folder / "config.yml"))
    check_env_kwargs(env_id, config["env_kwargs"])
    if _is_complete(folder):
        raise ValueError(f"The run in {folder} is complete: train.py -i MODEL -n N goes on with its model in a new run.")
    with held(folder):  # said before anything else is; training holds it again
        pass
    from coagent_rl.train import train_in
    from coagent_rl.training.checkpoints import checkpoints
    from coagent_rl.training.run import Options

    there = checkpoints(folder)
    options = Options(
        folder=folder,
        tensorboard_log=kept["tensorboard_log"],
        **{name: kept[name] for name in NUMBERS},
        env_kwargs=config["env_kwargs"],
        trained_agent=kept["trained_agent"],
        checkpoint=str(list(there.values())[-1]) if there else None,
        progress=arguments.progress,
        verbose=arguments.verbose,
        trust=arguments.trust,
    )
    where = f"from step {max(there)}" if there else "from its beginning, for it has no checkpoint yet"
    print(f"Going on with {algorithm} on {env_id} (seed {kept['seed']}) in {folder}, {where}")
    train_in(algorithm, env_id, config["settings"], kept["seed"], options, is_new=False)


def _read_arguments(folder: Path) -> dict[str, Any]:
    """What a run keeps in ``args.yml`` that it needs to go on."""
    path = folder / "args.yml"
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} does not hold the arguments of a run.")
    kept: dict[str, Any] = {**NUMBERS, "tensorboard_log": None, "trained_agent": None, "seed": None}
    kept.update({name: value for name, value in found.items() if name in kept})
    for name in ("seed", *NUMBERS):
        least = {"n_envs": 1, "eval_episodes": 1, "eval_freq": -1, "save_freq": -1}.get(name, 0)
        if type(kept[name]) is not int or kept[name] < least:
            raise ValueError(f"{path}: {name} must be a whole number from {least}, not {kept[name]!r}.")
    for name in ("tensorboard_log", "trained_agent"):
        if not isinstance(kept[name], str | None):
            raise ValueError(f"{path}: {name} must be a path, not {kept[name]!r}.")
    return kept


def _is_complete(folder: Path) -> bool:
    try:
        summary = read_summary(folder)
    except ValueError as error:
        raise ValueError(
            f"{error} It says whether the run is complete: delete it, and the run goes on from its last checkpoint."
        ) from error
    return summary is not None and not summary.get("interrupted")
