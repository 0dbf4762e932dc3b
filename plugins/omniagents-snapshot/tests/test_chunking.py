"""Cutting files into chunks."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagents_snapshot.chunking import split

MIB = 1 << 20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def pieces(data: bytes, bounds: list[int]) -> list[bytes]:
    return [data[start:stop] for start, stop in pairwise([0, *sorted(bounds), len(data)])]


def test_an_empty_file_has_no_chunk() -> None:
    assert list(split([])) == []


@pytest.mark.parametrize("size", [1, MIB - 1, MIB])
def test_a_file_of_up_to_one_mebibyte_is_one_chunk(size: int) -> None:
    data = content(size)
    assert list(split(pieces(data, [size // 3]))) == [data]


def test_chunks_of_a_larger_file_are_within_the_limits_and_add_up() -> None:
    data = content(20 * MIB)
    chunks = list(split([data]))
    assert b"".join(chunks) == data
    assert all(MIB // 4 <= len(chunk) <= 4 * MIB for chunk in chunks[:-1])


@given(st.lists(st.integers(0, 5 * MIB), max_size=20))
def test_how_the_content_arrives_does_not_move_the_cuts(bounds: list[int]) -> None:
    data = content(5 * MIB)
    assert list(split(pieces(data, bounds))) == list(split([data]))


def test_an_insertion_at_the_front_changes_few_chunks() -> None:
    data = content(30 * MIB)
    before, after = set(split([data])), set(split([b"inserted" + data]))
    assert len(after - before) <= 2
