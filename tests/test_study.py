"""Studies: many runs at once, wherever they are made, and what is left when some of them fail."""

import json
import os
import re
import signal
import threading
import time

import gymnasium as gym
import numpy as np
import pytest
import yaml

import coagent_rl
from benchmarks.runs import RESULTS
from coagent_rl import WeightMax, evaluate, train
from coagent_rl.registry import ALGORITHMS
from coagent_rl.training import study
from coagent_rl.training.hyperparameters import parse_seeds, shipped_environments
from coagent_rl.training.jobs import BACKENDS, Job, execute, in_processes, in_threads
from coagent_rl.training.results import Study
from coagent_rl.training.run import Options

SETTINGS = {
    "n_episodes": 12,
    "actor_learning_rate": [1e-2, 1e-3],
    "critic_learning_rate": 1e-2,
    "policy_kwargs": {"net_arch": [8]},
}
SHORT = Options(final_eval_episodes=2)
WORDS = ["--n-episodes", "12", "--final-eval-episodes", "2", "-params", "policy_kwargs:dict(net_arch=[8])"]
WORDS += ["actor_learning_rate:[1e-2,1e-3]", "critic_learning_rate:1e-2"]
SEEDS = (0, 1, 2)


class Failing(gym.Wrapper):
    """Goes wrong in the second episode after a reset with a seed that ``failing`` names, in one way or another."""

    def __init__(self, env, failing: dict[int, str], log: str = "") -> None:
        super().__init__(env)
        self.failing, self.log, self.how, self.clock = failing, log, "", 0

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.how, self.clock = self.failing.get(seed, ""), 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        observation, reward, *others = self.env.step(action)
        self.clock += 1
        if self.clock == 50:
            if self.how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "raises":
                raise KeyError("the pole")
            if self.how == "waits":
                with open(self.log, "a") as file:
                    file.write(f"{os.getpid()}\n")
                time.sleep(1.5)
        return observation, float("nan") if self.how == "diverges" and self.clock > 50 else reward, *others


def wrapped(failing: dict[int, str], **others: object) -> dict[str, object]:
    return {**SETTINGS, "env_wrapper": {"tests.test_study.Failing": {"failing": failing, **others}}}


def run_quietly(settings=SETTINGS, seeds=SEEDS, **others) -> Study:
    others = {"options": SHORT, "progress": False, **others}
    return study("weight_max", "CartPole-v1", settings, seeds, **others)


def bits(made: Study) -> dict[object, object]:
    """Everything that must not depend on how a study is made."""
    timeless = {
        key: {**run.summary, "seconds": 0, "training_seconds": 0, "steps_per_second": 0} for key, run in made.runs.items()
    }
    runs = {key: (run.returns.tobytes(), run.lengths.tobytes(), timeless[key]) for key, run in sorted(made.runs.items())}
    parameters = {}
    if made.folder is not None:
        for path in sorted(made.folder.glob("**/CartPole-v1.zip")):
            parameters[str(path.relative_to(made.folder))] = WeightMax.load(path).policy.actor.parameters.tobytes()
    return {"runs": runs, "parameters": parameters, "failures": made.failures, "table": made.table(), "csv": made.csv()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Study:
    """Three runs, one after another."""
    return run_quietly(folder=tmp_path_factory.mktemp("reference") / "study")


def test_what_a_study_leaves(reference) -> None:
    folder = reference.folder
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {
        "seed_0",
        "seed_1",
        "seed_2",
        "study.yml",
        "table.md",
        "table.csv",
        "figure.png",
    }
    described = yaml.safe_load((folder / "study.yml").read_text())
    assert described["seeds"] == [0, 1, 2]
    assert described["settings"][""]["n_episodes"] == 12
    assert "numba" in described["versions"]
    for seed in SEEDS:
        names = {path.name for path in (folder / f"seed_{seed}").iterdir()}
        assert names == {"config.yml", "args.yml", "0.monitor.csv", "CartPole-v1.zip", "summary.json"}
        assert json.loads((folder / f"seed_{seed}" / "summary.json").read_text())["road"] == "compiled"
    assert evaluate.main([str(folder / "seed_1"), "--n-episodes", "2"]) == 0
    means = [run.returns.mean() for run in reference.runs.values()]
    table = (folder / "table.md").read_text()
    assert table == reference.table()
    assert f"| weight_max | 3 of 3 | {np.mean(means):.2f} ± {np.std(means, ddof=1):.2f} |" in table
    assert f"| seed 2 | 12 | {reference.runs['', 2].lengths.sum()} | {means[2]:.2f} |" in table
    lines = (folder / "table.csv").read_text().splitlines()
    assert lines[0].startswith("variant,seed,episodes,timesteps,mean_return_all_episodes,")
    assert [line.split(",")[:3] for line in lines[1:]] == [["", str(seed), "12"] for seed in SEEDS]
    assert float(lines[1].split(",")[4]) == means[0]


def test_a_run_is_the_one_that_train_makes(reference, tmp_path) -> None:
    assert train.main(["-f", str(tmp_path), "--seed", "1", *WORDS]) == 0
    alone = tmp_path / "weight_max" / "CartPole-v1_1"
    monitor = np.genfromtxt(alone / "0.monitor.csv", delimiter=",", skip_header=2)
    assert monitor[:, 0].tolist() == reference.runs["", 1].returns.tolist()
    parameters = [
        WeightMax.load(folder / "CartPole-v1.zip").policy.actor.parameters for folder in (alone, reference.folder / "seed_1")
    ]
    assert parameters[0].tobytes() == parameters[1].tobytes()


@pytest.mark.parametrize("how", [{"n_jobs": 2}, {"n_jobs": 2, "backend": "loky"}], ids=["two threads", "two processes"])
def test_results_do_not_depend_on_how_they_are_made(reference, tmp_path, how) -> None:
    assert bits(run_quietly(folder=tmp_path / "study", **how)) == bits(reference)


def test_nothing_is_written_without_a_folder(reference, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = run_quietly(seeds=[2, 0])
    assert list(tmp_path.iterdir()) == []
    assert made.runs["", 0].returns.tolist() == reference.runs["", 0].returns.tolist()
    assert [returns.tolist() for returns in made.returns()] == [made.runs["", seed].returns.tolist() for seed in (2, 0)]


def test_nothing_draws_from_the_global_generators(monkeypatch) -> None:
    """Every run seeds them, so in threads they are in no order."""
    import random

    import torch as th

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a global generator was asked")

    for name in ("rand", "randn", "random", "randint", "uniform", "normal", "choice", "shuffle", "permutation"):
        monkeypatch.setattr(np.random, name, refuse)
    for name in ("random", "randint", "uniform", "choice", "shuffle", "sample", "gauss"):
        monkeypatch.setattr(random, name, refuse)
    monkeypatch.setattr("coagent_rl.agents.base.CoagentAlgorithm.set_random_seed", lambda *_: None)

    def states() -> list[object]:
        return [th.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())]  # noqa: NPY002

    before = states()
    for algorithm in ALGORITHMS:
        settings = {"n_episodes": 3, "policy_kwargs": SETTINGS["policy_kwargs"]}
        made = study(algorithm, "CartPole-v1", settings, [0], options=SHORT, progress=False)
        assert made.failures == {}
    assert states() == before


def test_a_sweep(tmp_path) -> None:
    variants = {"γ 0.5": {"gamma": 0.5}, "steps": {"n_timesteps": 60}}
    made = run_quietly(seeds=[3, 4], variants=variants, folder=tmp_path / "study", n_jobs=2)
    assert made.variants["γ 0.5"] == {**SETTINGS, "gamma": 0.5}
    assert "n_episodes" not in made.variants["steps"]
    assert made.runs["steps", 3].summary["timesteps"] == 60
    config = yaml.safe_load((tmp_path / "study" / "γ 0.5" / "seed_4" / "config.yml").read_text())
    assert config["settings"]["gamma"] == 0.5
    table = made.table()
    for line in ("| γ 0.5 | 2 of 2 |", "| steps | 2 of 2 |", "| γ 0.5, seed 3 | 12 |", "| steps, seed 4 |"):
        assert line in table
    assert not np.array_equal(made.runs["γ 0.5", 3].returns[-3:], run_quietly(seeds=[3]).runs["", 3].returns[-3:])


def test_failed_seeds_are_named_and_the_others_go_on(tmp_path) -> None:
    settings = wrapped({1: "raises", 2: "diverges"})
    made = run_quietly(settings, seeds=range(4), folder=tmp_path / "study")
    assert sorted(seed for _, seed in made.runs) == [0, 3]
    assert made.failures["", 1] == "KeyError: 'the pole'"
    assert made.failures["", 2].startswith("The reward of environment 0 is not finite at time step 50: nan")
    assert "| weight_max | 2 of 4 |" in made.table()
    assert "| seed 1 | failed: KeyError: 'the pole' |" in made.table()
    assert made.csv().splitlines()[2] == "\"\",1,,,,,,KeyError: 'the pole'".replace('""', "")
    assert 'raise KeyError("the pole")' in (tmp_path / "study" / "seed_1" / "error.txt").read_text()
    assert not (tmp_path / "study" / "seed_2" / "error.txt").exists()  # its message says it all
    assert not (tmp_path / "study" / "seed_1" / "summary.json").exists()


def test_processes_that_die_and_results_in_processes(tmp_path) -> None:
    """The run whose process dies has failed, the one beside it has not."""
    settings = wrapped({1: "dies"})
    made = run_quietly(settings, seeds=[0, 1], n_jobs=2, folder=tmp_path / "study")
    assert made.failures == {("", 1): "The process of this run died, twice."}
    alone = run_quietly(settings, seeds=[0]).runs["", 0]  # one at a time, in this process
    assert made.runs["", 0].returns.tolist() == alone.returns.tolist()
    assert made.runs["", 0].summary["road"] == "step by step: the environment is not a compiled one (SerialVecEnv)"
    with pytest.raises(ValueError, match=r"Threads would only take turns.*not a compiled one.*Use the backend loky"):
        run_quietly(settings, n_jobs=2, backend="threads")


def test_resuming_completes_a_study(reference, tmp_path) -> None:
    folder = tmp_path / "study"
    run_quietly(seeds=[0, 1], folder=folder)
    kept = (folder / "seed_0" / "summary.json").read_text()
    (folder / "seed_1" / "summary.json").unlink()  # it was in progress
    (folder / "seed_1" / "CartPole-v1.zip").write_text("half")
    with pytest.raises(ValueError, match=r"There is a study in .*: resume it"):
        run_quietly(folder=folder)
    made = run_quietly(folder=folder, resume=True)
    assert bits(made) == bits(reference)
    assert (folder / "seed_0" / "summary.json").read_text() == kept  # with its seconds
    assert yaml.safe_load((folder / "study.yml").read_text())["seeds"] == [0, 1, 2]
    for others, message in (
        ({"seeds": [0, 1]}, r"has the seeds \[2\] too"),
        ({"settings": {**SETTINGS, "gamma": 0.5}}, "made with other settings of gamma"),
        ({"options": Options(final_eval_episodes=3)}, "has the options"),
        ({"variants": {"a": {}}}, "has the variant '' too"),
    ):
        with pytest.raises(ValueError, match=message):
            run_quietly(**{"folder": folder, "resume": True, **others})
    with pytest.raises(FileNotFoundError, match="is not a study's folder"):
        run_quietly(folder=tmp_path / "nothing", resume=True)


def test_several_environments_are_read_again_in_their_order(tmp_path) -> None:
    options = Options(n_envs=3, final_eval_episodes=0)
    made = run_quietly(seeds=[0], options=options, folder=tmp_path / "study")
    again = run_quietly(seeds=[0], options=options, folder=tmp_path / "study", resume=True)
    assert bits(again) == bits(made)


def test_an_interrupted_study_keeps_what_is_finished(reference, tmp_path, monkeypatch) -> None:
    def interrupted(jobs, n_jobs, address):
        yield 0, execute(jobs[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(BACKENDS, "threads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_quietly(folder=tmp_path / "study")
    assert "| seed 1 | not finished |" in (tmp_path / "study" / "table.md").read_text()
    assert bits(run_quietly(folder=tmp_path / "study", resume=True)) == bits(reference)


@pytest.mark.parametrize("make", [in_threads, in_processes])
def test_runs_in_progress_are_given_up(make) -> None:
    job = Job("weight_max", "CartPole-v1", SETTINGS, 0, SHORT)
    endless = Job("weight_max", "CartPole-v1", {**SETTINGS, "n_episodes": 10**9}, 1, SHORT)
    outcomes = make([job, endless, endless], 2)
    assert next(outcomes)[0] == 0
    outcomes.close()  # as when Ctrl-C is pressed; it would wait for ever if the endless runs went on
    assert threading.active_count() < 20


def test_a_run_that_is_asked_to_stop_is_no_result() -> None:
    stop = threading.Event()
    stop.set()
    outcome = execute(Job("weight_max", "CartPole-v1", SETTINGS, 0, SHORT), stop)
    assert outcome.error == "RuntimeError: The study was interrupted."
    assert outcome.summary == {}


# ---------------------------------------------------------------------- the command line


def test_train_with_seeds(reference, tmp_path, capsys) -> None:
    assert train.main(["-f", str(tmp_path), "--seeds", "0-2", "--n-jobs", "2", *WORDS]) == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "weight_max" / "CartPole-v1_study_1"
    table = (folder / "table.md").read_text()
    assert table == reference.table()
    for text in (table, "Training: compiled", "seed 1: ", "3/3 runs", "mean return", str(folder / "figure.png")):
        assert text in printed
    assert "--seeds 0-2" in (folder / "command.txt").read_text()
    assert "--seeds 0-2" in yaml.safe_load((folder / "study.yml").read_text())["command"]
    (folder / "seed_2" / "summary.json").unlink()
    assert train.main(["--resume", str(folder), "--n-jobs", "2"]) == 0
    assert (folder / "table.md").read_text() == table
    printed = capsys.readouterr().out
    assert "seed 2: " in printed
    assert "seed 1: " not in printed


def test_train_names_seeds_that_failed(tmp_path, capsys) -> None:
    (tmp_path / "conf.yml").write_text(yaml.safe_dump({"default": wrapped({1: "raises"})}))
    words = ["-f", str(tmp_path), "--seeds", "0,1", "-conf", str(tmp_path / "conf.yml"), "--final-eval-episodes", "0"]
    assert train.main(words) == 1
    printed = capsys.readouterr()
    assert "train.py: 1 of 2 runs failed: seed 1" in printed.err
    assert "| seed 1 | failed: KeyError: 'the pole' |" in printed.out
    assert "Training: step by step: the environment is not a compiled one (SerialVecEnv)" in printed.out
    folder = tmp_path / "weight_max" / "CartPole-v1_study_1"
    assert train.main(["--resume", str(folder), "--trust"]) == 1  # made anew, and it fails again
    printed = capsys.readouterr().out
    assert "seed 1 failed: KeyError" in printed
    assert "seed 0: " not in printed


def test_an_interrupted_command(tmp_path, capsys, monkeypatch) -> None:
    def interrupted(jobs, n_jobs, address):
        raise KeyboardInterrupt
        yield

    monkeypatch.setitem(BACKENDS, "threads", interrupted)
    assert train.main(["-f", str(tmp_path), "--seeds", "0,1", *WORDS]) == 130
    assert f"--resume {tmp_path / 'weight_max' / 'CartPole-v1_study_1'}" in capsys.readouterr().err


def test_which_road_a_run_took(tmp_path, capsys) -> None:
    for words, road in (([], "compiled"), (["env_wrapper:gymnasium.wrappers.RecordEpisodeStatistics"], "step by step: the")):
        assert train.main(["-f", str(tmp_path), "--seed", "0", *WORDS, *words]) == 0
        assert f"steps/s; {road}" in capsys.readouterr().out
        summary = sorted(tmp_path.glob("*/*/summary.json"))[-1]
        assert json.loads(summary.read_text())["road"].startswith(road)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0-2", "--seed", "1"], "Give --seed for one run or --seeds for a study of many, not both"),
        (["--seeds", "a"], "'a' in 'a' is not"),
        (["--seeds", "0-1", "--n-jobs", "0"], "must be a whole number from 1, or -1 for one a processor, not 0"),
        (["--seeds", "0-1", "--backend", "treads"], "Unknown backend 'treads'. Did you mean threads"),
        (["--seeds", "0-1", "--address", "tcp://a:1"], "give it with the backend dask or ray, not auto"),
        (["--seeds", "0-1", "--backend", "dask", "-tb", "tb"], "cannot be written by the workers of a cluster"),
        (["--seeds", "0-1", "-params", "gamma:7"], "gamma must lie in"),
    ],
)
def test_wrong_arguments(tmp_path, capsys, words, message) -> None:
    assert train.main([*words, "-f", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*"))


def test_a_trained_agent_begins_no_study(reference, tmp_path, capsys) -> None:
    agent = str(reference.folder / "seed_0" / "CartPole-v1.zip")
    assert train.main(["-f", str(tmp_path), "--seeds", "0-1", "-i", agent, "-n", "100"]) == 2
    assert "--trained-agent belongs to a single run" in capsys.readouterr().err
    assert train.main(["--resume", str(reference.folder), "-n", "5"]) == 2
    assert "--resume takes what is trained from the study: --n-timesteps cannot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"seeds": []}, "A study needs seeds"),
        ({"seeds": [1, 1]}, "each of them once"),
        ({"seeds": [-1]}, "whole numbers from 0 on, not -1"),
        ({"variants": {}}, "at least one variant"),
        ({"variants": {"../a": {}}}, "'../a' needs another name"),
        ({"variants": {"seed_1": {}}}, "'seed_1' needs another name"),
        ({"variants": {"a": {"gama": 1}}}, "Unknown key 'gama' in the variant a for weight_max"),
        ({"variants": {"b": {"gamma": 7}}}, "Variant b: gamma must lie in"),
        ({"settings": {"gama": 1}}, "Unknown key 'gama' in the study's settings"),
        ({"options": Options(trained_agent="a.zip")}, "trained_agent belongs to a single run"),
        ({"resume": True}, "without a folder cannot be resumed"),
        ({"n_jobs": 1.5}, "not 1.5"),
    ],
)
def test_wrong_studies(others, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        run_quietly(**others)


def test_seeds() -> None:
    assert parse_seeds("0-3") == [0, 1, 2, 3]
    assert parse_seeds("0,3,5-7") == [0, 3, 5, 6, 7]
    assert parse_seeds("7, 2") == [7, 2]
    for text in ("", "1-", "-1", "3-1", "1,,2", "0..3", "x"):
        with pytest.raises(ValueError, match="Seeds are written 0-9 or 0,3,5-7"):
            parse_seeds(text)
    with pytest.raises(ValueError, match="'0-3,2' names 2 more than once"):
        parse_seeds("0-3,2")


def test_list_and_version(capsys) -> None:
    assert train.main(["--list"]) == 0
    printed = capsys.readouterr().out
    for name in ALGORITHMS:
        assert f"\n{name}: " in f"\n{printed}"
        assert all(f"    {env_id}" in printed for env_id in shipped_environments(name))
    assert re.search(r"    \S+ +no results with these settings", printed)
    mean = (RESULTS / "table1/table.md").read_text("utf-8").partition("CartPole-v1 | Weight Max | 10 | ")[2].split()[0]
    assert re.search(rf"    CartPole-v1 +{mean} over all episodes, .*\(10 seeds\)", printed)
    with pytest.raises(SystemExit, match="0"):
        train.main(["--version"])
    assert coagent_rl.__version__ in capsys.readouterr().out
