"""Fixtures of the snapshot engine's tests: workspaces on real files, and managers on real directories."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from snapshot_support.local_tree import LocalTree
from snapshot_support.stores import WatchedStore

from omniagents_snapshot.directory_store import DirectoryStore
from omniagents_snapshot.manager import SnapshotStateManager


@pytest.fixture
def tree(tmp_path: Path) -> LocalTree:
    """A workspace to save."""
    return LocalTree(tmp_path / "tree")


@pytest.fixture
def other(tmp_path: Path) -> LocalTree:
    """Another workspace, empty: a new environment."""
    return LocalTree(tmp_path / "other")


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    """A directory store that notes every call."""
    return WatchedStore(DirectoryStore(tmp_path / "store"))


@pytest.fixture
def new_manager(store: WatchedStore, tmp_path: Path) -> Callable[..., SnapshotStateManager]:
    """Makes managers on ``store``, as so many host processes would."""

    def make(**options: object) -> SnapshotStateManager:
        options.setdefault("cache_directory", tmp_path / "cache")
        options.setdefault("cache_bytes", 0)
        return SnapshotStateManager(store, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def manager(new_manager: Callable[..., SnapshotStateManager]) -> SnapshotStateManager:
    """One manager on ``store``."""
    return new_manager()
