"""Texts are found in raw bytes exactly where they are, whatever is looked for first."""

from hypothesis import given
from hypothesis import strategies as st

from omniagents.guest.search_lines import Limits, compile_query
from omniagents.guest.search_needles import Needles

_ASCII = st.text("aAzZ_k0 ", min_size=1, max_size=6)


@given(st.lists(st.text("aZé_\n0", min_size=1, max_size=5), min_size=1, max_size=3), st.text("aZé_\n0", max_size=60))
def test_one_of_the_texts_is_found_where_bytes_find_finds_it(texts, content):
    raw = content.encode()
    assert Needles(texts, ignores_case=False).any_in(raw) == any(text.encode() in raw for text in texts)


@given(st.lists(_ASCII, min_size=1, max_size=3), st.text("aAzZ_kK0 é", max_size=60))
def test_in_any_case_a_text_is_found_where_it_is_in_the_lowered_bytes(texts, content):
    raw = content.encode()
    assert Needles(texts, ignores_case=True).any_in(raw) == any(text.lower().encode() in raw.lower() for text in texts)


@given(st.lists(st.text("abAB", min_size=2, max_size=4), min_size=2, max_size=12), st.text("abAB\n", max_size=80))
def test_alternatives_match_the_lines_that_hold_one_of_them(texts, content):
    query = compile_query("|".join(texts), fixed_strings=False, case_sensitive=True)
    found = [line[0] for line in query.hits(content, Limits(10**9, 0)).lines]
    lines = content.split("\n")
    assert found == [number for number, line in enumerate(lines, 1) if any(text in line for text in texts)]


def test_a_word_boundary_at_the_beginning_still_counts():
    query = compile_query(r"\b[A-Z][a-z]+[0-9]", fixed_strings=False, case_sensitive=True)
    assert [line[0] for line in query.hits("aAbc1\nAbc1 x\n_Abc2\nx Bcd3", Limits(10, 0)).lines] == [2, 4]
