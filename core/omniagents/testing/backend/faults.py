"""What dies under a running backend: its guest, or the environment."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import BackendUnavailableError, GuestDiedError
from omniagents.testing._keeping import KeepingStateManager
from omniagents.testing._support import BackendTests, alive, status_of, until

__all__ = ["FaultTests"]

MakeBackend = Callable[..., Backend]

# The parent of a command is the guest.
_KILL_GUEST = "kill -9 $PPID; sleep 300"
# Its number, and when it started: where each guest has a process namespace of its own, all have the same number.
_WHICH_GUEST = "echo $PPID $(cut -d' ' -f22 /proc/$PPID/stat 2>/dev/null)"


class FaultTests(BackendTests):
    """Nothing hangs, nothing is left behind, and the error tells a dead guest from a dead environment."""

    def test_a_guest_killed_during_a_call_is_an_error_and_the_next_call_works(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            backend.workspace.write_bytes("a.txt", b"kept")
            with pytest.raises(GuestDiedError, match="next call works"):
                backend.workspace.run(_KILL_GUEST)
            assert status_of(backend) == "running"
            assert backend.workspace.read_bytes("a.txt") == b"kept"
            assert backend.workspace.run("echo on").stdout == b"on\n"

    def test_everything_a_killed_guest_had_started_is_gone(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            earlier = backend.workspace.run("sleep 300 & echo $!").background_pids
            with pytest.raises(GuestDiedError):
                backend.workspace.run(f"setsid sleep 300 & echo $! $$ > pids; {_KILL_GUEST}")
            pids = [*earlier, *map(int, backend.workspace.read_bytes("pids").split())]
            until(lambda: not alive(backend, *pids), "what the guest had started is gone")

    def test_all_calls_under_way_end_when_the_guest_is_killed(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            ended: list[type[BaseException]] = []

            def wait_long(number: int) -> None:
                try:
                    backend.workspace.run(f"touch started{number}; sleep 300")
                except GuestDiedError as error:
                    ended.append(type(error))

            threads = [threading.Thread(target=wait_long, args=(number,)) for number in range(5)]
            for thread in threads:
                thread.start()
            until(lambda: len(backend.workspace.list()) == 5, "all commands run")
            with pytest.raises(GuestDiedError):
                backend.workspace.run(_KILL_GUEST)
            for thread in threads:
                thread.join(30)
            assert ended == [GuestDiedError] * 5

    def test_a_guest_killed_while_nothing_is_asked_of_it_is_replaced(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            backend.workspace.write_bytes("a.txt", b"kept")
            guest = backend.workspace.run(_WHICH_GUEST).stdout
            backend.workspace.run(f"(sleep 0.1; kill -9 {guest.split()[0].decode()}) > /dev/null 2>&1 &")

            def is_replaced() -> bool:
                try:
                    return backend.workspace.run(_WHICH_GUEST).stdout != guest
                except GuestDiedError:
                    return False

            until(is_replaced, "another guest answers")
            assert backend.workspace.read_bytes("a.txt") == b"kept"

    def test_guests_may_die_again_and_again(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            for number in range(3):
                with pytest.raises(GuestDiedError):
                    backend.workspace.run(_KILL_GUEST)
                backend.workspace.write_bytes(f"{number}", b"x")
            assert [entry.path for entry in backend.workspace.list()] == ["0", "1", "2"]

    def test_after_a_guest_died_the_workspace_is_still_saved(self, make_backend: MakeBackend) -> None:
        state = KeepingStateManager()
        with make_backend(state_manager=state) as backend:
            backend.workspace.write_bytes("a.txt", b"kept")
            with pytest.raises(GuestDiedError):
                backend.workspace.run(_KILL_GUEST)
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.read_bytes("a.txt") == b"kept"

    def test_an_environment_destroyed_under_a_backend_is_unavailable_until_it_is_started_again(
        self, make_backend: MakeBackend
    ) -> None:
        backend = make_backend()
        backend.start()
        backend.workspace.write_bytes("a.txt", b"lost")
        backend._destroy()
        with pytest.raises(BackendUnavailableError) as raised:
            backend.workspace.run(_KILL_GUEST, cwd="/", outside=True)
        assert not isinstance(raised.value, GuestDiedError)
        assert status_of(backend) == "failed"
        with pytest.raises(BackendUnavailableError):
            backend.workspace.run("echo on")
        backend.start()
        assert status_of(backend) == "running"
        assert backend.workspace.list() == []
        assert backend.workspace.run("echo on").stdout == b"on\n"

    def test_a_call_under_way_ends_when_the_environment_is_destroyed(self, make_backend: MakeBackend) -> None:
        backend = make_backend()
        backend.start()
        ended: list[type[BaseException]] = []

        def wait_long() -> None:
            try:
                backend.workspace.run("touch started; sleep 300")
            except BackendUnavailableError as error:
                ended.append(type(error))

        thread = threading.Thread(target=wait_long)
        thread.start()
        until(lambda: backend.workspace.exists("started"), "the command runs")
        backend._destroy()
        with pytest.raises(BackendUnavailableError):
            backend.workspace.run(_KILL_GUEST, cwd="/", outside=True)
        thread.join(30)
        assert ended == [BackendUnavailableError]

    def test_shutting_down_after_the_environment_is_gone_ends_the_session(self, make_backend: MakeBackend) -> None:
        state = KeepingStateManager()
        backend = make_backend(state_manager=state)
        backend.start()
        backend.workspace.write_bytes("a.txt", b"kept")
        saved = backend.checkpoint()
        backend._destroy()
        with pytest.raises(BackendUnavailableError):
            backend.workspace.run(_KILL_GUEST, cwd="/", outside=True)
        backend.shutdown()
        assert status_of(backend) == "stopped"
        assert state.history(backend.project_id) == [saved]
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.read_bytes("a.txt") == b"kept"

    def test_destroying_twice_is_destroying_once(self, make_backend: MakeBackend) -> None:
        backend = make_backend()
        backend.start()
        backend._destroy()
        backend._destroy()

    def test_what_a_command_prints_is_never_taken_for_an_answer(self, make_backend: MakeBackend) -> None:
        forged = b'\0\0\0\x1f\0\0\0\0{"type":"reply","id":1,"value":{}}' * 1000
        with make_backend() as backend:
            backend.workspace.write_bytes("forged", forged)
            assert backend.workspace.run("cat forged; cat forged >&2").stdout == forged
            assert backend.workspace.run("echo on").stdout == b"on\n"
