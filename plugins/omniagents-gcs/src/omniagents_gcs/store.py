"""The seven calls of the snapshot engine's store on a bucket, and one more: a copy that stays there."""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from omniagents.errors import StateConfigurationError
from omniagents_gcs.naming import clean_prefix
from omniagents_snapshot.store import ObjectMissingError, StoredObject, Versioned, check_name

if TYPE_CHECKING:
    from google.cloud import storage

    from omniagents_gcs.bucket import Bucket, Content
    from omniagents_gcs.place import Place
    from omniagents_gcs.trying import Try

__all__ = ["GCSStore"]

_GET = ("storage.objects.get",)
_LIST = ("storage.objects.list",)
_CREATE = ("storage.objects.create",)
_DELETE = ("storage.objects.delete",)
# Replacing an object deletes the one before (Cloud Storage, "IAM permissions for JSON methods").
_REPLACE = (*_CREATE, *_DELETE)
_DEFAULT_ENDPOINT = "https://storage.googleapis.com"


class GCSStore:
    """Objects in a bucket, below a prefix. Making one is cheap and asks nobody; Google's client is imported on use.

    Args:
        bucket: Its name.
        prefix: What the names of all objects start with, a ``/`` added; for several stores in a bucket.
        project: The client's project. No request needs one.
        user_project: The project that pays for requests, if the bucket's own does not ("requester pays").
        client: One's own client, with its credentials, connections and endpoint, instead of one with Google's
            default credentials. An answer that comes slowly but steadily may then last longer than
            ``timeout_seconds``, and a process that forks must make a store of its own.
        timeout_seconds: How long one request may take, all tries together; large objects get more, as if the
            connection had 128 KiB/s.
        pause: Waits between two tries, for as many seconds; ``time.sleep`` by default.

    Raises:
        StateConfigurationError: One of these cannot be.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        project: str | None = None,
        user_project: str | None = None,
        client: storage.Client | None = None,
        timeout_seconds: float = 60.0,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        if not bucket or "/" in bucket:
            raise StateConfigurationError(
                f"bucket={bucket!r} is not the name of a bucket: leave out gs://, and put what follows it into prefix="
            )
        if not timeout_seconds > 0:
            raise StateConfigurationError(f"timeout_seconds={timeout_seconds!r} is not more than 0")
        self._bucket = bucket
        self._prefix = clean_prefix(prefix)
        self._project, self._user_project, self._client = project, user_project, client
        self._timeout_seconds, self._pause = timeout_seconds, pause
        self._opened: dict[int, _Opened] = {}
        self._place = f"gs://{bucket}/{self._prefix}".rstrip("/")
        endpoint = os.environ.get("STORAGE_EMULATOR_HOST") if client is None else client.api_endpoint
        is_default = endpoint in (None, "", _DEFAULT_ENDPOINT)
        self.identity = self._place if is_default else f"{self._place} at {endpoint}"

    def __repr__(self) -> str:
        return f"GCSStore({self.identity!r})"

    def get(self, name: str, byte_range: tuple[int, int] | None = None) -> bytes:
        if byte_range is not None and byte_range[1] < 1:
            return self.get(name, (byte_range[0], 1))[:0]
        found = self._read(name, byte_range)
        if found is None:
            raise self._missing(name)
        return found.data

    def put_new(self, name: str, data: bytes) -> bool:
        full = self._full(name)

        def once(bucket: Bucket, now: Try) -> bool:
            if bucket.write(full, data, "0", now.seconds) is not None:
                return True
            # Taken: perhaps by an earlier try of this very call.
            return now.may_be_done and bucket.holds(full, data, now.seconds)

        return self._here().run("write", name, _CREATE, once, size=len(data))

    def read_versioned(self, name: str) -> Versioned | None:
        found = self._read(name, None)
        return None if found is None else Versioned(found.data, found.generation)

    def cas(self, name: str, data: bytes, expected: str | None) -> str | None:
        full = self._full(name)

        def once(bucket: Bucket, now: Try) -> str | None:
            version = bucket.write(full, data, expected or "0", now.seconds)
            if version is None and now.may_be_done:
                return bucket.generation_with(full, data, now.seconds)
            return version

        return self._here().run("replace", name, _REPLACE if expected else _CREATE, once, size=len(data))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        full = self._full(prefix.removesuffix("/")) + "/" if prefix else self._prefix
        token: str | None = None
        while True:
            found, token = self._page(prefix, full, token)
            yield from found
            if token is None:
                return

    def delete(self, name: str) -> None:
        full = self._full(name)

        def once(bucket: Bucket, now: Try) -> None:
            bucket.delete(full, now.seconds)

        self._here().run("delete", name, _DELETE, once, if_missing=lambda: None)

    def head(self, name: str) -> int | None:
        full = self._full(name)

        def once(bucket: Bucket, now: Try) -> int | None:
            return bucket.size(full, now.seconds)

        return self._here().run("read", name, _GET, once, if_missing=lambda: None)

    def copy_new(self, source: str, target: str) -> bool:
        """Create ``target`` with the content of ``source``, which never leaves the bucket; False if it is taken.

        Raises:
            ObjectMissingError: There is no ``source``.
        """
        origin, made = self._full(source), self._full(target)

        def once(bucket: Bucket, now: Try) -> bool | None:
            done = bucket.copy(origin, made, now.seconds)
            return done or (now.may_be_done and bucket.are_equal(origin, made, now.seconds))

        done = self._here().run("copy", source, (*_GET, *_CREATE), once, if_missing=lambda: None)
        if done is None:
            raise self._missing(source)
        return done

    def _full(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _missing(self, name: str) -> ObjectMissingError:
        return ObjectMissingError(f"no object {name!r} in {self._place!r}")

    def _read(self, name: str, byte_range: tuple[int, int] | None) -> Content | None:
        full = self._full(name)

        def once(bucket: Bucket, now: Try) -> Content | None:
            return bucket.read(full, byte_range, now.seconds)

        size = byte_range[1] if byte_range else 0
        return self._here().run("read", name, _GET, once, size=size, if_missing=lambda: None)

    def _page(self, prefix: str, full: str, token: str | None) -> tuple[builtins.list[StoredObject], str | None]:
        def once(bucket: Bucket, now: Try) -> tuple[builtins.list[tuple[str, int]], str | None]:
            return bucket.page(full, token, now.seconds)

        found, following = self._here().run("list", prefix, _LIST, once)
        named = ((name.removeprefix(self._prefix), size) for name, size in found)
        return [StoredObject(name, size) for name, size in named if _is_ours(name)], following

    def _here(self) -> Place:
        """The bucket as this process has it: connections must not be shared with a process that was forked."""
        opened = self._opened.setdefault(os.getpid(), _Opened())
        with opened.lock:
            if opened.place is None:
                opened.place = self._open()
            return opened.place

    def _open(self) -> Place:
        # Google's client takes half a second to import.
        from omniagents_gcs.bucket import Bucket, make_client
        from omniagents_gcs.place import Place
        from omniagents_gcs.trying import Patience

        client = self._client if self._client is not None else make_client(self._project)
        patience = Patience(self._timeout_seconds)
        if self._pause is not None:
            patience = patience._replace(pause=self._pause)
        return Place(self._place, Bucket(client, self._bucket, self._user_project), patience)


class _Opened:
    """What one process has opened, once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.place: Place | None = None


def _is_ours(name: str) -> bool:
    """Not a "folder" that somebody made in the console, nor a stranger's object beside ours."""
    try:
        check_name(name)
    except ValueError:
        return False
    return True
