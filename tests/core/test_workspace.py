"""The same workspace over every carrier and on every Python an environment may have."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.core.local_backends import running_backend

from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import BackendStartError, GuestCallError
from omniagents.records import ImportEntry
from omniagents.workspace import Workspace


@contextmanager
def workspace_of(directory: Path, *, text: bool = False, **options: str) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch, running_backend_of(patch, directory, text, **options) as backend:
        yield backend.workspace


def running_backend_of(patch: pytest.MonkeyPatch, directory: Path, text: bool, **options: str):
    patch.setattr(LocalBackend, "is_text_channel", text)
    return running_backend(directory, **options)


def script(path: Path, content: str) -> str:
    path.write_text(content)
    path.chmod(0o755)
    return str(path)


def everything_works(workspace: Workspace) -> None:
    """One of everything a workspace does, with what is hard to carry: binary, large, odd names."""
    content = bytes(range(256)) * 8192
    written = workspace.write_bytes("dir/bin", content, mode=0o750)
    assert (written.size, written.mode) == (len(content), 0o750)
    assert workspace.read_bytes("dir/bin") == content
    assert workspace.read_bytes("dir/bin", offset=255, limit=2) == b"\xff\0"
    odd = os.fsdecode(b"new\nline \xff")
    workspace.write_bytes(odd, b"x")
    assert sorted(entry.path for entry in workspace.list()) == ["dir", odd]
    assert workspace.stat("dir").kind == "directory"
    assert not workspace.exists("gone")
    with pytest.raises(FileNotFoundError) as missing:
        workspace.read_bytes("gone")
    assert missing.value.filename == "gone"
    assert workspace.make_dir("x/y").path == "x/y"
    assert workspace.move("dir/bin", "x/bin").path == "x/bin"
    assert workspace.realpath("./x/../x/bin") == "x/bin"
    everything_is_found(workspace)
    everything_runs(workspace)
    scan = workspace.scan()
    exported = [ImportEntry(each.info, [*each.chunks]) for each in workspace.export([entry.path for entry in scan])]
    workspace.remove(*(entry.path for entry in workspace.list()))
    assert len(workspace.scan()) == 0
    workspace.import_(exported)
    assert [entry[:5] for entry in workspace.scan()] == [entry[:5] for entry in scan]


def everything_is_found(workspace: Workspace) -> None:
    workspace.write_bytes("src/a.py", b"def one():\n    return 'eins'\n")
    assert workspace.glob("**/*.py") == ["src/a.py"]
    assert [(match.path, match.line) for match in workspace.grep(r"ein[s]")] == [("src/a.py", 2)]
    assert workspace.replace("src/a.py", "'eins'", "'zwei'") == 1
    assert workspace.read_bytes("src/a.py") == b"def one():\n    return 'zwei'\n"


def everything_runs(workspace: Workspace) -> None:
    result = workspace.run("cat; echo done >&2; exit 3", input=b"\0\xff" * 300_000)
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"\0\xff" * 300_000, b"done\n")
    assert workspace.run("sleep 100 & sleep 100", timeout_seconds=0.2).timed_out
    process = workspace.start_process(["cat"])
    process.write(b"a")
    process.close_input()
    assert list(process.output()) == [("stdout", b"a")]
    assert process.wait().exit_code == 0
    assert asyncio.run(both(workspace)) == [b"1\n", b"2\n"]


async def both(workspace: Workspace) -> list[bytes]:
    results = await asyncio.gather(workspace.arun("echo 1"), workspace.arun("echo 2"))
    return [result.stdout for result in results]


@pytest.mark.parametrize("text", [False, True], ids=["raw", "text"])
def test_everything_works_over_every_carrier(tmp_path: Path, text: bool):
    with workspace_of(tmp_path, text=text) as workspace:
        everything_works(workspace)


@pytest.mark.parametrize("text", [False, True], ids=["raw", "text"])
def test_a_wrapper_may_print_what_it_likes_before_the_guest(tmp_path: Path, text: bool):
    noise = 'echo "Welcome to \\"$0\\""; printf "\\001\\377 OMNIAGENTS-GUEST \\n"'
    wrapper = script(tmp_path / "python", f'#!/bin/sh\n{noise}\nexec {sys.executable} "$@"\n')
    with workspace_of(tmp_path, text=text, python=wrapper) as workspace:
        assert workspace.run("echo hi").stdout == b"hi\n"


def pythons() -> list[str]:
    """The versions this machine has, one interpreter each."""
    candidates = [found for minor in range(8, 15) if (found := shutil.which(f"python3.{minor}"))]
    candidates += filter(None, os.environ.get("OMNIAGENTS_TEST_PYTHONS", "").split(os.pathsep))
    found = {}
    for candidate in [*candidates, sys.executable]:
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2]); print(sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            version, executable = asked.stdout.splitlines()
            found[version] = executable
    return list(found.values())


def test_everything_works_on_every_python_that_is_there(tmp_path: Path):
    for number, python in enumerate(pythons()):
        with workspace_of(tmp_path / str(number), python=python) as workspace:
            everything_works(workspace)


def test_everything_works_on_a_python_without_ctypes(tmp_path: Path):
    lines = [
        f"#!{sys.executable}",
        "import sys",
        "sys.modules['ctypes'] = sys.modules['_ctypes'] = None",
        "program = sys.argv.index('-c') + 1",
        "sys.argv = sys.argv[program:]",
        "exec(sys.argv[0])",
    ]
    with workspace_of(tmp_path, python=script(tmp_path / "python", "\n".join(lines))) as workspace:
        everything_works(workspace)


def test_an_old_python_says_so(tmp_path: Path):
    old = script(
        tmp_path / "python",
        f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 7, 0)\nsys.version = '3.7.0 (old)'\n"
        "exec(sys.argv[sys.argv.index('-c') + 1])\n",
    )
    with pytest.raises(BackendStartError) as error, workspace_of(tmp_path, python=old):
        raise AssertionError("started")
    assert str(error.value) == (
        "the guest did not start: the guest's process ended before it said anything; the environment said: "
        "omniagents: Python 3.8 or newer is needed, this is 3.7.0"
    )


def test_a_directory_of_very_many_entries_is_listed(tmp_path: Path):
    with workspace_of(tmp_path) as workspace:
        workspace.run("mkdir many; cd many; seq -f %0200g 6000 | xargs touch")
        assert len(workspace.list("many")) == 6_000


def test_reading_without_a_limit_has_one_all_the_same(tmp_path: Path):
    with workspace_of(tmp_path) as workspace:
        workspace.run("truncate -s 1073741825 large")
        with pytest.raises(OSError, match="File too large") as refusal:
            workspace.read_bytes("large")
        assert refusal.value.filename == "large"
        assert workspace.read_bytes("large", offset=1 << 30, limit=10) == b"\0"


# Nested node_modules, or __pycache__ in each package: more names than a frame's header has room for.
def test_a_scan_that_leaves_out_very_many_directories_says_which(tmp_path: Path):
    with workspace_of(tmp_path) as workspace:
        names = [f"{'package' * 20}-{number}" for number in range(6000)]
        make = "import os, sys\nfor n in range(6000): os.makedirs('%s-%d/cache' % ('package' * 20, n))"
        workspace.run([sys.executable, "-c", make])
        scan = workspace.scan(exclude=["cache/"])
    assert [entry.path for entry in scan] == sorted(names)
    assert sorted(scan.left_out) == sorted((f"{name}/cache", "cache/") for name in names)


# Sixty directories in each other and a hundred thousand empty files would be gigabytes of paths on the host.
def test_a_scan_of_too_many_long_paths_is_refused_before_they_take_the_hosts_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("omniagents.trees._MAX_NAMES", 1 << 20)
    with workspace_of(tmp_path) as workspace:
        nested = "import os\nfor n in range(20):\n    os.mkdir('d' * 200); os.chdir('d' * 200)\n"
        workspace.run([sys.executable, "-c", nested + "for n in range(300): open(str(n), 'x')"])
        with pytest.raises(GuestCallError) as caught:
            workspace.scan()
        assert str(caught.value) == (
            "the workspace has more than 10000000 files or 1 MiB of paths; remove some, or what is nested deep"
        )
        with pytest.raises(GuestCallError):
            workspace.scan(exclude=["/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/d*/*"])
        workspace.remove("d" * 200)
        assert len(workspace.scan()) == 0
