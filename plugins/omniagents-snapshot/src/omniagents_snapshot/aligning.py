"""Walking several trees side by side, each in the order of its paths, without holding any of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, overload

from omniagents_snapshot.model import path_order

__all__ = ["align"]


_A = TypeVar("_A", bound=tuple[Any, ...])
_B = TypeVar("_B", bound=tuple[Any, ...])
_C = TypeVar("_C", bound=tuple[Any, ...])


@overload
def align(one: Iterable[_A], two: Iterable[_B], /) -> Iterator[tuple[_A | None, _B | None]]: ...
@overload
def align(
    one: Iterable[_A], two: Iterable[_B], three: Iterable[_C], /
) -> Iterator[tuple[_A | None, _B | None, _C | None]]: ...


def align(*streams: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """For every path in one of the streams, what each of them has there, or None.

    Args:
        streams: Tuples that begin with something that has a ``path``, strictly in the order of ``path_order``.
    """
    sources = [iter(stream) for stream in streams]
    heads = [next(source, None) for source in sources]
    while True:
        paths = [head[0].path for head in heads if head is not None]
        if not paths:
            return
        if paths.count(paths[0]) == len(paths):  # what has ended is in nobody's way
            yield tuple(heads)
            heads = [next(source, None) for source in sources]
            continue
        least = min(paths, key=path_order)
        taken = [head is not None and head[0].path == least for head in heads]
        yield tuple(head if take else None for head, take in zip(heads, taken, strict=True))
        heads = [next(source, None) if take else head for source, head, take in zip(sources, heads, taken, strict=True)]
