"""What write_file and replace do: text is decoded, checked, spliced and stored whole or not at all."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from .context import CallCancelled, Context, Reply
from .diffing import difference, unified_diff
from .failure import GuestFailure
from .hints import quoted, shown, tool_call
from .matching import MAX_LOOSE_CHARACTERS, Ambiguous, Match, find_match, has_only_crlf
from .placeholders import find_placeholder
from .storing import ABSENT, digest, read_stored, store
from .text import Decoded, decode, is_binary

__all__ = ["MAX_EDITED_BYTES", "replace", "until_stored", "write_file"]

#: Larger files are written without a look at what was there, and cannot be edited in place.
MAX_EDITED_BYTES = 64 << 20

_ATTEMPTS = 8
_MAX_CONTENT_BYTES = 256 << 20
_LISTED_LINES = 20
_WRITE_DIFF = {"max_lines": 60, "max_characters": 4_000}
_REPLACE_DIFF = {"max_lines": 400, "max_characters": 20_000}


class _Old(NamedTuple):
    """What stands in a file; ``decoded`` is None for a binary, a missing file, and one too large to look at."""

    exists: bool
    content: bytes | None
    decoded: Decoded | None

    @property
    def expected(self) -> str | None:
        if not self.exists:
            return ABSENT
        return None if self.content is None else digest(self.content)


def write_file(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Make the payload, UTF-8 text, the whole content of a file.

    Over an existing text the line endings stay CRLF where all were, and a byte-order mark with its encoding
    stays. Over a text that is not UTF-8 (read as Latin-1) and over a binary, UTF-8 is written.

    Args:
        context: ``call`` sends the content, at most 256 MiB.
        arguments: ``path``.

    Returns:
        ``path`` (relative, links resolved), ``created``, ``changed``, ``lines``, ``bytes`` as stored, ``notes``
        (sentences), ``diff`` (at most 4,000 characters).

    Raises:
        GuestFailure: ``OMISSION_PLACEHOLDER``, and what ``storing.store`` and ``Root.resolve`` raise.
    """
    path = str(arguments["path"])
    text = _received_text(context)
    resolved = _resolved_file(context, path)
    return until_stored(context, resolved, lambda: (_write(context, path, resolved, text), b""))


def replace(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Put new text in the place of old text; every other byte of the file stays.

    Args:
        context: ``call`` sends the old text and then the new, both UTF-8.
        arguments: ``path``; ``old_bytes``, where the new text begins; ``expected``, the number of places, or
            None for all. An empty old text creates the file, or fills an empty one.

    Returns:
        ``path``, ``created``, ``replacements``, ``lines`` (the first 20 line numbers, from 1), ``differences``
        that were looked past, ``notes``, ``diff`` (at most 20,000 characters).

    Raises:
        GuestFailure: ``NO_MATCH``, ``AMBIGUOUS_MATCH``, ``NO_CHANGE``, ``FILE_EXISTS``, ``BINARY_FILE``,
            ``FILE_TOO_LARGE`` (over 64 MiB), ``OMISSION_PLACEHOLDER``, ``INVALID_ARGUMENTS``, and what
            ``storing`` raises.
    """
    path, expected = str(arguments["path"]), arguments["expected"]
    payload = _received(context)
    old, new = _text(payload[: arguments["old_bytes"]]), _text(payload[arguments["old_bytes"] :])
    resolved = _resolved_file(context, path)
    if not old:
        return until_stored(context, resolved, lambda: (_fill(context, path, resolved, new), b""))
    return until_stored(context, resolved, lambda: (_edit(context, path, resolved, old, new, expected), b""))


def until_stored(context: Context, resolved: str, attempt: Callable[[], Reply]) -> Reply:
    """Run ``attempt``, which reads and then stores conditionally, again while somebody else changes the file between.

    Raises:
        GuestFailure: ``WRITE_CONFLICT`` after eight attempts.
    """
    with context.locks.holding(resolved):
        for _ in range(_ATTEMPTS - 1):
            if context.call.cancelled.is_set():
                raise CallCancelled
            try:
                return attempt()
            except GuestFailure as failure:
                if failure.code != "WRITE_CONFLICT":
                    raise
        return attempt()


def _received(context: Context) -> bytes:
    try:
        return context.call.receive_all(_MAX_CONTENT_BYTES)
    except ValueError as error:
        raise GuestFailure("FILE_TOO_LARGE", "%s; write it in parts with run_shell_command" % error) from error


def _received_text(context: Context) -> str:
    return _text(_received(context))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GuestFailure("INVALID_ARGUMENTS", "the text sent is not valid UTF-8: %s" % error) from error


def _resolved_file(context: Context, path: str) -> str:
    if not path:
        raise GuestFailure("INVALID_ARGUMENTS", "absolute_path is empty; name a file of the workspace", path=path)
    if path.endswith("/"):
        message = "%s ends with a slash, which names a directory; name a file" % shown(path)
        raise GuestFailure("INVALID_ARGUMENTS", message, path=path)
    return context.root.resolve(path)


def _old_content(resolved: str, path: str) -> _Old:
    try:
        content, _ = read_stored(resolved, path, max_bytes=MAX_EDITED_BYTES)
    except GuestFailure as failure:
        if failure.code not in ("FILE_NOT_FOUND", "FILE_TOO_LARGE"):
            raise
        return _Old(failure.code != "FILE_NOT_FOUND", None, None)
    return _Old(True, content, None if is_binary(content) else decode(content))


def _write(context: Context, path: str, resolved: str, text: str) -> Dict[str, Any]:
    old = _old_content(resolved, path)
    before = old.decoded.text if old.decoded is not None else ""
    _refuse_placeholder(text, before, path, "content")
    content, notes = _as_the_old_file(text, old)
    written = {
        "path": context.root.relative(resolved),
        "created": not old.exists,
        "changed": content != old.content,
        "lines": text.count("\n") + (not text.endswith("\n") and bool(text)),
        "bytes": len(content),
        "notes": _link_note(context, path, resolved) + notes,
        "diff": "",
    }
    if written["changed"]:
        store(resolved, content, expected=old.expected, named=path)
        if before:
            after = decode(content).text
            written["diff"] = unified_diff(before, difference(before, after), str(written["path"]), **_WRITE_DIFF)
    return written


def _as_the_old_file(text: str, old: _Old) -> Tuple[bytes, List[str]]:
    """The bytes to store and what must be said about them."""
    if old.exists and old.content is None:
        return text.encode(), ["The old content was over 64 MiB and was not looked at."]
    if old.content is None:
        return text.encode(), []
    if old.decoded is None:
        return text.encode(), ["The old content was binary."]
    notes = []
    if has_only_crlf(old.decoded.text) and "\n" in text and "\r" not in text:
        text = text.replace("\n", "\r\n")
        notes.append("Line endings were written as CRLF, like those of the old content.")
    if old.decoded.mark:
        notes.append("The byte-order mark was kept (%s)." % old.decoded.encoding)
        return old.decoded.mark + _without_mark(text).encode(old.decoded.encoding), notes
    content = text.encode()
    if old.decoded.is_guess and not text.isascii():
        notes.append("The old content was not UTF-8 (probably Latin-1); the new content is UTF-8.")
    return content, notes


def _without_mark(text: str) -> str:
    return text[1:] if text.startswith("\ufeff") else text


def _link_note(context: Context, path: str, resolved: str) -> List[str]:
    link = context.root.resolve(path, follow_last=False)
    if link == resolved:
        return []
    return ["%s is a link to it." % shown(context.root.relative(link))]


def _refuse_placeholder(new: str, old: str, path: str, argument: str) -> None:
    found = find_placeholder(new, old, path)
    if found is not None:
        raise GuestFailure(
            "OMISSION_PLACEHOLDER",
            "line %d of %s only stands for text that was left out: %s. Nothing was written. Write every line in full, "
            "or change just the part that differs with replace" % (found.line, argument, quoted(found.text)),
            path=path,
            line=found.line,
        )


def _fill(context: Context, path: str, resolved: str, new: str) -> Dict[str, Any]:
    old = _old_content(resolved, path)
    if old.exists and (old.decoded is None or old.decoded.text):
        raise GuestFailure(
            "FILE_EXISTS",
            "%s exists and is not empty; an empty old_string only creates a file. Give the text to replace, "
            "or overwrite the file with write_file" % shown(path),
            path=path,
        )
    if old.exists and not new:
        raise _no_change("%s is empty already" % shown(path), path)
    written = _write(context, path, resolved, new)
    lines = [1] if new else []
    diff = unified_diff("", difference("", new), str(written["path"]), **_WRITE_DIFF) if old.exists else ""
    return {
        "path": written["path"],
        "created": written["created"],
        "replacements": 1,
        "lines": lines,
        "differences": [],
        "notes": written["notes"],
        "diff": diff,
    }


def _edit(context: Context, path: str, resolved: str, old: str, new: str, expected: int | None) -> Dict[str, Any]:
    before = _edited_text(context, path, resolved)
    decoded = before.decoded
    if decoded.mark and old.startswith("\ufeff"):
        old, new = old[1:], _without_mark(new)
    if old == new:
        raise _no_change("old_string and new_string are the same", path)
    _refuse_placeholder(new, old, path, "new_string")
    match = find_match(decoded.text, old, new, expected) if old else None
    if match is None:
        raise _no_match(decoded.text, old, new, path)
    if isinstance(match, Ambiguous):
        raise _ambiguous(decoded.text, match, expected, path)
    if match.result == decoded.text:
        raise _no_change("%s has the text of new_string there already" % shown(path), path)
    store(resolved, _encoded(match.result, decoded, path), expected=digest(before.content), named=path)
    relative = context.root.relative(resolved)
    return {
        "path": relative,
        "created": False,
        "replacements": match.places,
        "lines": _line_numbers(decoded.text, [edit.start for edit in match.edits]),
        "differences": list(match.differences),
        "notes": _link_note(context, path, resolved) + _notes(match, decoded),
        "diff": unified_diff(decoded.text, match.edits, relative, **_REPLACE_DIFF),
    }


class _Edited(NamedTuple):
    content: bytes
    decoded: Decoded


def _edited_text(context: Context, path: str, resolved: str) -> _Edited:
    try:
        content, _ = read_stored(resolved, path, max_bytes=MAX_EDITED_BYTES)
    except GuestFailure as failure:
        if failure.code != "FILE_NOT_FOUND":
            raise
        from .similar import not_found

        missing = not_found(context.root, path, resolved)
        missing.message += ". To create it, use write_file"
        raise missing from None
    if is_binary(content):
        message = "%s is a binary file; replace edits text. Use run_shell_command instead" % shown(path)
        raise GuestFailure("BINARY_FILE", message, path=path)
    return _Edited(content, decode(content))


def _encoded(text: str, decoded: Decoded, path: str) -> bytes:
    try:
        return decoded.mark + text.encode(decoded.encoding)
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise GuestFailure(
            "INVALID_ARGUMENTS",
            "%s is not UTF-8 (it is edited as Latin-1), so %r (U+%04X) of new_string cannot be written in it; the file "
            "is untouched. Use other characters, or convert it first: run_shell_command with iconv -f latin1 -t utf8"
            % (shown(path), character, ord(character)),
            path=path,
        ) from error


def _notes(match: Match, decoded: Decoded) -> List[str]:
    notes = []
    if match.wrote_crlf:
        notes.append("The line endings of new_string were written as CRLF, like those of the file.")
    if decoded.is_guess:
        notes.append("The file is not UTF-8; it was edited as Latin-1.")
    if match.places > len(match.edits):
        notes.append("The diff shows the first {:,} places.".format(len(match.edits)))
    return notes


def _no_change(what: str, path: str) -> GuestFailure:
    return GuestFailure("NO_CHANGE", "%s; there is nothing to do and the file is untouched" % what, path=path)


def _line_numbers(text: str, positions: List[int]) -> List[int]:
    numbers, line, counted = [], 1, 0
    for position in positions[:_LISTED_LINES]:
        line += text.count("\n", counted, position)
        counted = position
        numbers.append(line)
    return numbers


def _ambiguous(text: str, found: Ambiguous, expected: int | None, path: str) -> GuestFailure:
    lines = _line_numbers(text, found.positions)
    listed = ", ".join(map(str, lines)) + (", \u2026" if found.places > len(lines) else "")
    where = "{:,} place{} of {} (line{} {})".format(
        found.places, "s" * (found.places != 1), shown(path), "s" * (len(lines) != 1), listed
    )
    if found.differences:
        where += ", apart from differences of " + " and ".join(found.differences)
        cure = "Copy the text exactly as it stands, with more lines around it, so that it stands for one place"
    elif expected is not None and found.places < expected:
        cure = "Pass expected_replacements=%d, or the text that all the places have" % found.places
    else:
        cure = "Add lines around it so that it stands for one place, or pass expected_replacements=%d" % found.places
    wanted = "one place was" if expected in (None, 1) else "%d were" % (expected or 0)
    return GuestFailure(
        "AMBIGUOUS_MATCH",
        "old_string stands in %s, but %s expected; the file is untouched. %s" % (where, wanted, cure),
        path=path,
        places=found.places,
        lines=lines,
    )


def _no_match(text: str, old: str, new: str, path: str) -> GuestFailure:
    parts = ["old_string is not in %s; the file is untouched." % shown(path)]
    if not text:
        parts.append("The file is empty; fill it with write_file.")
        return GuestFailure("NO_MATCH", "\n".join(parts), path=path)
    if len(new.strip()) > 3 and new in text:
        parts.append("new_string is there already, at line %d." % (text.count("\n", 0, text.find(new)) + 1))
    from .nearest import nearest_region

    region = nearest_region(text, old) if len(text) <= MAX_LOOSE_CHARACTERS else None
    if region is None:
        call = tool_call("search_file_content", pattern="\u2026", path=path)
        parts.append("Nothing in it comes close; find the place with %s first." % call)
        return GuestFailure("NO_MATCH", "\n".join(parts), path=path)
    lines = "lines %d-%d" % (region.first, region.last) if region.last > region.first else "line %d" % region.first
    parts.append("The closest text is at %s:\n%s\n%s." % (lines, region.shown, region.difference))
    parts.append("Call replace again with old_string exactly as the file has it.")
    return GuestFailure("NO_MATCH", "\n".join(parts), path=path, first_line=region.first, last_line=region.last)
