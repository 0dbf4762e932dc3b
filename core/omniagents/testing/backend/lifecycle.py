"""From ``start()`` to ``shutdown()``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError, OmniagentsError, StateCorruptError
from omniagents.testing._keeping import KeepingStateManager
from omniagents.testing._support import BackendTests, status_of, until

__all__ = ["LifecycleTests"]

MakeBackend = Callable[..., Backend]


class LifecycleTests(BackendTests):
    """Status, starting and ending, and what may not be done in between."""

    def test_the_status_tells_where_in_its_life_a_backend_is(self, make_backend: MakeBackend) -> None:
        backend = make_backend()
        assert status_of(backend) == "uninitialized"
        backend.start()
        assert status_of(backend) == "running"
        backend.shutdown()
        assert status_of(backend) == "stopped"

    def test_the_project_id_is_kept_as_given(self, make_backend: MakeBackend) -> None:
        assert make_backend(project_id="Ä b/c").project_id == "Ä b/c"

    def test_the_workspace_cannot_be_used_before_start_and_the_error_says_what_to_do(
        self, make_backend: MakeBackend
    ) -> None:
        with pytest.raises(BackendNotStartedError, match=r"start\(\)"):
            _ = make_backend().workspace

    def test_the_workspace_cannot_be_used_after_shutdown(self, make_backend: MakeBackend) -> None:
        backend = make_backend()
        backend.start()
        workspace = backend.workspace
        backend.shutdown()
        with pytest.raises(BackendNotStartedError):
            _ = backend.workspace
        with pytest.raises(BackendNotStartedError):
            workspace.read_bytes("a.txt")

    def test_a_new_workspace_is_empty_for_whoever_lists_it(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            assert backend.workspace.list() == []

    def test_starting_twice_changes_nothing(self, make_backend: MakeBackend) -> None:
        backend = make_backend()
        backend.start()
        backend.workspace.write_bytes("a.txt", b"kept")
        backend.start()
        assert status_of(backend) == "running"
        assert backend.workspace.read_bytes("a.txt") == b"kept"

    def test_shutting_down_twice_changes_nothing(self, make_backend: MakeBackend) -> None:
        state = KeepingStateManager()
        backend = make_backend(state_manager=state)
        backend.start()
        backend.workspace.write_bytes("a.txt", b"kept")
        backend.shutdown()
        backend.shutdown()
        assert status_of(backend) == "stopped"
        assert len(state.history(backend.project_id)) == 1

    def test_shutting_down_what_never_started_changes_nothing(self, make_backend: MakeBackend) -> None:
        backend = make_backend()
        backend.shutdown()
        assert status_of(backend) == "uninitialized"

    def test_a_backend_can_be_started_again(self, make_backend: MakeBackend) -> None:
        backend = make_backend(state_manager=KeepingStateManager())
        backend.start()
        backend.workspace.write_bytes("a.txt", b"kept")
        backend.shutdown()
        backend.start()
        assert backend.workspace.read_bytes("a.txt") == b"kept"
        assert backend.workspace.run("cat a.txt").stdout == b"kept"

    def test_a_with_statement_starts_and_shuts_down(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            assert status_of(backend) == "running"
        assert status_of(backend) == "stopped"

    def test_an_exception_in_a_with_statement_passes_and_the_workspace_is_saved(
        self, make_backend: MakeBackend
    ) -> None:
        state = KeepingStateManager()
        with pytest.raises(ZeroDivisionError), make_backend(state_manager=state) as backend:  # noqa: PT012
            backend.workspace.write_bytes("a.txt", b"kept")
            raise ZeroDivisionError
        assert status_of(backend) == "stopped"
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.read_bytes("a.txt") == b"kept"

    def test_the_async_twins_do_the_same(self, make_backend: MakeBackend) -> None:
        state = KeepingStateManager()

        async def use() -> None:
            async with make_backend(state_manager=state) as backend:
                await backend.workspace.awrite_bytes("a.txt", b"kept")
                snapshot = await backend.acheckpoint("from async")
                assert snapshot is not None
                assert snapshot.message == "from async"
            assert status_of(backend) == "stopped"
            await backend.astart()
            assert await backend.workspace.aread_bytes("a.txt") == b"kept"
            await backend.ashutdown(save=False)
            assert status_of(backend) == "stopped"

        asyncio.run(use())

    def test_an_exception_in_an_async_with_statement_passes_and_the_workspace_is_saved(
        self, make_backend: MakeBackend
    ) -> None:
        state = KeepingStateManager()

        async def use() -> None:
            async with make_backend(state_manager=state) as backend:
                await backend.workspace.awrite_bytes("a.txt", b"kept")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            asyncio.run(use())
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.read_bytes("a.txt") == b"kept"

    def test_a_start_that_cannot_load_leaves_the_project_free_and_another_start_possible(
        self, make_backend: MakeBackend
    ) -> None:
        state = KeepingStateManager()
        state.loads_fail = StateCorruptError("the latest snapshot is damaged")
        backend = make_backend(state_manager=state)
        with pytest.raises(StateCorruptError, match="the latest snapshot is damaged"):
            backend.start()
        assert status_of(backend) == "failed"
        with pytest.raises(BackendNotStartedError):
            _ = backend.workspace
        state.loads_fail = None
        with make_backend(state_manager=state) as other:
            assert other.workspace.list() == []

    def test_a_call_under_way_ends_when_its_backend_is_shut_down(self, make_backend: MakeBackend) -> None:
        backend = make_backend()
        backend.start()
        ended: list[BaseException | None] = []

        def wait_long() -> None:
            try:
                backend.workspace.run("touch started; sleep 300")
            except OmniagentsError as error:
                ended.append(error)

        thread = threading.Thread(target=wait_long)
        thread.start()
        until(lambda: backend.workspace.exists("started"), "the command runs")
        backend.shutdown()
        thread.join(30)
        assert [type(error) for error in ended] == [BackendNotStartedError]
