"""A recorded episode: the environment's picture, the network beside it and the return growing, as a GIF or an mp4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from coagent_rl.analysis.episode import Episode
from coagent_rl.analysis.names import layer_names
from coagent_rl.analysis.network_drawing import colour_of, draw_network
from coagent_rl.analysis.style import CHOSEN, EXCITES, GREY, INHIBITS, INK, applied
from coagent_rl.files import write_whole

SUFFIXES = (".gif", ".mp4")
MOST_FRAMES_PER_SECOND = 25
"""Steps are left out above this: GIFs are not played faster, and half the frames are half the file."""
N_COLOURS = 256
_SIZE, _DPI = (7.6, 3.9), 120
_FINE = 4  # dots are drawn so many times larger and reduced, which smooths their edges


def check_suffix(path: str) -> None:
    """Raise a ValueError for a file that is no recording, an ImportError for an mp4 without the package that writes it."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"--record takes a .gif or an .mp4 file, not {path!r}.")
    if suffix == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "--record FILE.mp4 needs the package imageio-ffmpeg, which is not installed: pip install "
                "'coagent-rl[video]'. A .gif needs nothing more."
            ) from error


def record(path: Path, episode: Episode, frames_per_second: float) -> None:
    """Write an episode as a film.

    Args:
        path: ends in ``.gif`` or ``.mp4``.
        frames_per_second: of the environment, one step each.

    Raises:
        ValueError: for another suffix, or an episode without pictures.
        ImportError: for an mp4 without imageio-ffmpeg.
    """
    check_suffix(str(path))
    if len(episode.frames) != episode.n_steps:
        raise ValueError(f"{episode.env_id} cannot be drawn as an image, so it cannot be recorded.")
    every = max(1, int(np.ceil(frames_per_second / MOST_FRAMES_PER_SECOND)))
    shown = sorted({*range(0, episode.n_steps, every), episode.n_steps - 1})
    film = Film(episode)
    rate = frames_per_second / every
    if path.suffix == ".mp4":
        write_whole(path, lambda beside: _write_mp4(beside, (film.image(step) for step in shown), rate))
        return
    # One palette for all frames: what does not change between two of them is then left out of the file.
    sample = [film.image(step) for step in np.unique(np.linspace(0, len(shown) - 1, 8).astype(int).clip(0)).tolist()]
    montage = Image.new("RGB", (sample[0].width, (sample[0].height + 100) * len(sample)))
    for number, image in enumerate(sample):
        montage.paste(image, (0, number * image.height))
    # Small things matter most: the colours of units, and what moves in the environment's picture.
    below, width = sample[0].height * len(sample), sample[0].width // 8
    for number, colour in enumerate((CHOSEN, EXCITES, INHIBITS, INK)):
        montage.paste(_rgb(colour), (number * width, below, (number + 1) * width, montage.height))
    for number, rare in enumerate(_rare_colours(episode.frames[0])):
        montage.paste(rare, (montage.width // 2, below + 20 * number, montage.width, below + 20 * number + 20))
    palette = montage.quantize(N_COLOURS, dither=Image.Dither.NONE)
    images = [film.image(step).quantize(palette=palette, dither=Image.Dither.NONE) for step in shown]
    durations = [round(1000 / rate)] * (len(images) - 1) + [1500]
    write_whole(
        path,
        lambda beside: images[0].save(beside, save_all=True, append_images=images[1:], duration=durations, loop=0),
    )


def _rare_colours(frame: np.ndarray, n: int = 12) -> list[tuple[int, int, int]]:
    """The most saturated colours of a picture that are not single pixels, most first."""
    colours, counts = np.unique(frame.reshape(-1, 3), axis=0, return_counts=True)
    colours = colours[counts > 8].astype(int)
    order = np.argsort(-np.ptp(colours, axis=1), kind="stable")
    return [(int(r), int(g), int(b)) for r, g, b in colours[order[:n]]]


def _write_mp4(path: Path, images: Iterator[Image.Image], rate: float) -> None:
    import imageio_ffmpeg

    first = next(images)
    writer: Any = imageio_ffmpeg.write_frames(str(path), first.size, fps=rate, macro_block_size=2)
    writer.send(None)
    writer.send(first.tobytes())
    for image in images:
        writer.send(image.tobytes())
    writer.close()


class Film:
    """The frames of an episode: what stays is drawn once, what changes for every step.

    Args:
        episode: with pictures.
    """

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        with applied():
            self.figure = Figure(figsize=_SIZE, dpi=_DPI)
            self.canvas = FigureCanvasAgg(self.figure)
            self.left = self.figure.add_axes((0.01, 0.33, 0.49, 0.60))
            self.right = self.figure.add_axes((0.52, 0.03, 0.47, 0.97))
            curve = self.figure.add_axes((0.075, 0.115, 0.42, 0.15))
            self.left.axis("off")
            self.places = draw_network(self.right, episode.network, episode.env_id)
            for place, name in zip(self.places, layer_names(episode.network), strict=True):
                x = float(place[:, 0].mean())
                self.right.text(x, 1.04, name.replace("hidden ", ""), ha="center", fontsize=7.5, color=GREY)
            curve.set_xlim(0, max(episode.n_steps, 2))
            returns = np.concatenate([[0.0], episode.returns])
            room = 0.08 * max(float(np.ptp(returns)), 1e-3)
            curve.set_ylim(returns.min() - room, returns.max() + room)
            curve.set_xlabel("time step", fontsize=8, labelpad=1)
            curve.tick_params(labelsize=7)
            curve.locator_params(axis="y", nbins=3)
            self.background = self._drawn()
            (line,) = curve.plot(range(len(returns)), returns, color=EXCITES, linewidth=1.6)
            self.with_curve = self._drawn()
            line.remove()
            box = curve.get_window_extent()
            self.curve = (int(box.x0), int(_SIZE[1] * _DPI - box.y1), int(np.ceil(box.x1)), int(_SIZE[1] * _DPI - box.y0))
            xs = curve.transData.transform(np.stack([np.arange(len(returns)), returns], axis=1))
            self.until = xs[:, 0]
            self.pixels = [_pixels(self.right, place) for place in self.places]
        self.largest = [max(float(np.abs(one).max()), 1e-9) for one in episode.values]
        self.radius = [_radius(place) for place in self.pixels]

    def _drawn(self) -> Image.Image:
        self.canvas.draw()
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3].copy())

    def image(self, step: int) -> Image.Image:
        """The film's picture of a step, RGB."""
        episode, picture = self.episode, self.background.copy()
        x0, y0, _, y1 = self.curve
        until = int(self.until[step + 1]) + 1
        strip = (x0, y0, max(until, x0 + 1), y1)
        picture.paste(self.with_curve.crop(strip), strip[:2])
        frame = Image.fromarray(episode.frames[step])
        box = self.left.get_window_extent()
        scale = min(box.width / frame.width, box.height / frame.height)
        frame = frame.resize((int(frame.width * scale), int(frame.height * scale)), Image.Resampling.LANCZOS)
        top = int(_SIZE[1] * _DPI - box.y1 + (box.height - frame.height) / 2)
        picture.paste(frame, (int(box.x0 + (box.width - frame.width) / 2), top))
        draw = ImageDraw.Draw(picture)
        font = _font(14)
        draw.text((x0, y0 - 22), f"return {episode.returns[step]:.0f}", fill=_rgb(INK), font=font)
        for index, (values, place) in enumerate(zip(episode.values, self.pixels, strict=True)):
            is_output = index == len(self.pixels) - 1
            for unit, (x, y) in enumerate(place):
                fill = _rgb(colour_of(float(values[step, unit]), self.largest[index], bool((values < 0).any())))
                if is_output and episode.chosen[step] >= 0:
                    fill = _rgb(CHOSEN) if unit == episode.chosen[step] else (255, 255, 255)
                _dot(picture, float(x), float(y), self.radius[index], fill)
        return picture


def _rgb(colour: Any) -> tuple[int, int, int]:
    return tuple(round(255 * part) for part in to_rgb(colour))  # type: ignore[return-value]


def _font(size: int) -> Any:
    from matplotlib.font_manager import findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont("DejaVu Sans"), size)


def _pixels(axes: Axes, places: np.ndarray) -> np.ndarray:
    pixels = axes.transData.transform(places)
    return np.stack([pixels[:, 0], _SIZE[1] * _DPI - pixels[:, 1]], axis=1)


def _radius(pixels: np.ndarray) -> float:
    if len(pixels) < 2:
        return 7.0
    distances = np.linalg.norm(pixels[:, None] - pixels[None], axis=2)
    return float(min(0.4 * distances[distances > 0].min(), 7.0))


def _dot(picture: Image.Image, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
    size = int(np.ceil(radius)) + 1
    mask = Image.new("L", (2 * size * _FINE,) * 2)
    inner = Image.new("L", mask.size)
    centre = size * _FINE
    for image, r in ((mask, radius), (inner, radius - 0.8)):
        ends = (centre - r * _FINE, centre - r * _FINE, centre + r * _FINE, centre + r * _FINE)
        ImageDraw.Draw(image).ellipse(ends, fill=255)
    for image, colour in ((mask, (110, 110, 110)), (inner, fill)):
        small = image.resize((2 * size,) * 2, Image.Resampling.BOX)
        picture.paste(Image.new("RGB", small.size, colour), (round(x) - size, round(y) - size), small)
