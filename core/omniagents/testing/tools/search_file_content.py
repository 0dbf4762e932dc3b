"""``search_file_content``."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest

from omniagents.testing.tools.base import Call, ToolTests, files_in
from omniagents.tools.base import ToolResult
from omniagents.workspace import Workspace

__all__ = ["SearchFileContentTests"]


def _found(result: ToolResult) -> list[tuple[str, int, str]]:
    """(path, line number, text) of every matching line."""
    assert result.error_type is None, result.content
    return [(file["path"], line[0], line[2]) for file in result.data["files"] for line in file["lines"] if line[1]]


class SearchFileContentTests(ToolTests):
    """Python's regular expressions over the lines of files."""

    @pytest.fixture
    def search(self, call: Call) -> Call:
        return partial(call, "search_file_content")

    def test_matches_are_grouped_by_file_and_sorted_by_path(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"b.py": b"x = 1\nneedle\n", "a/c.py": b"needle one\n\nneedle two\n"})
        lines = search(pattern="needle").content.splitlines()
        assert lines[1:] == ["a/c.py", "L1: needle one", "L3: needle two", "", "b.py", "L2: needle"]
        assert "3" in lines[0]

    def test_context_is_shown_and_windows_that_meet_are_merged(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"".join(b"line %d\n" % number for number in range(1, 21))})
        lines = search(pattern="line (5|8|15)$", context=1).content.splitlines()
        assert [line for line in lines if line.startswith("L")] == [
            "L4- line 4", "L5: line 5", "L6- line 6", "L7- line 7", "L8: line 8", "L9- line 9",
            "L14- line 14", "L15: line 15", "L16- line 16",
        ]  # fmt: skip

    def test_one_match_alone_gets_wide_context(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"".join(b"line %d\n" % number for number in range(1, 101))})
        lines = search(pattern="line 50").content.splitlines()
        assert "L50: line 50" in lines
        assert {"L45- line 45", "L55- line 55"} <= set(lines)
        assert len(search(pattern="line 50", context=0).content.splitlines()) == 3

    @pytest.mark.parametrize(
        ("pattern", "texts"),
        [
            (r"\d{3}", ["abc 123"]),
            (r"^abc", ["abc 123", "ABC"]),
            (r"end$", ["the end"]),
            (r"(?P<q>['\"]).*(?P=q)", ["say 'x'"]),
            (r"\bthe\b(?! start)", ["the end"]),
            (r"(?<=say )'", ["say 'x'"]),
            (r"é+", ["café"]),
            (r"^$", []),
            ("[^ -~]", ["café"]),
        ],
    )
    def test_patterns_are_pythons(self, workspace: Workspace, search: Call, pattern: str, texts: list[str]) -> None:
        files_in(workspace, {"a": "abc 123\nABC\nthe end\nsay 'x'\ncafé\n".encode()})
        assert [text for _, _, text in _found(search(pattern=pattern, context=0))] == texts

    def test_case_is_told_apart_when_asked(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"Needle\nneedle\n"})
        assert len(_found(search(pattern="needle"))) == 2
        assert _found(search(pattern="needle", case_sensitive=True, context=0)) == [("a", 2, "needle")]

    def test_a_fixed_string_is_no_pattern(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"call(x)[0]\ncallx0\n"})
        assert _found(search(pattern="call(x)[0]", fixed_strings=True, context=0)) == [("a", 1, "call(x)[0]")]

    def test_include_takes_names_and_paths(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, dict.fromkeys(("a.py", "s/b.py", "s/t/c.py", "s/d.ts"), b"x\n"))
        for include, paths in {
            "*.py": ["a.py", "s/b.py", "s/t/c.py"],
            "s/**/*.py": ["s/b.py", "s/t/c.py"],
            "*.{ts,js}": ["s/d.ts"],
        }.items():
            assert [file["path"] for file in search(pattern="x", include=include).data["files"]] == paths

    def test_one_file_can_be_searched(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"x\n", "b": b"x\n", ".gitignore": b"a\n"})
        assert _found(search(pattern="x", path="a", context=0)) == [("a", 1, "x")]

    def test_names_only_lists_paths(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"x\nx\n", "b": b"y\n", "c": b"x\n"})
        assert search(pattern="x", names_only=True).content.splitlines()[1:] == ["a", "c"]

    def test_limits_hold_and_say_that_there_is_more(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"x\n" * 3, "b": b"x\n" * 150})
        assert len(_found(search(pattern="x"))) == 100
        limited = search(pattern="x", max_matches=4)
        assert _found(limited) == [("a", 1, "x"), ("a", 2, "x"), ("a", 3, "x"), ("b", 1, "x")]
        assert "max_matches" in limited.content
        per_file = search(pattern="x", max_matches_per_file=2)
        assert _found(per_file) == [("a", 1, "x"), ("a", 2, "x"), ("b", 1, "x"), ("b", 2, "x")]
        assert "max_matches_per_file" in per_file.content

    def test_line_ends_nul_bytes_and_undecodable_bytes_are_the_same_everywhere(
        self, workspace: Workspace, search: Call
    ) -> None:
        files_in(
            workspace,
            {
                "crlf": b"one x\r\ntwo\r\nx end\r\n",
                "latin": b"caf\xe9 x\n",
                "no-newline": b"x",
                "old-mac": b"a\rx\rb",
                "binary": b"x\0x\n",
                "marked": b"\xef\xbb\xbfx first\n",
            },
        )
        result = search(pattern="x( end)?$", context=0)
        assert _found(result) == [
            ("crlf", 1, "one x"), ("crlf", 3, "x end"), ("latin", 1, "caf\ufffd x"), ("no-newline", 1, "x"),
        ]  # fmt: skip
        assert "binary" in result.content.splitlines()[-1]
        assert [path for path, _, _ in _found(search(pattern="^x first", context=0))] == ["marked"]

    def test_odd_names_are_searched(self, workspace: Workspace, search: Call) -> None:
        names = ("a:12:b.py", "-n", "--", "with space", "new\nline", "caf\udce9", "*", "'quote\"")
        files_in(workspace, dict.fromkeys(names, b"x\n"))
        result = search(pattern="x")
        assert [path for path, _, _ in _found(result)] == sorted(names)
        assert len(result.content.splitlines()) == 1 + 3 * len(names) - 1

    def test_what_is_skipped_is_counted_named_and_can_be_included(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"x\n", "b.log": b"x\n", "node_modules/c": b"x\n", ".gitignore": b"*.log\n"})
        result = search(pattern="x")
        last = result.content.splitlines()[-1]
        for word in ("b.log", "node_modules", "no_ignore"):
            assert word in last
        assert [path for path, _, _ in _found(search(pattern="^x", no_ignore=True))] == ["a", "b.log", "node_modules/c"]

    def test_nothing_found_says_what_was_searched(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"y\n", "b": b"y\n"})
        result = search(pattern="zzz")
        assert result.error_type is None
        assert "2 files" in result.content

    @pytest.mark.parametrize(("pattern", "position"), [("foo[", 3), ("(", 0), ("a**", 2)])
    def test_an_invalid_pattern_is_refused_with_its_position(self, search: Call, pattern: str, position: int) -> None:
        result = search(pattern=pattern)
        assert result.error_type == "INVALID_REGEX"
        assert f"position {position}" in result.content

    @pytest.mark.parametrize("pattern", ["(a+)+$", "(.*a){25}$"])
    def test_a_pattern_that_backtracks_without_end_is_stopped_and_says_so(
        self, workspace: Workspace, search: Call, pattern: str
    ) -> None:
        files_in(workspace, {"evil": b"a" * 5000 + b"!\n", "fine": b"aaa\n"})
        result = search(pattern=pattern)
        if result.error_type is None:
            assert "evil" in result.content
        else:
            assert result.error_type == "SEARCH_TIMEOUT"

    def test_a_very_long_line_is_shown_around_its_match(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {"a": b"x" * 100_000 + b"needle" + b"y" * 100_000})
        result = search(pattern="needle", context=0)
        assert "needle" in result.content
        assert len(result.content) < 5_000

    def test_a_large_result_is_cut_on_a_line_with_a_marker(self, workspace: Workspace, search: Call) -> None:
        files_in(workspace, {f"{number:04}": b"x" * 400 + b"\n" for number in range(1000)})
        result = search(pattern="x", max_matches=1000, context=0)
        shown = [line for line in result.content.splitlines() if line.startswith("L1:")]
        assert {len(line) for line in shown} == {404}
        assert 50 < len(shown) < 125
        assert "names_only" in result.content or "narrow" in result.content.lower()

    def test_random_trees_are_searched_as_a_plain_walk_would(self, workspace: Workspace, search: Call) -> None:
        words = [b"foo", b"bar", b"needle", b"", b"nee", b"xneedlex"]
        expected: list[tuple[str, int, str]] = []
        files: dict[str, Any] = {}
        for number in range(120):
            lines = [words[byte % len(words)] for byte in os.urandom(number % 17)]
            files[f"d{number % 7}/f{number:03}"] = b"\n".join(lines)
        for path in sorted(files):
            for position, line in enumerate(files[path].split(b"\n"), 1):
                if b"needle" in line:
                    expected.append((path, position, line.decode()))
        files_in(workspace, files)
        assert _found(search(pattern="n..dle", max_matches=5000, context=0)) == expected
