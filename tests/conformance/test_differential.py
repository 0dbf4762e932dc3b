"""The same calls on the same tree give the same results on every backend.

Every other backend that can be had here is compared with the local one: the local one in another directory, under
other Pythons that the guest has to run on, bubblewrap, Docker and E2B. Pythons are found on PATH, or named by
``OMNIAGENTS_TEST_PYTHONS`` (separated like PATH). ``OMNIAGENTS_TEST_EXAMPLES=1000`` looks further, at random.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.services import docker_engine

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.records import FileInfo, FileKind, ImportEntry
from omniagents.testing._trees import described
from omniagents.testing.tools.base import check, tool_class
from omniagents.tools.base import ToolResult
from omniagents.workspace import Workspace

_EXAMPLES = os.environ.get("OMNIAGENTS_TEST_EXAMPLES")
_OWN = sys.version_info[:2]
_VERSIONS = [(3, minor) for minor in range(8, 15) if (3, minor) != _OWN]

# What no two runs have in common.
_VOLATILE = ("duration_seconds", "pid", "background_pids", "output_file")

_NAMES = st.sampled_from(
    [
        "a",
        "b.py",
        "c.txt",
        "d",
        "e.log",
        "B.PY",
        ".hidden",
        "build",
        "node_modules",
        "new\nline",
        "caf\udce9",
        "-n",
        "é🎉",
    ]
)
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_LINES = st.lists(
    st.sampled_from(
        ["needle", "a needle b", "NEEDLE", "", "x = 1", "    indented", "\tneedle ", "aaaa", "é🎉", "y" * 2100]
    ),
    max_size=12,
)
_TEXTS = st.builds(
    lambda lines, end, last: (end.join(lines) + end * last).encode(),
    _LINES,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
_CONTENTS = st.one_of(
    _TEXTS,
    _TEXTS.map(lambda text: b"\xef\xbb\xbf" + text),
    _TEXTS.map(lambda text: b"\xff\xfe" + text.decode().encode("utf-16-le")),
    st.binary(max_size=60),
    st.sampled_from([b"caf\xe9 needle\n", b"\x89PNG\r\n\x1a\n" + bytes(20), b"%PDF-1.4\n", b"needle\n" * 2500]),
)
_IGNORES = st.lists(
    st.sampled_from(["*.log", "build/", "!e.log", "/a", "**/d", "c.txt", "d/*.py", "# remark", "[bc].*", "\\-n"]),
    max_size=4,
).map(lambda lines: "\n".join(lines).encode())
_TARGETS = st.one_of(_PATHS, st.sampled_from([".", "..", "/etc", "nowhere", "../a", "d/../a"]))


def _entry(
    path: str, kind: FileKind, content: bytes = b"", mode: int = 0o755, target: str | None = None
) -> ImportEntry:
    moment = 1_000_000_000 * (1_500_000_000 + len(path))
    return ImportEntry(FileInfo(path, kind, len(content), mode, moment, 0, 0, target), [content] if content else [])


_ENTRIES = st.one_of(
    st.builds(_entry, _PATHS, st.just("file"), _CONTENTS, st.sampled_from([0o644, 0o644, 0o644, 0o755, 0o444, 0o000])),
    st.builds(_entry, _PATHS, st.just("directory")),
    st.builds(lambda path, target: _entry(path, "link", target=target), _PATHS, _TARGETS),
    st.builds(lambda ignore: _entry(".gitignore", "file", ignore, 0o644), _IGNORES),
    st.builds(lambda name, ignore: _entry(f"{name}/.gitignore", "file", ignore, 0o644), _NAMES, _IGNORES),
)


def _tree(entries: list[ImportEntry]) -> list[ImportEntry]:
    """Those entries that can stand beside those before them."""
    kinds: dict[str, str] = {}
    kept = []
    for entry in entries:
        path = entry.info.path
        parents = ["/".join(path.split("/")[:count]) for count in range(1, path.count("/") + 1)]
        if path not in kinds and all(kinds.get(parent, "directory") == "directory" for parent in parents):
            kinds.update(dict.fromkeys(parents, "directory"))
            kinds[path] = entry.info.kind
            kept.append(entry)
    return kept


_TREES = st.lists(_ENTRIES, min_size=5, max_size=25).map(_tree)

_ODD_PATHS = st.one_of(
    _PATHS,
    st.sampled_from([".", "..", "", "/", "/workspace/a", "/workspace", "missing", "d/../a", "../x", "a/", "~", "%61"]),
)
_PATTERNS = st.one_of(
    st.sampled_from(
        ["*", "**", "**/*.py", "*.{py,txt}", "[a-c]*", "d/**", "/a", "**/needle", "{a,b.py}", "[!a]*", "?", "*\n*"]
    ),
    _PATHS,
)
_EXPRESSIONS = st.sampled_from(
    [
        "needle", "^needle", "needle$", r"\bneedle\b", "N(ee)+dle", r"\s$", "é", "[", "a{2,3}", "a++", "(?>a+)b",
        "(?i)needle", "x|needle", r"^\s*needle\s*$", "(?P<n>a)(?P=n)", "y{2000}", "", r"\Z", "^$", "(?a:é)", r"[\w&&x]",
    ]
)  # fmt: skip
_WORDS = st.sampled_from(
    ["needle", "x = 1", "a", "", "needle\nneedle", "aaaa\n", "indented", "é🎉", "// rest of code ...", "z\n"]
)
_FLAGS = st.booleans()
_NUMBERS = st.one_of(st.integers(1, 30), st.sampled_from([-1, 0]))
# A shell of root's may do more than the mode says, and not every backend's is root's: tools alone go by the mode.
_MAY = '[ "$(stat -c %a a 2>/dev/null)" = 644 ] && '
_COMMANDS = st.sampled_from(
    [
        _MAY + "cat a", "echo out; echo err >&2; exit 3", _MAY + "echo new > a", "kill -9 $$", "seq 20000",
        "mkdir -p d/x 2>/dev/null; echo y > d/x/c.txt", "rm -rf b.py d 2>/dev/null", "ln -sf nowhere a 2>/dev/null",
        r"printf 'caf\351\000\033[1mbold\033[0m'",
    ]
)  # fmt: skip

Call = tuple[str, dict[str, Any]]


def _call(tool: str, required: Mapping[str, Any], optional: Mapping[str, Any]) -> st.SearchStrategy[Call]:
    return st.fixed_dictionaries(dict(required), optional=dict(optional)).map(lambda arguments: (tool, arguments))


def _calls(paths: st.SearchStrategy[str]) -> st.SearchStrategy[Call]:
    patterns = st.lists(_PATTERNS, max_size=2)
    return st.one_of(
        _call("read_file", {"absolute_path": paths}, {"offset": _NUMBERS, "limit": _NUMBERS, "line_numbers": _FLAGS}),
        _call("write_file", {"absolute_path": paths, "content": _TEXTS.map(bytes.decode)}, {}),
        _call("list_directory", {}, {"path": paths, "ignore": patterns, "respect_git_ignore": _FLAGS}),
        _call("glob", {"pattern": _PATTERNS}, {"path": paths, "case_sensitive": _FLAGS, "respect_git_ignore": _FLAGS}),
        _call(
            "search_file_content",
            {"pattern": _EXPRESSIONS},
            {
                "path": paths,
                "include": _PATTERNS,
                "case_sensitive": _FLAGS,
                "fixed_strings": _FLAGS,
                "context": _NUMBERS,
            },
        ),
        _call(
            "search_file_content",
            {"pattern": _EXPRESSIONS},
            {"no_ignore": _FLAGS, "names_only": _FLAGS, "max_matches": _NUMBERS, "max_matches_per_file": _NUMBERS},
        ),
        _call(
            "replace",
            {"absolute_path": paths, "old_string": _WORDS, "new_string": _WORDS},
            {"expected_replacements": _NUMBERS},
        ),
        _call("replace", {"absolute_path": paths, "old_string": _WORDS, "new_string": _WORDS}, {"replace_all": _FLAGS}),
        _call(
            "read_many_files",
            {"paths": st.lists(st.one_of(paths, _PATTERNS), max_size=4)},
            {"include": patterns, "exclude": patterns, "recursive": _FLAGS, "use_default_excludes": _FLAGS},
        ),
        _call("save_memory", {"key": _WORDS, "value": _WORDS}, {}),
        _call("run_shell_command", {"command": _COMMANDS}, {"directory": paths}),
    )


@st.composite
def _scenarios(draw: st.DrawFn) -> tuple[list[ImportEntry], list[Call]]:
    """A tree, and calls that name what is in it, most of the time."""
    tree = draw(_TREES)
    own = st.sampled_from([entry.info.path for entry in tree])
    return tree, draw(st.lists(_calls(st.one_of(own, own, _ODD_PATHS)), min_size=1, max_size=12))


@functools.cache
def _pythons() -> dict[str, str]:
    """Interpreters of other versions than this one, oldest and newest, by version."""
    named = os.environ.get("OMNIAGENTS_TEST_PYTHONS", "").split(os.pathsep)
    found: dict[tuple[int, ...], str] = {}
    for candidate in [*named, *(f"python{major}.{minor}" for major, minor in _VERSIONS)]:
        path = shutil.which(candidate) if candidate else None
        version = _version(path) if path else None
        if version in _VERSIONS:
            found.setdefault(version, str(path))
    ends = dict.fromkeys([min(found), max(found)]) if found else {}
    return {".".join(map(str, version)): found[version] for version in ends}


def _version(python: str) -> tuple[int, ...] | None:
    program = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False).stdout.split()
    return tuple(map(int, answer)) or None


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with LocalBackend("differential", workspace_dir=tmp_path_factory.mktemp("reference")) as backend:
        yield backend


def _bubblewrap() -> Backend:
    from omniagents_bubblewrap.backend import BubblewrapBackend

    for what, why, cure in BubblewrapBackend.problems():
        pytest.skip(f"{what} ({why}); {cure}")
    return BubblewrapBackend(f"differential {uuid.uuid4()}")


def _docker(image: str = "omniagents-test:python", **profile: Any) -> Backend:
    from omniagents_docker.backend import DockerBackend
    from omniagents_docker.hardening import HardeningProfile

    try:
        address = docker_engine.start(image)
    except RuntimeError as error:
        pytest.skip(str(error))
    project_id = f"differential {uuid.uuid4()}"
    return DockerBackend(project_id, docker_host=address, image=image, hardening=HardeningProfile(**profile))


@contextlib.contextmanager
def _e2b() -> Iterator[Backend]:
    from tests.services.e2b.server import E2BServer

    from omniagents_e2b.backend import E2BBackend

    with E2BServer() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.variables.items():
            patch.setenv(name, value)
        with E2BBackend("differential") as backend:
            yield backend


_ISOLATED: dict[str, Callable[[], contextlib.AbstractContextManager[Backend]]] = {
    "bubblewrap": _bubblewrap,
    "docker": _docker,
    "docker as root without a network": lambda: _docker(uid=0, gid=0, network="none"),
    "docker with Python 3.9": lambda: _docker("omniagents-test:python3.9"),
    "docker with Python 3.13": lambda: _docker("omniagents-test:python3.13"),
    "e2b": _e2b,
}


@pytest.fixture(
    scope="module",
    params=[
        "another directory",
        *(f"Python {version}" for version in _pythons()),
        *(pytest.param(name, marks=() if name == "bubblewrap" else pytest.mark.service) for name in _ISOLATED),
    ],
)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    if request.param in _ISOLATED:
        with _ISOLATED[request.param]() as backend:
            yield backend
        return
    python = _pythons().get(request.param.removeprefix("Python "), sys.executable)
    directory: Path = tmp_path_factory.mktemp("other") / "with a longer name" / "é"
    with LocalBackend(f"differential {request.param}", workspace_dir=directory, python=python) as backend:
        yield backend


def _prepared(backend: Backend, tree: list[ImportEntry]) -> None:
    workspace = backend.workspace
    workspace.import_(tree, remove=[entry.path for entry in workspace.list()])


def _told(result: ToolResult) -> tuple[Any, ...]:
    if result.error_type == "INVALID_REGEX":
        return (result.error_type,)  # the reason is in the words of each Python
    data = {name: value for name, value in result.data.items() if name not in _VOLATILE}
    content = result.content.replace(str(result.data.get("output_file")), "<log>")
    return content, result.error_type, data, result.parts


def _results(backend: Backend, calls: list[Call]) -> list[tuple[Any, ...]]:
    return [_told(check(tool_class(name)(backend).execute(**arguments))) for name, arguments in calls]


class TestEveryBackendAgrees:
    """Equal results, and equal workspaces afterwards."""

    @settings(
        max_examples=int(_EXAMPLES or 50),
        derandomize=_EXAMPLES is None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(scenario=_scenarios())
    def test_random_calls_on_a_random_tree_have_equal_results(
        self, reference: Backend, other: Backend, scenario: tuple[list[ImportEntry], list[Call]]
    ) -> None:
        tree, calls = scenario
        for backend in (reference, other):
            _prepared(backend, tree)
        expected = _results(reference, calls)
        for call, told, wanted in zip(calls, _results(other, calls), expected, strict=True):
            assert told == wanted, call
        assert _without_times(described(other.workspace)) == _without_times(described(reference.workspace))
        assert _readable(other.workspace) == _readable(reference.workspace)


def _readable(workspace: Workspace) -> dict[str, bytes]:
    """The bytes of every file that its owner may read: of others only root can tell."""
    files = [entry for entry in workspace.scan(exclude=[".omniagents/logs/"]).entries if entry.kind == "file"]
    exported = workspace.export([entry.path for entry in files if entry.mode & 0o400])
    return {entry.info.path: b"".join(entry.chunks) for entry in exported}


def _without_times(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {path: entry._replace(mtime_ns=0) for path, entry in tree.items() if not path.startswith(".omniagents/logs")}
