"""What ``read_file`` does inside: one page of a text, or a whole image or document."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple

from .context import Context, Reply
from .failure import GuestFailure
from .hints import shell_word, tool_call
from .media import Media, recognise, refuse_if_too_large
from .opening import Opened, opened_regular
from .paging import MAX_CHARACTERS, MAX_LINES, Cut, Page, read_page
from .root import display

__all__ = ["read_file", "rest_of_line"]

_RANGE_ARGUMENTS = ("offset", "limit", "start_line", "end_line")


def read_file(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Read one page of a text file, or an image or PDF.

    Args:
        arguments: ``absolute_path``; ``offset`` (lines, from 0) and ``limit``, or ``start_line`` and ``end_line``
            (from 1, both included); ``line_numbers``. Null stands for what is left out.

    Returns:
        ``kind`` is ``text``, ``image`` or ``document``; the payload is the page as UTF-8, or the file's bytes.
        Of a text: ``path``, ``bytes``, ``encoding``, ``is_guess``, ``total_lines``, ``first_line``, ``last_line``,
        ``cut_lines`` (each ``line`` and ``characters``) with ``rest_call`` for the first of them, and
        ``next_offset`` with ``next_call`` (null at the end). Of the others: ``path``, ``bytes``, ``mime_type``.

    Raises:
        GuestFailure: As ``opened_regular``; ``BINARY_FILE``, ``OFFSET_OUT_OF_RANGE``, ``FILE_TOO_LARGE`` (image
            over 5 MiB as base64, PDF over 20 MiB), ``INVALID_ARGUMENTS``.
        CallCancelled: The host gave the call up.
    """
    wanted = _wanted(arguments)
    with opened_regular(context, arguments["absolute_path"]) as opened:
        media = recognise(opened.head)
        if media is not None:
            return _read_media(context, arguments, opened, media)
        page = read_page(
            opened, context.call, wanted.offset, wanted.limit or MAX_LINES, bool(arguments.get("line_numbers"))
        )
        if wanted.offset >= max(page.total_lines, 1):
            raise _past_the_end(opened.path, wanted.offset, page.total_lines)
        return _page_reply(arguments, opened, page, wanted.limit), page.text.encode("utf-8")


class _Wanted(NamedTuple):
    """``limit`` is None where the caller named none."""

    offset: int
    limit: int | None


def _wanted(arguments: Dict[str, Any]) -> _Wanted:
    offset, limit, start, end = (arguments.get(name) for name in _RANGE_ARGUMENTS)
    if start is None and end is None:
        return _Wanted(offset or 0, limit)
    if offset is not None or limit is not None:
        raise GuestFailure(
            "INVALID_ARGUMENTS",
            "Name the lines either by offset (from 0) and limit, or by start_line and end_line (from 1), not by both",
        )
    first = start or 1
    if end is None:
        return _Wanted(first - 1, None)
    if end < first:
        raise GuestFailure("INVALID_ARGUMENTS", "end_line (%d) is before start_line (%d)" % (end, first))
    return _Wanted(first - 1, end - first + 1)


def _read_media(context: Context, arguments: Dict[str, Any], opened: Opened, media: Media) -> Reply:
    if any(arguments.get(name) is not None for name in _RANGE_ARGUMENTS):
        raise GuestFailure(
            "INVALID_ARGUMENTS",
            "%s is %s and has no lines; read all of it with %s"
            % (display(opened.path), media.mime_type, tool_call("read_file", absolute_path=opened.path)),
            path=opened.path,
        )
    refuse_if_too_large(media, opened.size, opened.path)
    content = opened.read_all(context.call)
    header = {"kind": media.kind, "path": opened.path, "mime_type": media.mime_type, "bytes": len(content)}
    return header, content


def _past_the_end(path: str, offset: int, total: int) -> GuestFailure:
    if total:
        facts = "%s has %s, so the last offset is %d" % (display(path), _lines(total), total - 1)
    else:
        facts = "%s is empty" % display(path)
    return GuestFailure(
        "OFFSET_OUT_OF_RANGE", "%s; offset %d is past its end" % (facts, offset), path=path, total_lines=total
    )


def _lines(count: int) -> str:
    return "1 line" if count == 1 else "%s lines" % format(count, ",")


def _page_reply(arguments: Dict[str, Any], opened: Opened, page: Page, limit: int | None) -> Dict[str, Any]:
    return {
        "kind": "text",
        "path": opened.path,
        "bytes": opened.size,
        "encoding": page.encoding,
        "is_guess": page.is_guess,
        "total_lines": page.total_lines,
        "first_line": page.offset + 1 if page.lines else 0,
        "last_line": page.offset + len(page.lines),
        "cut_lines": [{"line": cut.line, "characters": cut.characters} for cut in page.cuts],
        "rest_call": rest_of_line(opened.path, page) if page.cuts else None,
        "next_offset": page.next_offset,
        "next_call": _next_call(arguments, opened.path, page, limit),
    }


def _next_call(arguments: Dict[str, Any], path: str, page: Page, limit: int | None) -> str | None:
    if page.next_offset is None:
        return None
    options: Dict[str, object] = {"offset": page.next_offset}
    if limit is not None:
        # A page cut by its size leaves some of the lines that were asked for.
        options["limit"] = limit - len(page.lines) or limit
    if arguments.get("line_numbers"):
        options["line_numbers"] = True
    return tool_call("read_file", absolute_path=path, **options)


def rest_of_line(path: str, page: Page) -> str:
    """The call that shows what comes after the shown beginning of the page's first cut line."""
    cut = page.cuts[0]
    if page.encoding not in ("utf-8", "latin-1"):
        return tool_call("run_shell_command", command=_by_python(path, page.encoding, cut))
    first = len(cut.shown.encode(page.encoding)) + 1
    if cut.line == 1:
        first += len(page.mark)
    command = "sed -n '%d{p;q;}' %s | cut -b %d-%d" % (cut.line, shell_word(path), first, first + MAX_CHARACTERS - 1)
    return tool_call("run_shell_command", command=command)


def _by_python(path: str, encoding: str, cut: Cut) -> str:
    # Not iconv: small images have none, or one without tables. The mark counts as a character of line 1.
    start = len(cut.shown) + (cut.line == 1)
    program = (
        "import itertools, sys; file = open(sys.argv[1], encoding='%s', newline='\\n'); "
        "sys.stdout.buffer.write(next(itertools.islice(file, %d, None))[%d:%d].encode())"
    ) % (encoding, cut.line - 1, start, start + MAX_CHARACTERS)
    return 'python3 -c "%s" %s' % (program, shell_word(path))
