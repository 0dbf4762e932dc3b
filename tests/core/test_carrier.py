"""The text carrier: what was lost is sent again, what came twice is taken once, and what is no line is noise."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagents.backends.local_backend import LocalBackend
from omniagents.guest.carrier import Carrier
from omniagents.guest.protocol import FrameError

messages = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


@given(messages=messages, places=st.lists(st.integers(0, 1 << 20), max_size=12))
def test_lines_cut_anywhere_are_the_same_bytes(messages: list[bytes], places: list[int]):
    sender, receiver = Carrier(), Carrier()
    data = b"".join(map(sender.line, messages))
    assert b"".join(map(receiver.received, cut(data, places))) == b"".join(messages)
    assert not receiver.misses_lines


@given(messages=messages, lost=st.sets(st.integers(0, 7)), cut_at=st.integers(0, 200))
def test_what_was_lost_is_there_once_and_in_order_after_a_question(messages: list[bytes], lost: set[int], cut_at: int):
    sender, receiver = Carrier(), Carrier()
    arrived = b""
    for number, message in enumerate(messages):
        line = sender.line(message)
        arrived += receiver.received(line[:cut_at] if number in lost else line)
    receiver.cut()
    assert sender.received(receiver.question()) == b""
    assert sender.is_asked
    arrived += receiver.received(b"".join(sender.again()))
    assert arrived == b"".join(messages)
    assert not receiver.misses_lines


def test_a_missing_line_is_noticed_with_the_next():
    sender, receiver = Carrier(), Carrier()
    sender.line(b"lost")
    assert receiver.received(sender.line(b"next")) == b""
    assert receiver.misses_lines
    assert receiver.received(b"".join(sender.again())) == b"lostnext"
    assert not receiver.misses_lines


def test_what_is_acknowledged_is_not_kept():
    ours, theirs = Carrier(), Carrier()
    theirs.received(ours.line(b"one"))
    ours.received(theirs.line(b"answer"))
    assert ours.again() == []
    assert len(theirs.again()) == 1


def test_an_acknowledgement_of_what_was_never_sent_is_passed_over():
    ours, theirs, other = Carrier(), Carrier(), Carrier()
    theirs.received(other.line(b"one") + other.line(b"two"))
    ours.line(b"one")
    ours.received(theirs.line(b"answer"))
    assert len(ours.again()) == 1


def test_more_than_is_kept_cannot_be_sent_again():
    carrier = Carrier(most_kept=100)
    carrier.line(b"x" * 60)
    carrier.line(b"y" * 60)
    with pytest.raises(FrameError, match="more was lost than is kept"):
        carrier.again()


@pytest.mark.parametrize(
    "noise",
    [b"Welcome!\n", b"unfinished", b"#\n", b"#1 0\n", b"#1 0 5 QUJD\n", b"# # # #\n", bytes(range(256)) * 20],
)
def test_noise_is_passed_over(noise: bytes):
    sender, receiver = Carrier(), Carrier()
    assert receiver.received(noise + sender.line(b"one") + noise + sender.line(b"two") + noise) == b"onetwo"


@given(data=st.binary(max_size=300))
def test_random_bytes_are_noise(data: bytes):
    assert Carrier().received(data + b"\n") == b""


def test_carriage_returns_of_a_terminal_do_not_matter():
    sender, receiver = Carrier(), Carrier()
    assert receiver.received(sender.line(b"x").replace(b"\n", b"\r\n")) == b"x"


def test_a_line_without_end_is_refused():
    carrier = Carrier()
    for _ in range(48):  # 3 MiB: what a frame of the largest header and payload needs
        assert carrier.received(b"A" * 65536) == b""
    with pytest.raises(FrameError) as refusal:
        carrier.received(b"A" * 65536)
    assert str(refusal.value) == "a line of more than 3211264 bytes"


def test_a_file_is_read_once_and_only_where_files_are_read():
    read: list[bytes] = []

    def read_file(path: bytes) -> bytes:
        read.append(path)
        return b"content"

    sender, guest = Carrier(), Carrier(read_file)
    line = sender.line_of_file("/tmp/x")
    assert guest.received(line + line) == b"content"
    assert read == [b"/tmp/x"]


class TextBackend(LocalBackend):
    """A backend as somebody else may write it, over a channel that carries only text."""

    is_text_channel = True


def test_a_backend_with_a_plain_channel_of_text_works():
    with TextBackend("text") as backend:
        content = bytes(range(256)) * 20_000
        backend.workspace.write_bytes("a.bin", content)
        assert backend.workspace.read_bytes("a.bin") == content
