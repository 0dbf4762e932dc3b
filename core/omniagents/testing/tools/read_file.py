"""``read_file``."""

from __future__ import annotations

import base64
import re
from functools import partial

import pytest

from omniagents.testing.tools.base import Call, ToolTests
from omniagents.tools.base import DocumentPart, ImagePart
from omniagents.workspace import Workspace

__all__ = ["ReadFileTests"]

# The smallest PNG: one pixel.
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_IMAGES = {
    "image/png": _PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(20),
    "image/gif": b"GIF89a" + bytes(20),
    "image/webp": b"RIFF\x20\0\0\0WEBPVP8 " + bytes(20),
}


class ReadFileTests(ToolTests):
    """Text page by page, exactly; images and documents as parts; distinct refusals."""

    @pytest.fixture
    def read(self, call: Call) -> Call:
        return partial(call, "read_file")

    @pytest.mark.parametrize(
        "text", ["x", "line\n", "a\r\nb\r\n", "no newline é🎉", "\tindented\n\n\n", "form\x0cfeed\u2028\n"], ids=ascii
    )
    def test_a_small_text_is_shown_exactly(self, workspace: Workspace, read: Call, text: str) -> None:
        workspace.write_bytes("a.txt", text.encode())
        assert read(absolute_path="a.txt").content == text

    def test_an_empty_file_says_so(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.txt", b"")
        result = read(absolute_path="a.txt")
        assert (result.error_type, "empty" in result.content) == (None, True)

    def test_of_more_than_2000_lines_the_first_are_shown_with_range_total_and_next_offset(
        self, workspace: Workspace, read: Call
    ) -> None:
        workspace.write_bytes("a.txt", b"".join(b"line %d\n" % number for number in range(1, 2501)))
        result = read(absolute_path="a.txt")
        lines = result.content.splitlines()
        assert lines[-1] == "line 2000"
        assert "line 2001" not in result.content
        for fact in ("1-2000", "2500", "offset=2000"):
            assert fact in lines[0].replace(",", "")
        assert (result.data["total_lines"], result.data["next_offset"]) == (2500, 2000)
        rest = read(absolute_path="a.txt", offset=2000)
        assert rest.content.splitlines()[-500:] == [f"line {number}" for number in range(2001, 2501)]

    def test_offset_and_limit_name_lines_from_zero(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.txt", b"".join(b"line %d\n" % number for number in range(1, 11)))
        result = read(absolute_path="a.txt", offset=3, limit=2)
        assert result.content.splitlines()[-2:] == ["line 4", "line 5"]
        assert (result.data["first_line"], result.data["last_line"], result.data["next_offset"]) == (4, 5, 5)

    def test_start_and_end_line_name_lines_from_one(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.txt", b"".join(b"line %d\n" % number for number in range(1, 11)))
        result = read(absolute_path="a.txt", start_line=4, end_line=5)
        assert result.content.splitlines()[-2:] == ["line 4", "line 5"]
        assert read(absolute_path="a.txt", start_line=4, limit=2).error_type == "INVALID_ARGUMENTS"

    def test_line_numbers_are_shown_when_asked_for(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.txt", b"one\ntwo\n")
        assert re.fullmatch(r"\s*1\tone\n\s*2\ttwo\n", read(absolute_path="a.txt", line_numbers=True).content)

    def test_an_offset_past_the_end_is_told_with_the_total(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.txt", b"one\ntwo\n")
        result = read(absolute_path="a.txt", offset=2)
        assert result.error_type == "OFFSET_OUT_OF_RANGE"
        assert "2 lines" in result.content

    def test_a_long_line_is_cut_and_says_how_to_see_the_rest(
        self, workspace: Workspace, read: Call, call: Call
    ) -> None:
        line = "".join(chr(0x61 + position // 1000 % 26) for position in range(60_000))
        workspace.write_bytes("a.txt", (line + "\nnext\n").encode())
        result = read(absolute_path="a.txt")
        shown = next(text for text in result.content.splitlines() if text.startswith("aaaa"))
        assert shown[:2000] == line[:2000]
        assert line[:2001] not in result.content
        assert result.content.endswith("next\n")
        command = re.search(r'run_shell_command\(command="((?:[^"\\]|\\.)*)"\)', result.content)
        assert command is not None
        rest = call("run_shell_command", command=command[1].replace('\\"', '"').replace("\\\\", "\\"))
        assert rest.content[:2000] == line[2000:4000]

    def test_pages_make_progress_and_together_are_the_file(self, workspace: Workspace, read: Call) -> None:
        lines = [f"{number} " + "x" * (number * 37 % 1900) for number in range(300)]
        workspace.write_bytes("a.txt", "\n".join(lines).encode())
        seen: list[str] = []
        offset: int | None = 0
        while offset is not None:
            result = read(absolute_path="a.txt", offset=offset)
            assert len(result.content) < 51_000
            count = result.data["last_line"] - result.data["first_line"] + 1
            assert count > 0
            seen += result.content.splitlines()[-count:]
            offset = result.data["next_offset"]
        assert seen == lines

    def test_a_page_far_into_a_large_file_is_read(self, workspace: Workspace, read: Call) -> None:
        workspace.run("seq 3000000 > large")
        result = read(absolute_path="large", offset=2_500_000, limit=2)
        assert result.content.splitlines()[-2:] == ["2500001", "2500002"]
        assert result.data["total_lines"] == 3_000_000

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
    def test_text_with_a_byte_order_mark_is_decoded(self, workspace: Workspace, read: Call, encoding: str) -> None:
        mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
        workspace.write_bytes("a.txt", mark + "naïve 🎉\nend".encode(encoding))
        assert read(absolute_path="a.txt").content == "naïve 🎉\nend"

    def test_what_is_not_utf_8_is_shown_as_latin_1_with_a_notice(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.txt", b"caf\xe9\n")
        result = read(absolute_path="a.txt")
        assert result.content.splitlines()[-1] == "café"
        assert "Latin-1" in result.content.splitlines()[0]

    @pytest.mark.parametrize(("mime_type", "content"), _IMAGES.items(), ids=_IMAGES)
    def test_an_image_is_known_by_its_bytes_and_handed_on(
        self, workspace: Workspace, read: Call, mime_type: str, content: bytes
    ) -> None:
        workspace.write_bytes("dir/photo.txt", content)
        assert read(absolute_path="dir/photo.txt").parts == (ImagePart(content, mime_type, "dir/photo.txt"),)

    def test_text_named_like_an_image_is_text(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.png", b"just text\n")
        result = read(absolute_path="a.png")
        assert (result.content, result.parts) == ("just text\n", ())

    def test_a_pdf_is_handed_on_as_a_document(self, workspace: Workspace, read: Call) -> None:
        content = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n" + bytes(100)
        workspace.write_bytes("a.pdf", content)
        assert read(absolute_path="a.pdf").parts == (DocumentPart(content, "application/pdf", "a.pdf"),)

    @pytest.mark.parametrize("option", ["offset", "limit", "start_line", "end_line"])
    def test_an_image_has_no_lines(self, workspace: Workspace, read: Call, option: str) -> None:
        workspace.write_bytes("a.png", _PNG)
        assert read(absolute_path="a.png", **{option: 1}).error_type == "INVALID_ARGUMENTS"

    def test_an_image_may_have_five_mebibytes_as_base64(self, workspace: Workspace, read: Call) -> None:
        most = (5 << 20) // 4 * 3
        workspace.write_bytes("fits.png", _PNG + bytes(most - len(_PNG)))
        workspace.write_bytes("larger.png", _PNG + bytes(most - len(_PNG) + 3))
        assert len(read(absolute_path="fits.png").parts) == 1
        assert read(absolute_path="larger.png").error_type == "FILE_TOO_LARGE"

    def test_a_pdf_may_have_twenty_mebibytes(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("fits.pdf", b"%PDF-1.4\n" + bytes((20 << 20) - 9))
        workspace.write_bytes("larger.pdf", b"%PDF-1.4\n" + bytes((20 << 20) - 8))
        assert len(read(absolute_path="fits.pdf").parts) == 1
        assert read(absolute_path="larger.pdf").error_type == "FILE_TOO_LARGE"

    def test_a_binary_file_is_refused_with_a_way_to_look_into_it(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.bin", b"\x7fELF\0\0\0" + bytes(range(256)))
        result = read(absolute_path="a.bin")
        assert result.error_type == "BINARY_FILE"
        assert "run_shell_command" in result.content

    def test_a_missing_file_names_the_most_similar_ones(self, workspace: Workspace, read: Call) -> None:
        for name in ("src/handlers.py", "src/other.py", "docs/readme.md"):
            workspace.write_bytes(name, b"x")
        assert "src/handlers.py" in read(absolute_path="src/handler.py").content
        assert "docs/readme.md" in read(absolute_path="readme.md").content

    def test_a_file_nobody_may_read_is_refused(self, workspace: Workspace, read: Call) -> None:
        workspace.write_bytes("a.txt", b"x")
        workspace.run("chmod 000 a.txt")
        assert read(absolute_path="a.txt").error_type == "PERMISSION_DENIED"

    def test_a_broken_link_is_not_found(self, workspace: Workspace, read: Call) -> None:
        workspace.run("ln -s nowhere link")
        result = read(absolute_path="link")
        assert result.error_type == "FILE_NOT_FOUND"
        assert "nowhere" in result.content

    def test_a_device_is_refused_at_once(self, workspace: Workspace, read: Call) -> None:
        workspace.run("ln -s /dev/zero zero")
        assert read(absolute_path="zero").error_type in ("PATH_OUTSIDE_WORKSPACE", "NOT_A_REGULAR_FILE")

    def test_a_name_that_is_not_text_can_be_read_as_it_is_shown(
        self, workspace: Workspace, read: Call, call: Call
    ) -> None:
        workspace.write_bytes("caf\udce9.txt", b"content")
        shown = call("glob", pattern="*.txt").content.splitlines()[-1]
        assert read(absolute_path=shown).content == "content"
