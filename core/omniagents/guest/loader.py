"""Host side of the guest's delivery: the command that starts it and the bytes it reads first.

The command is ``python3 -I -S -X utf8 -c PROGRAM carrier nonce``. ``-I`` and ``-S`` keep planted
``PYTHON*`` variables, ``sitecustomize`` and modules in the working directory out; ``-X utf8`` makes
names and commands the same bytes as on the host, whatever the environment's locale. The program
reads a length, a newline and that many bytes (the guest's sources, compressed), and imports
the server from memory. What it imports at its start comes compiled as well, for an environment that
has the host's own version of Python: compiling takes 10 ms.
"""

from __future__ import annotations

import base64
import functools
import marshal
import zlib
from importlib import resources
from importlib.util import MAGIC_NUMBER
from typing import Any, List, Mapping

__all__ = ["FIRST_MODULES", "PROGRAM", "bundle", "command"]

# Reads exactly its own bytes, so that the frames behind them stay in the pipe. Python 3.8+.
PROGRAM = """\
import os,sys
if sys.version_info<(3,8):
 sys.stderr.write("omniagents: Python 3.8 or newer is needed, this is "+sys.version.split()[0]+"\\n");sys.exit(78)
import base64,marshal,zlib
from importlib import _bootstrap_external
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
magic,codes,packed=marshal.loads(base64.b64decode(data) if sys.argv[1]=="text" else data)
codes=marshal.loads(zlib.decompress(codes)) if magic==_bootstrap_external.MAGIC_NUMBER else {}
sources={}
def source(name):
 if not sources:sources.update(marshal.loads(zlib.decompress(packed)))
 return sources.get(name)
class Importer:
 @staticmethod
 def find_spec(name,path=None,target=None):
  if name in codes or name.partition(".")[0]=="omniagents_guest" and source(name) is not None:
   return ModuleSpec(name,Importer,is_package=name=="omniagents_guest")
 @staticmethod
 def create_module(spec):return None
 @staticmethod
 def exec_module(module):
  name=module.__name__
  exec(codes.get(name) or compile(source(name),"<"+name+">","exec"),module.__dict__)
sys.meta_path.insert(0,Importer)
from omniagents_guest.keeper import fork_guest
fork_guest()
from omniagents_guest.server import main
main(sys.argv[1]=="text",sys.argv[2])
"""

_HOST_ONLY = {"loader.py"}
_PACKAGE = "omniagents_guest"
# Format 4 of marshal is what every Python from 3.4 on reads.
_MARSHAL_VERSION = 4

#: What the guest imports until it has answered the first request of ``Backend.start``.
FIRST_MODULES = (
    "channel", "context", "failure", "files", "job", "keeper", "kernel", "launch", "naming", "operations", "process",
    "protocol", "removal", "root", "server", "spool", "storing", "workers",
)  # fmt: skip


def command(python: List[str], text: bool, nonce: str) -> List[str]:
    """The argv that starts a guest; ``python`` is the interpreter, ``nonce`` comes back in the preamble."""
    return [*python, "-I", "-S", "-X", "utf8", "-c", PROGRAM, "text" if text else "raw", nonce]


@functools.lru_cache(maxsize=2)
def bundle(text: bool = False) -> bytes:
    """What the program reads first: length, newline, sources. A channel of text is slow: it gets nothing compiled."""
    sources = {_PACKAGE: ""}
    for entry in resources.files(__package__).iterdir():
        if entry.name.endswith(".py") and entry.name not in _HOST_ONLY and entry.name != "__init__.py":
            sources[f"{_PACKAGE}.{entry.name[:-3]}"] = entry.read_text("utf-8")
    names = () if text else (_PACKAGE, *(f"{_PACKAGE}.{name}" for name in FIRST_MODULES))
    codes = {name: compile(sources[name], f"<{name}>", "exec", dont_inherit=True) for name in names}
    packed = (MAGIC_NUMBER, _packed(codes), _packed(sources))
    data = marshal.dumps(packed, _MARSHAL_VERSION)
    if text:
        data = base64.b64encode(data) + b"\n"
    return b"%d\n%s" % (len(data), data)


def _packed(values: Mapping[str, Any]) -> bytes:
    return zlib.compress(marshal.dumps(dict(values), _MARSHAL_VERSION))
