"""Whole trees as streams: what goes out comes in again unchanged, and a hostile stream writes nothing outside."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omniagents import trees
from omniagents.errors import GuestCallError
from omniagents.guest import archive, protocol
from omniagents.guest.context import Call, Context
from omniagents.guest.failure import GuestFailure
from omniagents.guest.files import describe
from omniagents.guest.root import Root
from omniagents.listing import Listing
from omniagents.records import ExportedEntry, FileInfo, ImportEntry


def export(root: Path, names: Sequence[str]) -> Iterator[ExportedEntry]:
    call = Call(trees.encode_names(names))
    archive.export(Context(Root(str(root)), call), {})
    return trees.decode_export(iter(call.sent), names)


def import_stream(root: Path, stream: bytes) -> bytes:
    call = Call(stream)
    archive.import_(Context(Root(str(root)), call), {})
    return b"".join(call.sent)


def encoded(entries: Iterable[ImportEntry], remove: Sequence[str] = ()) -> bytes:
    sent: list[bytes] = []
    trees.encode_import(entries, remove, lambda data: sent.append(data) is None)
    return b"".join(sent)


def import_entries(root: Path, entries: Iterable[ImportEntry], remove: Sequence[str] = ()) -> Sequence[FileInfo]:
    described = Listing()

    def noted() -> Iterator[ImportEntry]:
        for entry in entries:
            described.append(entry.info)
            yield entry

    return trees.decode_statuses(import_stream(root, encoded(noted(), remove)), described)


def entry(path: str, kind: Any = "file", content: bytes = b"", mode: int = 0o644, **facts: Any) -> ImportEntry:
    size = facts.pop("size", len(content))
    info = FileInfo(path, kind, size, mode, facts.get("mtime_ns", 1_000_000_007), 0, 0, facts.get("target"))
    return ImportEntry(info, [content] if content else [])


def described(root: Path) -> dict[bytes, tuple[Any, ...]]:
    """Everything below ``root``: kind and mode, mtime, content or target."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for directory, directories, files in os.walk(os.fsencode(root)):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: bytes | None = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(root))] = (status.st_mode, status.st_mtime_ns, content)
    return found


@contextmanager
def two_directories() -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        yield Path(one), Path(other)


@pytest.fixture
def jail(tmp_path: Path) -> Iterator[Path]:
    """A workspace with something beside it that must never be touched."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "workspace").mkdir()
    yield tmp_path / "workspace"
    assert {path.name: path.read_text() for path in (tmp_path / "outside").iterdir()} == {"secret": "secret"}
    assert sorted(os.listdir(tmp_path)) == ["outside", "workspace"]


names = st.binary(min_size=1, max_size=12).filter(lambda name: name not in (b".", b"..") and not set(name) & {0, 47})
times = st.integers(0, 4_000_000_000_000_000_000)
leaves = st.one_of(
    st.tuples(
        st.just("file"),
        st.binary(max_size=200) | st.integers(1, 3).map(lambda count: bytes(250_000 * count)),
        st.integers(0o400, 0o1777),
        times,
    ),
    st.tuples(st.just("link"), st.binary(min_size=1, max_size=40).filter(lambda target: 0 not in target), times),
)
tree = st.recursive(
    leaves,
    lambda inner: st.tuples(st.just("directory"), st.dictionaries(names, inner, max_size=4), times),
    max_leaves=10,
)


def plant(path: bytes, node: Any) -> None:
    if node[0] == "link":
        os.symlink(node[1], path)
        os.utime(path, ns=(node[-1],) * 2, follow_symlinks=False)
        return
    if node[0] == "file":
        Path(os.fsdecode(path)).write_bytes(node[1])
        os.chmod(path, node[2] | 0o400)
    else:
        os.mkdir(path)
        for name, child in node[1].items():
            plant(os.path.join(path, name), child)
    os.utime(path, ns=(node[-1],) * 2)


@settings(max_examples=60)
@given(top=st.dictionaries(names, tree, max_size=5))
def test_a_tree_that_is_exported_and_imported_is_the_same_tree(top: dict[bytes, Any]):
    with two_directories() as (source, target):
        for name, node in top.items():
            plant(os.path.join(os.fsencode(source), name), node)
        paths = sorted(os.fsdecode(path) for path in described(source))
        entries = list(export_in_memory(source, paths))
        statuses = import_entries(target, entries)
        assert described(target) == described(source)
        assert [status.path for status in statuses] == paths
        for status in statuses:
            real = os.lstat(target / status.path)
            assert (status.inode, status.mtime_ns, status.ctime_ns) == (real.st_ino, real.st_mtime_ns, real.st_ctime_ns)


def export_in_memory(root: Path, paths: Sequence[str]) -> Iterator[ImportEntry]:
    for exported in export(root, paths):
        chunks = list(exported.chunks)
        assert exported.problem is None
        yield ImportEntry(exported.info, chunks)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a//b", "./a", "a/", ".", "..", "", "a\0b", "a/./b", "//"])
def test_an_entry_that_names_another_place_is_refused(jail: Path, path: str):
    for kind in ("file", "directory", "link"):
        with pytest.raises(GuestFailure) as refusal:
            import_stream(jail, encoded([entry(path, kind, target="t")]))
        assert refusal.value.code == "PATH_OUTSIDE_WORKSPACE"
    assert list(jail.iterdir()) == []


@pytest.mark.parametrize("path", ["../outside/secret", "/etc/passwd", "link/secret/..", ".."])
def test_only_names_below_the_workspace_are_removed_or_exported(jail: Path, path: str):
    with pytest.raises(GuestFailure, match="an archive may not name"):
        import_stream(jail, encoded([], [path]))
    with pytest.raises(GuestFailure, match="an archive may not name"):
        list(export(jail, [path]))


def test_names_are_split_by_nobody_but_us():
    with pytest.raises(ValueError, match="a path is not empty and has no NUL character"):
        trees.encode_names(["a\0b"])
    with pytest.raises(ValueError, match="a path is not empty and has no NUL character"):
        trees.encode_names(["a", ""])


def test_nothing_is_written_through_a_link_that_the_archive_plants(jail: Path):
    import_entries(jail, [entry("d", "link", target="../outside"), entry("d/secret", content=b"overwritten")])
    assert (jail / "d" / "secret").read_text() == "overwritten"
    assert not (jail / "d").is_symlink()


def test_nothing_is_written_through_a_link_that_is_there(jail: Path):
    (jail / "d").symlink_to("../outside")
    (jail / "f").symlink_to("../outside/secret")
    import_entries(jail, [entry("d", "directory"), entry("d/secret", content=b"new"), entry("f", content=b"new")])
    assert (jail / "f").read_text() == "new"


def test_nothing_is_removed_or_exported_through_a_link(jail: Path):
    (jail / "d").symlink_to("../outside")
    import_entries(jail, [], remove=["d/secret"])
    assert [(found.info.kind, found.problem) for found in export_all(jail, ["d/secret"])] == [("file", "vanished")]
    import_entries(jail, [], remove=["d"])
    assert not (jail / "d").is_symlink()


def export_all(root: Path, paths: Sequence[str]) -> list[ExportedEntry]:
    found = []
    for exported in export(root, paths):
        for _ in exported.chunks:
            continue
        found.append(exported)
    return found


def test_devices_and_fifos_are_refused(jail: Path):
    with pytest.raises(GuestFailure) as refusal:
        import_stream(jail, encoded([entry("dev", "other")]))
    assert str(refusal.value) == "an archive may hold files, directories and links only"


def header(path: bytes, *, kind: int = archive.FILE, size: int = 0, path_length: int | None = None) -> bytes:
    length = len(path) if path_length is None else path_length
    return archive.HEADER.pack(kind, 0o644, size, 0, 0, 0, length, 0) + path


NONE_REMOVED = struct.pack(">I", 0)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\0\0",
        NONE_REMOVED + b"\0",
        NONE_REMOVED + header(b"a"),
        NONE_REMOVED + header(b"a", size=4) + struct.pack(">I", 4) + b"ab",
        NONE_REMOVED + header(b"a", size=4) + struct.pack(">I", 4) + b"abcd" + struct.pack(">I", 0),
        NONE_REMOVED + header(b"a", path_length=400),
    ],
)
def test_a_truncated_stream_is_refused_and_leaves_no_part_of_a_file(jail: Path, stream: bytes):
    with pytest.raises(GuestFailure, match="the archive ends in the middle of an entry"):
        import_stream(jail, stream)
    assert list(jail.iterdir()) == []


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack(">I", 0xFFFFFFFF),
        NONE_REMOVED + header(b"a", path_length=0xFFFFFFFF),
        NONE_REMOVED + header(b"a", size=1 << 40) + struct.pack(">I", 0xFFFFFFFF),
    ],
)
def test_giant_lengths_are_refused_before_their_bytes_come(jail: Path, stream: bytes):
    with pytest.raises(GuestFailure, match=r"an archive with a part of 4294967295 bytes"):
        import_stream(jail, stream)
    assert list(jail.iterdir()) == []


@pytest.mark.parametrize("size", [0, 3, 5, -1])
def test_content_of_another_size_than_stated_is_refused(jail: Path, size: int):
    (jail / "a").write_text("old")
    with pytest.raises(GuestFailure) as refusal:
        import_stream(jail, encoded([entry("a", content=b"abcd", size=size)]))
    assert str(refusal.value) == f"an archive entry of {size} bytes holds 4"
    assert {path.name: path.read_text() for path in jail.iterdir()} == {"a": "old"}


@given(stream=st.binary(max_size=300), is_framed=st.booleans())
def test_random_streams_are_refused_or_stay_inside(stream: bytes, is_framed: bool):
    with two_directories() as (parent, _):
        (parent / "workspace").mkdir()
        try:
            import_stream(parent / "workspace", NONE_REMOVED + stream if is_framed else stream)
        except GuestFailure:
            pass
        assert os.listdir(parent) == ["workspace"]


KINDS = ["nothing", "file", "directory", "link"]


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS[1:])
def test_an_entry_replaces_what_is_at_its_path(jail: Path, old: str, new: Any):
    place = jail / "a"
    if old == "file":
        place.write_text("old")
    elif old == "link":
        place.symlink_to("../outside/secret")
    elif old == "directory":
        (place / "b" / "c").mkdir(parents=True)
        (place / "b").chmod(0o555)
    import_entries(jail, [entry("a", new, b"new" if new == "file" else b"", 0o755, target="t")])
    status = place.lstat()
    assert {"file": stat.S_ISREG, "directory": stat.S_ISDIR, "link": stat.S_ISLNK}[new](status.st_mode)
    assert status.st_mtime_ns == 1_000_000_007
    assert [path.name for path in jail.iterdir()] == ["a"]
    if new == "file":
        assert place.read_text() == "new"


def test_the_same_path_as_directory_and_then_as_file_is_refused(jail: Path):
    with pytest.raises(GuestFailure) as refusal:
        import_stream(jail, encoded([entry("d", "directory", mode=0o755), entry("d", content=b"x")]))
    assert (refusal.value.code, refusal.value.path) == ("NOT_A_DIRECTORY", "d")


def test_set_id_bits_of_files_are_dropped(jail: Path):
    import_entries(jail, [entry("a", mode=0o6755), entry("d", "directory", mode=0o7777)])
    assert stat.S_IMODE((jail / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((jail / "d").stat().st_mode) == 0o3777


def test_a_read_only_directory_takes_entries_and_stays_read_only(jail: Path):
    (jail / "d").mkdir()
    (jail / "d").chmod(0o500)
    import_entries(jail, [entry("d/a", content=b"x")])
    assert (jail / "d" / "a").read_text() == "x"
    assert stat.S_IMODE((jail / "d").stat().st_mode) == 0o500


def test_an_import_that_fails_gives_directories_their_modes_back(jail: Path):
    (jail / "d").mkdir()
    (jail / "d").chmod(0o500)
    with pytest.raises(GuestFailure):
        import_stream(jail, encoded([entry("d/a", content=b"x"), entry("..")]))
    assert stat.S_IMODE((jail / "d").stat().st_mode) == 0o500


def test_deep_trees_are_exported_and_imported_through_few_descriptors(tmp_path: Path):
    depth = 1_100  # more than a process has descriptors, or Python levels of recursion
    paths = ["/".join(["d"] * length) for length in range(1, depth + 1)]
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    import_entries(source, [entry(path, "directory", mode=0o700) for path in paths])
    import_entries(source, [entry(paths[-1] + "/leaf", content=b"x")])
    entries = list(export_in_memory(source, [*paths, paths[-1] + "/leaf"]))
    import_entries(target, entries)
    assert b"".join(export_in_memory_content(target, paths[-1] + "/leaf")) == b"x"
    assert len(os.listdir("/proc/self/fd")) == before
    import_entries(source, [], remove=["d"])
    import_entries(target, [], remove=["d"])
    assert list(source.iterdir()) == []


def export_in_memory_content(root: Path, path: str) -> Iterable[bytes]:
    (found,) = export_in_memory(root, [path])
    return found.chunks


def test_a_file_that_grows_or_changes_while_it_is_exported_is_flagged(jail: Path):
    class Growing(Call):
        def send(self, data: bytes) -> None:
            super().send(data)
            with (jail / "big").open("ab") as file:
                file.write(b"more")

    (jail / "big").write_bytes(bytes(3 << 20))
    call = Growing(b"big")
    archive.export(Context(Root(str(jail)), call), {})
    for exported in trees.decode_export(iter(call.sent), ["big"]):
        assert sum(map(len, exported.chunks)) <= 3 << 20
        assert exported.problem == "changed"


@pytest.mark.parametrize("late", ["file", "directory", "link"])
def test_a_time_that_is_too_late_for_64_bits_is_the_latest(jail: Path, late: str):
    (jail / "file").touch()
    (jail / "directory").mkdir()
    (jail / "link").symlink_to("file")
    subprocess.run(["touch", "-h", "-d", "2400-01-01", jail / late], check=True)
    if (jail / late).lstat().st_mtime_ns < 1 << 63:
        pytest.skip("this file system has no such times")
    for exported in export(jail, [late]):
        assert exported.info.mtime_ns == archive.LATEST_NS
    told = describe(late, (jail / late).lstat(), str(jail / late))
    assert trees.file_info(told).mtime_ns == archive.LATEST_NS


def test_fifos_sockets_and_missing_files_never_block_an_export(jail: Path):
    os.mkfifo(jail / "fifo")
    (jail / "file").write_text("x")
    found = export_all(jail, ["fifo", "missing", "file/below", "file"])
    assert [(each.info.kind, each.problem) for each in found] == [
        ("other", None),
        ("file", "vanished"),
        ("file", "vanished"),
        ("file", None),
    ]


def stream_of(path: bytes, content: bytes, *, size: int | None = None, problem: int = 0, kind: int = 0) -> bytes:
    stated = len(content) if size is None else size
    piece = struct.pack(">I", len(content)) + content if content else b""
    return header(path, size=stated, kind=kind) + piece + struct.pack(">I", 0) + bytes([problem])


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        stream_of(b"../x", b"abc"),
        stream_of(b"/etc/passwd", b"abc"),
        stream_of(b"b", b"abc"),
        stream_of(b"a", b"abc", size=2),
        stream_of(b"a", b"abc", size=4),
        stream_of(b"a", b"abc", size=-1),
        stream_of(b"a", b"abc", problem=9),
        stream_of(b"a", b"abc", kind=9),
        stream_of(b"a", b"abc")[:-1],
        stream_of(b"a", b"abc") + stream_of(b"a", b"abc"),
        stream_of(b"a", b"abc") + b"\0",
        header(b"a", size=1 << 40) + struct.pack(">I", 1 << 31),
        header(b"a", path_length=1 << 31),
    ],
)
def test_an_export_that_is_not_what_was_asked_for_is_refused_by_the_host(stream: bytes):
    with pytest.raises(GuestCallError, match="the guest's answer cannot be right"):
        consume(stream)


def consume(stream: bytes) -> None:
    for exported in trees.decode_export(iter([stream[:20], stream[20:]]), ["a"]):
        for _ in exported.chunks:
            continue


@given(stream=st.binary(max_size=200))
def test_random_exports_are_refused_by_the_host(stream: bytes):
    with pytest.raises(GuestCallError, match="the guest's answer cannot be right"):
        consume(stream)


def test_a_wrong_number_of_statuses_is_refused():
    with pytest.raises(GuestCallError, match="another number of entries"):
        trees.decode_statuses(b"x" * archive.STATUS.size, Listing())


def test_large_content_goes_out_in_whole_frames():
    sent: list[bytes] = []
    trees.encode_import([entry("f", content=bytes(3 << 20))], [], lambda data: sent.append(data) is None)
    assert [len(data) for data in sent[1:-1]] == [protocol.CHUNK] * 12


def test_no_more_is_read_for_an_import_that_has_ended():
    read = []

    def entries() -> Iterator[ImportEntry]:
        for number in range(100):
            read.append(number)
            yield entry(f"f{number}", content=bytes(1 << 20))

    assert trees.encode_import(entries(), [], lambda data: False) is False
    assert read == [0]
