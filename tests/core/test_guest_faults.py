"""A real guest that is killed, stopped or told to stop at every step: clear errors, no hang, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.core.local_backends import eventually, living, running_backend

from omniagents import connection
from omniagents.backends import child_stream
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import BackendNotStartedError, BackendStartError, BackendUnavailableError, GuestDiedError
from omniagents.guest import kernel
from omniagents.link import GuestLink
from omniagents.records import CommandResult, FileInfo, ImportEntry
from omniagents.workspace import Workspace


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    with running_backend(tmp_path) as started:
        yield started


def link_of(backend: LocalBackend) -> GuestLink:
    link = backend._link
    assert link is not None
    return link


def guest_pid(backend: LocalBackend) -> int:
    connection = link_of(backend)._connection
    assert connection is not None
    pid: int = connection.hello["guest"][0]
    return pid


def once(condition: Callable[[], object], act: Callable[[], object]) -> None:
    """Let another thread ``act`` as soon as ``condition`` is true."""
    threading.Thread(target=lambda: eventually(condition) and act(), daemon=True).start()


def kill_guest(backend: LocalBackend, number: int = signal.SIGKILL) -> None:
    os.kill(guest_pid(backend), number)


def works(backend: LocalBackend) -> bool:
    return backend.workspace.run("echo hi", timeout_seconds=20).stdout == b"hi\n"


def works_again(backend: LocalBackend) -> bool:
    """After a kill, the call that finds the guest dead may fail, but not the next one."""
    with contextlib.suppress(GuestDiedError):
        return works(backend)
    return works(backend)


def marker() -> str:
    """A number of seconds nobody else sleeps."""
    return f"1000.{int.from_bytes(os.urandom(4), 'big'):010d}"


def sleeping(backend: LocalBackend) -> None:
    backend.workspace.run("sleep 1000")


def exporting(backend: LocalBackend) -> None:
    names = ["big"] * 5000
    for exported in backend.workspace.export(names):
        for _ in exported.chunks:
            continue


def importing(backend: LocalBackend) -> None:
    info = FileInfo("big", "file", 1 << 20, 0o644, 0, 0, 0, None)

    def endless() -> Iterator[ImportEntry]:
        while True:
            yield ImportEntry(info, [bytes(info.size)])

    backend.workspace.import_(endless())


def streaming(backend: LocalBackend) -> None:
    process = backend.workspace.start_process("yes")
    for _ in process.output():
        continue
    process.wait()


def feeding(backend: LocalBackend) -> None:
    process = backend.workspace.start_process("sleep 1000")
    for _ in range(100):  # more than pipe and credit hold
        process.write(bytes(1 << 20))
    process.wait()


@pytest.mark.parametrize("call", [sleeping, exporting, importing, streaming, feeding])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_guest_that_ends_during_a_call_fails_the_call_and_the_next_one_works(
    backend: LocalBackend, call: Callable[[LocalBackend], None], number: int
):
    backend.workspace.write_bytes("big", bytes(1 << 20))
    first = guest_pid(backend)
    once(lambda: link_of(backend).is_busy, lambda: kill_guest(backend, number))
    with pytest.raises(GuestDiedError, match="whether the call took effect is unknown"):
        call(backend)
    assert works(backend)
    assert guest_pid(backend) != first


# Python drops what is raised in the callback of a weak reference, and imports make such callbacks run.
ORDER_TO_STOP_IN_A_CALLBACK = """
import os, signal, sys, weakref
from omniagents.guest.channel import Channel
from omniagents.guest.server import _Server

class Thing:
    pass

source, host = os.pipe()
server = _Server(Channel(source, 1, False), {"root": sys.argv[1], "session": ""})
thing = Thing()
reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
del thing
server.run([])
server.stop()
print("stopped")
"""


def test_an_order_to_stop_is_obeyed_whatever_the_guest_is_doing(tmp_path: Path):
    program = [sys.executable, "-c", ORDER_TO_STOP_IN_A_CALLBACK, str(tmp_path)]
    finished = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert "SystemExit: 0" in finished.stderr  # it was raised, and dropped
    assert finished.stdout == "stopped\n"


def test_a_guest_that_dies_while_nothing_is_asked_of_it_is_replaced_without_a_word(backend: LocalBackend):
    for _ in range(3):
        kill_guest(backend)
        assert eventually(lambda: link_of(backend)._connection is None)
        assert works(backend)


def test_a_hundred_calls_under_way_all_end_when_the_guest_dies(backend: LocalBackend):
    seconds = marker()

    async def calls() -> list[Any]:
        workspace = backend.workspace
        waiting = [asyncio.ensure_future(workspace.arun(["sleep", seconds])) for _ in range(50)]
        waiting += [asyncio.ensure_future(workspace.arun(["cat"], input=bytes(1 << 20))) for _ in range(50)]
        assert await asyncio.to_thread(eventually, lambda: len(living(seconds)) == 50)
        kill_guest(backend)
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)

    results = asyncio.run(calls())
    assert {type(result) for result in results[:50]} == {GuestDiedError}
    assert {type(result) for result in results} <= {GuestDiedError, CommandResult}
    assert all(isinstance(result, GuestDiedError) for result in results[:50])
    assert works(backend)


@pytest.mark.parametrize("wrapper", ["", "setsid ", "nohup ", "env -i setsid "])
def test_what_a_killed_guest_had_started_is_gone(backend: LocalBackend, wrapper: str):
    seconds = marker()
    backend.workspace.run(f"{wrapper}sleep {seconds} >/dev/null 2>&1 </dev/null &")
    assert eventually(lambda: living(seconds))
    kill_guest(backend)
    assert works_again(backend)
    assert eventually(lambda: not living(seconds))


def test_a_guest_that_dies_before_it_says_anything_is_a_failed_start(tmp_path: Path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no luck >&2\nkill -9 $$\n")
    python.chmod(0o755)
    with pytest.raises(BackendStartError) as error, running_backend(tmp_path, python=str(python)):
        raise AssertionError("started")
    assert str(error.value) == (
        "the guest did not start: the guest's process ended before it said anything; the environment said: no luck"
    )


def test_a_missing_interpreter_is_a_failed_start(tmp_path: Path):
    with pytest.raises(BackendStartError, match="cannot be started"), running_backend(tmp_path, python="/nope/python"):
        raise AssertionError("started")


def killed_at_birth(backend: LocalBackend, times: int) -> Callable[..., Any]:
    opened = LocalBackend._open
    left = [times]

    def open_(argv: Any) -> Any:
        stream: Any = opened(backend, argv)
        if left[0]:
            left[0] -= 1
            os.kill(stream._child.pid, signal.SIGKILL)
        return stream

    return open_


def test_guests_that_die_while_they_come_back_are_tried_again(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backend, "_open", killed_at_birth(backend, 2))
    kill_guest(backend)
    assert works_again(backend)
    assert backend.status == "running"


def test_an_environment_where_no_guest_lives_is_gone(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backend, "_open", killed_at_birth(backend, 100))
    kill_guest(backend)
    with pytest.raises(BackendUnavailableError, match="the environment is gone"):
        works_again(backend)
    assert backend.status == "failed"


def test_a_stopped_guest_is_replaced_and_everything_of_it_is_gone(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "_SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(connection._Watchdog, "_running", None)
    assert backend._link is not None
    assert backend._link._connection is not None
    connection._Watchdog.watch(backend._link._connection)
    monkeypatch.setattr(child_stream, "_END_SECONDS", 0.1)
    seconds = marker()
    backend.workspace.run(f"sleep {seconds} >/dev/null 2>&1 </dev/null &")
    assert eventually(lambda: living(seconds))
    first = guest_pid(backend)
    kill_guest(backend, signal.SIGSTOP)
    with pytest.raises(GuestDiedError, match="the guest has not answered"):
        works(backend)
    monkeypatch.undo()
    assert works(backend)
    assert guest_pid(backend) != first
    assert not living(seconds)
    assert not kernel.is_alive(first)


def test_closing_the_host_side_ends_waiting_calls_and_processes(tmp_path: Path):
    seconds = marker()
    raised: list[BaseException] = []

    def run(workspace: Workspace) -> None:
        try:
            workspace.run(f"setsid sleep {seconds} & sleep {seconds}")
        except BaseException as error:
            raised.append(error)

    with running_backend(tmp_path) as backend:
        thread = threading.Thread(target=run, args=(backend.workspace,))
        thread.start()
        assert eventually(lambda: len(living(seconds)) == 2)
        pid = guest_pid(backend)
    thread.join(20)
    assert [type(error) for error in raised] == [BackendNotStartedError]
    assert not living(seconds)
    assert not kernel.is_alive(pid)


def test_cancelling_a_task_kills_its_command(backend: LocalBackend):
    seconds = marker()

    async def cancel() -> None:
        task = asyncio.ensure_future(backend.workspace.arun(f"setsid sleep {seconds} & sleep {seconds}"))
        await asyncio.to_thread(eventually, lambda: len(living(seconds)) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert eventually(lambda: not living(seconds))
    assert works(backend)


def test_commands_of_a_host_that_ignores_signals_can_be_interrupted(tmp_path: Path):
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        with LocalBackend("nohup", workspace_dir=tmp_path / "w") as backend:
            command = 'for name in INT QUIT HUP; do trap "echo $name" $name; kill -$name $$; done'
            assert backend.workspace.run(command).stdout == b"INT\nQUIT\nHUP\n"
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def test_interrupting_a_blocking_call_kills_its_command(backend: LocalBackend):
    seconds = marker()
    once(lambda: living(seconds), lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        backend.workspace.run(f"sleep {seconds}")
    assert eventually(lambda: not living(seconds))
    assert works(backend)


def descriptors(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_calls_given_up_leave_nothing_open_in_the_guest(backend: LocalBackend):
    workspace = backend.workspace
    workspace.write_bytes("big", bytes(9 << 20))
    workspace.run("true")
    before = descriptors(guest_pid(backend))

    async def given_up() -> None:
        calls = [workspace.aread_bytes("big"), workspace.awrite_bytes("other", bytes(20 << 20)), workspace.arun("yes")]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    for _ in range(10):
        asyncio.run(given_up())
        with contextlib.closing(workspace.export(["big"])) as entries:  # type: ignore[type-var]
            next(next(entries).chunks)  # type: ignore[call-overload]
    assert eventually(lambda: descriptors(guest_pid(backend)) <= before)
    assert works(backend)
    assert [entry.path for entry in workspace.list() if ".tmp" in entry.path] == []


def test_starting_and_stopping_leaks_neither_threads_nor_descriptors(tmp_path: Path):
    def session() -> None:
        with running_backend(tmp_path) as backend:
            backend.workspace.stat(".")

    session()  # what is made once: the watchdog, caches
    before = descriptors(), threading.active_count()
    for _ in range(20):
        session()
    assert eventually(lambda: threading.active_count() <= before[1])
    assert eventually(lambda: descriptors() <= before[0])


def test_reconnecting_leaks_neither_threads_nor_descriptors(backend: LocalBackend):
    works(backend)
    before = descriptors(), threading.active_count()
    for _ in range(20):
        kill_guest(backend)
        assert works_again(backend)
    assert eventually(lambda: threading.active_count() <= before[1])
    assert eventually(lambda: descriptors() <= before[0])


def test_nobody_inside_can_write_the_guests_frames(backend: LocalBackend):
    user = "nobody" if os.geteuid() == 0 else None
    stolen = backend.workspace.run(f"ls /proc/{guest_pid(backend)}/fd; ls -l /proc/$PPID/fd/0", user=user)
    assert stolen.exit_code != 0
    assert b"Permission denied" in stolen.stderr


def test_the_guests_python_cannot_be_hijacked_from_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    planted = tmp_path / "workspace"
    planted.mkdir()
    for name in ("json.py", "sitecustomize.py", "omniagents_guest.py"):
        (planted / name).write_text("raise SystemExit('hijacked')")
    monkeypatch.setenv("PYTHONPATH", str(planted))
    monkeypatch.setenv("PYTHONSTARTUP", str(planted / "json.py"))
    monkeypatch.chdir(planted)
    with running_backend(tmp_path, environment={"PYTHONPATH": str(planted)}, python=sys.executable) as backend:
        kill_guest(backend)
        assert works_again(backend)
