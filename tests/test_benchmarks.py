"""The measuring code itself: what it watches it must not change, and what it reports must be what it says."""

import importlib
import json
import pkgutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch as th
import yaml
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import NormalActionNoise

import benchmarks
from benchmarks import (
    by_hand,
    cells,
    decentralized_ddpg,
    default_settings,
    map_prop,
    pictures,
    reached,
    searches,
    weight_max,
)
from benchmarks.decentralized_ddpg import returns_in_time
from benchmarks.runs import RESULTS, Run, execute, execute_all, initial_model, read, trained_model
from benchmarks.sub_critics import ENV, HIDDEN, LayerCritics, SubCritics, correlations
from benchmarks.tables import Method, Table, interval
from coagent_rl.training.files import compact_returns
from tests.clock import Clock

DEPTH = len(HIDDEN) + 1
COMMANDS = [
    module
    for found in pkgutil.iter_modules(benchmarks.__path__)
    if hasattr(module := importlib.import_module(f"benchmarks.{found.name}"), "main")
]


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
def test_help_of_a_benchmark_runs_nothing(module, capsys) -> None:
    before = pictures.PICTURE.stat().st_mtime_ns
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    assert "usage" in capsys.readouterr().out
    assert pictures.PICTURE.stat().st_mtime_ns == before


def test_a_picture_that_is_there_is_not_overwritten(tmp_path, capsys) -> None:
    there = tmp_path / "there.png"
    there.write_text("old")
    with pytest.raises(SystemExit) as end:
        pictures.main(["--output", str(there)])
    assert end.value.code == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert there.read_text() == "old"
    pictures.main(["--output", str(there), "--overwrite"])
    assert there.read_bytes().startswith(b"\x89PNG")


DEFAULTS = sorted((RESULTS / "tuning").glob("defaults-*.jsonl"))


@pytest.mark.parametrize("path", DEFAULTS, ids=lambda path: path.stem)
def test_searches_for_defaults_that_are_kept_can_be_read(path) -> None:
    agent = path.stem.split("-")[1]
    search = default_settings.SEARCHES[agent]
    for line in path.read_text(encoding="utf-8").splitlines():
        trial = json.loads(line)
        assert trial["drawn"] == default_settings.settings_of(agent, trial["trial"])
        shares = []
        for env_id in search.tasks:
            low, high = default_settings.SCALES[env_id]
            shares += [(mean - low) / (high - low) for mean in trial["means"][env_id]]
        assert (trial["score"] is None) == (trial["diverged"] is not None)
        assert trial["score"] is None or trial["score"] == pytest.approx(np.mean(shares), abs=1e-4)


SEARCHED = sorted(set((RESULTS / "tuning").glob("*.jsonl")) - set(DEFAULTS))


@pytest.mark.parametrize("path", SEARCHED, ids=lambda path: path.stem)
def test_searches_that_are_kept_can_be_read(path) -> None:
    trials = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [trial["trial"] for trial in trials] == list(range(len(trials)))
    for trial in trials:
        if trial.get("state", "complete") == "complete":
            assert trial["score"] == pytest.approx(np.mean(trial["means"]))
        else:  # ended early, or diverged
            assert trial["score"] is None
        assert trial["drawn"]


class FirstChoice:
    """A trial that suggests the lower bound, or the first choice."""

    def suggest_float(self, name, low, high, *, log=False):
        return low

    def suggest_int(self, name, low, high, *, log=False):
        return low

    def suggest_categorical(self, name, choices):
        return choices[0]


@pytest.mark.parametrize(("base", "normalised"), [(searches.WEIGHT_MAX_CAR, True), (searches.BACKPROP_CAR, False)])
def test_a_search_normalises_observations_that_no_wrapper_scales(base, normalised) -> None:
    assert searches.near(FirstChoice(), base)["normalize"]["norm_obs"] is normalised


def test_a_wide_search_keeps_the_order_of_rates_and_of_noise() -> None:
    drawn = searches.wide(FirstChoice(), searches.MAP_PROP_POLE)
    assert drawn["actor_learning_rate"]["start"] == drawn["actor_learning_rate"]["end"] == [3.33e-3, 3.33e-6, 3.33e-7]
    assert drawn["policy_kwargs"]["variance"] == [0.006, 0.02]


def test_trials_by_hand_are_not_of_the_seeds_of_the_tables() -> None:
    lines = (RESULTS / "by_hand.jsonl").read_text(encoding="utf-8").splitlines()
    for trial in map(json.loads, lines):
        assert trial["agent"] in {**cells.AGENTS, **cells.BACKPROP}
        assert trial["env"] in cells.LEVELS
        assert min(map(int, trial["runs"])) >= by_hand.FIRST_SEED


def test_a_trial_by_hand_is_kept_with_all_its_settings(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(by_hand, "FILE", tmp_path / "trials.jsonl")
    by_hand.main(["weight_max", "CartPole-v1", '{"n_episodes": 2, "gamma": 0.9}', "--seeds", "1000,1001"])
    first, second = map(json.loads, by_hand.FILE.read_text(encoding="utf-8").splitlines())
    assert first["changes"] == {"n_episodes": 2, "gamma": 0.9}
    assert first["settings"]["gamma"] == 0.9
    assert first["settings"]["critic_lambda"] == 0.8
    assert list(first["runs"]) == ["1000"]
    assert list(second["runs"]) == ["1001"]
    assert first["runs"]["1000"] != second["runs"]["1001"]


def test_a_trial_by_hand_with_a_seed_of_the_tables_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(by_hand, "FILE", tmp_path / "trials.jsonl")
    with pytest.raises(ValueError, match="seed 9 may be one of a table"):
        by_hand.main(["weight_max", "CartPole-v1", '{"n_episodes": 2}', "--seeds", "1000,9"])
    assert not by_hand.FILE.exists()


def ddpg(env=ENV) -> DDPG:
    noise = NormalActionNoise(np.zeros(1), 0.5 * np.ones(1))
    kwargs = {"net_arch": {"pi": HIDDEN, "qf": [16]}, "activation_fn": th.nn.Tanh}
    return DDPG("MlpPolicy", env, action_noise=noise, policy_kwargs=kwargs, batch_size=8, seed=3)


@pytest.fixture(scope="module")
def watched() -> tuple[SubCritics, DDPG]:
    callback, model = SubCritics(0), ddpg()
    model.learn(160, callback=callback)
    return callback, model


def test_watching_does_not_change_the_agent(watched) -> None:
    alone = ddpg().learn(160)
    for seen, expected in zip(watched[1].policy.parameters(), alone.policy.parameters(), strict=True):
        assert th.equal(seen, expected)


def test_sub_critics_see_what_the_actor_did(watched) -> None:
    callback, model = watched
    buffer = model.replay_buffer
    observation, action = buffer.observations[-1 + buffer.size(), 0], buffer.actions[-1 + buffer.size(), 0]
    x, layers = th.as_tensor(observation), [observation]
    with th.no_grad():  # the callback saw the last step before the last gradient step: what it copied is the actor of then
        for k in range(DEPTH - 1):
            x = th.tanh(x @ th.as_tensor(callback.network.weights(k)) + th.as_tensor(callback.network.biases(k)))
            layers.append(x.numpy())
    layers.append(action)
    np.testing.assert_allclose(callback._done[-1], np.concatenate(layers[1:]), rtol=0, atol=1e-5)

    weights, start, expected = callback.neuron_critics[0].weights, 0, []
    for v, a in pairwise(layers):
        own = weights[start : start + (v.size + 2) * a.size].reshape(v.size + 2, a.size)
        start += own.size
        expected += [v @ own[:-2, j] + own[-2, j] + own[-1, j] * a[j] for j in range(a.size)]
    assert start == weights.size
    seen = callback.values[-1]
    np.testing.assert_allclose(seen[1 + DEPTH : 1 + DEPTH + len(expected)], expected, rtol=1e-3, atol=1e-5)


def test_the_global_value_is_that_of_the_step(watched) -> None:
    """Before learning begins nothing changes, so the values seen can be computed again from the buffer."""
    callback = SubCritics(0)
    model = ddpg()
    model.learn(100, callback=callback)
    buffer = model.replay_buffer
    pairs = (th.as_tensor(array[:100, 0].astype(np.float32)) for array in (buffer.observations, buffer.actions))
    with th.no_grad():
        expected = model.critic.q1_forward(*pairs).numpy()[:, 0]
    np.testing.assert_allclose(np.array(callback.values)[:, 0], expected, atol=1e-6)


def test_sub_critics_learn_from_transitions_that_belong_together(monkeypatch) -> None:
    rows: list[list[np.ndarray]] = []

    def spy(self, layers, rewards, next_layers, not_terminated, discount) -> None:
        parts = (layers[0], rewards, next_layers[0], not_terminated, *layers[1:])
        rows.append([part.numpy().copy() for part in parts])

    monkeypatch.setattr(LayerCritics, "learn", spy)
    callback, model = SubCritics(0), ddpg(Clock())
    model.learn(130, callback=callback)
    t, r, after, goes_on, *values = (np.concatenate(parts) for parts in zip(*rows[::2], strict=True))
    np.testing.assert_array_equal(after, t + 1)
    np.testing.assert_allclose(r, (t + 1) / 1000, rtol=1e-5)
    np.testing.assert_array_equal(goes_on, 1.0 - ((t % 5 == 4) & ((t // 5 + 1) % 3 == 0)))
    done = {float(o[0, 0]): values for o, values in zip(model.replay_buffer.observations, callback._done, strict=False)}
    np.testing.assert_array_equal(np.concatenate(values, axis=1), [done[float(moment)] for moment in t[:, 0]])
    starts = [
        float(o[0, 0]) for o, start in zip(model.replay_buffer.observations, callback.episode_starts, strict=False) if start
    ]
    assert starts == [1.0 + 5 * k for k in range(len(starts))]
    t, r, after, *_ = (np.concatenate(parts) for parts in zip(*rows[1::2], strict=True))  # the twins
    np.testing.assert_allclose(r, after / 1000, rtol=1e-5)
    assert abs(np.corrcoef(t[:, 0], after[:, 0])[0, 1]) < 0.2


def test_correlations_of_changes_within_episodes(watched) -> None:
    callback = SubCritics(0)
    callback.model = watched[1]
    rng = np.random.default_rng(0)
    whole = np.cumsum(rng.standard_normal(400))
    callback.values = list(np.stack([whole, 2 * whole + 5, -whole, rng.standard_normal(400)], axis=1))
    callback.values[250][1] += 1e9  # a jump between two episodes, out and back
    callback.values[250][2] -= 1e9
    callback.episode_starts = [t in (0, 250, 251) for t in range(400)]
    r, changes = correlations(callback)
    assert changes.shape == (400 - 101 - 1 - 2, 4)
    np.testing.assert_allclose(r[:2], [1.0, -1.0])
    assert abs(r[2]) < 0.2


def test_interval_is_students() -> None:
    low, high = interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), rel=1e-3)
    many = np.arange(21.0)
    assert interval(many)[1] - 10 == pytest.approx(2.0860 * many.std(ddof=1) / 21**0.5, rel=1e-3)


def test_a_watched_run_keeps_the_states_of_its_neurons(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.runs.RESULTS", tmp_path)
    settings = {"n_timesteps": 600, "policy_kwargs": {"net_arch": [4, 3]}}
    run = Run("t", "m", "CartPole-v1", 0, "decentralized_ddpg", settings, watch_every=200)
    execute(run, "test")
    with np.load(run.path) as file:
        np.testing.assert_array_equal(file["watch_timesteps"], [200, 400, 600])
        assert file["saturation"].shape == file["one_sign"].shape == (3, 3)
        ends, returns = np.cumsum(file["lengths"]), file["returns"]
    seen = returns_in_time(run, np.array([ends[0] - 1, ends[2]]), window=2)
    assert np.isnan(seen[0])
    assert seen[1] == pytest.approx(returns[1:3].mean())
    read(run)
    with pytest.raises(ValueError, match=r"other settings \(critic_kind\): delete it"):
        read(replace(run, settings={**settings, "critic_kind": "linear"}))


def test_a_run_that_fails_keeps_no_other_from_being_made(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.runs.RESULTS", tmp_path)
    settings = {"n_timesteps": 50, "policy_kwargs": {"net_arch": [3]}}
    runs = [Run("t", f"m{k}", "CartPole-v1", 0, "reinforce", {**settings, "gamma": γ}) for k, γ in enumerate((2.0, 0.9))]
    with pytest.raises(ValueError, match=r"m0 CartPole-v1 seed 0: gamma must lie"):
        execute_all(runs, 1)
    assert read(runs[0]) is None
    assert read(runs[1]) is not None


@pytest.mark.parametrize(
    ("returns", "n_bytes"),
    [([1.0, -1.0, -1.0, 1.0] * 5, 3), ([500.0, -1.0, 9.0], 6), ([1.0, 0.0, -1.0], 6), ([1.5, 40_000.0], 8), ([40_000.0], 4)],
)
def test_returns_are_kept_small_and_whole(returns, n_bytes, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.runs.RESULTS", tmp_path)
    run, arrays = Run("t", "m", "CartPole-v1", 0, "reinforce", {}), compact_returns(np.array(returns))
    assert sum(array.nbytes for array in arrays.values()) == n_bytes
    run.path.parent.mkdir(parents=True)
    facts = json.dumps({"settings": {}, "episodes": len(returns)})
    np.savez_compressed(run.path, facts=np.array(facts), **arrays)
    np.testing.assert_array_equal(read(run)[0], returns)


def test_parameters_are_kept_where_a_command_reads_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.runs.RESULTS", tmp_path)
    changes = {"n_timesteps": 210, "policy_kwargs": {"net_arch": [3, 2]}}
    methods = {name: Method(name, "reinforce", "reinforce", {}, {"CartPole-v1": {}}) for name in ("kept", "stripped")}
    table = Table("t", {"CartPole-v1": changes}, methods, {}, {"kept": ["CartPole-v1"]})
    kept, stripped = (table.runs(name, "CartPole-v1", [0])[0] for name in methods)
    execute_all([kept, stripped], 1)
    model = trained_model(kept)
    assert np.any(model.policy.actor.parameters != initial_model(kept).policy.actor.parameters)
    with pytest.raises(ValueError, match="holds no parameters"):
        trained_model(stripped)


@pytest.mark.parametrize(
    "table", [weight_max.TABLE1, map_prop.TABLE, decentralized_ddpg.TABLE], ids=lambda table: table.name
)
def test_committed_tables_are_made_of_the_committed_runs(table) -> None:
    assert table.markdown(range(10)) == (table.folder / "table.md").read_text(encoding="utf-8")


def test_a_table_made_for_some_seeds_shows_the_others_too(tmp_path, monkeypatch, capsys) -> None:
    for module in ("runs", "tables"):
        monkeypatch.setattr(f"benchmarks.{module}.RESULTS", tmp_path)
    changes = {"n_timesteps": 60, "policy_kwargs": {"net_arch": [3, 2]}}
    table = Table("t", {"CartPole-v1": changes}, {"m": Method("m", "reinforce", "reinforce", {}, {"CartPole-v1": {}})}, {})
    for seeds, n in (([3], 1), ([12], 2), ([4], 2)):
        table.make(["CartPole-v1"], ["m"], seeds, 1)
        assert f"| CartPole-v1 | m | {n} |" in (table.folder / "table.md").read_text(encoding="utf-8")


def test_networks_that_commands_read_are_there() -> None:
    for table in (weight_max.TABLE1, map_prop.TABLE):
        for method, envs in table.networks.items():
            for run in (table.runs(method, env_id, [0])[0] for env_id in envs):
                with np.load(run.path) as file:
                    assert file["parameters"].dtype == np.float32


def test_what_shipped_settings_reached_is_what_the_results_say() -> None:
    assert yaml.safe_load(reached.FILE.read_text(encoding="utf-8")) == reached.reached()
