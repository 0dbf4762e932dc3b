"""Backends with one defect each."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from omniagents.backends.child_stream import ChildStream
from omniagents.backends.local_backend import LocalBackend
from omniagents.connection import ByteStream
from omniagents.errors import BackendError, SaveFailedError
from omniagents.records import CommandResult, FileInfo
from omniagents.testing import BackendContract
from omniagents.workspace import Workspace


class AlteredWorkspace(Workspace):
    """Another workspace, but for what a subclass alters."""

    def __init__(self, original: Workspace) -> None:
        self.__dict__ = original.__dict__


def altering(alter: Callable[[CommandResult], CommandResult]) -> type[LocalBackend]:
    """A backend that alters the result of every command."""

    class Altered(AlteredWorkspace):
        def run(self, *arguments: Any, **options: Any) -> CommandResult:
            return alter(super().run(*arguments, **options))

    return working_in(Altered)


def working_in(workspace_class: type[AlteredWorkspace]) -> type[LocalBackend]:
    """A backend with a workspace of that class."""

    class Altered(LocalBackend):
        @property
        def workspace(self) -> Workspace:
            return workspace_class(super().workspace)

    return Altered


class Broken(BackendContract):
    """The contract on ``backend_class``."""

    backend_class: type[LocalBackend]

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> Callable[..., LocalBackend]:
        return cls.backend_class


class TestFaithful(Broken):
    backend_class = LocalBackend


class TestFaithfulInAFixtureOfOneTest(BackendContract):
    @pytest.fixture
    def backend_factory(self) -> Callable[..., LocalBackend]:
        return LocalBackend


class TestLosesExitCodes(Broken):
    backend_class = altering(lambda result: dataclasses.replace(result, exit_code=0))


class TestLosesSignals(Broken):
    backend_class = altering(lambda result: dataclasses.replace(result, signal=None))


class TestDropsErrors(Broken):
    backend_class = altering(lambda result: dataclasses.replace(result, stderr=b""))


class TestTranslatesLineEnds(Broken):
    backend_class = altering(lambda result: dataclasses.replace(result, stdout=result.stdout.replace(b"\r\n", b"\n")))


class TestHidesTimeouts(Broken):
    backend_class = altering(lambda result: dataclasses.replace(result, timed_out=False))


class TestHidesTruncation(Broken):
    backend_class = altering(lambda result: dataclasses.replace(result, truncated=False))


class TestSharesItsEnvironment(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def _open(self, argv: Sequence[str]) -> ByteStream:
            return ChildStream(argv, os.environ)


class TestForgetsFiles(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def shutdown(self, *, save: bool = True) -> None:
            super().shutdown(save=False)


class TestKeepsFilesForEver(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def _destroy(self) -> None:
            """Nothing is removed."""


class TestShutsDownOnce(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def shutdown(self, *, save: bool = True) -> None:
            if self.status == "stopped":
                raise BackendError("shut down already")
            super().shutdown(save=save)


class TestStartsAfresh(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def start(self) -> None:
            if self.status == "running":
                shutil.rmtree(self.workspace_path)
                os.mkdir(self.workspace_path)
            super().start()


class TestDiscardsOnError(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
            self.shutdown(save=error is None)


class TestHidesFailedSaves(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def shutdown(self, *, save: bool = True) -> None:
            try:
                super().shutdown(save=save)
            except SaveFailedError:
                super().shutdown(save=False)


class TestMixesProjects(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def __init__(self, project_id: str, *arguments: Any, **options: Any) -> None:
            super().__init__(re.sub(r"\W", "_", project_id), *arguments, **options)


class TestOwnsNothing(Broken):
    class backend_class(LocalBackend):  # noqa: N801
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.takeover = True


class TestClaimsToBeIsolated(Broken):
    backend_class = LocalBackend
    isolated = True


class _Unconfined(AlteredWorkspace):
    def read_bytes(self, path: str, **options: Any) -> bytes:
        return super().read_bytes(path, **{**options, "outside": True})


class TestReadsEverywhere(Broken):
    backend_class = working_in(_Unconfined)


class _Unconditional(AlteredWorkspace):
    def write_bytes(self, path: str, content: bytes, **options: Any) -> FileInfo:
        return super().write_bytes(path, content, **{**options, "expected_sha256": None})


class TestWritesWhateverIsThere(Broken):
    backend_class = working_in(_Unconditional)


class _Following(AlteredWorkspace):
    def remove(self, *paths: str, **options: Any) -> int:
        real = [path if self.stat(path, follow=False).kind != "link" else self.realpath(path) for path in paths]
        return super().remove(*real, **{**options, "missing_ok": True})


class TestRemovesWhatLinksPointTo(Broken):
    backend_class = working_in(_Following)


class _Shuffled(AlteredWorkspace):
    def list(self, path: str = ".", **options: Any) -> Sequence[FileInfo]:
        return super().list(path, **options)[::-1]


class TestListsBackwards(Broken):
    backend_class = working_in(_Shuffled)
