"""A snapshot as a commit: its message as a person reads it, and one line of JSON below for the rest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from omniagents.records import LeftOut
from omniagents.state import Snapshot

__all__ = ["Commit", "commit_message", "decode_commit"]

_MARK = "Omniagents-Snapshot: "
_NO_MESSAGE = "Save the workspace"
_LEFT_OUT_LISTED = 100
_MAX_COMMIT_BYTES = 4 << 20
_MAX_NUMBER = 1 << 53
_HEX = re.compile(r"[0-9a-f]{40}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Commit:
    """A commit of a project's branch.

    Attributes:
        snapshot: What it says; of a commit that somebody else made, without counts.
        tree: The tree's id in hexadecimal.
        number: How many saves come before it since the branch's root.
        is_ours: Whether a save wrote it.
        said_project: The project it says it is of.
        merged_id: The other commit that a merge brought in.
    """

    snapshot: Snapshot
    tree: str
    number: int = 0
    is_ours: bool = False
    said_project: str | None = None
    merged_id: str | None = None

    @property
    def id(self) -> str:
        return self.snapshot.id


def commit_message(snapshot: Snapshot, number: int, *, is_root: bool) -> bytes:
    """What is committed; ``snapshot.id`` does not count."""
    shown = snapshot.message.replace("\0", " ").encode("utf-8", "replace").decode().strip() or _NO_MESSAGE
    facts: dict[str, object] = {
        "project": snapshot.project_id,
        "time": (snapshot.created_at - _EPOCH) // timedelta(microseconds=1),
        "files": snapshot.files,
        "bytes": snapshot.bytes,
        "changed": snapshot.changed,
        "number": number,
    }
    if shown != snapshot.message:
        facts["message"] = snapshot.message
    if is_root and snapshot.parent_id:
        facts["parent"] = snapshot.parent_id
    if snapshot.left_out:
        facts["left_out"] = [[*left] for left in snapshot.left_out[:_LEFT_OUT_LISTED]]
    return f"{shown}\n\n{_MARK}{json.dumps(facts)}\n".encode()


def decode_commit(project_id: str, commit_id: str, data: bytes) -> Commit:
    """A commit as git stores it; whatever it says is only believed where it can be.

    Raises:
        ValueError: It is no commit.
    """
    if len(data) > _MAX_COMMIT_BYTES:
        raise ValueError(f"is a commit of {len(data):,} bytes")
    head, _, raw = data.partition(b"\n\n")
    lines = [line.decode("utf-8", "replace").partition(" ")[::2] for line in head.split(b"\n")]
    parents = [value for key, value in lines if key == "parent" and _HEX.fullmatch(value)]
    trees = [value for key, value in lines if key == "tree" and _HEX.fullmatch(value)]
    times = [re.search(r"> (\d{1,12}) [+-]\d{4}$", value) for key, value in lines if key == "committer"]
    if not trees or not times or times[0] is None:
        raise ValueError("is no commit")
    text = raw.decode("utf-8", "replace")
    shown, mark, said = text.rpartition(f"\n\n{_MARK}")
    facts = _facts(said) if mark else {}
    snapshot = Snapshot(
        id=commit_id,
        project_id=project_id,
        parent_id=parents[0] if parents else _commit_id(facts.get("parent")),
        created_at=_time(facts, int(times[0][1])),
        message=_text(facts.get("message"), shown) if facts else text.strip(),
        files=_number(facts.get("files")),
        bytes=_number(facts.get("bytes")),
        changed=_number(facts.get("changed")),
        left_out=_left_out(facts.get("left_out")),
    )
    project = facts.get("project")
    return Commit(
        snapshot=snapshot,
        tree=trees[0],
        number=_number(facts.get("number")),
        is_ours=bool(facts),
        said_project=project if isinstance(project, str) else None,
        merged_id=parents[1] if len(parents) > 1 else None,
    )


def _facts(said: str) -> dict[str, object]:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return {}  # as good as a commit of somebody else's
    return found if isinstance(found, dict) else {}


def _time(facts: dict[str, object], seconds: int) -> datetime:
    """To the microsecond where that is the commit's own second."""
    exact = facts.get("time")
    if type(exact) is int and exact // 1_000_000 == seconds:
        return _EPOCH + timedelta(microseconds=exact)
    return _EPOCH + timedelta(seconds=min(seconds, 253_402_300_799))  # the last second that a datetime holds


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _MAX_NUMBER else 0


def _text(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) else otherwise


def _commit_id(value: object) -> str | None:
    return value if isinstance(value, str) and _HEX.fullmatch(value) else None


def _left_out(value: object) -> tuple[LeftOut, ...]:
    rows = value if isinstance(value, list) else []
    pairs = [row for row in rows if isinstance(row, list) and list(map(type, row)) == [str, str]]
    return tuple(LeftOut(path, reason) for path, reason in pairs[:_LEFT_OUT_LISTED])
