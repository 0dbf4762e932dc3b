"""Who has a project: between processes, between machines, and what is left when nobody has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omniagents.errors import BackendUnavailableError, ProjectInUseError
from omniagents.testing import BackendFactory
from omniagents_docker import ending, holding
from omniagents_docker.backend import DockerBackend
from omniagents_docker.container import make_container
from omniagents_docker.engine import Engine
from omniagents_docker.naming import LABEL_HOST, LABEL_PROJECT, NETWORK, claim_of, container_name, labels_of
from omniagents_docker.network import ensure_network
from omniagents_docker.reaper import Orphan, find_orphans, reap

pytestmark = pytest.mark.service

NewBackend = Callable[..., DockerBackend]

_STARTS = """
import sys
from omniagents.errors import ProjectInUseError
from omniagents_docker.backend import DockerBackend
backend = DockerBackend(sys.argv[1], docker_host=sys.argv[2], image="omniagents-test:python")
sys.stdin.readline()
try:
    backend.start()
    print("started", flush=True)
except ProjectInUseError as error:
    print("refused:", error, flush=True)
sys.stdin.readline()
backend.shutdown()
"""


def other_process(project_id: str, address: str, data: Path, program: str = _STARTS) -> subprocess.Popen[str]:
    """A process like one on another machine: what leases it has are not ours."""
    environment = {**os.environ, "XDG_DATA_HOME": str(data)}
    argv = [sys.executable, "-c", program, project_id, address]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("has_leases_in_common", [True, False])
def test_of_two_that_start_a_project_at_once_exactly_one_wins(
    project_id: str, engine_address: str, tmp_path: Path, has_leases_in_common: bool
) -> None:
    homes = ["one", "one" if has_leases_in_common else "two"]
    processes = [other_process(project_id, engine_address, tmp_path / home) for home in homes]
    for process in processes:
        say(process)
    answers = sorted(heard(process) for process in processes)
    for process in processes:
        process.communicate("\n")
    assert answers[1] == "started"
    assert answers[0].startswith(f"refused: project {project_id!r} is")
    assert "DockerBackend(project_id=" in answers[0]
    assert "in process" in answers[0]


def test_a_container_that_is_removed_while_it_is_claimed_is_made_anew(
    new_backend: NewBackend, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = new_backend()
    first.start()
    first.workspace.write_bytes("kept", b"1")
    first.release()  # the volume stays
    assert first._settings is not None
    engine, name = first._engine(), container_name(project_id)
    make_container(engine, first._settings, name, name, {**labels_of(str(first)), LABEL_PROJECT: project_id})
    rename = Engine.rename

    def removed_before(self: Engine, container: str, wanted: str) -> None:
        monkeypatch.undo()
        engine.remove(container)
        rename(self, container, wanted)

    monkeypatch.setattr(Engine, "rename", removed_before)
    with new_backend() as second:
        assert second.workspace.read_bytes("kept") == b"1"


def test_a_project_held_on_another_machine_is_refused_and_can_be_taken_over(
    new_backend: NewBackend, project_id: str, engine_address: str, tmp_path: Path
) -> None:
    other = other_process(project_id, engine_address, tmp_path)
    say(other)
    assert heard(other) == "started"
    with pytest.raises(ProjectInUseError, match=rf"is in use by DockerBackend\(.*in process {other.pid} on "):
        new_backend().start()
    ours = new_backend(takeover=True)
    ours.start()
    other.communicate("\n")
    assert ours.workspace.run("echo ours").stdout == b"ours\n"


def test_who_was_taken_over_is_told(new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = new_backend()
    first.start()
    first.workspace.write_bytes("work.txt", b"unsaved")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    second = new_backend(takeover=True)
    second.start()
    with pytest.raises(BackendUnavailableError):
        first.workspace.run("true")
    first.shutdown()
    assert second.workspace.read_bytes("work.txt") == b"unsaved"


def kinds(orphans: list[Orphan]) -> list[str]:
    return [orphan.kind for orphan in orphans]


def test_what_a_living_backend_has_is_no_orphan(new_backend: NewBackend, only_project: Engine) -> None:
    new_backend().start()
    assert find_orphans(only_project) == []


@pytest.mark.parametrize("is_paused", [False, True])
def test_what_lives_on_another_machine_is_no_orphan(
    new_backend: NewBackend,
    only_project: Engine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_paused: bool,
) -> None:
    monkeypatch.setattr(ending, "_PATIENCE_SECONDS", 0.2)
    backend = new_backend()
    backend.start()
    if is_paused:
        backend.pause()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert find_orphans(only_project, every_machine=True) == []


def test_a_paused_project_is_in_use_on_another_machine(
    new_backend: NewBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = new_backend()
    first.start()
    first.pause()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_DATA_HOME", str(tmp_path))
        with pytest.raises(ProjectInUseError, match="is paused by DockerBackend"):
            new_backend().start()
    first.resume()
    assert first.workspace.run("echo mine").stdout == b"mine\n"


_PAUSES = _STARTS.replace('print("started"', 'backend.pause(); print("started"')


@pytest.fixture
def killed(project_id: str, engine_address: str, homes: Path, request: pytest.FixtureRequest) -> None:
    """A process of this machine, or another, that has started the project and was killed."""
    place, program = getattr(request, "param", ("here", _STARTS))
    data = homes / "xdg_data_home" if place == "here" else homes / "elsewhere"
    process = other_process(project_id, engine_address, data, program)
    say(process)
    assert heard(process) == "started"
    process.kill()
    process.communicate()


@pytest.mark.parametrize("killed", [("here", _STARTS), ("here", _PAUSES)], indirect=True, ids=["running", "paused"])
def test_what_a_killed_process_left_is_an_orphan_and_reaped_only_when_asked(
    killed: None, only_project: Engine, project_id: str
) -> None:
    assert kinds(find_orphans(only_project)) == ["container"]
    assert kinds(reap(only_project)) == ["container"]
    assert only_project.has_volume(container_name(project_id))
    assert kinds(reap(only_project, dry_run=False)) == ["container"]
    assert find_orphans(only_project) == []
    assert not only_project.has_volume(container_name(project_id))


@pytest.mark.parametrize("killed", [("here", _PAUSES)], indirect=True)
def test_a_paused_project_of_a_process_that_was_killed_is_free(killed: None, new_backend: NewBackend) -> None:
    backend = new_backend()
    backend.start()
    assert backend.workspace.run("echo mine").stdout == b"mine\n"


@pytest.mark.parametrize("killed", [("elsewhere", _STARTS)], indirect=True)
def test_what_another_machine_left_is_reaped_only_on_the_word_that_it_is_gone(
    killed: None, only_project: Engine
) -> None:
    assert find_orphans(only_project) == []
    assert kinds(reap(only_project, dry_run=False, every_machine=True)) == ["container"]
    assert find_orphans(only_project, every_machine=True) == []


def test_a_workspace_without_a_container_is_an_orphan(new_backend: NewBackend, only_project: Engine) -> None:
    backend = new_backend()
    backend.start()
    backend.release()
    assert kinds(find_orphans(only_project)) == ["volume"]


@pytest.fixture
def claimed(backend_factory: BackendFactory, engine: Engine, project_id: str) -> Iterator[str]:
    """A container whose maker died before it had prepared it, with work in its volume; its id."""
    first = backend_factory(project_id=project_id)
    assert isinstance(first, DockerBackend)
    first.start()
    first.workspace.write_bytes("work.txt", b"unsaved")
    first.release()
    settings = first._settings
    assert settings is not None
    name = claim_of(container_name(project_id))
    labels = {**labels_of("somebody"), LABEL_PROJECT: project_id, LABEL_HOST: "another machine"}
    made = make_container(engine, settings, name, container_name(project_id), labels)
    engine.start(made.id)
    yield made.id
    engine.remove(made.id)
    engine.remove_volume(made.volume)


def test_a_claim_of_a_process_that_died_elsewhere_is_given_up_in_the_end(
    claimed: str, new_backend: NewBackend, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_CLAIM_SECONDS", 0.3)
    second = new_backend()
    second.start()
    assert second.workspace.read_bytes("work.txt") == b"unsaved"
    assert engine.inspect(claimed) is None


def test_a_container_that_was_never_prepared_is_not_used(claimed: str, new_backend: NewBackend) -> None:
    backend = new_backend(takeover=True)
    backend.start()
    connect = "import socket; socket.create_connection(('169.254.169.254', 80), timeout=3)"
    assert b"PermissionError" in backend.workspace.run(["python3", "-c", connect]).stderr


def test_a_claim_that_somebody_holds_is_being_started(
    claimed: str, new_backend: NewBackend, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_PATIENCE_SECONDS", 0.1)
    stream = engine.open(claimed, ["sleep", "300"], user="1000:1000", end=lambda exec_id: None)
    with pytest.raises(ProjectInUseError, match="is being started by somebody in process"):
        new_backend().start()
    stream.close()


def test_two_networks_that_were_made_at_once_become_one(new_backend: NewBackend, engine: Engine) -> None:
    ensure_network(engine)
    engine._client.create_network(NETWORK)  # as two do at the same moment: without a look whether there is one
    new_backend().start()
    assert len(engine.networks(NETWORK)) == 1
