"""How an attack is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

# System calls by number, so that an attack does not depend on what libc wraps.
_PRELUDE = """
import ctypes, errno, json, os, platform, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(x86_64, aarch64, *arguments):
    "The name of the errno, or 'worked'."
    number = x86_64 if platform.machine() == "x86_64" else aarch64
    answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return "worked" if answer >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(function, *arguments):
    "Likewise, for what Python wraps."
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "worked"
def tell(value):
    print(json.dumps(value))
"""


@pytest.fixture
def attack() -> Callable[..., Any]:
    """Run a Python program inside, and return what it tells."""

    def run(backend: Any, program: str, **options: Any) -> Any:
        result = backend.workspace.run([*backend.python, "-c", _PRELUDE + program], **options)
        assert result.exit_code == 0, result.stderr_text
        return json.loads(result.stdout)

    return run
