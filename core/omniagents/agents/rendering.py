"""What of a tool's result reaches a model, the same for every framework: one text, and the parts the model takes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from omniagents.tools._rendering import plural
from omniagents.tools.base import MAX_RESULT_CHARACTERS, DocumentPart, ImagePart, ToolResult

if TYPE_CHECKING:
    from pypdf import PageObject

__all__ = ["ModelContent", "model_content"]


class ModelContent(NamedTuple):
    """For a model: the text of a tool's result, never empty, and the images and documents that go with it."""

    text: str
    parts: tuple[ImagePart | DocumentPart, ...]


def model_content(result: ToolResult, *, images: bool = True, documents: bool = True) -> ModelContent:
    """The text is the result's content as it is; each part that the model does not take adds a block of text.

    Args:
        result: What a tool answered.
        images: The model takes images; for one that does not, the text says that one is missing.
        documents: The model takes PDFs; for one that does not, the text of the PDF is added, at most 50,000
            characters. That needs pypdf (the extra ``pdf``) on the host.
    """
    taken: list[ImagePart | DocumentPart] = []
    blocks = [result.content]
    for part in result.parts:
        if isinstance(part, ImagePart):
            if images:
                taken.append(part)
            else:
                blocks.append(f"[{part.name} is not shown: this model takes no images.]")
        elif documents:
            taken.append(part)
        else:
            blocks.append(_text_of_pdf(part))
    return ModelContent("\n".join(blocks), tuple(taken))


def _text_of_pdf(part: DocumentPart) -> str:
    why = f"[{part.name} is not shown: this model takes no PDFs, and"
    try:
        from pypdf import PdfReader
    except ImportError:
        return f"{why} its text needs pypdf on the host, the extra `pdf` of omniagents.]"
    try:
        pages = PdfReader(io.BytesIO(part.data)).pages
        text, shown = _text_of_pages(pages)
    except Exception as error:  # pypdf raises whatever a broken file makes happen in it
        return f"{why} its text cannot be read ({type(error).__name__}: {error}).]"
    cut = "" if shown == len(pages) else f"; {shown} of them shown"
    return f"[{part.name} as text, because this model takes no PDFs; {plural(len(pages), 'page')}{cut}]\n{text}"


def _text_of_pages(pages: Sequence[PageObject]) -> tuple[str, int]:
    """As many whole pages as fit, at least the beginning of the first, and how many they are."""
    blocks: list[str] = []
    room = MAX_RESULT_CHARACTERS
    for number, page in enumerate(pages, 1):
        block = f"--- page {number} ---\n{page.extract_text()}"
        room -= len(block) + 1
        if room < 0 and blocks:
            break
        blocks.append(block[:MAX_RESULT_CHARACTERS])
    return "\n".join(blocks), len(blocks)
