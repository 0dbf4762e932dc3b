"""A bucket and how long it is waited for: runs requests on it, and knows a missing bucket from a missing object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.api_core.exceptions import NotFound

from omniagents_gcs.answers import Answer, answer_of
from omniagents_gcs.bucket import Bucket
from omniagents_gcs.refusals import Request, bucket_missing
from omniagents_gcs.trying import Patience, Try, attempt

__all__ = ["Place"]

_T = TypeVar("_T")


class Place:
    """Where a store's objects are.

    Args:
        name: ``gs://bucket/prefix``.
        bucket: Makes single tries.
        patience: How often and how long.
    """

    def __init__(self, name: str, bucket: Bucket, patience: Patience) -> None:
        self._name = name
        self._bucket = bucket
        self._patience = patience
        self._is_there = False

    def run(
        self,
        verb: str,
        name: str,
        needs: tuple[str, ...],
        once: Callable[[Bucket, Try], _T],
        *,
        size: int = 0,
        if_missing: Callable[[], _T] | None = None,
    ) -> _T:
        """Try a request until it succeeds, is refused, or its time is over.

        Args:
            verb: What is done, and
            name: to which object, for messages.
            needs: The permissions it takes.
            once: Makes one try.
            size: Bytes that it moves.
            if_missing: The answer if there is no such object; without it, "not found" means the bucket.

        Raises:
            StateError: As ``trying.attempt`` says, or StateConfigurationError if there is no bucket.
        """
        request = Request(verb, name, self._name, needs, size)

        def tried(now: Try) -> _T:
            try:
                found = once(self._bucket, now)
            except NotFound as error:
                answer = answer_of(error)
                assert answer is not None
                if if_missing is None or not self._is_bucket_there(answer, now):
                    raise bucket_missing(request, answer) from error
                found = if_missing()
            self._is_there = True
            return found

        return attempt(request, self._patience, tried)

    def _is_bucket_there(self, answer: Answer, now: Try) -> bool:
        """The two kinds of 404 differ by their words only; for servers with other words, the bucket is looked for."""
        if "bucket does not exist" in answer.message:
            return False
        return self._is_there or answer.message.startswith("No such object") or self._bucket.exists(now.seconds)
