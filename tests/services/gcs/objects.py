"""Buckets in memory with what Cloud Storage says about generations, preconditions, checksums and pages."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import google_crc32c

__all__ = ["Blob", "Buckets", "Problem"]

_PAGE = 1000


class Problem(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Blob(NamedTuple):
    """One object as it is now."""

    data: bytes
    generation: int
    crc32c: str
    md5: str
    written: float


class Upload(NamedTuple):
    """What has arrived of a resumable upload."""

    described: Mapping[str, Any]
    conditions: Mapping[str, str]
    data: bytearray


class Buckets:
    """Everything stored; used by one thread.

    Attributes:
        objects: Bucket to name to object.
        updates_are_limited: One object can be replaced once a second only; more is 429.
        page_size: The most that one page of a listing holds.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Blob]] = {}
        self.updates_are_limited = False
        self.page_size = _PAGE
        self._uploads: dict[str, Upload] = {}
        self._generations = itertools.count(int(time.time() * 1_000_000))

    def read(self, bucket: str, name: str, conditions: Mapping[str, str]) -> Blob:
        found = self._bucket(bucket).get(name)
        if found is None or conditions.get("generation", str(found.generation)) != str(found.generation):
            raise Problem(404, "notFound", f"No such object: {bucket}/{name}")
        _check(found, conditions)
        return found

    def write(
        self, bucket: str, name: str, data: bytes, conditions: Mapping[str, str], sums: Mapping[str, Any]
    ) -> dict[str, Any]:
        blobs = self._bucket(bucket)
        before = blobs.get(name)
        _check(before, conditions)
        blob = self._blob(data)
        for field, computed in (("crc32c", blob.crc32c), ("md5Hash", blob.md5)):
            if sums.get(field, computed) != computed:
                raise Problem(400, "invalid", f'Provided {field} "{sums[field]}" doesn\'t match calculated {computed}.')
        if self.updates_are_limited and before is not None and blob.written - before.written < 1.0:
            raise Problem(
                429, "rateLimitExceeded", f"The object {bucket}/{name} exceeded the rate limit for object mutations."
            )
        blobs[name] = blob
        return self.describe(bucket, name, blob)

    def check(self, bucket: str, name: str, conditions: Mapping[str, str]) -> None:
        """Raises Problem if a write would be refused now."""
        _check(self._bucket(bucket).get(name), conditions)

    def announce(self, described: Mapping[str, Any], conditions: Mapping[str, str]) -> str:
        """Begin a resumable upload; its id."""
        upload_id = str(next(self._generations))
        self._uploads[upload_id] = Upload(described, conditions, bytearray())
        return upload_id

    def continue_upload(self, upload_id: str, piece: bytes) -> Upload:
        self._uploads[upload_id].data.extend(piece)
        return self._uploads[upload_id]

    def delete(self, bucket: str, name: str, conditions: Mapping[str, str]) -> None:
        self.read(bucket, name, conditions)
        del self._bucket(bucket)[name]

    def copy(self, bucket: str, source: str, target: str, conditions: Mapping[str, str]) -> dict[str, Any]:
        found = self.read(bucket, source, {})
        return self.write(bucket, target, found.data, conditions, {})

    def page(self, bucket: str, options: Mapping[str, str]) -> dict[str, Any]:
        prefix, start = options.get("prefix", ""), options.get("pageToken", "")
        size = min(int(options.get("maxResults", self.page_size)), self.page_size)
        blobs = self._bucket(bucket)
        names = sorted(name for name in blobs if name.startswith(prefix) and name > start)
        answer: dict[str, Any] = {"items": [self.describe(bucket, name, blobs[name]) for name in names[:size]]}
        if len(names) > size:
            answer["nextPageToken"] = names[size - 1]
        return answer

    def describe(self, bucket: str, name: str, blob: Blob) -> dict[str, Any]:
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(blob.data)),
            "generation": str(blob.generation),
            "metageneration": "1",
            "crc32c": blob.crc32c,
            "md5Hash": blob.md5,
        }

    def _bucket(self, bucket: str) -> dict[str, Blob]:
        if bucket not in self.objects:
            raise Problem(404, "notFound", "The specified bucket does not exist.")
        return self.objects[bucket]

    def _blob(self, data: bytes) -> Blob:
        crc32c = base64.b64encode(google_crc32c.Checksum(data).digest()).decode()
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        return Blob(data, next(self._generations), crc32c, md5, time.monotonic())


def _check(found: Blob | None, conditions: Mapping[str, str]) -> None:
    generation = 0 if found is None else found.generation
    metageneration = 0 if found is None else 1
    for name, wanted, is_match in (
        ("ifGenerationMatch", generation, True),
        ("ifGenerationNotMatch", generation, False),
        ("ifMetagenerationMatch", metageneration, True),
        ("ifMetagenerationNotMatch", metageneration, False),
    ):
        if name in conditions and (int(conditions[name]) == wanted) is not is_match:
            raise Problem(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
