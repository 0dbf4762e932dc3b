"""The replace tool: which bytes change, what is looked past, and what is refused with which cure."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from omniagents.guest.diffing import split_lines
from omniagents.tools.base import ToolResult
from omniagents.tools.replace_tool import ReplaceTool


@pytest.fixture
def replace(backend: Any, workspace_root: Path) -> Any:
    """Call with the file's bytes, old and new; returns the result and the bytes afterwards."""

    def call(before: bytes, old: str, new: str, **options: Any) -> tuple[ToolResult, bytes]:
        (workspace_root / "a.txt").write_bytes(before)
        result = ReplaceTool(backend=backend).execute(absolute_path="a.txt", old_string=old, new_string=new, **options)
        after = (workspace_root / "a.txt").read_bytes()
        assert os.listdir(workspace_root) == ["a.txt"]
        assert not result.is_error or after == before
        return result, after

    return call


def test_exact_text_is_replaced_and_shown_as_a_diff(replace: Any) -> None:
    result, after = replace(b"one\ntwo\nthree\n", "two", "2")
    assert after == b"one\n2\nthree\n"
    assert result.content == (
        "Replaced 1 place in a.txt (line 2).\n--- a.txt\n+++ a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three"
    )
    assert result.data == {
        "path": "a.txt",
        "created": False,
        "replacements": 1,
        "lines": [2],
        "differences": [],
        "notes": [],
        "diff": "--- a.txt\n+++ a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three",
    }


def test_arguments_have_other_names_too(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a").write_text("x x")
    tool = ReplaceTool(backend=backend)
    assert not tool.execute(file_path="a", old_text="x", new_text="y", allow_multiple="true").is_error
    assert not tool.execute(path="a", old_text="y", new_text="z", expected_replacements="2").is_error
    assert (workspace_root / "a").read_text() == "z z"


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a\r\nb\nc\r\nd", "b", "B", b"a\r\nB\nc\r\nd"),
        (b"\xef\xbb\xbfa\nb", "a", "A", b"\xef\xbb\xbfA\nb"),
        (b"\xef\xbb\xbfa\nb", "\ufeffa", "\ufeffA", b"\xef\xbb\xbfA\nb"),
        ("\ufeffé\r\nb".encode("utf-16-le"), "é", "è🎉", "\ufeffè🎉\r\nb".encode("utf-16-le")),
        (b"caf\xe9 \xff\n", "café", "thé", b"th\xe9 \xff\n"),
        (b"tail without end", "end", "END", b"tail without END"),
        (b"delete me\nkeep\n", "delete me\n", "", b"keep\n"),
        (b"a\x0cb\x1dc\xe2\x80\xa8d", "c", "C", b"a\x0cb\x1dC\xe2\x80\xa8d"),
        (b"$1 \\1 \\g<0>", "\\1", "$& \\2", b"$1 $& \\2 \\g<0>"),
        (b"a\r\nb\r\n", "a\r\nb", "c\r\nd", b"c\r\nd\r\n"),
    ],
)
def test_only_the_bytes_of_the_span_change(replace: Any, before: bytes, old: str, new: str, after: bytes) -> None:
    result, found = replace(before, old, new)
    assert not result.is_error, result.content
    assert found == after
    assert result.data["differences"] == []


def test_the_mode_of_the_file_stays(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "run.sh").write_text("echo old\n")
    (workspace_root / "run.sh").chmod(0o755)
    ReplaceTool(backend=backend).execute(absolute_path="run.sh", old_string="old", new_string="new")
    assert (workspace_root / "run.sh").stat().st_mode & 0o777 == 0o755


def test_a_file_that_nobody_may_read_is_refused_to_root_as_well(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a.txt").write_bytes(b"old\n")
    (workspace_root / "a.txt").chmod(0o200)
    result = ReplaceTool(backend=backend).execute(absolute_path="a.txt", old_string="old", new_string="new")
    assert result.error_type == "PERMISSION_DENIED"
    (workspace_root / "a.txt").chmod(0o600)
    assert (workspace_root / "a.txt").read_bytes() == b"old\n"


def test_all_places_are_replaced_when_their_number_is_expected(replace: Any) -> None:
    result, after = replace(b"x\ny\nx x\n", "x", "z", expected_replacements=3)
    assert after == b"z\ny\nz z\n"
    assert result.content.startswith("Replaced 3 places in a.txt (lines 1, 3, 3).\n")


def test_replace_all_takes_any_number_and_counts_overlaps_once(replace: Any) -> None:
    result, after = replace(b"aaaaa", "aa", "b", replace_all=True)
    assert (after, result.data["replacements"]) == (b"bba", 2)
    result, after = replace(b"x\n" * 1000, "x", "y", replace_all=True)
    assert after == b"y\n" * 1000
    assert result.content.startswith("Replaced 1,000 places in a.txt (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ")
    assert "20, …). The diff shows the first 200 places.\n" in result.content


def test_replace_all_and_a_number_contradict_each_other(replace: Any) -> None:
    result, _ = replace(b"x", "x", "y", replace_all=True, expected_replacements=1)
    assert result.error_type == "INVALID_ARGUMENTS"
    assert "give either replace_all or expected_replacements, not both" in result.content


@pytest.mark.parametrize("number", [True, 0, -1, "many", 1.5])
def test_the_expected_number_is_a_positive_whole_number(replace: Any, number: object) -> None:
    result, _ = replace(b"x", "x", "y", expected_replacements=number)
    assert result.error_type == "INVALID_ARGUMENTS"


def test_more_places_than_expected_are_listed(replace: Any) -> None:
    result, _ = replace(b"x = 1\ny = 2\nx = 1\n", "x = 1", "x = 2")
    assert (result.error_type, result.content) == (
        "AMBIGUOUS_MATCH",
        "old_string stands in 2 places of a.txt (lines 1, 3), but one place was expected; the file is untouched. "
        "Add lines around it so that it stands for one place, or pass expected_replacements=2",
    )
    assert result.data == {"places": 2, "lines": [1, 3]}


def test_fewer_places_than_expected_are_listed(replace: Any) -> None:
    result, _ = replace(b"a\nx\n", "x", "y", expected_replacements=3)
    assert (result.error_type, result.content) == (
        "AMBIGUOUS_MATCH",
        "old_string stands in 1 place of a.txt (line 2), but 3 were expected; the file is untouched. "
        "Pass expected_replacements=1, or the text that all the places have",
    )


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a\r\nb\r\nc\r\n", "a\nb\n", "A\nB\n", b"A\r\nB\r\nc\r\n"),
        (b"a\r\nb\r\nc\r\n", "a\nb", "a\nnew\nb", b"a\r\nnew\r\nb\r\nc\r\n"),
        (b"a\nb\nc\n", "a\r\nb\r\n", "A\r\nB\r\n", b"A\nB\nc\n"),
        (b"a\r\nb\nc\r\nd\n", "a\nb\nc\nd", "a\nb\nX\nd", b"a\r\nb\nX\r\nd\n"),
        (b"x\r\n\r\n\r\ny\r\n", "\n\n\n", "\n\n", b"x\r\n\r\ny\r\n"),
        (b"a\r\nfoo\r\n", "\nfoo", "\nbar", b"a\r\nbar\r\n"),
        (b"a\r\nfoo\r\n", "\nfoo", "", b"a\r\n"),
    ],
)
def test_other_line_endings_are_looked_past_and_those_of_the_place_written(
    replace: Any, before: bytes, old: str, new: str, after: bytes
) -> None:
    result, found = replace(before, old, new)
    assert not result.is_error, result.content
    assert found == after
    assert result.data["differences"] == ["line endings"]
    assert "old_string was not there exactly; only line endings differed." in result.content


def test_places_that_differ_in_line_endings_alone_are_counted_like_exact_ones(replace: Any) -> None:
    before = b"a\r\nb\r\n-\r\na\r\nb\r\n"
    assert replace(before, "a\nb\n", "c\n")[0].error_type == "AMBIGUOUS_MATCH"
    assert replace(before, "a\nb\n", "c\n", replace_all=True)[1] == b"c\r\n-\r\nc\r\n"
    assert replace(before, "a\nb\n", "c\n", expected_replacements=2)[1] == b"c\r\n-\r\nc\r\n"


def test_lines_put_into_a_file_of_crlf_lines_get_crlf(replace: Any) -> None:
    result, after = replace(b"a\r\nb\r\n", "a", "a\nnew")
    assert after == b"a\r\nnew\r\nb\r\n"
    assert "The line endings of new_string were written as CRLF, like those of the file." in result.content


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a  \nb\t\nc\n", "a\nb\nc", "a\nB\nc", b"a  \nB\nc\n"),
        (b"a\nb\nc\n", "a \nb  \nc", "A\nb  \nc", b"A\nb\nc\n"),
        (b"x = 1\t\ny", "x = 1  ", "x = 2", b"x = 2\ny"),
        (b"a\nb", "a\nb\n", "a\nB\n", b"a\nB"),
        (b"a\nb", "b\n", "c\nd\n", b"a\nc\nd"),
        (b"def f():\n    a\n   \n    b\n", "a\n\n    b", "a\n\n    c", b"def f():\n    a\n   \n    c\n"),
        (b"foo(\n  1 )  \nrest\n", "1 )\nrest", "2 )\nrest", b"foo(\n  2 )\nrest\n"),
    ],
)
def test_trailing_white_space_is_looked_past(replace: Any, before: bytes, old: str, new: str, after: bytes) -> None:
    result, found = replace(before, old, new)
    assert not result.is_error, result.content
    assert found == after
    assert result.data["differences"] == ["trailing white space"]


def test_white_space_after_a_word_asks_for_the_end_of_the_line(replace: Any) -> None:
    assert replace(b"x = 10\n", "x = 1  ", "x = 2")[0].error_type == "NO_MATCH"


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (
            b"class A:\n    def f(self):\n        return 1\n",
            "def f(self):\n    return 1\n",
            "def f(self):\n    x = 2\n\n    return x\n",
            b"class A:\n    def f(self):\n        x = 2\n\n        return x\n",
        ),
        (b"if a:\n  b\n", "    if a:\n      b\n", "    if a:\n      c\n", b"if a:\n  c\n"),
        (
            b"\tx = 1\n\ty = 2\n",
            "    x = 1\n    y = 2",
            "    x = 1\n    y = 3\n    z = 4",
            b"\tx = 1\n\ty = 3\n\tz = 4\n",
        ),
        (b"    a\n    b\n", "  a\n  b\n", "  a\nc\n", b"    a\n  c\n"),
    ],
)
def test_one_indentation_shared_by_all_lines_is_looked_past_and_the_new_text_shifted(
    replace: Any, before: bytes, old: str, new: str, after: bytes
) -> None:
    result, found = replace(before, old, new)
    assert not result.is_error, result.content
    assert found == after
    assert result.data["differences"] == ["indentation"]


def test_all_three_differences_are_reported_together(replace: Any) -> None:
    result, after = replace(b"    a  \r\n    b\r\n", "a\nb\n", "a\nc\n")
    assert after == b"    a  \r\n    c\r\n"
    assert result.content.startswith(
        "Replaced 1 place in a.txt (line 1). old_string was not there exactly; only line endings and trailing white "
        "space and indentation differed."
    )


def test_an_indentation_that_is_not_the_same_for_all_lines_is_a_miss(replace: Any) -> None:
    assert replace(b"    a\n      b\n", "a\nb\n", "c\n")[0].error_type == "NO_MATCH"


def test_new_text_that_cannot_be_shifted_is_a_miss(replace: Any) -> None:
    assert replace(b"\ta\n\tb\n", "    a\n    b\n", "    a\nc\n")[0].error_type == "NO_MATCH"


@pytest.mark.parametrize(
    ("before", "old"),
    [
        (b"  a\nb\n\n  a\nb\n", "  a \nb"),
        (b"  a\n   b\n\n    a\n     b\n", "a\n b\n"),
    ],
)
def test_two_places_that_nearly_fit_are_refused(replace: Any, before: bytes, old: str) -> None:
    result, _ = replace(before, old, "x")
    assert result.error_type == "AMBIGUOUS_MATCH"
    assert "Copy the text exactly as it stands" in result.content


def test_exact_text_wins_over_places_that_nearly_fit(replace: Any) -> None:
    assert replace(b"  a\n", "a", "b")[1] == b"  b\n"
    assert replace(b"a \nb\na\nb\n", "a\nb", "c")[1] == b"a \nb\nc\n"


def test_an_invented_middle_between_right_first_and_last_lines_is_refused(replace: Any) -> None:
    before = b"def f():\n    real = 1\n    return real\n"
    result, _ = replace(before, "def f():\n    invented = 2\n    return real\n", "pass\n")
    assert result.error_type == "NO_MATCH"


def test_a_miss_shows_the_closest_lines_and_where_they_differ(replace: Any) -> None:
    before = "".join(f"line {number}\n" for number in range(40)) + "def area(width):\n    return width * 2\n"
    result, _ = replace(before.encode(), "def area(width):\n    return width * 3\n", "")
    assert (result.error_type, result.content) == (
        "NO_MATCH",
        "old_string is not in a.txt; the file is untouched.\n"
        "The closest text is at lines 41-42:\nL41: def area(width):\nL42:     return width * 2\n"
        "First difference: line 42 has '    return width * 2' where old_string has '    return width * 3'.\n"
        "Call replace again with old_string exactly as the file has it.",
    )


@pytest.mark.parametrize(
    ("before", "old", "shown"),
    [
        ("one\nHello World\n", "hello world", "line 2:\nL2: Hello World"),
        ("alpha\nbeta\ngamma\n", "betta", "line 2:\nL2: beta"),
        ("x\nretrun  vlaue\ny\n", "q\nreturn value\nz", "lines 1-3:\nL1: x\nL2: retrun  vlaue\nL3: y"),
        ("Ä\n", "ä", "line 1:\nL1: Ä"),
    ],
    ids=["case", "letter", "letters", "one letter"],
)
def test_a_miss_without_a_word_in_common_shows_the_lines_with_most_letters_in_common(
    replace: Any, before: str, old: str, shown: str
) -> None:
    result, after = replace(before.encode(), old, "")
    assert (result.error_type, after) == ("NO_MATCH", before.encode())
    assert f"The closest text is at {shown}\nFirst difference: " in result.content


def test_a_miss_tells_when_the_change_was_made_before(replace: Any) -> None:
    result, _ = replace(b"a\nvalue = 2\n", "value = 1", "value = 2")
    assert "new_string is there already, at line 2." in result.content


def test_a_miss_without_anything_close_says_how_to_look(replace: Any) -> None:
    assert replace(b"alpha\n", "omega!", "x")[0].content == (
        "old_string is not in a.txt; the file is untouched.\n"
        'Nothing in it comes close; find the place with search_file_content(pattern="…", path="a.txt") first.'
    )
    assert replace(b"", "omega!", "x")[0].content == (
        "old_string is not in a.txt; the file is untouched.\nThe file is empty; fill it with write_file."
    )


@pytest.mark.parametrize(
    ("before", "old"),
    [
        (b"word line of text\n" * 300_000, "word line\nof other text\n" * 200),
        (b"a" * 5_000_000, "a" * 1000 + "b"),
        (b"}\n" * 2_000_000, "  }\n" * 1000 + "{"),
        (b"\n" * 5_000_000, "x\n" * 50_000),
        (b"  }\n" * 1_000_000, "}\n\t}\n" * 1000),
        ("".join(f"w{n} = {n}\n" for n in range(400_000)).encode(), "\n".join(f"w{n} = x" for n in range(0, 4000, 7))),
    ],
    ids=["repeated", "one-line", "braces", "blank", "indented-braces", "words"],
)
def test_a_miss_in_a_large_file_ends_with_a_bounded_message(replace: Any, before: bytes, old: str) -> None:
    started = time.process_time()
    result, _ = replace(before, old, "new")
    assert result.error_type == "NO_MATCH"
    assert len(result.content) < 8_000
    assert time.process_time() - started < 60  # a search that grows with the square would take hours


@pytest.mark.parametrize(("old", "new"), [("a", "a"), ("zzz", "zzz"), ("a \nb", "a\nb")])
def test_an_edit_that_changes_nothing_is_refused(replace: Any, old: str, new: str) -> None:
    result, _ = replace(b"a\nb\n", old, new)
    assert result.error_type == "NO_CHANGE"
    assert result.content.endswith("; there is nothing to do and the file is untouched")


def test_an_empty_old_text_creates_a_file_or_fills_an_empty_one(backend: Any, workspace_root: Path) -> None:
    tool = ReplaceTool(backend=backend)
    result = tool.execute(absolute_path="src/a.py", old_string="", new_string="x = 1\n")
    assert result.content == "Created src/a.py."
    assert (workspace_root / "src/a.py").read_text() == "x = 1\n"
    (workspace_root / "empty").touch()
    assert tool.execute(absolute_path="empty", old_string="", new_string="y\n").content == (
        "Filled empty, which was empty.\n--- empty\n+++ empty\n@@ -0,0 +1 @@\n+y"
    )
    assert (workspace_root / "empty").read_text() == "y\n"
    result = tool.execute(absolute_path="empty", old_string="", new_string="z\n")
    assert (result.error_type, result.content) == (
        "FILE_EXISTS",
        "empty exists and is not empty; an empty old_string only creates a file. Give the text to replace, "
        "or overwrite the file with write_file",
    )
    assert (workspace_root / "empty").read_text() == "y\n"


def test_a_missing_file_is_refused_with_similar_names(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "main.py").touch()
    result = ReplaceTool(backend=backend).execute(absolute_path="mian.py", old_string="a", new_string="b")
    assert (result.error_type, result.content) == (
        "FILE_NOT_FOUND",
        "mian.py does not exist. Similar files: main.py. To create it, use write_file",
    )


def test_a_binary_is_refused(replace: Any) -> None:
    result, _ = replace(b"a\0b", "a", "b")
    assert (result.error_type, result.content) == (
        "BINARY_FILE",
        "a.txt is a binary file; replace edits text. Use run_shell_command instead",
    )


def test_a_file_over_the_limit_is_refused(backend: Any, workspace_root: Path) -> None:
    with (workspace_root / "big").open("wb") as file:
        file.truncate((64 << 20) + 1)
    result = ReplaceTool(backend=backend).execute(absolute_path="big", old_string="a", new_string="b")
    assert (result.error_type, result.content) == (
        "FILE_TOO_LARGE",
        "big has 67,108,865 bytes; files up to 67,108,864 bytes can be changed here. "
        "Use run_shell_command (sed, python) instead",
    )


def test_text_that_the_files_encoding_lacks_is_refused_with_a_way_out(replace: Any) -> None:
    result, _ = replace(b"caf\xe9\n", "café", "c→é")
    assert (result.error_type, result.content) == (
        "INVALID_ARGUMENTS",
        "a.txt is not UTF-8 (it is edited as Latin-1), so '→' (U+2192) of new_string cannot be written in it; the "
        "file is untouched. Use other characters, or convert it first: run_shell_command with iconv -f latin1 -t utf8",
    )


def test_new_text_that_only_stands_for_left_out_text_is_refused(replace: Any) -> None:
    result, _ = replace(b"a\nb\n", "a\nb\n", "a\n# ... existing code ...\n")
    assert result.error_type == "OMISSION_PLACEHOLDER"
    assert result.content.startswith("line 2 of new_string only stands for text that was left out")
    assert not replace(b"# ... existing code ...\n", "# ... existing code ...", "  # ... existing code ...")[0].is_error


def test_links_are_followed_inside_and_refused_outside(backend: Any, workspace_root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a")
    (workspace_root / "out").symlink_to(tmp_path / "secret")
    (workspace_root / "file").write_text("a")
    (workspace_root / "in").symlink_to("file")
    tool = ReplaceTool(backend=backend)
    assert tool.execute(absolute_path="out", old_string="a", new_string="b").error_type == "PATH_OUTSIDE_WORKSPACE"
    assert (tmp_path / "secret").read_text() == "a"
    assert not tool.execute(absolute_path="in", old_string="a", new_string="b").is_error
    assert (workspace_root / "in").is_symlink()
    assert (workspace_root / "file").read_text() == "b"


def test_a_fifo_is_refused_at_once(backend: Any, workspace_root: Path) -> None:
    os.mkfifo(workspace_root / "fifo")
    result = ReplaceTool(backend=backend).execute(absolute_path="fifo", old_string="a", new_string="b")
    assert result.error_type == "NOT_A_REGULAR_FILE"


def test_edits_of_different_lines_at_the_same_time_are_all_there(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a").write_text("".join(f"<{n}>\n" for n in range(20)))
    tool = ReplaceTool(backend=backend)

    def edit(number: int) -> None:
        assert not tool.execute(absolute_path="a", old_string=f"<{number}>", new_string=f"[{number}]").is_error

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (workspace_root / "a").read_text() == "".join(f"[{n}]\n" for n in range(20))


LINES = st.lists(
    st.tuples(st.text("ab \tü\x0c", max_size=4), st.sampled_from(["\n", "\r\n"])).map("".join), max_size=12
).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(before=LINES, end=st.sampled_from(["", "b", "a\u2028"]), data=st.data())
def test_exact_text_of_random_files_is_spliced_like_python_does(
    replace: Any, before: str, end: str, data: st.DataObject
) -> None:
    text = before + end
    assume(text)
    start = data.draw(st.integers(0, len(text) - 1))
    old = text[start : data.draw(st.integers(start + 1, len(text)))]
    new = data.draw(st.text("xyz é", max_size=5))
    assume(old != new and not (old.startswith("\n") and "\r" + old in text))
    result, after = replace(text.encode(), old, new, replace_all=True)
    assert not result.is_error
    assert after == text.replace(old, new).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(head=LINES, middle=LINES, tail=LINES, data=st.data())
def test_whatever_is_looked_past_the_rest_of_the_file_keeps_its_bytes(
    replace: Any, head: str, middle: str, tail: str, data: st.DataObject
) -> None:
    # The marks make the place unique; what a model may get wrong is drawn around them.
    body = [f"  M{index}{line}" for index, line in enumerate(["\r\n", *split_lines(middle), "\n"])]
    text = head + "".join(body) + tail
    indent = data.draw(st.sampled_from(["", "  ", "    "]))
    sought = [indent + line[2:].rstrip() + data.draw(st.sampled_from(["\n", "\r\n", " \n"])) for line in body]
    result, after = replace(text.encode(), "".join(sought), "".join([*sought[:1], indent + "NEW\n", *sought[1:]]))
    assert not result.is_error, result.content
    ending = after.decode()[len(head) + len(body[0]) :]
    assert after.decode().startswith(head + body[0])
    assert ending in ("  NEW\n" + "".join(body[1:]) + tail, "  NEW\r\n" + "".join(body[1:]) + tail)
