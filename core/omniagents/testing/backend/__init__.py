"""``BackendContract``: everything a backend promises, for a backend to be tested against."""

from __future__ import annotations

from omniagents.testing.backend.concurrency import ConcurrencyTests
from omniagents.testing.backend.directories import DirectoryTests
from omniagents.testing.backend.faults import FaultTests
from omniagents.testing.backend.identity import IdentityTests
from omniagents.testing.backend.lifecycle import LifecycleTests
from omniagents.testing.backend.ownership import OwnershipTests
from omniagents.testing.backend.paths import PathTests
from omniagents.testing.backend.processes import ProcessTests
from omniagents.testing.backend.reading import ReadingTests
from omniagents.testing.backend.running import RunningTests
from omniagents.testing.backend.saving import SavingTests
from omniagents.testing.backend.streams import StreamTests
from omniagents.testing.backend.trees import TreeTests
from omniagents.testing.backend.writing import WritingTests

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
