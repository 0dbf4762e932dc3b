"""The program ``omniagents``. It needs click and rich, which the extra ``cli`` brings; without them it says so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

__all__ = ["main"]

_NEEDED: Final = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; by default that of ``sys.argv``.

    Returns:
        The exit code: 0, or a command's own; 1 where Omniagents failed, 2 for wrong usage, 130 after Ctrl-C.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"omniagents: the command line needs {' and '.join(missing)}, which the extra 'cli' installs; "
            f"run: pip install {' '.join(missing)}",
            file=sys.stderr,
        )
        return 2
    from omniagents.cli.program import run

    return run(arguments)
