"""A link that is suspended: calls end with a typed error at once, and the guest with what it keeps running stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.core.local_backends import running_backend
from tests.core.test_guest_faults import (
    exporting,
    feeding,
    guest_pid,
    importing,
    link_of,
    once,
    sleeping,
    streaming,
    works,
)

from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import BackendNotStartedError


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    with running_backend(tmp_path) as started:
        yield started


@pytest.mark.parametrize("call", [sleeping, exporting, importing, streaming, feeding])
def test_calls_under_way_end_and_the_guest_goes_on_afterwards(
    backend: LocalBackend, call: Callable[[LocalBackend], None]
) -> None:
    backend.workspace.write_bytes("big", bytes(1 << 20))
    first = guest_pid(backend)
    once(lambda: link_of(backend).is_busy, lambda: link_of(backend).suspend("paused"))
    with pytest.raises(BackendNotStartedError, match=r"^paused$"):
        call(backend)
    link_of(backend).resume()
    assert works(backend)
    assert guest_pid(backend) == first


def test_calls_are_refused_while_it_is_suspended(backend: LocalBackend) -> None:
    workspace = backend.workspace
    link_of(backend).suspend("paused")
    with pytest.raises(BackendNotStartedError, match=r"^paused$"):
        workspace.run("true")
    link_of(backend).resume()
    assert workspace.run("echo on").stdout == b"on\n"
