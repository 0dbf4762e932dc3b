"""The small objects: ``format.json``, ``HEAD`` and history pointers. JSON, readable by a person.

Each ends in a keyed digest of itself, so that a flipped bit, or an object copied from another
project, is found out.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from omniagents.errors import StateError
from omniagents.records import LeftOut
from omniagents.state import Snapshot
from omniagents_snapshot.chunking import CHUNKER
from omniagents_snapshot.encryption import Encryption, ProjectKeys
from omniagents_snapshot.limits import LEFT_OUT_IN_POINTER, TREE_MAX_STORED_BYTES
from omniagents_snapshot.model import Head, TreeName
from omniagents_snapshot.sealing import CHUNK_ID_BYTES, Hasher, Sealer
from omniagents_snapshot.tree_format import from_microseconds, to_microseconds

__all__ = [
    "copied_format",
    "decode_head",
    "decode_pointer",
    "decode_project_id",
    "encode_head",
    "encode_pointer",
    "new_format",
    "open_format",
    "rewrapped_format",
]

_VERSION = 1
_READABLE: dict[str, Any] = {
    "version": _VERSION,
    "hash": "blake3-keyed",
    "chunk_id_bytes": CHUNK_ID_BYTES,
    "compression": "zstd",
}
_CIPHER = "aes-256-gcm"
_WRAPPED = re.compile(r"(?:[0-9a-f]{2}){60}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SNAPSHOT_ID = re.compile(r"[0-9a-f]{32}\Z")
_T = TypeVar("_T")


def new_format(project_id: str, encryption: Encryption | None = None) -> bytes:
    """A ``format.json`` with a key of its own. The project's id is there for listings: object names do not tell it."""
    return _format(project_id, secrets.token_bytes(32), encryption)


def rewrapped_format(data: bytes, project_id: str, old: Encryption, new: Encryption) -> bytes:
    """The same ``format.json`` for the holder of another key.

    Raises:
        ValueError: It is damaged, or not encrypted.
    """
    fields = _load(_text(data))
    open_format(data, project_id, old)
    return _format(project_id, old.unwrap(_wrapped_key(fields), project_id), new)


def copied_format(data: bytes, project_id: str, new_project_id: str, encryption: Encryption | None) -> bytes:
    """The ``format.json`` of another project with the same key.

    Raises:
        ValueError: It is damaged.
    """
    fields = _load(_text(data))
    open_format(data, project_id, encryption)
    key = _key(fields) if encryption is None else encryption.unwrap(_wrapped_key(fields), project_id)
    return _format(new_project_id, key, encryption)


def _format(project_id: str, key: bytes, encryption: Encryption | None) -> bytes:
    fields = _READABLE | {"chunker": CHUNKER, "project": project_id}
    if encryption is None:
        return _dump(fields | {"encryption": None, "key": key.hex()}, Hasher(key))
    wrapped = encryption.wrap(key, project_id).hex()
    fields["encryption"] = {"cipher": _CIPHER, "wrapped_key": wrapped}
    return _dump(fields, Hasher(ProjectKeys(key).hash_key))


def decode_project_id(data: bytes) -> str:
    """Whose ``format.json`` this is; of an encrypted project by its own word, since that needs no key.

    Raises:
        ValueError: It is damaged, or from another version.
    """
    fields = _load(_text(data))
    _check_readable(fields)
    if fields.get("encryption") is None:
        _check_digest(data, Hasher(_key(fields)))
    project_id = fields.get("project")
    if not isinstance(project_id, str):
        raise ValueError("does not say whose it is")
    return project_id


def open_format(data: bytes, project_id: str, encryption: Encryption | None) -> tuple[Hasher, Sealer]:
    """How a project's bytes are hashed and sealed.

    Raises:
        ValueError: It is damaged, or from another version.
        StateError: It is encrypted and this key does not open it, or not encrypted although there is a key.
    """
    fields = _load(_text(data))
    _check_readable(fields)
    if fields.get("encryption") is None:
        if encryption is not None:
            raise StateError(
                f"project {project_id!r} is stored without encryption, and this manager was told to encrypt; "
                "save it under another id, or leave out encryption="
            )
        hasher, sealer = Hasher(_key(fields)), Sealer()
    elif encryption is None:
        raise StateError(f"project {project_id!r} is encrypted; give encryption= with the key that it was saved with")
    else:
        keys = ProjectKeys(encryption.unwrap(_wrapped_key(fields), project_id))
        hasher, sealer = Hasher(keys.hash_key), Sealer(keys)
    _check_digest(data, hasher)
    return hasher, sealer


def _check_readable(fields: Mapping[str, Any]) -> None:
    for name, ours in _READABLE.items():
        if name not in fields or fields[name] != ours:
            raise ValueError(
                f"has {name} {fields.get(name)!r:.100}, and this version of omniagents-snapshot reads {ours!r}"
            )


def _key(fields: Mapping[str, Any]) -> bytes:
    key = fields.get("key")
    if not isinstance(key, str) or not _DIGEST.match(key):
        raise ValueError("has no key")
    return bytes.fromhex(key)


def _wrapped_key(fields: Mapping[str, Any]) -> bytes:
    encryption = fields.get("encryption")
    if not isinstance(encryption, dict) or encryption.get("cipher") != _CIPHER:
        raise ValueError(f"has encryption {encryption!r:.100}, and this version of omniagents-snapshot reads {_CIPHER}")
    return bytes.fromhex(_matching(encryption.get("wrapped_key"), _WRAPPED))


def encode_head(head: Head, hasher: Hasher) -> bytes:
    fields = {
        "tree": head.tree.digest,
        "tree_bytes": head.tree.size,
        "snapshot": head.snapshot_id,
        "parent": head.parent_id,
        "commit": head.commit_id,
        "session": head.session,
        "time": head.time,
        "condemned": list(head.condemned),
        "dropped": list(head.dropped),
        "unrecorded": [list(tree) for tree in head.unrecorded],
        "tags": dict(head.tags),
        "moves": None if head.moves is None else list(head.moves),
    }
    return _dump(fields, hasher)


def decode_head(data: bytes, hasher: Hasher) -> Head:
    """What ``encode_head`` wrote.

    Raises:
        ValueError: It is damaged.
    """
    return _decoded(data, hasher, _head)


def _head(fields: Mapping[str, Any]) -> Head:
    return Head(
        tree=_tree_name(fields),
        snapshot_id=_matching(fields["snapshot"], _SNAPSHOT_ID),
        parent_id=None if fields["parent"] is None else _matching(fields["parent"], _SNAPSHOT_ID),
        commit_id=str(fields["commit"]),
        session=str(fields["session"]),
        time=int(fields["time"]),
        condemned=tuple(_matching(digest, _DIGEST) for digest in fields["condemned"]),
        dropped=tuple(_matching(found, _SNAPSHOT_ID) for found in fields.get("dropped", ())),
        unrecorded=tuple(_checked_tree_name(*found) for found in fields.get("unrecorded", ())),
        tags={str(tag): _matching(found, _SNAPSHOT_ID) for tag, found in dict(fields.get("tags", ())).items()},
        moves=None if fields.get("moves") is None else _checked_tree_name(*fields["moves"]),
    )


def encode_pointer(snapshot: Snapshot, tree: TreeName, hasher: Hasher) -> bytes:
    fields = {
        "tree": tree.digest,
        "tree_bytes": tree.size,
        "project": snapshot.project_id,
        "snapshot": snapshot.id,
        "parent": snapshot.parent_id,
        "time": to_microseconds(snapshot.created_at),
        "message": snapshot.message,
        "files": snapshot.files,
        "bytes": snapshot.bytes,
        "changed": snapshot.changed,
        "left_out": snapshot.left_out[:LEFT_OUT_IN_POINTER],
    }
    return _dump(fields, hasher)


def decode_pointer(data: bytes, hasher: Hasher) -> tuple[Snapshot, TreeName]:
    """What ``encode_pointer`` wrote; of a long list of what was left out, the start.

    Raises:
        ValueError: It is damaged.
    """
    return _decoded(data, hasher, _pointer)


def _pointer(fields: Mapping[str, Any]) -> tuple[Snapshot, TreeName]:
    snapshot = Snapshot(
        id=_matching(fields["snapshot"], _SNAPSHOT_ID),
        project_id=fields["project"],
        parent_id=fields["parent"],
        created_at=from_microseconds(fields["time"]),
        message=fields["message"],
        files=fields["files"],
        bytes=fields["bytes"],
        changed=fields["changed"],
        left_out=tuple(LeftOut(path, reason) for path, reason in fields["left_out"]),
    )
    return snapshot, _tree_name(fields)


def _tree_name(fields: Mapping[str, Any]) -> TreeName:
    return _checked_tree_name(fields["tree"], fields["tree_bytes"])


def _checked_tree_name(digest: Any, size: Any) -> TreeName:
    if type(size) is not int or not 0 < size <= TREE_MAX_STORED_BYTES:
        raise ValueError(f"names a tree of {size!r:.100} bytes")
    return TreeName(_matching(digest, _DIGEST), size)


def _matching(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        raise ValueError(f"has the impossible name {value!r:.100}")
    return value


def _dump(fields: Mapping[str, Any], hasher: Hasher) -> bytes:
    text = json.dumps(fields, indent=1, sort_keys=True).encode()
    return _with_digest(text, hasher)


def _with_digest(text: bytes, hasher: Hasher) -> bytes:
    return b"%b\n%b\n" % (text, hasher.digest(text).encode())


def _text(data: bytes) -> bytes:
    return data.removesuffix(b"\n").rpartition(b"\n")[0]


def _check_digest(data: bytes, hasher: Hasher) -> None:
    if _with_digest(_text(data), hasher) != data:
        raise ValueError("does not match its own digest")


def _decoded(data: bytes, hasher: Hasher, build: Callable[[Mapping[str, Any]], _T]) -> _T:
    _check_digest(data, hasher)
    try:
        return build(_load(_text(data)))
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks or mistakes a part ({error!r:.200})") from error


def _load(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("is not whole JSON") from error
    if not isinstance(fields, dict):
        raise ValueError("is not a JSON object")
    return fields
