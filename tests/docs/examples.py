"""Finds the code in Markdown pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scripts.projects import ROOT

__all__ = ["PAGES", "PLUGINS", "Block", "blocks", "story"]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: The READMEs of the plugins, which are about what is installed with them.
PLUGINS = sorted((ROOT / "plugins").glob("*/README.md"))

_FENCE = re.compile(r"(?:^<!-- needs: (?P<needs>[\w -]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A fenced block: where it is, and the distributions that it needs besides the core and omniagents-snapshot."""

    page: Path
    line: int
    code: str
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: str, pages: Sequence[Path] = PAGES) -> list[Block]:
    """Every block of one language, in the order of the pages."""
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match["language"] == language:
                line = text.count("\n", 0, match.start("code")) + 1
                found.append(Block(page, line, match["code"], tuple((match["needs"] or "").split())))
    return found


def story() -> Block:
    """The first block of the README that has an engine in it; ``test_story.py`` runs it, with all that it needs."""
    return next(block for block in blocks("python") if block.page == PAGES[0] and "omniagents-docker" in block.needs)
