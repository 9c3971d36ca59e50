"""Data sets of the paper, with its splits, and the digits that scikit-learn brings along."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VARIABLE = "COAGENT_DATA"
"""Environment variable that names the folder with ``mnist.npz`` and ``boston_house_prices.csv``."""

SPLITS = ("training", "validation", "test")


class Samples(NamedTuple):
    """Inputs, shape (n_samples, n_features), float32, and targets, shape (n_samples,): classes int64, values float32."""

    X: np.ndarray
    y: np.ndarray


class Data(NamedTuple):
    """The three parts of a data set."""

    training: Samples
    validation: Samples
    test: Samples


def load(name: str, download: bool = False) -> Data:
    """Load a data set, split as in the paper.

    - ``"digits"``: scikit-learn's 1797 images of 8 × 8 pixels, scaled to [-1, 1]; 1257 for training, 180 for validation, 360
      for testing, stratified. Not in the paper.
    - ``"mnist"``: pixels x/127.5 - 1; the 60 000 training images are split 50 000 / 10 000, stratified; 10 000 for testing.
    - ``"boston"``: 404 / 51 / 51 of the 506 Boston house prices, neither inputs nor target scaled. Only for reproducing the
      paper: scikit-learn withdrew the set because its column B was built on the assumption that the share of Black
      residents drives prices, and nobody should build on that. Use it for nothing else.

    MNIST and Boston are read from the folder that the environment variable ``COAGENT_DATA`` names.

    Args:
        name: of the data set.
        download: whether to fetch from OpenML, through scikit-learn and its cache, what the folder does not have. Nothing is
            downloaded without it.

    Raises:
        ValueError: for an unknown name, or a file that is not what it should be.
        FileNotFoundError: if the file is not there and nothing may be downloaded.
        ImportError: without scikit-learn, the extra ``supervised``.

    Source: Gupta et al. (2021), §3.4 and the official code.
    """
    if name not in _LOADERS:
        raise ValueError(f"Unknown data {name!r}; known are: {', '.join(_LOADERS)}.")
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError("Data sets need scikit-learn: pip install 'coagent-rl[supervised]'.") from error
    return _LOADERS[name](download)


def _digits(download: bool) -> Data:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    rest, test = _split(Samples((X / 8.0 - 1.0).astype(np.float32), y.astype(np.int64)), 360, 50, True)
    training, validation = _split(rest, 180, 50, True)
    return Data(training, validation, test)


def _mnist(download: bool) -> Data:
    path = _file("mnist.npz", download)
    if path is not None:
        try:
            with np.load(path) as file:
                parts = [file[name] for name in ("train_images", "train_labels", "test_images", "test_labels")]
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(
                f"{path} must hold train_images, train_labels, test_images and test_labels: {error}."
            ) from error
        images = np.concatenate([part.reshape(len(part), -1) for part in parts[::2]])
        labels = np.concatenate(parts[1::2])
        del parts  # memory is what limits here
    else:
        images, labels = _from_openml("mnist_784")
    if images.shape != (70_000, 784) or labels.shape != (70_000,):
        raise ValueError(f"MNIST must be 70 000 images of 784 pixels, not {images.shape} and {labels.shape}.")
    labels = labels.astype(np.int64)
    training, validation = _split(Samples(images[:60_000], labels[:60_000]), 10_000, 50, True)
    pixels = [training.X, validation.X, images[60_000:].copy()]
    targets = (training.y, validation.y, labels[60_000:])
    del images, training, validation
    return Data(*(Samples(_in_unit_range(pixels.pop(0)), y) for y in targets))


def _in_unit_range(pixels: np.ndarray) -> np.ndarray:
    """Pixels from 0 to 255 → [-1, 1], float32, without a second array of that size."""
    inputs = pixels.astype(np.float32)
    inputs /= np.float32(127.5)
    inputs -= np.float32(1.0)
    return inputs


def _boston(download: bool) -> Data:
    path = _file("boston_house_prices.csv", download)
    if path is not None:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[2:]  # the numbers of rows and columns, then the names
        try:
            table = np.array(rows, np.float64)
        except ValueError as error:
            raise ValueError(f"{path} must hold two lines of headings, then rows of 14 numbers: {error}.") from error
    else:
        X, y = _from_openml("boston")
        table = np.column_stack([X, y]).astype(np.float64)
    if table.shape != (506, 14):
        raise ValueError(f"Boston must be 506 rows of 13 features and the price, not {table.shape}.")
    samples = Samples(table[:, :-1].astype(np.float32), table[:, -1].astype(np.float32))
    training, rest = _split(samples, 102, 50, False)
    validation, test = _split(rest, 51, 84, False)
    return Data(training, validation, test)


_LOADERS: dict[str, Callable[[bool], Data]] = {"digits": _digits, "mnist": _mnist, "boston": _boston}
NAMES = tuple(_LOADERS)


def _split(samples: Samples, n_second: int, seed: int, stratified: bool) -> tuple[Samples, Samples]:
    from sklearn.model_selection import train_test_split

    classes = samples.y if stratified else None
    first, second, wanted_first, wanted_second = train_test_split(
        samples.X, samples.y, test_size=n_second, random_state=seed, stratify=classes
    )
    return Samples(first, wanted_first), Samples(second, wanted_second)


def _file(name: str, download: bool) -> Path | None:
    """Path of a file in the folder, or None where it is to be downloaded instead."""
    folder = os.environ.get(VARIABLE)
    if folder and (Path(folder) / name).is_file():
        return Path(folder) / name
    if download:
        return None
    where = f"there is no {name} in {folder}, which {VARIABLE} names" if folder else f"{VARIABLE} is not set"
    raise FileNotFoundError(
        f"{name} was not found: {where}. Put it into the folder that the environment variable {VARIABLE} names, or ask for "
        f"a download from OpenML with download=True."
    )


def _from_openml(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a data set of OpenML; nominal columns, which come as indices, become numbers."""
    from sklearn.datasets import fetch_openml

    bunch: Any = fetch_openml(name, version=1, as_frame=False, parser="liac-arff")
    inputs = np.array(bunch.data, np.float64)
    for column, values in (bunch.categories or {}).items():
        if column in bunch.feature_names:
            index = bunch.feature_names.index(column)
            inputs[:, index] = np.array(values, np.float64)[inputs[:, index].astype(int)]
    return inputs, np.asarray(bunch.target).astype(np.float64)
