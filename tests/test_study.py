"""Studies: many runs at once, wherever they are made, and what is left when some of them fail."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml

from coagent_rl import WeightMax, evaluate, train
from coagent_rl.training import study
from coagent_rl.training.hyperparameters import parse_seeds
from coagent_rl.training.jobs import BACKENDS, Job, Outcome, execute, in_processes, in_threads
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
            if self.log:
                with open(self.log, "a") as file:
                    file.write(f"{os.getpid()}\n")
            if self.how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "raises":
                raise KeyError("the pole")
            if self.how == "waits":
                time.sleep(1.5)
        return observation, float("nan") if self.how == "diverges" and self.clock > 50 else reward, *others


def wrapped(failing: dict[int, str], **others: object) -> dict[str, object]:
    return {**SETTINGS, "env_wrapper": {"tests.test_study.Failing": {"failing": failing, **others}}}


def run_quietly(settings=SETTINGS, seeds=SEEDS, **others) -> Study:
    others = {"options": SHORT, "progress": False, **others}
    return study("weight_max", "CartPole-v1", settings, seeds, **others)


def bits(made: Study) -> dict[object, object]:
    """Everything that must not depend on how a study is made."""
    timeless = {key: {**run.summary, "seconds": 0, "steps_per_second": 0} for key, run in made.runs.items()}
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


def test_nothing_draws_from_the_global_generators(reference, monkeypatch) -> None:
    """Every run seeds them, so in threads they are in no order."""
    import random

    import torch as th

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a global generator was asked")

    for name in ("rand", "randn", "random", "randint", "uniform", "normal", "choice", "shuffle", "permutation"):
        monkeypatch.setattr(np.random, name, refuse)
    for name in ("random", "randint", "uniform", "choice", "shuffle", "sample", "gauss"):
        monkeypatch.setattr(random, name, refuse)
    before = []
    monkeypatch.setattr("coagent_rl.agents.base.CoagentAlgorithm.set_random_seed", lambda *_: None)
    before = [th.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())]
    made = run_quietly(seeds=[0])
    assert [th.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())] == before
    assert len(made.runs["", 0].returns) == 12


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
    with pytest.raises(ValueError, match="There is a study in .*: resume it"):
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


# ---------------------------------------------------------------------- clusters


def test_a_cluster_that_loses_a_worker(tmp_path) -> None:
    """Its run is made by the other one; files come back as values."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (the extra dask)")
    log = tmp_path / "log"
    settings = wrapped(dict.fromkeys(range(4), "waits"), log=str(log))
    expected = run_quietly(wrapped({}), seeds=range(4))
    killed = []

    def kill_one_at_work() -> None:
        while not (log.is_file() and log.read_text().count("\n") >= 3):  # the first was the trial's... or a worker's
            time.sleep(0.02)
        pids = {worker.process.pid for worker in cluster.workers.values()}
        victim = next(int(line) for line in log.read_text().split() if int(line) in pids)
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        killer = threading.Thread(target=kill_one_at_work, daemon=True)
        killer.start()
        how = {"backend": "dask", "address": cluster.scheduler_address, "folder": tmp_path / "study"}
        made = run_quietly(settings, seeds=range(4), **how)
        killer.join(5)
    assert killed
    assert made.failures == {}
    for key, run in expected.runs.items():
        assert made.runs[key].returns.tolist() == run.returns.tolist()
        names = {path.name for path in (tmp_path / "study" / f"seed_{key[1]}").iterdir()}
        assert names == {"config.yml", "args.yml", "0.monitor.csv", "CartPole-v1.zip", "summary.json"}
