"""A branch that somebody made to harm whoever loads it: refused, or harmless."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from omniagents._ids import encode_project_id
from omniagents.errors import StateCorruptError, StateError, StateQuotaError
from omniagents.testing._trees import contents
from omniagents.workspace import Workspace
from omniagents_git.state_manager import GitStateManager

NewManager = Callable[..., GitStateManager]
Row = tuple[str, bytes, str]


class Forger:
    """Writes objects into the bare repository as they are, without any check."""

    def __init__(self, bare: Path, git: Callable[..., str]) -> None:
        self._objects = bare / "objects"
        self._git = git

    def write(self, kind: str, data: bytes) -> str:
        raw = b"%s %d\0" % (kind.encode(), len(data)) + data
        name = hashlib.sha1(raw).hexdigest()
        path = self._objects / name[:2] / name[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(raw, 1))
        return name

    def blob(self, data: bytes = b"evil\n") -> str:
        return self.write("blob", data)

    def tree(self, *rows: Row) -> str:
        """Rows of mode, name and object, in the given order."""
        return self.write(
            "tree", b"".join(f"{mode} ".encode() + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in rows)
        )

    def publish(self, tree: str, message: bytes = b"evil\n", when: bytes = b"1700000000 +0000") -> str:
        lines = b"tree " + tree.encode() + b"\nauthor a <a> " + when + b"\ncommitter a <a> " + when + b"\n\n" + message
        commit = self.write("commit", lines)
        self._git("update-ref", f"refs/heads/omniagents/{encode_project_id('alice')}", commit)
        return commit

    def sidecar(self, *rows: object, name: bytes = b"00", version: object = 1) -> Row:
        """The row of a sidecar for the top of a tree."""
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        form = self.blob(json.dumps({"version": version}).encode())
        return (
            "40000",
            b".omniagents-state",
            self.tree(("100644", name, self.blob(data)), ("100644", b"format.json", form)),
        )


@pytest.fixture
def forger(bare: Path, git: Callable[..., str]) -> Forger:
    return Forger(bare, git)


def refused(new_manager: NewManager, fresh: Workspace, **options: object) -> str:
    """The message of the refusal; the workspace stays as it was."""
    fresh.write_bytes("mine.txt", b"precious")
    with pytest.raises((StateCorruptError, StateQuotaError)) as raised:
        new_manager(**options).load("alice", fresh)
    assert contents(fresh) == {"mine.txt": b"precious"}
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (b"..", "has an empty, '.' or '..' component"),
        (b".", "has an empty, '.' or '..' component"),
        (b"/etc", "is absolute"),
        (b"a/../../b", "has an empty, '.' or '..' component"),
        (b"a/b", "is not below a directory"),
        (b"x%parts", "and no directory"),
        (b"%2e%2e", "is not one that a save writes"),
        (b"%..", "is not one that a save writes"),
        (b".git", "is not one that a save writes"),
        (b"a\\b", "is not one that a save writes"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_names_that_leave_the_workspace_are_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace, name: bytes, problem: str, kind: str
) -> None:
    inner = forger.tree(("100644", b"inner", forger.blob()))
    rows = {
        "file": ("100644", name, forger.blob()),
        "directory": ("40000", name, inner),
        "link": ("120000", name, forger.blob(b"/etc")),
    }
    row = rows[kind]
    forger.publish(forger.tree(row))
    refusal = refused(new_manager, fresh)
    assert "cannot be a workspace" in refusal or "made anew" in refusal
    assert problem in refusal or kind != "file"


def test_a_file_through_a_link_is_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace, tmp_path: Path
) -> None:
    link = forger.blob(os.fsencode(tmp_path))
    inside = forger.tree(("100644", b"planted", forger.blob()))
    forger.publish(forger.tree(("120000", b"a", link), ("40000", b"a", inside)))
    assert "comes twice" in refused(new_manager, fresh)
    assert not (tmp_path / "planted").exists()


def test_a_directory_row_of_the_sidecar_through_a_link_is_left_out(
    forger: Forger, new_manager: NewManager, fresh: Workspace, tmp_path: Path
) -> None:
    side = forger.sidecar(["a/planted/", 0o755, 1], ["../up/", 0o755, 1], ["b/", 0o755, 1])
    forger.publish(forger.tree(side, ("120000", b"a", forger.blob(os.fsencode(tmp_path)))))
    assert "has an empty, '.' or '..' component" in refused(new_manager, fresh)
    side = forger.sidecar(["a/planted/", 0o755, 1], ["b/", 0o755, 1])
    forger.publish(forger.tree(side, ("120000", b"a", forger.blob(os.fsencode(tmp_path)))))
    new_manager().load("alice", fresh)
    assert [entry.path for entry in fresh.scan().entries] == ["a", "b"]
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    "rows",
    [
        ["text"], [["a", 1]], [["a", "b", 1]], [[1, 2, 3]], [["a", True, 1]], [["a", 1.5, 1]], [None], [{"a": 1}],
        [["a", 0o10000, 1]], [["a", -1, 1]], [["a", 0o644, 1 << 63]], [["dir/", 1 << 40, 1]], [["d\0/", 0o755, 1]],
        [["/abs/", 0o755, 1]], [["d//e/", 0o755, 1]],
    ],
    ids=ascii,
)  # fmt: skip
def test_a_sidecar_that_says_impossible_things_is_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace, rows: list[object]
) -> None:
    forger.publish(forger.tree(forger.sidecar(*rows), ("100644", b"a", forger.blob())))
    assert "cannot be a workspace" in refused(new_manager, fresh)


@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff\n", b"[1,\n", b'["a", 1e999, 1]', b"9" * 9999], ids=len)
def test_a_sidecar_that_is_no_json_is_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace, data: bytes
) -> None:
    side = forger.tree(("100644", b"00", forger.blob(data)))
    forger.publish(forger.tree(("40000", b".omniagents-state", side)))
    assert "cannot be a workspace" in refused(new_manager, fresh)


def test_a_later_version_of_the_format_is_refused_with_both_versions(
    forger: Forger, new_manager: NewManager, fresh: Workspace
) -> None:
    forger.publish(forger.tree(forger.sidecar(version=2)))
    assert "has the format version 2; this omniagents-git reads version 1" in refused(new_manager, fresh)


def test_a_sidecar_larger_than_any_honest_one_is_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace
) -> None:
    side = forger.tree(("100644", b"00", forger.blob(bytes(257 << 20))))
    forger.publish(forger.tree(("40000", b".omniagents-state", side)))
    assert "bytes; at most" in refused(new_manager, fresh)


def test_more_rows_than_files_are_allowed_are_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace
) -> None:
    forger.publish(forger.tree(forger.sidecar(*([f"{number}/", 0o755, 1] for number in range(200)))))
    assert "has more than 101 rows" in refused(new_manager, fresh, max_files=100)


def test_a_submodule_is_refused(forger: Forger, new_manager: NewManager, fresh: Workspace) -> None:
    forger.publish(forger.tree(("160000", b"module", "1" * 40)))
    assert "is a commit, not a file, directory or link" in refused(new_manager, fresh)


def test_odd_modes_are_those_of_files(forger: Forger, new_manager: NewManager, fresh: Workspace) -> None:
    blob = forger.blob()
    side = forger.sidecar(["a", 0o6777, 1])
    forger.publish(forger.tree(side, ("106755", b"a", blob), ("100664", b"b", blob), ("100600", b"c", blob)))
    new_manager().load("alice", fresh)
    assert [fresh.stat(name).mode for name in "abc"] == [0o777, 0o644, 0o644]


def test_a_tree_of_trees_that_lists_ten_billion_files_is_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace
) -> None:
    tree = forger.tree(*(("100644", b"%d" % number, forger.blob()) for number in range(10)))
    for _ in range(9):
        tree = forger.tree(*(("40000", b"%d" % number, tree) for number in range(10)))
    forger.publish(tree)
    assert "over the limit of 1,000 (max_files)" in refused(new_manager, fresh, max_files=1000)


def test_a_blob_that_is_small_only_while_packed_is_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace
) -> None:
    forger.publish(forger.tree(("100644", b"bomb", forger.blob(bytes(300 << 20)))))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "314,572,800 bytes, more than the limit of 1,048,576 (max_bytes)" in refused(
        new_manager, fresh, max_bytes=1 << 20
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_a_link_with_an_endless_target_is_refused(forger: Forger, new_manager: NewManager, fresh: Workspace) -> None:
    forger.publish(forger.tree(("120000", b"link", forger.blob(b"x" * (1 << 20)))))
    assert "has a target of 1,048,576 bytes" in refused(new_manager, fresh)


@pytest.mark.parametrize("target", [b"", b"a\0b"])
def test_a_link_with_an_impossible_target_is_refused(
    forger: Forger, new_manager: NewManager, fresh: Workspace, target: bytes
) -> None:
    forger.publish(forger.tree(("120000", b"link", forger.blob(target))))
    assert "is a link to an impossible target" in refused(new_manager, fresh)


def test_parts_with_a_gap_are_refused(forger: Forger, new_manager: NewManager, fresh: Workspace) -> None:
    parts = forger.tree(("100644", b"00000000", forger.blob()), ("100644", b"00000002", forger.blob()))
    forger.publish(forger.tree(("40000", b"big%parts", parts)))
    assert "are not numbered from 0 without a gap" in refused(new_manager, fresh)


def test_a_file_and_its_parts_at_once_are_refused(forger: Forger, new_manager: NewManager, fresh: Workspace) -> None:
    parts = forger.tree(("100644", b"00000000", forger.blob()))
    forger.publish(forger.tree(("100644", b"big", forger.blob()), ("40000", b"big%parts", parts)))
    assert "comes twice" in refused(new_manager, fresh)


@pytest.mark.parametrize(
    "message",
    [
        b"x\n\nOmniagents-Snapshot: {}\n", b"x\n\nOmniagents-Snapshot: " + b"[" * 50_000, b"", b"\xff\xfe",
        b'x\n\nOmniagents-Snapshot: {"files": -1, "bytes": 1e99, "time": "soon", "left_out": [[1]], "parent": "x"}\n',
        b'x\n\nOmniagents-Snapshot: {"time": 99999999999999999999, "message": 7, "number": true, "project": []}\n',
    ],
    ids=len,
)  # fmt: skip
def test_a_commit_that_lies_about_itself_is_only_believed_where_it_can_be(
    forger: Forger, new_manager: NewManager, fresh: Workspace, message: bytes
) -> None:
    commit = forger.publish(forger.tree(("100644", b"a.txt", forger.blob())), message)
    loaded = new_manager().load("alice", fresh)
    assert loaded is not None
    assert (loaded.id, loaded.parent_id, loaded.files, loaded.left_out) == (commit, None, 0, ())
    assert int(loaded.created_at.timestamp()) == 1_700_000_000
    assert contents(fresh) == {"a.txt": b"evil\n"}
    assert new_manager().projects() == []


def test_a_commit_of_the_year_ten_thousand_is_loaded(forger: Forger, new_manager: NewManager, fresh: Workspace) -> None:
    forger.publish(forger.tree(("100644", b"a.txt", forger.blob())), when=b"999999999999 +0000")
    assert new_manager().load("alice", fresh) is not None


def test_objects_that_are_missing_or_damaged_are_said_to_be(
    forger: Forger, new_manager: NewManager, fresh: Workspace, bare: Path
) -> None:
    blob = forger.blob(os.urandom(100_000))
    forger.publish(forger.tree(("100644", b"a.txt", blob)))
    path = bare / "objects" / blob[:2] / blob[2:]
    path.unlink()
    for content in (None, b"damaged", zlib.compress(b"blob 4\0evil")):
        if content is not None:
            path.write_bytes(content)
        fresh.write_bytes("mine.txt", b"precious")
        with pytest.raises(StateError, match="loading project 'alice': the git repository"):
            new_manager().load("alice", fresh)
        assert contents(fresh) == {"mine.txt": b"precious"}
