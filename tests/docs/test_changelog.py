"""Changelog fragments are named as towncrier reads them and are not empty."""

from __future__ import annotations

import re

from scripts.projects import ROOT, projects

FRAGMENTS = sorted(path for path in (ROOT / "changelog.d").iterdir() if not path.name.startswith("."))
KINDS = [kind["directory"] for kind in projects()[0].data["tool"]["towncrier"]["type"]]


def test_every_fragment_has_an_issue_or_words_and_a_kind() -> None:
    shape = re.compile(rf"(\d+|\+[\w-]+)\.({'|'.join(KINDS)})(\.\d+)?\.md")
    assert [path.name for path in FRAGMENTS if not shape.fullmatch(path.name)] == []


def test_every_fragment_says_something() -> None:
    assert [path.name for path in FRAGMENTS if not path.read_text(encoding="utf-8").strip()] == []
