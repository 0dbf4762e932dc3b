"""The README's story with each framework: two users, two days, one model that follows a script."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.frameworks.making import FRAMEWORKS
from tests.services.model_server import Call, ModelServer, Request, Turn

from omniagents.agents.base import AgentResult
from omniagents.backends.base import Backend
from omniagents.testing import BackendFactory
from omniagents_snapshot.directory import DirectoryStateManager

_APP = """\
def index():
    return "hello"


ROUTES = {"/": index}

if __name__ == "__main__":
    for path, view in sorted(ROUTES.items()):
        print(path, view())
"""
_SIEVE = "def primes(n):\n    return [p for p in range(2, n) if all(p % q for q in range(2, p))]\n"


def write(path: str, content: str) -> Call:
    return Call("write_file", {"absolute_path": path, "content": content})


def shell(command: str) -> Call:
    return Call("run_shell_command", {"command": command})


def add_endpoint(request: Request) -> Turn:
    """Knows the app only from what it has just read."""
    assert request.results[-1].text == _APP
    edit = {
        "absolute_path": "app.py",
        "old_string": 'ROUTES = {"/": index}',
        "new_string": 'def health():\n    return "fine"\n\n\nROUTES = {"/": index, "/health": health}',
    }
    return Turn(calls=[Call("replace", edit)])


def report(request: Request) -> Turn:
    return Turn(request.results[-1].text)


_ALL = [Call("glob", {"pattern": "**", "respect_git_ignore": False}), shell("cat * 2>/dev/null; ls -a")]
_FIRST_DAY = {
    "alice": [Turn(calls=[write("app.py", _APP)]), Turn(calls=[shell("python3 app.py")]), report],
    "bob": [Turn(calls=[write("sieve.py", _SIEVE)]), Turn("Done.")],
}
_SECOND_DAY = {
    "alice": [
        Turn(calls=_ALL),
        Turn(calls=[Call("read_file", {"absolute_path": "app.py"})]),
        add_endpoint,
        Turn(calls=[shell("python3 -B app.py")]),
        report,
    ],
    "bob": [Turn(calls=_ALL), Turn("That is all.")],
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_users_find_their_own_work_on_the_second_day_and_nobody_else_s(
    framework: str, backend_factory: BackendFactory, tmp_path: Path
) -> None:
    make = FRAMEWORKS[framework]
    seen: dict[str, str] = {}

    def session(user_id: str) -> Backend:
        return backend_factory(project_id=f"{user_id}@{framework}", state_manager=DirectoryStateManager(tmp_path))

    def day(scripts: dict[str, list[object]], user_id: str, backend: Backend, task: str) -> AgentResult:
        with ModelServer(scripts[user_id]) as server:  # type: ignore[arg-type]
            result = make(backend, server).run(task)
        seen[user_id] = "\n".join(received.text for request in server.requests for received in request.results)
        return result

    with session("alice") as alice, session("bob") as bob:
        first = day(_FIRST_DAY, "alice", alice, "Create an app in app.py")
        assert str(first) == "/ hello"
        day(_FIRST_DAY, "bob", bob, "Write a prime sieve")
    with session("alice") as alice, session("bob") as bob:
        second = day(_SECOND_DAY, "alice", alice, "Add an endpoint /health")
        day(_SECOND_DAY, "bob", bob, "What is here?")
    assert str(second) == "/ hello\n/health fine"
    assert ("app.py" in seen["alice"], "sieve" in seen["alice"], "primes" in seen["alice"]) == (True, False, False)
    assert ("sieve.py" in seen["bob"], "app.py" in seen["bob"], "hello" in seen["bob"]) == (True, False, False)
