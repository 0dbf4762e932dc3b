"""read_many_files through the tool: what a model sees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagents.guest.reading_many import share_out
from omniagents.tools.base import DocumentPart, ImagePart, ToolResult
from omniagents.tools.read_many_files_tool import ReadManyFilesTool

PNG = b"\x89PNG\r\n\x1a\n\0"
PDF = b"%PDF-1.7\n"
END = "--- End of content ---"


@pytest.fixture
def read(backend: Any) -> Any:
    """``read("src", "*.md", recursive=False)``."""

    def call(*paths: str, **options: Any) -> ToolResult:
        return ReadManyFilesTool(backend=backend).execute(paths=list(paths), **options)

    return call


def write(root: Path, name: str, content: bytes | str = "x\n") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def shown(result: ToolResult) -> list[str]:
    return [file["path"] for file in result.data["files"]]


def test_blocks_are_sorted_by_path_and_end_with_the_end(workspace_root, read):
    write(workspace_root, "b.txt", "two\n")
    write(workspace_root, "a.txt", "one")
    assert read("b.txt", "a.txt").content == f"--- a.txt ---\none\n--- b.txt ---\ntwo\n{END}"


def test_files_directories_and_globs_mix_and_each_file_comes_once(workspace_root, read):
    for name in ("src/a.py", "src/in/b.py", "top.md", "other.md", "c.txt"):
        write(workspace_root, name)
    assert shown(read("src", "src/a.py", "/workspace/src/in/../a.py", "*.md", "**/*.py")) == [
        "other.md",
        "src/a.py",
        "src/in/b.py",
        "top.md",
    ]


def test_one_path_need_not_be_a_list(workspace_root, backend):
    write(workspace_root, "a.txt")
    assert shown(ReadManyFilesTool(backend=backend).execute(absolute_paths="a.txt")) == ["a.txt"]


def test_a_directory_is_read_without_those_below_if_asked(workspace_root, read):
    write(workspace_root, "d/a")
    write(workspace_root, "d/e/b")
    result = read("d", recursive=False)
    assert result.content == f"[Skipped: 1 directories not entered (d/e/).]\n--- d/a ---\nx\n{END}"


def test_include_narrows_what_directories_and_globs_find(workspace_root, read):
    for name in ("d/a.py", "d/b.js", "d/e/c.py", "named.txt"):
        write(workspace_root, name)
    result = read("d", "named.txt", include=["*.py"])
    assert shown(result) == ["d/a.py", "d/e/c.py", "named.txt"]
    assert result.content.startswith("[Skipped: 1 not included (d/b.js).]\n")
    assert shown(read("d", include=["d/*.{py,js}"])) == ["d/a.py", "d/b.js"]


@pytest.mark.parametrize("pattern", ["e", "e/", "d/e", "d/e/**", "c.{py,x}", "*.py"])
def test_exclude_leaves_out_files_and_directories(workspace_root, read, pattern):
    write(workspace_root, "d/a.md")
    write(workspace_root, "d/e/c.py")
    result = read("d", "d/e/c.py", exclude=[pattern])
    assert shown(result) == ["d/a.md"]
    assert "excluded" in result.data["skipped"]
    assert shown(read("d", exclude=[pattern], use_default_excludes=False)) == ["d/a.md"]


def test_ignored_files_are_counted_and_can_be_included(workspace_root, read):
    write(workspace_root, ".gitignore", "*.log\n")
    for name in ("a.log", "a.txt", "node_modules/x.js"):
        write(workspace_root, name)
    result = read(".", include=["a.*", "x.js"])
    assert result.content == (
        "[Skipped: 2 ignored (a.log, node_modules/); 1 not included (.gitignore). "
        f"Set use_default_excludes to false to include ignored files.]\n--- a.txt ---\nx\n{END}"
    )
    assert shown(read("*.log", "node_modules/**", use_default_excludes=False)) == ["a.log", "node_modules/x.js"]


def test_ignored_files_that_are_named_are_read(workspace_root, read):
    write(workspace_root, ".gitignore", "*.log\n")
    write(workspace_root, "a.log")
    write(workspace_root, "node_modules/x.js")
    assert shown(read("a.log", "node_modules")) == ["a.log", "node_modules/x.js"]


def test_one_bad_path_never_fails_the_rest(workspace_root, read):
    write(workspace_root, "app.py")
    (workspace_root / "out").symlink_to("/etc/passwd")
    os.mkfifo(workspace_root / "pipe")
    result = read("app.py", "appp.py", "out", "../x", "pipe", "*.zip", "{a,}" * 18)
    assert not result.is_error
    assert result.content.splitlines() == [
        "[appp.py does not exist. Similar files: app.py]",
        "[out is outside the workspace; use a path relative to the workspace, such as 'out']",
        "[../x is outside the workspace; use a path relative to the workspace, such as 'x']",
        '[No file matches the pattern "*.zip"]',
        "[this glob pattern is too broad: its braces stand for more than 1,000 patterns. "
        "Use fewer alternatives, or * in their place.]",
        "[1 more of the paths cannot be read]",
        "--- app.py ---",
        "x",
        END,
    ]


def test_found_files_that_cannot_be_read_are_counted_by_reason(workspace_root, read):
    write(workspace_root, "d/a")
    write(workspace_root, "d/binary", b"\0")
    write(workspace_root, "d/secret")
    (workspace_root / "d/secret").chmod(0)
    (workspace_root / "d/broken").symlink_to("nowhere")
    (workspace_root / "d/outside").symlink_to("/etc/passwd")
    (workspace_root / "d/up").symlink_to("..")
    os.mkfifo(workspace_root / "d/pipe")
    assert read("d").content == (
        "[Skipped: 1 binary (d/binary); 1 broken links (d/broken); 1 links to directories (d/up); "
        "1 outside the workspace (d/outside); 1 special files (d/pipe); 1 unreadable (d/secret).]\n"
        f"--- d/a ---\nx\n{END}"
    )


def test_nothing_but_problems_is_an_error(workspace_root, read):
    write(workspace_root, "a.md")
    result = read("b.md", "*.zip")
    assert (result.error_type, result.content) == (
        "FILE_NOT_FOUND",
        'b.md does not exist. Similar files: a.md\nNo file matches the pattern "*.zip"',
    )


def test_nothing_but_skips_is_no_error(workspace_root, read):
    write(workspace_root, "d/binary", b"\0")
    result = read("d")
    assert (result.is_error, result.content) == (False, "Nothing was read.\nSkipped: 1 binary (d/binary).")


def test_a_named_binary_says_how_to_look_into_it(workspace_root, read):
    write(workspace_root, "a", b"\0")
    assert read("a").error_type == "BINARY_FILE"


def test_an_empty_file_says_so(workspace_root, read):
    write(workspace_root, "a", "")
    assert read("a").content == f"--- a ---\n[This file is empty.]\n{END}"


def test_latin1_is_noticed(workspace_root, read):
    write(workspace_root, "a", b"caf\xe9")
    assert read("a").content == (
        f"--- a ---\n[Not valid UTF-8: shown as Latin-1, so some characters may be wrong.]\ncafé\n{END}"
    )


def test_images_and_pdfs_come_only_when_asked_for(workspace_root, read):
    write(workspace_root, "d/logo.png", PNG)
    write(workspace_root, "d/doc.pdf", PDF)
    write(workspace_root, "d/text.png", "text\n")
    result = read("d")
    assert shown(result) == ["d/text.png"]
    assert result.content.startswith(
        "[Skipped: 2 images or PDFs not asked for (d/doc.pdf, d/logo.png). "
        "Name an image or PDF, or its extension (`*.png`), to include it.]\n"
    )
    image, document = ImagePart(PNG, "image/png", "d/logo.png"), DocumentPart(PDF, "application/pdf", "d/doc.pdf")
    assert read("d/logo.png").parts == (image,)
    assert read("d/logo.png").content == f"--- d/logo.png ---\n[image/png, 9 bytes: attached]\n{END}"
    assert read("**/*.PNG").parts == (image,)
    assert read("d/logo.*").parts == (image,)
    assert read("d/*.{pdf,png}").parts == (document, image)
    assert read("d", include=["*.pdf"]).parts == (document,)
    assert read("**", "l*").parts == ()


def test_images_are_limited_in_number_and_size(workspace_root, read):
    for number in range(22):
        write(workspace_root, f"{number:02d}.png", PNG)
    write(workspace_root, "big.png", PNG.ljust(4 << 20, b"\0"))
    result = read("*.png")
    assert len(result.parts) == 20
    assert result.data["skipped"]["images or PDFs beyond 20 or 20 MiB a call"]["names"] == ["20.png", "21.png"]
    assert result.data["skipped"]["too large"]["names"] == ["big.png"]


def test_small_files_are_whole_and_large_ones_share_the_rest(workspace_root, read):
    line = "x" * 99 + "\n"
    write(workspace_root, "large1", line * 1000)
    write(workspace_root, "large2", line * 2500)
    write(workspace_root, "small", line * 20)
    result = read("*")
    lines = {file["path"]: file["shown_lines"] for file in result.data["files"]}
    assert lines["small"] == 20
    assert lines["large1"] == lines["large2"] > 230
    assert (
        f"--- large2 ---\n[Lines 1-{lines['large2']} of 2500 are shown: "
        f'read on with read_file(absolute_path="large2", offset={lines["large2"]}).]\n{line}'
    ) in result.content
    assert len(result.content) <= 50_000


def test_a_line_over_its_share_is_begun(workspace_root, read):
    for number in range(40):
        write(workspace_root, f"{number:02d}", "x" * 3_000 + "\nnext\n")
    result = read("*")
    block = result.content.split("--- 01 ---\n")[0].splitlines()
    assert block[1] == '[Only the beginning of line 1 of 2 is shown: read on with read_file(absolute_path="00").]'
    text, note = block[2].split(" [")
    assert note == f"... {3_000 - len(text):,} more characters]"
    assert len(result.content) <= 50_000


def test_a_long_line_says_how_to_see_the_rest(workspace_root, read):
    write(workspace_root, "a", "one\n" + "x" * 60_000)
    assert read("a").content == (
        '--- a ---\n[Line 2 is cut at 2,000 characters: read_file(absolute_path="a", start_line=2, end_line=2) '
        f"says how to see the rest.]\none\n{'x' * 2000} [... 58,000 more characters]\n{END}"
    )


def test_files_without_room_are_counted(workspace_root, read):
    for number in range(400):
        write(workspace_root, f"{number:03d}", "y" * 1_000)
    result = read("*")
    count = len(result.data["files"])
    assert 50 < count < 100
    assert result.data["skipped"]["without room"] == {
        "count": 400 - count,
        "names": [f"{number:03d}" for number in range(count, count + 5)],
    }
    assert result.content.split("\n", 1)[0].endswith("Ask for fewer files at a time to see the others.]")


def test_a_link_and_its_target_are_one_file(workspace_root, read):
    write(workspace_root, "z.txt")
    (workspace_root / "a.txt").symlink_to("z.txt")
    assert shown(read("*.txt")) == ["z.txt"]
    assert shown(read("a*")) == ["a.txt"]


def test_names_are_shown_on_one_line(workspace_root, read):
    for name in (b"a\nb", b"caf\xe9", b"-x", b"a:12:b.py"):
        with open(os.fsencode(workspace_root) + b"/" + name, "wb") as file:
            file.write(b"x\n")
    content = read("*").content
    content.encode()
    assert content == f"--- -x ---\nx\n--- a\\nb ---\nx\n--- a:12:b.py ---\nx\n--- caf\\xe9 ---\nx\n{END}"


def test_a_name_with_wildcards_that_exists_is_that_file(workspace_root, read):
    write(workspace_root, "[id].tsx")
    write(workspace_root, "i.tsx")
    assert shown(read("[id].tsx")) == ["[id].tsx"]


@given(sizes=st.lists(st.integers(0, 2_000), max_size=30), room=st.integers(0, 50_000))
def test_shares_use_the_room_and_are_fair(sizes, room):
    share = share_out(sizes, room)
    taken = sum(min(size, share) for size in sizes)
    assert taken <= room
    assert taken == sum(sizes) or taken > room - len(sizes)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.tuples(st.integers(0, 6_000), st.integers(1, 4_000)), min_size=1, max_size=60))
def test_a_result_never_exceeds_its_room(tmp_path_factory, sizes):
    from tests.core.conftest import DirectWorkspace

    root = tmp_path_factory.mktemp("w")
    for number, (length, width) in enumerate(sizes):
        write(root, f"{number:02d}", "".join("z" * width + "\n" for _ in range(length // width + 1)))
    backend: Any = type("FakeBackend", (), {"workspace": DirectWorkspace(root)})()
    result = ReadManyFilesTool(backend=backend).execute(paths=["*"])
    head = sum(len(line) + 1 for line in result.content.splitlines() if line.startswith("["))
    assert len(result.content) - head <= 50_000
    assert result.content.endswith(END)
    seen = len(result.data["files"]) + sum(entry["count"] for entry in result.data["skipped"].values())
    assert seen == len(sizes)
