"""Containers that wait: handed out once, to one project, and gone with their pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from omniagents.errors import BackendUnavailableError
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.naming import LABEL_POOL, container_name
from omniagents_docker.reaper import find_orphans, reap
from omniagents_docker.volume import find_volume, make_volume
from omniagents_docker.warm_pool import WarmPool

pytestmark = pytest.mark.service

NewBackend = Callable[..., DockerBackend]


@pytest.fixture
def pool(engine_address: str) -> Iterator[WarmPool]:
    with WarmPool(2, docker_host=engine_address, image="omniagents-test:python") as pool:
        assert pool.wait_until_full(60)
        yield pool


def test_a_warm_container_becomes_the_projects_own(
    pool: WarmPool, new_backend: NewBackend, engine: Engine, project_id: str
) -> None:
    backend = new_backend(warm_pool=pool)
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    found = engine.inspect(container_name(project_id))
    assert found is not None
    assert LABEL_POOL in found["Config"]["Labels"]
    assert backend.workspace.run("id -u; pwd").stdout == b"1000\n/workspace\n"


def test_no_container_is_handed_out_twice(pool: WarmPool, new_backend: NewBackend, engine: Engine) -> None:
    names = [f"warm user {number}" for number in range(4)]
    for name in names:
        backend = new_backend(project_id=name, warm_pool=pool)
        backend.start()
        assert backend.workspace.list() == []
        backend.workspace.write_bytes("secret.txt", name.encode())
    found = [engine.inspect(container_name(name)) for name in names]
    assert len({container["Id"] for container in found if container is not None}) == 4


def test_a_container_after_its_shutdown_never_comes_back(
    pool: WarmPool, new_backend: NewBackend, engine: Engine, project_id: str
) -> None:
    backend = new_backend(warm_pool=pool)
    backend.start()
    found = engine.inspect(container_name(project_id))
    assert found is not None
    backend.shutdown()
    assert engine.inspect(found["Id"]) is None
    assert not engine.has_volume(found["Mounts"][0]["Name"])


def test_the_workspace_of_a_warm_container_outlives_a_crash(
    pool: WarmPool, new_backend: NewBackend, engine: Engine, project_id: str
) -> None:
    backend = new_backend(warm_pool=pool)
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    found = engine.inspect(container_name(project_id))
    assert found is not None
    engine.pause(found["Id"])
    with pytest.raises(BackendUnavailableError):
        backend.workspace.run("true")
    backend.start()
    assert backend.workspace.read_bytes("work.txt") == b"unsaved"


@pytest.fixture
def crashed(pool: WarmPool, new_backend: NewBackend, engine: Engine, project_id: str) -> DockerBackend:
    """A backend whose warm container was removed behind its back, with work that nobody has saved."""
    backend = new_backend(warm_pool=pool)
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    engine.remove(container_name(project_id))
    with pytest.raises(BackendUnavailableError):
        backend.workspace.run("true")
    return backend


def test_the_workspace_of_a_warm_container_outlives_its_removal(crashed: DockerBackend) -> None:
    crashed.start()
    assert crashed.workspace.read_bytes("work.txt") == b"unsaved"


def test_a_workspace_whose_warm_container_was_removed_is_one_orphan_of_its_project(
    crashed: DockerBackend, only_project: Engine, engine: Engine, project_id: str
) -> None:
    assert find_orphans(only_project) == []
    crashed._disconnect("as if the host had died")
    crashed._lease.release()
    [orphan] = find_orphans(only_project)
    assert (orphan.kind, orphan.name) == ("volume", container_name(project_id))
    kept = find_volume(engine, project_id)
    assert kept is not None
    assert reap(only_project, dry_run=False) == [orphan]
    assert not engine.has_volume(kept)
    assert not engine.has_volume(container_name(project_id))


def test_the_workspace_of_a_warm_container_outlives_a_release(
    pool: WarmPool, new_backend: NewBackend, engine: Engine, project_id: str
) -> None:
    backend = new_backend(warm_pool=pool)
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    backend.release()
    assert engine.inspect(container_name(project_id)) is None
    backend.start()
    assert backend.workspace.read_bytes("work.txt") == b"unsaved"
    kept = find_volume(engine, project_id)
    assert kept is not None
    backend.shutdown()
    assert not engine.has_volume(kept)
    assert not engine.has_volume(container_name(project_id))


def test_a_backend_with_other_settings_makes_its_own(
    pool: WarmPool, new_backend: NewBackend, engine: Engine, project_id: str
) -> None:
    new_backend(warm_pool=pool, hardening=HardeningProfile(pids=100)).start()
    found = engine.inspect(container_name(project_id))
    assert found is not None
    assert LABEL_POOL not in found["Config"]["Labels"]


def test_a_container_that_died_while_it_waited_is_not_handed_out(
    pool: WarmPool, new_backend: NewBackend, engine: Engine
) -> None:
    for warm in list(pool._ready):
        engine.remove(warm.container.id)
    backend = new_backend(warm_pool=pool)
    backend.start()
    assert backend.workspace.run("echo works").stdout == b"works\n"


def test_waiting_containers_of_a_living_pool_are_no_orphans(pool: WarmPool, engine: Engine) -> None:
    waiting = {warm.container.id for warm in pool._ready}
    names = {container["Name"].lstrip("/") for id in waiting if (container := engine.inspect(id)) is not None}
    assert len(names) == 2
    assert not names & {orphan.name for orphan in find_orphans(engine)}


def test_a_closed_pool_leaves_nothing(pool: WarmPool, engine: Engine) -> None:
    pool.close()
    pool.close()
    assert engine.containers(f"{LABEL_POOL}={pool._id}") == []
    assert [volume for volume in engine.volumes(LABEL_POOL) if volume["Labels"][LABEL_POOL] == pool._id] == []


def test_a_pool_keeps_its_image_whatever_the_name_comes_to_mean(
    new_backend: NewBackend, engine: Engine, engine_address: str, project_id: str
) -> None:
    name = f"omniagents-test:{project_id.replace(' ', '-')}"
    repository, _, tag = name.partition(":")
    client = engine._client
    client.tag("omniagents-test:python", repository, tag)
    try:
        with WarmPool(1, docker_host=engine_address, image=name) as pool:
            assert pool.wait_until_full(60)
            client.tag("omniagents-test:python3.13", repository, tag, force=True)
            new_backend(image=name, warm_pool=pool).start()
            found = engine.inspect(container_name(project_id))
        assert found is not None
        assert LABEL_POOL in found["Config"]["Labels"]
        assert found["Image"] == client.inspect_image("omniagents-test:python")["Id"]
    finally:
        client.remove_image(name, noprune=True)


def test_a_size_that_the_storage_refuses_is_asked_for_once(
    engine_address: str, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, str]] = []
    create_volume = Engine.create_volume

    def recorded(engine: Engine, name: str, labels: Mapping[str, str], options: Mapping[str, str]) -> None:
        asked.append(options)
        create_volume(engine, name, labels, options)

    monkeypatch.setattr(Engine, "create_volume", recorded)
    engine = Engine.connect(engine_address)
    names = [f"{container_name(project_id)}-{number}" for number in range(2)]
    try:
        made = [make_volume(engine, name, 1 << 30, {}) for name in names]
    finally:
        for name in names:
            engine.remove_volume(name)
    size: Mapping[str, str] = {"size": str(1 << 30)}
    assert asked == ([size, size] if made[0].has_quota else [size, {}, {}])
