"""A call that the host gave up stops reading."""

from __future__ import annotations

from typing import Any

import pytest

from omniagents.guest.context import CallCancelled, Context
from omniagents.guest.operations import find
from omniagents.guest.root import Root


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("read_file", {"absolute_path": "a.txt"}),
        ("read_many_files", {"paths": ["a.txt"]}),
        ("read_many_files", {"paths": ["**"]}),
        ("list_directory", {"path": "."}),
    ],
)
def test_a_cancelled_call_ends(workspace_root, operation, arguments: dict[str, Any]):
    (workspace_root / "a.txt").write_text("x\n")
    (workspace_root / "d").mkdir()
    context = Context(Root(str(workspace_root)))
    context.call.cancelled.set()
    with pytest.raises(CallCancelled):
        find(operation)(context, arguments)
