"""``omniagents reap``: lists first, removes only when meant."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.extra


@dataclass
class Left:
    kind: str = "container"
    name: str = "omniagents-alice"
    project_id: str | None = "alice"
    state: str = "exited"
    created: str = "2030-01-01T00:00:00Z"


@pytest.fixture
def calls(monkeypatch):
    from omniagents.backends.local_backend import LocalBackend

    made: list[bool] = []

    def reap(*, dry_run):
        made.append(dry_run)
        return [Left()]

    monkeypatch.setattr(LocalBackend, "reap", staticmethod(reap), raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    return made


def reaped(*arguments: str):
    from click.testing import CliRunner

    from omniagents.cli.reap import reap

    return CliRunner().invoke(reap, arguments)


def test_without_yes_it_only_lists(calls):
    result = reaped()
    assert calls == [True]
    assert "omniagents-alice" in result.output
    assert "not removed: `omniagents reap --yes` does, with what was never saved in them" in result.output


def test_with_yes_it_removes(calls):
    assert reaped("--yes").exit_code == 0
    assert calls == [False]
