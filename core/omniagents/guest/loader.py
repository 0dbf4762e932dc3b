"""Host side of the guest's delivery: the command that starts it and the bytes it reads first.

The command is ``python3 -I -S -X utf8 -c PROGRAM carrier nonce``. ``-I`` and ``-S`` keep planted
``PYTHON*`` variables, ``sitecustomize`` and modules in the working directory out; ``-X utf8`` makes
names and commands the same bytes as on the host, whatever the environment's locale. The program
reads a length, a newline and that many bytes (the guest's sources, compressed), and imports
the server from memory.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from importlib import resources
from typing import List

__all__ = ["PROGRAM", "bundle", "command"]

# Reads exactly its own bytes, so that the frames behind them stay in the pipe. Python 3.8+.
PROGRAM = """\
import os,sys
if sys.version_info<(3,8):
 sys.stderr.write("omniagents: Python 3.8 or newer is needed, this is "+sys.version.split()[0]+"\\n");sys.exit(78)
import base64,json,zlib
from importlib.machinery import ModuleSpec
def read(n):
 got=b""
 while len(got)<n:
  piece=os.read(0,n-len(got))
  if not piece:sys.exit(0)
  got+=piece
 return got
digits=b""
while digits[-1:]!=b"\\n":digits+=read(1)
data=read(int(digits))
sources=json.loads(zlib.decompress(base64.b64decode(data) if sys.argv[1]=="text" else data).decode())
class Importer:
 @staticmethod
 def find_spec(name,path=None,target=None):
  if name in sources:return ModuleSpec(name,Importer,is_package=name=="omniagents_guest")
 @staticmethod
 def create_module(spec):return None
 @staticmethod
 def exec_module(module):exec(compile(sources[module.__name__],"<"+module.__name__+">","exec"),module.__dict__)
sys.meta_path.insert(0,Importer)
from omniagents_guest.keeper import fork_guest
fork_guest()
from omniagents_guest.server import main
main(sys.argv[1]=="text",sys.argv[2])
"""

_HOST_ONLY = {"loader.py"}


def command(python: List[str], text: bool, nonce: str) -> List[str]:
    """The argv that starts a guest; ``python`` is the interpreter, ``nonce`` comes back in the preamble."""
    return [*python, "-I", "-S", "-X", "utf8", "-c", PROGRAM, "text" if text else "raw", nonce]


@functools.lru_cache(maxsize=2)
def bundle(text: bool = False) -> bytes:
    """What the program reads first: length, newline, sources."""
    sources = {"omniagents_guest": ""}
    for entry in resources.files(__package__).iterdir():
        if entry.name.endswith(".py") and entry.name not in _HOST_ONLY and entry.name != "__init__.py":
            sources["omniagents_guest." + entry.name[:-3]] = entry.read_text("utf-8")
    data = zlib.compress(json.dumps(sources).encode())
    if text:
        data = base64.b64encode(data) + b"\n"
    return b"%d\n%s" % (len(data), data)
