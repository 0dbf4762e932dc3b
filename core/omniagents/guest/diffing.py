"""Unified diffs for a model to read, in bounded time and size whatever the files are."""

from __future__ import annotations

from typing import Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from .root import display

__all__ = ["Edit", "difference", "split_lines", "unified_diff"]

_CONTEXT_LINES = 3
_MAX_LINE_CHARACTERS = 300
_MAX_COMPARED_CHARACTERS = 4_000_000
_MAX_DISTANCE = 250  # lines added and removed in one block before it is shown as replaced as a whole
_MAX_COMPARISONS = 400_000
_NO_FINAL_NEWLINE = "\\ No newline at end of file"


class Edit(NamedTuple):
    """The characters from ``start`` to ``end`` of the old text become ``text``."""

    start: int
    end: int
    text: str


class _Change(NamedTuple):
    """Whole lines: ``old[start:end]``, of which the first has the 0-based number ``line``."""

    start: int
    end: int
    line: int
    removed: List[str]
    added: List[str]


def difference(old: str, new: str) -> List[Edit]:
    """At most one edit that turns ``old`` into ``new``: what is left without the common beginning and end."""
    if old == new:
        return []
    start = _common_prefix(old, new)
    room = min(len(old), len(new)) - start
    end = _common_suffix(old, new, room)
    return [Edit(start, len(old) - end, new[start : len(new) - end])]


def unified_diff(
    old: str, edits: Sequence[Edit], name: str, *, max_lines: int = 400, max_characters: int = 20_000
) -> str:
    """The edits as a unified diff, without a newline at its end; ``""`` when they change nothing.

    Args:
        old: The text before; only line feeds end lines here.
        edits: In order, not overlapping.
        name: Shown in both header lines.
        max_lines: Of the diff, after which one line says how much is missing.
        max_characters: Likewise. Lines over 300 characters are cut as well.

    Changed parts of more than 4 million characters get one line that counts them.
    """
    blocks = list(_blocks(old, edits))
    if sum(end - start + len(new) for start, end, new in blocks) > _MAX_COMPARED_CHARACTERS:
        return _summary(blocks, name)
    changes = _changes(old, blocks)
    if not changes:
        return ""
    lines, used = ["--- " + display(name), "+++ " + display(name)], 0
    for line in _hunks(old, changes):
        used += len(line) + 1
        if len(lines) >= max_lines or used > max_characters:
            removed, added = sum(len(c.removed) for c in changes), sum(len(c.added) for c in changes)
            lines.append("[diff cut here; in all {:,} lines removed, {:,} added]".format(removed, added))
            break
        lines.append(line)
    return "\n".join(lines)


def split_lines(text: str) -> List[str]:
    """Lines with their line feed; other characters, a carriage return too, are part of the line."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _common_prefix(first: str, second: str) -> int:
    # Slices are compared at the speed of memory; a loop over characters would take seconds.
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(first: str, second: str, room: int) -> int:
    low, high = 0, room
    while low < high:
        middle = (low + high + 1) // 2
        if first[len(first) - middle : len(first) - low] == second[len(second) - middle : len(second) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _summary(blocks: List[Tuple[int, int, str]], name: str) -> str:
    before = sum(end - start for start, end, _ in blocks)
    after = sum(len(new) for _, _, new in blocks)
    return "[no diff of {}: the changed part is too large; it had {:,} characters and has {:,} now]".format(
        display(name), before, after
    )


def _changes(old: str, blocks: List[Tuple[int, int, str]]) -> List[_Change]:
    changes: List[_Change] = []
    line, counted = 0, 0
    for start, end, new in blocks:
        line += old.count("\n", counted, start)
        counted = start
        changes.extend(_smallest(start, line, split_lines(old[start:end]), split_lines(new)))
    return changes


def _blocks(old: str, edits: Sequence[Edit]) -> Iterator[Tuple[int, int, str]]:
    """The edits widened to whole lines, those on one line joined: (start, end, new text)."""
    pending: List[Edit] = []
    for edit in edits:
        if pending and _line_start(old, edit.start) > _block_end(old, pending[-1]):
            yield _block(old, pending)
            pending = []
        pending.append(edit)
    if pending:
        yield _block(old, pending)


def _block(old: str, edits: List[Edit]) -> Tuple[int, int, str]:
    start, end = _line_start(old, edits[0].start), _block_end(old, edits[-1])
    pieces: List[str] = []
    position = start
    for edit in edits:
        pieces.extend((old[position : edit.start], edit.text))
        position = edit.end
    return start, end, "".join([*pieces, old[position:end]])


def _line_start(old: str, position: int) -> int:
    return old.rfind("\n", 0, position) + 1


def _block_end(old: str, edit: Edit) -> int:
    ends_at_line_start = _line_start(old, edit.end) == edit.end
    leaves_whole_lines = edit.text.endswith("\n") or (not edit.text and _line_start(old, edit.start) == edit.start)
    if ends_at_line_start and leaves_whole_lines:
        return edit.end
    return old.find("\n", edit.end) + 1 or len(old)


def _smallest(start: int, line: int, old: List[str], new: List[str]) -> Iterator[_Change]:
    """The changes between two blocks of lines, as few as the bounds allow."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    old_middle, new_middle = old[head : len(old) - tail], new[head : len(new) - tail]
    start += sum(map(len, old[:head]))
    done = 0
    for first, last, new_first, new_last in _line_edits(old_middle, new_middle):
        start += sum(map(len, old_middle[done:first]))
        removed = old_middle[first:last]
        done = last
        end = start + sum(map(len, removed))
        yield _Change(start, end, line + head + first, removed, new_middle[new_first:new_last])
        start = end


def _line_edits(old: List[str], new: List[str]) -> Iterator[Tuple[int, int, int, int]]:
    """Ranges (old first, old last, new first, new last) that differ; one range for all where it would take too long."""
    kept = _kept_lines(old, new)
    position = new_position = 0
    for index, new_index in [*kept, (len(old), len(new))]:
        if index > position or new_index > new_position:
            yield position, index, new_position, new_index
        position, new_position = index + 1, new_index + 1


def _kept_lines(old: List[str], new: List[str]) -> List[Tuple[int, int]]:
    """Pairs of equal lines on a shortest edit path (Myers, An O(ND) Difference Algorithm, 1986); [] if it is long."""
    furthest = {1: 0}
    history = []
    comparisons = 0
    for distance in range(min(len(old) + len(new), _MAX_DISTANCE) + 1):
        history.append(dict(furthest))
        for diagonal in range(-distance, distance + 1, 2):
            x = _step(furthest, diagonal, distance)
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y, comparisons = x + 1, y + 1, comparisons + 1
            furthest[diagonal] = x
            if x >= len(old) and y >= len(new):
                return _walk_back(history, len(old), len(new))
            if comparisons > _MAX_COMPARISONS:
                return []
    return []


def _step(furthest: "dict[int, int]", diagonal: int, distance: int) -> int:
    if diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1]):
        return furthest[diagonal + 1]
    return furthest[diagonal - 1] + 1


def _walk_back(history: "List[dict[int, int]]", x: int, y: int) -> List[Tuple[int, int]]:
    kept = []
    for distance in range(len(history) - 1, -1, -1):
        furthest, diagonal = history[distance], x - y
        start = _step(furthest, diagonal, distance)
        while x > start:
            x, y = x - 1, y - 1
            kept.append((x, y))
        came_down = diagonal == -distance or (diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1])
        x, y = (x, y - 1) if came_down else (x - 1, y)
    return kept[::-1]


def _hunks(old: str, changes: List[_Change]) -> Iterator[str]:
    shown_ends = any(_only_line_ends(change) for change in changes)
    grown = 0
    for group in _groups(old, changes):
        before, after = _lines_before(old, group[0].start), _lines_after(old, group[-1].end)
        body = [*_marked(" ", before, shown_ends)]
        for change, following in zip(group, [*group[1:], None]):
            offset = _first_difference(change)
            body.extend(_marked("-", change.removed, shown_ends, offset))
            body.extend(_marked("+", change.added, shown_ends, offset))
            if following is not None:
                body.extend(_marked(" ", split_lines(old[change.end : following.start]), shown_ends))
        body.extend(_marked(" ", after, shown_ends))
        old_count = sum(line[0] in " -" for line in body)
        new_count = sum(line[0] in " +" for line in body)
        first = group[0].line - len(before)
        yield "@@ -%s +%s @@" % (_range(first, old_count), _range(first + grown, new_count))
        yield from body
        grown += new_count - old_count


def _groups(old: str, changes: List[_Change]) -> Iterator[List[_Change]]:
    group: List[_Change] = []
    for change in changes:
        if group and change.line - (group[-1].line + len(group[-1].removed)) > 2 * _CONTEXT_LINES:
            yield group
            group = []
        group.append(change)
    yield group


def _range(first: int, count: int) -> str:
    # An empty range is counted from the line before it (the unified format of POSIX diff).
    start = first + 1 if count else first
    return str(start) if count == 1 else "%d,%d" % (start, count)


def _lines_before(old: str, position: int) -> List[str]:
    start = position
    for _ in range(_CONTEXT_LINES):
        start = _line_start(old, start - 1) if start else 0
    return split_lines(old[start:position])


def _lines_after(old: str, position: int) -> List[str]:
    end = position
    for _ in range(_CONTEXT_LINES):
        end = old.find("\n", end) + 1 or len(old)
    return split_lines(old[position:end])


def _only_line_ends(change: _Change) -> bool:
    return [line.rstrip("\r\n") for line in change.removed] == [line.rstrip("\r\n") for line in change.added]


def _first_difference(change: _Change) -> int:
    """Where a changed long line is shown from, so that the change is in sight."""
    if len(change.removed) != 1 or len(change.added) != 1:
        return 0
    return max(0, _common_prefix(change.removed[0], change.added[0]) - _MAX_LINE_CHARACTERS // 3)


def _marked(sign: str, lines: Iterable[str], shown_ends: bool, offset: int = 0) -> Iterator[str]:
    for line in lines:
        text = line.rstrip("\n")
        if text.endswith("\r"):
            text = text[:-1] + ("\u240d" if shown_ends else "")
        if len(text) > _MAX_LINE_CHARACTERS:
            tail = text[offset:]
            head = "\u2026" if offset else ""
            text = head + tail[:_MAX_LINE_CHARACTERS] + ("\u2026" if len(tail) > _MAX_LINE_CHARACTERS else "")
        yield sign + text
        if not line.endswith("\n"):
            yield _NO_FINAL_NEWLINE
