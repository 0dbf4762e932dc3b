"""A frozen environment: what was asked of it ends at once, what it keeps is there afterwards, and it can always go."""

from __future__ import annotations

import threading

import pytest

from omniagents.errors import BackendNotStartedError
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine, EngineError
from omniagents_docker.naming import container_name

pytestmark = pytest.mark.service


@pytest.fixture
def container(running: DockerBackend, engine: Engine) -> str:
    """Its id: a paused one has another name."""
    found = engine.inspect(container_name(running.project_id))
    assert found is not None
    return str(found["Id"])


def is_alive(running: DockerBackend) -> bool:
    return running.workspace.read_bytes("work.txt") == b"unsaved"


def test_everything_is_kept_and_goes_on(running: DockerBackend) -> None:
    running.workspace.run("sleep 300 & echo $!")
    running.pause()
    running.pause()
    with pytest.raises(BackendNotStartedError, match=r"paused; call resume\(\)"):
        _ = running.workspace
    running.resume()
    running.resume()
    assert is_alive(running)
    assert running.workspace.run("pgrep -c sleep").stdout == b"1\n"


def test_calls_under_way_end_at_once_and_what_they_had_started_ends(running: DockerBackend) -> None:
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            running.workspace.run("touch begun; exec sleep 300")
        except BackendNotStartedError as error:
            errors.append(error)

    process = running.workspace.start_process("echo started; exec sleep 300")
    assert next(iter(process.output()))
    thread = threading.Thread(target=wait)
    thread.start()
    while not running.workspace.exists("begun"):
        pass
    running.pause()
    thread.join()
    with pytest.raises(BackendNotStartedError) as caught:
        process.wait()
    assert [str(caught.value)] == [f"{running}: paused; call resume()"] == [str(error) for error in errors]
    running.resume()
    assert running.workspace.run("while pgrep sleep; do :; done").stdout is not None


def test_a_workspace_that_somebody_kept_refuses_calls_meanwhile(running: DockerBackend) -> None:
    workspace = running.workspace
    running.pause()
    with pytest.raises(BackendNotStartedError, match=r"paused; call resume\(\)"):
        workspace.run("true")
    running.resume()
    assert workspace.run("echo on").stdout == b"on\n"


@pytest.mark.parametrize("save", [True, False])
def test_a_paused_backend_is_shut_down(running: DockerBackend, engine: Engine, container: str, save: bool) -> None:
    running.pause()
    running.shutdown(save=save)
    assert engine.inspect(container) is None
    assert not engine.has_volume(container_name(running.project_id))


def test_a_container_removed_while_it_was_paused_is_replaced_by_the_next_start(
    running: DockerBackend, engine: Engine, container: str
) -> None:
    running.pause()
    engine.remove(container)
    running.start()
    assert is_alive(running)


def test_a_container_removed_while_it_was_paused_cannot_be_resumed_but_shut_down(
    running: DockerBackend, engine: Engine, container: str
) -> None:
    running.pause()
    engine.remove(container)
    with pytest.raises(EngineError, match="the container cannot be resumed: No such container"):
        running.resume()
    running.shutdown()
    assert running.status == "stopped"


def test_a_container_that_cannot_be_paused_goes_on(running: DockerBackend, engine: Engine, container: str) -> None:
    engine.pause(container)
    with pytest.raises(EngineError, match="already paused"):
        running.pause()
    engine.unpause(container)
    assert running.status == "running"
