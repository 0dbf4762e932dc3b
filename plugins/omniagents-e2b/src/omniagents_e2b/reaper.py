"""Sandboxes that no living process owns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from omniagents.backends.lease import Lease
from omniagents.errors import BackendError
from omniagents_e2b.service import Found, Service, translated

__all__ = ["Orphan", "reap"]


@dataclass(frozen=True)
class Orphan:
    """What a dead process left."""

    kind: str
    name: str
    project_id: str
    state: str
    created: str


def reap(service: Service, lease_of: Callable[[str], Lease], *, dry_run: bool = True) -> list[Orphan]:
    """Kill the paused sandboxes that were made on this machine and whose projects no living process holds.

    A running one has an owner, or E2B pauses or ends it soon; of another machine's, only that machine knows.

    Raises:
        BackendError: E2B does not answer, or refuses the key.
    """
    with translated("looking for sandboxes", BackendError):
        orphans = [each for each in service.find() if each.state == "paused" and _is_orphan(each, lease_of)]
        if not dry_run:
            for each in orphans:
                service.kill(each.id)
    return [Orphan("sandbox", each.id, each.project_id, each.state, each.started_at.isoformat()) for each in orphans]


def _is_orphan(sandbox: Found, lease_of: Callable[[str], Lease]) -> bool:
    lease = lease_of(sandbox.project_id)
    return sandbox.scope == lease.scope and not lease.is_held()
