"""The agents in RL Baselines3 Zoo: ``python -m coagent_rl.zoo train --algo weight_max --env CartPole-v1``.

The commands ``train`` and ``enjoy``, and their arguments, are the Zoo's own. In a script of your own, call `register` before
them. The Zoo (the extra ``zoo``) is imported only where it is used.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from types import ModuleType
from typing import Any

import gymnasium as gym

from coagent_rl.registry import ALGORITHMS, algorithm_class
from coagent_rl.training.hyperparameters import load_hyperparameters, shipped_environments

STOP_AFTER = "stable_baselines3.common.callbacks.StopTrainingOnMaxEpisodes"


def zoo_settings(algorithm: str) -> dict[str, dict[str, Any]]:
    """The shipped hyperparameters of an algorithm as the Zoo writes them: environment id → settings, and ``default``.

    A length in episodes becomes a callback that stops after so many, and the most time steps that they can take.
    """
    return {env_id: _zoo_settings(algorithm, env_id) for env_id in (*shipped_environments(algorithm), "default")}


def _zoo_settings(algorithm: str, env_id: str) -> dict[str, Any]:
    settings = {"policy": "MlpPolicy", **load_hyperparameters(algorithm, env_id)}
    n_episodes = settings.pop("n_episodes", None)
    if n_episodes is not None:
        # Of the environments whose length is given so, only the multiplexer has no limit: its episodes are one step.
        settings["n_timesteps"] = n_episodes * (gym.spec(env_id).max_episode_steps or 1)
        settings["callback"] = [{STOP_AFTER: {"max_episodes": n_episodes}}]
    return settings


def sampler(algorithm: str, settings: Mapping[str, Any]) -> Callable[..., dict[str, Any]]:
    """How the Zoo's ``-optimize`` draws hyperparameters: the agent's own `search_space`, around these settings."""

    def sample(trial: Any, n_actions: int = 0, n_envs: int = 1, additional_args: object = None) -> dict[str, Any]:
        drawn = algorithm_class(algorithm).search_space(trial, settings)
        if "policy_kwargs" in drawn:  # the Zoo replaces whole settings
            drawn["policy_kwargs"] = {**(settings.get("policy_kwargs") or {}), **drawn["policy_kwargs"]}
        return drawn

    return sample


def register() -> None:
    """Enter all agents, their hyperparameters and their search spaces in RL Zoo's tables; twice is as once.

    Raises:
        ImportError: if the Zoo is not installed.
    """
    try:
        import rl_zoo3.train
        from optuna.trial import FixedTrial
        from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
        from rl_zoo3.utils import ALGOS
    except ImportError as error:
        raise ImportError(f"RL Zoo cannot be imported ({error}): pip install 'coagent-rl[zoo]'.") from error

    for name in ALGORITHMS:
        ALGOS[name] = algorithm_class(name)
        HYPERPARAMS_SAMPLER[name] = sampler(name, {})
        HYPERPARAMS_CONVERTER[name] = lambda drawn, name=name: HYPERPARAMS_SAMPLER[name](FixedTrial(drawn))
        table = ModuleType(_table(name))
        table.hyperparams = zoo_settings(name)  # type: ignore[attr-defined]
        sys.modules[_table(name)] = table  # the Zoo reads its settings from a file, or from a module that it imports
    if getattr(rl_zoo3.train.ExperimentManager, "takes_coagents", False):
        return

    class CoagentExperiments(rl_zoo3.train.ExperimentManager):
        """The Zoo's manager of experiments, which finds our hyperparameters and search spaces."""

        takes_coagents = True
        save_replay_buffer: bool
        trial_id: int | None

        def __init__(self, args: Any, algo: str, *more: Any, config: str | None = None, **kwargs: Any) -> None:
            super().__init__(args, algo, *more, config=config or (_table(algo) if algo in ALGORITHMS else None), **kwargs)

        def read_hyperparameters(self) -> Any:
            if self.algo in ALGORITHMS and self.trial_id:
                # What a trial drew is read by the search space around the settings that the study had: those without it.
                self.trial_id, trial_id = None, self.trial_id
                with redirect_stdout(io.StringIO()):
                    settings = dict(super().read_hyperparameters()[0])
                self.trial_id = trial_id
                if isinstance(settings.get("policy_kwargs"), str):
                    settings["policy_kwargs"] = eval(settings["policy_kwargs"])  # as the Zoo itself does
                if self.n_timesteps > 0:
                    settings["n_timesteps"] = self.n_timesteps
                HYPERPARAMS_SAMPLER[self.algo] = sampler(self.algo, settings)
            return super().read_hyperparameters()

        def setup_experiment(self) -> Any:
            result = super().setup_experiment()
            if self.algo in ALGORITHMS:
                settings = {**self._hyperparams, "n_timesteps": self.n_timesteps}
                HYPERPARAMS_SAMPLER[self.algo] = sampler(self.algo, settings)
            return result

        def save_trained_model(self, model: Any) -> None:
            if self.save_replay_buffer and getattr(model, "replay_buffer", self) is None:
                print("There is no replay buffer to save: buffer_size is None.")
                self.save_replay_buffer = False
            super().save_trained_model(model)

    rl_zoo3.train.ExperimentManager = CoagentExperiments


def _table(algorithm: str) -> str:
    return f"coagent_rl.zoo.hyperparameters.{algorithm}"  # __name__ may be "__main__"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the Zoo's commands with our agents in its tables; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in ("train", "enjoy"):
        print("usage: python -m coagent_rl.zoo {train,enjoy} …", file=sys.stderr)
        return 2
    try:
        register()
    except ImportError as error:
        print(f"coagent_rl.zoo: error: {error}", file=sys.stderr)
        return 2
    sys.argv = [f"{sys.argv[0]} {words[0]}", *words[1:]]
    getattr(import_module(f"rl_zoo3.{words[0]}"), words[0])()
    return 0


if __name__ == "__main__":
    sys.exit(main())
