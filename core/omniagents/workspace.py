"""The host's client of the guest (being written)."""

from __future__ import annotations

from typing import Any, NamedTuple


class Reply(NamedTuple):
    """The guest's answer: its JSON object and its raw bytes."""

    value: dict[str, Any]
    payload: bytes
