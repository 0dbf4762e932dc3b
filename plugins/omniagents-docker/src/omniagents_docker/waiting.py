"""An interpreter that waits for its program: started early, so that the guest need not wait for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from omniagents.connection import ByteStream
from omniagents.guest import loader

__all__ = ["command", "give_program", "load_guest"]

# Reads exactly its own bytes, program after program. What it imports is what the guest imports first. Python 3.8+.
_PROGRAM: Final = """\
import os,sys
if sys.version_info<(3,8):
 sys.stderr.write("omniagents: Python 3.8 or newer is needed, this is "+sys.version.split()[0]+"\\n");sys.exit(78)
import base64,collections,contextlib,importlib.machinery,json,queue,selectors,signal,subprocess,threading,zlib
def read(n):
 got=b""
 while len(got)<n:
  piece=os.read(0,n-len(got))
  if not piece:sys.exit(0)
  got+=piece
 return got
while True:
 program,*arguments=json.loads(read(int(read(8))).decode())
 sys.argv=["-c"]+arguments
 exec(compile(program,"<string>","exec"),{"__name__":"__main__"})
"""

# The loader as far as it only reads and imports. The loader itself then finds the guest's modules imported already.
_LOAD: Final = loader.PROGRAM.rpartition("\nmain(")[0] + "\n"


def command(python: Sequence[str]) -> list[str]:
    """The argv of a waiting interpreter."""
    return [*python, "-I", "-S", "-c", _PROGRAM]


def give_program(stream: ByteStream, argv: Sequence[str]) -> None:
    """Let it run what ``argv``, an interpreter's with ``-c``, would run."""
    _give(stream, list(argv[list(argv).index("-c") + 1 :]))


def load_guest(stream: ByteStream) -> None:
    """Let it import the guest, and wait again."""
    _give(stream, [_LOAD, "raw"])
    stream.write(loader.bundle())


def _give(stream: ByteStream, program: Sequence[str]) -> None:
    data = json.dumps(program).encode()
    stream.write(b"%8d" % len(data) + data)
