"""Reading a branch that anybody may have written: objects, and trees checked before anything is made of them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from omniagents.errors import StateCorruptError, StateQuotaError
from omniagents_git.description import Commit, decode_commit
from omniagents_git.escaping import SIDECAR, from_git
from omniagents_git.failures import GitFailure
from omniagents_git.git import Git, GitStream
from omniagents_git.sidecar import FORMAT_FILE, SHARD, Kept, check_format, decode_rows
from omniagents_git.tree import Entry, EntryKind, Quota, check_entries, order_of

__all__ = ["Listing", "ObjectReader", "blob_id", "read_commits", "read_listing"]

# As many requests as fit a pipe with room to spare: then writing one never waits for reading an answer.
_AHEAD = 256
_PIECE = 1 << 18
_MAX_SIDECAR_BYTES = 256 << 20
_MAX_LINK_BYTES = 1 << 16
_DIRECTORY_MODE, _FILE_MODE, _PROGRAM_MODE = 0o755, 0o644, 0o755


class ObjectReader:
    """Objects in the order they were announced, through one ``cat-file --batch``."""

    def __init__(self, stream: GitStream, ids: Iterable[bytes]) -> None:
        self._stream = stream
        self._ids = iter(ids)
        self._asked: deque[str] = deque()

    def next(self) -> tuple[str, int, Iterator[bytes]]:
        """The next object's id, its size, and its content in pieces, to be read to the end.

        Raises:
            GitFailure: It is missing or damaged.
        """
        self._ask()
        wanted = self._asked.popleft()
        header = self._stream.read_line().split(b" ")
        if header[0] != wanted.encode() or len(header) != 3:
            raise GitFailure("cat-file", 0, f"{b' '.join(header).decode('utf-8', 'replace')} (wanted {wanted})")
        size = int(header[2])
        return wanted, size, self._content(size)

    def next_whole(self, limit: int) -> tuple[str, bytes]:
        """The next object's id and content.

        Raises:
            ValueError: It has more than ``limit`` bytes.
        """
        found, size, content = self.next()
        if size > limit:
            raise ValueError(f"has {size:,} bytes; at most {limit:,} are read")
        return found, b"".join(content)

    def _ask(self) -> None:
        if self._asked:
            return
        for _, raw in zip(range(_AHEAD), self._ids, strict=False):
            self._asked.append(raw.hex())
        self._stream.write("".join(f"{one}\n" for one in self._asked).encode())
        self._stream.flush()

    def _content(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._stream.read_exactly(min(size, _PIECE))
            size -= len(piece)
            yield piece
        self._stream.read_exactly(1)


def read_commits(git: Git, project_id: str, ids: Iterable[str]) -> list[Commit]:
    """Commits that are on this machine.

    Raises:
        StateCorruptError: One is no commit.
    """
    wanted = [bytes.fromhex(one) for one in ids]
    with git.stream("cat-file", "--batch") as stream:
        reader = ObjectReader(stream, wanted)
        return [_commit(project_id, reader) for _ in wanted]


def _commit(project_id: str, reader: ObjectReader) -> Commit:
    try:
        return decode_commit(project_id, *reader.next_whole(64 << 20))
    except ValueError as error:
        raise StateCorruptError(f"a commit of project {project_id!r} cannot be read: it {error}") from error


@dataclass
class Listing:
    """A tree of a branch.

    Attributes:
        entries: As in a snapshot; ``content`` holds the ids of a file's blobs.
        sidecar: The ids of its own files, by path in the branch.
    """

    entries: tuple[Entry, ...]
    sidecar: dict[bytes, bytes] = field(default_factory=dict)


@dataclass
class _Found:
    """What a tree lists: by path of the workspace, except ``sidecar``."""

    paths: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=set)
    files: dict[str, tuple[bool, int, tuple[bytes, ...]]] = field(default_factory=dict)
    links: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, list[tuple[bytes, bytes, int]]] = field(default_factory=dict)
    sidecar: dict[bytes, bytes] = field(default_factory=dict)
    bytes: int = 0


def read_listing(git: Git, commit: Commit, quota: Quota) -> Listing:
    """The checked tree of a commit that is on this machine.

    Raises:
        StateCorruptError: It is not one that a workspace can be made equal to.
        StateQuotaError: It is over a limit.
    """
    project_id = commit.snapshot.project_id
    try:
        found = _list(git, commit, quota)
        targets, kept = _read_small(git, found, quota)
        entries = _entries(found, targets, kept, commit)
        quota.check(project_id, found.bytes, len(entries))
        check_entries(entries)
    except (ValueError, RecursionError) as error:
        raise StateCorruptError(
            f"the commit {commit.id} of project {project_id!r} cannot be a workspace: {error}; "
            "history() lists others that may be restored"
        ) from error
    return Listing(entries, found.sidecar)


def _list(git: Git, commit: Commit, quota: Quota) -> _Found:
    found = _Found()
    count = 0
    with git.stream("ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit.tree) as stream:
        pending = b""
        while data := stream.read_some(_PIECE):
            *rows, pending = (pending + data).split(b"\0")
            for row in rows:
                _take(row, found)
            count += len(rows)
            # Parts and the sidecar are no entries, hence the slack; a tree of trees lists 10^10 from a few bytes.
            if quota.max_files is not None and count > 4 * quota.max_files + 1024:
                raise StateQuotaError(
                    f"the commit {commit.id} of project {commit.snapshot.project_id!r} lists more than "
                    f"{count:,} paths, over the limit of {quota.max_files:,} (max_files)"
                )
        stream.finish()
    return found


def _take(row: bytes, found: _Found) -> None:
    facts, _, raw = row.partition(b"\t")
    mode, kind, oid, size = facts.split()
    blob = bytes.fromhex(oid.decode())
    if raw == SIDECAR or raw.startswith(SIDECAR + b"/"):
        if kind != b"tree":
            found.sidecar[raw] = blob
        return
    parent, _, last = raw.rpartition(b"/")
    if parent.endswith(b"%parts"):
        found.parts.setdefault(from_git(parent)[0], []).append((last, blob, _size(kind, size, raw)))
        found.bytes += int(size)
        return
    path, is_parts = from_git(raw)
    if path in found.paths:
        raise ValueError(f"the path {path!r:.200} comes twice")
    found.paths.add(path)
    if is_parts and kind != b"tree":
        raise ValueError(f"the name {raw!r:.200} is one of a directory of parts, and no directory")
    if is_parts:
        found.parts.setdefault(path, [])
    elif kind == b"tree":
        found.directories.add(path)
    elif mode == b"120000":
        if int(size) > _MAX_LINK_BYTES:
            raise ValueError(f"the link {path!r:.200} has a target of {int(size):,} bytes")
        found.links[path] = blob
    else:
        found.bytes += _size(kind, size, raw)
        content = (blob,) if int(size) else ()
        found.files[path] = (mode == b"100755", int(size), content)


def _size(kind: bytes, size: bytes, raw: bytes) -> int:
    if kind != b"blob":
        raise ValueError(f"{raw!r:.200} is a {kind.decode()}, not a file, directory or link")
    return int(size)


def _read_small(git: Git, found: _Found, quota: Quota) -> tuple[dict[str, str], dict[str, Kept]]:
    """Where the links point, and what the sidecar says."""
    rows = [raw for raw in found.sidecar if SHARD.fullmatch(raw)]
    first = [found.sidecar[FORMAT_FILE]] if FORMAT_FILE in found.sidecar else []
    kept: dict[str, Kept] = {}
    max_rows = None if quota.max_files is None else quota.max_files + 1
    with git.stream("cat-file", "--batch") as stream:
        reader = ObjectReader(stream, [*first, *(found.sidecar[raw] for raw in rows), *found.links.values()])
        left = _MAX_SIDECAR_BYTES
        if first:
            check_format(reader.next_whole(1 << 16)[1])
        for _ in rows:
            data = reader.next_whole(left)[1]
            left -= len(data)
            decode_rows(data, kept, max_rows=max_rows)
        targets = {
            path: reader.next_whole(_MAX_LINK_BYTES)[1].decode("utf-8", "surrogateescape") for path in found.links
        }
    return targets, kept


def _entries(found: _Found, targets: dict[str, str], kept: dict[str, Kept], commit: Commit) -> tuple[Entry, ...]:
    """Everything there is, the sidecar's word where it has one; a branch changed by hand may have less, or too much."""
    time_ns = min(int(commit.snapshot.created_at.timestamp()) * 1_000_000_000, (1 << 63) - 1)
    entries: list[Entry] = []

    def add(path: str, kind: EntryKind, default: int, key: str, **rest: object) -> None:
        mode, mtime_ns = kept.get(key, (default, time_ns))
        entries.append(Entry(path, kind, mode, mtime_ns, **rest))  # type: ignore[arg-type]

    files = {**found.files, **{path: _joined(path, parts) for path, parts in found.parts.items()}}
    for path in found.directories | _only_kept(kept, files.keys() | found.links.keys(), found.directories):
        add(path, "directory", _DIRECTORY_MODE, path + "/")
    for path, target in targets.items():
        add(path, "link", 0, path, target=target)
    for path, (is_program, size, content) in files.items():
        default = _PROGRAM_MODE if is_program else _FILE_MODE
        add(path, "file", default, path, size=size, content=content)
    entries = [_with_safe_mode(entry, files.get(entry.path)) for entry in entries]
    return tuple(sorted(entries, key=lambda entry: order_of(entry.path)))


def _only_kept(kept: dict[str, Kept], others: set[str], present: set[str]) -> set[str]:
    """Directories that only the sidecar knows: empty ones, with those above them."""
    extra: set[str] = set()
    for key in kept:
        if not key.endswith("/") or key[:-1] in present:
            continue
        chain = []
        path = key[:-1]
        while path and path not in present and path not in extra:
            chain.append(path)
            path = path.rpartition("/")[0]
        if not others.intersection(chain):
            extra.update(chain)
    return extra


def _joined(path: str, parts: list[tuple[bytes, bytes, int]]) -> tuple[bool, int, tuple[bytes, ...]]:
    if [name for name, _, _ in parts] != [b"%08d" % number for number in range(len(parts))]:
        raise ValueError(f"the parts of the file {path!r:.200} are not numbered from 0 without a gap")
    return False, sum(size for _, _, size in parts), tuple(blob for _, blob, _ in parts)


def _with_safe_mode(entry: Entry, file: tuple[bool, int, tuple[bytes, ...]] | None) -> Entry:
    """Without set-id bits, and with the branch's word on whether a file is a program."""
    if entry.kind == "link":
        return entry._replace(mode=0)
    if not 0 <= entry.mode <= 0o7777:
        raise ValueError(f"the path {entry.path!r:.200} has the impossible mode {entry.mode}")
    if file is None:
        return entry._replace(mode=entry.mode & 0o3777)
    mode = entry.mode & 0o1777
    is_program = file[0]
    if len(file[2]) < 2 and bool(mode & 0o100) != is_program:
        mode = mode | 0o111 if is_program else mode & ~0o111
    return entry._replace(mode=mode)


def blob_id(data: bytes) -> bytes:
    """What git calls this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()
