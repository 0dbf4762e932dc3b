"""Several trees side by side, as a plain look-up of every path says."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from omniagents_snapshot.aligning import align
from omniagents_snapshot.model import Entry, path_order

_NAMES = st.sets(st.sampled_from(["a", "a/b", "a/b/c", "a-", "a.b", "b", "é", "z/y"]))


@given(st.lists(_NAMES, min_size=2, max_size=3))
@example([set(), {"a"}])
@example([{"a"}, set(), {"a", "b"}])
def test_every_path_comes_once_in_order_with_what_each_tree_has_there(trees: list[set[str]]) -> None:
    streams = [[(Entry(path, "directory", 0, 0), path) for path in sorted(tree, key=path_order)] for tree in trees]
    found = [tuple(head and head[1] for head in heads) for heads in align(*streams)]
    paths = sorted(set().union(*trees), key=path_order)
    assert found == [tuple(path if path in tree else None for tree in trees) for path in paths]
