"""Reading a text page by page gives back the text, whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from omniagents.guest import opening
from omniagents.guest.context import Context
from omniagents.guest.reading import read_file
from omniagents.guest.root import Root

LINES = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=30),
        st.integers(1, 2000).map(lambda count: "é" * count),
        st.just("x" * 1999 + "\r"),
    ),
    max_size=80,
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])
OURS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def pages(root: Path, content: bytes, options: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    (root / "a.txt").write_bytes(content)
    found, offset = [], 0
    while True:
        reply, payload = read_file(Context(Root(str(root))), {"absolute_path": "a.txt", "offset": offset, **options})
        found.append((reply, payload.decode()))
        if reply["next_offset"] is None:
            return found
        assert reply["next_offset"] > offset
        offset = reply["next_offset"]


@OURS
@given(
    lines=LINES,
    end=st.sampled_from(["", "\n"]),
    limit=st.none() | st.integers(1, 50),
    encoding=ENCODINGS,
    block=st.sampled_from([1, 7, 1 << 18]),
)
def test_pages_put_together_are_the_text(workspace_root, monkeypatch, lines, end, limit, encoding, block):
    monkeypatch.setattr(opening, "BLOCK_BYTES", block)
    text = "\n".join(lines) + end
    if block == 1:
        text = text[:500]
    found = pages(workspace_root, text.encode(encoding), {"limit": limit})
    # Text read as UTF-8 has its byte-order mark taken off, and only there.
    expected = text[1:] if encoding == "utf-8" and text.startswith("\ufeff") else text
    assert "".join(page for _, page in found) == expected
    assert all(len(page) <= 50_000 for _, page in found)
    assert {reply["total_lines"] for reply, _ in found} == {text.count("\n") + (not text.endswith("\n") and text != "")}


@OURS
@given(lengths=st.lists(st.integers(0, 70_000), min_size=1, max_size=40), numbered=st.booleans())
@example(lengths=[60_000, 1, 2], numbered=False)
@example(lengths=[2000] * 40, numbered=True)
def test_lines_of_any_length_make_progress_and_are_counted(workspace_root, lengths, numbered):
    content = b"".join(b"x" * length + b"\n" for length in lengths)
    found = pages(workspace_root, content, {"line_numbers": numbered})
    shown = "".join(page for _, page in found).splitlines()
    assert len(shown) == len(lengths)
    for number, (length, line) in enumerate(zip(lengths, shown, strict=True), 1):
        note = f" [... {length - 2000:,} more characters]" if length > 2000 else ""
        assert line == (f"{number:6d}\t" if numbered else "") + "x" * min(length, 2000) + note
    assert all(len(page) <= 50_000 for _, page in found)
    cuts = [(cut["line"], cut["characters"]) for reply, _ in found for cut in reply["cut_lines"]]
    assert cuts == [(number, length) for number, length in enumerate(lengths, 1) if length > 2000]


@OURS
@given(content=st.binary(max_size=300))
def test_whatever_the_bytes_the_result_is_text_without_surrogates(workspace_root, backend, content):
    from omniagents.tools.read_file_tool import ReadFileTool

    (workspace_root / "a.txt").write_bytes(content)
    result = ReadFileTool(backend=backend).execute(absolute_path="a.txt")
    assert result.content
    result.content.encode("utf-8")
    assert result.error_type in (None, "BINARY_FILE")
