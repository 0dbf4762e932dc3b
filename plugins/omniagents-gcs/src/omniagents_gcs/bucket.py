"""Single tries of requests through Google's client: the only module that calls it."""

from __future__ import annotations

import base64
import io
import os
from importlib.metadata import version
from typing import Any, NamedTuple

import google_crc32c
from google.api_core.client_info import ClientInfo
from google.api_core.exceptions import NotFound, PreconditionFailed, RequestRangeNotSatisfiable
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage

from omniagents.errors import StateAccessError, StateConfigurationError
from omniagents_gcs.answers import BrokenAnswerError, DamagedAnswerError, answer_of
from omniagents_gcs.refusals import NO_CREDENTIALS
from omniagents_gcs.watching import WatchedAdapter, limited

__all__ = ["Bucket", "Content", "make_client"]

_CONNECT_SECONDS = 10.0
# Between two pieces of an answer.
_SILENCE_SECONDS = 30.0
# The client says "connection pool is full" beyond this, and opens connections that serve once.
_CONNECTIONS = 64
_CONTENT_TYPE = "application/octet-stream"


class Content(NamedTuple):
    """An object, or part of one, and the generation it is of."""

    data: bytes
    generation: str


class Bucket:
    """One bucket. Every call is one try, ends after ``seconds``, and raises what the client raises.

    The client's own retries are off: only who counts the tries knows whether an answer was lost.
    """

    def __init__(self, client: storage.Client, name: str, user_project: str | None) -> None:
        self._client = client
        self._bucket = client.bucket(name, user_project=user_project)

    def read(self, name: str, byte_range: tuple[int, int] | None, seconds: float) -> Content:
        """The object or part of it; empty where it ends earlier.

        Raises:
            NotFound: There is none, or no bucket.
        """
        offset, length = byte_range or (0, None)
        blob = self._bucket.blob(name)
        sink = _Sink(length)
        last = {} if length is None else {"start": offset, "end": offset + length - 1}
        with limited(seconds):
            try:
                blob.download_to_file(sink, raw_download=True, checksum=None, **last, **_once(seconds))
            except RequestRangeNotSatisfiable:
                return Content(b"", "")
        data = sink.getvalue()
        if length is None or len(data) < length:
            self._check_end(name, offset, data, blob.crc32c, seconds)
        return Content(data, _generation(blob))

    def write(self, name: str, data: bytes, expected: str, seconds: float) -> str | None:
        """Replace generation ``expected`` (``0``: none); the new one, or None if it was another.

        The client sends up to 8 MiB in one request; more takes one to announce it, and then streams.
        """
        blob = self._bucket.blob(name)
        # Sent along, so that the server refuses content that was damaged on its way.
        blob.crc32c = checksum = _checksum(data)
        try:
            with limited(seconds):
                blob.upload_from_string(
                    data,
                    content_type=_CONTENT_TYPE,
                    if_generation_match=int(expected),
                    checksum=None,
                    **_once(seconds),
                )
        except PreconditionFailed as error:
            if not _is_generation(error):
                raise
            return None
        if blob.crc32c != checksum:
            raise BrokenAnswerError(f"the answer to an upload has the checksum {blob.crc32c!r}, not {checksum!r}")
        return _generation(blob)

    def holds(self, name: str, data: bytes, seconds: float) -> bool:
        """Whether the object is there with this content, judged by size and checksum."""
        try:
            return self._description(name, seconds) == (len(data), _checksum(data))
        except NotFound:
            return False

    def generation_with(self, name: str, data: bytes, seconds: float) -> str | None:
        """The object's generation, if it is there with exactly this content."""
        try:
            found = self.read(name, None, seconds)
        except NotFound:
            return None
        return found.generation if found.data == data else None

    def are_equal(self, name: str, other: str, seconds: float) -> bool:
        """Whether two objects have the same content, judged like this, too.

        Raises:
            NotFound: One of them is not there.
        """
        return self._description(name, seconds) == self._description(other, seconds)

    def size(self, name: str, seconds: float) -> int:
        """The object's size.

        Raises:
            NotFound: There is none, or no bucket.
        """
        return self._description(name, seconds)[0]

    def delete(self, name: str, seconds: float) -> None:
        """Remove it.

        Raises:
            NotFound: There is none, or no bucket.
        """
        with limited(seconds):
            self._bucket.blob(name).delete(**_once(seconds))

    def page(self, prefix: str, token: str | None, seconds: float) -> tuple[list[tuple[str, int]], str | None]:
        """Names and sizes of up to 1,000 objects, and the token of the next page."""
        with limited(seconds):
            listing = self._client.list_blobs(
                self._bucket,
                prefix=prefix or None,
                page_token=token,
                fields="items(name,size),nextPageToken",
                **_once(seconds),
            )
            found = [(blob.name, int(blob.size)) for blob in next(listing.pages, ())]
            return found, listing.next_page_token

    def copy(self, source: str, target: str, seconds: float) -> bool:
        """Copy within the bucket, nothing passing through here; False if the target is taken.

        Raises:
            NotFound: There is no source, or no bucket.
        """
        made, origin = self._bucket.blob(target), self._bucket.blob(source)
        token = None
        try:
            with limited(seconds):
                while True:
                    token, _, _ = made.rewrite(origin, token=token, if_generation_match=0, **_once(seconds))
                    if token is None:
                        return True
        except PreconditionFailed as error:
            if not _is_generation(error):
                raise
            return False

    def exists(self, seconds: float) -> bool:
        """Whether the bucket is there, by a listing: that takes no permission on the bucket itself."""
        try:
            with limited(seconds):
                next(self._client.list_blobs(self._bucket, max_results=1, **_once(seconds)).pages, None)
        except NotFound:
            return False
        return True

    def _check_end(self, name: str, offset: int, data: bytes, checksum: str | None, seconds: float) -> None:
        """What is shorter than asked for must be where the object ends; the checksum is that of the whole."""
        if offset == 0:
            _compare(checksum, data)
        elif self.size(name, seconds) != offset + len(data):
            raise BrokenAnswerError(f"{len(data)} bytes from byte {offset} on came, and the object does not end there")

    def _description(self, name: str, seconds: float) -> tuple[int, str]:
        blob = self._bucket.blob(name)
        with limited(seconds):
            blob.reload(**_once(seconds))
        if blob.size is None or blob.crc32c is None:
            raise BrokenAnswerError("the description of the object has no size or no checksum")
        return int(blob.size), str(blob.crc32c)


class _Sink(io.BytesIO):
    """Takes what is downloaded, and no more than was asked for."""

    def __init__(self, length: int | None) -> None:
        super().__init__()
        self._length = length

    def write(self, piece: Any) -> int:
        if self._length is not None and self.tell() + len(piece) > self._length:
            raise BrokenAnswerError(f"the answer has more than the {self._length} bytes that were asked for")
        return super().write(piece)


def make_client(project: str | None) -> storage.Client:
    """A client with Google's default credentials, or with none for an emulator.

    Raises:
        StateAccessError: There are no credentials.
        StateConfigurationError: ``STORAGE_EMULATOR_HOST`` is not an address.
    """
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator and not emulator.startswith(("http://", "https://")):
        raise StateConfigurationError(f"STORAGE_EMULATOR_HOST is {emulator!r}; it must begin with http:// or https://")
    try:
        client = storage.Client(
            # No request here is about a project: without one, none has to be found out.
            project=project,
            client_info=ClientInfo(user_agent=f"omniagents-gcs/{version('omniagents-gcs')}"),
        )
        session = client._http
    except (GoogleAuthError, OSError) as error:
        raise StateAccessError(f"no credentials for Google Cloud Storage: {error}; {NO_CREDENTIALS}") from error
    # Newer clients ask for the bucket's own description beside each request, in a thread, to label traces with it.
    vars(client).update(_bucket_metadata_cache=None)
    if not getattr(session, "is_mtls", False):  # that one's adapter holds the certificate
        for scheme in ("https://", "http://"):
            session.mount(scheme, WatchedAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS))
    return client


def _once(seconds: float) -> dict[str, Any]:
    return {"retry": None, "timeout": (min(seconds, _CONNECT_SECONDS), min(seconds, _SILENCE_SECONDS))}


def _checksum(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode("ascii")


def _compare(expected: str | None, data: bytes) -> None:
    if expected is not None and expected != _checksum(data):
        raise DamagedAnswerError(f"{len(data)} bytes came that do not match their checksum {expected!r}")


def _generation(blob: Any) -> str:
    if blob.generation is None:
        raise BrokenAnswerError("the answer does not say which generation of the object it is about")
    return str(blob.generation)


def _is_generation(error: PreconditionFailed) -> bool:
    """Whether it was ours that failed: policies of an organisation answer 412, too."""
    answer = answer_of(error)
    return answer is not None and "constraint" not in f"{answer.message} {' '.join(answer.reasons)}".lower()
