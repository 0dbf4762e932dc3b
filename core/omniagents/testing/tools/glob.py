"""``glob``."""

from __future__ import annotations

from functools import partial

import pytest

from omniagents.backends.base import Backend
from omniagents.testing._support import run_python
from omniagents.testing.tools.base import Call, ToolTests, files_in
from omniagents.workspace import Workspace

__all__ = ["GlobTests"]

_TREE = ("a.py", "b.txt", "src/c.py", "src/d.ts", "src/deep/er/e.py", "test/f.py", ".hidden/g.py", "x[1].py")

#: Pattern, and what it finds of the tree above.
_PATTERNS = {
    "*.py": {"a.py", "x[1].py"},
    "*": {"a.py", "b.txt", "x[1].py"},
    "?.py": {"a.py"},
    "**/*.py": {"a.py", "src/c.py", "src/deep/er/e.py", "test/f.py", ".hidden/g.py", "x[1].py"},
    "**": set(_TREE),
    "src/*": {"src/c.py", "src/d.ts"},
    "src/**": {"src/c.py", "src/d.ts", "src/deep/er/e.py"},
    "src/**/e.py": {"src/deep/er/e.py"},
    "**/deep/**": {"src/deep/er/e.py"},
    "*/*.py": {"src/c.py", "test/f.py", ".hidden/g.py"},
    "{src,test}/*.py": {"src/c.py", "test/f.py"},
    "src/*.{py,ts}": {"src/c.py", "src/d.ts"},
    "{a,{b,src/c}}.{py,txt}": {"a.py", "b.txt", "src/c.py"},
    "[ab].*": {"a.py", "b.txt"},
    "[!a].*": {"b.txt"},
    "[^a].*": {"b.txt"},
    "src/[a-c].py": {"src/c.py"},
    "/a.py": {"a.py"},
    "/src/*.py": {"src/c.py"},
    "/workspace/src/*.py": {"src/c.py"},
    "x[1].py": {"x[1].py"},
    "A.PY": {"a.py"},
    "./src/../a.py": {"a.py"},
}


class GlobTests(ToolTests):
    """Which files, and in which order."""

    @pytest.fixture
    def glob(self, call: Call) -> Call:
        return partial(call, "glob")

    @pytest.mark.parametrize(("pattern", "expected"), _PATTERNS.items(), ids=_PATTERNS)
    def test_a_pattern_finds_these_files(
        self, workspace: Workspace, glob: Call, pattern: str, expected: set[str]
    ) -> None:
        files_in(workspace, dict.fromkeys(_TREE, b""))
        assert set(glob(pattern=pattern).data["paths"]) == expected

    def test_a_pattern_may_begin_with_the_workspaces_real_path(self, workspace: Workspace, glob: Call) -> None:
        files_in(workspace, {"src/c.py": b"", "d.py": b""})
        assert glob(pattern=workspace.root + "/src/*.py").data["paths"] == ["src/c.py"]

    def test_case_of_names_is_told_apart_when_asked(self, workspace: Workspace, glob: Call) -> None:
        files_in(workspace, {"a.py": b"", "B.PY": b""})
        assert set(glob(pattern="*.py").data["paths"]) == {"a.py", "B.PY"}
        assert glob(pattern="*.py", case_sensitive=True).data["paths"] == ["a.py"]

    def test_a_path_is_where_the_pattern_starts(self, workspace: Workspace, glob: Call) -> None:
        files_in(workspace, {"src/a.py": b"", "src/sub/b.py": b"", "c.py": b""})
        assert glob(pattern="*.py", path="src").data["paths"] == ["src/a.py"]

    def test_recently_changed_files_come_first_newest_first_and_the_rest_by_path(
        self, backend: Backend, glob: Call
    ) -> None:
        program = """
import os, time
now = time.time_ns()
ages = {"z-new": 10, "a-newer": 5, "m-newest": 1, "c-old": 90000, "b-older": 999999, "d-old": 86500}
for name, age in ages.items():
    open(name, "w").close()
    os.utime(name, ns=(0, now - age * 10**9))
"""
        run_python(backend, program)
        expected = ["m-newest", "a-newer", "z-new", "b-older", "c-old", "d-old"]
        result = glob(pattern="*")
        assert result.data["paths"] == expected
        assert [line for line in result.content.splitlines() if line in expected] == expected

    def test_the_newest_500_of_all_are_kept_and_all_counted(self, backend: Backend, glob: Call) -> None:
        program = """
import os, time
now = time.time_ns()
for number in range(600):
    name = "f%03d" % number
    open(name, "w").close()
    os.utime(name, ns=(0, now - (600 - number) * 10**9))
"""
        run_python(backend, program)
        result = glob(pattern="**")
        assert result.data["paths"] == [f"f{number:03}" for number in range(599, 99, -1)]
        assert result.data["total"] == 600
        assert "600" in result.content.splitlines()[0]

    def test_files_only_and_links_to_directories_are_not_followed(self, workspace: Workspace, glob: Call) -> None:
        files_in(workspace, {"dir/a.py": b""})
        workspace.run("ln -s dir link; ln -s dir/a.py file-link.py; mkfifo fifo.py; mkdir sub.py")
        assert set(glob(pattern="**/*.py").data["paths"]) == {"dir/a.py", "file-link.py"}

    @pytest.mark.parametrize("has_repository", [False, True], ids=["no repository", "repository"])
    def test_git_ignore_is_honoured_nested_negated_and_anchored(
        self, workspace: Workspace, glob: Call, has_repository: bool
    ) -> None:
        files_in(
            workspace,
            {
                ".gitignore": b"*.log\n!keep.log\n/top.txt\nbuild/\ndocs/*.md\n",
                "sub/.gitignore": b"!a.log\nsecret\n",
                **dict.fromkeys(
                    "a.log keep.log top.txt sub/top.txt build/x sub/build/x docs/a.md docs/in/b.md "
                    "sub/a.log sub/b.log sub/secret secret".split(),
                    b"",
                ),
            },
        )
        if has_repository:
            workspace.write_bytes(".git/HEAD", b"ref: refs/heads/main\n")
        result = glob(pattern="**")
        expected = {".gitignore", "docs/in/b.md", "keep.log", "secret", "sub/.gitignore", "sub/a.log", "sub/top.txt"}
        assert set(result.data["paths"]) == expected
        assert "respect_git_ignore" in result.content.splitlines()[-1]
        assert {"a.log", "build/x"} < set(glob(pattern="**", respect_git_ignore=False).data["paths"])

    @pytest.mark.parametrize(
        "name", [".git", "node_modules", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox"]
    )
    def test_caches_are_skipped_named_and_can_be_included(self, workspace: Workspace, glob: Call, name: str) -> None:
        files_in(workspace, {f"{name}/x.py": b"", f"sub/{name}/x.py": b"", "a.py": b""})
        result = glob(pattern="**/*.py")
        assert result.data["paths"] == ["a.py"]
        assert name in result.content.splitlines()[-1]
        assert len(glob(pattern="**/*.py", respect_git_ignore=False).data["paths"]) == 3

    def test_logs_of_cut_output_are_skipped(self, workspace: Workspace, glob: Call) -> None:
        files_in(workspace, {".omniagents/logs/1.log": b"", "a.log": b""})
        assert glob(pattern="**/*.log").data["paths"] == ["a.log"]

    def test_a_pattern_without_slash_that_finds_nothing_says_what_lies_deeper(
        self, workspace: Workspace, glob: Call
    ) -> None:
        files_in(workspace, {"src/a.py": b"", "src/sub/b.py": b""})
        result = glob(pattern="*.py")
        assert (result.error_type, result.data["total"]) == (None, 0)
        assert "**/*.py" in result.content
        assert "2 files" in result.content

    def test_nothing_found_says_so(self, glob: Call) -> None:
        result = glob(pattern="*.rs")
        assert (result.error_type, result.data["paths"]) == (None, [])
        assert "*.rs" in result.content

    @pytest.mark.parametrize("pattern", ["{a,}" * 18, "{x," * 40 + "a" + "}" * 40, "{1,2,3,4,5,6,7,8,9,0}" * 4])
    def test_a_pattern_that_stands_for_too_many_is_refused(self, glob: Call, pattern: str) -> None:
        assert glob(pattern=pattern).error_type == "PATTERN_TOO_BROAD"

    @pytest.mark.parametrize("pattern", ["*a" * 30 + "b", "**/" * 30 + "b", "?*" * 30, "[a-z]*" * 25 + "!"])
    def test_no_pattern_takes_for_ever(self, workspace: Workspace, glob: Call, pattern: str) -> None:
        workspace.write_bytes("a" * 200, b"")
        assert glob(pattern=pattern).error_type is None

    def test_a_pattern_that_leads_out_is_refused(self, glob: Call) -> None:
        assert glob(pattern="../*").error_type == "PATH_OUTSIDE_WORKSPACE"
        assert glob(pattern="/../etc/*").error_type == "PATH_OUTSIDE_WORKSPACE"
