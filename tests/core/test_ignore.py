"""Git's ignore rules: fixed cases, and random ones compared with git itself."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagents.guest.ignore import DEFAULT_NAMES, Patterns, Rules, byte_string, load_patterns, parse_lines
from omniagents.guest.root import Root
from omniagents.guest.walk import iter_files, walk

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="compares with git, which is not installed")


def ignored(patterns: list[str], path: str, is_directory: bool = False) -> bool | None:
    return Patterns.of(patterns).decide(byte_string(path.rpartition("/")[2]), byte_string(path), is_directory)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.o", "a/b/x.o", True),
        ("*.o", "x.obj", None),
        ("/x", "x", True),
        ("/x", "a/x", None),
        ("a/x", "a/x", True),
        ("a/x", "b/a/x", None),
        ("**/x", "b/a/x", True),
        ("**/x", "x", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", None),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**b", "a/x/b", None),
        ("a/*b", "a/x/b", None),
        ("foo**/bar", "foobar", True),  # git compares the text before the first wildcard by itself
        ("x\\ ", "x ", True),
        ("x  ", "x", True),
        ("\\#x", "#x", True),
        ("#x", "#x", None),
        ("\\!x", "!x", True),
        ("x\\", "x\\", None),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", None),
        ("[^a-c]x", "dx", True),
        ("[]]x", "]x", True),
        ("[a", "[a", None),
        ("a[/]b", "a/b", None),
        ("[[:digit:]]x", "7x", True),
        ("[[:nonsense:]]x", "7x", None),
        ("caf?", "café", None),  # git counts bytes
        ("caf??", "café", True),
        ("a\\/b", "a/b", True),
        ("**\\/b", "x/b", True),
        ("", "x", None),
        ("/", "x", None),
    ],
)
def test_pattern_means_what_git_says(pattern, path, expected):
    assert ignored([pattern], path) is expected


def test_trailing_slash_matches_directories_only():
    assert ignored(["build/"], "a/build", is_directory=True) is True
    assert ignored(["build/"], "a/build") is None


def test_the_last_matching_pattern_decides():
    assert ignored(["*.log", "!keep.log"], "keep.log") is False
    assert ignored(["!keep.log", "*.log"], "keep.log") is True


def test_explain_names_the_pattern_that_decided():
    assert Patterns.of(["*.log", "b*"]).explain("b.log", "b.log", False) == "b*"


def test_lines_lose_comments_carriage_returns_mark_and_unescaped_trailing_spaces():
    assert parse_lines(b"\xef\xbb\xbf# no\r\n*.a \r\n\n  b\\  \n\\#c") == ["*.a", "  b\\ ", "\\#c"]


def test_a_pattern_of_many_stars_is_decided_at_once():
    patterns = Patterns.of(["*a" * 60 + "*b", "/" + "**/*a*a*a/" * 20 + "b"])
    # It would take years if stars tried every split.
    assert patterns.decide("a" * 255, "/".join(["a" * 200] * 20), False) is None


def test_a_gitignore_that_is_a_link_or_a_fifo_counts_for_nothing(tmp_path):
    (tmp_path / "real").write_bytes(b"*\n")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "fifo")
    assert load_patterns(str(tmp_path / "link")) is None
    assert load_patterns(str(tmp_path / "fifo")) is None
    assert load_patterns(str(tmp_path / "real")) is not None


def test_default_names_cannot_be_included_again():
    rules = Rules(((Patterns.of(["!.git", "!node_modules"]), 0),), DEFAULT_NAMES, True)
    assert rules.ignores("node_modules", "node_modules", True)


def test_rules_of_parents_hold_where_only_a_sub_directory_is_walked(tmp_path):
    (tmp_path / ".gitignore").write_bytes(b"/a/b/x\n*.o\n")
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/.gitignore").write_bytes(b"!y.o\n")
    for name in ("x", "y.o", "z.o", "kept"):
        (tmp_path / "a/b" / name).touch()
    found = [entry.path for entry in iter_files(Root(str(tmp_path)), str(tmp_path / "a/b"), ignore=True)]
    assert found == ["a/b/kept", "a/b/y.o"]


NAMES = st.sampled_from(["a", "b", "ab", "abb", "a b", "b ", "#a", "!a", "a\\b", "[a]", "é", "a\nb", "b.o", "-a", "A"])
PIECES = st.sampled_from(
    ["a", "b", "ab", "*", "?", "**", "/", "**/", "/**", "[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[!]a]", "\\a", "\\*",
     "\\", " ", "\\ ", "#", "!", ".o", "é", "[", "]", "-", "[[:alpha:]]", "[[:punct:][:space:]]", "[[:x:]]", "***",
     "[\\]]", "[a-\\c]", "[/]", "\\/", "[[:]"]
)  # fmt: skip
PATTERNS = st.tuples(
    st.sampled_from(["", "", "", "!", "/"]), st.lists(PIECES, min_size=1, max_size=5), st.sampled_from(["", "", "/"])
).map(lambda parts: parts[0] + "".join(parts[1]) + parts[2])
FILES = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)
GITIGNORES = st.lists(st.tuples(st.sampled_from(["", "a/", "ab/", "a/b/"]), st.lists(PATTERNS, max_size=5)), max_size=3)


def build(root: Path, files: list[str], gitignores: list[tuple[str, list[str]]]) -> None:
    for path in files:
        target = root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue  # one name wanted both as a file and as a directory
    for directory, patterns in gitignores:
        if (root / directory).is_dir():
            (root / directory / ".gitignore").write_bytes("\n".join(patterns).encode())


def git(root: Path, *arguments: str) -> bytes:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(["git", *arguments], cwd=root, env=environment, check=True, capture_output=True).stdout


@needs_git
@settings(
    max_examples=int(os.environ.get("OMNIAGENTS_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(FILES, GITIGNORES)
def test_random_trees_and_patterns_agree_with_git(files, gitignores):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        build(root, files, gitignores)
        git(root, "init", "-q")
        shutil.rmtree(root / ".git/info", ignore_errors=True)
        expected = git(root, "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore").split(b"\0")[:-1]
        found = [os.fsencode(entry.path) for entry in iter_files(Root(directory), directory, ignore=True)]
        assert sorted(found) == sorted(expected)


def test_expressions_of_a_list_can_be_joined():
    patterns = Patterns.of(["a*b*c", "x*y*z", "/d*e*f/g*h*i"])
    assert [patterns.decide(name, name, False) for name in ("a1b2c", "xyz", "ac")] == [True, True, None]


def test_walk_reports_what_it_leaves_out_and_the_rule(tmp_path):
    (tmp_path / "a.log").touch()
    (tmp_path / "b").touch()
    seen = []

    def left_out(path, kind, why, rules):
        seen.append((path, why, rules.reason(path, path, kind == "directory")))

    kept = list(walk(str(tmp_path), "", Rules(((Patterns.of(["*.log"]), 0),)), left_out))
    assert (kept, seen) == ([("b", "file")], [("a.log", "ignored", "*.log")])


def test_class_tokens_compile_with_every_single_byte():
    for first, second in itertools.product("]^-[&~|!\\x", repeat=2):
        for pattern in (f"[{first}{second}]", f"[!{first}{second}]", f"[a{first}{second}z]"):
            assert ignored([pattern], "q") in (True, None)
