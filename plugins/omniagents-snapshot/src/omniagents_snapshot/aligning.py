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
        paths = [None if head is None else head[0].path for head in heads]
        if paths.count(paths[0]) == len(paths):
            if paths[0] is None:
                return
            yield tuple(heads)
            heads = [next(source, None) for source in sources]
            continue
        least = min((path for path in paths if path is not None), key=path_order)
        taken = [path == least for path in paths]
        yield tuple(head if take else None for head, take in zip(heads, taken, strict=True))
        heads = [next(source, None) if take else head for source, head, take in zip(sources, heads, taken, strict=True)]
