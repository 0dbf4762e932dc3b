"""``write_file``."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest

from omniagents.testing.tools.base import Call, ToolTests
from omniagents.workspace import Workspace

__all__ = ["WriteFileTests"]


class WriteFileTests(ToolTests):
    """Exactly these bytes, or nothing."""

    @pytest.fixture
    def write(self, call: Call) -> Call:
        return partial(call, "write_file")

    @pytest.mark.parametrize(
        "content",
        [
            "", "x", "no newline", "line\n", "cr\rlf\r\n", "quotes ' \" `x` $HOME $(id) \\ !\n", "<<EOF\nEOF\n'EOF'\n",
            "🎉 ünï\u2028\n", "\0nul", "\ufeffmark",
        ],
        ids=ascii,
    )  # fmt: skip
    def test_a_new_file_has_exactly_the_given_bytes(self, workspace: Workspace, write: Call, content: str) -> None:
        result = write(absolute_path="a.txt", content=content)
        assert result.error_type is None
        assert workspace.read_bytes("a.txt") == content.encode()

    def test_three_megabytes_arrive_whole(self, workspace: Workspace, write: Call) -> None:
        content = "".join(f"{number} line é\n" for number in range(200_000))
        assert write(absolute_path="a.txt", content=content).error_type is None
        digest = hashlib.sha256(workspace.read_bytes("a.txt")).digest()
        assert digest == hashlib.sha256(content.encode()).digest()

    def test_creating_and_overwriting_are_told_apart_with_lines_and_bytes(self, write: Call) -> None:
        created = write(absolute_path="dir/sub/a.txt", content="é\ntwo")
        overwrote = write(absolute_path="dir/sub/a.txt", content="one\ntwo\nthree\n")
        assert created.content.lower().startswith("created dir/sub/a.txt")
        assert "2 lines" in created.content
        assert "6 bytes" in created.content
        assert overwrote.content.lower().startswith("overwrote dir/sub/a.txt")
        assert "3 lines" in overwrote.content

    def test_overwriting_shows_what_changed(self, workspace: Workspace, write: Call) -> None:
        workspace.write_bytes("a.txt", b"one\ntwo\nthree\n")
        lines = write(absolute_path="a.txt", content="one\n2\nthree\n").content.splitlines()
        assert "-two" in lines
        assert "+2" in lines

    def test_a_large_change_is_shown_in_short(self, workspace: Workspace, write: Call) -> None:
        workspace.write_bytes("a.txt", b"".join(b"old %d\n" % number for number in range(20_000)))
        new = "".join(f"new {number}\n" for number in range(20_000))
        assert len(write(absolute_path="a.txt", content=new).content) < 10_000

    def test_the_mode_is_kept(self, workspace: Workspace, write: Call) -> None:
        workspace.write_bytes("run.sh", b"old", mode=0o755)
        write(absolute_path="run.sh", content="new")
        assert workspace.stat("run.sh").mode == 0o755

    def test_a_link_inside_is_followed_to_its_target(self, workspace: Workspace, write: Call) -> None:
        workspace.write_bytes("dir/a.txt", b"old")
        workspace.run("ln -s dir/a.txt link")
        assert "dir/a.txt" in write(absolute_path="link", content="new").content
        assert workspace.read_bytes("dir/a.txt") == b"new"
        assert workspace.stat("link", follow=False).kind == "link"

    def test_over_crlf_lines_line_feeds_become_crlf_and_that_is_said(self, workspace: Workspace, write: Call) -> None:
        workspace.write_bytes("a.txt", b"one\r\ntwo\r\n")
        assert "CRLF" in write(absolute_path="a.txt", content="1\n2\n").content
        assert workspace.read_bytes("a.txt") == b"1\r\n2\r\n"

    def test_over_mixed_line_ends_the_content_is_written_as_given(self, workspace: Workspace, write: Call) -> None:
        workspace.write_bytes("a.txt", b"one\r\ntwo\n")
        write(absolute_path="a.txt", content="1\n2\r\n")
        assert workspace.read_bytes("a.txt") == b"1\n2\r\n"

    @pytest.mark.parametrize(
        ("mark", "encoding"), [(b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")]
    )
    def test_a_byte_order_mark_stays(self, workspace: Workspace, write: Call, mark: bytes, encoding: str) -> None:
        workspace.write_bytes("a.txt", mark + "old é".encode(encoding))
        write(absolute_path="a.txt", content="new é")
        assert workspace.read_bytes("a.txt") == mark + "new é".encode(encoding)

    @pytest.mark.parametrize(
        "line",
        [
            "// rest of code ...",
            "# ... rest of the code ...",
            "/* ... existing code ... */",
            "# (rest of methods unchanged)",
        ],
    )
    def test_a_line_that_only_stands_for_left_out_code_is_refused(
        self, workspace: Workspace, write: Call, line: str
    ) -> None:
        workspace.write_bytes("a.py", b"def f():\n    return 1\n\n\ndef g():\n    return 2\n")
        result = write(absolute_path="a.py", content=f"def f():\n    return 3\n\n{line}\n")
        assert result.error_type == "OMISSION_PLACEHOLDER"
        assert line in result.content
        assert workspace.read_bytes("a.py") == b"def f():\n    return 1\n\n\ndef g():\n    return 2\n"

    def test_an_ordinary_ellipsis_is_written(self, workspace: Workspace, write: Call) -> None:
        content = "def f() -> None: ...\n\n# the rest is history\nx = [1, ...]\n..."
        assert write(absolute_path="a.py", content=content).error_type is None
        assert workspace.read_bytes("a.py") == content.encode()

    def test_a_file_without_write_permission_is_refused(self, workspace: Workspace, write: Call) -> None:
        workspace.write_bytes("a.txt", b"old", mode=0o444)
        assert write(absolute_path="a.txt", content="new").error_type == "PERMISSION_DENIED"
        assert workspace.read_bytes("a.txt") == b"old"

    def test_a_name_that_is_too_long_is_a_wrong_argument(self, workspace: Workspace, write: Call) -> None:
        assert write(absolute_path="x" * 300, content="x").error_type == "INVALID_ARGUMENTS"
        assert workspace.list() == []

    def test_half_a_character_is_a_wrong_argument(self, workspace: Workspace, write: Call) -> None:
        assert write(absolute_path="a.txt", content="half \ud83d").error_type == "INVALID_ARGUMENTS"
        assert workspace.list() == []

    def test_nothing_else_is_left_behind(self, workspace: Workspace, write: Call) -> None:
        write(absolute_path="a.txt", content="1")
        write(absolute_path="a.txt", content="2")
        assert workspace.run("ls -A").stdout == b"a.txt\n"
