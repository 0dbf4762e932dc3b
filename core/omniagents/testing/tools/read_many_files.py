"""``read_many_files``."""

from __future__ import annotations

import re
from functools import partial

import pytest

from omniagents.testing.tools.base import Call, ToolTests, files_in
from omniagents.workspace import Workspace

__all__ = ["ReadManyFilesTests"]

_END = "--- End of content ---"


def _blocks(content: str) -> dict[str, str]:
    """Path and text of every block."""
    parts = re.split(r"^--- (.+) ---\n", content.removesuffix(_END), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


class ReadManyFilesTests(ToolTests):
    """Blocks of many files."""

    @pytest.fixture
    def read_many(self, call: Call) -> Call:
        return partial(call, "read_many_files")

    def test_files_come_as_blocks_sorted_by_path(self, workspace: Workspace, read_many: Call) -> None:
        files_in(workspace, {"b.txt": b"two\n", "a.txt": b"one", "dir/c.txt": b"three\n"})
        result = read_many(paths=["dir", "b.txt", "*.txt"])
        assert result.content == f"--- a.txt ---\none\n--- b.txt ---\ntwo\n--- dir/c.txt ---\nthree\n{_END}"

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"paths": ["**/*.py"]}, {"a.py", "src/b.py", "src/deep/c.py"}),
            ({"paths": ["src"]}, {"src/b.py", "src/d.md", "src/deep/c.py"}),
            ({"paths": ["src"], "recursive": False}, {"src/b.py", "src/d.md"}),
            ({"paths": ["."], "include": ["*.md"]}, {"src/d.md", "e.md"}),
            ({"paths": ["."], "exclude": ["src/deep", "*.md"]}, {"a.py", "src/b.py"}),
            ({"paths": "a.py"}, {"a.py"}),
            ({"paths": ["a.py", "a.py", "./a.py"]}, {"a.py"}),
        ],
        ids=lambda value: ascii(value) if isinstance(value, dict) else "",
    )
    def test_globs_files_and_directories_name_files(
        self, workspace: Workspace, read_many: Call, arguments: dict[str, object], expected: set[str]
    ) -> None:
        files_in(workspace, dict.fromkeys(("a.py", "src/b.py", "src/deep/c.py", "src/d.md", "e.md"), b"x\n"))
        assert set(_blocks(read_many(**arguments).content)) == expected

    def test_ignored_files_and_caches_are_counted_and_can_be_included(
        self, workspace: Workspace, read_many: Call
    ) -> None:
        files_in(workspace, {".gitignore": b"*.log\n", "a.txt": b"x", "b.log": b"x", "node_modules/c.js": b"x"})
        result = read_many(paths=["."])
        assert set(_blocks(result.content)) == {".gitignore", "a.txt"}
        for word in ("b.log", "node_modules", "use_default_excludes"):
            assert word in result.content
        everything = read_many(paths=["."], use_default_excludes=False)
        assert set(_blocks(everything.content)) == {".gitignore", "a.txt", "b.log", "node_modules/c.js"}

    def test_the_room_is_shared_fairly(self, workspace: Workspace, read_many: Call) -> None:
        files_in(
            workspace,
            {
                "huge.txt": b"".join(b"huge line %d\n" % number for number in range(50_000)),
                "large.txt": b"".join(b"large line %d\n" % number for number in range(50_000)),
                "small.txt": b"small\n",
            },
        )
        result = read_many(paths=["*.txt"])
        blocks = _blocks(result.content)
        assert blocks["small.txt"] == "small\n"
        assert min(len(blocks["huge.txt"]), len(blocks["large.txt"])) > 20_000
        assert "read_file" in blocks["huge.txt"]
        assert "read_file" in blocks["large.txt"]
        assert len(result.content) < 51_000

    def test_one_bad_file_does_not_fail_the_rest(self, workspace: Workspace, read_many: Call) -> None:
        files_in(workspace, {"a.txt": b"fine\n", "b.bin": b"\0\1\2", "secret.txt": b"x"})
        workspace.run("mkfifo pipe; ln -s nowhere broken; ln -s /etc/hostname out.txt; chmod 000 secret.txt")
        result = read_many(paths=["**", "missing.txt", "out.txt", "pipe"])
        assert result.error_type is None
        assert _blocks(result.content)["a.txt"].endswith("fine\n")
        for name in ("b.bin", "missing.txt", "secret.txt", "out.txt", "pipe"):
            assert name in result.content
        assert set(_blocks(result.content)) == {"a.txt"}

    def test_nothing_but_bad_files_is_an_error(self, read_many: Call) -> None:
        result = read_many(paths=["missing.txt"])
        assert result.error_type == "FILE_NOT_FOUND"
        assert "missing.txt" in result.content

    def test_images_and_documents_come_only_when_asked_for(self, workspace: Workspace, read_many: Call) -> None:
        png = b"\x89PNG\r\n\x1a\n" + bytes(30)
        files_in(workspace, {"a.txt": b"x", "pic.png": png, "doc.pdf": b"%PDF-1.4\n" + bytes(30)})
        result = read_many(paths=["**"])
        assert result.parts == ()
        assert "pic.png" in result.content
        assert [part.name for part in read_many(paths=["pic.png"]).parts] == ["pic.png"]
        assert [part.data for part in read_many(paths=["*.png"]).parts] == [png]
        assert [part.name for part in read_many(paths=["**"], include=["*.pdf"]).parts] == ["doc.pdf"]

    def test_text_is_decoded_as_read_file_does(self, workspace: Workspace, read_many: Call) -> None:
        files_in(workspace, {"latin.txt": b"caf\xe9\n", "marked.txt": "\ufeffnaïve\n".encode("utf-16-le")})
        blocks = _blocks(read_many(paths=["*.txt"]).content)
        assert blocks["latin.txt"].endswith("café\n")
        assert "Latin-1" in blocks["latin.txt"]
        assert blocks["marked.txt"] == "naïve\n"

    def test_a_thousand_files_are_read_or_counted(self, workspace: Workspace, read_many: Call) -> None:
        workspace.run("for i in $(seq -w 1000); do echo content of $i > f$i; done")
        result = read_many(paths=["**"])
        shown = len(_blocks(result.content))
        assert 500 < shown <= 1000
        assert len(result.content) < 52_000

    def test_an_empty_file_has_a_block_that_says_so(self, workspace: Workspace, read_many: Call) -> None:
        workspace.write_bytes("a.txt", b"")
        assert "empty" in _blocks(read_many(paths=["a.txt"]).content)["a.txt"]
