"""A policy elsewhere: traced by torch, exported to ONNX, or written to a file that NumPy alone reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from coagent_rl import exported
from coagent_rl.agents.acting import ActingPolicy
from coagent_rl.agents.normaliser import state_of_normaliser
from coagent_rl.agents.spaces import described_actions, described_observations
from coagent_rl.exported import LayerArrays, hash_of, hashed_noise, most_likely, most_likely_noise
from coagent_rl.files import write_whole


class PortablePolicy(ActingPolicy):
    """The part of `CoagentPolicy` that leaves this package; the arguments are explained there.

    Attributes:
        normaliser: of the observations that the agent learns from, which `export` takes along: the `VecNormalize` of the
            model's environment, its state (`state_of_normaliser`), or None.
    """

    action_maps: ClassVar[Mapping[type[spaces.Space[Any]], str]]
    """Space of actions → what `to_actions` makes of outputs, a ``map`` of `coagent_rl.exported.actions_of`."""
    normaliser: VecNormalize | Mapping[str, Any] | None
    _bounds: tuple[np.ndarray, np.ndarray] | None

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        if th.jit.is_tracing() or th.compiler.is_exporting():
            return self._torch_actions(observation, deterministic)
        return super()._predict(observation, deterministic)

    def forward(self, obs: Any, deterministic: bool = False) -> th.Tensor:
        """Actions for a batch of observations, as `_predict`; it can be traced by ``torch.jit`` and exported to ONNX.

        Raises:
            ValueError: where it is traced without ``deterministic``, or in a mode that is not repeatable.
        """
        return self._predict(obs, deterministic)

    def _action_map(self, what: str) -> str:
        """How outputs become actions; raises a ValueError where a subclass says so in code only."""
        kind = type(self)
        for method in ("encode", "to_actions", "_chosen"):
            maker = next(parent for parent in kind.__mro__ if method in vars(parent))
            if "action_maps" not in vars(maker):
                done = "observations into inputs" if method == "encode" else "outputs into actions"
                raise ValueError(f"{kind.__name__} turns {done} in a way of its own: it cannot be {what}.")
        return next(name for space, name in self.action_maps.items() if isinstance(self.action_space, space))

    # ------------------------------------------------------------------ in torch

    def _torch_layers(self) -> list[LayerArrays]:
        layers = []
        for layer, module in zip(self._layers(), self.actor_layers, strict=True):  # type: ignore[arg-type]
            learned = getattr(module, "log_deviation", None)
            layers.append(
                layer._replace(
                    weight=module.weight,
                    bias=module.bias,
                    deviation=float(layer.deviation) if learned is None else learned.exp(),
                    levels=th.as_tensor(layer.levels),
                    coupling=None if layer.coupling is None else th.as_tensor(layer.coupling),
                )
            )
        return layers

    def _torch_actions(self, observation: Any, deterministic: bool) -> th.Tensor:
        mode, repeatable = self.deterministic_mode, exported.REPEATABLE
        if not deterministic or mode not in repeatable:
            what = f"the deterministic_mode {mode!r}" if deterministic else "deterministic=False"
            raise ValueError(
                f"A trace records one function of the observation, but {what} draws anew in every call: trace "
                f"deterministic=True with one of the modes {', '.join(repeatable)}."
            )
        layers, last = self._torch_layers(), self.actor.depth - 1
        inputs = self._torch_inputs(observation)
        if mode == "marginal":
            bank, network = th.as_tensor(self.bank), self.actor
            means, _ = exported.forward(
                inputs[:, None, :],
                layers,
                lambda i: bank[:, network.slot(i).start :][:, : layers[i].n_noise] if i < last else None,
                th,
            )
            return self._torch_map(most_likely(means.mean(1), layers[-1], th))
        key = hash_of(inputs, th) if mode == "hashed" else None
        probability = self.exploration_probability

        def noise(i: int) -> th.Tensor | None:
            if key is not None:
                return hashed_noise(key, i, layers[i], probability if i < last else 1.0, th)
            if mode == "mean" or i == last:
                return None
            return th.full((1, layers[i].n_noise), most_likely_noise(layers[i]))

        return self._torch_map(exported.forward(inputs, layers, noise, th)[1])

    def _torch_inputs(self, observation: Any) -> th.Tensor:
        inputs = [
            exported.inputs_of(observation if part["key"] is None else observation[part["key"]], part, th)
            for part in described_observations(self.observation_space)
        ]
        return inputs[0] if len(inputs) == 1 else th.cat(inputs, -1)

    def _torch_map(self, outputs: th.Tensor) -> th.Tensor:
        action = described_actions(self.action_space, self._action_map("traced"))
        low, high = (None, None) if self._bounds is None else map(th.as_tensor, self._bounds)
        return exported.actions_of(outputs, action, low, high, th)

    # ------------------------------------------------------------------ export

    def export(self, path: str | os.PathLike[str], normalizer: VecNormalize | None = None) -> None:
        """Write all that acting needs to one ``.npz``, which `coagent_rl.exported.ExportedAgent` reads with NumPy alone.

        An agent that learned from normalised observations is exported with their statistics, and takes observations as the
        environment gives them.

        Args:
            path: of the file; ``.npz`` is added where it is missing.
            normalizer: other statistics than those of the model's own environment.

        Raises:
            ValueError: if parameters are not finite, for a subclass that encodes observations or maps outputs in code of its
                own, or a normaliser of other observations.
        """
        actor = self.actor
        arrays: dict[str, np.ndarray] = {}
        action = described_actions(self.action_space, self._action_map("exported"))
        if not np.isfinite(actor.parameters).all():
            raise ValueError("The actor's parameters are not all finite: it has diverged, and is not exported.")
        parts = described_observations(self.observation_space)
        given = self.normaliser if normalizer is None else normalizer
        state = state_of_normaliser(given) if isinstance(given, VecNormalize) else given
        if state is not None and state["norm_obs"]:
            arrays.update(self._normalised(parts, state))
        if self._bounds is not None:
            arrays.update(low=self._bounds[0], high=self._bounds[1])
        description = {
            "format": exported.FORMAT,
            "n_inputs": actor.n_inputs,
            "layers": [asdict(layer) for layer in actor.layers],
            "mode": self.deterministic_mode,
            "exploration_probability": float(self.exploration_probability),
            "observation": parts,
            "action": action,
        }
        starts = [actor.slot(index).start for index in range(actor.depth)]
        columns = np.concatenate(
            [first + np.arange(layer.n_noise) for first, layer in zip(starts, actor.layers, strict=True)]
        )
        arrays.update(parameters=actor.parameters, bank=self.bank[:, columns], description=np.array(json.dumps(description)))
        target = Path(path)
        if target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        write_whole(target, lambda beside: np.savez(beside, **arrays))  # type: ignore[arg-type]

    def _normalised(self, parts: list[dict[str, Any]], state: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Statistics of a normaliser as arrays of the file; what is done with them is written into the parts."""
        found: Any = state["obs_rms"]
        arrays: dict[str, np.ndarray] = {}
        by_key = found if state["norm_obs_keys"] is not None else {None: found}
        shapes = {part["key"]: tuple(part["shape"]) for part in parts if not part["sizes"]}
        wrong = {key: np.shape(moments["mean"]) for key, moments in by_key.items()}
        if not wrong.items() <= shapes.items():
            raise ValueError(f"The normaliser is of {wrong or None}, the policy of {self.observation_space}.")
        for index, part in enumerate(parts):
            if part["key"] in by_key:
                moments = by_key[part["key"]]
                arrays.update({f"mean_{index}": moments["mean"], f"variance_{index}": moments["var"]})
                part.update(epsilon=float(state["epsilon"]), clip=float(state["clip_obs"]))
        return arrays
