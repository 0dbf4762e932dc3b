"""Frames: the same bytes are the same frames however they are cut, and anything else is refused."""

from __future__ import annotations

import itertools
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagents.guest import protocol
from omniagents.guest.protocol import FrameError, FrameReader, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
headers = st.builds(lambda kind, rest: {**rest, "type": kind}, st.text(max_size=8), st.dictionaries(st.text(), values))
frames = st.lists(st.tuples(headers, st.binary(max_size=300)), max_size=6)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


@given(frames=frames, places=st.lists(st.integers(0, 1 << 20), max_size=12))
def test_frames_cut_anywhere_are_the_same_frames(frames: Any, places: list[int]):
    data = b"".join(encode(header, payload) for header, payload in frames)
    reader = FrameReader()
    assert [frame for piece in cut(data, places) for frame in reader.feed(piece)] == frames
    assert reader.feed(encode({"type": "pong"})) == [({"type": "pong"}, b"")]  # nothing was left of them


@given(frames=frames.filter(bool), missing=st.integers(1, 1 << 20))
def test_a_truncated_frame_is_not_a_frame(frames: Any, missing: int):
    last = encode(*frames[-1])
    data = b"".join(encode(header, payload) for header, payload in frames[:-1])
    reader = FrameReader()
    kept = last[: len(last) - 1 - missing % len(last)]
    assert reader.feed(data + kept) == frames[:-1]
    assert reader.feed(last[len(kept) :]) == frames[-1:]


@given(data=st.binary(max_size=400))
def test_random_bytes_are_frames_or_an_error(data: bytes):
    reader = FrameReader()
    try:
        for header, payload in reader.feed(data):
            assert isinstance(header["type"], str)
            assert isinstance(payload, bytes)
    except FrameError:
        return


@pytest.mark.parametrize("lengths", [(protocol.MAX_HEADER + 1, 0), (0, protocol.MAX_PAYLOAD + 1), (0xFFFFFFFF,) * 2])
def test_lengths_over_the_limit_are_refused_before_their_bytes_come(lengths: tuple[int, int]):
    with pytest.raises(FrameError) as refusal:
        FrameReader().feed(struct.pack(">II", *lengths))
    assert str(refusal.value) == f"a frame of {lengths[0]} + {lengths[1]} bytes is over the limit"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"[]",
        b"null",
        b'{"type":1}',
        b"{}",
        b'{"type":"call"',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"type":"x","a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"type":"x","id":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda head: repr(head[:20]),
)
def test_a_header_that_is_not_an_object_with_a_type_is_refused(head: bytes):
    with pytest.raises(FrameError, match="a header "):
        FrameReader().feed(struct.pack(">II", len(head), 0) + head)


@given(payload=st.binary(max_size=1000), size=st.integers(1, 300))
def test_pieces_add_up(payload: bytes, size: int):
    pieces = protocol.pieces(payload, size)
    assert b"".join(pieces) == payload
    assert all(len(piece) <= size for piece in pieces)
    assert pieces


def test_headers_are_ascii_whatever_a_name_holds():
    header = {"type": "x", "name": "\udcff \U0001f600 \n"}
    frame = encode(header)
    head_size, _ = struct.unpack_from(">II", frame)
    assert frame[8 : 8 + head_size].isascii()
    assert json.loads(frame[8:]) == header
