"""A state manager under a backend: from one session to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.testing._support import StateManagerFactory, discard
from omniagents.testing.state.base import StateTests, make_local_backend

__all__ = ["SessionTests"]

MakeSession = Callable[[], LocalBackend]


class SessionTests(StateTests):
    """Each session has a manager and an environment of its own."""

    @pytest.fixture
    def session(
        self, state_manager_factory: StateManagerFactory, project_id: str, tmp_path: Path
    ) -> Iterator[MakeSession]:
        made: list[LocalBackend] = []

        def make() -> LocalBackend:
            made.append(make_local_backend(tmp_path, project_id, state_manager=state_manager_factory()))
            return made[-1]

        yield make
        for backend in made:
            discard(backend)
        state_manager_factory().delete(project_id)

    def test_the_next_session_finds_the_files_of_the_last(self, session: MakeSession) -> None:
        with session() as backend:
            backend.workspace.run("mkdir -p src; echo 'print(1)' > src/a.py; chmod 755 src/a.py; ln -s src/a.py run")
        with session() as backend:
            assert backend.workspace.run("cat run; test -x src/a.py").stdout == b"print(1)\n"

    def test_what_was_removed_stays_removed(self, session: MakeSession) -> None:
        with session() as backend:
            backend.workspace.write_bytes("old.txt", b"x")
            backend.workspace.write_bytes("kept.txt", b"x")
        with session() as backend:
            backend.workspace.remove("old.txt")
        with session() as backend:
            assert [entry.path for entry in backend.workspace.list()] == ["kept.txt"]

    def test_an_exception_does_not_cost_the_work_before_it(self, session: MakeSession) -> None:
        with pytest.raises(ZeroDivisionError), session() as backend:  # noqa: PT012
            backend.workspace.write_bytes("a.txt", b"x")
            raise ZeroDivisionError
        with session() as backend:
            assert backend.workspace.read_bytes("a.txt") == b"x"

    def test_a_session_without_changes_adds_nothing_to_the_history(
        self, session: MakeSession, state_manager_factory: StateManagerFactory, project_id: str
    ) -> None:
        with session() as backend:
            backend.workspace.write_bytes("a.txt", b"x")
        with session() as backend:
            backend.workspace.read_bytes("a.txt")
        assert len(state_manager_factory().history(project_id)) == 1

    def test_a_checkpoint_is_there_even_if_the_session_is_discarded(self, session: MakeSession) -> None:
        backend = session()
        backend.start()
        backend.workspace.write_bytes("a.txt", b"x")
        snapshot = backend.checkpoint("by hand")
        backend.workspace.write_bytes("b.txt", b"x")
        backend.shutdown(save=False)
        with session() as backend:
            assert backend.snapshot == snapshot
            assert [entry.path for entry in backend.workspace.list()] == ["a.txt"]

    def test_a_session_can_go_back_and_the_next_one_stays_there(self, session: MakeSession) -> None:
        with session() as backend:
            backend.workspace.write_bytes("a.txt", b"1")
            first = backend.checkpoint("one")
            backend.workspace.write_bytes("a.txt", b"2")
        assert first is not None
        with session() as backend:
            assert backend.workspace.read_bytes("a.txt") == b"2"
            backend.restore(first.id)
        with session() as backend:
            assert backend.workspace.read_bytes("a.txt") == b"1"
