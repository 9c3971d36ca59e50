import math
import re
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from coagent_rl.analysis.compare import (
    Curve,
    compare,
    interquartile_mean,
    normalised_scores,
    performance_profile,
    read_runs,
    stratified_bootstrap_interval,
    table,
)
from coagent_rl.analysis.known import (
    METHODS,
    PUBLISHED,
    TASKS,
    in_order,
    method_of,
    normalised,
    possible_range,
    published_value,
)
from coagent_rl.registry import ALGORITHMS
from tests.run_files import monitor_text, write_results, write_run

# ---------------------------------------------------------------------- aggregates


def test_interquartile_mean_by_hand() -> None:
    assert interquartile_mean([np.array([8.0, 1.0, 3.0, 100.0]), np.array([5.0, 6.0, 4.0, -9.0])]) == pytest.approx(4.5)
    # Of six scores ⌊6/4⌋ = 1 is dropped at either end, of three none.
    assert interquartile_mean([np.array([0.0, 1.0, 2.0, 3.0, 4.0, 50.0])]) == pytest.approx(2.5)
    assert interquartile_mean([np.array([1.0, 2.0, 6.0])]) == pytest.approx(3.0)


def test_interquartile_mean_of_resamples_is_that_of_each() -> None:
    rng = np.random.default_rng(0)
    tasks = [rng.standard_normal((20, 10)), rng.standard_normal((20, 10)), rng.standard_normal((20, 10))]
    pooled = np.sort(np.concatenate(tasks, axis=1), axis=1)
    np.testing.assert_allclose(interquartile_mean(tasks), pooled[:, 7:23].mean(axis=1), rtol=1e-12)


def test_tasks_weigh_the_same_whatever_their_numbers_of_runs() -> None:
    """The middle three fifths of the weight: 0.3 of the four zeros, 0.3 of the single ten."""
    assert interquartile_mean([np.zeros(4), np.array([10.0])]) == pytest.approx(5.0)


def test_performance_profile_by_hand() -> None:
    scores = [np.array([0.0, 0.5, 1.0, 1.0]), np.array([0.5, 0.6])]
    shares = performance_profile(scores, np.array([-1.0, 0.5, 0.55, 1.0]))
    np.testing.assert_allclose(shares, [1.0, (2 / 4 + 1 / 2) / 2, (2 / 4 + 1 / 2) / 2, 0.0])
    both = performance_profile([np.stack([task, task - 1]) for task in scores], np.array([0.5]))
    np.testing.assert_allclose(both, [[0.5], [0.0]])


def test_runs_are_drawn_task_by_task() -> None:
    """Drawn from all tasks together, the mean of constant tasks would vary."""
    low, high = stratified_bootstrap_interval([np.zeros(5), np.ones(5)], interquartile_mean)
    assert (low, high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_bootstrap_interval_is_reproducible_and_covers() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        scores = [rng.normal(task, 1.0, 10) for task in (-0.2, 0.0, 0.2)]
        low, high = stratified_bootstrap_interval(scores, interquartile_mean, n_resamples=300)
        covered += low <= 0.0 <= high
    assert 0.85 <= covered / 200 <= 0.99
    again = [stratified_bootstrap_interval(scores, interquartile_mean, seed=s) for s in (3, 3, 4)]
    assert again[0] == again[1] != again[2]
    narrow, wide = (stratified_bootstrap_interval(scores, interquartile_mean, level=level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    with pytest.raises(ValueError, match=r"Every task needs a score to draw from; their numbers are \[2, 0\]"):
        stratified_bootstrap_interval([np.ones(2), np.ones(0)], interquartile_mean)


# ---------------------------------------------------------------------- what is known


def test_levels() -> None:
    for env_id, task in TASKS.items():
        assert normalised(env_id, task.random) == 0.0
        assert normalised(env_id, task.reference) == 1.0
        assert task.low <= task.random < task.reference <= task.high
        threshold = gym.spec(env_id).reward_threshold
        assert (task.reference == threshold) or threshold is None
        assert "threshold" not in task.source or task.reference == threshold
    with pytest.raises(ValueError, match="Taxi-v3 has no levels to normalise scores by"):
        normalised("Taxi-v3", 0.0)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "coagent_rl/Multiplexer-v0", "LunarLander-v3"])
def test_random_levels_are_those_of_random_actions(env_id) -> None:
    env, n, returns = gym.make(env_id), 20, []
    env.action_space.seed(0)
    for seed in range(n):
        env.reset(seed=seed)
        returns.append(0.0)
        done = False
        while not done:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            returns[-1] += float(reward)
            done = terminated or truncated
    assert abs(np.mean(returns) - TASKS[env_id].random) < 3 * np.std(returns) / math.sqrt(n)


def test_a_range_that_returns_contradict_is_not_believed() -> None:
    assert possible_range("CartPole-v1", [np.array([10.0, 500.0])]) == (0, 500)
    assert possible_range("CartPole-v1", [np.array([10.0]), np.array([700.0])]) == (0, math.inf)
    assert possible_range("Acrobot-v1", [np.array([-500.0, -80.0])]) == (-500, 0)
    assert possible_range("Taxi-v3", [np.array([8.0])]) == (-math.inf, math.inf)


def test_names_of_methods() -> None:
    for name, written in METHODS.items():
        assert method_of(name) == method_of(written) == name
    assert method_of("REINFORCE with Thomas (2011), tuned") == "reinforce_thomas"
    assert method_of("REINFORCE (global), tuned") == "reinforce"
    assert method_of("hidden neurons frozen at random") == "frozen"
    assert method_of("backpropagation") is None  # whole words
    assert in_order(["PPO", "backprop", "A2C", "weight_max"]) == ["weight_max", "backprop", "PPO", "A2C"]
    assert all(any(row.method.startswith(algorithm) for algorithm in ALGORITHMS) for row in PUBLISHED)


def test_published_values() -> None:
    row = published_value("Weight Max, gamma 0.9", "CartPole-v1")
    assert row is not None
    assert (row.mean, row.deviation, row.n_episodes) == (390.38, 43.25, 1000)
    traces = published_value("Weight Max with traces", "LunarLander-v3", "weight_max")
    assert traces is not None
    assert traces.mean == 39.04
    assert published_value("REINFORCE", "CartPole-v1", "reinforce") is not None
    assert published_value("REINFORCE", "CartPole-v1", "map_prop") is None
    assert published_value("hidden units frozen", "CartPole-v1") is None
    assert published_value("Weight Max", "Pendulum-v1") is None


# ---------------------------------------------------------------------- reading


def test_a_run_folder(tmp_path) -> None:
    text = monitor_text([9.0, 20.0, 11.0], [9, 20, 11])
    write_run(tmp_path / "run", text, seed=7, final=33.0, timesteps=45)
    (curve,) = read_runs([tmp_path / "run"])
    assert (curve.label, curve.env, curve.seed) == ("Weight Max", "CartPole-v1", 7)
    assert (curve.algo, curve.final_score, curve.timesteps) == ("weight_max", 33.0, 45)
    np.testing.assert_array_equal(curve.returns, [9.0, 20.0, 11.0])
    np.testing.assert_array_equal(curve.end_steps(), [9, 29, 40])


def test_a_run_that_was_killed_is_read_as_far_as_it_came(tmp_path) -> None:
    """No summary, and a last line that was cut short."""
    write_run(tmp_path / "run", monitor_text([9.0, 20.0], [9, 20]) + "31.0,3", seed=7, finished=False)
    (curve,) = read_runs([tmp_path / "run"])
    np.testing.assert_array_equal(curve.returns, [9.0, 20.0])
    assert (curve.seed, curve.final_score, curve.timesteps) == (7, None, None)


def test_environments_side_by_side_step_together(tmp_path) -> None:
    """Episodes are in the order of their ends, and the run has made two steps when each environment has made one."""
    first, second = monitor_text([5.0, 6.0], [5, 6]), monitor_text([8.0, 1.0], [8, 1])
    write_run(tmp_path / "run", first, second)
    (curve,) = read_runs([tmp_path / "run"])
    np.testing.assert_array_equal(curve.returns, [5.0, 8.0, 1.0, 6.0])
    np.testing.assert_array_equal(curve.lengths, [5, 8, 1, 6])
    np.testing.assert_array_equal(curve.end_steps(), [10, 16, 18, 22])


def test_seeds_are_grouped_at_any_depth(tmp_path) -> None:
    text = monitor_text([1.0], [1])
    for seed in range(3):
        write_run(tmp_path / "a/b" / f"run_{seed}", text, seed=seed, settings={"n_episodes": 5 + seed})
    write_run(tmp_path / "c/run", text, algo="reinforce")
    write_run(tmp_path / "c/other", text, env="module:Acrobot-v1")
    rows = compare(read_runs([tmp_path, tmp_path / "a"]))  # no run counts twice
    found = [(row.env, row.label, row.n) for row in rows]
    assert found == [("CartPole-v1", "Weight Max", 3), ("CartPole-v1", "REINFORCE", 1), ("Acrobot-v1", "Weight Max", 1)]


def test_other_settings_are_another_curve(tmp_path) -> None:
    text = monitor_text([1.0], [1])
    for k, gamma in enumerate((0.9, 0.9, None)):
        write_run(tmp_path / f"run_{k}", text, seed=k % 2, settings={} if gamma is None else {"gamma": gamma})
    labels = [curve.label for curve in read_runs([tmp_path])]
    assert labels == ["Weight Max, gamma 0.9", "Weight Max, gamma 0.9", "Weight Max, gamma default"]
    assert [curve.label for curve in read_runs(sorted(tmp_path.iterdir()))] == labels


def test_runs_that_began_otherwise_are_another_curve(tmp_path) -> None:
    text = monitor_text([1.0], [1])
    write_run(tmp_path / "a", text)
    write_run(tmp_path / "b", text, text)
    write_run(tmp_path / "c", text, trained_agent="a/CartPole-v1.zip")
    labels = {Path(curve.source).name: curve.label for curve in read_runs([tmp_path])}
    assert labels == {
        "a": "Weight Max, settings 1",
        "b": "Weight Max, settings 2",
        "c": "Weight Max, settings 3",
    }
    apart = [curve.label for curve in read_runs([tmp_path / "a", tmp_path / "b"])]
    assert apart == ["Weight Max, n_envs default", "Weight Max, n_envs 2"]


def test_settings_that_take_long_to_say_are_numbered(tmp_path, caplog) -> None:
    for k in range(2):
        settings = {
            "actor_learning_rate": {"start": [0.1 + k] * 3, "end": [0.01 + k] * 3},
            "policy_kwargs": {"net_arch": [k]},
        }
        write_run(tmp_path / f"run_{k}", monitor_text([1.0], [1]), settings=settings)
    assert [curve.label for curve in read_runs([tmp_path])] == ["Weight Max, settings 1", "Weight Max, settings 2"]
    first, second = caplog.messages
    assert first == ("Weight Max on CartPole-v1, settings 1: end [0.01, 0.01, 0.01], start [0.1, 0.1, 0.1], net_arch [0].")
    assert "settings 2" in second


def test_results_of_benchmarks(tmp_path) -> None:
    returns = np.array([20.0, 30.0], np.float32)
    write_results(tmp_path / "table1", returns, timesteps=50, final_evaluation={"mean_return": 41.0})
    write_results(tmp_path / "table1", returns, seed=1, timesteps=51)  # what the returns say is not what was trained
    write_results(tmp_path / "table1", returns, seed=2, lengths=np.array([3, 4]), timesteps=7)
    write_results(tmp_path / "table1", returns, seed=3, timesteps=60, settings={"n_timesteps": 60})
    write_results(tmp_path / "table1", np.ones(3, np.int8), env="coagent_rl/Multiplexer-v0", timesteps=3)
    np.savez(tmp_path / "table1/something_else.npz", r=np.ones(3))
    curves = {(curve.env, curve.seed): curve for curve in read_runs([tmp_path])}
    assert len(curves) == 5
    assert {curve.label for curve in curves.values()} == {"Weight Max"}
    assert curves["CartPole-v1", 0].final_score == 41.0
    np.testing.assert_array_equal(curves["CartPole-v1", 0].end_steps(), [20, 50])
    np.testing.assert_array_equal(curves["CartPole-v1", 2].end_steps(), [3, 7])
    np.testing.assert_array_equal(curves["CartPole-v1", 3].end_steps(), [20, 50])
    np.testing.assert_array_equal(curves["coagent_rl/Multiplexer-v0", 0].end_steps(), [1, 2, 3])
    with pytest.raises(ValueError, match=r"lengths of the episodes in .*seed_1.npz are not known"):
        curves["CartPole-v1", 1].end_steps()


def test_methods_of_the_same_name_are_told_apart_by_their_tables(tmp_path) -> None:
    for k, name in enumerate(("one", "two")):
        for seed in range(2):
            settings = {"actor_learning_rate": [0.1 + k, 0.01 + k], "critic_learning_rate": [0.2 + k, 0.02 + k]}
            write_results(tmp_path / name, np.ones(2), "frozen", seed=seed, settings=settings)
    labels = [curve.label for curve in read_runs([tmp_path])]
    assert labels == ["hidden units frozen (one)"] * 2 + ["hidden units frozen (two)"] * 2


def test_labels_of_the_users_own(tmp_path) -> None:
    text = monitor_text([1.0], [1])
    for folder in ("old", "new"):
        write_run(tmp_path / folder / "a", text)
    write_run(tmp_path / "new/b", text, algo="reinforce")
    labels = [curve.label for curve in read_runs([tmp_path / "old", tmp_path / "new"], ["before", "after"])]
    assert labels == ["before", "Weight Max, after", "REINFORCE, after"]
    with pytest.raises(ValueError, match=r"Each of the 1 folders needs a label, but there are 2: a, b\."):
        read_runs([tmp_path], ["a", "b"])


def test_what_cannot_be_read(tmp_path, caplog) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match=r"There is no run in .*: a run is a folder with a config.yml and a monitor file"):
        read_runs([tmp_path])
    write_run(tmp_path / "begun", monitor_text([], []))
    with pytest.raises(ValueError, match=r"No run in .* has a finished episode yet \(.*begun\)"):
        read_runs([tmp_path])
    write_run(tmp_path / "done", monitor_text([1.0], [1]))
    assert len(read_runs([tmp_path])) == 1
    assert caplog.messages == [f"{tmp_path / 'begun'} has no finished episode yet and is left out."]
    write_run(tmp_path / "wrong", "#{}\na,b\n1,2\n")
    with pytest.raises(ValueError, match=r"0.monitor.csv is not a monitor file with columns r and l"):
        read_runs([tmp_path])
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match=r"broken.npz cannot be read"):
        read_runs([tmp_path / "broken.npz"])


def test_a_seed_that_occurs_twice_is_named(tmp_path, caplog) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, monitor_text([1.0], [1]), seed=4)
    read_runs([tmp_path])
    assert caplog.messages == ["Weight Max on CartPole-v1: seed 4 is there 2 times, so runs are not independent."]


# ---------------------------------------------------------------------- tables


def curve(label: str, env: str, returns, seed: int = 0, final: float | None = None) -> Curve:
    return Curve(label, env, seed, np.asarray(returns, float), final_score=final, source=f"{label} {seed}")


def test_scores_by_hand() -> None:
    first = np.concatenate([np.full(100, 10.0), np.full(100, 30.0)])
    runs = [curve("a", "CartPole-v1", first, 0, 50.0), curve("a", "CartPole-v1", first[50:] + 3, 1)]
    (row,) = compare(runs)
    assert (row.n, row.episodes) == (2, (150, 200))
    means = [20.0, (50 * 13 + 100 * 33) / 150]
    assert row.scores["all"].mean == pytest.approx(np.mean(means))
    assert row.scores["all"].deviation == pytest.approx(abs(means[0] - means[1]) / math.sqrt(2))
    assert row.scores["last"].mean == pytest.approx(31.5)
    assert (row.scores["final"].n, row.scores["final"].mean) == (1, 50.0)
    assert row.scores["last"].low == pytest.approx(30.0)  # of two runs the interval is from one to the other
    assert row.scores["last"].high == pytest.approx(33.0)


def test_the_table() -> None:
    runs = [curve("backprop", "CartPole-v1", [200.0, 300.0], seed, final) for seed, final in ((0, 100.0), (1, None))]
    runs.append(curve("mine", "CartPole-v1", [0.5, 0.25]))
    assert table(compare(runs), "std", published=True).splitlines() == [
        "| task        | method   | runs | episodes | all episodes  | published      | last 100 episodes | after training |",
        "|-------------|----------|------|----------|---------------|----------------|-------------------|----------------|",
        "| CartPole-v1 | backprop | 2    | 2        | 250.00 ± 0.00 | 411.82 ± 25.98 | 250.00 ± 0.00     | 100.00 (of 1)  |",
        "| CartPole-v1 | mine     | 1    | 2        | 0.375         |                | 0.375             |                |",
    ]
    assert "250.00 [250.00, 250.00]" in table(compare(runs), "interval")
    assert "±" not in table(compare(runs), "none")
    with pytest.raises(ValueError, match="A run of mine on CartPole-v1 has no episode"):
        compare([replace(runs[2], returns=np.zeros(0))])


def test_normalised_scores_are_of_the_tasks_that_all_methods_were_run_on() -> None:
    runs = [
        curve("a", "CartPole-v1", [22.2, 22.2], 0, 475.0),
        curve("a", "CartPole-v1", [475.0], 1, 475.0),
        curve("b", "CartPole-v1", [248.6], 0, 22.2),
        curve("a", "Acrobot-v1", [-100.0], 0, -100.0),
        curve("a", "Taxi-v3", [8.0], 0, 8.0),
        curve("b", "Taxi-v3", [8.0], 0, 8.0),
    ]
    scores = normalised_scores(runs)
    assert {label: list(tasks) for label, tasks in scores.items()} == {"a": ["CartPole-v1"], "b": ["CartPole-v1"]}
    np.testing.assert_allclose(scores["a"]["CartPole-v1"], [0.0, 1.0])
    np.testing.assert_allclose(scores["b"]["CartPole-v1"], [0.5])
    np.testing.assert_allclose(normalised_scores(runs, "final")["b"]["CartPole-v1"], [0.0], atol=1e-12)
    with pytest.raises(ValueError, match="There is no task with levels to normalise by on which all methods were run"):
        normalised_scores(runs[3:])
    with pytest.raises(ValueError, match="There is no run of b on Acrobot-v1"):
        normalised_scores(runs, tasks=["Acrobot-v1"])
    with pytest.raises(ValueError, match="There is no final score in a 1"):
        normalised_scores([runs[0], replace(runs[1], final_score=None)], "final")


def test_committed_results_give_the_committed_table() -> None:
    results = Path(__file__).parents[1] / "benchmarks/results/table1"
    text = table(compare(read_runs([results / "weight_max/CartPole-v1", results / "frozen/CartPole-v1"])))
    committed = (results / "table.md").read_text()
    for line in text.splitlines()[2:]:
        over_all, last, final = [cell.strip() for cell in line.split("|")][5:8]
        assert re.search(rf"\| CartPole-v1 \|.*\| 10 \| {over_all} \|.*\| {last} \| {final} \|", committed)
