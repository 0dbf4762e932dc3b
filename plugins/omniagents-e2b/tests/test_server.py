"""The local server answers the genuine SDK as a real envd did, and as E2B's control plane is documented to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2b import NotFoundException, Sandbox, SandboxException, SandboxNotFoundException, SandboxQuery
from e2b.exceptions import AuthenticationException, SandboxNotRunningException
from tests.services.e2b.checks import GOLDEN, answers
from tests.services.e2b.server import E2BServer

from omniagents.testing._support import until

pytestmark = pytest.mark.service

EXPECTED = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture
def sandbox(server: E2BServer) -> Iterator[Sandbox]:
    """A sandbox that is gone when the test ends."""
    made = Sandbox.create(timeout=60, metadata={"user": "alice & co", "run": str(time.time_ns())})
    yield made
    made.kill()


@pytest.fixture(scope="module")
def answered(server: E2BServer) -> Iterator[dict[str, Any]]:
    made = Sandbox.create(timeout=120, envs={"GLOBAL": "g"})
    yield answers(made)
    made.kill()


@pytest.mark.parametrize("name", EXPECTED)
def test_every_answer_is_the_one_a_real_envd_gave(answered: dict[str, Any], name: str) -> None:
    assert answered[name] == EXPECTED[name]


def test_a_sandbox_is_found_by_its_metadata(sandbox: Sandbox) -> None:
    metadata = sandbox.get_info().metadata
    page = Sandbox.list(SandboxQuery(metadata=metadata))
    assert [each.sandbox_id for each in page.next_items()] == [sandbox.sandbox_id]
    assert not page.has_next


def test_a_long_list_comes_in_pages(sandbox: Sandbox, server: E2BServer) -> None:
    other = Sandbox.create(timeout=60)
    page = Sandbox.list(limit=1)
    found = []
    while page.has_next:
        found += [each.sandbox_id for each in page.next_items()]
    assert {sandbox.sandbox_id, other.sandbox_id} <= set(found)
    other.kill()


def test_a_paused_sandbox_runs_again_when_connected_to_with_its_processes(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 60", background=True)
    assert sandbox.pause()
    assert not sandbox.pause()
    assert not sandbox.is_running()
    with pytest.raises(SandboxNotRunningException):
        sandbox.files.read("/etc/hostname")
    again = Sandbox.connect(sandbox.sandbox_id, timeout=60)
    assert handle.pid in [each.pid for each in again.commands.list()]


def test_a_snapshot_is_a_template_of_its_own(sandbox: Sandbox) -> None:
    sandbox.files.write("/home/user/keep.txt", "then")
    snapshot = sandbox.create_snapshot()
    sandbox.files.write("/home/user/keep.txt", "now")
    copy = Sandbox.create(snapshot.snapshot_id, timeout=60)
    assert copy.files.read("/home/user/keep.txt") == "then"
    assert copy.kill()
    assert Sandbox.delete_snapshot(snapshot.snapshot_id)
    assert not Sandbox.delete_snapshot(snapshot.snapshot_id)


def test_a_sandbox_ends_when_its_time_is_over(server: E2BServer) -> None:
    sandbox = Sandbox.create(timeout=1)
    until(lambda: not sandbox.is_running(), "its time is over")
    with pytest.raises(SandboxNotRunningException):
        sandbox.commands.run("true")


def test_a_killed_sandbox_is_unknown(sandbox: Sandbox) -> None:
    assert sandbox.kill()
    assert not sandbox.kill()
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect(sandbox.sandbox_id)


def test_one_idempotency_key_makes_one_sandbox(server: E2BServer) -> None:
    first = Sandbox.create(timeout=60, idempotency_key="one")
    second = Sandbox.create(timeout=60, idempotency_key="one")
    assert first.sandbox_id == second.sandbox_id
    first.kill()


def test_an_unknown_template_is_refused(server: E2BServer) -> None:
    with pytest.raises(SandboxException, match="template 'nope' not found"):
        Sandbox.create("nope")


def test_a_key_that_is_not_known_is_refused() -> None:
    with E2BServer(keys={"e2b_" + "1" * 40}) as server, pytest.raises(AuthenticationException):
        Sandbox.create(api_url=server.url, api_key="e2b_" + "2" * 40)


def test_a_sandbox_answers_only_to_its_own_token(sandbox: Sandbox, server: E2BServer) -> None:
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "X-Access-Token": "another"}
    answer = httpx.get(f"{server.url}/files?path=/etc/hostname", headers=headers)
    assert answer.status_code == 401


def test_a_link_in_a_sandbox_does_not_reach_the_files_of_this_machine(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    sandbox.commands.run(f"ln -s {secret} /home/user/link")
    with pytest.raises(NotFoundException):
        sandbox.files.read("/home/user/link")
