"""What ``read_many_files`` does inside: many files, one result, its room shared fairly."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence, Tuple

from .context import Context, Reply
from .failure import GuestFailure
from .hints import tool_call
from .media import Media, recognise, refuse_if_too_large
from .opening import Opened, opened_regular
from .paging import MAX_CHARACTERS, Page, cut_note, read_page
from .root import display
from .selecting import NO_ROOM, Chosen, Selection, reason_of, select
from .walk import stopper

__all__ = ["read_many_files", "share_out"]

# What the tool puts around the blocks counts as well.
_END_CHARACTERS = len("--- End of content ---")

# Below this a block says nothing; files that would get less are left to another call.
_MIN_SHARE = 500
_MARKER_CHARACTERS = 120
_MAX_MEDIA = 20
_MAX_MEDIA_BYTES = 20 << 20
_MAX_PROBLEMS = 5


def read_many_files(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Operation: the texts of many files, at most 50,000 characters together, and the images asked for.

    Small files come whole; large ones share what is left evenly, cut on line boundaries. Files are taken by code
    point of their paths until each further one would get less than 500 characters.

    Args:
        arguments: ``paths`` (files, directories, globs); ``include`` (globs: of what directories and globs find,
            only these), ``exclude`` (gitignore patterns, braces allowed), ``recursive`` (true: directories with all
            below them), ``use_default_excludes`` (true).

    Returns:
        ``files`` in the order of the payload, each ``path``, ``kind`` (``text``, ``image``, ``document``) and
        ``length`` (bytes of the payload). Of a text: ``total_lines``, ``shown_lines``, ``is_guess``, ``cut_lines``
        (their numbers), ``next_offset`` and ``next_call`` (null if all lines are shown). Of others: ``mime_type``.
        ``skipped`` by reason. ``problems``: ``code`` and ``message`` for each of ``paths`` that failed, at most five;
        ``problems_total``.

    Raises:
        GuestFailure: For a bad pattern in ``include`` or ``exclude``; nothing else fails the whole call.
        CallCancelled: The host gave the call up.
    """
    selection, asks_for_media = select(context, arguments)
    collected = _Collected(context, selection, asks_for_media)
    files = selection.files()
    check = stopper(context)
    for number, chosen in enumerate(files):
        check()
        if not collected.take(chosen):
            rest = [later.path for later in files[number:]]
            selection.skipped.add_many(NO_ROOM, len(rest), rest)
            break
    described, payload = collected.finished()
    problems = [{"code": problem.code, "message": problem.message} for problem in selection.problems]
    return {
        "files": described,
        "skipped": selection.skipped.as_json(),
        "problems": problems[:_MAX_PROBLEMS],
        "problems_total": len(problems),
    }, payload


def share_out(sizes: Sequence[int], room: int) -> int:
    """The most that each may take so that all together fit: who needs less leaves the rest to the others."""
    for taken, size in enumerate(sorted(sizes)):
        even = room // (len(sizes) - taken)
        if size > even:
            return even
        room -= size
    return max(sizes, default=0)


class _Collected:
    """The files of one result while they are read."""

    def __init__(self, context: Context, selection: Selection, asks_for_media: Callable[[str], bool]) -> None:
        self._context = context
        self._selection = selection
        self._asks_for_media = asks_for_media
        self._texts: List[Tuple[str, Page]] = []
        self._media: List[Tuple[str, Media, bytes]] = []
        self._media_bytes = 0
        self._claimed = _END_CHARACTERS
        self._fixed = _END_CHARACTERS

    def take(self, chosen: Chosen) -> bool:
        """Read one file; False if there is no room for it, or for any more."""
        try:
            with opened_regular(self._context, chosen.path) as opened:
                media = recognise(opened.head)
                if media is None:
                    return self._take_text(chosen.path, opened)
                return self._take_media(chosen, opened, media)
        except GuestFailure as failure:
            if chosen.is_named:
                self._selection.problems.append(failure)
            else:
                self._selection.skip(reason_of(failure), chosen.path)
            return True

    def _take_text(self, path: str, opened: Opened) -> bool:
        fixed = _header_characters(path)
        if opened.size > _MIN_SHARE:
            fixed += _MARKER_CHARACTERS + len(display(path))
        if not self._claim(fixed, min(opened.size, _MIN_SHARE)):
            return False
        try:
            page = read_page(opened, self._context.call)
        except GuestFailure:
            self._claim(-fixed, -min(opened.size, _MIN_SHARE))
            raise
        self._texts.append((path, page))
        return True

    def _take_media(self, chosen: Chosen, opened: Opened, media: Media) -> bool:
        path = chosen.path
        if not chosen.is_named and not self._asks_for_media(path):
            self._selection.skip("images or PDFs not asked for", path)
            return True
        refuse_if_too_large(media, opened.size, path)
        if len(self._media) == _MAX_MEDIA or self._media_bytes + opened.size > _MAX_MEDIA_BYTES:
            self._selection.skip("images or PDFs beyond 20 or 20 MiB a call", path)
            return True
        if not self._claim(_header_characters(path) + _MARKER_CHARACTERS, 0):
            return False
        content = opened.read_all(self._context.call)
        self._media_bytes += len(content)
        self._media.append((path, media, content))
        return True

    def _claim(self, fixed: int, least: int) -> bool:
        if self._claimed + fixed + least > MAX_CHARACTERS:
            return False
        self._fixed += fixed
        self._claimed += fixed + least
        return True

    def finished(self) -> Tuple[List[Dict[str, Any]], bytes]:
        """The description of every file and the payload, in the order of the paths."""
        share = share_out([len(page.text) for _, page in self._texts], MAX_CHARACTERS - self._fixed)
        entries = [_text_entry(path, page, share) for path, page in self._texts]
        for path, media, content in self._media:
            entries.append(({"path": path, "kind": media.kind, "mime_type": media.mime_type}, content))
        entries.sort(key=lambda entry: str(entry[0]["path"]))
        for description, content in entries:
            description["length"] = len(content)
        return [description for description, _ in entries], b"".join(content for _, content in entries)


def _header_characters(path: str) -> int:
    return len("---  ---\n\n") + len(display(path))


def _text_entry(path: str, page: Page, share: int) -> Tuple[Dict[str, Any], bytes]:
    lines = _fitting(page.lines, share)
    cut_lines = [cut.line for cut in page.cuts if cut.line <= len(lines)]
    next_offset = len(lines) if len(lines) < page.total_lines else None
    if page.lines and not lines:
        # Not even the first line fits: the next call begins with it again.
        lines, next_offset, cut_lines = [_beginning(page, share)], 0, []
    options: Dict[str, object] = {"offset": next_offset} if next_offset else {}
    description = {
        "path": path,
        "kind": "text",
        "total_lines": page.total_lines,
        "shown_lines": len(lines),
        "is_guess": page.is_guess,
        "cut_lines": cut_lines,
        "next_offset": next_offset,
        "next_call": None if next_offset is None else tool_call("read_file", absolute_path=path, **options),
    }
    return description, "".join(lines).encode("utf-8")


def _fitting(lines: List[str], share: int) -> List[str]:
    used = 0
    for count, line in enumerate(lines):
        used += len(line)
        if used > share:
            return lines[:count]
    return lines


def _beginning(page: Page, share: int) -> str:
    line = page.lines[0].rstrip("\r\n")
    length = page.cuts[0].characters if page.cuts and page.cuts[0].line == 1 else len(line)
    kept = share - len(cut_note(length)) - 1
    return line[:kept] + cut_note(length - kept) + "\n"
