"""The page on the architecture has a word for every module of the guest."""

from __future__ import annotations

import re

from scripts.projects import ROOT

GUEST = ROOT / "core" / "omniagents" / "guest"


def test_the_table_of_the_guests_modules_is_complete() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| module | what it holds |\n")
    rows = [row.split("|")[1] for row in table.partition("\n\n")[0].splitlines()]
    named = re.findall(r"`(\w+)`", "".join(rows))
    assert sorted(named) == sorted(path.stem for path in GUEST.glob("*.py") if path.stem != "__init__")
