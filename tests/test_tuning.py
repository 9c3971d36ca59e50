"""Tuning: what is drawn, how it is scored and stopped early, and who wins."""

import csv
import importlib.util
import json
import threading
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml
from stable_baselines3.common.callbacks import BaseCallback

from coagent_rl import WeightMax, train
from coagent_rl.registry import ALGORITHMS, algorithm_class
from coagent_rl.training import tuning
from coagent_rl.training.hyperparameters import RUN_KEYS, check_keys, load_hyperparameters, parse_seeds, shipped_environments
from coagent_rl.training.run import Options
from coagent_rl.training.run import train as train_once
from coagent_rl.training.trials import Checkpoints, Diverged, Stopped, Task, TrialRecord, Unfixed
from coagent_rl.training.tuning import Candidate, best_trials, choose, confirm, tune

pytest.importorskip("optuna", reason="Optuna is not installed (the extra tune)")
import optuna

from coagent_rl.training import optuna_study

ROOT = Path(__file__).parents[1]
SETTINGS = {"n_timesteps": 300, "policy_kwargs": {"net_arch": [4]}}
QUICK = {
    "settings": SETTINGS,
    "n_startup_trials": 1,
    "confirm_seeds": [2000],
    "n_confirmed": 1,
    "pruner": "none",
}


class Ends:
    """A trial that suggests the lower or the upper end of everything, and remembers what it was asked for."""

    def __init__(self, upper: bool) -> None:
        self.upper, self.names = upper, []

    def suggest_float(self, name, low, high, *, log=False):
        assert low < high
        self.names.append(name)
        return high if self.upper else low

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        self.names.append(name)
        return choices[-1 if self.upper else 0]


def task(**changes) -> Task:
    fixed = {"n_timesteps": 300}
    return replace(Task("weight_max", "CartPole-v1", SETTINGS, fixed, {}, 1, "average", 5, [1000, 1001]), **changes)


def key(trials) -> list:
    return [(trial.number, trial.state, trial.score, trial.scores, trial.drawn) for trial in trials]


# ------------------------------------------------------------------ what is drawn


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_agent_can_be_made_of_all_that_it_draws(name, upper) -> None:
    for env_id in shipped_environments(name) or ["CartPole-v1"]:
        settings = load_hyperparameters(name, env_id)
        trial = Ends(upper)
        drawn = task(algorithm=name, env_id=env_id, settings=settings, fixed={}).draw(trial)
        assert len(set(trial.names)) == len(trial.names)
        assert {part.split(".")[0] for part in trial.names} <= set(drawn)  # what is suggested has an effect
        arguments = {key: value for key, value in {**settings, **drawn}.items() if key not in RUN_KEYS}
        model = algorithm_class(name)("MlpPolicy", gym.make(env_id), **arguments)  # which checks them
        assert model.gamma == drawn["gamma"]


def test_rates_are_ratios_to_the_first_and_decay_where_the_length_is_known() -> None:
    space = algorithm_class("weight_max").search_space
    low = space(Ends(False), SETTINGS)
    assert low["actor_learning_rate"] == [5e-3, pytest.approx(5e-3 * 5e-4)]
    high = space(Ends(True), SETTINGS)["actor_learning_rate"]
    assert high == {"start": [0.1, 0.02], "end": [0.001, 0.0002], "steps": 300}
    in_episodes = {**SETTINGS, "n_timesteps": None, "n_episodes": 9}
    assert space(Ends(True), in_episodes)["actor_learning_rate"] == [0.1, 0.02]
    scheduled = {**in_episodes, "actor_learning_rate": {"start": 1.0, "end": 0.5, "steps": 70}}
    assert space(Ends(True), scheduled)["actor_learning_rate"]["steps"] == 70
    frozen = space(Ends(True), {**SETTINGS, "frozen_layers": "hidden"})
    assert frozen["actor_learning_rate"] == [0.0, 0.1]
    assert "critic_learning_rate" not in space(Ends(True), {**SETTINGS, "critic": None})


def test_what_is_fixed_is_neither_drawn_nor_asked_for() -> None:
    trial = Ends(True)
    fixed = {"gamma": 0.5, "critic_lambda": 0.1, "actor_learning_rate": 0.3, "policy_kwargs": {"critic_variance": 0.7}}
    settings = {**load_hyperparameters("map_prop", "CartPole-v1"), **fixed}
    drawn = task(algorithm="map_prop", settings=settings, fixed=fixed).draw(trial)
    assert not {"gamma", "critic_lambda", "actor_learning_rate"} & set(drawn)
    assert not any(name.startswith(("gamma", "actor_learning_rate", "policy_kwargs.critic")) for name in trial.names)
    assert drawn["policy_kwargs"] == {"variance": 0.3, "critic_variance": 0.7}
    follows = Unfixed(trial, {"critic_lambda": 0.1})
    assert algorithm_class("decentralized_ddpg").search_space(follows, SETTINGS)["neuron_critic_lambda"] == 0.1


class Own(WeightMax):
    """An agent whose search space is wrong."""

    @classmethod
    def search_space(cls, trial, settings):
        return {"gama": trial.suggest_float("gama", 0.5, 1.0)}


def test_a_search_space_of_ones_own_is_used_and_checked() -> None:
    own = task(algorithm="tests.test_tuning:Own")
    with pytest.raises(ValueError, match=r"Unknown key 'gama' in Own.search_space.*gamma"):
        own.draw(Ends(True))
    with pytest.raises(ValueError, match="gama"):  # and it is not said of a hundred trials
        tune("tests.test_tuning:Own", "CartPole-v1", 100, **QUICK)


# ------------------------------------------------------------------ trials


def test_same_seed_same_trials_and_jobs_do_not_matter_to_the_random_sampler() -> None:
    first, second = (tune("weight_max", "CartPole-v1", 4, sampler="tpe", seed=3, **QUICK) for _ in range(2))
    assert key(first.trials) == key(second.trials)
    assert [trial.number for trial in first.trials] == [0, 1, 2, 3]
    assert first.settings == second.settings
    assert first.winner.score == second.winner.score
    other = tune("weight_max", "CartPole-v1", 2, seed=4, **QUICK)
    assert key(other.trials) != key(first.trials[:2])
    alone, two = (tune("weight_max", "CartPole-v1", 4, sampler="random", n_jobs=jobs, **QUICK) for jobs in (1, 2))
    assert key(alone.trials) == key(two.trials)


def test_a_trial_is_the_mean_of_ordinary_runs() -> None:
    result = tune("weight_max", "CartPole-v1", 1, **QUICK)
    trial, ordinary = result.trials[0], Options(final_eval_episodes=0)
    for seed in (1000, 1001):
        run = train_once("weight_max", "CartPole-v1", {**SETTINGS, **trial.drawn}, seed, ordinary)
        assert trial.scores[seed] == run.returns.mean()
    assert trial.score == np.mean(list(trial.scores.values()))
    assert result.winner.scores == {2000: task().score(trial.drawn, 2000)}
    run = train_once("weight_max", "CartPole-v1", SETTINGS, 7, Options(final_eval_episodes=5))
    assert task(objective="final").score({}, 7) == run.summary["final_evaluation"]["mean_return"]
    assert task(objective="last").running_score(np.arange(200)) == np.arange(100, 200).mean()


@pytest.mark.parametrize(("n_envs", "length"), [(1, "n_timesteps"), (2, "n_timesteps"), (1, "n_episodes")])
def test_checkpoints_are_tenths_and_leave_training_compiled(n_envs, length) -> None:
    seen = []
    settings = {**SETTINGS, "n_timesteps": None, length: 300 if length == "n_timesteps" else 20}
    limits = (settings.get("n_timesteps"), settings.get("n_episodes"))
    checkpoints = Checkpoints(*limits, lambda number, returns: seen.append((number, returns.copy(), times.now())))

    class Times(BaseCallback):
        now = lambda self: self.model.num_timesteps  # noqa: E731
        steps_until_needed = lambda self: np.inf  # noqa: E731
        _on_step = lambda self: True  # noqa: E731

    times = Times()
    options = Options(n_envs=n_envs, final_eval_episodes=0, callbacks=[times, checkpoints])
    result = train_once("weight_max", "CartPole-v1", settings, 0, options)
    assert result.model.why_step_by_step is None
    plain = train_once("weight_max", "CartPole-v1", settings, 0, Options(n_envs=n_envs, final_eval_episodes=0))
    assert plain.returns.tolist() == result.returns.tolist()
    for number, returns, steps in seen:
        assert returns.tolist() == result.returns[: len(returns)].tolist()
        if length == "n_timesteps":
            assert steps == 30 * number
        else:
            assert len(returns) == 2 * number
    assert [number for number, _, _ in seen][-1] == 9


def test_a_bad_trial_is_pruned_at_a_checkpoint_and_counts(monkeypatch) -> None:
    done = []

    def score(self, drawn, seed, judge=None, stop=None):
        number = len(done) // 2
        quality = 1.0 if number < 2 else 0.0
        for checkpoint in range(1, 10):
            judge(checkpoint, np.full(3, quality + 0.01 * number))
        done.append(seed)
        return quality

    monkeypatch.setattr(Task, "score", score)
    study = optuna_study.open_study(task(), "random", "median", 2, 0, None, "study")
    told = []
    with optuna_study.quiet():
        optuna_study.run_trials(study, task(), 4, 1, None, told.append)
    assert [trial.state for trial in told] == ["complete", "complete", "pruned", "pruned"]
    assert told == optuna_study.records(study)
    assert done == [1000, 1001] * 2  # the third and the fourth did not come to the end of their first runs
    reported = study.trials[2].intermediate_values
    assert max(reported) == 3  # three tenths of the first run
    assert told[2].score is None
    halving = optuna_study.PRUNERS["halving"](0)
    assert isinstance(halving, optuna.pruners.SuccessiveHalvingPruner)


def test_a_diverged_trial_has_failed_and_the_others_go_on(monkeypatch) -> None:
    class Exploding(BaseCallback):
        steps_until_needed = lambda self: 50.0  # noqa: E731

        def _on_step(self) -> bool:
            raise ValueError("the parameters have diverged")

    monkeypatch.setattr(
        "coagent_rl.training.trials.Options",
        lambda **words: Options(**{**words, "callbacks": [*words["callbacks"], Exploding()]}),
    )
    with pytest.raises(Diverged, match="have diverged"):
        task().score({}, 0)
    monkeypatch.undo()
    honest = Task.score

    def score(self, drawn, seed, judge=None, stop=None):
        if drawn["gamma"] != 0.95:
            raise Diverged("diverged")
        return honest(self, drawn, seed, judge, stop)

    monkeypatch.setattr(Task, "score", score)
    result = tune("weight_max", "CartPole-v1", 6, sampler="random", seed=1, **QUICK)
    states = {trial.state for trial in result.trials}
    assert states == {"complete", "failed"}
    assert {trial.error for trial in result.trials if trial.state == "failed"} == {"seed 1000: diverged"}
    assert result.winner.trial.drawn["gamma"] == 0.95
    monkeypatch.setattr(Task, "score", lambda *words: (_ for _ in ()).throw(Diverged("all of them")))
    with pytest.raises(ValueError, match=r"None of 2 trials was completed \(seed 1000: all of them\)"):
        tune("weight_max", "CartPole-v1", 2, **QUICK)


def test_settings_with_which_nothing_can_begin_end_the_study() -> None:
    with pytest.raises(ValueError, match="norm_order"):
        tune("weight_max", "CartPole-v1", 50, fixed={"norm_order": 0.5}, **QUICK)
    with pytest.raises(ValueError, match="No episode ended"):
        tune("weight_max", "CartPole-v1", 50, fixed={"n_timesteps": 3}, **QUICK)


def test_a_run_can_be_stopped() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        task().score({}, 0, stop=stop)


# ------------------------------------------------------------------ who wins


def trial(number: int, score: float | None) -> TrialRecord:
    return TrialRecord(number, "complete" if score is not None else "pruned", score, {}, {}, {"gamma": number}, None)


def test_the_winner_is_the_best_on_fresh_seeds(monkeypatch) -> None:
    trials = [trial(0, 5.0), trial(1, None), trial(2, 9.0), trial(3, 7.0), trial(4, 7.0), trial(5, 8.0)]
    best = best_trials(trials, 4)
    assert [found.number for found in best] == [2, 5, 3, 4]
    asked = []

    def score(self, drawn, seed, judge=None, stop=None):
        assert judge is None  # nothing is pruned
        asked.append((drawn["gamma"], seed))
        if drawn["gamma"] == 5:
            raise Diverged("on fresh seeds")
        return {2: 1.0, 3: 4.0, 4: 2.0}[drawn["gamma"]] + (seed - 2000)

    monkeypatch.setattr(Task, "score", score)
    candidates = confirm(task(), best, [2000, 2001], n_jobs=2)
    assert sorted(asked) == [(number, seed) for number in (2, 3, 4, 5) for seed in (2000, 2001)]
    assert [found.score for found in candidates] == [1.5, None, 4.5, 2.5]
    winner = choose(candidates)
    assert winner.trial.number == 3
    assert winner.trial.score == 7.0
    assert choose([Candidate(trials[0], {}, "failed")]) is None


def test_the_command_writes_what_train_accepts(tmp_path, capsys) -> None:
    common = ["-f", str(tmp_path), "--env", "CartPole-v1", "-n", "300", "-params", "policy_kwargs:dict(net_arch=[4])"]
    words = [
        "--optimize",
        "--n-trials",
        "3",
        "--seed",
        "1",
        "--confirm",
        "2",
        "--confirm-seeds",
        "2000,2001",
        "--n-jobs",
        "2",
    ]
    assert train.main([*common, *words]) == 0
    folder = tmp_path / "weight_max" / "CartPole-v1_tuning_1"
    assert {path.name for path in folder.iterdir()} == {"trials.csv", "tuning.json", "weight_max.yml", "command.txt"}
    with open(folder / "trials.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert {"state", "score", "score_1000", "score_1001", "gamma", "actor_learning_rate.ratio_1", "error"} <= set(rows[0])
    assert float(rows[0]["score"]) == pytest.approx((float(rows[0]["score_1000"]) + float(rows[0]["score_1001"])) / 2)
    said = json.loads((folder / "tuning.json").read_text())
    assert said["trials"] == {"complete": 3}
    assert said["seed"] == 1
    assert set(said["winner"]["fresh_scores"]) == {"2000", "2001"}
    assert {"optuna", "numba"} <= set(said["versions"])
    scores = [found["fresh_score"] for found in said["candidates"]]
    assert said["winner"]["fresh_score"] == max(scores)
    assert said["best_before_confirmation"]["tuning_score"] == max(float(row["score"]) for row in rows)
    settings = yaml.safe_load((folder / "weight_max.yml").read_text())["CartPole-v1"]
    drawn = json.loads(rows[said["winner"]["trial"]]["settings"])
    assert {**settings, **drawn} == settings
    check_keys(settings, "weight_max", "the winner")
    printed = capsys.readouterr().out
    assert "fresh seeds" in printed
    conf = ["-conf", str(folder / "weight_max.yml"), "-f", str(tmp_path), "--seed", "2000", "--final-eval-episodes", "0"]
    assert train.main([*conf, "--env", "CartPole-v1"]) == 0
    summary = json.loads((tmp_path / "weight_max" / "CartPole-v1_1" / "summary.json").read_text())
    assert summary["mean_return_all_episodes"] == pytest.approx(said["winner"]["fresh_scores"]["2000"])


# ------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_trials": 0}, "n_trials must be a whole number from 1, not 0"),
        ({"sampler": "grid"}, "sampler must be one of"),
        ({"objective": "best"}, "objective must be one of"),
        ({"confirm_seeds": [1001]}, r"must be fresh, but \[1001\] are among tuning_seeds"),
        ({"tuning_seeds": [1, 1]}, "tuning_seeds must be different"),
        ({"storage": "study.db"}, "must be the URL of a database"),
        ({"timeout": -1}, "timeout must be a positive number"),
        ({"fixed": {"gama": 1}}, "Unknown key 'gama'"),
    ],
)
def test_wrong_arguments(words, message) -> None:
    with pytest.raises(ValueError, match=message):
        tune("weight_max", "CartPole-v1", **words)


def test_seeds_are_written_as_ranges() -> None:
    assert parse_seeds("1000,1003-1005") == [1000, 1003, 1004, 1005]
    with pytest.raises(ValueError, match="Seeds are written"):
        parse_seeds("5-3")


def test_wrong_commands(tmp_path, capsys, monkeypatch) -> None:
    common = ["-f", str(tmp_path), "--env", "CartPole-v1"]
    for words, message in (
        (["--n-trials", "5"], "--n-trials goes with --optimize"),
        (["--optimize", "-tb", "x"], "--tensorboard-log does not go with --optimize"),
        (["--optimize", "--confirm", "0"], "n_confirmed must be a whole number from 1"),
        (["--optimize", "--storage", "sqlite:////no/such/folder/study.db"], "cannot be opened"),
    ):
        assert train.main([*common, *words]) == 2
        assert message in capsys.readouterr().err
    found = importlib.util.find_spec
    monkeypatch.setattr(tuning, "find_spec", lambda name: None if name == "optuna" else found(name))
    assert train.main([*common, "--optimize"]) == 2
    assert (
        "Tuning needs the package optuna, which is not installed: pip install 'coagent-rl[tune]'" in capsys.readouterr().err
    )
    assert not list(tmp_path.rglob("*tuning*"))
