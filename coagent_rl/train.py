"""Train an agent from the command line."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coagent_rl
from coagent_rl.files import is_about_input
from coagent_rl.registry import ALGORITHMS, algorithm_folder, check_algorithm, nearest

if TYPE_CHECKING:
    from coagent_rl.training.run import Options

ALGO, ENV = "weight_max", "CartPole-v1"
"""Where neither the command line nor a run that goes on names any."""
NAME_WIDTH = 24  # of files' names in the closing lines
BACKENDS = ("auto", "threads", "loky", "dask", "ray")
LEAST = {
    "n_timesteps": (1, "at least 1"),
    "n_episodes": (1, "at least 1"),
    "n_envs": (1, "at least 1"),
    "n_jobs": (1, "a whole number from 1, or -1 for one a processor"),
    "eval_freq": (1, "at least 1, or -1 for never"),
    "eval_episodes": (1, "at least 1"),
    "save_freq": (0, "at least 1, or 0 for one a minute, or -1 for none"),
    "final_eval_episodes": (0, "at least 0"),
    "verbose": (0, "at least 0"),
}
"""The smallest value of each number, and what it must be, for messages."""
SPECIAL = {"n_jobs", "eval_freq", "save_freq"}
"""Numbers of which -1 means something of its own."""
TUNING: dict[str, dict[str, Any]] = {
    "--n-trials": {"type": int, "default": 100, "help": "trials of the study, those of other workers included"},
    "--objective": {
        "choices": ("average", "last", "final"),
        "default": "average",
        "help": "mean return over all training episodes, over the last 100, or of greedy evaluation after training",
    },
    "--sampler": {"choices": ("tpe", "random", "cmaes"), "default": "tpe", "help": "what draws the trials"},
    "--pruner": {"choices": ("none", "median", "halving"), "default": "median", "help": "what ends trials early"},
    "--n-startup-trials": {"type": int, "default": 10, "help": "drawn at random, before anything is concluded from them"},
    "--tuning-seeds": {"default": "1000,1001", "help": "of the runs of every trial"},
    "--confirm": {"type": int, "default": 5, "help": "number of best trials that are trained again on fresh seeds"},
    "--confirm-seeds": {"default": "2000-2004", "help": "the fresh seeds, by which the winner is named"},
    "--storage": {"help": "database that several workers share, e.g. sqlite:///study.db [memory]"},
    "--study-name": {"help": "name of the study in the storage [algorithm and environment]"},
    "--timeout": {"type": float, "help": "seconds after which no trial is begun"},
}
"""Options of ``--optimize``."""


def parser() -> argparse.ArgumentParser:
    """Build the command line; nothing heavy is imported for ``--help``."""
    p = argparse.ArgumentParser(
        prog="train.py",
        description="Train a coagent network. Hyperparameters come from the package's YAML files unless given.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("--algo", help=f"{', '.join(ALGORITHMS)}, or module:Class [{ALGO}, or that of -i]")
    p.add_argument("--env", help=f"id of a Gymnasium environment, or module:id [{ENV}, or that of -i]")
    p.add_argument("-n", "--n-timesteps", type=int, help="length of training in time steps [from the YAML file]")
    p.add_argument("--n-episodes", type=int, help="length of training in episodes [from the YAML file]")
    p.add_argument("--seed", type=int, help="of parameters, units and environments [drawn at random]")
    p.add_argument("--seeds", help="train one agent per seed, such as 0-9 or 0,3,5-7: a study in one folder")
    p.add_argument("--n-jobs", type=int, default=1, help="runs of a study at a time; -1 for one per processor")
    p.add_argument("--backend", default="auto", help=f"where a study's runs are made: {', '.join(BACKENDS)}")
    p.add_argument("--address", help="of the Dask or Ray cluster [a local one is started]")
    p.add_argument("--resume", metavar="FOLDER", help="go on with the run, or complete the study, in this folder")
    p.add_argument("-f", "--log-folder", default="logs", help="where run folders are made")
    p.add_argument("-tb", "--tensorboard-log", help="folder for TensorBoard")
    p.add_argument("--n-envs", type=int, default=1, help="number of environments side by side")
    p.add_argument("--eval-freq", type=int, default=25_000, help="evaluate every so many time steps; -1 for never")
    p.add_argument("--eval-episodes", type=int, default=5, help="episodes of each of these evaluations")
    p.add_argument("--save-freq", type=int, default=0, help="time steps between checkpoints; 0 for a minute, -1 for none")
    p.add_argument("-params", "--hyperparams", nargs="+", default=[], metavar="KEY:VALUE", help="replace settings")
    p.add_argument("--env-kwargs", nargs="+", default=[], metavar="KEY:VALUE", help="arguments of the environment")
    p.add_argument("-conf", "--conf-file", help="YAML file of hyperparameters instead of the package's own")
    p.add_argument("-i", "--trained-agent", help="saved model (.zip) to go on training, as its run did")
    p.add_argument("--trust", action="store_true", help="run code that a model or a run's files bring, by pickle or import")
    p.add_argument("--final-eval-episodes", type=int, default=100, help="evaluation after training; 0 for none")
    p.add_argument("-P", "--progress", action="store_true", help="show a progress bar with the running return")
    p.add_argument("--render", action="store_true", help="show training in a window, at the environment's own speed")
    p.add_argument("--verbose", type=int, default=0, help="1 prints what Stable-Baselines3 logs")
    p.add_argument("--list", action="store_true", help="show agents, and the environments with settings for each")
    p.add_argument("--version", action="version", version=f"coagent-rl {coagent_rl.__version__}")
    tuning = p.add_argument_group("tuning", "Needs Optuna: pip install 'coagent-rl[tune]'.")
    tuning.add_argument("--optimize", action="store_true", help="search for settings; -params are kept fixed")
    for flag, how in TUNING.items():
        tuning.add_argument(flag, **how)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 2 for wrong arguments, 1 if runs of a study failed, 130 if interrupted where nothing was saved.
    """
    arguments = parser().parse_args(argv)
    command = list(sys.argv if argv is None else ["train.py", *argv])
    try:
        check_values(arguments)
        if arguments.list or arguments.resume is not None or arguments.seeds is not None:
            from coagent_rl.training import study_command

            if arguments.list:
                print(study_command.listing())
                return 0
            if arguments.resume is not None:
                from coagent_rl.training.resume import resume

                return resume(arguments, command, vars(parser().parse_args([])))
            return study_command.run_study(arguments, command, *prepare(arguments))
        run(arguments, command)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        if not is_about_input(error):
            raise
        print(f"train.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def check_values(arguments: argparse.Namespace) -> None:
    """Refuse numbers and names that mean nothing, whatever they are given with."""
    from coagent_rl.streams import LARGEST_SEED

    for name, (least, what) in LEAST.items():
        given = getattr(arguments, name)
        if given is not None and given < least and not (given == -1 and name in SPECIAL):
            raise ValueError(f"--{name.replace('_', '-')} must be {what}, not {given}.")
    if arguments.seed is not None and arguments.seed < 0:
        raise ValueError(f"--seed must not be negative, not {arguments.seed}.")
    if arguments.seed is not None and arguments.seed > LARGEST_SEED:
        raise ValueError(f"--seed must be at most {LARGEST_SEED}, not {arguments.seed}.")
    if arguments.backend not in BACKENDS:
        raise ValueError(f"Unknown backend {arguments.backend!r}. {nearest(arguments.backend, BACKENDS)}")


def prepare(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Check the arguments; returns algorithm, environment id, settings and arguments of the environment."""
    from coagent_rl.training.hyperparameters import check_env_kwargs, check_environment, check_keys, override, parse_pairs

    if arguments.trained_agent is not None and not Path(arguments.trained_agent).is_file():
        raise FileNotFoundError(f"There is no trained agent at {arguments.trained_agent}.")
    config = config_of_agent(arguments)
    arguments.algo = arguments.algo or (config["algo"] if config else ALGO)
    arguments.env = arguments.env or (config["env"] if config else ENV)
    algorithm, env_id = check_algorithm(arguments.algo), check_environment(arguments.env)
    for flag, how in TUNING.items():
        if not arguments.optimize and getattr(arguments, flag[2:].replace("-", "_")) != how.get("default"):
            raise ValueError(f"{flag} goes with --optimize.")
    env_changes = parse_pairs(arguments.env_kwargs)
    check_env_kwargs(env_id, env_changes)
    if arguments.render:
        check_window(arguments, env_id)
    replaced, changes = parse_pairs(arguments.hyperparams), changes_of(arguments)
    if changes.get("n_timesteps") is not None and changes.get("n_episodes") is not None:
        raise ValueError("Give --n-timesteps or --n-episodes, not both.")
    check_keys(replaced, algorithm, "-params")  # only now: it imports the algorithm, which takes seconds
    settings, env_kwargs = starting_point(arguments, algorithm, env_id, config, changes)
    return algorithm, env_id, override(settings, changes), {**env_kwargs, **env_changes}


def check_window(arguments: argparse.Namespace, env_id: str) -> None:
    """Refuse ``--render`` where there would be no window, or many."""
    from coagent_rl.evaluate import can_be_drawn

    if arguments.seeds is not None or arguments.optimize or arguments.n_envs > 1:
        raise ValueError("--render shows one environment of one run: it goes with none of --seeds, --optimize and --n-envs.")
    if not can_be_drawn(env_id, "human"):
        raise ValueError(f"{env_id} cannot be shown in a window.")


def changes_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line replaces, with the length of training."""
    from coagent_rl.training.hyperparameters import parse_pairs

    lengths = {name: value for name in ("n_timesteps", "n_episodes") if (value := getattr(arguments, name)) is not None}
    return {**parse_pairs(arguments.hyperparams), **lengths}


def run(arguments: argparse.Namespace, command: Sequence[str]) -> Path:
    """Train, and return the run's folder."""
    algorithm, env_id, settings, env_kwargs = prepare(arguments)
    if arguments.optimize:
        from coagent_rl.training.tuning import command as tune

        return tune(arguments, algorithm, env_id, settings, changes_of(arguments), env_kwargs, command)

    import numpy as np

    from coagent_rl.training.files import new_run, write_text, write_yaml
    from coagent_rl.training.run import Options

    seed = arguments.seed if arguments.seed is not None else int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    folder = new_run(Path(arguments.log_folder), algorithm_folder(algorithm), env_id)
    write_text(folder / "command.txt", shlex.join(["python", *command]) + "\n")
    write_yaml(folder / "args.yml", {**vars(arguments), "seed": seed})
    write_yaml(
        folder / "config.yml", {"algo": algorithm, "env": arguments.env, "env_kwargs": env_kwargs, "settings": settings}
    )
    print(f"Training {algorithm} on {env_id} (seed {seed}) in {folder}")
    options = Options(
        folder=folder,
        tensorboard_log=arguments.tensorboard_log,
        n_envs=arguments.n_envs,
        eval_freq=arguments.eval_freq,
        eval_episodes=arguments.eval_episodes,
        save_freq=arguments.save_freq,
        env_kwargs=env_kwargs,
        trained_agent=arguments.trained_agent,
        final_eval_episodes=arguments.final_eval_episodes,
        progress=arguments.progress,
        render=arguments.render,
        verbose=arguments.verbose,
        trust=arguments.trust,
    )
    train_in(algorithm, env_id, settings, seed, options)
    return folder


def train_in(
    algorithm: str, env_id: str, settings: Mapping[str, Any], seed: int, options: Options, is_new: bool = True
) -> None:
    """Train in the folder of a run, new or going on, and say what came of it; signals end it between two steps."""
    from coagent_rl.analysis.plots import learning_curve
    from coagent_rl.training.checkpoints import Interruption
    from coagent_rl.training.hyperparameters import trust_flag
    from coagent_rl.training.run import train

    folder = options.folder
    assert folder is not None
    words = shlex.quote(str(folder)) + trust_flag(algorithm, env_id, [settings])
    how = f"To go on: python train.py --resume {words}"
    try:
        with Interruption() as options.interruption:
            result = train(algorithm, env_id, settings, seed, options)
    except KeyboardInterrupt:
        print(f"Interrupted. {how}", file=sys.stderr)
        raise
    except Exception:
        if any(folder.glob("*.zip")):
            print(f"What was learned until then is in {folder}.", file=sys.stderr)
        elif is_new and not any(path.read_text().count("\n") > 2 for path in folder.glob("*.monitor.csv")):
            shutil.rmtree(folder, ignore_errors=True)  # it failed before the first episode ended: leave no empty run
        raise
    if result.returns.size:
        learning_curve(folder / "learning_curve.png", {algorithm: [result.returns]}, title=env_id)
    _report(folder, result.summary)
    print(f"To watch it: python evaluate.py {words} --page episode.html")
    if result.summary["interrupted"]:
        print(f"Interrupted; all is saved. {how}")


def config_of_agent(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The ``config.yml`` beside the model that goes on, unless the user names a file of settings; None without any."""
    from coagent_rl.training.files import read_config
    from coagent_rl.training.hyperparameters import check_imports

    if arguments.trained_agent is None or arguments.conf_file is not None:
        return None
    folder = Path(arguments.trained_agent).parent
    if not (folder / "config.yml").is_file():
        return None
    config = read_config(folder)
    if not arguments.trust:
        named = (arguments.algo, arguments.env)
        check_imports(config["algo"], config["env"], [config["settings"]], folder / "config.yml", named)
    return config


def starting_point(
    arguments: argparse.Namespace,
    algorithm: str,
    env_id: str,
    config: Mapping[str, Any] | None,
    changes: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and arguments of the environment that the command line changes.

    They are those of the run that goes on, with what remains of its length, where there is one with a ``config.yml`` beside
    its model; otherwise the algorithm's.
    """
    from coagent_rl.training.hyperparameters import check_env_kwargs, check_keys, load_hyperparameters

    if config is None:
        return load_hyperparameters(algorithm, env_id, arguments.conf_file), {}
    if config["algo"] != algorithm:
        raise ValueError(f"{arguments.trained_agent} was trained by {config['algo']}, not by {algorithm}.")
    settings = dict(config["settings"])
    check_keys(settings, algorithm, str(Path(arguments.trained_agent).parent / "config.yml"))
    check_env_kwargs(env_id, config["env_kwargs"])
    if not {"n_timesteps", "n_episodes"} & set(changes):
        from coagent_rl.agents.saving import read_progress

        done = dict(zip(("n_timesteps", "n_episodes"), read_progress(Path(arguments.trained_agent)), strict=True))
        for name, n in done.items():
            if settings.get(name) is not None:
                if settings[name] <= n:
                    raise ValueError(
                        f"{arguments.trained_agent} was trained for all of its run's {settings[name]} {name[2:]}: say with "
                        f"-n or --n-episodes for how long it is to go on."
                    )
                settings[name] -= n
    return settings, config["env_kwargs"]


def _report(folder: Path, summary: dict[str, Any]) -> None:
    print(
        f"{summary['episodes']} episodes, {summary['timesteps']} steps in {summary['seconds']:.1f} s, of which "
        f"{summary['training_seconds']:.1f} s were training ({summary['steps_per_second']:.0f} steps/s; {summary['road']})"
    )
    if summary["episodes"]:
        print(
            f"mean return over all training episodes {summary['mean_return_all_episodes']:.2f}, "
            f"over the last 100 {summary['mean_return_last_100']:.2f}"
        )
    final = summary["final_evaluation"]
    if final is not None:
        print(
            f"final score {final['mean_return']:.2f} ± {final['std_return']:.2f} "
            f"(mean ± standard deviation of {final['episodes']} evaluation episodes)"
        )
    from coagent_rl.training.files import contents

    print(f"In {folder}:")
    for name, what in contents(folder):
        print(f"  {name:<{NAME_WIDTH}}  {what}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
