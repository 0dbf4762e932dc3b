"""``replace``."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from omniagents.backends.base import Backend
from omniagents.testing.tools.base import Call, ToolTests, tool_class
from omniagents.workspace import Workspace

__all__ = ["ReplaceTests"]

#: before, old, new, after: nothing but the span's bytes may change.
_SPLICES = {
    "one word": (b"a old b\n", "old", "new", b"a new b\n"),
    "crlf file, one line": (b"a\r\nold\r\nb\r\n", "old", "new", b"a\r\nnew\r\nb\r\n"),
    "crlf file, lines given with line feeds": (b"a\r\nb\r\nc\r\n", "a\nb", "1\n2", b"1\r\n2\r\nc\r\n"),
    "mixed ends": (b"a\r\nb\nc\r\nd\n", "b", "B", b"a\r\nB\nc\r\nd\n"),
    "mixed ends, several lines": (b"a\r\nb\nc\r\nd\n", "b\nc\r\n", "X\n", b"a\r\nX\nd\n"),
    "no final newline": (b"a\nold", "old", "new", b"a\nnew"),
    "byte-order mark": (b"\xef\xbb\xbfold\n", "old", "new", b"\xef\xbb\xbfnew\n"),
    "utf-16": ("\ufeffold é\n".encode("utf-16-le"), "old", "né", "\ufeffné é\n".encode("utf-16-le")),
    "latin-1": (b"caf\xe9 old \xff\n", "old", "new", b"caf\xe9 new \xff\n"),
    "deleting": (b"keep old keep\n", " old", "", b"keep keep\n"),
    "special characters": (b"$1 \\1 \\g<0> .*\n", "\\1 \\g<0> .*", "$& \\0 \\n", b"$1 $& \\0 \\n\n"),
    "trailing white space in the file": (b"a  \nb\t\n", "a\nb\n", "x\ny\n", b"x\ny\n"),
    "final newline missing in the file": (b"a\nb", "a\nb\n", "x\ny\n", None),
    "another indent": (b"    if x:\n        y\n", "if x:\n    y\n", "if x:\n    w\n", b"    if x:\n        w\n"),
}  # fmt: skip


class ReplaceTests(ToolTests):
    """The right place, or nothing."""

    @pytest.fixture
    def replace(self, call: Call) -> Call:
        return partial(call, "replace", absolute_path="a.txt")

    @pytest.mark.parametrize(("before", "old", "new", "after"), _SPLICES.values(), ids=_SPLICES)
    def test_only_the_bytes_of_the_span_change(
        self, workspace: Workspace, replace: Call, before: bytes, old: str, new: str, after: bytes | None
    ) -> None:
        workspace.write_bytes("a.txt", before)
        result = replace(old_string=old, new_string=new)
        assert result.error_type is None, result.content
        assert workspace.read_bytes("a.txt") == after or (
            after is None and workspace.read_bytes("a.txt")[:3] == b"x\ny"
        )

    def test_success_shows_a_unified_diff(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"one\ntwo\nthree\n")
        lines = replace(old_string="two", new_string="2").content.splitlines()
        assert [line for line in lines if line[:1] in "-+" and line[:3] not in ("---", "+++")] == ["-two", "+2"]
        assert any(line.startswith("@@") for line in lines)

    @pytest.mark.parametrize(
        ("before", "old", "difference"),
        [
            (b"a\r\nb\r\n", "a\nb", "line end"),
            (b"a  \nb\n", "a\nb", "white space"),
            (b"    a\n    b\n", "a\nb", "indent"),
            (b"a\nb", "a\nb\n", "white space"),
        ],
    )
    def test_what_was_looked_past_is_reported(
        self, workspace: Workspace, replace: Call, before: bytes, old: str, difference: str
    ) -> None:
        workspace.write_bytes("a.txt", before)
        result = replace(old_string=old, new_string="x\ny")
        assert result.error_type is None
        assert difference in result.content

    def test_exact_text_wins_over_text_that_nearly_fits(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"  a\n  b\na\nb\n")
        replace(old_string="a\nb\n", new_string="x\n")
        assert workspace.read_bytes("a.txt") == b"  a\n  b\nx\n"

    def test_the_number_of_places_must_be_as_expected(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"x\ny\nx\nx\n")
        result = replace(old_string="x", new_string="z")
        assert result.error_type == "AMBIGUOUS_MATCH"
        assert "1, 3, 4" in result.content
        assert workspace.read_bytes("a.txt") == b"x\ny\nx\nx\n"
        assert replace(old_string="x", new_string="z", expected_replacements=2).error_type == "AMBIGUOUS_MATCH"
        assert replace(old_string="x", new_string="z", expected_replacements=3).error_type is None
        assert workspace.read_bytes("a.txt") == b"z\ny\nz\nz\n"

    def test_all_places_are_replaced_when_asked(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"x x\nx\n")
        assert replace(old_string="x", new_string="xx", replace_all=True).error_type is None
        assert workspace.read_bytes("a.txt") == b"xx xx\nxx\n"

    def test_a_number_and_all_places_contradict_each_other(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"x")
        result = replace(old_string="x", new_string="y", replace_all=True, expected_replacements=1)
        assert result.error_type == "INVALID_ARGUMENTS"

    def test_two_places_that_nearly_fit_are_refused(self, workspace: Workspace, replace: Call) -> None:
        before = b"  if x:\n    y\nz\n    if x:\n      y\n"
        workspace.write_bytes("a.txt", before)
        assert replace(old_string="if x:\n  y\n", new_string="w\n").is_error
        assert workspace.read_bytes("a.txt") == before

    def test_an_invented_middle_is_refused(self, workspace: Workspace, replace: Call) -> None:
        before = b"def f():\n    a = 1\n    b = 2\n    return a + b\n"
        workspace.write_bytes("a.txt", before)
        result = replace(old_string="def f():\n    c = 3\n    return a + b\n", new_string="def f(): ...\n")
        assert result.error_type == "NO_MATCH"
        assert workspace.read_bytes("a.txt") == before

    def test_a_miss_shows_the_closest_text_with_line_numbers(self, workspace: Workspace, replace: Call) -> None:
        lines = [f"line number {number}" for number in range(1, 100)]
        workspace.write_bytes("a.txt", "\n".join(lines).encode())
        result = replace(old_string="line number 42\nline numbr 43\nline number 44", new_string="x")
        assert result.error_type == "NO_MATCH"
        assert "43" in result.content
        assert "line number 43" in result.content
        assert "line number 80" not in result.content

    def test_replacing_with_the_same_text_is_no_change(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"old")
        assert replace(old_string="old", new_string="old").error_type == "NO_CHANGE"

    def test_an_empty_old_text_creates_a_missing_file_and_overwrites_none(
        self, workspace: Workspace, replace: Call
    ) -> None:
        assert replace(old_string="", new_string="created\n").error_type is None
        assert workspace.read_bytes("a.txt") == b"created\n"
        assert replace(old_string="", new_string="again\n").error_type == "FILE_EXISTS"
        assert workspace.read_bytes("a.txt") == b"created\n"

    def test_a_missing_file_is_not_found_and_similar_ones_are_named(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("b.txt", b"x")
        result = replace(old_string="x", new_string="y")
        assert result.error_type == "FILE_NOT_FOUND"
        assert "b.txt" in result.content

    def test_a_binary_file_is_refused(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"old\0old")
        assert replace(old_string="old", new_string="new").error_type == "BINARY_FILE"
        assert workspace.read_bytes("a.txt") == b"old\0old"

    def test_a_file_without_write_permission_is_not_edited(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"old", mode=0o444)
        assert replace(old_string="old", new_string="new").error_type == "PERMISSION_DENIED"
        assert workspace.read_bytes("a.txt") == b"old"

    def test_the_mode_is_kept_and_a_link_followed(self, workspace: Workspace, call: Call) -> None:
        workspace.write_bytes("run.sh", b"old", mode=0o755)
        workspace.run("ln -s run.sh link")
        call("replace", absolute_path="link", old_string="old", new_string="new")
        assert (workspace.read_bytes("run.sh"), workspace.stat("run.sh").mode) == (b"new", 0o755)
        assert workspace.stat("link", follow=False).kind == "link"

    def test_new_text_that_only_stands_for_left_out_code_is_refused(self, workspace: Workspace, replace: Call) -> None:
        workspace.write_bytes("a.txt", b"def f():\n    return 1\n")
        result = replace(old_string="    return 1", new_string="    # ... rest of the code ...")
        assert result.error_type == "OMISSION_PLACEHOLDER"

    def test_edits_of_one_file_at_once_are_all_there(self, backend: Backend, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"".join(b"line %02d\n" % number for number in range(30)))
        replace = tool_class("replace")(backend)

        async def edit_all() -> None:
            await asyncio.gather(
                *(
                    replace.aexecute(absolute_path="a.txt", old_string=f"line {n:02}", new_string=f"LINE {n:02}")
                    for n in range(30)
                )
            )

        asyncio.run(edit_all())
        assert workspace.read_bytes("a.txt") == b"".join(b"LINE %02d\n" % number for number in range(30))
