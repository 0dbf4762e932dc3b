"""Starting a service that outlives this process."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["Daemon"]


class Daemon(subprocess.Popen[bytes]):
    """A program in a session of its own, printing to the end of a log."""

    def __init__(self, command: list[str], log: Path) -> None:
        with log.open("ab") as output:
            super().__init__(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def __del__(self) -> None:
        """Nothing to do: a Popen warns, at the end of this process, that its program is still running."""
