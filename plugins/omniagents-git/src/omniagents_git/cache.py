"""A project's bare repository on this machine: what the last load and saves left, all of it fetched again if lost."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from omniagents_git.failures import GitFailure
from omniagents_git.git import REMOTE_NAME, Git

__all__ = ["GitCache", "Push", "Rejected"]

# What is not in a pack of compressed files: indexes, trees, commits, the sidecar.
_FETCH_SLACK_BYTES = 1 << 30
_GC_EVERY = 32
_NOT_ADVERTISED = ("unadvertised object", "not our ref", "no such remote ref")


class Rejected(Exception):
    """The remote did not take a push because a branch is not where it was expected.

    Attributes:
        said: What the push reported.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True)
class Push:
    """One branch to move.

    Attributes:
        ref: Its full name.
        commit: Where to; empty to delete it.
        expected: Where it must be now, empty for nowhere; None if that does not matter.
    """

    ref: str
    commit: str
    expected: str | None = None


class GitCache:
    """One bare repository. Every method but ``locked`` is called with the lock held.

    Args:
        max_bytes: Of what is fetched.
    """

    def __init__(self, git: Git, *, max_bytes: int | None) -> None:
        self.git = git
        self._directory = git.directory
        self._max_bytes = None if max_bytes is None else max_bytes + _FETCH_SLACK_BYTES
        self._pushes = 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time; the repository exists."""
        self._directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Beside it, so that it survives the repository.
        lock = os.open(self._directory.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._make()
            yield
        finally:
            os.close(lock)

    def _make(self) -> None:
        if (self._directory / "HEAD").exists():
            return
        self.discard()
        self.git.init()

    def rebuild(self) -> None:
        """Begin anew with an empty repository."""
        self.discard()
        self.git.init()

    def discard(self) -> None:
        """Remove the repository, as far as this user can."""
        gone = self._directory.with_name(f"{self._directory.name}.{secrets.token_hex(4)}.gone")
        try:
            self._directory.rename(gone)
        except FileNotFoundError:
            return
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone, ignore_errors=True)
        else:
            gone.unlink()

    def has(self, commit: str) -> bool:
        """Whether a commit and its tree are here."""
        try:
            self.git.run("cat-file", "-e", f"{commit}^{{tree}}")
        except GitFailure:
            return False
        return True

    def ls_remote(self, *refs: str, doing: str) -> dict[str, str]:
        """Where these branches of the remote are; a name may end with ``*``."""
        said = self.git.run_remote("ls-remote", "--quiet", REMOTE_NAME, *refs, doing=doing)
        rows = (line.split("\t") for line in said.decode("utf-8", "replace").splitlines())
        return {row[1]: row[0] for row in rows if len(row) == 2 and _is_one_of(row[1], refs)}

    def fetch(self, commit: str, ref: str, *, doing: str) -> None:
        """Get one commit with its tree and files, without its history.

        Raises:
            GitFailure: It cannot be got.
        """
        try:
            self._fetch([f"+{commit}:refs/omniagents/fetched"], "--depth=1", doing=doing)
        except GitFailure as failure:
            # Protocol 0, where a server only gives what a branch names.
            if not failure.mentions(_NOT_ADVERTISED):
                raise
            self._fetch([f"+{ref}:refs/omniagents/fetched"], "--depth=1", doing=doing)
            if not self.has(commit):
                self._fetch([f"+{ref}:refs/omniagents/fetched"], "--depth=2147483647", doing=doing)

    def fetch_commits(self, refs: Iterable[str], *, doing: str) -> None:
        """Get whole histories, without trees where the server can leave them out; branches keep their names."""
        self._fetch([f"+{ref}:{ref}" for ref in refs], "--filter=tree:0", doing=doing)

    def fetch_whole(self, refs: Iterable[str], *, doing: str) -> None:
        """Get whole histories with everything; branches keep their names."""
        self._fetch([f"+{ref}:{ref}" for ref in refs], doing=doing)

    def _fetch(self, refspecs: Sequence[str], *options: str, doing: str) -> None:
        self.git.run_remote(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            *options,
            REMOTE_NAME,
            *refspecs,
            doing=doing,
            max_bytes=self._max_bytes,
        )

    def push(self, moves: Sequence[Push], *, doing: str, is_first: bool = False) -> None:
        """Move branches, all or none.

        Args:
            is_first: Nothing to compare with is at the remote: do not look for it.

        Raises:
            Rejected: A branch is not where it was expected.
            GitFailure: Anything else; the branches may have moved all the same if the connection broke.
        """
        leases = [f"--force-with-lease={move.ref}:{move.expected}" for move in moves if move.expected is not None]
        refspecs = [f"{'' if move.expected is not None else '+'}{move.commit}:{move.ref}" for move in moves]
        if not any(move.commit for move in moves):
            refspecs = [refspec.lstrip("+") for refspec in refspecs]
        atomic = ["--atomic"] if len(moves) > 1 else []
        config = [("pack.window", "0")] if is_first else []
        arguments = ("push", "--porcelain", "--no-verify", "--no-progress", *atomic, *leases, REMOTE_NAME, *refspecs)
        try:
            self.git.run_remote(*arguments, doing=doing, config=config)
        except GitFailure as failure:
            # "cannot lock ref": the server saw the other writer only when it was about to write.
            if failure.mentions(("(stale info)", "cannot lock ref", "failed to update ref", "(fetch first)")):
                raise Rejected(failure.said) from failure
            raise
        self._tidy()

    def refs(self) -> dict[str, str]:
        """Every branch that is here."""
        rows = self.git.run("for-each-ref", "--format=%(objectname) %(refname)").decode("utf-8", "replace").splitlines()
        return {ref: commit for commit, _, ref in (row.partition(" ") for row in rows)}

    def drop(self, refs: Iterable[str]) -> None:
        """Forget branches that the remote has no more."""
        lines = "".join(f"delete {ref}\n" for ref in refs)
        if lines:
            self.git.run("update-ref", "--stdin", input=lines.encode())

    def first_parents(self, ref: str, limit: int) -> list[str]:
        """The newest commits of a branch, newest first."""
        said = self.git.run("rev-list", "--first-parent", f"--max-count={limit}", ref, "--")
        return said.decode().split()

    def statistics(self) -> Mapping[str, int]:
        """What git counts of its objects."""
        rows = (line.partition(": ") for line in self.git.run("count-objects", "-v").decode().splitlines())
        return {key: int(value) for key, _, value in rows if value.isdigit()}

    def _tidy(self) -> None:
        """Many small saves make many small files."""
        self._pushes += 1
        if self._pushes % _GC_EVERY == 0:
            self.git.run("-c", "gc.auto=2000", "-c", "pack.window=0", "gc", "--auto", "--quiet")


def _is_one_of(ref: str, wanted: Sequence[str]) -> bool:
    """ls-remote also answers with names that only end like the one asked for."""
    return any(ref == one or (one.endswith("*") and ref.startswith(one[:-1])) for one in wanted)
