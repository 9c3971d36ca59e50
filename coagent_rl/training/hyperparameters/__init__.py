"""Hyperparameters by algorithm and environment: at most one YAML file an algorithm, shipped with the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.util import find_spec
from typing import Any

from coagent_rl.registry import ALGORITHMS, algorithm_class, check_algorithm, import_own, nearest
from coagent_rl.streams import LARGEST_SEED
from coagent_rl.training.reading import yaml_from

RUN_KEYS = {"n_timesteps", "n_episodes", "normalize", "env_wrapper"}
"""Keys that say how to train; all others are constructor arguments of the algorithm."""

PACKAGES = {
    r"ALE/|\w+(NoFrameskip|Deterministic)-v\d": "ale-py",
    r"(MiniGrid|BabyAI)-": "minigrid",
    r"(Fetch|HandReach|HandManipulate|AdroitHand|FrankaKitchen|PointMaze|AntMaze)": "gymnasium-robotics",
    r"(highway|merge|roundabout|parking|intersection|racetrack)(-\w+)*-v\d": "highway-env",
}
"""Environments that other packages register when they are imported: how their ids begin → package."""

TRUSTED = ("gymnasium", "stable_baselines3", "coagent_rl")
"""Packages from which a run's own files may name classes and environments."""

EXAMPLES = (
    "Write for example gamma:0.9, critic:td, actor_learning_rate:[1e-2,1e-3] or 'policy_kwargs:dict(net_arch=[64,32])'."
)
"""How pairs of a key and a value are written, for error messages."""

DEFAULT = {"n_timesteps": 100_000}
"""Settings for every environment of an algorithm without a file: all arguments have their defaults."""


def check_imports(
    algorithm: str, env: str, all_settings: Sequence[Mapping[str, Any]], source: object, named: Sequence[str | None] = ()
) -> None:
    """Check what a run's own files would import: importing a module runs it, so a file of unknown origin must not.

    Args:
        all_settings: every variant's.
        source: the file or folder, for messages.
        named: names that the user wrote on the command line, who may.

    Raises:
        ValueError: for an algorithm, an environment or a wrapper of a package that is not in `TRUSTED`.
    """
    found = {"algo": [algorithm] if ":" in algorithm else [], "env": [env] if ":" in env else [], "env_wrapper": []}
    for settings in all_settings:
        wrappers = settings.get("env_wrapper") or []
        for wrapper in wrappers if isinstance(wrappers, list) else [wrappers]:
            found["env_wrapper"] += map(str, wrapper) if isinstance(wrapper, dict) else [str(wrapper)]
    for key, names in found.items():
        for name in names:
            if re.split(r"[.:]", name)[0] not in TRUSTED and name not in named:
                raise ValueError(
                    f"{source} names the {key} {name!r}, whose import may run any code: only {', '.join(TRUSTED)} are "
                    f"imported unless --trust is given. Give it if you know where the file comes from."
                )


def trust_flag(algorithm: str, env: str, all_settings: Sequence[Mapping[str, Any]]) -> str:
    """What a command that is printed must end with, so that `check_imports` lets it read the files of the user's own run."""
    try:
        check_imports(algorithm, env, all_settings, "")
    except ValueError:
        return " --trust"
    return ""


def check_environment(env_id: str) -> str:
    """Return ``env_id`` if it is registered with Gymnasium; raise a ValueError that names the nearest ids otherwise.

    Of ``module:id`` the module, which registers the environment, is imported first, and the id alone returned.
    """
    import gymnasium as gym

    module, colon, env_id = env_id.rpartition(":")
    if colon:
        try:
            import_own(module)
        except ImportError as error:
            raise ValueError(
                f"The module {module!r}, which should register {env_id}, cannot be imported: {error}"
            ) from error
    if env_id in gym.registry:
        return env_id
    for pattern, package in PACKAGES.items():
        if re.match(pattern, env_id):
            module = package.replace("-", "_")
            missing = "" if find_spec(module) else f", which is not installed (pip install {package})"
            raise ValueError(
                f"Unknown environment {env_id!r}: it comes with the package {package}{missing}. Name it {module}:{env_id}."
            )
    own = "One of your own is module:id, where the module registers it; gymnasium.pprint_registry() lists all others."
    raise ValueError(f"Unknown environment {env_id!r}. {nearest(env_id, gym.registry, own)}")


def check_env_kwargs(env_id: str, env_kwargs: Mapping[str, Any]) -> None:
    """Raise a ValueError for arguments that the environment does not take, where its signature tells."""
    import inspect

    import gymnasium as gym
    from gymnasium.envs.registration import load_env_creator

    entry_point = gym.spec(env_id).entry_point
    if entry_point is None or not env_kwargs:
        return
    signature = inspect.signature(load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return
    known = {*signature.parameters, "max_episode_steps"}  # the last is an argument of gymnasium.make
    for key in env_kwargs:
        if key not in known:
            raise ValueError(f"{env_id} takes no argument {key!r}. {nearest(key, known)}")


def check_keys(settings: Mapping[str, Any], algorithm: str, source: str) -> None:
    """Raise a ValueError for keys that are neither run settings nor constructor arguments of ``algorithm``."""
    others = [key for key in settings if key not in RUN_KEYS]
    known = RUN_KEYS | constructor_arguments(algorithm) if others else RUN_KEYS
    for key in others:
        if key in known:
            continue
        from coagent_rl.agents.signatures import policy_arguments

        if key in policy_arguments(algorithm_class(algorithm)):
            how = f"policy_kwargs: {{{key}: {settings[key]!r}}}"
            if source == "-params":
                how = f'"policy_kwargs:dict({key}={settings[key]!r})", in the place of all policy_kwargs of the settings'
            raise ValueError(f"{key!r} in {source} belongs in the policy_kwargs of {algorithm}: write {how}.")
        raise ValueError(f"Unknown key {key!r} in {source} for {algorithm}. {nearest(str(key), known)}")
    if settings.get("n_timesteps") is not None and settings.get("n_episodes") is not None:
        raise ValueError(f"{source} gives both n_timesteps and n_episodes for {algorithm}; give one.")
    for key in ("n_timesteps", "n_episodes"):
        value = settings.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{key} in {source} must be a whole number from 1, not {value!r}.")
    normalize = settings.get("normalize", False)
    if not isinstance(normalize, (bool, dict)):
        raise ValueError(f"normalize in {source} must be true, false or a mapping, not {normalize!r}.")
    if isinstance(normalize, dict):
        known = normaliser_arguments()
        for key in normalize:
            if key not in known:
                raise ValueError(f"Unknown key {key!r} of normalize in {source}. {nearest(str(key), known)}")


def normaliser_arguments() -> set[str]:
    """Names of the arguments of `VecNormalize`."""
    import inspect

    from stable_baselines3.common.vec_env import VecNormalize

    return set(inspect.signature(VecNormalize).parameters) - {"venv"}


def constructor_arguments(algorithm: str) -> set[str]:
    """Names of the arguments that the algorithm's class takes, without those that a run sets itself."""
    import inspect

    names = set(inspect.signature(algorithm_class(algorithm)).parameters)
    return names - {"policy", "env", "seed", "verbose", "tensorboard_log", "device", "_init_setup_model"}


def load_hyperparameters(algorithm: str, env_id: str, file: str | None = None) -> dict[str, Any]:
    """Read the settings for an environment, or those under ``default`` where it has none of its own.

    Args:
        file: a YAML file instead of the package's own. An algorithm without one is trained with its own defaults.

    Raises:
        ValueError: for a file that cannot be read, is not a mapping, has neither the environment nor a default, or has
            unknown keys.
    """
    table, source = _read_table(algorithm, file)
    if env_id not in table and "default" not in table:
        raise ValueError(f"{source} has settings neither for {env_id} nor for 'default'. {nearest(env_id, table)}")
    settings: dict[str, Any] = dict(table[env_id if env_id in table else "default"])
    check_keys(settings, algorithm, f"{source} ({env_id if env_id in table else 'default'})")
    return settings


def has_settings(algorithm: str, env_id: str) -> bool:
    """Whether the package's own file has settings for this very environment."""
    return env_id in _read_table(algorithm, None)[0]


def shipped_environments(algorithm: str) -> list[str]:
    """Environments for which the package's own file has settings, in its order."""
    return [env_id for env_id in _read_table(algorithm, None)[0] if env_id != "default"]


def shipped_settings(kind: type[Any], env_id: str) -> dict[str, Any]:
    """Settings that the package ships for an agent's class, or the nearest of its parents, on this very environment.

    Raises:
        ValueError: where there are none; it lists those that there are.
    """
    names = {target: name for name, target in ALGORITHMS.items()}
    targets = [f"{parent.__module__}:{parent.__qualname__}" for parent in kind.__mro__]
    algorithm = next((names[target] for target in targets if target in names), None)
    shipped = [] if algorithm is None else shipped_environments(algorithm)
    if algorithm is None or env_id not in shipped:
        there = f"There are some for {', '.join(shipped)}." if shipped else "There are none for any."
        raise ValueError(f"No settings of {kind.__name__} are shipped for the environment {env_id!r}. {there}")
    return load_hyperparameters(algorithm, env_id)


def _read_table(algorithm: str, file: str | None) -> tuple[dict[str, dict[str, Any]], str]:
    source = file or f"{check_algorithm(algorithm)}.yml"
    try:
        if file is None:
            shipped = resources.files(__package__).joinpath(source)
            if not shipped.is_file():
                return {"default": dict(DEFAULT)}, f"the defaults of {algorithm}"
            text = shipped.read_text(encoding="utf-8")
        else:
            with open(file, encoding="utf-8") as handle:
                text = handle.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The hyperparameters in {source} cannot be read: {error}") from error
    table = _with_numbers(yaml_from(text, source))
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise ValueError(f"{source} must map environment ids to settings.")
    return table, source


def _with_numbers(value: Any) -> Any:
    """Read ``1e-3`` as the number it is, in which YAML 1.1 wants a dot."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
        return float(value)
    return value


def override(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with some replaced.

    A new length of training replaces the other kind of length too, and a new ``learning_rate``, which is that of all
    networks, the networks' own.
    """
    kept = {key: value for key, value in settings.items() if "learning_rate" not in changes or "learning_rate" not in key}
    result = {**kept, **changes}
    for given, other in (("n_timesteps", "n_episodes"), ("n_episodes", "n_timesteps")):
        if given in changes and other not in changes:
            result.pop(other, None)
    if result.get("n_timesteps") is None and result.get("n_episodes") is None:
        raise ValueError("The settings say neither n_timesteps nor n_episodes: give the length of training.")
    return result


def parse_seeds(text: str) -> list[int]:
    """Read seeds such as ``0-9`` or ``0,3,5-7``, in the order given.

    Raises:
        ValueError: for anything else, for a seed that is there twice, and for one above `LARGEST_SEED`.

    Example:
        >>> parse_seeds("0,3,5-7")
        [0, 3, 5, 6, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not found or (found[2] is not None and int(found[2]) < int(found[1])):
            raise ValueError(f"Seeds are written 0-9 or 0,3,5-7, whole numbers from 0 on; {part!r} in {text!r} is not.")
        if any(number is not None and (len(number) > 10 or int(number) > LARGEST_SEED) for number in found.groups()):
            raise ValueError(f"Seeds are whole numbers from 0 to {LARGEST_SEED}; {part!r} in {text!r} goes beyond.")
        seeds.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise ValueError(f"Seeds must differ, but {text!r} names {', '.join(map(str, twice))} more than once.")
    return seeds


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``key:value`` words; values are Python literals (never evaluated), and plain words are strings.

    Raises:
        ValueError: for a word that is none, a value that cannot be read, and a key that is there twice.

    Example:
        >>> parse_pairs(["gamma:0.9", "truncation:bootstrap", "policy_kwargs:dict(net_arch=[8])"])
        {'gamma': 0.9, 'truncation': 'bootstrap', 'policy_kwargs': {'net_arch': [8]}}
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        key, colon, value = pair.partition(":")
        if not colon or not key:
            raise ValueError(f"Expected key:value, not {pair!r}. {EXAMPLES}")
        try:
            read = _literal(value)
        except ValueError:
            raise ValueError(
                f"The value of {key!r}, {value!r}, is neither a Python literal nor a plain word. {EXAMPLES}"
            ) from None
        if key in result:
            raise ValueError(f"{key!r} is there twice, as {result[key]!r} and as {read!r}; give one.")
        result[key] = read
    return result


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return _from_node(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):  # the last two of one nested too deeply
        if text.replace("_", "").replace("-", "").replace(".", "").replace("/", "").isalnum():
            return text
        raise ValueError from None


def _from_node(node: ast.expr) -> Any:
    # dict(key=value) is how policy_kwargs are written everywhere, so it is read as the literal that it stands for.
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("** is not a literal")
        return {keyword.arg: _from_node(keyword.value) for keyword in node.keywords}
    return ast.literal_eval(node)
