"""A sandbox of somebody else's, driven by bench_docker_calls.py over a pipe; runs in the peers' own environment.

Arguments: the peer's name and the image; DOCKER_HOST names the engine. Each line on standard input is a JSON list:
a kind of work and how often. The answer is a line with a JSON list: the seconds each took. What a peer has no call
for (glob, search; for two of them files, which they read and write by commands of their own) is a command, as its
users would run it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

TEXT = "".join(f"line {number:04d} with some words in it\n" for number in range(130))[:4096]
FILL = f"""
import os
for number in range(1000):
    os.makedirs(f"package{{number % 20}}", exist_ok=True)
    with open(f"package{{number % 20}}/module{{number}}.py", "w") as file:
        file.write({TEXT!r})
"""
COMMANDS = {
    "shell true": ["sh", "-c", "true"],
    "glob 1,000 files": ["find", ".", "-name", "*.py"],
    "search 1,000 files": ["grep", "-rn", "line 0109", "."],
}


class Session(ABC):
    """One sandbox; files and commands are relative to its working directory."""

    @abstractmethod
    async def start(self, image: str) -> None: ...

    @abstractmethod
    async def command(self, argv: list[str]) -> None: ...

    @abstractmethod
    async def read(self, name: str) -> bytes: ...

    @abstractmethod
    async def write(self, name: str, text: str) -> None: ...

    @abstractmethod
    async def end(self) -> None: ...


class _Workspace(Session):
    """What is a workspace of pydantic-ai's."""

    _workspace: Any
    _capability: Any

    async def _open(self, capability: Any, backend: Any) -> None:
        from pydantic_ai.workspaces import Workspace  # type: ignore[import-not-found,unused-ignore]

        self._capability, self._workspace = capability, Workspace(backend)
        await self._workspace.working_dir()

    async def command(self, argv: list[str]) -> None:
        result = await self._workspace.run(argv)
        assert result.exit_code == 0, result

    async def read(self, name: str) -> bytes:
        content: bytes = await self._workspace.read_bytes(name)
        return content

    async def write(self, name: str, text: str) -> None:
        await self._workspace.write_bytes(name, text.encode())

    async def end(self) -> None:
        await self._capability.destroy(self._workspace.ref)


class PydanticAIBackend(_Workspace):
    async def start(self, image: str) -> None:
        from pydantic_ai_backends import DockerWorkspace  # type: ignore[import-not-found,unused-ignore]

        capability = DockerWorkspace(image=image)
        await self._open(capability, capability.backend())


class PydanticAIHarness(_Workspace):
    async def start(self, image: str) -> None:
        from pydantic_ai_harness.docker_sandbox import DockerSandbox, DockerSandboxBackend  # type: ignore[import-not-found,unused-ignore]

        await self._open(DockerSandbox(image=image), DockerSandboxBackend(image=image))


class LLMSandbox(Session):
    """Its own set-up of a virtual environment is left out: it downloads."""

    async def start(self, image: str) -> None:
        from llm_sandbox import SandboxBackend, SandboxSession  # type: ignore[import-not-found,unused-ignore]

        options = {"command": ["sleep", "infinity"], "init": True}
        self._session = SandboxSession(
            backend=SandboxBackend.DOCKER,
            image=image,
            lang="python",
            runtime_configs=options,
            skip_environment_setup=True,
            workdir="/tmp",
        )
        await asyncio.to_thread(self._session.open)
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name, "file")

    async def command(self, argv: list[str]) -> None:
        import shlex

        result = await asyncio.to_thread(self._session.execute_command, shlex.join(argv), workdir="/tmp")
        assert result.exit_code == 0, result

    async def read(self, name: str) -> bytes:
        await asyncio.to_thread(self._session.copy_from_runtime, f"/tmp/{name}", str(self._file))
        return self._file.read_bytes()

    async def write(self, name: str, text: str) -> None:
        self._file.write_text(text)
        await asyncio.to_thread(self._session.copy_to_runtime, str(self._file), f"/tmp/{name}")

    async def end(self) -> None:
        await asyncio.to_thread(self._session.close)
        self._folder.cleanup()


PEERS: dict[str, Callable[[], Session]] = {
    "pydantic-ai-backend": PydanticAIBackend,
    "pydantic-ai-harness": PydanticAIHarness,
    "llm-sandbox": LLMSandbox,
}


class Worker:
    """Does one kind of work after the other in one session, which it makes when it is first needed."""

    def __init__(self, peer: Callable[[], Session], image: str) -> None:
        self._peer = peer
        self._image = image
        self._session: Session | None = None
        self._numbers = count()

    async def answer(self, kind: str, times: int) -> list[float]:
        if kind == "start":
            return [await self._start_one() for _ in range(times)]
        if kind == "at once":
            return await self._at_once(times)
        session = self._session or await self._open()
        return [await _seconds(self._work(session, kind)) for _ in range(times)]

    async def end(self) -> None:
        if self._session is not None:
            await self._session.end()

    async def _open(self) -> Session:
        session = self._session = self._peer()
        await session.start(self._image)
        await session.command(["python3", "-c", FILL])
        await session.write("note.txt", TEXT)
        assert await session.read("note.txt") == TEXT.encode()
        return session

    async def _work(self, session: Session, kind: str) -> None:
        if kind == "read 4 KB":
            await session.read("note.txt")
        elif kind == "write 4 KB":
            await session.write("note.txt", TEXT + str(next(self._numbers)))
        elif kind == "50 mixed calls":
            kinds = ["shell true", "read 4 KB", "write 4 KB", "glob 1,000 files", "search 1,000 files"]
            for number in range(50):
                await self._work(session, kinds[number % len(kinds)])
        else:
            await session.command(COMMANDS[kind])

    async def _start_one(self) -> float:
        session = self._peer()
        seconds = await _seconds(session.start(self._image))
        await session.end()
        return seconds

    async def _at_once(self, sessions: int) -> list[float]:
        made = [self._peer() for _ in range(sessions)]

        async def commands(session: Session) -> None:
            for _ in range(10):
                await session.command(COMMANDS["shell true"])

        started = await _seconds(asyncio.gather(*(session.start(self._image) for session in made)))
        worked = await _seconds(asyncio.gather(*map(commands, made)))
        await asyncio.gather(*(session.end() for session in made))
        return [started, worked]


async def _seconds(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def main(name: str, image: str) -> None:
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(PEERS[name], image)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            kind, times = json.loads(line)
            answers.write(json.dumps(await worker.answer(kind, times)) + "\n")
            answers.flush()
    finally:
        await worker.end()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
