"""What mkdocstrings is told about our docstrings."""

from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """``Example:`` begins a section of code, which Griffe knows by its plural only."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")
