"""Training in compiled blocks gives the bits, the episodes and the moments of callbacks of training step by step."""

import warnings
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EveryNTimesteps
from stable_baselines3.common.vec_env import VecNormalize

from coagent_rl import (
    REBAR,
    Backprop,
    CoordinatedExploration,
    DecentralizedDDPG,
    DisARM,
    EquilibriumPropagation,
    EvolutionStrategies,
    FeedbackAlignment,
    Hindsight,
    MAPProp,
    NodePerturbation,
    NoiseBased,
    PosteriorRule,
    ProductRule,
    Reinforce,
    ReinforceThomas,
    STEBackprop,
    SyntheticGradients,
    WeightMax,
)
from coagent_rl.agents import CoagentAlgorithm, CoagentPolicy
from coagent_rl.credit.reinforce import learn_reinforce
from coagent_rl.envs.compiled import twin_of
from coagent_rl.envs.compiled.vec_env import CompiledVecEnv
from coagent_rl.envs.vec_env import SerialVecEnv
from coagent_rl.training.callbacks import EpisodeRecorder, WholeFileEvalCallback
from coagent_rl.training.run import make_environments

SMALL = {"net_arch": {"pi": [8, 6], "vf": [8]}}
RATES = {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3}


class AskedAtEveryStep(BaseCallback):
    def _on_step(self) -> bool:
        return True


def everything(model) -> np.ndarray:
    """Parameters, traces, moments, counters, the normaliser, and the returns of the last episodes."""
    parts = [np.asarray(v, float).ravel() for state in model.get_parameters().values() for v in state.values()]
    vec = model.get_vec_normalize_env()
    if vec is not None:
        parts += [vec.obs_rms.mean, vec.obs_rms.var, [vec.obs_rms.count, vec.ret_rms.var, vec.ret_rms.count], vec.returns]
    returns = [info["r"] for info in model.ep_info_buffer]
    return np.concatenate([*parts, [model.num_timesteps, model._n_updates, model._episode_num], returns], axis=None)


def make(agent, env="CartPole-v1", n_envs=1, normalize=False, **kwargs):
    vec = CompiledVecEnv(twin_of(env, {}), n_envs)
    vec.seed(3)
    vec = VecNormalize(vec) if normalize else vec
    return agent("MlpPolicy", vec, seed=0, **{"policy_kwargs": SMALL, **RATES, **kwargs})


CASES = [
    (WeightMax, {}),
    (WeightMax, {"actor_lambda": 0.8, "truncation": "zero_td_error", "env": "MountainCar-v0", "n_envs": 3}),
    (WeightMax, {"trace_form": "pipelined", "actor_lambda": 0.5}),
    (WeightMax, {"critic": None, "env": "coagent_rl/Multiplexer-v0", "n_envs": 4}),
    (WeightMax, {"critic": "map_prop", "n_envs": 2}),
    (Reinforce, {"env": "Pendulum-v1", "reward_clip": 3.0}),
    (Reinforce, {"normalize": True, "env": "Pendulum-v1"}),
    (Reinforce, {"normalize": True, "n_envs": 3}),
    (ReinforceThomas, {"env": "Acrobot-v1"}),
    (STEBackprop, {}),
    (Backprop, {"env": "coagent_rl/Corridor-v0"}),
    (FeedbackAlignment, {}),
    (PosteriorRule, {"actor_lambda": 0.8}),
    (ProductRule, {"env": "Pendulum-v1"}),
    (CoordinatedExploration, {"n_envs": 2}),
    (DisARM, {"actor_lambda": 0.8, "n_envs": 3}),
    (REBAR, {"actor_lambda": 0.8, "n_envs": 3}),
    (EvolutionStrategies, {"actor_lambda": 0.8}),
    (EquilibriumPropagation, {"env": "Pendulum-v1"}),
    (Hindsight, {"n_envs": 2}),
    (NoiseBased, {"actor_lambda": 0.8, "env": "Pendulum-v1"}),
    (SyntheticGradients, {"n_envs": 3}),
    (MAPProp, {"actor_lambda": 0.9}),
    (NodePerturbation, {"env": "MountainCarContinuous-v0"}),
    (DecentralizedDDPG, {"env": "Pendulum-v1"}),
    (DecentralizedDDPG, {"env": "Pendulum-v1", "td_source": "neuron", "critic_kind": "quadratic"}),
]


@pytest.mark.parametrize(("agent", "kwargs"), CASES)
def test_blocks_give_the_same_bits_as_steps(agent, kwargs) -> None:
    """Across blocks of noise, ends of episodes and two calls of learn."""
    n = 4500 * kwargs.get("n_envs", 1)
    blocks, steps = make(agent, **kwargs), make(agent, **kwargs)
    blocks.learn(n // 3)
    assert blocks.why_step_by_step is None
    blocks.learn(n - n // 3, reset_num_timesteps=False)
    steps.learn(n, callback=AskedAtEveryStep())
    assert "AskedAtEveryStep is asked at every step" in steps.why_step_by_step
    if n % 3 == 0:
        np.testing.assert_array_equal(everything(blocks), everything(steps))


def test_saved_in_the_middle_and_resumed(tmp_path) -> None:
    whole = make(MAPProp).learn(1500)
    whole.learn(1000, reset_num_timesteps=False)
    first = make(MAPProp).learn(1500)
    first.save(tmp_path / "model")
    resumed = MAPProp.load(tmp_path / "model", env=first.get_env(), force_reset=False)
    resumed.learn(1000, callback=AskedAtEveryStep(), reset_num_timesteps=False)
    np.testing.assert_array_equal(everything(resumed), everything(whole))


class Moments(BaseCallback):
    """Notes when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def _on_step(self) -> bool:
        self.seen.append((self.num_timesteps, self.model.policy.actor.parameters.sum()))
        return True


def test_evaluation_in_an_environment_of_another_class_is_no_warning(tmp_path) -> None:
    """As with ``train.py --render``: what is shown is stepped one by one, what evaluates is not."""
    model = make(WeightMax)
    other = SerialVecEnv([lambda: gym.make("CartPole-v1")])
    assert not isinstance(model.get_env(), SerialVecEnv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(20, callback=WholeFileEvalCallback(other, tmp_path, eval_freq=10, n_eval_episodes=1, warn=False))


@pytest.mark.parametrize("n_envs", [1, 2])
def test_callbacks_are_asked_at_the_same_moments(n_envs, tmp_path) -> None:
    def train(name, *others):
        env = make_environments("CartPole-v1", 1, 7, {})
        evaluation = WholeFileEvalCallback(env, tmp_path / name, eval_freq=400, n_eval_episodes=2, verbose=0)
        moments, recorder = Moments(), EpisodeRecorder()
        checkpoints = CheckpointCallback(300, str(tmp_path / name))
        model = make(WeightMax, n_envs=n_envs, stats_window_size=10)
        callbacks = [recorder, evaluation, EveryNTimesteps(700, moments), checkpoints, *others]
        model.learn(3000, callback=callbacks, log_interval=3)
        with np.load(tmp_path / name / "evaluations.npz") as file:
            results = file["timesteps"].tolist(), file["results"].tolist()
        saved = sorted(path.name for path in (tmp_path / name).glob("rl_model_*"))
        return model, results, moments.seen, recorder.returns, recorder.lengths, saved

    blocks, *seen = train("blocks")
    steps, *expected = train("steps", AskedAtEveryStep())
    assert blocks.why_step_by_step is None
    assert steps.why_step_by_step is not None
    assert seen == expected
    assert len(seen[-1]) > 3
    np.testing.assert_array_equal(everything(blocks), everything(steps))


def test_the_log_is_written_at_the_same_steps() -> None:
    def logged(callback) -> list[tuple[int, float]]:
        model = make(WeightMax)
        lines: list[tuple[int, float]] = []
        model._setup_learn(1)
        model.dump_logs = lambda: lines.append((model.num_timesteps, model._episode_num))
        model.learn(6000, callback=callback, log_interval=4)
        return lines

    assert logged(None) == logged(AskedAtEveryStep())
    assert len(logged(None)) > 1


def test_a_number_of_episodes_ends_training_at_the_same_step() -> None:
    models = [make(WeightMax), make(WeightMax)]
    models[0].learn(100_000, callback=EpisodeRecorder(17))
    models[1].learn(100_000, callback=[EpisodeRecorder(17), AskedAtEveryStep()])
    assert models[0].why_step_by_step is None
    assert models[0]._episode_num == 17
    np.testing.assert_array_equal(everything(models[0]), everything(models[1]))


def test_the_monitor_file_is_the_same(tmp_path) -> None:
    contents = []
    for name, callback in (("blocks", None), ("steps", AskedAtEveryStep())):
        env = make_environments("CartPole-v1", 2, 5, {}, monitor_dir=str(tmp_path / name))
        WeightMax("MlpPolicy", env, seed=0, policy_kwargs=SMALL).learn(1000, callback=callback)
        env.close()
        lines = (tmp_path / name / "0.monitor.csv").read_text().splitlines()[2:]
        contents.append([line.rpartition(",")[0] for line in lines])
    assert contents[0] == contents[1]
    assert len(contents[0]) > 10


def test_ids_become_compiled_and_objects_stay_what_they_are() -> None:
    import gymnasium as gym

    assert make(WeightMax).learn(10).why_step_by_step is None
    by_id = WeightMax("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs=SMALL).learn(500)
    by_object = WeightMax("MlpPolicy", gym.make("CartPole-v1"), seed=0, policy_kwargs=SMALL).learn(500)
    assert by_id.why_step_by_step is None
    assert "not a compiled one (SerialVecEnv)" in by_object.why_step_by_step
    np.testing.assert_array_equal(everything(by_id), everything(by_object))


def test_an_id_that_is_given_later_becomes_compiled_too(tmp_path, capsys) -> None:
    model = make(Reinforce)
    model.save(tmp_path / "model")
    loaded = Reinforce.load(tmp_path / "model", env="CartPole-v1").learn(100)
    model.learn(100)
    assert capsys.readouterr().out == ""
    assert loaded.why_step_by_step is None
    np.testing.assert_array_equal(everything(loaded), everything(model))
    loaded.set_env("CartPole-v1")
    assert loaded.learn(100).why_step_by_step is None


def test_what_is_not_finite_ends_compiled_training_too() -> None:
    for network, layer in (("actor", 0), ("critic", 0)):
        model = make(Reinforce).learn(50)
        getattr(model.policy, network).weights(layer)[:] = np.nan
        with pytest.raises(ValueError, match="diverged"):
            model.learn(50)
        assert model.why_step_by_step is None


class OwnActions(CoagentPolicy):
    def to_actions(self, outputs):
        return super().to_actions(outputs)


class OwnLearning(Reinforce):
    def _learn_from(self, *transition):
        super()._learn_from(*transition)


class OwnRule(CoagentAlgorithm):
    rule = staticmethod(learn_reinforce)


def test_what_compiled_training_cannot_do_it_leaves_to_steps() -> None:
    own = partial(Reinforce, "MlpPolicy")
    assert "a way of its own" in Reinforce(OwnActions, "CartPole-v1", policy_kwargs=SMALL).learn(10).why_step_by_step
    assert "a way of its own" in OwnLearning("MlpPolicy", "CartPole-v1").learn(10).why_step_by_step
    replayed = DecentralizedDDPG("MlpPolicy", "Pendulum-v1", buffer_size=100, learning_starts=10).learn(20)
    assert replayed.why_step_by_step == "transitions are replayed"
    many = VecNormalize(CompiledVecEnv(twin_of("CartPole-v1", {}), 8))
    assert "normalised by VecNormalize with 8" in own(many, policy_kwargs=SMALL).learn(16).why_step_by_step
    assert OwnRule("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL).learn(10).why_step_by_step is None
