"""What can be done with kept snapshots without a workspace: the part of the manager that needs no environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO, Final

from omniagents._ids import check_project_id, new_snapshot_id
from omniagents.errors import SnapshotNotFoundError, StateConflictError, StateError
from omniagents.state import Snapshot
from omniagents_snapshot.access import Access
from omniagents_snapshot.checking import CheckReport, check_project
from omniagents_snapshot.committing import swap
from omniagents_snapshot.contents import check_paths
from omniagents_snapshot.diffing import SnapshotDiff, diff_lines, diff_trees
from omniagents_snapshot.exporting import Compression, write_tar
from omniagents_snapshot.forking import fork
from omniagents_snapshot.measuring import ProjectStats, project_stats
from omniagents_snapshot.model import Tree
from omniagents_snapshot.objects import project_ids
from omniagents_snapshot.pruning import PruneReport, prune
from omniagents_snapshot.repairing import Repairer, RepairReport
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.restoring import everything, is_within
from omniagents_snapshot.retention import Retention
from omniagents_snapshot.store import Store

__all__ = ["Maintenance"]

# A tag is never taken for an id.
_TAG: Final = re.compile(r"(?!latest\Z)(?![0-9a-f]{32}\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_TAGS_MAX: Final = 1000
_ATTEMPTS: Final = 5


class Maintenance:
    """Everything here may be called at any time, from anywhere, also while the project is in use."""

    store: Store
    retention: Retention
    _access: Access
    _session: str

    def history(self, project_id: str) -> list[Snapshot]:
        """Every kept snapshot: the one that is loaded, then the others, newest first, also those that lost a
        conflict. Empty for a project never saved.

        Of a long list of what was left out, an entry here has the first 1,000.
        """
        return self._repository(project_id).history()

    def projects(self) -> list[str]:
        """The ids of every project that was ever saved here, sorted.

        Raises:
            StateCorruptError: A project's format is damaged; names it.
        """
        return sorted(project_ids(self.store))

    def check(self, project_id: str, *, read_data: bool = False) -> CheckReport:
        """Look whether every snapshot could be restored: every object is there and every description sound.

        Args:
            read_data: Read and check every byte of content, too.
        """
        return check_project(self._repository(project_id), read_data=read_data)

    def prune(self, project_id: str, retention: Retention | None = None, *, dry_run: bool = False) -> PruneReport:
        """Remove snapshots, and everything stored that no kept snapshot needs.

        Packs of which less than three quarters are needed are stored again without the rest, once that gives
        64 KiB back in the whole project; and small packs are joined when there are many.

        Args:
            retention: Which to keep; by default the manager's own rules.
            dry_run: Only say what would be removed.

        Raises:
            StateCorruptError: Something of what is to be kept is damaged; nothing was removed.
        """
        return prune(self._repository(project_id), retention or self.retention, self._session, dry_run=dry_run)

    def repair(self, project_id: str, *, read_data: bool = True, dry_run: bool = False) -> RepairReport:
        """Rebuild what can be rebuilt, and say what cannot. Nobody may be saving the project meanwhile.

        A lost ``HEAD`` and lost entries of the history come back from the snapshots themselves. Where content is
        lost, the snapshots that held it are stored anew without those files, which the report and
        ``Snapshot.left_out`` name; everything else of them can be restored again.

        Args:
            read_data: Read every stored byte to find out what is damaged; False for what is missing only.
            dry_run: Only say what would be done.
        """
        return Repairer(self._repository(project_id), self._session, dry_run=dry_run).repair(read_data=read_data)

    def fork(self, project_id: str, new_project_id: str, *, snapshot_id: str | None = None) -> Snapshot:
        """Begin a new project with a snapshot of another, by default its latest. The other is not touched.

        Stored content is copied by the store itself where it can (``CopyingStore``).

        Returns:
            The new project's first snapshot.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            StateError: The new project exists already.
        """
        return fork(self._repository(project_id), self._repository(new_project_id), snapshot_id, self._session)

    def diff(
        self, project_id: str, before_id: str, after_id: str, *, paths: Sequence[str] | None = None
    ) -> SnapshotDiff:
        """Which paths differ between two snapshots. Reads no content.

        Args:
            paths: Only these files and directories, with everything below them.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
        """
        repository = self._repository(project_id)
        return diff_trees(_tree(repository, before_id), _tree(repository, after_id), _within(paths))

    def diff_text(
        self,
        project_id: str,
        before_id: str,
        after_id: str,
        *,
        paths: Sequence[str] | None = None,
        max_file_bytes: int = 1 << 20,
    ) -> Iterator[str]:
        """The lines that differ between two snapshots, as ``diff -u`` shows them; reads the changed files only.

        Args:
            paths: Only these files and directories, with everything below them.
            max_file_bytes: Of larger files, and of those that are not UTF-8, it is only said that they differ.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            StateCorruptError: Content is missing or damaged.
        """
        repository = self._repository(project_id)
        before, after = _tree(repository, before_id), _tree(repository, after_id)
        return diff_lines(repository, before, after, _within(paths), max_file_bytes)

    def export(
        self,
        project_id: str,
        snapshot_id: str,
        file: BinaryIO,
        *,
        paths: Sequence[str] | None = None,
        compression: Compression | None = None,
    ) -> Snapshot:
        """Write a snapshot as a tar archive (POSIX pax), streamed.

        Args:
            file: Need not be seekable; stays open.
            paths: Only these files and directories, with everything below them.
            compression: None or ``"zstd"``.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            FileNotFoundError: The snapshot has no such path; nothing was written.
            StateCorruptError: Content is missing or damaged; the archive is then incomplete.
        """
        repository = self._repository(project_id)
        tree = _tree(repository, snapshot_id)
        within = everything if paths is None else check_paths(tree, paths)
        write_tar(repository, tree, file, within=within, compression=compression)
        return tree.snapshot

    def stats(self, project_id: str) -> ProjectStats:
        """How much is kept, and what it takes. Reads descriptions only."""
        return project_stats(self._repository(project_id))

    def tags(self, project_id: str) -> dict[str, str]:
        """Snapshot ids by tag."""
        head = self._repository(project_id).read_head().head
        return dict(head.tags) if head else {}

    def tag(self, project_id: str, snapshot_id: str, tag: str) -> None:
        """Give a snapshot a name, under which it is kept. Idempotent.

        Args:
            tag: 1 to 100 letters, digits, ``.``, ``_`` and ``-``; not ``latest``, and not like an id.

        Raises:
            SnapshotNotFoundError: The project has no such snapshot.
            StateError: The tag names another snapshot; ``untag`` it first.
        """
        if not _TAG.match(tag):
            raise ValueError(
                f"{tag!r:.150} is no tag: 1 to 100 letters, digits, '.', '_' and '-', not 'latest' and not like an id"
            )
        self._change_tags(self._repository(project_id), tag, snapshot_id)

    def untag(self, project_id: str, tag: str) -> None:
        """Take a tag away; the snapshot stays until a ``prune`` does not keep it any more.

        Raises:
            SnapshotNotFoundError: The project has no such tag.
        """
        self._change_tags(self._repository(project_id), tag, None)

    def _change_tags(self, repository: Repository, tag: str, snapshot_id: str | None) -> None:
        for _ in range(_ATTEMPTS):
            state = repository.read_head()
            tags = dict(state.head.tags) if state.head else {}
            if snapshot_id is not None:
                repository.find(snapshot_id)
                _check_new_tag(repository.project_id, tags, tag, snapshot_id)
                tags[tag] = snapshot_id
            elif tags.pop(tag, None) is None:
                raise SnapshotNotFoundError(
                    f"project {repository.project_id!r} has no tag {tag!r}; it has: {', '.join(sorted(tags)) or 'none'}"
                )
            if state.head is None:
                raise StateError(
                    f"HEAD of project {repository.project_id!r}, which keeps the tags, is missing; repair() rebuilds it"
                )
            if tags == state.head.tags:
                return
            # A swap, so that no prune can drop the snapshot in between.
            if swap(repository, state, replace(state.head, commit_id=new_snapshot_id(), tags=tags)):
                return
        raise StateConflictError(
            f"HEAD of project {repository.project_id!r} changed {_ATTEMPTS} times meanwhile; tag again"
        )

    def _repository(self, project_id: str) -> Repository:
        return Repository(self.store, check_project_id(project_id), self._access)


def _tree(repository: Repository, snapshot_id: str) -> Tree:
    return repository.get_tree(repository.find(snapshot_id)[1])


def _within(paths: Sequence[str] | None) -> Callable[[str], bool]:
    return everything if paths is None else is_within(paths)


def _check_new_tag(project_id: str, tags: dict[str, str], tag: str, snapshot_id: str) -> None:
    if tags.get(tag, snapshot_id) != snapshot_id:
        raise StateError(f"the tag {tag!r} of project {project_id!r} names the snapshot {tags[tag]!r}; untag it first")
    if tag not in tags and len(tags) >= _TAGS_MAX:
        raise StateError(f"project {project_id!r} has {_TAGS_MAX:,} tags, as many as it may; untag one first")
