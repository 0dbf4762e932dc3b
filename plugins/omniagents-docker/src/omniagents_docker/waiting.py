"""An interpreter that waits for its program: started early, so that the guest need not wait for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from omniagents.connection import ByteStream
from omniagents.guest import loader

__all__ = ["command", "load_guest", "start_guest"]

# Reads exactly its own bytes, program after program. What it imports is what the guest imports first. Python 3.8+.
_PROGRAM: Final = """\
import os,sys
if sys.version_info<(3,8):
 sys.stderr.write("omniagents: Python 3.8 or newer is needed, this is "+sys.version.split()[0]+"\\n");sys.exit(78)
import base64,collections,contextlib,importlib.machinery,json,marshal,queue,selectors,signal,threading,zlib
def read(n):
 got=b""
 while len(got)<n:
  piece=os.read(0,n-len(got))
  if not piece:sys.exit(0)
  got+=piece
 return got
names={"__name__":"__main__"}
while True:
 program,*arguments=json.loads(read(int(read(8))).decode())
 sys.argv=["-c"]+arguments
 exec(compile(program,"<string>","exec"),names)
"""

# The loader in two steps: what reads and imports, and what answers.
_LOAD, _MAIN = (step + "\n" for step in loader.PROGRAM.rstrip().rsplit("\n", 1))


def command(python: Sequence[str]) -> list[str]:
    """The argv of a waiting interpreter."""
    return [*python, "-I", "-S", "-c", _PROGRAM]


def load_guest(stream: ByteStream) -> None:
    """Let it import the guest, and wait again."""
    # And what answers the first request of every start.
    _give(stream, [_LOAD + "import omniagents_guest.files\n", "raw"])
    stream.write(loader.bundle())
    stream.has_guest = True


def start_guest(stream: ByteStream, argv: Sequence[str]) -> None:
    """Let it run what ``argv``, ``loader.command``'s, would run."""
    program, *arguments = argv[list(argv).index("-c") + 1 :]
    _give(stream, [_MAIN if stream.has_guest else program, *arguments])


def _give(stream: ByteStream, program: Sequence[str]) -> None:
    data = json.dumps(program).encode()
    stream.write(b"%8d" % len(data) + data)
