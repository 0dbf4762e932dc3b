"""Every method of a workspace has a twin to be awaited, those that stream trees included."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Iterator

import pytest
from tests.core.local_backends import running_backend

from omniagents.records import ImportEntry
from omniagents.workspace import Workspace

_NOT_AWAITED = {"request", "root", "sha256"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with running_backend(tmp_path_factory.mktemp("twins")) as backend:
        yield backend.workspace


@pytest.fixture
def workspace(running: Workspace) -> Workspace:
    running.remove(*[entry.path for entry in running.list()])
    return running


def test_every_method_has_a_twin() -> None:
    names = {name for name in vars(Workspace) if not name.startswith("_")} - _NOT_AWAITED
    assert sorted(name for name in names if not ({f"a{name}", name[1:]} & names)) == []


@pytest.mark.parametrize("name", ["start_process", "scan", "export", "import_"])
def test_a_twin_takes_the_same_arguments(name: str) -> None:
    twin = inspect.signature(getattr(Workspace, f"a{name}"))
    assert [*twin.parameters.values()] == [*inspect.signature(getattr(Workspace, name)).parameters.values()]


def test_a_tree_is_scanned_exported_and_imported(workspace: Workspace) -> None:
    async def scenario() -> list[tuple[str, bytes]]:
        await workspace.awrite_bytes("a/b.txt", b"b")
        await workspace.awrite_bytes("left-out", b"")
        scan = await workspace.ascan(exclude=["left-out"])
        exported = [
            ImportEntry(entry.info, [*entry.chunks])
            async for entry in workspace.aexport([entry.path for entry in scan])
        ]
        infos = await workspace.aimport_(exported, remove=["a", "left-out"])
        assert [info.path for info in infos] == ["a", "a/b.txt"]
        return [(entry.info.path, b"".join(entry.chunks)) for entry in exported]

    assert asyncio.run(scenario()) == [("a", b""), ("a/b.txt", b"b")]
    assert [entry.path for entry in workspace.list()] == ["a"]


def test_a_process_is_started_and_waited_for(workspace: Workspace) -> None:
    async def scenario() -> tuple[list[tuple[str, bytes]], int]:
        process = await workspace.astart_process(["sh", "-c", "echo $A; exit 3"], env={"A": "1"})
        output = [event async for event in process.aoutput()]
        return output, (await process.await_()).exit_code

    assert asyncio.run(scenario()) == ([("stdout", b"1\n")], 3)


def test_a_scan_of_a_missing_directory_is_the_builtin_error(workspace: Workspace) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(workspace.ascan("gone"))


def test_an_import_that_is_cancelled_ends_and_the_next_call_works(workspace: Workspace) -> None:
    workspace.write_bytes("a", b"1")
    info = workspace.stat("a")
    begun, given_up = threading.Event(), threading.Event()

    def endless() -> Iterator[ImportEntry]:
        while not given_up.is_set():
            begun.set()
            yield ImportEntry(info, [os.urandom(1)])

    async def scenario() -> None:
        work = asyncio.create_task(workspace.aimport_(endless()))
        await asyncio.to_thread(begun.wait)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        given_up.set()

    asyncio.run(scenario())
    assert workspace.read_bytes("a")


def test_a_time_limit_that_is_no_number_is_refused_before_it_is_sent(workspace: Workspace) -> None:
    process = workspace.start_process("cat")
    with pytest.raises(ValueError, match="soon"):
        workspace.run("true", timeout_seconds="soon")  # type: ignore[arg-type]
    process.write(b"still here")
    process.close_input()
    assert [*process.output()] == [("stdout", b"still here")]
