"""Who an environment's processes are on the host, and whose its files.

Inside they are always user 1000. Outside, a namespace maps that to the user who made it; for root that
would leave only the namespaces between an environment and root's files. So root's environments run as the
owner of their workspace, and a workspace that root makes belongs to a user that nobody else is.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from omniagents._ids import encode_project_id
from omniagents.guest.removal import remove_tree
from omniagents_bubblewrap.spawner import Spawner

__all__ = ["settle"]

_log = logging.getLogger("omniagents")

# systemd's docs/UIDS-GIDS.md lists 1879048192 to 2147352575 as used by nobody.
_FIRST = 1879048192
_COUNT = 2147352575 - _FIRST + 1
_NOBODY = 65534


def settle(project_id: str, workspace: Path, home: Path, *, is_ours: bool) -> tuple[int, int]:
    """Make ``home``, and both directories those of the processes' user; returns that user and group."""
    ours = (os.geteuid(), os.getegid())
    if os.geteuid() == 0 and is_ours and workspace.stat().st_uid == 0 and not any(workspace.iterdir()):
        os.chown(workspace, *_user_of(project_id))
    found = workspace.stat()
    is_other = os.geteuid() == 0 and found.st_uid != 0 and _can_stage(workspace)
    owner = (found.st_uid, found.st_gid or _NOBODY) if is_other else ours
    if owner[0] == 0:
        _log.warning("processes of project %r run as root outside of their namespaces: %s", project_id, _why(workspace))
    if home.exists() and home.stat().st_uid != owner[0]:
        remove_tree(str(home))
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if is_other:
        os.chown(home, *owner)
    return owner


def _why(workspace: Path) -> str:
    if workspace.stat().st_uid == 0:
        return f"root owns {workspace}; give it to another user (chown) for a second wall"
    return "this process may not mount, so it cannot show root's directories to another user"


def _user_of(project_id: str) -> tuple[int, int]:
    """A user of the project's own (one in 268 million); ``nobody``, or root itself, where there are not so many."""
    digest = hashlib.sha256(encode_project_id(project_id).encode()).digest()
    wanted = _FIRST + int.from_bytes(digest[:4], "big") % _COUNT
    for user in (wanted, _NOBODY):
        if _exists(user):
            return user, user
    return 0, 0


def _exists(user: int) -> bool:
    """Whether this user namespace has the number, as user and as group."""
    for kind in ("uid", "gid"):
        lines = [list(map(int, line.split())) for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
        if not any(first <= user < first + count for first, _, count in lines):
            return False
    return True


def _can_stage(directory: Path) -> bool:
    """Whether other users can be shown what lies in root's directories."""
    spawner = Spawner.get()

    def try_it() -> None:
        with spawner.stage.showing([str(directory)]):
            pass

    try:
        spawner.call(try_it)
    except OSError:
        return False
    return True
