"""An assembler for the part of classic BPF that seccomp filters are written in.

A filter sees ``struct seccomp_data`` (linux/seccomp.h): the number of the system call, the
architecture, the instruction pointer and six 64-bit arguments, of which it can load 32 bits at a
time. It must never look at more of an argument than the kernel does: where the kernel takes an
``int``, a filter that compares 64 bits is passed by setting the upper ones (CVE-2019-10063).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

__all__ = ["ALLOW", "ARCHITECTURE", "KILL", "NUMBER", "Block", "Program", "argument", "errno_action"]

# linux/bpf_common.h, linux/filter.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_ABOVE = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_LONGEST_JUMP = 255  # the fields are 8 bits

# linux/seccomp.h
ALLOW = 0x7FFF0000
KILL = 0x80000000  # SECCOMP_RET_KILL_PROCESS
_ERRNO = 0x00050000

#: Offsets in ``struct seccomp_data``.
NUMBER = 0
ARCHITECTURE = 4


def errno_action(number: int) -> int:
    """What makes a call fail with this errno."""
    return _ERRNO | number


def argument(index: int) -> int:
    """The offset of the lower 32 bits of an argument, on a little-endian machine."""
    return 16 + 8 * index


class Block:
    """Instructions that either return or fall through to what follows."""

    def __init__(self) -> None:
        self.instructions: list[tuple[int, int, int, int]] = []

    def load(self, offset: int) -> Block:
        """Load 32 bits of ``struct seccomp_data``."""
        return self._add(_LOAD, 0, 0, offset)

    def mask(self, bits: int) -> Block:
        """Keep only these bits of what is loaded."""
        return self._add(_AND, 0, 0, bits)

    def finish(self, action: int) -> Block:
        """End the filter with this action."""
        return self._add(_RETURN, 0, 0, action)

    def when_equal(self, value: int, then: Block) -> Block:
        """Run ``then`` if what is loaded equals ``value``; else go on behind it."""
        return self._add(_JUMP_EQUAL, 0, _jump(then), value).then(then)

    def when_not_equal(self, value: int, then: Block) -> Block:
        """Run ``then`` unless what is loaded equals ``value``."""
        return self._add(_JUMP_EQUAL, _jump(then), 0, value).then(then)

    def when_above(self, value: int, then: Block) -> Block:
        """Run ``then`` if what is loaded is greater, unsigned."""
        return self._add(_JUMP_ABOVE, 0, _jump(then), value).then(then)

    def when_none_of(self, values: Iterable[int], then: Block) -> Block:
        """Run ``then`` if what is loaded is none of ``values``."""
        allowed = sorted(set(values))
        for position, value in enumerate(allowed):
            self._add(_JUMP_EQUAL, len(allowed) - position - 1 + _jump(then), 0, value)
        return self.then(then)

    def then(self, other: Block) -> Block:
        """Go on with what ``other`` does."""
        self.instructions += other.instructions
        return self

    def _add(self, code: int, if_true: int, if_false: int, value: int) -> Block:
        if max(if_true, if_false) > _LONGEST_JUMP:
            raise ValueError(f"a jump over more than {_LONGEST_JUMP} instructions")
        self.instructions.append((code, if_true, if_false, value))
        return self


class Program(Block):
    """A whole filter."""

    def assemble(self) -> bytes:
        """The array of ``struct sock_filter`` that ``bwrap --seccomp`` reads.

        Raises:
            ValueError: It is longer than the kernel takes.
        """
        if len(self.instructions) > _MOST_INSTRUCTIONS:
            raise ValueError(f"{len(self.instructions)} instructions; the kernel takes {_MOST_INSTRUCTIONS}")
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in self.instructions)


def _jump(over: Block) -> int:
    return len(over.instructions)
