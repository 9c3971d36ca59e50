"""Several workers on one study, and what samplers learn."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from coagent_rl.training.tuning import tune

pytest.importorskip("optuna", reason="Optuna is not installed (the extra tune)")
import optuna

from coagent_rl.training import optuna_study
from tests.test_tuning import QUICK, ROOT, SETTINGS, key, task

# ------------------------------------------------------------------ workers


def test_two_processes_share_a_study(tmp_path) -> None:
    code = (
        "import sys, json\n"
        "from coagent_rl.training.tuning import tune\n"
        f"settings = {SETTINGS!r}\n"
        "result = tune('weight_max', 'CartPole-v1', 8, settings=settings, storage='sqlite:///study.db', pruner='none',\n"
        "    sampler='random', n_confirmed=1, confirm_seeds=[2000], when_finished=lambda _, trial: print(trial.number))\n"
        "print(json.dumps([result.n_running, result.winner is not None]))\n"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [worker.communicate(timeout=300)[0].splitlines() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    ran = sorted(int(line) for lines in printed for line in lines[:-1])
    assert ran == list(range(8))  # each trial once, and no ninth
    assert any(json.loads(lines[-1]) == [0, True] for lines in printed)
    shared = f"sqlite:///{tmp_path / 'study.db'}"
    quick = {**QUICK, "sampler": "random"}
    alone = tune("weight_max", "CartPole-v1", 8, **quick)
    told = []
    joined = tune(
        "weight_max", "CartPole-v1", 9, storage=shared, when_finished=lambda _, one: told.append(one.number), **quick
    )
    assert key(joined.trials[:8]) == key(alone.trials)  # who ran a trial makes no difference
    assert len(joined.trials) == 9
    assert len(told) == 1
    with pytest.raises(ValueError, match=r"is another one: n_envs was 1, and is 2 here"):
        tune("weight_max", "CartPole-v1", 9, storage=shared, n_envs=2, **quick)


def test_lost_and_withdrawn_trials_do_not_count() -> None:
    study = optuna_study.open_study(task(), "random", "none", 1, 0, None, "study")
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)  # as of a worker that died
    failed = study.ask()
    failed.set_user_attr(optuna_study.ERROR, "diverged")
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    study.ask()
    assert [found.number for found in optuna_study.counted(study)] == [1, 2]
    assert optuna_study.n_running(study) == 1
    assert [found.state for found in optuna_study.records(study)] == ["failed"]


def test_the_trial_of_a_worker_that_died_is_run_by_another(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(optuna_study, "HEARTBEAT", 1)
    monkeypatch.setattr(optuna_study, "GRACE", 1)
    storage, endless = f"sqlite:///{tmp_path / 'study.db'}", {**SETTINGS, "n_timesteps": 10**9}
    long = task(settings=endless, fixed={}, final_eval_episodes=100)
    study = optuna_study.open_study(long, "random", "none", 1, 0, storage, "weight_max-CartPole-v1")
    code = (
        "from coagent_rl.training import optuna_study, tuning\n"
        "optuna_study.HEARTBEAT = 1\n"
        f"tuning.tune('weight_max', 'CartPole-v1', 1, settings={endless!r}, storage={storage!r})\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    while not optuna_study.n_running(study):
        assert worker.poll() is None
        time.sleep(0.2)
    time.sleep(1)  # it says that it lives
    worker.kill()
    worker.wait()
    time.sleep(3)
    # Nobody could finish the trial that it was about; apart from its length the study is the same.
    study.set_user_attr(optuna_study.TASK, {**long.as_plain(), "settings": SETTINGS})
    result = tune("weight_max", "CartPole-v1", 1, storage=storage, **QUICK)
    assert [trial.number for trial in result.trials] == [1]
    assert result.n_running == 0


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_samplers_learn_from_trials_and_draw_by_number(sampler) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")

    def drawn(seed: int) -> list[float]:
        study = optuna_study.open_study(task(), sampler, "none", 10, seed, None, "study")
        with optuna_study.quiet():
            study.optimize(lambda trial: -((trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)) ** 2), 80)
        return [sum(trial.params.values()) for trial in study.trials]

    first = drawn(0)
    assert drawn(0) == first
    assert drawn(1) != first
    assert np.mean(first[-10:]) < 0.6 * np.mean(first[:10])
