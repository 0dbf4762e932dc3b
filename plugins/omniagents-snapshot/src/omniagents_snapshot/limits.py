"""Sizes of the format. A reader refuses what is over them, before it takes memory for it."""

from __future__ import annotations

__all__ = [
    "CHUNK_AVERAGE_BYTES",
    "CHUNK_MAX_BYTES",
    "CHUNK_MIN_BYTES",
    "HEAD_MAX_BYTES",
    "LEFT_OUT_IN_POINTER",
    "LEFT_OUT_MAX",
    "MOVES_MAX",
    "PACKS_MAX",
    "PACK_BYTES",
    "PACK_MAX_BYTES",
    "PAGES_MAX",
    "PAGES_MAX_STORED_BYTES",
    "PAGE_ENTRIES",
    "PAGE_MAX_ENTRIES",
    "PAGE_MIN_ENTRIES",
    "PATH_MAX_BYTES",
    "SEGMENT_CHUNKS",
    "SEGMENT_RAW_BYTES",
    "TREE_MAX_RAW_BYTES",
    "TREE_MAX_STORED_BYTES",
    "WHOLE_FILE_MAX_BYTES",
]

KIB, MIB = 1 << 10, 1 << 20

# Files up to here are one chunk; larger ones are cut where their content says.
WHOLE_FILE_MAX_BYTES = 1 * MIB
CHUNK_MIN_BYTES = 256 * KIB
CHUNK_AVERAGE_BYTES = 1 * MIB
CHUNK_MAX_BYTES = 4 * MIB

# A segment is closed when it holds this much; only a single larger chunk makes a larger segment.
SEGMENT_RAW_BYTES = 512 * KIB
SEGMENT_CHUNKS = 4096
# A pack is closed at the first size, so that several may be on their way at once; none is over the second.
PACK_BYTES = 8 * MIB
PACK_MAX_BYTES = 16 * MIB

# A page of a tree ends before a path whose hash says so, on average after so many entries.
PAGE_MIN_ENTRIES = 64
PAGE_ENTRIES = 256
PAGE_MAX_ENTRIES = 2048

HEAD_MAX_BYTES = 8 * MIB
LEFT_OUT_IN_POINTER = 1000
LEFT_OUT_MAX = 200_000
MOVES_MAX = 1 << 18
PACKS_MAX = 1 << 18
PAGES_MAX = 1 << 16
PAGES_MAX_STORED_BYTES = 128 * MIB
TREE_MAX_STORED_BYTES = 32 * MIB
TREE_MAX_RAW_BYTES = 64 * MIB
PATH_MAX_BYTES = 32 * KIB
