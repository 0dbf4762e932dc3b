"""Host side of the guest's delivery: the command that starts it and the bytes it reads first.

The command is ``python3 -I -S -c PROGRAM carrier nonce``. ``-I`` and ``-S`` keep planted
``PYTHON*`` variables, ``sitecustomize`` and modules in the working directory out. The program
reads a line (what Python the code is for, and two lengths), that much compiled code and that many
sources, both compressed, and imports the server from memory. Code is sent to the very Python that
runs the host: not compiling anything halves the time a guest needs to start.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import json
import marshal
import zlib
from importlib import resources
from importlib.abc import InspectLoader
from typing import Dict, List, cast

__all__ = ["PROGRAM", "bundle", "command"]

# Reads exactly its own bytes, so that the frames behind them stay in the pipe. Python 3.8+.
PROGRAM = """\
import os,sys
if sys.version_info<(3,8):
 sys.stderr.write("omniagents: Python 3.8 or newer is needed, this is "+sys.version.split()[0]+"\\n");sys.exit(78)
import binascii,json,marshal,zlib
from importlib.machinery import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER
def read(n):
 got=b""
 while len(got)<n:
  piece=os.read(0,n-len(got))
  if not piece:sys.exit(0)
  got+=piece
 return got
line=b""
while line[-1:]!=b"\\n":line+=read(1)
magic,*sizes=line.decode().split()
blobs=[read(int(size)) for size in sizes]
if sys.argv[1]=="text":blobs=[binascii.a2b_base64(blob) for blob in blobs]
if magic==MAGIC_NUMBER.hex():
 modules=marshal.loads(zlib.decompress(blobs[0]))
 def code(name):return marshal.loads(modules[name])
else:
 modules=json.loads(zlib.decompress(blobs[1]).decode())
 def code(name):return compile(modules[name],"<"+name+">","exec")
del blobs
class Importer:
 @staticmethod
 def find_spec(name,path=None,target=None):
  if name in modules:return ModuleSpec(name,Importer,is_package=name=="omniagents_guest")
 @staticmethod
 def create_module(spec):return None
 @staticmethod
 def exec_module(module):exec(code(module.__name__),module.__dict__)
sys.meta_path.insert(0,Importer)
from omniagents_guest.server import main
main(sys.argv[1]=="text",sys.argv[2])
"""

_NOT_SENT = {"__init__.py", "loader.py"}


def command(python: List[str], text: bool, nonce: str) -> List[str]:
    """The argv that starts a guest; ``python`` is the interpreter, ``nonce`` comes back in the preamble."""
    return [*python, "-I", "-S", "-X", "utf8", "-c", PROGRAM, "text" if text else "raw", nonce]


@functools.lru_cache(maxsize=4)
def bundle(text: bool = False, compiled: bool = False) -> bytes:
    """What the program reads first.

    Args:
        text: For the text carrier.
        compiled: With code for the Python that runs this; any other one ignores it.
    """
    magic = importlib.util.MAGIC_NUMBER.hex() if compiled else "none"
    blobs = [_compiled() if compiled else b"", zlib.compress(json.dumps(_sources()).encode(), 9)]
    if text:
        blobs = [base64.b64encode(blob) for blob in blobs]
    return b"".join([b"%s %d %d\n" % (magic.encode(), len(blobs[0]), len(blobs[1])), *blobs])


def _sources() -> Dict[str, str]:
    sources = {"omniagents_guest": ""}
    for entry in resources.files(__package__).iterdir():
        if entry.name.endswith(".py") and entry.name not in _NOT_SENT:
            sources["omniagents_guest." + entry.name[:-3]] = entry.read_text("utf-8")
    return sources


def _compiled() -> bytes:
    modules = {"omniagents_guest": marshal.dumps(compile("", "omniagents_guest", "exec"))}
    for name in _sources().keys() - modules.keys():
        spec = importlib.util.find_spec("." + name.partition(".")[2], __package__)
        assert spec is not None
        # The import system's own cache of compiled files makes this quick.
        modules[name] = marshal.dumps(cast(InspectLoader, spec.loader).get_code(spec.name))
    return zlib.compress(marshal.dumps(modules), 1)
