"""The next call to make, written out for a model."""

from __future__ import annotations

import json
import shlex

from .root import display

__all__ = ["quoted", "shell_word", "shown", "tool_call"]


def quoted(value: str) -> str:
    """``value`` as a JSON string, which is also a Python one. Undecodable bytes are written as ``display`` shows
    them: no model can send them, and ``naming.resolve_shown`` takes that for the name."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        value = display(value)
    return json.dumps(value, ensure_ascii=display(value) != value)


def shown(path: str) -> str:
    """A path a model can repeat in its next call: plain, or as a JSON string where it is not printable."""
    return path if display(path) == path else quoted(path)


def shell_word(path: str) -> str:
    """A path as one word of a shell command; never taken for an option."""
    return shlex.quote("./" + path if path.startswith("-") else path)


def tool_call(tool: str, **arguments: object) -> str:
    """``read_file(absolute_path="a.py", offset=2000)``."""
    written = (
        "%s=%s" % (name, quoted(value) if isinstance(value, str) else repr(value)) for name, value in arguments.items()
    )
    return "%s(%s)" % (tool, ", ".join(written))
