"""Learning rates as users write them: given, loaded, assigned."""

from threading import Lock

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule
from stable_baselines3.common.utils import LinearSchedule as ProgressSchedule

from coagent_rl import DecentralizedDDPG, LinearSchedule, NodePerturbation, WeightMax
from coagent_rl.training.hyperparameters import load_hyperparameters, override, parse_pairs

LOCK = Lock()
SMALL = {"net_arch": {"pi": [8, 6], "vf": [8]}}


def make(agent=WeightMax, env="CartPole-v1", **kwargs):
    return agent("MlpPolicy", env, **{"seed": 0, "policy_kwargs": SMALL, **kwargs})


def rates(model, time=0.0) -> dict[str, list[float]]:
    """Rates that the kernels read, first and last layer of each network."""
    found = {name.removesuffix("_learning_rate"): learner for name, learner in model._rated().items()}
    return {name: learner.learning_rates(time)[[0, -1]].tolist() for name, learner in found.items()}


def parameters(model) -> np.ndarray:
    return model.policy.parameters_to_vector()


def quadratic(progress: float) -> float:
    return 0.01 * progress**2


class EveryStep(BaseCallback):
    def _on_step(self) -> bool:
        return True


def test_one_for_all_networks_and_each_its_own() -> None:
    model = make(DecentralizedDDPG, "Pendulum-v1", learning_rate=0.5, critic_learning_rate=[0.1, 0.2])
    assert rates(model) == {"actor": [0.5, 0.5], "critic": [0.1, 0.2], "neuron_critic": [0.5, 0.5]}
    assert rates(make(DecentralizedDDPG, "Pendulum-v1"))["neuron_critic"] == [2e-3, 2e-3]
    assert rates(make(NodePerturbation, "Pendulum-v1")) == {"actor": [1e-4, 1e-4], "critic": [2e-3, 2e-3]}
    for net_arch in ([], [4], [4, 4, 4]):
        deep = make(policy_kwargs={"net_arch": net_arch})
        assert deep.actor_learner.learning_rates(0).tolist() == [1e-2] + [1e-4] * len(net_arch)


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("lin_0.01", 0.01, 0.0),
        (ConstantSchedule(0.02), 0.02, 0.02),
        (ProgressSchedule(0.01, 0.002, 1.0), 0.01, 0.002),
        (FloatSchedule(ProgressSchedule(0.01, 0.002, 1.0)), 0.01, 0.002),
        (FloatSchedule(0.03), 0.03, 0.03),
    ],
)
def test_schedules_of_others_end_where_training_ends(value, start, end) -> None:
    model = make(learning_rate=value)
    assert rates(model)["actor"] == [start, start]
    model.learn(400)
    assert model.why_step_by_step is None
    middle, last = rates(model, 200)["critic"], rates(model, 400)["critic"]
    np.testing.assert_allclose([middle, last], [[(start + end) / 2] * 2, [end] * 2], rtol=1e-12, atol=1e-18)


def test_a_schedule_may_end_before_training_does() -> None:
    schedule = ProgressSchedule(0.01, 0.0, 0.25)
    model = make(actor_learning_rate=schedule).learn(400)
    for time in (0, 50, 100, 300):
        assert rates(model, time)["actor"][0] == pytest.approx(schedule(1 - time / 400), abs=1e-15)


@pytest.mark.parametrize(("agent", "env"), [(WeightMax, "CartPole-v1"), (DecentralizedDDPG, "Pendulum-v1")])
def test_a_function_learns_what_the_linear_schedule_learns(agent, env) -> None:
    """The first is asked by Python at every step, the second by the kernels."""
    function = make(agent, env, learning_rate=lambda progress: 0.004 + 0.004 * progress).learn(600)
    linear = make(agent, env, learning_rate=LinearSchedule(0.008, 0.004, 600)).learn(600)
    assert "a learning rate is a function" in function.why_step_by_step
    assert linear.why_step_by_step is None
    np.testing.assert_allclose(parameters(function), parameters(linear), rtol=1e-3, atol=1e-4)


def test_a_function_may_give_one_rate_a_layer() -> None:
    model = make(actor_learning_rate=lambda progress: np.array([0.01, 0.0, progress * 1e-3]))
    before = model.policy.actor.weights(1).copy()
    model.learn(100)
    np.testing.assert_array_equal(model.policy.actor.weights(1), before)
    assert rates(model)["actor"] == [0.01, pytest.approx(1e-5)]


def test_assigned_rates_take_effect() -> None:
    model = make(actor_learning_rate=0.1, critic_learning_rate=0.2)
    model.actor_learning_rate = [0.3, 0.2, 0.1]
    assert rates(model) == {"actor": [0.3, 0.1], "critic": [0.2, 0.2]}
    model.learning_rate = 0.5
    assert rates(model) == {"actor": [0.5, 0.5], "critic": [0.5, 0.5]}
    assert (model.learning_rate, model.actor_learning_rate) == (0.5, None)
    model.learning_rate = 0.0
    before = parameters(model)
    model.learn(200)
    np.testing.assert_array_equal(parameters(model), before)
    model.critic_learning_rate = 0.01
    model.learn(200)
    after = parameters(model)
    n_actor = model.policy.actor.parameters.size
    np.testing.assert_array_equal(after[:n_actor], before[:n_actor])
    assert np.any(after[n_actor:] != before[n_actor:])


@pytest.mark.parametrize("value", [1e-3, quadratic, "lin_0.01"])
def test_a_callback_may_assign_while_training_is_compiled(value) -> None:
    class Assign(BaseCallback):
        def steps_until_needed(self) -> float:
            return 200 - self.n_calls % 200

        def _on_step(self) -> bool:
            if self.n_calls == 200:
                self.model.learning_rate = value
            return True

    blocks, steps = make(learning_rate=0.01), make(learning_rate=0.01)
    blocks.learn(500, callback=Assign())
    steps.learn(500, callback=[Assign(), EveryStep()])
    assert blocks.why_step_by_step is None
    assert steps.why_step_by_step is not None
    np.testing.assert_array_equal(parameters(blocks), parameters(steps))
    assert np.any(parameters(blocks) != parameters(make(learning_rate=0.01).learn(500)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", [0.1, 0.1], "2 values were given .* for 3 layers"),
        ("actor_learning_rate", -1.0, "not negative"),
        ("critic_learning_rate", "fast", "must be a number, .* such as 'lin_0.001' for a linear schedule, not 'fast'"),
        ("learning_rate", "lin_fast", "not 'lin_fast'"),
        ("learning_rate", "lin_e", "not 'lin_e'"),
        ("learning_rate", ProgressSchedule(0.1, 0.0, 0.0), "end_fraction must be a positive number, not 0.0"),
        ("learning_rate", lambda progress: "fast", "that .* gives must be a number"),
        ("learning_rate", lambda progress: -progress, "not negative"),
        ("learning_rate", lambda progress, lock=LOCK: 0.1, "cannot be pickled"),
    ],
)
def test_wrong_rates_are_refused_and_nothing_changes(name, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(**{name: value})
    model = make(learning_rate=0.5)
    with pytest.raises(ValueError, match=message):
        setattr(model, name, value)
    assert rates(model) == {"actor": [0.5, 0.5], "critic": [0.5, 0.5]}
    assert (model.learning_rate, model.actor_learning_rate, model.critic_learning_rate) == (0.5, None, None)


def test_a_rate_of_a_network_that_is_not_there_is_refused(tmp_path) -> None:
    model = make(critic=None)
    with pytest.raises(ValueError, match=r"critic_learning_rate=0.1 would do nothing"):
        model.critic_learning_rate = 0.1
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"critic_learning_rate=0.1 would do nothing"):
        WeightMax.load(tmp_path / "model", critic_learning_rate=0.1)


def test_rates_given_to_load(tmp_path) -> None:
    make(actor_learning_rate=[0.1, 0.2, 0.3], critic_learning_rate=0.4).save(tmp_path / "model")
    load = WeightMax.load
    assert rates(load(tmp_path / "model")) == {"actor": [0.1, 0.3], "critic": [0.4, 0.4]}
    assert rates(load(tmp_path / "model", learning_rate=0.7)) == {"actor": [0.7, 0.7], "critic": [0.7, 0.7]}
    both = load(tmp_path / "model", learning_rate=0.7, critic_learning_rate=0.8)
    assert rates(both) == {"actor": [0.7, 0.7], "critic": [0.8, 0.8]}
    assert rates(load(tmp_path / "model", critic_learning_rate=0.8)) == {"actor": [0.1, 0.3], "critic": [0.8, 0.8]}
    replaced = load(tmp_path / "model", custom_objects={"learning_rate": 0.9})
    assert (replaced.learning_rate, rates(replaced)["actor"]) == (0.9, [0.9, 0.9])
    assert not hasattr(load(tmp_path / "model", custom_objects={"not_there": 1}), "not_there")
    with pytest.raises(ValueError, match="2 values were given"):
        load(tmp_path / "model", actor_learning_rate=[0.1, 0.2])


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(quadratic, quadratic), ("lin_0.01", lambda progress: 0.01 * progress), (ProgressSchedule(0.01, 0.0, 0.5),) * 2],
)
def test_a_schedule_goes_on_where_it_was_saved(rate, expected, tmp_path) -> None:
    class Save(BaseCallback):
        def _on_step(self) -> bool:
            if self.n_calls == 250:
                self.model.save(tmp_path / "model")
            return True

    make(learning_rate=rate).learn(600, callback=Save())
    part = WeightMax.load(tmp_path / "model", env="CartPole-v1", trust=True)  # a function is pickled
    assert part._current_progress_remaining == pytest.approx(350 / 600)
    assert rates(part, 250)["actor"] == pytest.approx([expected(350 / 600)] * 2)
    part.learn(350, reset_num_timesteps=False)
    assert part._total_timesteps == 600
    assert part._current_progress_remaining == 0.0


def test_progress_moves() -> None:
    class Progress(BaseCallback):
        seen: list[float] = []  # noqa: RUF012

        def _on_step(self) -> bool:
            self.seen.append(self.model._current_progress_remaining)
            return True

    model = make(env=gym.make("CartPole-v1"))
    assert model._current_progress_remaining == 1.0
    model.learn(4, callback=Progress())
    assert Progress.seen == [0.75, 0.5, 0.25, 0.0]


def test_frozen_layers_stay_frozen() -> None:
    model = make(frozen_layers="hidden", learning_rate=0.1)
    model.learning_rate = "lin_0.2"
    assert model.actor_learner.learning_rates(0).tolist() == [0.0, 0.0, 0.2]


def test_the_schedule_of_stable_baselines3() -> None:
    """A function that callbacks read, and that is assigned where a loaded model is to learn more slowly."""
    model = make(actor_learning_rate=[0.1, 0.1, quadratic(0.5)])
    assert model.lr_schedule(0.5) == quadratic(0.5)
    assert make(learning_rate=quadratic).lr_schedule(0.25) == quadratic(0.25)
    model.learn(100)
    model.lr_schedule = quadratic
    assert model.lr_schedule(0.5) == quadratic(0.5)
    assert type(model.lr_schedule(1.0)) is float
    assert model.learning_rate is quadratic
    model.lr_schedule = LinearSchedule(0.1, 0.0, 50)
    assert model.lr_schedule(0.75) == pytest.approx(0.05)
    assert rates(model, 25)["critic"] == pytest.approx([0.05, 0.05])


def test_a_rate_from_the_command_line_replaces_those_of_the_file() -> None:
    shipped = load_hyperparameters("weight_max", "CartPole-v1")
    assert {"actor_learning_rate", "critic_learning_rate"} <= set(shipped)
    changed = override(shipped, parse_pairs(["learning_rate:lin_0.001", "critic_learning_rate:0.1"]))
    rated = {key: value for key, value in changed.items() if "learning_rate" in key}
    assert rated == {"learning_rate": "lin_0.001", "critic_learning_rate": 0.1}
    assert override(shipped, {"gamma": 0.5}) == {**shipped, "gamma": 0.5}
