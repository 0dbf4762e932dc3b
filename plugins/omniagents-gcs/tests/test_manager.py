"""The state manager ``gcs``: how it is found, what it costs to make, and what its calls cost in requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.faults import Fault

from omniagents import create_state_manager
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import SaveFailedError, StateAccessError, StateConfigurationError, StateUnavailableError
from omniagents_gcs.plugin import omniagents_register_state_managers
from omniagents_gcs.state_manager import GCSStateManager
from omniagents_gcs.watching import WatchedAdapter


def test_the_plugin_registers_it_by_name() -> None:
    (component,) = omniagents_register_state_managers()
    assert (component.name, component.target) == ("gcs", "omniagents_gcs.state_manager:GCSStateManager")


def test_it_is_made_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_OMNIAGENTS", "sessions")
    assert repr(create_state_manager("gcs")) == "GCSStateManager('gs://sessions')"


def test_the_bucket_that_is_passed_counts_more_than_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_OMNIAGENTS", "sessions")
    assert repr(GCSStateManager("other", "team/a")) == "GCSStateManager('gs://other/team/a')"


@pytest.mark.parametrize("value", [None, ""])
def test_no_bucket_at_all_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("BUCKET_OMNIAGENTS", value)
    with pytest.raises(StateConfigurationError) as caught:
        GCSStateManager()
    assert str(caught.value) == (
        "no bucket for snapshots: set BUCKET_OMNIAGENTS to the name of one, or pass it, as in "
        "GCSStateManager('my-bucket')"
    )
    assert isinstance(caught.value, ValueError)


_MAKING = """
import socket, sys
def refuse(*arguments): raise AssertionError("the network was used")
socket.socket.connect = socket.getaddrinfo = refuse
from omniagents.backends.state_manager import GCSStateManager
GCSStateManager("sessions", "prefix")
print([name for name in ("google.cloud.storage", "google.auth", "requests", "grpc") if name in sys.modules])
"""


def test_making_one_imports_no_sdk_and_asks_nobody(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _MAKING], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.service
class TestSessions:
    """A local backend whose snapshots are on a server of ours."""

    @pytest.fixture
    def backend(self, server: FaultServer) -> LocalBackend:
        return LocalBackend("alice", state_manager=GCSStateManager("sessions"), checkpoint_interval_seconds=None)

    def test_saving_with_nothing_changed_asks_nobody(self, backend: LocalBackend, server: FaultServer) -> None:
        with backend:
            backend.workspace.write_bytes("a.txt", b"x")
            backend.checkpoint()
            server.seen.clear()
            backend.checkpoint()
            assert server.seen == []

    def test_one_changed_file_takes_few_requests(self, backend: LocalBackend, server: FaultServer) -> None:
        with backend:
            backend.workspace.write_bytes("a.txt", b"x")
            backend.checkpoint()
            server.seen.clear()
            backend.workspace.write_bytes("a.txt", b"y")
            backend.checkpoint()
            assert {seen.operation for seen in server.seen} == {"upload"}
            assert len(server.seen) <= 4

    def test_deleting_a_project_leaves_nothing_of_it(self, backend: LocalBackend, server: FaultServer) -> None:
        server.buckets.page_size = 2
        with backend:
            for number in range(5):
                backend.workspace.write_bytes("a.txt", b"%d" % number)
                backend.checkpoint()
        GCSStateManager("sessions").delete("alice")
        assert server.buckets.objects == {"sessions": {}}

    def test_a_grant_that_is_missing_keeps_the_environment_and_is_named(
        self, backend: LocalBackend, server: FaultServer
    ) -> None:
        backend.start()
        backend.workspace.write_bytes("a.txt", b"x")
        forbidden = Fault("status", ("upload",), status=403, reason="forbidden", message="no", times=-1)
        server.faults.add(forbidden)
        with pytest.raises(SaveFailedError) as caught:
            backend.shutdown()
        assert isinstance(caught.value.__cause__, StateAccessError)
        assert "roles/storage.objectUser" in str(caught.value)
        server.faults.clear()
        backend.shutdown()
        assert GCSStateManager("sessions").history("alice")[0].files == 1

    def test_no_token_and_no_bucket_is_in_the_environment(
        self, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("BUCKET_OMNIAGENTS", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.setenv(name, "/secret/place")
        with backend:
            assert b"secret" not in backend.workspace.run("env").stdout


def test_options_of_the_engine_are_passed_on() -> None:
    manager = GCSStateManager("sessions", on_conflict="merge", leave_out=["*.log"])
    assert (manager.on_conflict, manager.leave_out) == ("merge", ("*.log",))


def test_a_save_whose_swap_got_no_answer_is_found_by_the_next_one(tmp_path: Path, server: FaultServer) -> None:
    manager = GCSStateManager("sessions", timeout_seconds=1)
    backend = LocalBackend("alice", manager, workspace_dir=tmp_path / "work", checkpoint_interval_seconds=None)
    with backend:
        backend.workspace.write_bytes("a.txt", b"one")
        backend.checkpoint("first")
        backend.workspace.write_bytes("a.txt", b"two")
        server.faults.add(Fault("hang", ("upload",), name="HEAD", times=-1))
        with pytest.raises(StateUnavailableError, match="it may have taken effect or not"):
            backend.checkpoint("unheard")
        server.faults.clear()
        found = backend.checkpoint("again")
        assert found is not None
        assert found.message == "unheard"
        backend.workspace.write_bytes("a.txt", b"three")
        backend.checkpoint("third")
        assert [snapshot.message for snapshot in manager.history("alice")] == ["third", "unheard", "first"]


def test_a_save_makes_four_requests_and_google_s_client_none_of_its_own(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    send = WatchedAdapter.send

    def noting(adapter: WatchedAdapter, request: Any, *arguments: Any, **named: Any) -> Any:
        sent.append(request.method)
        return send(adapter, request, *arguments, **named)

    monkeypatch.setattr(WatchedAdapter, "send", noting)
    manager = GCSStateManager("sessions")
    backend = LocalBackend("alice", manager, workspace_dir=tmp_path / "work", checkpoint_interval_seconds=None)
    with backend:
        backend.workspace.write_bytes("a.txt", b"one")
        backend.checkpoint("first")
        backend.workspace.write_bytes("a.txt", b"two")
        sent.clear()
        backend.checkpoint("second")
        assert sent == ["POST"] * 4
