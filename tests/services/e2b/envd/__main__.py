"""A sandbox's data plane, as envd serves it: run inside the sandbox by ``sandboxes.py``; standard library only.

Arguments: the Unix socket to listen on, and the sandbox's environment variables as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from tests.services.e2b.envd import files, processes, wire

HOME = "/home/user"


def main(socket: str, variables: str) -> None:
    """Serve until killed."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": HOME,
        "USER": "user",
        "LOGNAME": "user",
        **json.loads(variables),
    }
    os.umask(0o022)
    wire.serve(socket, [processes.Processes(environment, HOME), files.Files(HOME)])


if __name__ == "__main__":
    main(*sys.argv[1:])
