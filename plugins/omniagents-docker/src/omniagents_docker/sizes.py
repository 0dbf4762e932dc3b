"""Limits of a workspace that nothing in the engine holds: it is measured from within, now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from omniagents.errors import GuestDiedError
from omniagents.workspace import Workspace
from omniagents_docker.container import WORKSPACE
from omniagents_docker.hardening import HardeningProfile

__all__ = ["Limits", "SizeCheck", "limits_of"]

_MEASURE_SECONDS: Final = 60.0
_MOST_TIMES_UNMEASURED: Final = 3

# Space that the files of a tree take, in bytes, and their number; st_blocks counts 512 bytes each (stat(2)). By
# descriptors, since paths that are longer than the system takes could not be followed. Who may write in a directory and
# not list it hides what is in it; the owner's rights are taken meanwhile. What cannot be looked into is an error.
_MEASURE: Final = """\
import os,stat,sys
total=number=0
entered=[]
def enter(name,parent):
 global total,number
 try:
  mode=stat.S_IMODE(os.stat(name,dir_fd=parent,follow_symlinks=False).st_mode)
  if mode&0o500!=0o500:os.chmod(name,mode|0o500,dir_fd=parent)
  fd=os.open(name,os.O_RDONLY|os.O_DIRECTORY|os.O_NOFOLLOW,dir_fd=parent)
 except (FileNotFoundError,NotADirectoryError):return
 names=[]
 entered.append((fd,mode,names))
 with os.scandir(fd) as entries:
  for entry in entries:
   try:status=entry.stat(follow_symlinks=False)
   except FileNotFoundError:continue
   total+=status.st_blocks*512
   number+=1
   if stat.S_ISDIR(status.st_mode):names.append(entry.name)
enter(sys.argv[1],None)
while entered:
 fd,mode,names=entered[-1]
 if names:
  enter(names.pop(),fd)
  continue
 if mode&0o500!=0o500:os.fchmod(fd,mode)
 os.close(fd)
 entered.pop()
device=os.stat(sys.argv[1]).st_dev
held={}
def names(path):
 try:return os.listdir(path)
 except OSError:return ()
for pid in filter(str.isdigit,names('/proc')):
 for task in names('/proc/%s/task'%pid):
  path='/proc/%s/task/%s/fd/'%(pid,task)
  for name in names(path):
   try:status=os.stat(path+name)
   except OSError:continue
   if status.st_nlink==0 and status.st_dev==device:held[status.st_ino]=status.st_blocks*512
print(total+sum(held.values()),number)
"""


class Limits(NamedTuple):
    """Of a workspace: most bytes, most files; None for no limit, or one that the storage holds."""

    most_bytes: int | None
    most_files: int | None


def limits_of(hardening: HardeningProfile, *, has_quota: bool) -> Limits:
    """What only a look at the workspace can hold."""
    return Limits(None if has_quota else hardening.workspace_bytes, hardening.workspace_files)


class SizeCheck:
    """Measures one workspace, and remembers how often that was prevented."""

    def __init__(self, python: Sequence[str]) -> None:
        self._python = python
        self._times_unmeasured = 0

    def excess(self, workspace: Workspace, limits: Limits) -> str | None:
        """What the workspace has beyond its limits, in words; None if it is within them.

        Raises:
            BackendError: The environment is gone.
        """
        measured = self._measure(workspace)
        self._times_unmeasured = 0 if measured is not None else self._times_unmeasured + 1
        if measured is None:
            if self._times_unmeasured < _MOST_TIMES_UNMEASURED:
                return None
            self._times_unmeasured = 0
            return "a size that nobody can measure: it leaves no process free, or hinders what measures"
        used, files = measured
        if limits.most_bytes is not None and used > limits.most_bytes:
            return f"{used} bytes and may have {limits.most_bytes}"
        if limits.most_files is not None and files > limits.most_files:
            return f"{files} files and may have {limits.most_files}"
        return None

    def _measure(self, workspace: Workspace) -> tuple[int, int] | None:
        """Bytes and files of the workspace; None where code in the environment may have kept us from an answer."""
        argv = [*self._python, "-I", "-S", "-c", _MEASURE, WORKSPACE]
        try:
            result = workspace.run(argv, timeout_seconds=_MEASURE_SECONDS)
        except (GuestDiedError, OSError):
            return None
        words = result.stdout.split()
        return (int(words[0]), int(words[1])) if result.exit_code == 0 and len(words) == 2 else None
