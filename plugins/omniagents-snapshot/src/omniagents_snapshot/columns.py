"""Columns of little-endian integers and of NUL-separated strings, in one MessagePack map.

Compact, quick, and no larger in memory than stored: a hostile object cannot ask for more than its own size.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]

__all__ = ["pack_fields", "pack_ints", "pack_names", "pieces", "unpack_fields", "unpack_ints", "unpack_names"]

_MAX_FIELDS = 64


def pack_fields(fields: Mapping[str, Any]) -> bytes:
    """A map of bytes, strings, integers and None."""
    packed: bytes = msgpack.packb(fields)
    return packed


def unpack_fields(raw: bytes) -> dict[str, Any]:
    """What ``pack_fields`` packed.

    Raises:
        ValueError: It is something else.
    """
    try:
        fields = msgpack.unpackb(raw, max_map_len=_MAX_FIELDS, max_array_len=0, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"is not a map of columns ({error!r:.200})") from error
    if not isinstance(fields, dict):
        raise ValueError("is not a map of columns")
    return fields


def pack_ints(code: str, values: Iterable[int]) -> bytes:
    """``code`` as in ``array``: H and I for 2 and 4 bytes without sign, i and q for 4 and 8 bytes with one."""
    return _swapped(array(code, values)).tobytes()


def unpack_ints(code: str, raw: object, count: int | None = None) -> Sequence[int]:
    """The column, which must have ``count`` numbers.

    Raises:
        ValueError: It has not.
    """
    column = array(code)
    if not isinstance(raw, bytes) or len(raw) % column.itemsize:
        raise ValueError("a column of numbers is damaged")
    column.frombytes(raw)
    if count is not None and len(column) != count:
        raise ValueError(f"a column has {len(column)} numbers, not {count}")
    return _swapped(column)


def pack_names(names: Iterable[bytes]) -> bytes:
    """Strings without NUL bytes, each followed by one."""
    return b"".join(name + b"\0" for name in names)


def unpack_names(raw: object, count: int | None = None) -> list[bytes]:
    """The strings, of which there must be ``count``.

    Raises:
        ValueError: There are not.
    """
    if not isinstance(raw, bytes) or (raw and raw[-1:] != b"\0"):
        raise ValueError("a column of names is damaged")
    found = raw.count(b"\0")
    if count is not None and found != count:
        raise ValueError(f"a column has {found} names, not {count}")
    return raw[:-1].split(b"\0") if raw else []


def _swapped(column: array[int]) -> array[int]:
    if sys.byteorder == "big":
        column.byteswap()
    return column


def pieces(raw: object, length: int) -> list[bytes]:
    """Cut every ``length`` bytes.

    Raises:
        ValueError: It is not so many whole pieces.
    """
    if not isinstance(raw, bytes) or len(raw) % length:
        raise ValueError("a column of digests is damaged")
    return [raw[start : start + length] for start in range(0, len(raw), length)]
