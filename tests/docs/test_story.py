"""The README's story of two users and two days runs as written, and with each of its lines exchanged.

Real engine, real repository, the genuine clients of the stores and frameworks; the bucket is an emulator's, and the
model follows a script.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.examples import story
from tests.services import docker_engine
from tests.services.gcs.emulator import emulator_process
from tests.services.model_server import Call, ModelServer, Request, Turn

pytestmark = [pytest.mark.service, pytest.mark.slow]

_APP = 'ROUTES = {"/": "hello"}\n\nfor path, answer in sorted(ROUTES.items()):\n    print(path, answer)\n'
_SIEVE = "print([n for n in range(2, 30) if all(n % d for d in range(2, n))])\n"

#: What is exchanged for what.
_BUBBLEWRAP = {"docker_backend": "bubblewrap_backend", "DockerBackend": "BubblewrapBackend"}
_GIT = {"GCSStateManager": "GitStateManager"}
_PYDANTIC_AI = {
    "langchain_agent": "pydantic_ai_agent",
    "LangChainAgent": "PydanticAIAgent",
    "openai:gpt-4.1": "anthropic:claude-sonnet-4-5",
}
_SMOLAGENTS = {
    "langchain_agent": "smolagents_agent",
    "LangChainAgent": "SmolagentsAgent",
    "openai:gpt-4.1": "OpenAIServerModel:gpt-4.1",
}
STORIES = {
    "as written": {},
    "on bubblewrap": _BUBBLEWRAP,
    "in git": _GIT,
    "on bubblewrap, in git": {**_BUBBLEWRAP, **_GIT},
    "pydantic-ai": {**_PYDANTIC_AI, **_BUBBLEWRAP, **_GIT},
    "smolagents": {**_SMOLAGENTS, **_BUBBLEWRAP},
}


def model(request: Request) -> Turn:
    """Does what it is asked for; on the second day it knows no more than what it finds."""
    results = [result.text for result in request.results]
    if "Add an endpoint" in request.task:
        second_day = [
            Turn(calls=[Call("glob", {"pattern": "**/*.py"})]),
            Turn(calls=[Call("replace", {"absolute_path": "app.py", "old_string": '"hello"', "new_string": _HEALTH})]),
            Turn(calls=[Call("run_shell_command", {"command": "python3 app.py"})]),
        ]
        return [*second_day, Turn(" | ".join([*results[:1], *results[2:]]))][len(results)]
    name, content = ("app.py", _APP) if "app.py" in request.task else ("sieve.py", _SIEVE)
    first_day = [
        Turn(calls=[Call("write_file", {"absolute_path": name, "content": content})]),
        Turn(calls=[Call("run_shell_command", {"command": f"python3 {name}"})]),
    ]
    return [*first_day, Turn(results[-1] if results else "")][len(results)]


_HEALTH = '"hello", "/health": "fine"'


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that lead to an engine, a bucket, a repository and a model."""
    repository = tmp_path_factory.mktemp("remote") / "sessions.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(repository)], check=True)
    address = docker_engine.start("astral/uv:python3.12-bookworm")
    with emulator_process("sessions") as emulator, ModelServer(model) as server:
        yield {
            "DOCKER_HOST": address,
            "BUCKET_OMNIAGENTS": "sessions",
            "STORAGE_EMULATOR_HOST": emulator,
            "OMNIAGENTS_GIT_REMOTE": str(repository),
            "OPENAI_API_KEY": "unused",
            "OPENAI_BASE_URL": server.openai_url,
            "OPENAI_API_BASE": server.openai_url,
            "ANTHROPIC_API_KEY": "unused",
            "ANTHROPIC_BASE_URL": server.anthropic_url,
        }


@pytest.mark.parametrize("exchanged", STORIES.values(), ids=STORIES)
def test_two_users_find_their_own_work_on_the_second_day(
    exchanged: dict[str, str], services: dict[str, str], tmp_path: Path
) -> None:
    code = story().code
    for written, instead in exchanged.items():
        assert written in code
        code = code.replace(written, instead)
    # Users of their own for each story: the stores are shared.
    for user_id in ("alice", "bob"):
        code = code.replace(f'"{user_id}"', f'"{user_id} of {tmp_path.name}"')
    homes = {name: str(tmp_path / name) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME")}
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **services, **homes},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "/ hello",
        "[2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
        "Found 1 file matching '**/*.py':",
        "app.py | / hello",
        "/health fine",
    ]
