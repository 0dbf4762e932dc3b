"""What a failed request means: a pure reading of the exceptions that the client raises."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import requests.exceptions
import urllib3.exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError, TransportError

__all__ = ["Answer", "BrokenAnswerError", "DamagedAnswerError", "answer_of"]

# 409: another request was changing the object at the same time (Cloud Storage, "HTTP status and error codes").
_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504})
_NOTHING_DONE = frozenset({409, 429})
_MESSAGE_MAX = 600

_NETWORK_ERRORS = (
    TimeoutError,
    ConnectionError,
    http.client.HTTPException,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.Timeout,
    requests.exceptions.InvalidJSONError,
    urllib3.exceptions.HTTPError,
    TransportError,
)


class BrokenAnswerError(Exception):
    """A success that does not say what it must."""


class DamagedAnswerError(BrokenAnswerError):
    """Content that does not match the checksum that came with it."""


class Answer(NamedTuple):
    """One failed try.

    Attributes:
        status: Of HTTP; None if there was no whole answer.
        message: In the server's words, or the network's.
        reasons: The server's names for the error (``conditionNotMet``…).
        retry_after: Seconds the server asks to wait.
        is_transient: Another try may succeed.
        may_be_done: The request may have taken effect all the same.
    """

    status: int | None
    message: str
    reasons: frozenset[str]
    retry_after: float
    is_transient: bool
    may_be_done: bool


def answer_of(error: Exception) -> Answer | None:
    """What went wrong; None for an error that is not about the request: a defect."""
    if isinstance(error, GoogleAPICallError) and error.code is not None:
        return _from_response(int(error.code), error.response, str(error.message))
    if isinstance(error, (*_NETWORK_ERRORS, BrokenAnswerError)):
        # Trying again makes no certificate better.
        is_transient = "CERTIFICATE_VERIFY_FAILED" not in str(error)
        return Answer(None, _shortened(str(error) or type(error).__name__), frozenset(), 0.0, is_transient, True)
    if isinstance(error, GoogleAuthError):
        is_transient = bool(getattr(error, "retryable", False))
        return Answer(
            401, _shortened(str(error.args[0] if error.args else error)), frozenset(), 0.0, is_transient, False
        )
    return None


def _from_response(status: int, response: Any, otherwise: str) -> Answer:
    message, reasons = _words_of(response, otherwise)
    headers: Mapping[str, str] = getattr(response, "headers", {})
    is_slow_down = status == 403 and any("ratelimitexceeded" in reason.lower() for reason in reasons)
    # A body that was changed on its way: refused, and sent once more.
    is_damaged = status == 400 and "doesn't match calculated" in message
    return Answer(
        429 if is_slow_down else status,
        message,
        reasons,
        _seconds(headers.get("Retry-After", "")),
        status in _TRANSIENT or is_slow_down or is_damaged,
        status in _TRANSIENT - _NOTHING_DONE,
    )


def _words_of(response: Any, otherwise: str) -> tuple[str, frozenset[str]]:
    try:
        error = response.json()["error"]
        details = [item for item in error.get("errors", []) if isinstance(item, dict)]
        return _shortened(str(error["message"])), frozenset(str(item.get("reason")) for item in details)
    except (AttributeError, KeyError, TypeError, ValueError):
        # The answers of downloads are plain text; those of proxies may be anything.
        return _shortened(getattr(response, "text", "") or otherwise), frozenset()


def _seconds(retry_after: str) -> float:
    """A number of seconds or a date (RFC 9110, 10.2.3); 0 for anything else."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MESSAGE_MAX else f"{words[:_MESSAGE_MAX]}…"
