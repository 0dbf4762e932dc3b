"""Trees made by somebody who has the key and write access to the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from omniagents_snapshot.columns import pack_fields, pack_ints, unpack_fields
from omniagents_snapshot.model import Pack, TreeName
from omniagents_snapshot.pack_format import MAGIC, SealedSegment, build_pack
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.sealing import open_sealed, seal
from omniagents_snapshot.store import Store
from omniagents_snapshot.stored_tree import open_page

__all__ = ["Planter"]


class Planter:
    """Replaces the latest tree of a project.

    Attributes:
        outline: The columns of its outline.
        page: The columns of its first page.
    """

    def __init__(self, store: Store, project_id: str) -> None:
        self._store = store
        self._repository = repository = Repository(store, project_id)
        head = repository.read_head().head
        assert head is not None
        tree = repository.get_tree(head.tree)
        self.outline = unpack_fields(open_sealed(store.get(self._tree_name(head.tree.digest)), 1 << 26))
        self.page = unpack_fields(open_page(tree.pages[0], repository.sealer, repository.hasher))

    def plant(self, data: bytes) -> None:
        """As the latest tree's object."""
        state = self._repository.read_head()
        assert state.head is not None
        name = TreeName(self._repository.hasher.digest(data), len(data))
        self._store.put_new(self._tree_name(name.digest), data)
        head = replace(state.head, tree=name, commit_id="planted")
        assert self._repository.swap_head(head, state.version) is not None

    def plant_outline(self, changes: dict[str, Any]) -> None:
        """With some columns replaced."""
        self.plant(seal(pack_fields(self.outline | changes)))

    def plant_page(self, changes: dict[str, Any], outline: dict[str, Any] | None = None) -> None:
        """As the only page, with some columns replaced; entries are counted by ``kinds``."""
        fields = self.page | changes
        count = len(fields["kinds"] or b"x" * 5)
        self.plant_page_bytes(pack_fields(fields), {"page_entries": pack_ints("I", [count])} | (outline or {}))

    def plant_page_bytes(self, raw: bytes, outline: dict[str, Any], sealed: bytes | None = None) -> None:
        """As the only page's content, or in place of what it is sealed as."""
        hasher = self._repository.hasher
        chunk, stored = hasher.chunk_id(raw), seal(raw) if sealed is None else sealed
        data = build_pack([SealedSegment(stored, (chunk,), (len(raw),))], self._repository.sealer)
        pack = Pack(hasher.digest(data), len(data))
        self._repository.put_pack(pack, data)
        first = self.outline
        self.plant_outline(
            {
                "pack_numbers": first["pack_numbers"] + pack_ints("I", [99]),
                "pack_digests": first["pack_digests"] + bytes.fromhex(pack.digest),
                "pack_sizes": first["pack_sizes"] + pack_ints("I", [pack.size]),
                "page_ids": chunk,
                "page_packs": pack_ints("I", [99]),
                "page_offsets": pack_ints("I", [len(MAGIC)]),
                "page_stored": pack_ints("I", [len(stored)]),
                "page_raw": pack_ints("I", [len(raw)]),
                **outline,
            }
        )

    def _tree_name(self, digest: str) -> str:
        return f"{self._repository.prefix}/trees/{digest}"
