"""Text that a run's files bring, whoever wrote them: YAML and JSON, read with errors that name the file and the line."""

from __future__ import annotations

import json
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

MOST_VALUES, DEEPEST = 100_000, 100
"""What a YAML file may hold, with what its aliases stand for: a few lines of them can stand for as much as they like."""


class _Loader(yaml.SafeLoader):
    """A `SafeLoader` that says where values make no sense (``2020-99-99``, ``!!bool x``) and keys are there twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            other = first.setdefault((key.tag, key.value), value)
            if other is not value:
                what = f"{key.value!r} is there twice, as {_shown(other)} and as {_shown(value)}; give one"
                raise yaml.composer.ComposerError(None, None, what, key.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # constructors raise what the value made them raise
            value = repr(node.value)[:40] if isinstance(node, yaml.ScalarNode) else "this"
            what = f"{value} is no {node.tag.rpartition(':')[2]} ({error!r})"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error


def _shown(node: yaml.Node) -> str:
    start, end = node.start_mark, node.end_mark
    text = (start.buffer or "")[start.pointer : end.pointer]
    is_whole = not isinstance(node, yaml.CollectionNode) or node.flow_style  # a block's end mark is anywhere behind it
    return text if is_whole and len(text) <= 40 and "\n" not in text else f"what begins in line {start.line + 1}"


def yaml_from(text: str, source: object) -> Any:
    """Read YAML without objects.

    Args:
        source: the file, for messages.

    Raises:
        ValueError: naming source and line, if it is none, is nested deeper than `DEEPEST`, or names itself.
    """
    loader = None
    try:
        loader = _Loader(text)
        loader.name = str(source)
        value = loader.get_single_data()
    except RecursionError as error:
        line = "" if loader is None else f" in line {loader.line + 1}"
        raise ValueError(f"{source} cannot be read: it is nested too deeply{line}.") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{source} cannot be read: {error}") from error
    _check_extent(value, source)
    return value


def _check_extent(value: Any, source: object) -> None:
    waiting, n_values = [(value, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        n_values += 1
        if n_values > MOST_VALUES or depth > DEEPEST:
            what = f"deeper than {DEEPEST} levels" if depth > DEEPEST else f"more than {MOST_VALUES} values"
            raise ValueError(f"{source} cannot be read: it is {what}, with what its aliases stand for.")
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, (list, tuple, set)):
            waiting += [(part, depth + 1) for part in item]


def read_yaml(path: Path) -> Any:
    """Read a YAML file; the errors of `yaml_from`, also where it is not UTF-8 or cannot be opened."""
    return yaml_from(_text(path), path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: naming it, if it cannot be read.
    """
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


# ---------------------------------------------------------------------- what is in them


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_score(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_evaluation(value: object) -> bool:
    return isinstance(value, dict) and _is_score(value.get("mean_return"))


_SUMMARY: dict[str, tuple[Callable[[object], bool], str]] = {
    "interrupted": (lambda value: isinstance(value, bool), "true or false"),
    "episodes": (_is_count, "a whole number"),
    "timesteps": (lambda value: value is None or _is_count(value), "a whole number"),
    "seed": (lambda value: value is None or _is_count(value), "a whole number"),
    "mean_return_all_episodes": (lambda value: value is None or _is_score(value), "a number"),
    "mean_return_last_100": (lambda value: value is None or _is_score(value), "a number"),
    "final_evaluation": (lambda value: value is None or _is_evaluation(value), "a mapping with a mean_return"),
}
"""Keys of a summary that are read again → what they must be, where they are there."""


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Read a run's ``summary.json``; None where there is none, for the run has not ended.

    Raises:
        ValueError: if it is damaged. It says what came of the run, so nobody may guess what it said.
    """
    path = folder / "summary.json"
    if not path.is_file():
        return None
    summary = read_json(path)
    if not isinstance(summary, dict):
        raise ValueError(f"{path} does not hold the summary of a run, but {str(summary)[:40]!r}.")
    for key, (is_right, what) in _SUMMARY.items():
        if key in summary and not is_right(summary[key]):
            raise ValueError(f"{path} is damaged: {key} must be {what}, not {str(summary[key])[:40]!r}.")
    return summary
