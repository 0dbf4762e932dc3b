"""Which snapshots to keep: decided from their times and tags alone, so that no clock of this machine matters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Final

from omniagents.state import Snapshot

__all__ = ["DEFAULT_RETENTION", "Retention"]

_BUCKETS: Final[dict[str, Callable[[datetime], object]]] = {
    "hourly": lambda time: (time.date(), time.hour),
    "daily": lambda time: time.date(),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
}


@dataclass(frozen=True)
class Retention:
    """Which snapshots ``prune`` keeps: the latest always, and whatever one of these rules wants.

    Attributes:
        last: The newest so many.
        hourly: The newest of each of the last so many hours (UTC) in which anything was saved.
        daily: Likewise for days,
        weekly: for weeks from Monday on,
        monthly: and for months.
        tagged: Every snapshot with a tag. False removes tags, too, with what they name.
    """

    last: int = 10
    hourly: int = 24
    daily: int = 14
    weekly: int = 8
    monthly: int = 0
    tagged: bool = True

    def __post_init__(self) -> None:
        for name in (found.name for found in fields(self) if found.name != "tagged"):
            count = getattr(self, name)
            if type(count) is not int or count < 0:
                raise ValueError(f"{name} is how many snapshots to keep, at least 0, not {count!r}")

    def kept(
        self, snapshots: Sequence[Snapshot], latest: str, tagged: Collection[str] = ()
    ) -> dict[str, tuple[str, ...]]:
        """The ids to keep, each with the rules that want it.

        Args:
            snapshots: Newest first.
            latest: The id of the one that is loaded; kept in any case.
            tagged: Ids that have a tag.
        """
        reasons: dict[str, list[str]] = {latest: ["latest"]}
        for one in snapshots[: self.last]:
            reasons.setdefault(one.id, []).append("last")
        for rule, bucket_of in _BUCKETS.items():
            for one in _newest_of_each(snapshots, bucket_of, getattr(self, rule)):
                reasons.setdefault(one.id, []).append(rule)
        if self.tagged:
            for one in snapshots:
                if one.id in tagged:
                    reasons.setdefault(one.id, []).append("tagged")
        return {one.id: tuple(reasons[one.id]) for one in snapshots if one.id in reasons}


#: What ``prune`` keeps unless it is told otherwise.
DEFAULT_RETENTION: Final = Retention()


def _newest_of_each(
    snapshots: Sequence[Snapshot], bucket_of: Callable[[datetime], object], count: int
) -> Sequence[Snapshot]:
    found: dict[object, Snapshot] = {}
    for one in snapshots:
        found.setdefault(bucket_of(one.created_at.astimezone(UTC)), one)
    return list(found.values())[:count]
