"""Whole host processes on one bucket: many at once, and killed at any moment."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.faults import Fault

from omniagents_gcs.state_manager import GCSStateManager

sys.path.insert(0, str(Path(__file__).parents[2] / "omniagents-snapshot" / "tests"))

from snapshot_support.local_tree import LocalTree, as_workspace

pytestmark = [pytest.mark.service, pytest.mark.slow]

SESSIONS, SAVES = 8, 3


@pytest.fixture(autouse=True)
def _bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_OMNIAGENTS", "sessions")


def started(stack: ExitStack, module: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of this Python that runs a module of these tests."""
    folders = [Path(__file__).parent, Path(__file__).parents[2] / "omniagents-snapshot" / "tests"]
    path = os.pathsep.join([*map(str, folders), *sys.path])
    command = [sys.executable, "-m", f"gcs_support.{module}", *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    return stack.enter_context(process)


def run_sessions(projects: Sequence[str]) -> None:
    """One session for each project named, all at once."""
    with ExitStack() as stack:
        sessions = [
            started(stack, "session", project, f"session{number}", str(SAVES))
            for number, project in enumerate(projects)
        ]
        for session in sessions:
            assert session.stdout is not None
            assert session.stdout.readline() == "ready\n"
        for session in sessions:
            assert session.stdin is not None
            session.stdin.write("go\n")
            session.stdin.flush()
        assert [session.wait() for session in sessions] == [0] * len(projects)


def loaded(project_id: str, folder: Path) -> dict[str, str]:
    """The latest snapshot's files; everything stored for the project is sound."""
    manager = GCSStateManager()
    assert manager.check(project_id, read_data=True).problems == ()
    tree = LocalTree(folder)
    manager.load(project_id, as_workspace(tree))
    return {path.name: path.read_bytes().decode("latin-1") for path in tree.root.iterdir()}


@pytest.mark.parametrize("where", ["emulator", "server"])
def test_eight_sessions_of_one_project_lose_nothing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, where: str, tmp_path: Path
) -> None:
    found = request.getfixturevalue(where)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", found.url if isinstance(found, FaultServer) else found)
    run_sessions(["shared"] * SESSIONS)
    names = [(session, save) for session in range(SESSIONS) for save in range(SAVES)]
    assert loaded("shared", tmp_path / "loaded") == {
        f"session{session}-{save}": f"session{session} {save}" for session, save in names
    }
    messages = {snapshot.message for snapshot in GCSStateManager().history("shared")}
    assert messages == {f"session{session} {save}" for session, save in names}


def test_eight_sessions_of_eight_projects_do_not_disturb_each_other(server: FaultServer, tmp_path: Path) -> None:
    projects = [f"project {number}" for number in range(SESSIONS)]
    run_sessions(projects)
    for number, project in enumerate(projects):
        assert sorted(loaded(project, tmp_path / project)) == [f"session{number}-{save}" for save in range(SAVES)]
        assert len(GCSStateManager().history(project)) == SAVES


def test_eight_sessions_survive_a_network_that_loses_answers(server: FaultServer, tmp_path: Path) -> None:
    server.faults.every = 9
    server.faults.recurring = [Fault("lost"), Fault("dropped"), Fault("status", status=429, reason="rateLimitExceeded")]
    run_sessions(["shared"] * 4)
    assert len(loaded("shared", tmp_path / "loaded")) == 4 * SAVES


@pytest.mark.parametrize("ten", range(10))
def test_a_host_killed_at_ten_random_moments_never_damages_what_was_saved(
    server: FaultServer, tmp_path: Path, ten: int
) -> None:
    server.latency_seconds = 0.003  # so that many of the moments are between a request and its answer
    last = -1
    with ExitStack() as stack:
        hosts = started(stack, "killed")
        assert hosts.stdin is not None
        assert hosts.stdout is not None
        for number in range(10):
            hosts.stdin.write(f"alice {random.uniform(0.05, 0.5)}\n")
            hosts.stdin.flush()
            answer = hosts.stdout.readline().strip()
            last = last if answer == "none" else int(answer)
            files = loaded("alice", tmp_path / str(number))
            latest = int(files.get("latest", -1))
            # The last save may have taken effect although its host was killed before it could say so.
            assert latest >= last
            kept = range(max(0, latest - 9), latest + 1)
            assert [files[f"file{number % 10}"].partition("\n")[0] for number in kept] == [
                str(number) for number in kept
            ]
            last = latest
        hosts.stdin.close()
        assert hosts.wait() == 0
    assert last > 0
