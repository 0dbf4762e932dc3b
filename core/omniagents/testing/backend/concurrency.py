"""Many calls at once, and calls that are given up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import WriteConflictError
from omniagents.testing._support import BackendTests, alive, until
from omniagents.workspace import Workspace

__all__ = ["ConcurrencyTests"]

_AT_ONCE = 50


class ConcurrencyTests(BackendTests):
    """No call gets another's answer, waits for one that is slow, or outlives its caller."""

    def test_fifty_commands_at_once_from_threads_each_get_their_own_answer(self, workspace: Workspace) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            results = list(pool.map(lambda n: workspace.run(f"cat; exit {n}", input=b"%d" % n), range(_AT_ONCE)))
        assert [(result.stdout, result.exit_code) for result in results] == [(b"%d" % n, n) for n in range(_AT_ONCE)]

    def test_fifty_commands_at_once_from_asyncio_each_get_their_own_answer(self, workspace: Workspace) -> None:
        async def run_all() -> list[tuple[bytes, int]]:
            results = await asyncio.gather(*(workspace.arun(f"echo {n}; exit {n}") for n in range(_AT_ONCE)))
            return [(result.stdout, result.exit_code) for result in results]

        assert asyncio.run(run_all()) == [(b"%d\n" % n, n) for n in range(_AT_ONCE)]

    def test_fifty_files_at_once_are_written_and_read_from_asyncio(self, workspace: Workspace) -> None:
        async def write_and_read(number: int) -> bytes:
            await workspace.awrite_bytes(f"dir{number % 5}/{number}.bin", bytes([number]) * 50_000)
            return await workspace.aread_bytes(f"dir{number % 5}/{number}.bin")

        async def all_of_them() -> list[bytes]:
            return await asyncio.gather(*map(write_and_read, range(_AT_ONCE)))

        assert asyncio.run(all_of_them()) == [bytes([number]) * 50_000 for number in range(_AT_ONCE)]

    def test_a_quick_call_does_not_wait_for_slow_ones(self, workspace: Workspace) -> None:
        async def overtake() -> None:
            slow = [asyncio.ensure_future(workspace.arun("cat > /dev/null; sleep 300")) for _ in range(20)]
            assert (await workspace.arun("echo quick")).stdout == b"quick\n"
            assert await workspace.aexists(".")
            assert not any(call.done() for call in slow)
            for call in slow:
                call.cancel()
            await asyncio.gather(*slow, return_exceptions=True)

        asyncio.run(overtake())

    def test_compare_and_swap_loses_no_increment(self, workspace: Workspace) -> None:
        workspace.write_bytes("counter", b"0")

        def increment() -> None:
            while True:
                before = workspace.read_bytes("counter")
                try:
                    after = b"%d" % (int(before) + 1)
                    workspace.write_bytes("counter", after, expected_sha256=workspace.sha256(before))
                    return
                except WriteConflictError:
                    continue

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(increment) for _ in range(40)]:
                done.result()
        assert workspace.read_bytes("counter") == b"40"

    def test_of_many_who_create_a_file_exactly_one_succeeds(self, workspace: Workspace) -> None:
        def create(number: int) -> bool:
            try:
                workspace.write_bytes("once", b"%d" % number, expected_sha256="absent")
            except WriteConflictError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(create, range(16)))
        assert outcomes.count(True) == 1
        assert workspace.read_bytes("once") == b"%d" % outcomes.index(True)

    def test_a_reader_sees_the_old_or_the_new_content_never_a_part(self, workspace: Workspace) -> None:
        contents = {letter * (1 << 20) for letter in (b"a", b"b")}
        workspace.write_bytes("file", b"a" * (1 << 20))

        async def write_and_read() -> list[bytes]:
            async def write() -> None:
                for content in sorted(contents) * 5:
                    await workspace.awrite_bytes("file", content)

            writing = asyncio.create_task(write())
            seen = []
            while not writing.done():
                seen.append(await workspace.aread_bytes("file"))
            await writing
            return seen

        assert set(asyncio.run(write_and_read())) <= contents

    def test_cancelling_a_command_kills_it_in_the_environment(self, backend: Backend) -> None:
        workspace = backend.workspace

        async def give_up() -> None:
            call = asyncio.ensure_future(workspace.arun("sleep 300 & echo $! $$ > pids.tmp; mv pids.tmp pids; wait"))
            while not await workspace.aexists("pids"):
                pass
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        asyncio.run(give_up())
        pids = [int(pid) for pid in workspace.read_bytes("pids").split()]
        until(lambda: not alive(backend, *pids), "the command and its children are killed")

    def test_cancelling_a_large_read_leaves_the_connection_usable(self, workspace: Workspace) -> None:
        workspace.write_bytes("large", bytes(32 << 20))

        async def give_up() -> None:
            for _ in range(5):
                call = asyncio.ensure_future(workspace.aread_bytes("large"))
                await workspace.aexists(".")
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)

        asyncio.run(give_up())
        assert workspace.read_bytes("large", limit=3) == bytes(3)
        assert workspace.run("echo on").stdout == b"on\n"

    def test_two_backends_work_at_once(self, backend: Backend, make_backend: object) -> None:
        assert callable(make_backend)
        with make_backend() as other, ThreadPoolExecutor(2) as pool:
            names = pool.map(lambda b: [b.workspace.run("pwd -P").stdout for _ in range(5)], [backend, other])
            first, second = (set(answers) for answers in names)
        assert (len(first), len(second)) == (1, 1)
        assert self.isolated or first != second
