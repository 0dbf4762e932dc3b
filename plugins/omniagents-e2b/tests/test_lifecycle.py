"""From start to shutdown: found again, extended, paused, taken over, reaped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2b import Sandbox
from tests.services.e2b.faults import Fault, Faults
from tests.services.e2b.server import E2BServer

from omniagents.errors import (
    BackendError,
    BackendStartError,
    BackendUnavailableError,
    OmniagentsError,
    ProjectInUseError,
    SaveFailedError,
)
from omniagents.presets.python import PythonUVPreset
from omniagents.testing._keeping import KeepingStateManager
from omniagents.testing._support import until
from omniagents_e2b.backend import E2BBackend
from omniagents_e2b.service import Service

pytestmark = pytest.mark.service

NewBackend = Callable[..., E2BBackend]


def of_project(server: E2BServer, project_id: str) -> list[Any]:
    """The sandboxes that the server has for a project."""
    living = server.sandboxes.living()
    return [each for each in living if each.request["metadata"].get("omniagents-project") == project_id]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """From its call on, new backends have leases of their own, like those of another machine."""
    return lambda: monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))


def test_a_missing_key_says_where_to_get_one(new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2B_API_KEY")
    with pytest.raises(BackendStartError, match=r"set E2B_API_KEY to one from https://e2b\.dev/dashboard\?tab=keys"):
        new_backend().start()
    (problem,) = E2BBackend.problems()
    assert problem.what == "no E2B API key"


def test_a_refused_key_says_where_to_get_one(new_backend: NewBackend) -> None:
    with E2BServer(keys={"e2b_" + "1" * 40}) as strict, pytest.MonkeyPatch.context() as patch:
        patch.setenv("E2B_API_URL", strict.url)
        with pytest.raises(BackendStartError, match="E2B refuses the API key"):
            new_backend().start()


def test_answers_lost_at_start_are_asked_for_again(faults: Faults, new_backend: NewBackend) -> None:
    first = new_backend()
    first.start()
    first._lease.release()  # as its death would have it
    for name in ("SendInput", "List"):
        faults.add(Fault(f"POST /process.Process/{name}", loses_answer=True))
    second = new_backend()
    second.start()
    assert second.workspace.run("echo here").stdout == b"here\n"


@pytest.mark.parametrize("fault", [{"loses_answer": True}, {"drops": True}, {"cut_after": 20}], ids=str)
def test_a_start_over_connections_that_break_makes_one_sandbox(
    server: E2BServer, faults: Faults, new_backend: NewBackend, project_id: str, fault: dict[str, Any]
) -> None:
    for request in ("GET /v2/sandboxes", "POST /v2/sandboxes"):
        faults.add(Fault(request, times=2, **fault))
    new_backend().start()
    assert len(of_project(server, project_id)) == 1


@pytest.mark.parametrize("fault", [{"loses_answer": True}, {"drops": True}, {"status": 503}, {"status": 429}], ids=str)
def test_a_guest_whose_start_was_not_answered_is_started_again_and_is_the_only_one(
    faults: Faults, new_backend: NewBackend, fault: dict[str, Any]
) -> None:
    faults.add(Fault(r"POST /process\.Process/Start", **fault))
    backend = new_backend()
    backend.start()
    assert backend.sandbox is not None
    assert [each.pid for each in backend.sandbox.commands.list()] == [backend._stream and backend._stream.pid]
    assert backend.workspace.run("echo here").stdout == b"here\n"


def test_a_guest_that_does_not_start_in_time_is_given_up(faults: Faults, new_backend: NewBackend) -> None:
    faults.add(Fault(r"POST /process\.Process/Start", delay_seconds=20.0))
    with pytest.raises(BackendUnavailableError, match=r"E2B did not start a command in sandbox i\w+ within 1 s; try"):
        new_backend(request_timeout_seconds=1.0).start()


def test_a_shutdown_whose_answer_is_lost_ends_the_sandbox(
    server: E2BServer, faults: Faults, new_backend: NewBackend, project_id: str
) -> None:
    backend = new_backend()
    backend.start()
    faults.add(Fault("DELETE /sandboxes/.*", loses_answer=True))
    backend.shutdown()
    assert of_project(server, project_id) == []


def test_a_service_that_is_not_there_is_said_so(new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("E2B_API_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(
        BackendStartError, match=r"starting: E2B cannot be reached; is this machine online\? \(.*refused"
    ):
        new_backend().start()


def test_a_service_that_does_not_answer_in_time_is_said_so(faults: Faults, new_backend: NewBackend) -> None:
    faults.add(Fault("GET /v2/sandboxes", delay_seconds=30.0))
    with pytest.raises(BackendStartError, match="starting: no answer from E2B in time; the sandbox may still live"):
        new_backend(request_timeout_seconds=0.5).start()


def test_an_unknown_template_is_named(new_backend: NewBackend) -> None:
    with pytest.raises(BackendStartError, match="template 'nope' not found"):
        new_backend(template="nope").start()


def test_the_preset_names_the_template(new_backend: NewBackend) -> None:
    assert new_backend(preset=PythonUVPreset()).template == "omniagents-python-uv"
    assert new_backend(preset=PythonUVPreset(), template="mine").template == "mine"
    assert new_backend().template is None


def test_a_project_has_one_sandbox_with_our_metadata_and_the_users(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    new_backend(metadata={"team": "blue"}, timeout_seconds=120, network="none").start()
    (sandbox,) = of_project(server, project_id)
    assert sandbox.request["metadata"]["team"] == "blue"
    assert sandbox.request["timeout"] == 120
    assert sandbox.request["autoPause"] is True
    assert sandbox.request["allow_internet_access"] is False


def test_the_key_is_not_in_the_sandbox(new_backend: NewBackend, server: E2BServer) -> None:
    backend = new_backend()
    backend.start()
    everything = backend.workspace.run("env; cat /proc/[0-9]*/environ 2>/dev/null; true").stdout
    assert server.variables["E2B_API_KEY"].encode() not in everything


def test_shutdown_ends_the_sandbox_and_may_be_repeated(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    backend = new_backend()
    backend.start()
    backend.shutdown()
    backend.shutdown()
    assert of_project(server, project_id) == []


def test_shutdown_of_a_sandbox_that_was_ended_behind_its_back_is_no_error(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    backend = new_backend(state_manager=KeepingStateManager())
    backend.start()
    of_project(server, project_id)[0].kill()
    backend.shutdown()
    assert backend.status == "stopped"


def test_a_shutdown_that_cannot_save_keeps_the_sandbox_and_start_goes_on_in_it(
    server: E2BServer, faults: Faults, new_backend: NewBackend, project_id: str
) -> None:
    backend = new_backend(state_manager=KeepingStateManager())
    backend.start()
    backend.workspace.write_bytes("a.txt", b"precious")
    faults.add(Fault(".*", times=-1, drops=True))
    for _ in range(2):
        with pytest.raises(SaveFailedError, match=r"E2B cannot be reached; sandbox i\w+ is kept. start\(\) goes"):
            backend.shutdown()
    faults.clear()
    backend.start()
    assert backend.workspace.read_bytes("a.txt") == b"precious"
    backend.shutdown()
    assert of_project(server, project_id) == []


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_sandbox_that_could_not_be_ended_is_ended_by_the_next_shutdown(
    server: E2BServer, faults: Faults, new_backend: NewBackend, project_id: str, is_paused: bool
) -> None:
    backend = new_backend()
    backend.start()
    if is_paused:
        backend.pause()
    faults.add(Fault("DELETE /sandboxes/.*", status=500))
    with pytest.raises(BackendError, match="ending sandbox i"):
        backend.shutdown()
    backend.shutdown()
    assert of_project(server, project_id) == []


def test_a_paused_backend_saves_what_came_after_its_checkpoint(
    new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = KeepingStateManager()
    backend = new_backend(state_manager=state, checkpoint_interval_seconds=None)
    backend.start()
    saved = backend.checkpoint

    def save_and_be_overtaken(message: str = "") -> Any:
        snapshot = saved(message)
        backend.workspace.write_bytes("late.txt", b"x")
        return snapshot

    with monkeypatch.context() as patch:
        patch.setattr(backend, "checkpoint", save_and_be_overtaken)
        backend.pause()
    assert backend.is_paused
    backend.shutdown()
    with new_backend(state_manager=state) as again:
        assert again.workspace.read_bytes("late.txt") == b"x"


def test_nothing_runs_on_after_shutdown(new_backend: NewBackend) -> None:
    def ours() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name.startswith("omniagents-")}

    before = ours()
    for _ in range(3):
        backend = new_backend(state_manager=KeepingStateManager(), idle_timeout_seconds=0.5)
        backend.start()
        backend.workspace.run("true")
        backend.shutdown()
    until(lambda: {each for each in ours() - before if "watchdog" not in each.name} == set(), "all threads end")


def test_a_shutdown_while_an_idle_backend_is_being_ended_waits_for_nobody(new_backend: NewBackend) -> None:
    for _ in range(3):
        backend = new_backend(state_manager=KeepingStateManager(), idle_timeout_seconds=0.01, on_idle="kill")
        backend.start()
        until(lambda keeper=backend._keeper: keeper is None or keeper._worker is not None, "it is being ended")  # type: ignore[misc]
        backend.shutdown()
        assert backend.status == "stopped"


def test_a_sandbox_that_ends_between_being_found_and_being_used_is_replaced(
    server: E2BServer, new_backend: NewBackend, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = KeepingStateManager()
    first = new_backend(state_manager=state)
    first.start()
    first.workspace.write_bytes("a.txt", b"saved")
    first.checkpoint()
    first._lease.release()  # as its death would have it
    (sandbox,) = of_project(server, project_id)
    connect = Service.connect

    def connect_too_late(service: Service, *arguments: Any) -> Sandbox:
        sandbox.kill()
        return connect(service, *arguments)

    monkeypatch.setattr(Service, "connect", connect_too_late)
    second = new_backend(state_manager=state)
    second.start()
    assert second.workspace.read_bytes("a.txt") == b"saved"


@pytest.mark.parametrize("fault", [{"status": 500}, {"drops": True}], ids=str)
def test_the_workspace_is_saved_when_its_life_cannot_be_extended(
    faults: Faults, new_backend: NewBackend, fault: dict[str, Any]
) -> None:
    state = KeepingStateManager()
    backend = new_backend(state_manager=state, timeout_seconds=15, checkpoint_interval_seconds=None)
    backend.start()
    faults.add(Fault(r"POST /sandboxes/.*/timeout", times=-1, delay_seconds=0.1, **fault))
    assert state.attempts.get(timeout=14) == "the sandbox's life could not be extended"


def test_loading_for_longer_than_the_sandbox_has_to_live_is_possible(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    class SlowStateManager(KeepingStateManager):
        def load(self, project_id: str, workspace: Any) -> Any:
            (sandbox,) = of_project(server, project_id)
            first = sandbox.end_at
            until(lambda: sandbox.end_at > first, "its life is extended")
            return super().load(project_id, workspace)

    new_backend(state_manager=SlowStateManager(), timeout_seconds=15).start()


def test_a_call_outlives_the_sandboxs_time(server: E2BServer, new_backend: NewBackend, project_id: str) -> None:
    backend = new_backend(idle_timeout_seconds=None)
    backend.start()
    process = backend.workspace.start_process("echo begun; read line; echo $line")
    assert next(process.output()) == ("stdout", b"begun\n")
    (sandbox,) = of_project(server, project_id)
    sandbox.extend(-1)
    server.sandboxes.expire()
    until(lambda: backend.is_paused, "it is noticed")
    process.write(b"awake\n")
    assert [*process.output()] == [("stdout", b"awake\n")]
    assert sandbox.state == "running"


def test_a_lost_answer_to_create_leaves_no_second_sandbox(
    server: E2BServer, faults: Faults, new_backend: NewBackend, project_id: str
) -> None:
    faults.add(Fault("POST /v2/sandboxes", status=503, headers={"Retry-After": "0"}))
    new_backend().start()
    assert len(of_project(server, project_id)) == 1


def test_a_rate_limit_at_start_is_waited_for_as_the_server_asks(faults: Faults, new_backend: NewBackend) -> None:
    faults.add(Fault("POST /v2/sandboxes", status=429, headers={"Retry-After": "1"}))
    new_backend().start()
    asked = [each for each in faults.recorded if (each.method, each.path) == ("POST", "/v2/sandboxes")]
    assert asked[-1].headers["idempotency-key"] == asked[-2].headers["idempotency-key"]


def test_a_quota_that_is_used_up_is_said_so(faults: Faults, new_backend: NewBackend) -> None:
    faults.add(Fault("POST /v2/sandboxes", times=-1, status=429, headers={"Retry-After": "0"}))
    with pytest.raises(BackendStartError, match="E2B's rate limit or quota was reached; try again later"):
        new_backend().start()


def test_the_project_of_another_machine_is_in_use(new_backend: NewBackend, elsewhere: Callable[[], None]) -> None:
    first = new_backend()
    first.start()
    elsewhere()
    with pytest.raises(ProjectInUseError, match="by a process of another machine, in sandbox i"):
        new_backend().start()
    assert first.workspace.run("echo still").stdout == b"still\n"


def test_a_takeover_from_another_machine_ends_the_holder(
    new_backend: NewBackend, elsewhere: Callable[[], None]
) -> None:
    first = new_backend()
    first.start()
    first.workspace.write_bytes("a.txt", b"precious")
    elsewhere()
    second = new_backend(takeover=True)
    second.start()
    assert second.workspace.read_bytes("a.txt") == b"precious"
    with pytest.raises(BackendUnavailableError, match="another backend has taken the project over"):
        first.workspace.read_bytes("a.txt")
    first.shutdown()
    assert second.workspace.read_bytes("a.txt") == b"precious"


def test_of_two_machines_that_start_a_project_at_once_one_wins(
    server: E2BServer, project_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backends = []
    for number in range(2):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / f"machine {number}"))
        backends.append(E2BBackend(project_id))
    outcomes: list[OmniagentsError | None] = [None, None]
    barrier = threading.Barrier(2)

    def start(number: int) -> None:
        barrier.wait()
        try:
            backends[number].start()
        except OmniagentsError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=start, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = outcomes.index(None)
    assert isinstance(outcomes[1 - winner], ProjectInUseError)
    assert len(of_project(server, project_id)) == 1
    assert backends[winner].workspace.run("echo mine").stdout == b"mine\n"
    backends[winner].shutdown()


def test_the_sandbox_is_kept_alive_while_this_process_lives(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    backend = new_backend(timeout_seconds=15, idle_timeout_seconds=None)
    backend.start()
    (sandbox,) = of_project(server, project_id)
    first = sandbox.end_at
    until(lambda: sandbox.end_at > first, "its life is extended")


def test_an_idle_sandbox_is_saved_and_paused_and_the_next_call_resumes_it(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    state = KeepingStateManager()
    backend = new_backend(state_manager=state, idle_timeout_seconds=0.3, checkpoint_interval_seconds=None)
    backend.start()
    pid = int(backend.workspace.run("sleep 300 & echo $!").stdout)
    (sandbox,) = of_project(server, project_id)
    until(lambda: sandbox.state == "paused", "it is paused")
    assert state.attempts.get(timeout=1) == "before a pause"
    assert backend.workspace.run(f"kill -0 {pid} && echo lives").stdout == b"lives\n"
    assert sandbox.state == "running"


def test_an_idle_sandbox_is_ended_where_that_is_asked_for(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    state = KeepingStateManager()
    backend = new_backend(state_manager=state, idle_timeout_seconds=0.3, on_idle="kill")
    backend.start()
    backend.workspace.write_bytes("a.txt", b"x")
    until(lambda: backend.status == "stopped", "it is shut down")
    assert of_project(server, project_id) == []
    with new_backend(state_manager=state) as again:
        assert again.workspace.read_bytes("a.txt") == b"x"


def test_a_long_command_without_output_is_no_idleness(new_backend: NewBackend) -> None:
    backend = new_backend(idle_timeout_seconds=6.0)
    backend.start()
    assert backend.workspace.run("sleep 9; echo done").stdout == b"done\n"
    assert not backend.is_paused


def test_a_pause_ends_calls_under_way_and_keeps_what_they_started(new_backend: NewBackend) -> None:
    backend = new_backend()
    backend.start()
    process = backend.workspace.start_process("sleep 300")
    backend.pause()
    assert backend.is_paused
    with pytest.raises(OmniagentsError, match="paused"):
        process.wait()
    assert backend.workspace.run("echo again").stdout == b"again\n"


def test_a_paused_project_goes_on_after_its_process_died(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    first = new_backend()
    first.start()
    first.workspace.write_bytes("a.txt", b"never saved")
    first.pause()
    first._lease.release()  # as its death would have it
    with new_backend() as second:
        assert second.workspace.read_bytes("a.txt") == b"never saved"


def test_a_sandbox_whose_time_ran_out_is_resumed_by_the_next_start(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    first = new_backend()
    first.start()
    first.workspace.write_bytes("a.txt", b"never saved")
    (sandbox,) = of_project(server, project_id)
    sandbox.extend(-1)
    server.sandboxes.expire()
    assert sandbox.state == "paused"
    first._lease.release()
    with new_backend() as second:
        assert second.workspace.read_bytes("a.txt") == b"never saved"


def test_reap_kills_what_was_left_on_this_machine_and_nothing_that_has_an_owner(
    server: E2BServer, new_backend: NewBackend, project_id: str
) -> None:
    owned = new_backend(project_id=f"{project_id} owned")
    owned.start()
    owned.pause()
    left = new_backend()
    left.start()
    left.pause()
    left._lease.release()
    ours = lambda: [each.project_id for each in E2BBackend.reap() if each.project_id.startswith(project_id)]  # noqa: E731
    assert ours() == [project_id]
    assert len(of_project(server, project_id)) == 1
    E2BBackend.reap(dry_run=False)
    assert of_project(server, project_id) == []
    assert owned.workspace.run("echo here").stdout == b"here\n"


def test_the_sdks_own_sandbox_is_at_hand(new_backend: NewBackend) -> None:
    backend = new_backend()
    assert backend.sandbox is None
    with backend:
        assert isinstance(backend.sandbox, Sandbox)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout_seconds": 5}, "timeout_seconds is at least 15, not 5"),
        ({"on_idle": "nap"}, "on_idle is 'pause' or 'kill', not 'nap'"),
        ({"network": "lan"}, "network is 'internet', 'none' or a mapping of rules, not 'lan'"),
    ],
)
def test_options_that_make_no_sense_are_refused(new_backend: NewBackend, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        new_backend(**options)
    assert str(raised.value) == message
