"""One self-contained page that plays an episode with all its neurons: no server, no network access."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import coagent_rl
from coagent_rl.analysis.episode import Episode
from coagent_rl.analysis.names import ACTIONS, REFERENCE, kind_in_words, layer_names, names_of, unit_names, unit_places
from coagent_rl.files import write_whole

PICTURE_WIDTH, QUALITY = 480, 70


def write_page(path: Path, episode: Episode, title: str, about: str, frames_per_second: float) -> None:
    """Write the page.

    Args:
        path: of the ``.html`` file, written whole or not at all.
        title: of the page.
        about: a sentence below it.
        frames_per_second: of the environment, one step each, at which the episode is played.
    """
    data = page_data(episode, about, frames_per_second)
    parts = {name: (files("coagent_rl.analysis") / "page" / f"page.{name}").read_text("utf-8") for name in _PARTS}
    page = parts["html"]
    # "</" would end the element that the text is in. The data come last, so that nothing is looked for in them.
    embedded = {
        "title": escape(title),
        "footer": f"Written by coagent_rl {coagent_rl.__version__}. All numbers are what the model computed.",
        "style": parts["css"],
        "script": parts["js"],
        "data": json.dumps(data, ensure_ascii=False, allow_nan=False).replace("</", "<\\/"),
    }
    for name, text in embedded.items():
        page = page.replace("{{" + name + "}}", text.strip())
    write_whole(path, lambda beside: beside.write_text(page, encoding="utf-8"))


_PARTS = ("html", "css", "js")


def page_data(episode: Episode, about: str, frames_per_second: float) -> dict[str, Any]:
    """What the page shows: arrays are base64 of little-endian numbers, row by row, so that they are exact.

    Returns:
        What ``json.dumps`` takes. ``layers`` begins with the inputs; a layer's ``values``, ``means`` and ``traces`` are
        float32 of shape (T, n), its ``weights`` of shape (n_in, n_pre); ``returns``, ``rewards`` and ``estimates`` are
        float64 of shape (T,), ``actions`` of shape (T, number of names).
    """
    network = episode.network
    titles, names, places = layer_names(network), unit_names(network, episode.env_id), unit_places(network)
    layers = []
    for index, title in enumerate(titles):
        layer = network.layers[index - 1] if index else None
        layers.append(
            {
                "title": title,
                "names": names[index],
                "kind": layer.kind if layer else "input",
                "units": kind_in_words(layer.kind) if layer else "inputs",
                "x": places[index][:, 0].round(4).tolist(),
                "y": places[index][:, 1].round(4).tolist(),
                "values": _base64(episode.values[index], "<f4"),
                "means": _base64(episode.means[index], "<f4"),
                "traces": _base64(episode.traces[index], "<f4"),
                "weights": _base64(network.weights(index - 1), "<f4") if layer else None,
                "biases": _base64(network.biases(index - 1), "<f4") if layer else None,
            }
        )
    return {
        "about": about,
        "env": episode.env_id,
        "n_steps": episode.n_steps,
        "fps": frames_per_second,
        "decay": episode.decay,
        "averaged": episode.averaged,
        "reference": REFERENCE,
        "layers": layers,
        "chosen": episode.chosen.tolist(),
        "actions": _base64(episode.actions, "<f8"),
        "action_names": names_of(ACTIONS, episode.env_id, episode.actions.shape[1], "action"),
        "rewards": _base64(episode.rewards, "<f8"),
        "returns": _base64(episode.returns, "<f8"),
        "estimates": _base64(episode.estimates, "<f8"),
        "frames": [_picture(frame) for frame in episode.frames] if len(episode.frames) == episode.n_steps else [],
    }


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype).tobytes()).decode("ascii")


def _picture(frame: np.ndarray) -> str:
    image = Image.fromarray(frame)
    if image.width > PICTURE_WIDTH:
        image = image.resize((PICTURE_WIDTH, round(image.height * PICTURE_WIDTH / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
