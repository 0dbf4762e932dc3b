"""list_directory through the tool: what a model sees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from omniagents.tools.base import ToolResult
from omniagents.tools.list_directory_tool import ListDirectoryTool


@pytest.fixture
def ls(backend: Any) -> Any:
    """``ls("src", ignore=["*.pyc"])``."""

    def call(path: str | None = None, **options: Any) -> ToolResult:
        return ListDirectoryTool(backend=backend).execute(path=path, **options)

    return call


def write(root: Path, name: str, content: bytes | str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_directories_come_first_and_the_rest_by_code_point(workspace_root, ls):
    for name in ("b/x", "Z/x", "a.py", "B.py", "é.py", ".hidden", "z"):
        write(workspace_root, name, "é")
    assert ls().content == (
        "The workspace has 7 entries:\nZ/\nb/\n.hidden (2 bytes)\nB.py (2 bytes)\na.py (2 bytes)\nz (2 bytes)\n"
        "é.py (2 bytes)"
    )


def test_sizes_are_stated_in_bytes(workspace_root, ls):
    write(workspace_root, "d/a", b"x")
    write(workspace_root, "d/b", b"x" * 12345)
    assert ls("d").content == "d/ has 2 entries:\na (1 byte)\nb (12,345 bytes)"


def test_links_show_their_targets_and_whether_they_are_broken(workspace_root, ls):
    (workspace_root / "d").mkdir()
    for name, target in (("gone", "nowhere"), ("loop", "loop"), ("out", "/dev/null"), ("sub", "d")):
        (workspace_root / name).symlink_to(target)
    assert ls().content == (
        "The workspace has 5 entries:\nd/\ngone -> nowhere (broken link)\nloop -> loop (broken link)\n"
        "out -> /dev/null\nsub -> d"
    )


def test_special_files_are_named_by_kind(workspace_root, ls):
    os.mkfifo(workspace_root / "pipe")
    assert ls().content == "The workspace has 1 entry:\npipe (FIFO)"


def test_an_empty_directory_says_so(workspace_root, ls):
    (workspace_root / "d").mkdir()
    assert ls("d").content == "d/ is empty."


def test_ignored_entries_are_counted_and_named(workspace_root, ls):
    write(workspace_root, ".gitignore", "*.log\nbuild/\n")
    for name in ("a.log", "build/x", "src/build/y", "src/b.log", "a.py", "node_modules/x", ".git/config"):
        write(workspace_root, name)
    note = "Set respect_git_ignore to false to include ignored entries."
    assert ls().content == (
        "The workspace has 5 entries:\n.git/\nnode_modules/\nsrc/\n.gitignore (13 bytes)\na.py (0 bytes)\n"
        f"Skipped: 2 ignored (a.log, build/). {note}"
    )
    assert ls("src").content == f"src/ has nothing to show. Skipped: 2 ignored (b.log, build/). {note}"
    assert ls("src", respect_git_ignore=False).content == "src/ has 2 entries:\nbuild/\nb.log (0 bytes)"


def test_an_ignored_directory_that_is_named_is_listed(workspace_root, ls):
    write(workspace_root, ".gitignore", "build/\n")
    write(workspace_root, "build/x")
    assert ls("build").content == "build/ has 1 entry:\nx (0 bytes)"


def test_a_directory_own_gitignore_counts(workspace_root, ls):
    write(workspace_root, "d/.gitignore", "*\n!.gitignore\n")
    write(workspace_root, "d/x")
    assert ls("d").data["entries"][0]["name"] == ".gitignore"
    assert ls("d").data["skipped"] == {"ignored": {"count": 1, "names": ["x"]}}


@pytest.mark.parametrize("glob", ["*.pyc", "**/*.pyc", "*.{pyc,pyo}", "?.pyc", "[!x].pyc", "d/*.pyc"])
def test_ignore_leaves_names_out_and_counts_them(workspace_root, ls, glob):
    for name in ("d/a.py", "d/a.pyc", "d/b.pyc"):
        write(workspace_root, name)
    assert ls("d", ignore=[glob]).content == "d/ has 1 entry:\na.py (0 bytes)\nSkipped: 2 excluded (a.pyc, b.pyc)."


def test_ignore_takes_directories_with_a_final_slash(workspace_root, ls):
    write(workspace_root, "d/x")
    assert ls(ignore=["d/"]).content == "The workspace has nothing to show. Skipped: 1 excluded (d/)."


def test_a_glob_that_stands_for_too_much_is_refused(workspace_root, ls):
    assert ls(ignore=["{a,}" * 18]).error_type == "PATTERN_TOO_BROAD"


def test_a_glob_with_many_stars_ends(workspace_root, ls):
    write(workspace_root, "a" * 250)
    assert ls(ignore=["*a" * 60 + "b"]).data["total"] == 1


def test_a_thousand_entries_then_a_count(workspace_root, ls):
    for number in range(1_205):
        write(workspace_root, f"d/{number:04d}")
    lines = ls("d").content.splitlines()
    assert lines[0] == (
        "d/ has 1,205 entries; the first 1,000 are shown. Leave some out with ignore, "
        'or list all with run_shell_command(command="ls -Ap d"):'
    )
    assert lines[1:] == [f"{number:04d} (0 bytes)" for number in range(1_000)]


def test_long_names_are_capped_by_characters(workspace_root, ls):
    for number in range(300):
        write(workspace_root, f"{number:03d}" + "x" * 240)
    result = ls()
    head, rest = result.content.split("\n", 1)
    assert len(rest) <= 50_000
    assert head.startswith(f"The workspace has 300 entries; the first {rest.count(chr(10)) + 1} are shown.")


def test_skipped_names_do_not_depend_on_the_order_of_the_system(workspace_root, ls):
    for number in range(50, 0, -1):
        write(workspace_root, f"{number:02d}.log")
    assert ls(ignore=["*.log"]).data["skipped"]["excluded"] == {
        "count": 50,
        "names": ["01.log", "02.log", "03.log", "04.log", "05.log"],
    }


def test_odd_names_stay_on_one_line_and_encodable(workspace_root, ls):
    for name in (b"a\nb", b"caf\xe9", b"-x", b"a:12:b.py"):
        with open(os.fsencode(workspace_root) + b"/" + name, "wb"):
            pass
    content = ls().content
    content.encode()
    assert content == (
        "The workspace has 4 entries:\n-x (0 bytes)\na\\nb (0 bytes)\na:12:b.py (0 bytes)\ncaf\\xe9 (0 bytes)"
    )


def test_a_directory_whose_name_is_not_text_is_listed_as_it_is_shown(workspace_root, ls):
    os.mkdir(os.fsencode(workspace_root) + b"/d\xff")
    assert ls("d\\xff").content == '"d\\\\xff/" is empty.'


def test_a_file_is_no_directory(workspace_root, ls):
    write(workspace_root, "a.py")
    result = ls("a.py")
    assert (result.error_type, result.content) == (
        "NOT_A_DIRECTORY",
        'a.py is a file, not a directory. Read it with read_file(absolute_path="a.py")',
    )


def test_a_missing_directory_names_similar_ones(workspace_root, ls):
    write(workspace_root, "source/x")
    write(workspace_root, "lib/sources/x")
    result = ls("sorce")
    assert (result.error_type, result.content) == (
        "FILE_NOT_FOUND",
        "sorce does not exist. Similar directories: source, lib/sources",
    )


def test_a_directory_outside_is_refused(workspace_root, ls):
    (workspace_root / "out").symlink_to("/")
    assert ls("out").error_type == "PATH_OUTSIDE_WORKSPACE"
    assert ls("..").error_type == "PATH_OUTSIDE_WORKSPACE"


def test_a_directory_nobody_may_read_is_refused_even_to_root(workspace_root, ls):
    (workspace_root / "d").mkdir(mode=0)
    result = ls("d")
    assert (result.error_type, result.content) == (
        "PERMISSION_DENIED",
        'd cannot be listed: permission denied. See its owner and mode with run_shell_command(command="ls -ld d")',
    )
    (workspace_root / "d").chmod(0o700)


@pytest.mark.parametrize("name", ["path", "absolute_path", "dir_path"])
def test_the_directory_goes_by_three_names(workspace_root, backend, name):
    (workspace_root / "d").mkdir()
    assert ListDirectoryTool(backend=backend).execute(**{name: "/workspace/d"}).content == "d/ is empty."
