"""``BackendContract``: everything a backend promises, for a backend to be tested against."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "concurrency", "directories", "faults", "identity", "lifecycle", "ownership", "paths", "processes",
            "reading", "running", "saving", "streams", "trees", "writing",
        )
    )
)  # fmt: skip

from omniagents.testing.backend.concurrency import ConcurrencyTests  # noqa: E402
from omniagents.testing.backend.directories import DirectoryTests  # noqa: E402
from omniagents.testing.backend.faults import FaultTests  # noqa: E402
from omniagents.testing.backend.identity import IdentityTests  # noqa: E402
from omniagents.testing.backend.lifecycle import LifecycleTests  # noqa: E402
from omniagents.testing.backend.ownership import OwnershipTests  # noqa: E402
from omniagents.testing.backend.paths import PathTests  # noqa: E402
from omniagents.testing.backend.processes import ProcessTests  # noqa: E402
from omniagents.testing.backend.reading import ReadingTests  # noqa: E402
from omniagents.testing.backend.running import RunningTests  # noqa: E402
from omniagents.testing.backend.saving import SavingTests  # noqa: E402
from omniagents.testing.backend.streams import StreamTests  # noqa: E402
from omniagents.testing.backend.trees import TreeTests  # noqa: E402
from omniagents.testing.backend.writing import WritingTests  # noqa: E402

__all__ = ["BackendContract"]


class BackendContract(
    LifecycleTests,
    SavingTests,
    OwnershipTests,
    IdentityTests,
    RunningTests,
    ProcessTests,
    StreamTests,
    PathTests,
    ReadingTests,
    WritingTests,
    DirectoryTests,
    TreeTests,
    ConcurrencyTests,
    FaultTests,
):
    """Subclass this with a fixture ``backend_factory``, and set ``isolated`` if the environment is shut off."""
