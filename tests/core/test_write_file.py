"""The write_file tool on real files."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagents.tools.base import ToolResult
from omniagents.tools.write_file_tool import WriteFileTool


def write(backend: Any, path: str, content: str) -> ToolResult:
    return WriteFileTool(backend=backend).execute(absolute_path=path, content=content)


def refused(result: ToolResult) -> tuple[str | None, str]:
    assert result.is_error
    return result.error_type, result.content


def test_a_new_file_is_created_with_its_directories(backend: Any, workspace_root: Path) -> None:
    result = write(backend, "src/deep/a.py", "print('Hello!')\nprint(2)\n")
    assert result.content == "Created src/deep/a.py: 2 lines, 25 bytes."
    assert result.data == {
        "path": "src/deep/a.py",
        "created": True,
        "changed": True,
        "lines": 2,
        "bytes": 25,
        "notes": [],
        "diff": "",
    }
    assert (workspace_root / "src/deep/a.py").read_text() == "print('Hello!')\nprint(2)\n"


def test_overwriting_says_so_and_shows_what_changed(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a.txt").write_text("one\ntwo\nthree\n")
    assert write(backend, "a.txt", "one\n2\nthree\nfour").content == (
        "Overwrote a.txt: 4 lines, 16 bytes.\n"
        "--- a.txt\n+++ a.txt\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file"
    )


def test_the_same_content_again_is_not_written(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a.txt").write_text("same\n")
    before = (workspace_root / "a.txt").stat()
    result = write(backend, "a.txt", "same\n")
    assert result.content == "a.txt already has exactly this content (1 line, 5 bytes); nothing was written."
    assert not result.is_error
    assert (workspace_root / "a.txt").stat().st_ino == before.st_ino


@pytest.mark.parametrize("name", ["absolute_path", "file_path", "path"])
def test_the_path_is_accepted_under_its_other_names(backend: Any, workspace_root: Path, name: str) -> None:
    assert not WriteFileTool(backend=backend).execute(**{name: "/workspace/a", "content": ""}).is_error
    assert (workspace_root / "a").read_bytes() == b""


@pytest.mark.parametrize(
    "content",
    [
        "'single' \"double\" \\back\\slash $HOME `id` $(id)\nEOF\n<<'EOF'\nEOF\n",
        "emoji 🎉 é ü 漢字 \u2028 \u0000 \x1b[31m\r\n mixed\rends\n",
        "\ufeffmark of its own\n",
        "no final newline",
        "",
        "\n",
        "\r\n",
    ],
)
def test_a_new_file_has_exactly_the_given_bytes(backend: Any, workspace_root: Path, content: str) -> None:
    assert not write(backend, "a", content).is_error
    assert (workspace_root / "a").read_bytes() == content.encode()


def test_three_megabytes_arrive_whole(backend: Any, workspace_root: Path) -> None:
    content = "".join(f"line {number} é🎉\n" for number in range(170_000))
    assert len(content.encode()) > 3_000_000
    assert not write(backend, "big.txt", content).is_error
    stored = (workspace_root / "big.txt").read_bytes()
    assert hashlib.sha256(stored).digest() == hashlib.sha256(content.encode()).digest()
    changed = content.replace("line 5 ", "LINE 5 ").replace("line 169000 ", "LINE 169000 ")
    result = write(backend, "big.txt", changed)
    assert len(result.content) < 5_000
    assert (workspace_root / "big.txt").read_text() == changed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(content=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_to_a_new_file_is_what_it_holds(backend: Any, workspace_root: Path, content: str) -> None:
    assert not write(backend, "a", content).is_error
    assert (workspace_root / "a").read_bytes() == content.encode()
    (workspace_root / "a").unlink()


def test_over_a_file_of_crlf_lines_line_feeds_become_crlf(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    assert write(backend, "a.txt", "one\n2\n").content == (
        "Overwrote a.txt: 2 lines, 8 bytes. Line endings were written as CRLF, like those of the old content.\n"
        "--- a.txt\n+++ a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2"
    )
    assert (workspace_root / "a.txt").read_bytes() == b"one\r\n2\r\n"
    assert write(backend, "a.txt", "one\r\n2\n").content.startswith("Overwrote a.txt: 2 lines, 7 bytes.\n")
    assert (workspace_root / "a.txt").read_bytes() == b"one\r\n2\n"


def test_over_mixed_line_endings_the_content_is_written_as_given(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a.txt").write_bytes(b"one\r\ntwo\n")
    write(backend, "a.txt", "1\n2\n")
    assert (workspace_root / "a.txt").read_bytes() == b"1\n2\n"


@pytest.mark.parametrize("content", ["new é\n", "\ufeffnew é\n"])
@pytest.mark.parametrize(
    ("mark", "encoding"), [(b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")]
)
def test_a_byte_order_mark_stays_with_its_encoding(
    backend: Any, workspace_root: Path, mark: bytes, encoding: str, content: str
) -> None:
    (workspace_root / "a.txt").write_bytes(mark + "old\n".encode(encoding))
    result = write(backend, "a.txt", content)
    assert f"The byte-order mark was kept ({encoding})." in result.content
    assert (workspace_root / "a.txt").read_bytes() == mark + "new é\n".encode(encoding)


def test_over_latin_1_it_writes_utf_8_and_says_so(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a.txt").write_bytes(b"caf\xe9\n")
    assert write(backend, "a.txt", "café!\n").content == (
        "Overwrote a.txt: 1 line, 7 bytes. The old content was not UTF-8 (probably Latin-1); the new content is "
        "UTF-8.\n--- a.txt\n+++ a.txt\n@@ -1 +1 @@\n-café\n+café!"
    )
    assert (workspace_root / "a.txt").read_bytes() == "café!\n".encode()


def test_over_a_binary_there_is_no_diff(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a").write_bytes(b"\0\1\2\r\n")
    assert write(backend, "a", "text\n").content == "Overwrote a: 1 line, 5 bytes. The old content was binary."


def test_a_huge_old_file_is_overwritten_without_a_look_at_it(backend: Any, workspace_root: Path) -> None:
    with (workspace_root / "big").open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert write(backend, "big", "small\n").content == (
        "Overwrote big: 1 line, 6 bytes. The old content was over 64 MiB and was not looked at."
    )
    assert (workspace_root / "big").read_bytes() == b"small\n"


def test_a_line_that_stands_for_left_out_text_is_refused(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a.js").write_text("let a = 1\nlet b = 2\n")
    assert refused(write(backend, "a.js", "let a = 2\n// rest of code ...\n")) == (
        "OMISSION_PLACEHOLDER",
        'line 2 of content only stands for text that was left out: "// rest of code ...". Nothing was written. '
        "Write every line in full, or change just the part that differs with replace",
    )
    assert (workspace_root / "a.js").read_text() == "let a = 1\nlet b = 2\n"


def test_a_link_is_followed_to_its_target(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "target.txt").write_text("old\n")
    (workspace_root / "link.txt").symlink_to("target.txt")
    result = write(backend, "link.txt", "new\n")
    assert result.content.startswith("Overwrote target.txt: 1 line, 4 bytes. link.txt is a link to it.\n")
    assert (workspace_root / "link.txt").is_symlink()
    assert (workspace_root / "target.txt").read_text() == "new\n"


def test_a_broken_link_inside_makes_its_target(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "link").symlink_to("new/target")
    assert write(backend, "link", "x").content == "Created new/target: 1 line, 1 byte. link is a link to it."
    assert (workspace_root / "new/target").read_text() == "x"


def test_a_link_out_of_the_workspace_is_refused_and_nothing_written(
    backend: Any, workspace_root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (workspace_root / "out").symlink_to(outside)
    (workspace_root / "file").symlink_to(outside / "made")
    for path in ("out/x", "out/new/x", "file", "../outside/x", str(outside / "x"), "out/../x"):
        assert refused(write(backend, path, "x"))[0] == "PATH_OUTSIDE_WORKSPACE"
    assert os.listdir(outside) == []


def test_a_loop_of_links_is_a_clean_error(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "a").symlink_to("b")
    (workspace_root / "b").symlink_to("a")
    assert refused(write(backend, "a/x", "x")) == ("NOT_A_REGULAR_FILE", "a/x goes through a loop of symbolic links")
    assert refused(write(backend, "a", "x")) == ("NOT_A_REGULAR_FILE", "a goes through a loop of symbolic links")


def test_what_is_no_file_is_refused(backend: Any, workspace_root: Path) -> None:
    (workspace_root / "directory").mkdir()
    (workspace_root / "file").write_text("")
    os.mkfifo(workspace_root / "fifo")
    expected = {
        "directory": ("IS_A_DIRECTORY", "directory is a directory; name a file inside it"),
        "directory/": ("INVALID_ARGUMENTS", "directory/ ends with a slash, which names a directory; name a file"),
        "": ("INVALID_ARGUMENTS", "absolute_path is empty; name a file of the workspace"),
        ".": ("IS_A_DIRECTORY", ". is a directory; name a file inside it"),
        "file/x": ("NOT_A_DIRECTORY", "file/x: file is not a directory"),
        "fifo": ("NOT_A_REGULAR_FILE", "fifo is a FIFO, not a regular file; name another file"),
    }
    assert {path: refused(write(backend, path, "x")) for path in expected} == expected


def test_half_a_surrogate_pair_is_a_wrong_argument(backend: Any, workspace_root: Path) -> None:
    code, message = refused(write(backend, "a", "x\ud83d"))
    assert code == "INVALID_ARGUMENTS"
    assert (
        "character 2 is half of a surrogate pair (U+D83D), which no file can hold; send the whole character" in message
    )
    assert os.listdir(workspace_root) == []


def test_wrong_arguments_are_told_with_the_right_names(backend: Any) -> None:
    code, message = refused(WriteFileTool(backend=backend).execute(absolute_path="a", contents="x"))
    assert code == "INVALID_ARGUMENTS"
    assert message == (
        "write_file: 'content' is required; unknown argument 'contents' (did you mean 'content'?). "
        "Valid arguments: absolute_path (required), content (required)."
    )


def test_odd_names_are_written_literally(backend: Any, workspace_root: Path) -> None:
    for name in ("a b", "a%20b", "~", "*.py", "-rf", "a\nb", "$HOME", "ü"):
        assert not write(backend, name, name).is_error
        assert (workspace_root / name).read_text() == name


def test_a_name_that_is_not_utf_8_is_written_and_shown_printable(backend: Any, workspace_root: Path) -> None:
    result = write(backend, "caf\udce9", "x")
    assert not result.is_error
    assert result.content.isprintable()
    assert os.listdir(os.fsencode(workspace_root)) == [b"caf\xe9"]


def test_many_writers_leave_one_whole_content(backend: Any, workspace_root: Path) -> None:
    contents = [str(number) * 100_000 for number in range(8)]
    results: list[ToolResult] = []
    threads = [threading.Thread(target=lambda c=c: results.append(write(backend, "a", c))) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.is_error for result in results] == [False] * 8
    assert (workspace_root / "a").read_text() in contents
    assert os.listdir(workspace_root) == ["a"]
