"""Evaluate a trained agent from the command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coagent_rl.files import check_writable, is_about_input
from coagent_rl.registry import algorithm_class, algorithm_folder, check_algorithm


def parser() -> argparse.ArgumentParser:
    """Build the command line; nothing heavy is imported for ``--help``."""
    p = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Evaluate a trained agent: a run's folder, or the newest run of an algorithm on an environment.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("folder", nargs="?", help="a run's folder")
    p.add_argument("--algo", default="weight_max", help="algorithm, or module:Class, where no folder is given")
    p.add_argument("--env", default="CartPole-v1", help="environment id, where no folder is given")
    p.add_argument("-f", "--log-folder", default="logs", help="where run folders are, where no folder is given")
    p.add_argument("--exp-id", type=int, default=0, help="number of the run; 0 for the newest")
    model = p.add_mutually_exclusive_group()
    model.add_argument("--load-best", action="store_true", help="the best model of training's evaluations, not the last")
    model.add_argument(
        "--load-checkpoint", type=int, metavar="N", help="the checkpoint after N time steps, not the last model"
    )
    p.add_argument("--trust", action="store_true", help="run code that a model or a run's files bring, by pickle or import")
    p.add_argument("--n-episodes", type=int, default=100, help="number of episodes")
    p.set_defaults(deterministic=True)  # of the parser, so that the help does not show it at both flags
    which = p.add_mutually_exclusive_group()
    one: dict[str, Any] = {"dest": "deterministic", "default": argparse.SUPPRESS}
    which.add_argument("--deterministic", **one, action="store_true", help="act as predict(deterministic=True) [default]")
    which.add_argument("--stochastic", **one, action="store_false", help="sample actions as in training")
    p.add_argument("--seed", type=int, default=0, help="of the environment and the units")
    p.add_argument("--record", metavar="FILE", help="record an episode with the network beside it (.gif, or .mp4)")
    p.add_argument("--page", metavar="FILE.html", help="write a page that plays an episode and shows every neuron")
    p.add_argument("--render", action="store_true", help="show an episode in a window")
    p.add_argument("--json", metavar="FILE", help="write the result as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for wrong arguments)."""
    arguments = parser().parse_args(argv)
    try:
        run(arguments)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        if not is_about_input(error):
            raise
        print(f"evaluate.py: error: {error}", file=sys.stderr)
        return 2
    return 0


def find_run(arguments: argparse.Namespace) -> Path:
    """Return the run's folder that the arguments mean."""
    from coagent_rl.training.files import existing_runs, folder_name
    from coagent_rl.training.hyperparameters import check_environment

    if arguments.folder is not None:
        folder = Path(arguments.folder)
    else:
        algorithm, env_id = check_algorithm(arguments.algo), check_environment(arguments.env)
        runs = existing_runs(Path(arguments.log_folder), algorithm_folder(algorithm), env_id)
        if arguments.exp_id:
            runs = [run for run in runs if run.name == f"{folder_name(env_id)}_{arguments.exp_id}"]
        if not runs:
            which = f"number {arguments.exp_id}" if arguments.exp_id else "at all"
            raise FileNotFoundError(f"There is no run {which} of {arguments.algo} on {env_id} in {arguments.log_folder}.")
        finished = [run for run in runs if find_model(run, env_id, arguments) is not None]
        folder = (finished or runs)[-1]
    return folder


def find_model(folder: Path, env_id: str, arguments: argparse.Namespace) -> Path | None:
    """The model that the arguments mean: the last one, of a run that did not end its last checkpoint; None without it."""
    from coagent_rl.training.checkpoints import checkpoints
    from coagent_rl.training.files import folder_name

    there = checkpoints(folder)
    if arguments.load_checkpoint is not None:
        return there.get(arguments.load_checkpoint)
    file = folder / ("best_model.zip" if arguments.load_best else f"{folder_name(env_id)}.zip")
    if file.is_file():
        return file
    return None if arguments.load_best or not there else list(there.values())[-1]


def _what_is_there(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("*.zip") if not path.name.startswith("."))
    return f"There {'are' if len(names) > 1 else 'is'} {', '.join(names)}." if names else "It has no model at all yet."


def can_be_drawn(env_id: str, mode: str = "rgb_array") -> bool:
    """Whether an environment can be rendered as an image, or in another of Gymnasium's modes."""
    import gymnasium as gym
    from gymnasium.envs.registration import load_env_creator

    entry_point = gym.spec(env_id).entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return mode in getattr(creator, "metadata", {}).get("render_modes", [])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluate, print and return the result."""
    if arguments.n_episodes < 1:
        raise ValueError(f"--n-episodes must be at least 1, not {arguments.n_episodes}.")
    if arguments.record is not None:
        from coagent_rl.analysis.recording import check_suffix

        check_suffix(arguments.record)
    if arguments.page is not None and not arguments.page.endswith(".html"):
        raise ValueError(f"--page takes an .html file, not {arguments.page!r}.")
    from coagent_rl.training.files import read_config, write_json
    from coagent_rl.training.hyperparameters import check_environment, check_imports

    folder = find_run(arguments)
    config = read_config(folder)
    if not arguments.trust:
        named = (arguments.algo, arguments.env)
        check_imports(config["algo"], config["env"], [config["settings"]], folder / "config.yml", named)
    algorithm, env_id = check_algorithm(config["algo"]), check_environment(config["env"])
    file = find_model(folder, env_id, arguments)
    if file is None:
        n = arguments.load_checkpoint
        what = "best model" if arguments.load_best else "model" if n is None else f"checkpoint after {n} steps"
        raise FileNotFoundError(f"There is no {what} in {folder}. {_what_is_there(folder)}")

    from coagent_rl.training.checkpoints import check_model
    from coagent_rl.training.environments import make_environments, normalised, rows_for
    from coagent_rl.training.evaluation import bootstrap_interval, evaluate
    from coagent_rl.training.run import EVALUATION_SEED_OFFSET

    model = algorithm_class(algorithm).load(file, trust=arguments.trust)
    check_model(model, file, algorithm, env_id, config)
    settings = config["settings"]

    def environment(n_rows: int = 1, **extra: Any) -> Any:
        seed = arguments.seed + EVALUATION_SEED_OFFSET  # never the episodes that a run with this seed was trained on
        env = make_environments(env_id, n_rows, seed, {**config["env_kwargs"], **extra}, settings.get("env_wrapper"))
        return normalised(env, settings.get("normalize"), file, training=False)

    model.policy.seed_predictions(arguments.seed)
    env = environment(rows_for(arguments.n_episodes, env_id, config["env_kwargs"], settings.get("env_wrapper")))
    if arguments.record is not None and not can_be_drawn(env_id):
        raise ValueError(
            f"{env_id} cannot be drawn as an image, so it cannot be recorded; --page FILE.html shows its network alone."
        )
    if arguments.render and not can_be_drawn(env_id, "human"):
        raise ValueError(f"{env_id} cannot be shown in a window.")
    for name, path in (("--record", arguments.record), ("--page", arguments.page), ("--json", arguments.json)):
        if path is not None:
            check_writable(Path(path), name)
    returns, lengths = evaluate(model, env, arguments.n_episodes, arguments.deterministic)
    env.close()
    low, high = bootstrap_interval(returns)
    result = {
        "algo": algorithm,
        "env": env_id,
        "model": str(file),
        "seed": arguments.seed,
        "deterministic": arguments.deterministic,
        "episodes": len(returns),
        "mean_return": float(returns.mean()),
        "std_return": float(returns.std()),
        "confidence_interval_95": [low, high],
        "mean_length": float(lengths.mean()),
        "std_length": float(lengths.std()),
        "returns": returns.tolist(),
        "lengths": lengths.tolist(),
    }
    print(f"{file}, {len(returns)} episodes, {'deterministic' if arguments.deterministic else 'stochastic'} actions")
    print(f"return {returns.mean():.2f} ± {returns.std():.2f} (mean ± standard deviation)")
    print(f"95 % confidence interval of the mean [{low:.2f}, {high:.2f}] (bootstrap)")
    print(f"length {lengths.mean():.1f} ± {lengths.std():.1f}, from {lengths.min()} to {lengths.max()}")
    if arguments.json is not None:
        write_json(Path(arguments.json), result)
    if arguments.record is not None or arguments.page is not None:
        show(model, environment, result, arguments)
    if arguments.render:
        render(model, environment(render_mode="human"), arguments)
    return result


def show(model: Any, environment: Any, result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Record an episode, or write a page of it, or both of the same episode.

    Args:
        environment: makes one, with arguments.
        result: of the evaluation.
    """
    from coagent_rl.analysis.episode import watch

    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # frames are drawn in memory, without a display
    env_id, is_drawn = result["env"], can_be_drawn(result["env"])
    model.policy.seed_predictions(arguments.seed)
    env = environment(**({"render_mode": "rgb_array"} if is_drawn else {}))
    rate = float(env.metadata.get("render_fps") or 30) if is_drawn else 4.0
    episode = watch(model, env, env_id, arguments.deterministic)
    until = "" if episode.ended else ", of which these are the first"
    said = f"return {episode.returns[-1]:.1f} in {episode.n_steps} steps{until}"
    if arguments.record is not None:
        from coagent_rl.analysis.recording import record

        record(Path(arguments.record), episode, rate)
        print(f"recorded {arguments.record}: an episode with {said}")
    if arguments.page is not None:
        from coagent_rl.analysis.episode_page import write_page

        how = "deterministic" if arguments.deterministic else "stochastic"
        about = f"An episode of a trained {type(model).__name__} agent, {how} actions, seed {arguments.seed}: {said}."
        write_page(Path(arguments.page), episode, f"{type(model).__name__} on {env_id}", about, rate)
        print(f"wrote {arguments.page}, a page to open in a browser: an episode with {said}")


def render(model: Any, env: Any, arguments: argparse.Namespace) -> None:
    """Show an episode in a window, at the environment's own speed."""
    model.policy.seed_predictions(arguments.seed)
    observations, total, n_steps, done = env.reset(), 0.0, 0, False
    while not done:
        actions, _ = model.predict(observations, deterministic=arguments.deterministic)
        observations, rewards, dones, _ = env.step(actions)
        total, n_steps, done = total + float(rewards[0]), n_steps + 1, bool(dones[0])
    env.close()
    print(f"shown: an episode with return {total:.1f} in {n_steps} steps")


if __name__ == "__main__":
    sys.exit(main())
