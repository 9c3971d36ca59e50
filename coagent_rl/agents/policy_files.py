"""Files of a policy alone: as those of models, JSON and arrays that run no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch as th

from coagent_rl.agents.coding import Coder, NotPlainError
from coagent_rl.archive import array_bytes, array_from, json_bytes, json_from, names_in, read_archive, write_archive
from coagent_rl.files import write_whole

if TYPE_CHECKING:
    from coagent_rl.agents.policy import CoagentPolicy

Policy = TypeVar("Policy", bound="CoagentPolicy")
DATA = "data.json"
MEMBERS = r"data\.json|arrays/\d+\.npy|parameters/[\w.]+\.npy"


def save_policy(policy: CoagentPolicy, path: str | Path) -> None:
    """Write the arguments that a policy was made with, and its parameters, whole or not at all.

    Raises:
        ValueError: for arguments that are neither numbers, text, their containers nor spaces.
    """
    coder = Coder()
    try:
        arguments = coder.encode(policy._get_constructor_parameters())
    except NotPlainError as error:
        raise ValueError(f"The policy cannot be saved alone, because it was made with {error}: save the model.") from error
    members = {DATA: json_bytes(arguments)}
    members.update({f"arrays/{index}.npy": array_bytes(array) for index, array in enumerate(coder.arrays)})
    members.update({f"parameters/{name}.npy": array_bytes(value.numpy()) for name, value in policy.state_dict().items()})
    write_whole(Path(path), lambda beside: write_archive(beside, members, "policy"))


def load_policy(kind: type[Policy], path: str | Path) -> Policy:
    """Read what `save_policy` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, if it is damaged, pickled by an older version, or of another policy.
    """
    if any(name.endswith("data.pkl") for name in names_in(path)):
        raise ValueError(f"{path} was saved by an older version and is pickled: save the policy again from its model.")
    members = read_archive(path, "policy", MEMBERS)
    n_arrays = sum(name.startswith("arrays/") for name in members)
    try:
        arrays = [array_from(members[f"arrays/{index}.npy"], f"arrays/{index}.npy") for index in range(n_arrays)]
        arguments: dict[str, Any] = Coder(arrays).decode(json_from(members[DATA], DATA))
        state = {
            name.removeprefix("parameters/").removesuffix(".npy"): th.from_numpy(array_from(content, name))
            for name, content in members.items()
            if name.startswith("parameters/")
        }
        if not all(bool(np.isfinite(tensor.numpy()).all()) for tensor in state.values()):
            raise ValueError("its parameters are not all finite")
        policy = kind(**arguments)
        policy.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, IndexError, RuntimeError, MemoryError, OverflowError, ValueError) as error:
        raise ValueError(f"No policy can be made of {path}: {error}") from error
    return policy
