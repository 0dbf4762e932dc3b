"""What goes over the wire: one request a call, faults in each place, and the SDK's own way of asking."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.services.e2b.faults import Fault, Faults, Recorded
from tests.services.e2b.server import E2BServer

import omniagents
from omniagents.errors import BackendUnavailableError, GuestDiedError
from omniagents.testing._support import until
from omniagents_e2b.backend import E2BBackend

pytestmark = pytest.mark.service

NewBackend = Callable[..., E2BBackend]

CALLS: dict[str, dict[str, Any]] = {
    "write_file": {"absolute_path": "a.txt", "content": "one needle\n"},
    "read_file": {"absolute_path": "a.txt"},
    "list_directory": {"path": "."},
    "glob": {"pattern": "*.txt"},
    "search_file_content": {"pattern": "needle"},
    "replace": {"file_path": "a.txt", "old_string": "one", "new_string": "two"},
    "run_shell_command": {"command": "cat a.txt"},
    "read_many_files": {"paths": ["*.txt"]},
    "save_memory": {"fact": "tabs"},
}


@pytest.fixture
def backend(new_backend: NewBackend, faults: Faults) -> E2BBackend:
    made = new_backend(idle_timeout_seconds=None, checkpoint_interval_seconds=None)
    made.start()
    return made


@pytest.mark.parametrize("name", CALLS)
def test_a_tool_call_is_one_request(backend: E2BBackend, faults: Faults, name: str) -> None:
    backend.workspace.write_bytes("a.txt", b"one needle\n")
    (tool,) = omniagents.create_tools(backend, [name])
    before = len(faults.recorded)
    result = tool.execute(**CALLS[name])
    assert not result.is_error, result
    assert [each.path for each in faults.recorded[before:]] == ["/process.Process/SendInput"]


def test_a_thousand_files_are_a_handful_of_requests(backend: E2BBackend, faults: Faults) -> None:
    backend.workspace.run("for i in $(seq 1000); do echo $i > $i.txt; done")
    before = len(faults.recorded)
    assert sum(1 for _ in backend.workspace.export([f"{number}.txt" for number in range(1, 1001)])) == 1000
    assert len(faults.recorded) - before <= 3


def test_a_large_file_goes_up_through_the_file_api(backend: E2BBackend, faults: Faults) -> None:
    content = os.urandom(6 << 20)
    before = len(faults.recorded)
    backend.workspace.write_bytes("big.bin", content)
    assert ("POST", "/files") in [(each.method, each.path) for each in faults.recorded[before:]]
    assert backend.workspace.read_bytes("big.bin") == content
    assert backend.workspace.run("find /tmp -maxdepth 1 -type f").stdout == b""


def test_a_rate_limit_on_a_call_is_waited_for(backend: E2BBackend, faults: Faults) -> None:
    faults.add(Fault(r"POST /process\.Process/SendInput", times=2, status=429))
    assert backend.workspace.run("echo once >> log; cat log").stdout == b"once\n"


@pytest.mark.parametrize("end", ["kill", "crash"])
def test_a_sandbox_that_ends_during_a_call_ends_the_call(
    server: E2BServer, backend: E2BBackend, project_id: str, end: str
) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            backend.workspace.run("touch begun; sleep 300")
        except BackendUnavailableError as error:
            failures.append(error)

    caller = threading.Thread(target=work)
    caller.start()
    until(lambda: backend.workspace.exists("begun"), "the command runs")
    (sandbox,) = [
        each for each in server.sandboxes.living() if each.request["metadata"]["omniagents-project"] == project_id
    ]
    getattr(sandbox, end)()
    caller.join(30)
    assert len(failures) == 1
    assert not isinstance(failures[0], GuestDiedError)
    assert backend.status == "failed"


def test_a_slow_network_only_takes_longer(backend: E2BBackend, faults: Faults) -> None:
    faults.latency_seconds = 0.2
    assert backend.workspace.run("echo slow").stdout == b"slow\n"


def _asked(request: Recorded) -> str:
    told = {
        "connect-protocol-version", "e2b-sandbox-id", "e2b-sandbox-port", "idempotency-key", "keepalive-ping-interval",
        "x-access-token", "x-api-key",
    }  # fmt: skip
    path = re.sub(r"/i[0-9a-f]{20}", "/{id}", request.path)
    query = sorted(part.partition("=")[0] for part in request.query.split("&") if part)
    kind = request.headers.get("content-type", "-")
    return " ".join([request.method, path, *query, kind, *sorted(told & request.headers.keys())])


def test_the_sdk_asks_as_it_did_when_the_server_was_checked(new_backend: NewBackend, faults: Faults) -> None:
    """A new SDK that asks otherwise fails here: compare the server with it before the bounds are widened."""
    del faults.recorded[:]
    backend = new_backend(idle_timeout_seconds=None)
    backend.start()
    backend.workspace.write_bytes("big.bin", os.urandom(3 << 20))
    backend.extend()
    backend.pause()
    backend.resume()
    assert backend.sandbox is not None
    backend.sandbox.get_info()
    backend.shutdown()
    plane = "connect-protocol-version e2b-sandbox-id e2b-sandbox-port"
    # How fast things end is a matter of luck, and with it whether the guest, and its health, are asked after.
    by_chance = ("/health", "/process.Process/CloseStdin")
    asked = {_asked(request) for request in faults.recorded if request.path not in by_chance}
    assert sorted(asked) == [
        "DELETE /sandboxes/{id} - x-api-key",
        "GET /sandboxes/{id} - x-api-key",
        "GET /v2/sandboxes metadata - x-api-key",
        "POST /files path application/octet-stream e2b-sandbox-id e2b-sandbox-port x-access-token",
        f"POST /process.Process/Connect application/connect+json {plane} keepalive-ping-interval x-access-token",
        f"POST /process.Process/List application/json {plane} x-access-token",
        f"POST /process.Process/SendInput application/json {plane} x-access-token",
        f"POST /process.Process/Start application/connect+json {plane} keepalive-ping-interval x-access-token",
        "POST /sandboxes/{id}/pause application/json x-api-key",
        "POST /sandboxes/{id}/timeout application/json x-api-key",
        "POST /v2/sandboxes application/json idempotency-key x-api-key",
        "POST /v2/sandboxes/{id}/connect application/json x-api-key",
    ]
