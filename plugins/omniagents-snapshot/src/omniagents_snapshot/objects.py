"""One project's objects in a store: their names, their checks, the key they are sealed with, and its packs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Self, TypeVar

from omniagents._ids import encode_project_id
from omniagents.errors import StateCorruptError, StateError
from omniagents_snapshot.access import Access
from omniagents_snapshot.encryption import Encryption
from omniagents_snapshot.limits import PACK_MAX_BYTES
from omniagents_snapshot.model import Pack, TreeName
from omniagents_snapshot.progress import Reporter
from omniagents_snapshot.sealing import Hasher, Sealer
from omniagents_snapshot.small_objects import (
    copied_format,
    decode_project_id,
    new_format,
    open_format,
    rewrapped_format,
)
from omniagents_snapshot.store import ObjectMissingError, Store, StoredObject

__all__ = ["CorruptObjectError", "Objects", "project_ids"]

_T = TypeVar("_T")
_PARALLEL = 8
_FORMAT_MAX_BYTES = 64 << 10


class CorruptObjectError(StateCorruptError):
    """A stored object is missing or damaged.

    Attributes:
        name: Which.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def project_ids(store: Store) -> Iterator[str]:
    """Every project something was ever saved for, in no order. Looks at the name of every object in the store.

    Raises:
        StateCorruptError: A project's format is damaged, so that its id is not known.
    """
    for found in store.list(""):
        if found.name.count("/") == 1 and found.name.endswith("/format.json"):
            try:
                yield decode_project_id(store.get(found.name, (0, _FORMAT_MAX_BYTES)))
            except ValueError as error:
                raise StateCorruptError(f"{found.name} {error}") from error


class Objects:
    """What is said of every object of one project, and what can be done without knowing its snapshots."""

    def __init__(self, store: Store, project_id: str, access: Access | None = None) -> None:
        self.store = store
        self.access = access or Access()
        self.project_id = project_id
        self.prefix = encode_project_id(project_id)
        self._hasher: Hasher | None = None
        self._sealer = Sealer()
        cache = self.access.cache
        self._cache = cache.project(store.identity, self.prefix) if cache else None

    def reporter(self) -> Reporter:
        """Tells whoever wants to know how far a call has come."""
        return Reporter(self.project_id, self.access.progress)

    def uncached(self) -> Self:
        """The same project, seen as the store has it."""
        return type(self)(self.store, self.project_id, replace(self.access, cache=None))

    @property
    def hasher(self) -> Hasher:
        """The project's keyed hash.

        Raises:
            StateCorruptError: Its format is missing or unreadable.
            StateError: It is encrypted, and the key is missing or another one.
        """
        if self._hasher is None:
            self._hasher, self._sealer = self._checked("format.json", self._open_format, _FORMAT_MAX_BYTES)
        return self._hasher

    @property
    def sealer(self) -> Sealer:
        """How the project's bytes are sealed. Raises what ``hasher`` does."""
        _ = self.hasher
        return self._sealer

    def create(self) -> None:
        """Store the format, with a new key, unless the project has one."""
        if self._hasher is None:
            self.store.put_new(self._name("format.json"), new_format(self.project_id, self.access.encryption))

    def create_like(self, other: Objects) -> bool:
        """Store the format with another project's key; False if this project has one already."""
        data = other._checked(
            "format.json",
            lambda data: copied_format(data, other.project_id, self.project_id, self.access.encryption),
            _FORMAT_MAX_BYTES,
        )
        return self.store.put_new(self._name("format.json"), data)

    def change_key(self, new: Encryption) -> None:
        """Wrap the project's own key for another key; nothing else is written, and what is stored stays readable.

        Raises:
            StateError: The project is not encrypted, or was changed meanwhile.
        """
        name = self._name("format.json")
        found, old = self.store.read_versioned(name), self.access.encryption
        if found is None or old is None:
            raise StateError(f"project {self.project_id!r} {'does not exist' if old else 'is opened without its key'}")
        data = self._decoded("format.json", found.data, lambda data: rewrapped_format(data, self.project_id, old, new))
        if self.store.cas(name, data, found.version) is None:
            raise StateError(f"the key of project {self.project_id!r} was changed by another process; try again")

    def is_current(self) -> bool:
        """Whether the store still has this project, and not another one of the same name saved after a deletion."""
        try:
            return Objects(self.store, self.project_id, self.access).hasher.key == self.hasher.key
        except StateCorruptError:
            return False

    def put_pack(self, pack: Pack, data: bytes) -> None:
        """Store a pack."""
        self.store.put_new(self.pack_name(pack.digest), data)
        self._keep(pack.digest, 0, data)

    def pack_digests(self) -> set[str]:
        """The packs that the store has now."""
        return {found.name.rpartition("/")[2] for found in self.list("packs/")}

    def get_pack_range(self, digest: str, offset: int, length: int) -> bytes:
        """Part of a pack, whole but unchecked.

        Raises:
            StateCorruptError: The pack is missing or too short.
        """
        name = self.pack_name(digest)
        kept = self._kept(digest, offset, length)
        if kept is not None:
            return kept
        try:
            data = self.store.get(name, (offset, length))
        except ObjectMissingError as error:
            raise self.corrupt(name, "is missing", error) from error
        if len(data) != length:
            raise self.corrupt(name, f"ends before byte {offset + length}")
        self._keep(digest, offset, data)
        return data

    def reread_pack_range(self, digest: str, offset: int, length: int) -> bytes:
        """``get_pack_range`` of what turned out to be damaged: from the store, whatever this machine has of it."""
        if self._cache:
            self._cache.drop(digest, offset, length)
        return self.get_pack_range(digest, offset, length)

    def _put_named(self, sort: str, data: bytes) -> TreeName:
        """Store an object that is called by its digest."""
        name = TreeName(self.hasher.digest(data), len(data))
        self.store.put_new(self._name(f"{sort}/{name.digest}"), data)
        self._keep(name.digest, 0, data)
        return name

    def _kept_or_stored(self, sort: str, name: TreeName, decode: Callable[[bytes], _T]) -> _T:
        """An object that is called by its digest, checked."""
        below = f"{sort}/{name.digest}"
        kept = self._kept(name.digest, 0, name.size)
        if kept is not None:
            return self._decoded(below, kept, lambda data: decode(self._matching(name.digest, data)))

        def decode_and_keep(data: bytes) -> _T:
            found = decode(self._matching(name.digest, data))
            self._keep(name.digest, 0, data)
            return found

        return self._checked(below, decode_and_keep, name.size)

    def get_pack(self, digest: str) -> bytes:
        """A whole pack whose content matches its name.

        Raises:
            StateCorruptError: It is missing or damaged.
        """
        name = f"packs/{digest[:2]}/{digest}"
        return self._checked(name, lambda data: self._matching(digest, data), PACK_MAX_BYTES)

    def pack_name(self, digest: str) -> str:
        return self._name(f"packs/{digest[:2]}/{digest}")

    def list(self, below: str = "") -> Iterator[StoredObject]:
        """The project's objects below this part of it, by full names."""
        return self.store.list(f"{self.prefix}/{below}")

    def delete(self) -> None:
        """Remove everything, the latest first: half done, it reads as a project never saved. Idempotent."""
        if self._cache:
            self._cache.forget()
        self.store.delete(self._name("HEAD"))
        for below in ("history/", "trees/", "packs/", ""):
            with ThreadPoolExecutor(_PARALLEL) as executor:
                list(executor.map(lambda found: self.store.delete(found.name), list(self.list(below))))

    def corrupt(self, name: str, problem: str, cause: Exception | None = None) -> CorruptObjectError:
        """The error that names the object and what helps."""
        missing = isinstance(cause, ObjectMissingError)
        return CorruptObjectError(
            name,
            f"the stored object {name!r} of project {self.project_id!r} {'is missing' if missing else problem}; "
            "check() lists everything that is damaged, and snapshots that do not need it can still be restored",
        )

    def _kept(self, digest: str, offset: int, length: int) -> bytes | None:
        return self._cache.get(self.hasher, digest, offset, length) if self._cache else None

    def _keep(self, digest: str, offset: int, data: bytes) -> None:
        if self._cache:
            self._cache.put(self.hasher, digest, offset, data)

    def _name(self, below: str) -> str:
        return f"{self.prefix}/{below}"

    def _open_format(self, data: bytes) -> tuple[Hasher, Sealer]:
        return open_format(data, self.project_id, self.access.encryption)

    def _matching(self, digest: str, data: bytes) -> bytes:
        if self.hasher.digest(data) != digest:
            raise ValueError("does not match its digest")
        return data

    def _checked(self, below: str, decode: Callable[[bytes], _T], max_bytes: int) -> _T:
        name = self._name(below)
        try:
            data = self.store.get(name, (0, max_bytes))
        except ObjectMissingError as error:
            raise self.corrupt(name, "is missing", error) from error
        return self._decoded(below, data, decode)

    def _decoded(self, below: str, data: bytes, decode: Callable[[bytes], _T]) -> _T:
        try:
            return decode(data)
        except ValueError as error:
            raise self.corrupt(self._name(below), str(error), error) from error
