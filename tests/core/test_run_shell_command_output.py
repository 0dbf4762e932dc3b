"""A command's output as text: decoded, without terminal control, the middle left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagents.tools._output import clean, excerpt, without_overwritten


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[31m",
        "\x1b[0m",
        "\x1b[38;2;1;2;3m",
        "\x1b[38:5:1m",
        "\x1b[?25l",
        "\x1b[2J",
        "\x1b[1;1H",
        "\x1b[K",
        "\x1b[ q",
        "\x1b]0;title\x07",
        "\x1b]8;;https://example.org\x1b\\",
        "\x1bP1$r0m\x1b\\",
        "\x1b_application\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstring\x1b\\",
        "\x1b(B",
        "\x1b)0",
        "\x1b#8",
        "\x1b=",
        "\x1b>",
        "\x1b7",
        "\x1bM",
        "\x1bc",
        "\x1b",
    ],
)
def test_escape_sequences_are_left_out(sequence: str) -> None:
    assert clean(f"a{sequence}é{sequence}\n".encode()) == "aé\n"


def test_an_open_control_string_hides_nothing_of_the_next_line() -> None:
    assert clean(b"\x1b]0;never ended\nnext\n") == "0;never ended\nnext\n"


def test_undecodable_bytes_and_nul_are_shown_as_replacement_characters() -> None:
    assert clean(b"caf\xe9 \0 \xed\xa0\x80|") == "caf\ufffd \ufffd \ufffd\ufffd\ufffd|"


def test_a_character_cut_in_two_is_left_out() -> None:
    euro = "€".encode()
    assert clean(b"a" + euro[:2], is_cut_behind=True) == "a"
    assert clean(euro[1:] + b"a", is_cut_before=True) == "a"


@pytest.mark.parametrize(
    ("text", "shown", "count"),
    [
        ("10%\r20%\r30%\n", "30%\n", 2),
        ("10%\r20%\r\n", "20%\r\n", 1),
        ("one\r\ntwo\r\n", "one\r\ntwo\r\n", 0),
        ("50%\r", "50%\r", 0),
        ("\rtext", "text", 0),
        ("a\rb\nc\rd", "b\nd", 2),
        ("a\r\r\n", "a\r\r\n", 0),
    ],
)
def test_of_a_line_written_over_only_the_last_state_is_kept(text: str, shown: str, count: int) -> None:
    assert without_overwritten(text) == (shown, count)


def test_one_line_feed_at_the_end_is_left_out() -> None:
    assert excerpt(b"a\n\n", 3, has_gap=False).head == "a\n"


def test_a_text_of_just_the_limit_is_shown_whole() -> None:
    shown = excerpt(b"x" * 50 + b"\n", 51, has_gap=False, limit=50)
    assert (shown.head, shown.tail) == ("x" * 50, None)


def test_the_first_fifth_and_the_last_four_fifths_are_shown_in_whole_lines() -> None:
    lines = [f"{number:04}" for number in range(100)]
    shown = excerpt("\n".join(lines).encode(), 0, has_gap=False, limit=100)
    assert (shown.head, shown.tail, shown.cuts_lines) == ("\n".join(lines[:4]), "\n".join(lines[-16:]), False)


def test_a_long_line_is_cut_where_whole_lines_would_show_too_little() -> None:
    shown = excerpt(b"a\n" + b"x" * 200 + b"\nz\n", 0, has_gap=False, limit=100)
    assert shown == ("a\n" + "x" * 18, "x" * 78 + "\nz", True, 0)


def test_what_the_gap_cuts_is_not_shown() -> None:
    shown = excerpt("eins\nzwei\ndr€".encode()[:-1] + "€ünf\nsechs\n".encode()[1:], 14, has_gap=True)
    assert (shown.head, shown.tail, shown.cuts_lines) == ("eins\nzwei", "sechs", False)


@given(st.binary(max_size=300), st.integers(0, 300), st.booleans(), st.integers(5, 100))
def test_any_bytes_make_a_text_within_the_limit_that_can_be_encoded(
    payload: bytes, head: int, has_gap: bool, limit: int
) -> None:
    shown = excerpt(payload, min(head, len(payload)), has_gap=has_gap, limit=limit)
    text = shown.head + (shown.tail or "")
    assert len(text) <= limit
    assert "\x1b" not in text
    assert text.encode().decode() == text


@given(st.text(alphabet="ab\x1b[]0;m\n\x07 \\", max_size=200))
def test_line_feeds_are_never_part_of_an_escape_sequence(text: str) -> None:
    assert clean(text.encode()).count("\n") == text.count("\n")
