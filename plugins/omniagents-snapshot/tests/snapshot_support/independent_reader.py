"""Reads a snapshot as docs/snapshot-format.md describes it. Imports nothing of the engine, on purpose."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Found(NamedTuple):
    kind: int
    mode: int
    mtime_ns: int
    content: bytes


class Reader:
    """One project in a directory."""

    def __init__(self, directory: Path, user_key: bytes | None = None) -> None:
        self.directory = directory
        text, _, digest = (directory / "format.json").read_bytes()[:-1].rpartition(b"\n")
        form = json.loads(text)
        assert (form["version"], form["hash"], form["compression"]) == (1, "blake3-keyed", "zstd")
        self.content_key: bytes | None = None
        if form["encryption"] is None:
            self.hash_key = bytes.fromhex(form["key"])
        else:
            assert user_key is not None
            wrapped = bytes.fromhex(form["encryption"]["wrapped_key"])
            key = AESGCM(user_key).decrypt(wrapped[:12], wrapped[12:], f"key of {form['project']}".encode())
            self.hash_key, self.content_key = (
                HKDF(SHA256(), length=32, salt=None, info=b"omniagents-snapshot " + use).derive(key)
                for use in (b"hash", b"content")
            )
        assert self.digest(text).hex().encode() == digest

    def digest(self, data: bytes) -> bytes:
        return blake3(data, key=self.hash_key).digest()

    def decrypted(self, data: bytes, kind: str) -> bytes:
        if self.content_key is None:
            return data
        return AESGCM(self.content_key).decrypt(data[:12], data[12:], kind.encode())

    def opened(self, data: bytes, kind: str) -> bytes:
        return zstandard.ZstdDecompressor().decompress(self.decrypted(data, kind))

    def head(self) -> dict[str, Any]:
        text, _, digest = self.decrypted((self.directory / "HEAD").read_bytes(), "HEAD")[:-1].rpartition(b"\n")
        assert self.digest(text).hex().encode() == digest
        return dict(json.loads(text))

    def moves(self) -> dict[tuple[str, int], tuple[str, int, int]]:
        """Pack, offset and stored size of each segment that was moved, by pack and offset in trees."""
        named = self.head().get("moves")
        if named is None:
            return {}
        stored = (self.directory / "moves" / named[0]).read_bytes()
        assert (self.digest(stored).hex(), len(stored)) == (named[0], named[1])
        fields = msgpack.unpackb(self.opened(stored, "moves"))
        sources, targets = (
            [column[at : at + 32].hex() for at in range(0, len(column), 32)]
            for column in (fields["from_digests"], fields["to_digests"])
        )
        names = ("from_packs", "from_offsets", "to_packs", "to_offsets", "to_stored")
        rows = zip(*(ints(fields[name]) for name in names), strict=True)
        return {(sources[a], offset): (targets[b], start, size) for a, offset, b, start, size in rows}

    def read(self, tree_digest: str) -> dict[bytes, Found]:
        stored = (self.directory / "trees" / tree_digest).read_bytes()
        assert self.digest(stored).hex() == tree_digest
        tree = msgpack.unpackb(self.opened(stored, "tree"))
        digests = [tree["pack_digests"][at : at + 32].hex() for at in range(0, len(tree["pack_digests"]), 32)]
        packs = dict(zip(ints(tree["pack_numbers"]), digests, strict=True))
        rows = zip(*(ints(tree[f"page_{name}"]) for name in ("packs", "offsets", "stored")), strict=True)
        found: dict[bytes, Found] = {}
        for number, (pack, offset, stored_size) in enumerate(rows):
            raw = self.segment(packs[pack], offset, stored_size)
            assert self.digest(raw)[:16] == tree["page_ids"][16 * number : 16 * number + 16]
            found |= self.page(msgpack.unpackb(raw), packs)
        files = [entry for entry in found.values() if entry.kind == 0]
        assert (tree["files"], tree["bytes"]) == (len(files), sum(len(entry.content) for entry in files))
        return found

    def segment(self, digest: str, offset: int, stored_size: int) -> bytes:
        digest, offset, stored_size = self.moves().get((digest, offset), (digest, offset, stored_size))
        with (self.directory / "packs" / digest[:2] / digest).open("rb") as pack:
            pack.seek(offset)
            return self.opened(pack.read(stored_size), "segment")

    def page(self, page: dict[str, bytes], packs: dict[int, str]) -> dict[bytes, Found]:
        chunks = list(self.chunks(page, packs))
        targets = iter(page["targets"].split(b"\0"))
        steps = iter(struct.unpack(f"<{len(page['steps']) // 4}i", page["steps"]))
        paths, kinds = page["paths"].split(b"\0")[:-1], page["kinds"]
        modes = struct.unpack(f"<{len(kinds)}H", page["modes"])
        seconds = struct.unpack(f"<{len(kinds)}q", page["seconds"])
        times = [s * 10**9 + ns for s, ns in zip(seconds, ints(page["nanoseconds"]), strict=True)]
        found, row = {}, -1
        for path, kind, mode, time, count in zip(paths, kinds, modes, times, ints(page["counts"]), strict=True):
            content = next(targets) if kind == 2 else b""
            for _ in range(count):
                row += next(steps) + 1
                content += chunks[row]
            found[path] = Found(kind, mode, time, content)
        return found

    def chunks(self, page: dict[str, bytes], packs: dict[int, str]) -> Iterator[bytes]:
        names = ("packs", "offsets", "stored", "chunks")
        table = iter(zip(ints(page["chunk_sizes"]), struct.iter_unpack("<i", page["chunk_gaps"]), strict=True))
        ids = iter(page["chunk_ids"][at : at + 16] for at in range(0, len(page["chunk_ids"]), 16))
        for pack, offset, stored_size, count in zip(*(ints(page[f"segment_{name}"]) for name in names), strict=True):
            raw, end = self.segment(packs[pack], offset, stored_size), 0
            for _ in range(count):
                size, (gap,) = next(table)
                chunk = raw[end + gap : end + gap + size]
                end += gap + size
                assert self.digest(chunk)[:16] == next(ids)
                yield chunk


def ints(column: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(column) // 4}I", column)
