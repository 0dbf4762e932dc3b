"""Very many ``FileInfo`` in little memory: the same to look at as a list of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagents.listing import Listing
from omniagents.records import FileInfo

_SIGNED = st.integers(-(1 << 63), (1 << 63) - 1)
_INFOS = st.builds(
    FileInfo,
    path=st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    kind=st.sampled_from(["file", "directory", "link", "other"]),
    size=st.integers(0, (1 << 63) - 1),
    mode=st.integers(0, 0o7777),
    mtime_ns=_SIGNED,
    ctime_ns=_SIGNED,
    inode=st.integers(0, (1 << 64) - 1),
    target=st.none() | st.text(max_size=10),
)


@given(infos=st.lists(_INFOS, max_size=20))
def test_it_holds_what_it_was_given(infos: list[FileInfo]) -> None:
    listing = Listing(infos)
    assert [*listing] == infos
    assert [listing[number] for number in range(-len(infos), len(infos))] == infos + infos
    assert listing[1:3] == infos[1:3]
    assert listing == infos


def test_what_differs_is_not_equal() -> None:
    info = FileInfo("a", "file", 1, 0o644, 2, 3, 4)
    assert Listing([info]) != [info._replace(size=2)]
    assert Listing([info]) != []
    assert Listing([info]) != 1


def test_an_index_outside_is_an_error() -> None:
    with pytest.raises(IndexError):
        Listing()[0]


def test_a_number_that_no_file_has_is_refused() -> None:
    with pytest.raises(OverflowError):
        Listing([FileInfo("a", "file", 1 << 63, 0, 0, 0, 0)])
