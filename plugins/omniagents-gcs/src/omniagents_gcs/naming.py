"""Names of objects in a bucket: what Cloud Storage accepts, and the prefix under which all of a store's are."""

from __future__ import annotations

import unicodedata

from omniagents.errors import StateConfigurationError

__all__ = ["clean_prefix"]

# An object's name has at most 1,024 bytes of UTF-8 (Cloud Storage, "Object naming guidelines"); the engine's
# own names stay below 300.
_PREFIX_MAX_BYTES = 700


def clean_prefix(prefix: str) -> str:
    """The prefix as every name starts with it: empty, or ending in one ``/``.

    Raises:
        StateConfigurationError: No object's name may start like this.
    """
    inner = prefix.strip("/")
    if not inner:
        return ""
    problem = _problem(inner)
    if problem:
        raise StateConfigurationError(f"prefix={prefix!r} cannot start the name of an object: {problem}")
    return f"{inner}/"


def _problem(inner: str) -> str | None:
    try:
        size = len(inner.encode("utf-8"))
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if size > _PREFIX_MAX_BYTES:
        return f"it has {size} bytes, more than {_PREFIX_MAX_BYTES}"
    # Control characters are allowed but for carriage return and line feed, and break tools that list the bucket.
    if any(unicodedata.category(character) == "Cc" for character in inner):
        return "it contains control characters"
    if any(part in ("", ".", "..") for part in inner.split("/")):
        return "between its slashes must be names, neither empty nor '.' nor '..'"
    if inner.startswith(".well-known/acme-challenge"):
        return "Cloud Storage keeps .well-known/acme-challenge/ for itself"
    return None
