"""Stored data that is damaged, missing, or made to do harm."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.planting import Planter
from snapshot_support.stores import WatchedStore

from omniagents._ids import encode_project_id
from omniagents.errors import StateCorruptError, StateError, StateQuotaError
from omniagents_snapshot.checking import Problem
from omniagents_snapshot.columns import pack_fields, pack_ints, unpack_ints
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.sealing import seal

NewManager = Callable[..., SnapshotStateManager]
PREFIX = encode_project_id("alice")
MARK = "; check() lists everything that is damaged, and snapshots that do not need it can still be restored"


@pytest.fixture
def ids(manager: SnapshotStateManager, tree: LocalTree) -> tuple[str, str]:
    """Two saved snapshots, with two different packs."""
    write(tree.root, "one", random.Random(1).randbytes(70_000))
    write(tree.root, "directory/file", "text\n")
    (tree.root / "link").symlink_to("one")
    first = manager.save("alice", as_workspace(tree), "one")
    write(tree.root, "two", random.Random(2).randbytes(70_000))
    return first.id, manager.save("alice", as_workspace(tree), "two").id


def only(store: WatchedStore, below: str, needed_by: str = "") -> str:
    """The name of the newest object there."""
    paths = sorted((store.store.root / PREFIX / below).rglob("*"), key=lambda path: path.stat().st_mtime_ns)  # type: ignore[attr-defined]
    return str([path for path in paths if path.is_file()][-1].relative_to(store.store.root))  # type: ignore[attr-defined]


def on_disk(store: WatchedStore, name: str) -> Path:
    return Path(store.store.root, name)  # type: ignore[attr-defined]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "first bit": lambda path: flip(path, 0),
    "middle bit": lambda path: flip(path, path.stat().st_size // 2),
    "cut short": cut,
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)) and None,
}

# The magic and the trailer of a pack: only a check reads them.
NOT_NEEDED_TO_LOAD = {("packs", "first bit"), ("packs", "cut short")}


@pytest.mark.parametrize("name", [name for _, name in sorted(NOT_NEEDED_TO_LOAD)])
def test_damage_to_what_loading_does_not_need_is_found_by_a_check(
    manager: SnapshotStateManager, other: LocalTree, store: WatchedStore, ids: tuple[str, str], name: str
) -> None:
    pack = only(store, "packs")
    DAMAGES[name](on_disk(store, pack))
    assert manager.load("alice", as_workspace(other)) is not None
    assert [problem.name for problem in manager.check("alice", read_data=True).problems] == [pack]


@pytest.mark.parametrize(
    ("below", "damage"),
    [
        pytest.param(below, damage, id=f"{below}-{name}")
        for below in ("packs", "trees", "HEAD", "format.json")
        for name, damage in DAMAGES.items()
        if (below, name) not in NOT_NEEDED_TO_LOAD
    ],
)
def test_damage_is_found_named_and_never_restored(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore, ids: tuple[str, str], below: str,
    damage: Callable[[Path], None],
) -> None:  # fmt: skip
    name = f"{PREFIX}/{below}" if below in ("HEAD", "format.json") else only(store, below)
    path = on_disk(store, name)
    damage(path)
    if below == "HEAD" and not path.exists():
        assert new_manager().load("alice", as_workspace(other)) is None
        return
    with pytest.raises(StateCorruptError) as caught:
        new_manager().load("alice", as_workspace(other))
    assert f"the stored object {name!r} of project 'alice' " in str(caught.value)
    assert str(caught.value).endswith(MARK)
    problems = new_manager().check("alice", read_data=True).problems
    assert problems
    if below != "format.json":
        assert name in {problem.name for problem in problems}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("below", ["packs", "trees", "HEAD"])
def test_snapshots_that_do_not_need_what_is_damaged_restore(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore, ids: tuple[str, str], below: str,
    damage: Callable[[Path], None],
) -> None:  # fmt: skip
    damage(on_disk(store, f"{PREFIX}/HEAD" if below == "HEAD" else only(store, below)))
    manager = new_manager()
    manager.restore("alice", ids[0], as_workspace(other))
    assert set(state_of(other.root)) == {"one", "directory", "directory/file", "link"}


def test_a_damaged_head_is_mended_by_restoring_and_saving(
    new_manager: NewManager, other: LocalTree, store: WatchedStore, ids: tuple[str, str], tmp_path: Path
) -> None:
    flip(on_disk(store, f"{PREFIX}/HEAD"), 9)
    manager = new_manager()
    manager.restore("alice", ids[1], as_workspace(other))
    manager.save("alice", as_workspace(other), "mended")
    loaded = LocalTree(tmp_path / "loaded")
    assert new_manager().load("alice", as_workspace(loaded)) is not None
    assert state_of(loaded.root) == state_of(other.root)


def test_a_damaged_history_entry_is_named(
    manager: SnapshotStateManager, store: WatchedStore, ids: tuple[str, str]
) -> None:
    name = only(store, "history")
    flip(on_disk(store, name), 9)
    with pytest.raises(StateCorruptError) as caught:
        manager.history("alice")
    message = f"the stored object {name!r} of project 'alice' does not match its own digest{MARK}"
    assert str(caught.value) == message
    assert manager.check("alice").problems == (Problem(name, message, (ids[1],)),)


def test_a_check_says_which_snapshots_a_damaged_pack_spoils(
    manager: SnapshotStateManager, store: WatchedStore, ids: tuple[str, str]
) -> None:
    name = only(store, "packs")
    flip(on_disk(store, name), 5000)
    assert manager.check("alice").is_whole
    (problem,) = manager.check("alice", read_data=True).problems
    assert (problem.name, problem.snapshots) == (name, (ids[1],))


def test_a_check_without_reading_finds_missing_and_cut_packs(
    manager: SnapshotStateManager, store: WatchedStore, ids: tuple[str, str]
) -> None:
    name = only(store, "packs")
    size = on_disk(store, name).stat().st_size
    cut(on_disk(store, name))
    assert manager.check("alice").problems == (Problem(name, f"has {size - 1} bytes, not {size}", (ids[1],)),)
    on_disk(store, name).unlink()
    assert manager.check("alice").problems == (Problem(name, "is missing", (ids[1],)),)


def test_a_check_of_what_is_whole_counts_it(
    manager: SnapshotStateManager, store: WatchedStore, ids: tuple[str, str]
) -> None:
    unused = Repository(store, "alice").pack_name("0" * 64)
    store.put_new(unused, b"left by a killed writer")
    report = manager.check("alice", read_data=True)
    assert (report.snapshots, report.packs_read, report.unused_packs, report.is_whole) == (2, 2, (unused,), True)
    assert report.objects == len(list(store.list(f"{PREFIX}/")))


def test_a_check_of_a_project_never_saved_is_empty(manager: SnapshotStateManager) -> None:
    report = manager.check("nobody")
    assert (report.snapshots, report.objects, report.problems) == (0, 0, ())


def test_an_object_of_another_project_is_refused(
    manager: SnapshotStateManager, other: LocalTree, store: WatchedStore, ids: tuple[str, str]
) -> None:
    write(other.root, "bob's")
    manager.save("bob", as_workspace(other))
    on_disk(store, f"{PREFIX}/HEAD").write_bytes(store.get(f"{encode_project_id('bob')}/HEAD"))
    with pytest.raises(StateCorruptError, match="HEAD' of project 'alice' does not match its own digest"):
        manager.load("alice", as_workspace(other))


def test_a_newer_format_is_refused_with_its_version(
    new_manager: NewManager, other: LocalTree, store: WatchedStore, ids: tuple[str, str]
) -> None:
    path = on_disk(store, f"{PREFIX}/format.json")
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(StateCorruptError, match="has version 2, and this version of omniagents-snapshot reads 1"):
        new_manager().load("alice", as_workspace(other))


class TestHostileTrees:
    """Trees made by somebody who has the key and write access to the store."""

    @pytest.fixture
    def planter(self, store: WatchedStore, ids: tuple[str, str]) -> Planter:
        """Has a sound tree of directory, directory/file, link, one, two."""
        return Planter(store, "alice")

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"paths": b"..\0../file\0link\0one\0two\0"}, "the path '..' has an empty, '.' or '..' component"),
            ({"paths": b"directory\0directory/..\0link\0one\0two\0"}, "has an empty, '.' or '..' component"),
            ({"paths": b"directory\0directory/file\0link\0\0two\0"}, "has an empty, '.' or '..' component"),
            ({"paths": b"directory\0directory/file\0/etc\0one\0two\0"}, "the path '/etc' is absolute"),
            ({"paths": b"directory\0directory/file\0link\0one\0one/../../b\0"}, "has an empty, '.' or '..' comp"),
            ({"paths": b"directory\0directory/file\0link\0two\0two\0"}, "the path 'two' comes twice"),
            ({"paths": b"directory\0directory/file\0link\0two\0one\0"}, "the path 'one' is out of order"),
            ({"paths": b"directory\0directory/file\0link\0one\0"}, "a column has 4 names, not 5"),
            (
                {"paths": b"directory\0directory/file\0link\0one\0" + b"x" * 40_000 + b"\0"},
                "is longer than 32768 bytes",
            ),
            ({"paths": b"directory\0directory/file\0link\0link/x\0two\0"}, "'link/x' is not below a directory"),
            ({"paths": b"directory\0directory/file\0link\0one\0one/two\0"}, "'one/two' is not below a directory"),
            ({"paths": b"directory\0elsewhere/file\0link\0one\0two\0"}, "'elsewhere/file' is not below a directory"),
            ({"kinds": bytes([1, 0, 2, 0, 9])}, "an entry is of an unknown kind"),
            ({"kinds": bytes([1, 0, 2, 0, 1])}, "is a directory with the parts of another kind"),
            ({"kinds": bytes([1, 0, 0, 0, 2])}, "is a link with the parts of another kind"),
            ({"kinds": b""}, "a column has 5 n[a-z]+, not 0"),
            ({"kinds": bytes([1, 0, 2, 0])}, "a column has 5 numbers, not 4|a column has 5 names, not 4"),
            ({"kinds": None}, "an entry is of an unknown kind"),
            ({"modes": pack_ints("H", [0o755, 0o644, 0, 0o644, 0o17777])}, "has the impossible mode 8191"),
            ({"modes": pack_ints("H", [0o755, 0o644, 0, 0o644])}, "a column has 4 numbers, not 5"),
            ({"modes": b"\0"}, "a column of numbers is damaged"),
            ({"seconds": pack_ints("q", [1 << 40, 0, 0, 0, 0])}, "has the impossible time"),
            ({"targets": b"\0"}, "is a link to an impossible target"),
            ({"targets": b""}, "a column has 0 names, not 1"),
            ({"counts": pack_ints("I", [0, 1, 0, 1, 4_000_000_000])}, "a column has 3 numbers, not 4000000002"),
            ({"steps": pack_ints("i", [0, 99, 0])}, "a file refers to a chunk that is not in the table"),
            ({"steps": pack_ints("i", [-1, 0, 0])}, "a file refers to a chunk that is not in the table"),
            ({"chunk_sizes": pack_ints("I", [5, 70_000, 1 << 31])}, "a chunk is not inside its segment"),
            ({"chunk_sizes": pack_ints("I", [5, 70_000, 0])}, "a chunk is not inside its segment"),
            ({"chunk_gaps": pack_ints("i", [-5, 0, 0])}, "a chunk is not inside its segment"),
            ({"chunk_gaps": pack_ints("i", [1 << 30, 0, 0])}, "a chunk is not inside its segment"),
            ({"chunk_ids": b"x" * 48}, "a chunk comes twice"),
            ({"chunk_ids": b"x" * 47}, "a column of digests is damaged"),
            ({"segment_raw": pack_ints("I", [1 << 31, 1 << 31])}, "a segment of the pack .* has an impossible size"),
            ({"segment_stored": pack_ints("I", [1 << 31, 1 << 31])}, "a segment of the pack .* has an impossible size"),
            (
                {"segment_offsets": pack_ints("I", [1 << 31, 1 << 31])},
                "a segment of the pack .* has an impossible size",
            ),
            ({"segment_chunks": pack_ints("I", [1, 1])}, "its chunk table does not add up"),
            ({"segment_packs": pack_ints("I", [1, 77])}, "there is no pack with the number 77"),
            ({"extra": [0] * 3}, "is not a map of columns"),
        ],
    )
    def test_what_no_page_may_say_is_refused_before_anything_is_written(
        self, new_manager: NewManager, other: LocalTree, planter: Planter, changes: dict[str, Any], problem: str
    ) -> None:
        planter.plant_page(changes)
        self.assert_refused(new_manager(), other, problem)

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            (
                {"pack_sizes": pack_ints("I", [1 << 31, 1 << 31])},
                "has 2147483648 bytes, more than the limit of 16777216",
            ),
            ({"pack_numbers": pack_ints("I", [1, 1])}, "a pack's number comes twice"),
            ({"pack_numbers": pack_ints("I", [1, 2, 3])}, "a column has 2 numbers, not 3"),
            ({"pack_digests": b"x" * 32}, "has 1 digests of 2 packs"),
            ({"page_entries": pack_ints("I", [4_000_000_000])}, "a page has 4000000000 entries"),
            ({"page_entries": pack_ints("I", [4])}, "a page has 5 entries, not 4"),
            ({"page_packs": pack_ints("I", [5])}, "there is no pack with the number 5"),
            ({"page_stored": pack_ints("I", [1 << 31])}, "has an impossible size"),
            ({"page_raw": pack_ints("I", [1 << 31])}, "has an impossible size"),
            ({"page_ids": bytes(16)}, "holds a page that does not match its id"),
            ({"page_ids": bytes(16 << 16) + bytes(16)}, "has 65537 pages, more than the limit of 65536"),
            ({"files": 4}, "its totals do not add up"),
            ({"bytes": 1}, "its totals do not add up"),
            ({"bytes": "x"}, "lacks or mistakes a part"),
            ({"time": 1 << 62}, "are no time"),
            ({"left_out": b"a\0"}, "zip"),
            ({"left_out": bytes(500_000)}, "lists more than 200000 paths as left out"),
            ({"project": "bob"}, "is of project 'bob'"),
            ({"extra": [0] * 3}, "is not a map of columns"),
        ],
    )
    def test_what_no_tree_may_say_is_refused_before_anything_is_written(
        self, new_manager: NewManager, other: LocalTree, planter: Planter, changes: dict[str, Any], problem: str
    ) -> None:
        planter.plant_outline(changes)
        self.assert_refused(new_manager(), other, problem)

    def test_many_pages_that_are_one_do_not_take_memory(
        self, new_manager: NewManager, other: LocalTree, planter: Planter
    ) -> None:
        """A kilobyte that claims to be sixty thousand pages of two million entries: refused at the second page."""
        pages = 60_000
        repeated = ("page_ids", "page_entries", "page_packs", "page_offsets", "page_stored", "page_raw")
        planter.plant_outline({name: planter.outline[name] * pages for name in repeated})
        self.assert_refused(new_manager(), other, "its totals do not add up|comes twice|out of order")

    def assert_refused(self, manager: SnapshotStateManager, other: LocalTree, problem: str) -> None:
        with pytest.raises(StateCorruptError, match=problem):
            manager.load("alice", as_workspace(other))
        assert state_of(other.root) == {}
        assert "import" not in other.requests

    @pytest.mark.parametrize("missing", ["paths", "kinds", "chunk_ids"])
    def test_a_page_that_lacks_a_part_is_refused(
        self, new_manager: NewManager, other: LocalTree, planter: Planter, missing: str
    ) -> None:
        del planter.page[missing]
        planter.page.setdefault("kinds", None)
        problem = f"lacks or mistakes a part .KeyError.'{missing}'" if missing != "kinds" else "an unknown kind"
        planter.plant_page({})
        self.assert_refused(new_manager(), other, problem)

    @pytest.mark.parametrize("missing", ["message", "pack_digests", "page_ids"])
    def test_a_tree_that_lacks_a_part_is_refused(
        self, new_manager: NewManager, other: LocalTree, planter: Planter, missing: str
    ) -> None:
        del planter.outline[missing]
        planter.plant_outline({})
        self.assert_refused(new_manager(), other, f"lacks or mistakes a part .KeyError.'{missing}'")

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (seal(b"not MessagePack"), "is not a map of columns"),
            (seal(b"\xdf\xff\xff\xff\xff"), "is not a map of columns"),
            (seal(b"\x81\xa5names\xc6\xff\xff\xff\xff"), "is not a map of columns"),
            (seal(b"\x91" * 100_000), "is not a map of columns"),
            (b"not a frame", "is not a whole zstd frame"),
            (seal(b"x") + seal(b"y"), "is not a whole zstd frame"),
        ],
        ids=["text", "billion entries", "billion bytes", "deep", "no frame", "two frames"],
    )
    def test_nonsense_is_refused(
        self, new_manager: NewManager, other: LocalTree, planter: Planter, data: bytes, problem: str
    ) -> None:
        planter.plant(data)
        self.assert_refused(new_manager(), other, problem)

    def test_a_decompression_bomb_is_refused_by_what_it_declares(
        self, new_manager: NewManager, other: LocalTree, planter: Planter
    ) -> None:
        compressor = zstandard.ZstdCompressor(level=3).compressobj(size=300 << 20)
        bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(300)) + compressor.flush()
        planter.plant(bomb)
        self.assert_refused(new_manager(), other, "holds 314572800 bytes, more than the limit of 67108864")

    def test_a_bomb_that_declares_nothing_is_refused(
        self, new_manager: NewManager, other: LocalTree, planter: Planter
    ) -> None:
        compressor = zstandard.ZstdCompressor(level=3, write_content_size=False)
        planter.plant(compressor.compress(bytes(1 << 20)))
        self.assert_refused(new_manager(), other, "more than the limit of 67108864")

    def test_a_bomb_in_place_of_a_page_is_refused(
        self, new_manager: NewManager, other: LocalTree, planter: Planter
    ) -> None:
        compressor = zstandard.ZstdCompressor(level=3).compressobj(size=300 << 20)
        bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(300)) + compressor.flush()
        planter.plant_page_bytes(pack_fields(planter.page), {}, bomb)
        self.assert_refused(new_manager(), other, "holds 314572800 bytes, more than the limit of 4194304")

    def test_a_chunk_whose_size_is_a_lie_is_never_written(
        self, new_manager: NewManager, other: LocalTree, planter: Planter
    ) -> None:
        """The bytes at the place the tree names are some of the right ones, under the right id."""
        sizes = unpack_ints("I", planter.page["chunk_sizes"])
        shorter = pack_ints("I", [*sizes[:-1], sizes[-1] - 1])
        planter.plant_page({"chunk_sizes": shorter}, {"bytes": planter.outline["bytes"] - 1})
        with pytest.raises(StateCorruptError, match="holds a chunk that does not match its id"):
            new_manager().load("alice", as_workspace(other))
        assert (other.root / "two").read_bytes() == b""

    def test_a_small_tree_that_unfolds_to_terabytes_is_over_the_quota(
        self, new_manager: NewManager, other: LocalTree, planter: Planter
    ) -> None:
        many = 900_000
        counts = pack_ints("I", [0, 1, 0, 1, many])
        steps = pack_ints("i", [0, 0, 0]) + pack_ints("i", [-1]) * (many - 1)
        planter.plant_page({"counts": counts, "steps": steps}, {"bytes": 5 + 70_000 + 70_000 * many})
        with pytest.raises(StateQuotaError, match="holds 63,000,070,005 bytes, more than the limit of 17,179,869,184"):
            new_manager().load("alice", as_workspace(other))

    @pytest.mark.parametrize(
        "tree_bytes", [0, -1, 1 << 40, "12", None], ids=["none", "negative", "huge", "text", "missing"]
    )
    def test_a_head_that_names_an_impossible_tree_is_refused(
        self, new_manager: NewManager, other: LocalTree, store: WatchedStore, ids: tuple[str, str], tree_bytes: object
    ) -> None:
        hasher = Repository(store, "alice").hasher
        path = on_disk(store, f"{PREFIX}/HEAD")
        fields = json.loads(path.read_bytes().rpartition(b"}")[0] + b"}")
        text = json.dumps(fields | {"tree_bytes": tree_bytes}).encode()
        path.write_bytes(text + b"\n" + hasher.digest(text).encode() + b"\n")
        with pytest.raises(StateCorruptError, match=f"names a tree of {tree_bytes!r} bytes"):
            new_manager().load("alice", as_workspace(other))


class TestHostileEnvironments:
    """What an environment says of itself is checked before it is stored."""

    @pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a//b", "a/./b", "", "a\0b", "\ud800", "x" * 40_000])
    def test_an_impossible_path_is_left_out(self, manager: SnapshotStateManager, tree: LocalTree, path: str) -> None:
        write(tree.root, "a")
        self.say(tree, lambda entries: [*entries, entries[0]._replace(path=path)])
        snapshot = manager.save("alice", as_workspace(tree))
        assert snapshot.files == 1
        assert [(left_out.path, left_out.reason[:8]) for left_out in snapshot.left_out] == [(path, "its path")]

    @pytest.mark.parametrize(
        "lie",
        [
            lambda entries: entries + entries[:1],
            lambda entries: entries[1:],
            lambda entries: [entries[0]._replace(mtime_ns=1 << 70), *entries[1:]],
            lambda entries: [*entries, entries[0]._replace(path="link", kind="link", target=None)],
            lambda entries: [*entries, entries[0]._replace(path="link", kind="link", target="a\0b")],
        ],
        ids=["twice", "no parent", "time", "no target", "odd target"],
    )
    def test_an_impossible_tree_is_refused_and_the_previous_snapshot_stays(
        self, manager: SnapshotStateManager, tree: LocalTree, lie: Callable[[list[Any]], list[Any]]
    ) -> None:
        write(tree.root, "a/b")
        first = manager.save("alice", as_workspace(tree))
        write(tree.root, "new")
        self.say(tree, lie)
        with pytest.raises(StateError, match="the workspace of project 'alice' cannot be saved: the path "):
            manager.save("alice", as_workspace(tree))
        assert manager.history("alice") == [first]

    def test_other_files_than_asked_for_are_refused(self, manager: SnapshotStateManager, tree: LocalTree) -> None:
        write(tree.root, "a")
        write(tree.root, "b")
        real = tree.export
        tree.export = lambda paths: real(list(reversed(paths)))  # type: ignore[method-assign]
        with pytest.raises(StateError, match="asked for the file 'a', the environment sent 'b'"):
            manager.save("alice", as_workspace(tree))

    @staticmethod
    def say(tree: LocalTree, lie: Callable[[list[Any]], list[Any]]) -> None:
        real = tree.scan

        def scan(*args: Any, **options: Any) -> Any:
            found = real(*args, **options)
            return replace(found, entries=lie(found.entries))

        tree.scan = scan  # type: ignore[method-assign]
