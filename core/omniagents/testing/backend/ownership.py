"""One living backend owns a project."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import BackendError, ProjectInUseError
from omniagents.testing._keeping import KeepingStateManager
from omniagents.testing._killed_host import in_a_killed_host
from omniagents.testing._support import BackendFactory, BackendTests, alive, until

__all__ = ["OwnershipTests"]

MakeBackend = Callable[..., Backend]


class OwnershipTests(BackendTests):
    """Two backends of one project, and what becomes of a dead owner's."""

    def test_a_second_backend_of_a_running_project_is_refused_and_told_who_holds_it(
        self, make_backend: MakeBackend, project_id: str
    ) -> None:
        with make_backend() as first:
            first.workspace.write_bytes("a.txt", b"x")
            second = make_backend()
            with pytest.raises(ProjectInUseError) as raised:
                second.start()
            assert project_id in str(raised.value)
            assert str(os.getpid()) in str(raised.value)
            assert "takeover=True" in str(raised.value)
            second.shutdown()
            assert first.workspace.read_bytes("a.txt") == b"x"

    def test_a_project_is_free_again_after_shutdown(self, make_backend: MakeBackend) -> None:
        with make_backend():
            pass
        with make_backend() as second:
            assert second.status == "running"

    def test_other_projects_run_beside_it(self, make_backend: MakeBackend, project_id: str) -> None:
        with make_backend() as first, make_backend(project_id=project_id + " other") as second:
            first.workspace.write_bytes("a.txt", b"x")
            assert second.workspace.list() == []

    def test_a_takeover_takes_the_project_from_its_holder(self, make_backend: MakeBackend) -> None:
        state = KeepingStateManager()
        make_backend(state_manager=state).start()
        second = make_backend(state_manager=state, takeover=True)
        second.start()
        second.workspace.write_bytes("mine.txt", b"x")
        assert second.workspace.run("cat mine.txt").stdout == b"x"

    def test_a_backend_that_was_taken_over_leaves_the_new_holder_alone(self, make_backend: MakeBackend) -> None:
        state = KeepingStateManager()
        first = make_backend(state_manager=state)
        first.start()
        second = make_backend(state_manager=state, takeover=True)
        second.start()
        second.workspace.write_bytes("mine.txt", b"x")
        with contextlib.suppress(BackendError):
            first.shutdown()
        assert second.workspace.read_bytes("mine.txt") == b"x"
        assert second.workspace.run("cat mine.txt").stdout == b"x"
        third = make_backend(state_manager=state)
        with pytest.raises(ProjectInUseError):
            third.start()

    def test_a_workspace_outlives_a_host_process_that_was_killed(
        self, backend_factory: BackendFactory, make_backend: MakeBackend, project_id: str
    ) -> None:
        state = KeepingStateManager()
        in_a_killed_host(partial(backend_factory, project_id=project_id), _write_and_do_not_save)
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.read_bytes("never-saved.txt") == b"precious"

    def test_what_a_killed_host_had_started_ends(
        self, backend_factory: BackendFactory, make_backend: MakeBackend, project_id: str
    ) -> None:
        in_a_killed_host(partial(backend_factory, project_id=project_id), _start_something)
        with make_backend() as backend:
            pid = int(backend.workspace.read_bytes("pid"))
            until(lambda: not alive(backend, pid), "the process of the killed session ends")


def _write_and_do_not_save(make: Callable[[], Backend]) -> None:
    backend = make()
    backend.start()
    backend.workspace.write_bytes("never-saved.txt", b"precious")


def _start_something(make: Callable[[], Backend]) -> None:
    backend = make()
    backend.start()
    backend.workspace.run("sleep 300 & echo $! > pid")
