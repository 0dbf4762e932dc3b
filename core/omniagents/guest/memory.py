"""What save_memory keeps: one flat JSON object of strings in the workspace, so that every state manager saves it."""

from __future__ import annotations

import re
from typing import Any, Dict, Tuple

from .context import Context, Reply
from .editing import until_stored
from .failure import GuestFailure
from .hints import quoted
from .root import PRIVATE_DIRECTORY
from .storing import ABSENT, digest, read_stored, store

__all__ = ["MAX_KEY_CHARACTERS", "MAX_STORE_BYTES", "MAX_VALUE_BYTES", "STORE", "load_memory", "save_memory"]

STORE = PRIVATE_DIRECTORY + "/memory.json"
MAX_VALUE_BYTES = 4 << 10
MAX_STORE_BYTES = 64 << 10
MAX_KEY_CHARACTERS = 200

_MAX_READ_BYTES = 1 << 20
_MAX_MADE_KEY_CHARACTERS = 60
_CURE = "; it is untouched. Look at it with read_file, then mend it with write_file or remove it"


def save_memory(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Keep the payload, a UTF-8 text of at most 4 KiB, under a key.

    Args:
        context: ``call`` sends the value.
        arguments: ``key``, or None to make one from the value (two facts never share a made key).

    Returns:
        ``key``, ``old`` (what the key held, or None), ``changed``, ``entries`` (how many there are now), ``bytes``.

    Raises:
        GuestFailure: ``INVALID_ARGUMENTS`` (key, value), ``FILE_TOO_LARGE`` (64 KiB in all), ``STORE_CORRUPT``,
            ``PATH_OUTSIDE_WORKSPACE`` and what ``storing.store`` raises.
    """
    value = _checked_value(context.call.receive_all())
    key = None if arguments.get("key") is None else _checked_key(str(arguments["key"]))
    resolved = _resolved_store(context)
    return until_stored(context, resolved, lambda: (_save(resolved, key, value), b""))


def load_memory(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Everything that is kept, as a JSON object in the reply's payload; ``{}`` without a store.

    Raises:
        GuestFailure: ``STORE_CORRUPT``, ``PATH_OUTSIDE_WORKSPACE``, ``PERMISSION_DENIED``.
    """
    entries, _ = _load(_resolved_store(context))
    return {"entries": len(entries)}, _serialised(entries)


def _save(resolved: str, key: str | None, value: str) -> Dict[str, Any]:
    entries, expected = _load(resolved)
    name = _made_key(entries, value) if key is None else key
    old = entries.get(name)
    entries[name] = value
    content = _serialised(entries)
    if len(content) > MAX_STORE_BYTES:
        raise _too_much(entries, name, len(content))
    if old != value:
        store(resolved, content, expected=expected, named=STORE)
    return {"key": name, "old": old, "changed": old != value, "entries": len(entries), "bytes": len(content)}


def _serialised(entries: Dict[str, str]) -> bytes:
    import json

    return (json.dumps(entries, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def _resolved_store(context: Context) -> str:
    try:
        return context.root.resolve(STORE)
    except GuestFailure as failure:
        if failure.code == "PATH_OUTSIDE_WORKSPACE":
            message = "%s leads out of the workspace; remove the link with run_shell_command" % STORE
            raise GuestFailure(failure.code, message, path=STORE) from failure
        raise _corrupt(failure.message) from failure


def _load(resolved: str) -> Tuple[Dict[str, str], str]:
    """The entries, and what a conditional write expects to find."""
    try:
        content, _ = read_stored(resolved, STORE, max_bytes=_MAX_READ_BYTES)
    except GuestFailure as failure:
        if failure.code == "FILE_NOT_FOUND":
            return {}, ABSENT
        if failure.code in ("IS_A_DIRECTORY", "NOT_A_DIRECTORY", "NOT_A_REGULAR_FILE", "FILE_TOO_LARGE"):
            raise _corrupt(failure.message) from failure
        raise
    return _parsed(content), digest(content)


def _parsed(content: bytes) -> Dict[str, str]:
    import json

    try:
        pairs = json.loads(content.decode("utf-8"), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise _corrupt("%s is not valid JSON: %s" % (STORE, error)) from error
    if not isinstance(pairs, _Pairs):
        raise _corrupt("%s holds no JSON object" % STORE)
    entries: Dict[str, str] = {}
    for key, value in pairs:
        if not isinstance(value, str) or not _is_sendable(key + value):
            raise _corrupt("%s holds something else than a text under %s" % (STORE, quoted(key)))
        if key in entries:
            raise _corrupt("%s has the key %s twice" % (STORE, quoted(key)))
        entries[key] = value
    return entries


class _Pairs(list):  # type: ignore[type-arg]  # at run time list takes no parameters in Python 3.8
    """An object's keys and values as written: a dict would drop repeated keys."""


def _is_sendable(text: str) -> bool:
    # JSON's escapes can make lone surrogates, which cannot be written again.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _corrupt(what: str) -> GuestFailure:
    return GuestFailure("STORE_CORRUPT", "the memory store cannot be used: " + what + _CURE, path=STORE)


def _checked_value(data: bytes) -> str:
    if len(data) > MAX_VALUE_BYTES:
        message = "the value has {:,} bytes, at most {:,} fit; shorten it, or keep it in a file of its own"
        raise GuestFailure("INVALID_ARGUMENTS", message.format(len(data), MAX_VALUE_BYTES))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GuestFailure("INVALID_ARGUMENTS", "the value is not valid UTF-8: %s" % error) from error


def _checked_key(key: str) -> str:
    key = key.strip()
    if not key:
        raise GuestFailure("INVALID_ARGUMENTS", "the key is empty; give it a short name, such as 'test-command'")
    if len(key) > MAX_KEY_CHARACTERS:
        message = "the key has {:,} characters, at most {} are allowed; put the text into the value"
        raise GuestFailure("INVALID_ARGUMENTS", message.format(len(key), MAX_KEY_CHARACTERS))
    if not key.isprintable():
        message = "the key %s has control or other unprintable characters; use printable ones" % quoted(key)
        raise GuestFailure("INVALID_ARGUMENTS", message)
    return key


def _made_key(entries: Dict[str, str], fact: str) -> str:
    """The fact's first words, joined by hyphens; numbered where another fact begins alike."""
    words = re.findall(r"\w+", fact[: 4 * _MAX_MADE_KEY_CHARACTERS].lower())
    base = ""
    for word in words:
        longer = base + "-" + word if base else word[:_MAX_MADE_KEY_CHARACTERS]
        if len(longer) > _MAX_MADE_KEY_CHARACTERS:
            break
        base = longer
    base = base or "fact"
    key, number = base, 1
    while entries.get(key, fact) != fact:
        number += 1
        key = "%s-%d" % (base, number)
    return key


def _too_much(entries: Dict[str, str], name: str, size: int) -> GuestFailure:
    others = sorted((key for key in entries if key != name), key=lambda key: (-len(entries[key].encode()), key))
    largest = ", ".join("%s (%d bytes)" % (quoted(key), len(entries[key].encode())) for key in others[:3])
    return GuestFailure(
        "FILE_TOO_LARGE",
        "the memory store would have {:,} bytes, at most {:,} are kept; nothing was saved. Save a shorter value under "
        "one of the largest keys first: {}".format(size, MAX_STORE_BYTES, largest),
        path=STORE,
    )
