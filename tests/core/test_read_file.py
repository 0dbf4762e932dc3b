"""read_file through the tool: what a model sees."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from omniagents.tools.base import DocumentPart, ImagePart, ToolResult
from omniagents.tools.read_file_tool import ReadFileTool

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


@pytest.fixture
def read(backend: Any) -> Any:
    """``read("a.txt", offset=3)``."""

    def call(path: str, **options: Any) -> ToolResult:
        return ReadFileTool(backend=backend).execute(absolute_path=path, **options)

    return call


def write(root: Path, name: str, content: bytes | str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    "text", ["one", "one\n", "\n", "a\r\nb\rc\n", "a\x0bb\x0cc\u2028d\x85e\n", "tab\there \n\n", "\0"[:0] + "é€😀\n"]
)
def test_a_small_file_is_shown_exactly(workspace_root, read, text):
    write(workspace_root, "a.txt", text)
    assert read("a.txt") == ToolResult(text, data=read("a.txt").data)


def test_lines_end_at_line_feeds_only(workspace_root, read):
    write(workspace_root, "a.txt", "a\x0b\x0c\x1c\u2028\u2029\x85\rb\nc")
    assert read("a.txt").data["total_lines"] == 2


def test_an_empty_file_says_so(workspace_root, read):
    write(workspace_root, "a.txt", "")
    assert read("a.txt").content == "[a.txt is empty.]"


def test_a_lone_byte_order_mark_is_an_empty_file(workspace_root, read):
    write(workspace_root, "a.txt", b"\xef\xbb\xbf")
    assert read("a.txt").content == "[a.txt is empty but for a byte-order mark.]"


def test_the_first_2000_lines_come_with_the_call_for_the_rest(workspace_root, read):
    write(workspace_root, "big.txt", "".join(f"{number}\n" for number in range(2500)))
    result = read("big.txt")
    head, text = result.content.split("\n", 1)
    assert head == (
        "[Lines 1-2000 of 2500 are shown; the next offset is 2000: "
        'read on with read_file(absolute_path="big.txt", offset=2000).]'
    )
    assert text == "".join(f"{number}\n" for number in range(2000))
    assert result.data["next_offset"] == 2000


def test_the_last_page_says_that_it_is_the_last(workspace_root, read):
    write(workspace_root, "a.txt", "1\n2\n3")
    assert read("a.txt", offset=1).content == "[Lines 2-3 of 3 are shown; this is the end of the file.]\n2\n3"


def test_the_next_call_repeats_limit_and_line_numbers(workspace_root, read):
    write(workspace_root, "a.txt", "1\n2\n3\n")
    assert read("a.txt", limit=1, line_numbers=True).content == (
        "[Lines 1-1 of 3 are shown; the next offset is 1: "
        'read on with read_file(absolute_path="a.txt", offset=1, limit=1, line_numbers=True).]\n     1\t1\n'
    )


def test_a_page_cut_by_its_size_leaves_the_rest_of_the_limit(workspace_root, read):
    write(workspace_root, "a.txt", ("x" * 999 + "\n") * 100)
    assert (
        read("a.txt", offset=10, limit=60).data["next_call"] == 'read_file(absolute_path="a.txt", offset=60, limit=10)'
    )


def test_start_and_end_line_count_from_one_and_include_both(workspace_root, read):
    write(workspace_root, "a.txt", "1\n2\n3\n4\n")
    assert read("a.txt", start_line=2, end_line=3).content.split("\n", 1)[1] == "2\n3\n"
    assert read("a.txt", end_line=1).content.split("\n", 1)[1] == "1\n"
    assert read("a.txt", start_line=4, end_line=99).content.split("\n", 1)[1] == "4\n"


def test_the_two_ways_to_name_lines_do_not_mix(workspace_root, read):
    write(workspace_root, "a.txt", "1\n")
    result = read("a.txt", start_line=1, limit=2)
    assert (result.error_type, result.content) == (
        "INVALID_ARGUMENTS",
        "Name the lines either by offset (from 0) and limit, or by start_line and end_line (from 1), not by both",
    )


def test_an_end_before_its_start_is_refused(workspace_root, read):
    write(workspace_root, "a.txt", "1\n")
    assert read("a.txt", start_line=3, end_line=2).content == "end_line (2) is before start_line (3)"


def test_a_line_of_2000_characters_and_a_carriage_return_is_whole(workspace_root, read):
    write(workspace_root, "a.txt", "x" * 2000 + "\r\n" + "y" * 2000)
    assert read("a.txt").content == "x" * 2000 + "\r\n" + "y" * 2000


def test_a_longer_line_is_cut_and_says_how_to_see_the_rest(workspace_root, read):
    write(workspace_root, "a b.txt", "one\n" + "é" * 60_000 + "\r\nthree\n")
    head, _, text = read("a b.txt").content.partition("\n")
    assert text == "one\n" + "é" * 2000 + " [... 58,000 more characters]\r\nthree\n"
    assert head == (
        "[Line 2 is cut at 2,000 characters: see the rest with "
        "run_shell_command(command=\"sed -n '2{p;q;}' 'a b.txt' | cut -b 4001-54000\").]"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])
def test_the_named_command_continues_the_cut_line_exactly(workspace_root, read, encoding):
    line = "é" * 1999 + "ab" + "rest" * 10
    content = (line + "\n").encode(encoding)
    write(workspace_root, "-a.txt", b"\xfe\xff" + content if encoding == "utf-16-be" else content)
    call = read("-a.txt").data["rest_call"]
    command = eval(call, {"run_shell_command": lambda command: command})
    with os.popen(f"cd '{workspace_root}'; {command}") as output:
        assert output.read() == "b" + "rest" * 10 + "\n"


def test_many_cut_lines_are_named_briefly(workspace_root, read):
    write(workspace_root, "a.txt", ("x" * 2001 + "\n") * 8)
    assert read("a.txt").content.startswith(
        "[Lines 1, 2, 3, 4, 5 and 3 more are cut at 2,000 characters: see the rest of line 1 with "
        "run_shell_command(command=\"sed -n '1{p;q;}' a.txt | cut -b 2001-52000\"), and of the others likewise.]\n"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_byte_order_mark_is_decoded(workspace_root, read, encoding):
    write(workspace_root, "a.txt", "naïve €\r\n😀\n".encode(encoding))
    assert read("a.txt").content == "naïve €\r\n😀\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_characters_that_span_blocks_are_decoded(workspace_root, read, encoding):
    write(workspace_root, "a.txt", ("x" + "😀é€\n" * 200_000).encode(encoding))
    result = read("a.txt", offset=199_000)
    assert result.data["total_lines"] == 200_000
    assert result.content.endswith("]\n" + "😀é€\n" * 1000)


def test_what_is_not_utf8_is_latin1_with_a_notice(workspace_root, read):
    write(workspace_root, "a.txt", b"caf\xe9\n")
    assert read("a.txt").content == (
        "[The file is not valid UTF-8; it is shown as Latin-1, so some characters may be wrong.]\ncafé\n"
    )


def test_every_page_of_a_file_is_decoded_alike(workspace_root, read):
    write(workspace_root, "a.txt", "é\n".encode() * 300_000 + b"\xff\n")
    assert read("a.txt", limit=1).content.endswith("]\nÃ©\n")


def test_a_false_byte_order_mark_is_no_text(workspace_root, read):
    write(workspace_root, "a.bin", b"\xff\xfe\x00\xd8\x00\x00x")
    assert read("a.bin").error_type == "BINARY_FILE"


def test_a_binary_file_is_refused_with_a_way_to_look_into_it(workspace_root, read):
    write(workspace_root, "a.bin", b"\x7fELF\0\0")
    result = read("a.bin")
    assert (result.error_type, result.content) == (
        "BINARY_FILE",
        "a.bin is a binary file (6 bytes; it holds NUL bytes) and cannot be shown as text. "
        'Look into it with run_shell_command(command="head -c 512 a.bin | od -c")',
    )


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0JFIF", "image/jpeg"),
        (b"GIF89a\0", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
def test_images_are_recognised_by_their_bytes(workspace_root, read, content, mime_type):
    write(workspace_root, "x.txt", content)
    result = read("x.txt")
    assert result.parts == (ImagePart(content, mime_type, "x.txt"),)
    assert result.content == f"Read image x.txt ({mime_type}, {len(content)} bytes)"


def test_text_named_like_an_image_is_text(workspace_root, read):
    write(workspace_root, "x.png", "not a picture\n")
    assert read("x.png").content == "not a picture\n"


def test_svg_is_text(workspace_root, read):
    write(workspace_root, "x.svg", "<svg/>\n")
    assert read("x.svg").content == "<svg/>\n"


def test_a_pdf_is_a_document(workspace_root, read):
    write(workspace_root, "x.pdf", PDF)
    assert read("x.pdf").parts == (DocumentPart(PDF, "application/pdf", "x.pdf"),)


@pytest.mark.parametrize("option", ["offset", "limit", "start_line"])
def test_an_image_has_no_lines(workspace_root, read, option):
    write(workspace_root, "x.png", PNG)
    result = read("x.png", **{option: 1})
    assert (result.error_type, result.content) == (
        "INVALID_ARGUMENTS",
        'x.png is image/png and has no lines; read all of it with read_file(absolute_path="x.png")',
    )


@pytest.mark.parametrize(("content", "limit"), [(PNG, 3_932_160), (PDF, 20 << 20)])
def test_images_and_documents_are_limited_in_size(workspace_root, read, content, limit):
    write(workspace_root, "fits", content.ljust(limit, b"\0"))
    write(workspace_root, "over", content.ljust(limit + 1, b"\0"))
    assert not read("fits").is_error
    assert read("over").error_type == "FILE_TOO_LARGE"
    assert f"{limit + 1:,} bytes; the limit is" in read("over").content


def test_a_missing_file_names_similar_ones(workspace_root, read):
    for name in ("src/app.py", "lib/app.py", "src/apple.py", "src/other.txt", "node_modules/app.py"):
        write(workspace_root, name, "")
    result = read("src/App.py")
    assert (result.error_type, result.content) == (
        "FILE_NOT_FOUND",
        "src/App.py does not exist. Similar files: src/app.py, src/apple.py, lib/app.py",
    )
    assert result.data == {"similar": ["src/app.py", "src/apple.py", "lib/app.py"]}


def test_a_missing_file_without_relatives_says_where_to_look(workspace_root, read):
    write(workspace_root, "src/a.py", "")
    assert read("src/nowhere/quite-different.md").content == (
        "src/nowhere/quite-different.md does not exist. Nothing has a similar name; "
        'look around with list_directory(path="src")'
    )


def test_a_name_that_is_not_text_is_read_as_it_is_shown(workspace_root, read):
    directory = os.fsencode(workspace_root) + b"/d\xff"
    os.mkdir(directory)
    with open(directory + b"/caf\xe9.txt", "wb") as file:
        file.write(b"1\n2\n")
    result = read("d\\xff/caf\\xe9.txt", limit=1)
    assert result.data["next_call"] == 'read_file(absolute_path="d\\\\xff/caf\\\\xe9.txt", offset=1, limit=1)'
    assert result.content.endswith("]\n1\n")


def test_a_literal_backslash_comes_first(workspace_root, read):
    with open(os.fsencode(workspace_root) + b"/caf\xe9", "wb") as file:
        file.write(b"bytes")
    write(workspace_root, "caf\\xe9", "backslash")
    assert read("caf\\xe9").content == "backslash"


def test_a_broken_link_is_named_as_one(workspace_root, read):
    (workspace_root / "link").symlink_to("gone.txt")
    assert read("link").content.startswith("link is a link to gone.txt, which does not exist. ")


def test_a_directory_is_not_read(workspace_root, read):
    (workspace_root / "src").mkdir()
    result = read("src")
    assert (result.error_type, result.content) == (
        "IS_A_DIRECTORY",
        'src is a directory. See what is in it with list_directory(path="src")',
    )


def test_a_file_used_as_a_directory_is_refused(workspace_root, read):
    write(workspace_root, "a.txt", "")
    assert read("a.txt/b").error_type == "NOT_A_DIRECTORY"


def test_a_fifo_is_refused_at_once(workspace_root, read):
    os.mkfifo(workspace_root / "pipe")
    result = read("pipe")
    assert (result.error_type, result.content) == (
        "NOT_A_REGULAR_FILE",
        "pipe is a FIFO, not a regular file; only regular files can be read",
    )


def test_a_socket_is_refused(workspace_root, read, monkeypatch):
    monkeypatch.chdir(workspace_root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        assert read("s").content == "s is a socket, not a regular file; only regular files can be read"


def test_a_device_behind_a_link_is_outside(workspace_root, read):
    (workspace_root / "zero").symlink_to("/dev/zero")
    assert read("zero").error_type == "PATH_OUTSIDE_WORKSPACE"


def test_a_loop_of_links_is_refused(workspace_root, read):
    (workspace_root / "a").symlink_to("b")
    (workspace_root / "b").symlink_to("a")
    assert read("a").error_type == "NOT_A_REGULAR_FILE"


def test_a_file_nobody_may_read_is_refused_even_to_root(workspace_root, read):
    write(workspace_root, "a.txt", "x")
    (workspace_root / "a.txt").chmod(0)
    result = read("a.txt")
    assert (result.error_type, result.content) == (
        "PERMISSION_DENIED",
        'a.txt cannot be read: permission denied. See its owner and mode with run_shell_command(command="ls -l a.txt")',
    )


@pytest.mark.parametrize(("offset", "content"), [(3, "3 lines, so the last offset is 2"), (10**18, "3 lines")])
def test_an_offset_past_the_end_states_the_total(workspace_root, read, offset, content):
    write(workspace_root, "a.txt", "1\n2\n3")
    result = read("a.txt", offset=offset)
    assert result.error_type == "OFFSET_OUT_OF_RANGE"
    assert result.content.startswith("a.txt has " + content)
    assert result.data == {"total_lines": 3}


def test_an_offset_into_an_empty_file_is_past_its_end(workspace_root, read):
    write(workspace_root, "a.txt", "")
    assert read("a.txt", offset=1).content == "a.txt is empty; offset 1 is past its end"


@pytest.mark.parametrize("name", ["-n", "a:12:b.py", "a\nb", "%20", "~", "*", "$(x)", "\u202e.txt"])
def test_names_are_taken_literally(workspace_root, read, name):
    with open(os.fsencode(workspace_root) + b"/" + os.fsencode(name), "wb") as file:
        file.write(b"1\n2\n")
    result = read(name, limit=1)
    result.content.encode("utf-8")
    assert eval(result.data["next_call"], {"read_file": lambda absolute_path, offset, limit: absolute_path}) == name


def test_a_page_far_into_a_large_file_is_reached_in_flat_memory(workspace_root, backend):
    import resource

    line = b"x" * 99 + b"\n"
    with open(workspace_root / "big.txt", "wb") as file:
        for _ in range(300):
            file.write(line * 10_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = ReadFileTool(backend=backend).execute(absolute_path="big.txt", offset=2_999_999)
    assert result.data["total_lines"] == 3_000_000
    assert result.content.endswith("]\n" + line.decode())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10


def test_a_growing_file_is_read_to_where_it_was_when_opened(workspace_root, backend, monkeypatch):
    from omniagents.guest.opening import Opened

    path = workspace_root / "log"
    path.write_bytes(b"1\n")
    genuine = Opened.read

    def read_and_grow(self: Opened, position: int, count: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"more\n")
        return genuine(self, position, count)

    monkeypatch.setattr(Opened, "read", read_and_grow)
    assert ReadFileTool(backend=backend).execute(absolute_path="log").content == "1\n"


def test_kernel_files_in_a_workspace_do_not_hang(read, backend):
    from omniagents.guest.root import Root

    backend.workspace.root = Root("/proc/self")
    assert "Name:" in read("status").content
    assert read("mem").is_error
