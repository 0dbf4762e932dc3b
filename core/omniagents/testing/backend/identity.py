"""Whose environment it is: names that never meet, and what of this machine can be seen."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import InvalidProjectIdError
from omniagents.testing._support import HOSTILE_PROJECT_IDS, BackendFactory, BackendTests, alive, until

__all__ = ["IdentityTests"]

MakeBackend = Callable[..., Backend]


class IdentityTests(BackendTests):
    """Project ids, the environment's variables, and isolation."""

    @pytest.mark.parametrize("project_id", ["", "x" * 201, "lone \ud800 surrogate"], ids=["empty", "long", "surrogate"])
    def test_what_cannot_be_a_project_id_is_refused_before_anything_happens(
        self, backend_factory: BackendFactory, project_id: str
    ) -> None:
        with pytest.raises(InvalidProjectIdError):
            backend_factory(project_id=project_id)

    @pytest.mark.parametrize("count", [len(HOSTILE_PROJECT_IDS)])
    def test_projects_with_hostile_ids_never_meet(self, make_backend: MakeBackend, count: int) -> None:
        with contextlib.ExitStack() as running:
            backends = [
                running.enter_context(make_backend(project_id=project_id)) for project_id in HOSTILE_PROJECT_IDS
            ]
            for number, backend in enumerate(backends):
                backend.workspace.write_bytes(f"{number}.txt", backend.project_id.encode())
            found = [[entry.path for entry in backend.workspace.list()] for backend in backends]
            assert found == [[f"{number}.txt"] for number in range(count)]
            assert [backend.project_id for backend in backends] == list(HOSTILE_PROJECT_IDS)

    def test_variables_of_this_process_are_not_in_the_environment(
        self, make_backend: MakeBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OMNIAGENTS_CONFORMANCE_SECRET", "hunter2")
        with make_backend() as backend:
            assert b"hunter2" not in backend.workspace.run("env; set").stdout

    def test_what_environment_names_is_in_the_environment(self, make_backend: MakeBackend) -> None:
        with make_backend(environment={"GREETING": "it's $HOME \n here"}) as backend:
            assert backend.workspace.run('printf %s "$GREETING"').stdout == b"it's $HOME \n here"

    def test_commands_have_a_path_a_home_and_programs(self, backend: Backend) -> None:
        result = backend.workspace.run('test -n "$PATH" && test -d "$HOME" && command -v sh')
        assert result.exit_code == 0

    def test_python_is_found_under_both_its_names(self, backend: Backend) -> None:
        result = backend.workspace.run("python -c 'print(1)'; python3 -c 'print(2)'")
        assert (result.stdout, result.stderr) == (b"1\n2\n", b"")

    def test_files_of_this_machine_are_visible_only_where_the_backend_says_so(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        token = secrets.token_hex(16)
        (tmp_path / "secret.txt").write_text(token)
        result = backend.workspace.run(["cat", str(tmp_path / "secret.txt")])
        assert (token.encode() in result.stdout) is not self.isolated

    def test_processes_of_this_machine_are_visible_only_where_the_backend_says_so(self, backend: Backend) -> None:
        token = secrets.token_hex(16)
        with _sleeping_process(token):
            result = backend.workspace.run("cat /proc/[0-9]*/cmdline 2>/dev/null || ps -A -o args")
        assert (token.encode() in result.stdout) is not self.isolated

    def test_nothing_a_session_started_outlives_it(self, make_backend: MakeBackend, backend: Backend) -> None:
        with make_backend() as ended:
            result = ended.workspace.run("sleep 300 & echo $!; setsid sleep 300 & echo $!")
            pids = [int(pid) for pid in result.stdout.split()]
            assert alive(ended, *pids) == pids
        # Where the environment is shut off, it is gone as a whole, and its pids mean nothing elsewhere.
        if not self.isolated:
            until(lambda: not alive(backend, *pids), "the processes of the session end")


@contextlib.contextmanager
def _sleeping_process(name: str) -> Iterator[None]:
    """A process of this machine whose arguments contain ``name``."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", name], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.kill()
        process.communicate()
