"""Saving and loading models: files of JSON and arrays, which run no code."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv, TensorDict
from stable_baselines3.common.utils import check_for_correct_spaces, get_system_info

from coagent_rl.agents.attributes import check_attributes
from coagent_rl.agents.coding import Coder, NotPlainError
from coagent_rl.agents.foreign import check_algorithm, check_given, check_older
from coagent_rl.agents.normaliser import put_normaliser, state_of_normaliser
from coagent_rl.agents.policy import hidden_sizes
from coagent_rl.agents.spaces import observation_size
from coagent_rl.archive import (
    BROKEN,
    array_bytes,
    array_from,
    json_bytes,
    json_from,
    names_in,
    read_archive,
    write_archive,
)
from coagent_rl.files import write_whole

SelfSaved = TypeVar("SelfSaved", bound="SavedAlgorithm")
DATA = "data.json"
MEMBERS = r"data\.json|arrays/\d+\.npy|parameters/\w+/[\w.]+\.npy|pickled/\w+\.pkl"
PICKLED = "pickled/"
LOGS = {"tensorboard_log", "verbose"}
"""Arguments of `load` that change nothing but what is logged."""
WRONG = (*BROKEN, AttributeError, TypeError, AssertionError, MemoryError, RecursionError)
"""What making a model raises where what was read makes no sense."""


class SavedAlgorithm(BaseAlgorithm):
    """A Stable-Baselines3 algorithm whose files hold JSON and arrays, appear whole, and are checked when they are read.

    The statistics of its `VecNormalize`, if its environment has one, are part of the file.
    """

    def is_finite(self) -> bool:
        """Whether all parameters of actor and critic are."""
        return all(bool(np.isfinite(tensor.numpy()).all()) for tensor in self.policy.state_dict().values())

    def save(
        self,
        path: str | Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """As in Stable-Baselines3, but the file appears whole or not at all, and loading it runs no code.

        What is neither numbers, text, their containers, a space, a schedule nor a generator (a policy class of one's own,
        say) is pickled in a member of its own, and such a file loads with ``trust=True`` only.

        Raises:
            ValueError: if parameters are not finite; nothing is written.
            TypeError: if something cannot even be pickled.
        """
        self.save_with(path, None, exclude, include)

    def save_with(
        self,
        path: str | Path | io.BufferedIOBase,
        run: Mapping[str, Any] | None,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """`save`, with the state of a run (plain values and arrays), which `read_run` reads."""
        if not self.is_finite():
            raise ValueError("The model's parameters are not all finite: it has diverged, and is not saved.")
        members = self._members(exclude, include, run)
        if isinstance(path, io.BufferedIOBase):
            write_archive(path, members, "model")
            return
        target = Path(path)
        if target.suffix == "":
            target = target.with_name(target.name + ".zip")
        write_whole(target, lambda beside: write_archive(beside, members, "model"))

    def _members(
        self, exclude: Iterable[str] | None, include: Iterable[str] | None, run: Mapping[str, Any] | None
    ) -> dict[str, bytes]:
        names, variables = self._get_torch_save_params()
        left_out = ({*(exclude or ()), *self._excluded_save_params()} - {*(include or ())}) | {*names, *variables}
        left_out |= {name.partition(".")[0] for name in (*names, *variables)}
        coder, members = Coder(classes=self._known_classes()), {}
        attributes: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name in left_out:
                continue
            n_arrays = len(coder.arrays)
            try:
                attributes[name] = coder.encode(value)
            except NotPlainError:
                del coder.arrays[n_arrays:]
                members[f"{PICKLED}{name}.pkl"] = cloudpickle.dumps(value)
        normaliser = self.policy.normaliser if self.env is None else state_of_normaliser(self._vec_normalize_env)
        data = {
            "algorithm": type(self).__name__,
            "attributes": attributes,
            "deterministic_mode": self.policy.deterministic_mode,
            "normaliser": coder.encode(normaliser),
            "run": coder.encode(None if run is None else dict(run)),
        }
        members[DATA] = json_bytes(data)
        members.update({f"arrays/{index}.npy": array_bytes(array) for index, array in enumerate(coder.arrays)})
        tensors = ((f"{name}/{key}", value) for name, state in self.get_parameters().items() for key, value in state.items())
        members.update({f"parameters/{name}.npy": array_bytes(np.asarray(value)) for name, value in tensors})
        return members

    @classmethod
    def _known_classes(cls) -> dict[str, type]:
        """Policies that a file may name: those of this package."""
        return {kind.__name__: kind for kind in cls.policy_aliases.values()}

    @classmethod
    def load(
        cls: type[SelfSaved],
        path: str | Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: Any = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        *,
        trust: bool = False,
        **kwargs: Any,
    ) -> SelfSaved:
        """As in Stable-Baselines3, but nothing in the file is executed.

        With ``force_reset=False`` and the environment as it was, training goes on bit for bit. Where the model learned with
        `VecNormalize`, the environment is given the statistics of the file: a `VecNormalize` takes them over, any other
        environment is wrapped.

        Args:
            trust: unpickle what is pickled in the file, which may run any code: only for files whose origin you know. Files
                of older versions are pickled as a whole.

        Raises:
            FileNotFoundError: if there is no such file.
            TypeError: for an argument that is neither the constructor's nor an attribute of the saved model.
            ValueError: if the file is damaged, has pickled members (without ``trust``), is of another algorithm or library,
                or its parameters are not finite; it names the member.
        """
        file = path if isinstance(path, io.BufferedIOBase) else _existing(path)
        where = "the given file" if isinstance(path, io.BufferedIOBase) else str(file)
        if "data" in names_in(file):
            check_older(file, where, cls, trust, kwargs)
            try:
                model = super().load(file, env, device, custom_objects, print_system_info, force_reset, **kwargs)
            except (*WRONG, pickle.UnpicklingError) as error:
                raise ValueError(f"The parameters in {where} cannot be read, or are of another network: {error}") from error
        else:
            if print_system_info:
                get_system_info()
            model = _load(cls, file, where, env, custom_objects or {}, force_reset, trust, kwargs)
        if not model.is_finite():
            raise ValueError(f"The parameters in {where} are not all finite: the model has diverged.")
        return model

    def set_parameters(
        self, load_path_or_dict: str | Path | TensorDict | Mapping[str, Any], exact_match: bool = True, device: Any = "auto"
    ) -> None:
        """As in Stable-Baselines3; of a file, nothing is executed."""
        parameters: Any = load_path_or_dict
        if not isinstance(parameters, Mapping):
            parameters = _parameters(read_archive(_existing(parameters), "model", MEMBERS))
        super().set_parameters(parameters, exact_match, device)


def read_run(path: Path) -> dict[str, Any] | None:
    """The state of the run that a model file holds, or None if it holds none.

    Raises:
        ValueError: if the file is damaged.
    """
    members = read_archive(path, "model", MEMBERS)
    run = _decoded(Coder(_arrays(members)), _data(members, str(path)).get("run"), str(path))
    if run is not None and not isinstance(run, dict):
        raise ValueError(f"{path} is damaged: the run in its member {DATA} is not a mapping.")
    return run


def read_progress(path: Path) -> tuple[int, int]:
    """Time steps and finished episodes of the run in which a model was saved, or of all its training.

    Raises:
        ValueError: if the file is damaged.
    """
    data = _data(read_archive(path, "model", MEMBERS), str(path))
    run, attributes = data.get("run"), data.get("attributes")
    places = ((run, "steps", "episodes"), (attributes, "num_timesteps", "_episode_num"))
    for place, steps, episodes in places:
        if isinstance(place, dict) and isinstance(place.get(steps), int) and isinstance(place.get(episodes), int):
            return place[steps], place[episodes]
    raise ValueError(f"{path} is damaged: its member {DATA} does not say how long the model was trained.")


def read_normaliser(path: Path) -> dict[str, Any] | None:
    """The state of the normaliser that a model file holds, or None; see `put_normaliser`.

    Raises:
        ValueError: if the file is damaged.
    """
    if "data" in names_in(path):
        return None  # of an older version
    members = read_archive(path, "model", MEMBERS)
    state = _decoded(Coder(_arrays(members)), _data(members, str(path)).get("normaliser"), str(path))
    return state if isinstance(state, dict) else None


def _load(
    cls: type[SelfSaved],
    file: Any,
    where: str,
    env: GymEnv | None,
    custom_objects: Mapping[str, Any],
    force_reset: bool,
    trust: bool,
    kwargs: Mapping[str, Any],
) -> SelfSaved:
    members = read_archive(file, "model", MEMBERS, where)
    data = _data(members, where)
    check_algorithm(data.get("algorithm"), where, cls)
    coder = Coder(_arrays(members), cls._known_classes())
    parameters = _parameters(members, where)
    attributes = data.get("attributes")
    if not isinstance(attributes, dict):
        raise ValueError(f"{where} is damaged: its member {DATA} has no attributes.")
    custom_objects = {k: v for k, v in custom_objects.items() if k in attributes or f"{PICKLED}{k}.pkl" in members}
    own = {name: _decoded(coder, value, where) for name, value in attributes.items() if name not in custom_objects}
    found = {**own, **_unpickled(members, where, trust, custom_objects), **custom_objects}
    check_given(cls, kwargs, found)
    n_envs = found.get("n_envs")
    try:
        check_attributes({**own, "observation_space": found["observation_space"], "n_envs": n_envs}, cls)
    except WRONG as error:
        said = error if isinstance(error, ValueError) else repr(error)
        raise ValueError(f"No model can be made of {where}, member {DATA}: {said}") from error
    normaliser = _decoded(coder, data.get("normaliser"), where)
    try:
        if env is not None:
            env = put_normaliser(normaliser, cls._wrap_env(env, 0))
    except WRONG as error:
        if normaliser is None:
            raise
        raise ValueError(f"The normaliser in {where}, member {DATA}, does not go with the environment: {error}") from error
    try:
        given = kwargs.get("policy_kwargs", found["policy_kwargs"])
        if given != found["policy_kwargs"]:
            raise ValueError(f"the model has the policy_kwargs {found['policy_kwargs']}, which cannot become {given}")
        if env is not None:
            check_for_correct_spaces(env, found["observation_space"], found["action_space"])
            if force_reset:
                found["_last_obs"] = None
            found["n_envs"] = env.num_envs
        elif "env" in found:
            env = found["env"]
        _check_size(found, parameters, env is not None)
        model = cls(policy=found["policy_class"], env=env, device="cpu", _init_setup_model=False)  # type: ignore[call-arg]
        vars(model).update(found)
        vars(model).update(kwargs)
        model._setup_model()
        if "deterministic_mode" in data and "policy_kwargs" not in custom_objects:
            model.policy.deterministic_mode = data["deterministic_mode"]  # it may have been assigned
    except WRONG as error:
        said = str(error) or type(error).__name__
        if isinstance(error, ValueError) and any(said.startswith(name) for name in kwargs):
            raise
        raise ValueError(f"No model can be made of {where}, member {DATA}: {said}") from error
    if env is None:
        model.policy.normaliser = normaliser
    try:
        if data["algorithm"] == cls.__name__ and n_envs == model.n_envs and kwargs.keys() <= LOGS:
            _check_shapes(model, parameters)
        model.set_parameters(parameters)
    except WRONG as error:
        raise ValueError(f"The parameters in {where} cannot be read, or are of another network: {error}") from error
    return model


def _check_size(found: Mapping[str, Any], parameters: Mapping[str, Mapping[str, Any]], has_env: bool) -> None:
    """Refuse settings that would need more memory than what is stored: a few bytes must not make a huge network."""
    n_parameters = sum(tensor.numel() for tensor in parameters.get("policy", {}).values())
    actor, critic = hidden_sizes(found["policy_kwargs"].get("net_arch", ()))
    widths, n_inputs = [*actor, *critic], observation_size(found["observation_space"])
    if max([n_inputs, *widths]) > n_parameters or sum(widths) > 2 * n_parameters:
        raise ValueError(
            f"{DATA} describes {n_inputs} inputs and layers of {widths} units, but there are {n_parameters} numbers"
        )
    signals = parameters.get("actor_learner", {}).get("signals")
    rows = 0 if signals is None else int(signals.shape[0])
    if not has_env and not 1 <= found["n_envs"] <= max(rows, 1024):
        raise ValueError(f"{DATA} describes {found['n_envs']} environments, but there are signals of {rows}")


def _check_shapes(model: BaseAlgorithm, parameters: Mapping[str, Mapping[str, th.Tensor]]) -> None:
    """Refuse other shapes of anything: those of memories may differ only where the number of environments does."""
    for part, mine in model.get_parameters().items():
        saved = {key: value for key, value in parameters.get(part, {}).items() if value.numel()}
        for key in sorted({*mine, *saved}):
            there, needed = (tuple(state[key].shape) if key in state else None for state in (saved, mine))
            if there != needed:
                raise ValueError(f"{part}/{key} has the shape {there}, not {needed}")


def _decoded(coder: Coder, value: Any, where: str) -> Any:
    try:
        return coder.decode(value)
    except WRONG as error:
        raise ValueError(f"{where} is damaged: its member {DATA} cannot be read: {error!r}.") from error


def _data(members: Mapping[str, bytes], where: str) -> dict[str, Any]:
    data = json_from(members[DATA], DATA) if DATA in members else None
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not a saved model: its member {DATA} is missing or not a mapping.")
    return data


def _arrays(members: Mapping[str, bytes]) -> list[np.ndarray]:
    n_arrays = sum(name.startswith("arrays/") for name in members)
    names = [f"arrays/{index}.npy" for index in range(n_arrays)]
    if missing := [name for name in names if name not in members]:
        raise ValueError(f"The file is damaged: it has no member {missing[0]}.")
    return [array_from(members[name], name) for name in names]


def _parameters(members: Mapping[str, bytes], where: str = "the file") -> dict[str, dict[str, th.Tensor]]:
    """Names of the model's parts → their state."""
    parameters: dict[str, dict[str, th.Tensor]] = {}
    for member, content in members.items():
        kind, _, rest = member.partition("/")
        if kind == "parameters":
            part, _, key = rest.partition("/")
            try:
                tensor = th.from_numpy(array_from(content, member))
            except TypeError as error:
                raise ValueError(f"The member {member} in {where} is of a kind that torch does not have: {error}") from error
            if key == "n_updates.npy" and not (tensor.ndim == 0 and 0 <= float(tensor) < 2**53):
                raise ValueError(f"The member {member} in {where} is no number of updates.")
            if part == "policy" and not bool(th.isfinite(tensor).all()):
                raise ValueError(f"The parameters in {where} are not all finite ({member}): the model has diverged.")
            parameters.setdefault(part, {})[key.removesuffix(".npy")] = tensor
    return parameters


def _unpickled(members: Mapping[str, bytes], where: str, trust: bool, custom_objects: Mapping[str, Any]) -> dict[str, Any]:
    names = {member.removeprefix(PICKLED).removesuffix(".pkl"): member for member in members if member.startswith(PICKLED)}
    names = {name: member for name, member in names.items() if name not in custom_objects}
    if names and not trust:
        raise ValueError(
            f"{where} has pickled members ({', '.join(names.values())}), and unpickling may run any code: load it with "
            f"trust=True (--trust on the command line) if you know where it comes from."
        )
    try:
        return {name: pickle.loads(members[member]) for name, member in names.items()}
    except Exception as error:  # pickles raise what they like
        raise ValueError(f"The pickled members of {where} ({', '.join(names.values())}) cannot be read: {error}") from error


def _existing(path: Any) -> Path:
    for candidate in (Path(path), Path(f"{path}.zip")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"There is no model at {path} (nor at {path}.zip).")
