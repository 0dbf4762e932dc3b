"""``glob`` through its tool, and its pattern language by itself."""

from __future__ import annotations

import os
import time

import pytest

from omniagents.guest.failure import GuestFailure
from omniagents.guest.globbing import Glob, expand
from omniagents.tools.glob_tool import GlobTool

OLD = time.time() - 10 * 24 * 3600


def matches(pattern: str, path: str, *, case_sensitive: bool = False) -> bool:
    return bool(Glob(expand(pattern), case_sensitive).matches(path))


@pytest.fixture
def make(workspace_root):
    """Create files, all changed ten days ago."""

    def create(*paths: str) -> None:
        for path in paths:
            target = workspace_root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            os.utime(target, (OLD, OLD))

    return create


def found(backend, pattern: str, **arguments) -> list[str]:
    result = GlobTool(backend).execute(pattern=pattern, **arguments)
    assert not result.is_error, result.content
    return result.data["paths"]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.py", "a.py", True),
        ("*.py", "d/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "d/e/a.py", True),
        ("**", "d/e/a.py", True),
        ("d/**", "d/e/a.py", True),
        ("d/**/a.py", "d/a.py", True),
        ("d**/a.py", "dx/y/a.py", False),
        ("?.py", "é.py", True),
        ("a?b", "a/b", False),
        ("[!a].py", "b.py", True),
        ("[^a].py", "a.py", False),
        ("a[!x]b", "a/b", False),
        ("*.{ts,tsx}", "a.tsx", True),
        ("{a,{b,c}d}/x", "cd/x", True),
        ("{a,b", "{a,b", True),
        ("{a}", "{a}", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("[a", "[a", True),
        ("*.PY", "a.py", True),
        ("a\nb*", "a\nbc", True),
        ("**/**/**/x", "x", True),
    ],
)
def test_pattern_matches(pattern, path, expected):
    assert matches(pattern, path) is expected


def test_case_sensitive_patterns_tell_letters_apart():
    assert not matches("*.PY", "a.py", case_sensitive=True)


def test_braces_expand_in_order_and_once():
    assert expand("{a,b{c,d},a}{1,}") == ["a1", "a", "bc1", "bc", "bd1", "bd"]


@pytest.mark.parametrize("pattern", ["{a,}" * 18, "{a," * 30 + "}" * 30, "x" * 5000, "{a,{b,{c,d}}}" * 12])
def test_exploding_patterns_are_refused(backend, pattern):
    result = GlobTool(backend).execute(pattern=pattern)
    assert (result.is_error, result.error_type) == (True, "PATTERN_TOO_BROAD")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 100 + "*b", "a" * 255),
        ("*" + "?*" * 100 + "b", "a" * 255),
        ("/".join(["**"] + ["*a*a*a/**"] * 30 + ["b"]), "/".join(["a" * 80] * 50)),
        ("**/" + "[ab]*/**/" * 40 + "c", "/".join(["a" * 10] * 300)),
    ],
)
def test_no_pattern_backtracks_without_end(pattern, path):
    # It would take years if stars tried every split.
    assert not matches(pattern, path, case_sensitive=True)
    assert not matches(pattern, path, case_sensitive=False)


def test_refusal_of_braces_says_what_to_do():
    with pytest.raises(GuestFailure) as caught:
        expand("{a,}" * 18)
    assert caught.value.message == (
        "this glob pattern is too broad: its braces stand for more than 1,000 patterns. "
        "Use fewer alternatives, or * in their place."
    )


def test_lists_paths_relative_to_the_workspace(backend, make):
    make("src/b.py", "src/a.py", "src/c.txt")
    assert GlobTool(backend).execute(pattern="src/*.py").content == (
        "Found 2 files matching 'src/*.py':\nsrc/a.py\nsrc/b.py"
    )


def test_files_of_the_last_day_come_first_newest_first(backend, make, workspace_root):
    make("a", "b", "c", "d")
    now = time.time()
    os.utime(workspace_root / "d", (now - 60, now - 60))
    os.utime(workspace_root / "c", (now - 600, now - 600))
    assert found(backend, "*") == ["d", "c", "a", "b"]


def test_the_newest_500_of_600_and_the_total(backend, make, workspace_root):
    make(*(f"f{number:03}" for number in range(600)))
    now = time.time()
    for number in range(600):
        os.utime(workspace_root / f"f{number:03}", (now - 1000 + number, now - 1000 + number))
    result = GlobTool(backend).execute(pattern="**")
    assert result.data["paths"] == [f"f{number:03}" for number in range(599, 99, -1)]
    assert result.content.splitlines()[0] == (
        "Found 600 files matching '**'; showing the first 500, recently changed ones first. "
        "Narrow the pattern or path to see the others:"
    )


def test_path_is_where_the_pattern_starts(backend, make):
    make("src/x/a.py", "x/a.py")
    assert found(backend, "x/*.py", path="src") == ["src/x/a.py"]


def test_a_leading_slash_starts_at_the_workspace(backend, make):
    make("src/x/a.py", "x/a.py")
    assert found(backend, "/x/*.py", path="src") == ["x/a.py"]


@pytest.mark.parametrize("pattern", ["/workspace/x/*.py", "{root}/x/*.py"])
def test_the_workspaces_own_name_means_the_rest(backend, make, workspace_root, pattern):
    make("x/a.py")
    assert found(backend, pattern.replace("{root}", str(workspace_root))) == ["x/a.py"]


def test_dots_stay_inside_the_workspace(backend, make):
    make("docs/a.md", "src/b")
    assert found(backend, "../docs/./*.md", path="src") == ["docs/a.md"]
    result = GlobTool(backend).execute(pattern="../../*.md", path="src")
    assert (result.error_type, result.content) == (
        "PATH_OUTSIDE_WORKSPACE",
        "the pattern ../../*.md leads outside the workspace; patterns start at the workspace.",
    )


def test_a_pattern_that_is_an_existing_path_matches_only_that(backend, make):
    make("app/[id]/page.tsx", "app/i/page.tsx")
    assert found(backend, "app/[id]/page.tsx") == ["app/[id]/page.tsx"]
    assert found(backend, "[id]/page.tsx", path="app") == ["app/[id]/page.tsx"]


def test_an_existing_path_is_found_although_it_is_ignored(backend, make, workspace_root):
    make("a.log")
    (workspace_root / ".gitignore").write_text("*.log\n")
    assert found(backend, "a.log") == ["a.log"]


def test_a_directory_named_outright_is_explained(backend, make):
    make("src/a.py")
    assert GlobTool(backend).execute(pattern="src").content == (
        "'src' is a directory, and glob finds files. To list all files below it, use pattern 'src/**'."
    )


def test_nothing_at_the_top_says_what_lies_deeper(backend, make):
    make("a/x.py", "b/y.py", "c.txt")
    assert GlobTool(backend).execute(pattern="*.py").content == (
        "No files match '*.py' in the workspace. '**/*.py' would find 2 files in directories below."
    )


def test_skipped_files_are_counted_where_the_pattern_could_find_them(backend, make, workspace_root):
    make("a.py", "b.py", "c.log", "node_modules/x/d.py", "sub/e.py", ".omniagents/logs/f.py")
    (workspace_root / ".gitignore").write_text("b.py\nc.log\n")
    assert GlobTool(backend).execute(pattern="**/*.py").content == (
        "Found 2 files matching '**/*.py':\na.py\nsub/e.py\n"
        "Skipped: 2 ignored (b.py, node_modules/). Set respect_git_ignore to false to include ignored files."
    )
    assert GlobTool(backend).execute(pattern="sub/*.py").content == "Found 1 file matching 'sub/*.py':\nsub/e.py"


def test_ignored_files_are_included_on_request_but_never_logs(backend, make, workspace_root):
    make("a", ".git/b", "node_modules/c", ".omniagents/logs/d", ".omniagents/memory.json")
    (workspace_root / ".gitignore").write_text("a\n")
    everything = [".git/b", ".gitignore", ".omniagents/memory.json", "a", "node_modules/c"]
    assert sorted(found(backend, "**", respect_git_ignore=False)) == everything


def test_a_directory_named_as_path_is_searched_although_it_is_ignored(backend, make):
    make("node_modules/x/a.js")
    assert found(backend, "**/*.js", path="node_modules") == ["node_modules/x/a.js"]
    assert found(backend, "node_modules/**/*.js") == []


def test_links_to_files_count_and_links_to_directories_are_not_followed(backend, make, workspace_root):
    make("d/a", "b")
    (workspace_root / "to_file").symlink_to("d/a")
    (workspace_root / "to_directory").symlink_to("d")
    (workspace_root / "broken").symlink_to("nowhere")
    result = GlobTool(backend).execute(pattern="**")
    assert sorted(result.data["paths"]) == ["b", "d/a", "to_file"]
    assert result.content.splitlines()[-1] == (
        "Skipped: 1 broken links (broken); 1 links to directories (to_directory)."
    )


def test_case_is_ignored_in_directories_too(backend, make):
    make("Src/A.PY")
    assert found(backend, "src/*.py") == ["Src/A.PY"]
    assert found(backend, "src/*.py", case_sensitive=True) == []


def test_odd_names_are_found_and_shown_printable(backend, workspace_root):
    for name in (b"a\nb.py", b"\xff.py", b"-x.py"):
        target = workspace_root / os.fsdecode(name)
        target.touch()
        os.utime(target, (OLD, OLD))
    content = GlobTool(backend).execute(pattern="*.py").content
    assert content == "Found 3 files matching '*.py':\n-x.py\na\\nb.py\n\\xff.py"


def test_a_missing_directory_names_a_similar_one(backend, make):
    make("source/a")
    result = GlobTool(backend).execute(pattern="*", path="sorce")
    assert (result.error_type, result.content) == (
        "FILE_NOT_FOUND",
        "there is no directory sorce; did you mean 'source'?",
    )


def test_a_file_as_directory_is_refused_with_the_cure(backend, make):
    make("src/a.py")
    result = GlobTool(backend).execute(pattern="*", path="src/a.py")
    assert (result.error_type, result.content) == (
        "NOT_A_DIRECTORY",
        "src/a.py is a file, not a directory; name a directory, such as 'src'.",
    )


@pytest.mark.parametrize("pattern", ["/", "//"])
def test_an_empty_pattern_is_refused(backend, pattern):
    assert GlobTool(backend).execute(pattern=pattern).error_type == "INVALID_ARGUMENTS"
