"""Sizes of the format. A reader refuses what is over them, before it takes memory for it."""

from __future__ import annotations

__all__ = [
    "CHUNK_AVERAGE_BYTES",
    "CHUNK_MAX_BYTES",
    "CHUNK_MIN_BYTES",
    "HEAD_MAX_BYTES",
    "LEFT_OUT_IN_POINTER",
    "PACK_MAX_BYTES",
    "PATHS_MAX_BYTES",
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
PACK_MAX_BYTES = 16 * MIB

HEAD_MAX_BYTES = 8 * MIB
LEFT_OUT_IN_POINTER = 1000
TREE_MAX_STORED_BYTES = 128 * MIB
TREE_MAX_RAW_BYTES = 256 * MIB
PATH_MAX_BYTES = 32 * KIB
PATHS_MAX_BYTES = 512 * MIB
