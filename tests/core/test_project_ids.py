"""Any non-empty text of up to 200 characters is a project, and no two projects share a name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagents._ids import check_project_id, encode_project_id
from omniagents.errors import InvalidProjectIdError

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(one=ids, other=ids)
def test_encoding_is_injective_safe_and_short(one: str, other: str):
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,72}", encode_project_id(one))
    assert (encode_project_id(one) == encode_project_id(other)) == (one == other)


@pytest.mark.parametrize("near", ["a_b", "a-b", "A-b", "a b", "a/b", "a.b", "a\nb", "a\0b", "../a-b", "a-b ", "á-b"])
def test_ids_that_look_alike_never_meet(near: str):
    assert (encode_project_id(near) == encode_project_id("a-b")) == (near == "a-b")


def test_ids_that_differ_only_at_their_end_never_meet():
    assert encode_project_id("x" * 199 + "a") != encode_project_id("x" * 199 + "b")


@pytest.mark.parametrize(
    ("project_id", "message"),
    [
        ("", "a project id has 1 to 200 characters; this one has 0: ''"),
        (None, "a project id is a string, not NoneType: None"),
        (b"a", "a project id is a string, not bytes: b'a'"),
        ("\ud800", "a project id must be valid Unicode, no lone surrogates: '\\ud800'"),
    ],
)
def test_what_is_no_project_id_is_refused(project_id: object, message: str):
    with pytest.raises(InvalidProjectIdError) as refusal:
        check_project_id(project_id)
    assert str(refusal.value) == message


def test_an_id_that_is_too_long_is_refused_without_repeating_all_of_it():
    with pytest.raises(InvalidProjectIdError) as refusal:
        check_project_id("x" * 201)
    assert str(refusal.value).startswith("a project id has 1 to 200 characters; this one has 201: 'xxx")
    assert len(str(refusal.value)) < 200
