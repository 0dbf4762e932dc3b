"""Images and documents recognised by their first bytes, whatever the file is called."""

from __future__ import annotations

from typing import NamedTuple, Tuple

from .failure import GuestFailure
from .root import display

__all__ = ["EXTENSIONS", "Media", "recognise", "refuse_if_too_large"]

_MIB = 1 << 20


class Media(NamedTuple):
    """Attributes: ``kind`` is ``image`` or ``document``; ``max_bytes`` is the largest file that is handed on."""

    kind: str
    mime_type: str
    max_bytes: int


# An image may be 5 MiB as base64, which writes 3 bytes as 4 characters; what model providers accept.
_MAX_IMAGE_BYTES = 5 * _MIB // 4 * 3
_MAX_DOCUMENT_BYTES = 20 * _MIB

# Magic numbers: PNG (RFC 2083), JPEG (JFIF), GIF (87a and 89a), PDF (ISO 32000). WebP is a RIFF container.
_BEGINNINGS: Tuple[Tuple[bytes, Media], ...] = (
    (b"\x89PNG\r\n\x1a\n", Media("image", "image/png", _MAX_IMAGE_BYTES)),
    (b"\xff\xd8\xff", Media("image", "image/jpeg", _MAX_IMAGE_BYTES)),
    (b"GIF87a", Media("image", "image/gif", _MAX_IMAGE_BYTES)),
    (b"GIF89a", Media("image", "image/gif", _MAX_IMAGE_BYTES)),
    (b"%PDF-", Media("document", "application/pdf", _MAX_DOCUMENT_BYTES)),
)
_WEBP = Media("image", "image/webp", _MAX_IMAGE_BYTES)

#: File name endings that ask for an image or a document.
EXTENSIONS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf")


def recognise(head: bytes) -> Media | None:
    """What a file that begins with ``head`` (at least 16 bytes, if it has them) is; None for everything else."""
    for beginning, media in _BEGINNINGS:
        if head.startswith(beginning):
            return media
    return _WEBP if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def refuse_if_too_large(media: Media, size: int, path: str) -> None:
    """Raise ``FILE_TOO_LARGE`` for more than a model can be shown."""
    if size <= media.max_bytes:
        return
    limit = "5 MiB as base64, which is {:,} bytes" if media.kind == "image" else "20 MiB, which is {:,} bytes"
    cure = "scale it down" if media.kind == "image" else "split it, or extract its text,"
    raise GuestFailure(
        "FILE_TOO_LARGE",
        "%s (%s) has %s bytes; the limit is %s. Use run_shell_command to %s first, or to inspect it"
        % (display(path), media.mime_type, format(size, ","), limit.format(media.max_bytes), cure),
        path=path,
        size=size,
        limit=media.max_bytes,
    )
