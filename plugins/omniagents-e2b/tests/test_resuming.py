"""Connections break and answers are lost: every call is answered all the same, and nothing is done twice."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.services.e2b.faults import Fault, Faults
from tests.services.e2b.server import E2BServer

from omniagents.errors import BackendUnavailableError, GuestDiedError
from omniagents.records import FileInfo, ImportEntry
from omniagents.testing._support import until
from omniagents_e2b.backend import E2BBackend

pytestmark = pytest.mark.service

NewBackend = Callable[..., E2BBackend]

SEND = r"POST /process\.Process/SendInput"
START = r"POST /process\.Process/Start"
CONNECT = r"POST /process\.Process/Connect"


@pytest.fixture
def backend(new_backend: NewBackend, faults: Faults) -> E2BBackend:
    made = new_backend(idle_timeout_seconds=None, checkpoint_interval_seconds=None)
    made.start()
    faults.recorded.clear()
    return made


def sent(faults: Faults, end: str) -> int:
    return sum(each.path.endswith(end) for each in faults.recorded)


@pytest.mark.parametrize(
    "fault",
    [{"loses_answer": True}, {"drops": True}, {"status": 500}, {"status": 502}, {"status": 503}, {"status": 429}],
    ids=str,
)
def test_a_call_whose_request_failed_is_done_once(backend: E2BBackend, faults: Faults, fault: dict[str, Any]) -> None:
    faults.add(Fault(SEND, times=2, **fault))
    assert backend.workspace.run("echo once >> log; cat log").stdout == b"once\n"


def test_output_that_is_cut_off_arrives_whole(new_backend: NewBackend, faults: Faults) -> None:
    faults.recorded.clear()
    faults.add(Fault(START, cut_after=300_000))
    faults.add(Fault(CONNECT, times=3, cut_after=200_000))
    backend = new_backend()
    backend.start()
    result = backend.workspace.run("echo once >> log; seq 100000; cat log")
    assert result.stdout == b"".join(b"%d\n" % number for number in range(1, 100_001)) + b"once\n"
    assert sent(faults, "/Connect") == 4


def test_what_runs_goes_on_when_the_stream_is_cut_off(server: E2BServer, backend: E2BBackend, faults: Faults) -> None:
    process = backend.workspace.start_process("echo first; read line; echo got $line")
    guest = backend.workspace.run("echo $PPID").stdout
    server.cut_streams()
    until(lambda: sent(faults, "/Connect") == 1, "it is connected again")
    process.write(b"second\n")
    assert b"".join(data for _, data in process.output()) == b"first\ngot second\n"
    assert backend.workspace.run("echo $PPID").stdout == guest


def test_an_answer_while_nobody_listens_is_asked_for(server: E2BServer, backend: E2BBackend, faults: Faults) -> None:
    process = backend.workspace.start_process("while [ ! -e go ]; do sleep 0.01; done; seq 1000")
    faults.add(Fault(CONNECT, times=2, status=503))
    server.cut_streams()
    until(lambda: sent(faults, "/Connect") >= 1, "the stream is cut off")
    backend.workspace.write_bytes("go", b"")
    assert b"".join(data for _, data in process.output()).endswith(b"\n999\n1000\n")


def test_trees_go_in_and_out_over_connections_that_break(
    server: E2BServer, backend: E2BBackend, faults: Faults
) -> None:
    content = os.urandom(3 << 20)
    names = [f"{number}.bin" for number in range(4)]
    faults.add(Fault(r"POST /files", loses_answer=True))
    faults.add(Fault(SEND, times=3, loses_answer=True))
    server.cut_streams()
    entries = [ImportEntry(FileInfo(name, "file", len(content), 0o644, 1, 0, 0, None), [content]) for name in names]
    backend.workspace.import_(entries)
    faults.add(Fault(CONNECT, times=2, cut_after=3_000_000))
    server.cut_streams()
    exported = {entry.info.path: b"".join(entry.chunks) for entry in backend.workspace.export(names)}
    assert exported == dict.fromkeys(names, content)
    assert backend.workspace.run("find /tmp -maxdepth 1 -type f").stdout == b""


def test_whatever_breaks_nothing_is_done_twice_or_forgotten(
    server: E2BServer, backend: E2BBackend, faults: Faults
) -> None:
    luck = random.Random(6)
    kinds: list[dict[str, Any]] = [{"loses_answer": True}, {"drops": True}, {"status": 500}, {"delay_seconds": 0.1}]

    def work(worker: int) -> None:
        for number in range(12):
            line = f"{worker} {number}"
            assert backend.workspace.run(f"echo {line} >> log; echo {line}").stdout_text == f"{line}\n"

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
    for thread in workers:
        thread.start()
    while any(thread.is_alive() for thread in workers):
        faults.add(Fault(SEND, **luck.choice(kinds)))
        if luck.random() < 0.3:
            server.cut_streams()
        # One request that fails, and some that may succeed: a service that always fails is given up.
        enough = sent(faults, "/SendInput") + 3
        while sent(faults, "/SendInput") < enough and any(thread.is_alive() for thread in workers):
            workers[0].join(0.01)
    faults.clear()
    lines = backend.workspace.read_bytes("log").decode().splitlines()
    assert sorted(lines) == sorted(f"{worker} {number}" for worker in range(3) for number in range(12))


def test_a_guest_that_is_no_more_is_not_waited_for(server: E2BServer, backend: E2BBackend, faults: Faults) -> None:
    with pytest.raises(GuestDiedError, match="whether the call took effect is unknown"):
        backend.workspace.run("kill -9 $PPID; sleep 300")
    assert backend.workspace.run("echo next").stdout == b"next\n"


def test_a_service_that_cannot_be_reached_is_given_up(backend: E2BBackend, faults: Faults) -> None:
    faults.add(Fault(".*", times=-1, drops=True))
    with pytest.raises(BackendUnavailableError):
        backend.workspace.run("true")
    faults.clear()
    backend.start()
    assert backend.workspace.run("echo again").stdout == b"again\n"


def test_a_refused_token_is_told_at_once_and_without_secrets(
    server: E2BServer, backend: E2BBackend, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "omniagents")
    faults.add(Fault(r"POST /process\.Process/.*", times=-1, status=401))
    with pytest.raises(BackendUnavailableError, match="E2B refuses the API key") as raised:
        backend.workspace.run("true")
    key = server.variables["E2B_API_KEY"]
    assert key not in "".join([str(raised.value), repr(raised.value.__cause__), caplog.text])


def test_a_profile_that_prints_and_loses_the_path_is_survived(new_backend: NewBackend, faults: Faults) -> None:
    first = new_backend()
    first.start()
    assert first.sandbox is not None
    first.sandbox.files.write(
        "/home/user/.bash_profile", "echo Welcome; printf '#1 0 1 unfinished'; export PATH=/nowhere\n"
    )
    first._lease.release()  # as its death would have it
    second = new_backend(environment={"PATH": "/usr/bin:/bin:/opt/it's mine"})
    second.start()
    assert second.workspace.run("echo $PATH").stdout.startswith(b"/usr/bin:/bin:/opt/it's mine")
    second._lease.release()
    third = new_backend()
    third.start()
    assert third.workspace.run("true").exit_code == 0
