"""Who has a project: between processes, between machines, and what is left when nobody has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from omniagents.errors import BackendUnavailableError, ProjectInUseError
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine
from omniagents_docker.naming import container_name
from omniagents_docker.reaper import find_orphans, reap

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


def other_process(project_id: str, address: str, data: Path) -> subprocess.Popen[str]:
    """A process like one on another machine: what leases it has are not ours."""
    environment = {**os.environ, "XDG_DATA_HOME": str(data)}
    argv = [sys.executable, "-c", _STARTS, project_id, address]
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


def orphans_of(engine: Engine, project_id: str) -> list[str]:
    return [orphan.kind for orphan in find_orphans(engine) if orphan.project_id == project_id]


def test_what_a_living_backend_has_is_no_orphan(new_backend: NewBackend, engine: Engine, project_id: str) -> None:
    new_backend().start()
    assert orphans_of(engine, project_id) == []


def test_what_lives_on_another_machine_is_no_orphan(
    new_backend: NewBackend, engine: Engine, project_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new_backend().start()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert orphans_of(engine, project_id) == []


def test_what_a_killed_process_left_is_an_orphan_and_reaped_only_when_asked(
    engine: Engine, project_id: str, engine_address: str, tmp_path: Path
) -> None:
    process = other_process(project_id, engine_address, tmp_path)
    say(process)
    assert heard(process) == "started"
    process.kill()
    process.communicate()
    assert orphans_of(engine, project_id) == ["container"]
    reap(engine)
    assert engine.inspect(container_name(project_id)) is not None
    assert project_id in {orphan.project_id for orphan in reap(engine, dry_run=False)}
    assert engine.inspect(container_name(project_id)) is None
    assert not engine.has_volume(container_name(project_id))


def test_a_workspace_without_a_container_is_an_orphan(new_backend: NewBackend, engine: Engine, project_id: str) -> None:
    backend = new_backend()
    backend.start()
    backend.release()
    assert orphans_of(engine, project_id) == ["volume"]
