"""Names: project ids checked and encoded, snapshot ids, the time."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime

from omniagents.errors import InvalidProjectIdError

__all__ = ["check_project_id", "encode_project_id", "new_snapshot_id", "utc_now"]

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_MAX_READABLE = 40


def check_project_id(project_id: object) -> str:
    """Return ``project_id`` if it is a non-empty string of at most 200 characters that UTF-8 can hold."""
    if not isinstance(project_id, str):
        raise InvalidProjectIdError(f"a project id is a string, not {type(project_id).__name__}: {project_id!r}")
    if not project_id or len(project_id) > 200:
        raise InvalidProjectIdError(
            f"a project id has 1 to 200 characters; this one has {len(project_id)}: {project_id!r:.80}"
        )
    try:
        project_id.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidProjectIdError(f"a project id must be valid Unicode, no lone surrogates: {project_id!r}") from None
    return project_id


def encode_project_id(project_id: str) -> str:
    """A name for directories, containers, branches, objects: ``alice-6c9a1f…``, lower-case letters, digits, ``-``.

    A readable start, then 128 bits of SHA-256 over the exact id: as good as injective
    (``a_b``, ``a-b``, ``A-b`` and ``../x`` all differ), at most 73 characters.
    """
    readable = "".join(c if c in _SAFE else "-" for c in check_project_id(project_id).lower()[:_MAX_READABLE])
    digest = hashlib.sha256(project_id.encode("utf-8")).hexdigest()[:32]
    return f"{readable.strip('-') or 'project'}-{digest}"


def new_snapshot_id() -> str:
    """128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def utc_now() -> datetime:
    return datetime.now(UTC)
