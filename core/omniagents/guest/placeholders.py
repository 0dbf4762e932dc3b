"""Lines that stand for code their writer left out, such as ``// ... rest of the code ...``.

A model that writes one of them over the real lines loses those lines without noticing, so it is told.
A line is one only as a whole: a comment (or bare text) that says "the rest", "existing", "unchanged"… of
some part of a program, with an ellipsis or in words that can mean nothing else. A lone ``...``, an empty
comment with an ellipsis, a quoted string and prose are not.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Iterator, List, NamedTuple

__all__ = ["Placeholder", "find_placeholder"]

_MAX_LINE_CHARACTERS = 160
_KEYWORDS = ("rest of", "remain", "existing", "unchanged", "omitted", "other", "previous", "original", "same", "snip")
_MARKDOWN = (".md", ".mdx", ".markdown", ".rst", ".adoc", ".txt")

_COMMENTS = (("/*", "*/"), ("<!--", "-->"), ("{/*", "*/}"), ("//", ""), ("#", ""), ("--", ""), (";", ""), ("%", ""))
_BLOCK_COMMENTS = ("/*", "<!--", "{/*")
_BRACKETS = {"(": ")", "[": "]", "<": ">", "{": "}"}
_ELLIPSES = re.compile(r"^(?:\.{3,}|…)+\s*|\s*(?:\.{3,}|…)+$")

_PART = (
    r"(?:code|files?|contents?|functions?|methods?|class(?:es)?|implementations?|imports?|logic|body|script|module"
    r"|components?|tests?|test cases|styles?|rules|configuration|config|document|lines|program|sections?|properties"
    r"|fields|routes|handlers|data|entries|html|css|markup|template|page|query|schema|declarations|definitions"
    r"|statements|exports|options|settings|cases|variables|constants|types|stuff|it)"
)
_OF = r"(?:(?:the|this|your|my|our|all) )?"
_WORDS = r"(?:[\w./-]+ ){0,2}"
_STAYS = (
    r"(?: (?:here|goes here|unchanged|omitted|as is|as before|follows|below|above|for brevity|omitted for brevity"
    r"|(?:is |are |remains? |stays? |is left |are left )(?:here|unchanged|the same|as before|as is|omitted)))?"
)
# Says by itself that something was there before.
_REST = re.compile(
    r"(?:%s(?:rest|remainder) of %s%s%s|%s(?:existing|remaining|unchanged) %s%s)%s"
    % (_OF, _OF, _WORDS, _PART, _OF, _WORDS, _PART, _STAYS)
)
_CERTAIN = re.compile(
    r"(?:%s(?:rest|remainder) of %s%s%s|%s(?:existing|remaining) %s%s) "
    r"(?:unchanged|omitted|as before|goes here|omitted for brevity"
    r"|(?:is |are |remains? |stays? )(?:unchanged|the same|as before|omitted))"
    % (_OF, _OF, _WORDS, _PART, _OF, _WORDS, _PART)
    + r"|%s(?:unchanged|omitted) for brevity|%s omitted for brevity" % (_WORDS, _PART)
)
# Even without an ellipsis hardly a remark about the program itself; "# rest of the file" may be one.
_REST_OF_CODE = re.compile(
    r"%s(?:rest|remainder) of %s%s(?:code|functions?|methods?|implementation|class|script|imports|components?|styles)"
    % (_OF, _OF, _WORDS)
)
# Needs an ellipsis in a comment beside it.
_VAGUE = re.compile(
    r"(?:%s(?:other|previous|original|same) %s%s%s|%s%s (?:unchanged|omitted)|unchanged|omitted|snip(?:ped)?"
    r"|(?:same )?as before|same as (?:before|above)|(?:remains |stays )?(?:unchanged|the same))"
    % (_OF, r"(?:\w+ )?", _PART, _STAYS, _WORDS, _PART)
)
_UNCHANGED = re.compile(r"(?:%s%s )?(?:remains? |stays? )?unchanged" % (_WORDS, _PART))


class Placeholder(NamedTuple):
    """Attributes: ``line`` counts from 1; ``text`` is the line without the white space around it."""

    line: int
    text: str


def find_placeholder(new: str, old: str, name: str) -> Placeholder | None:
    """The first line of ``new`` that is only an omission placeholder and is not in ``old`` already.

    Args:
        new: What is to be written.
        old: What is there now; ``""`` for a new file.
        name: The file; in the fenced code of Markdown and other prose such comments are documentation.
    """
    known: set[str] | None = None
    fences: List[int] | None = None
    for start, text in _suspects(new):
        if not _is_placeholder(text, bool(old)):
            continue
        if fences is None:
            fences = _fences(new) if name.lower().endswith(_MARKDOWN) else []
        if bisect_left(fences, start) % 2:
            continue
        if known is None:
            known = {line.strip() for line in old.split("\n")} if old else set()
        if text not in known:
            return Placeholder(new.count("\n", 0, start) + 1, text)
    return None


def _suspects(new: str) -> Iterator[tuple[int, str]]:
    """(Start, stripped text) of the short lines with one of the keywords, in order; in linear time."""
    lowered = new.lower()
    # Lower case of a few letters has another length; then the keywords' positions would not fit.
    searched = lowered if len(lowered) == len(new) else new
    starts = set()
    for keyword in _KEYWORDS:
        position = searched.find(keyword)
        while position >= 0:
            end = searched.find("\n", position, position + _MAX_LINE_CHARACTERS)
            start = searched.rfind("\n", max(0, position - _MAX_LINE_CHARACTERS), position) + 1
            if (end >= 0 or position + _MAX_LINE_CHARACTERS > len(new)) and (start or position < _MAX_LINE_CHARACTERS):
                starts.add(start)
            position = searched.find(keyword, end if end >= 0 else position + len(keyword))
    for start in sorted(starts):
        end = new.find("\n", start)
        yield start, new[start : end if end >= 0 else len(new)].strip()


def _fences(text: str) -> List[int]:
    return [match.start() for match in re.finditer(r"^ {0,3}(?:```|~~~)", text, re.MULTILINE)]


def _is_placeholder(line: str, replaces_text: bool) -> bool:
    opener, body = _uncommented(line)
    body, has_ellipsis, has_brackets = _unwrapped(" ".join(body.lower().split()))
    if _CERTAIN.fullmatch(body):
        return bool(opener) or has_ellipsis or has_brackets
    if _REST.fullmatch(body):
        return has_ellipsis or (bool(opener) and replaces_text and bool(_REST_OF_CODE.fullmatch(body)))
    if _VAGUE.fullmatch(body) and has_ellipsis:
        return bool(opener) or has_brackets
    return replaces_text and opener in _BLOCK_COMMENTS and bool(_UNCHANGED.fullmatch(body))


def _uncommented(line: str) -> tuple[str, str]:
    for opener, closer in _COMMENTS:
        if line.startswith(opener) and line.endswith(closer) and len(line) > len(opener) + len(closer):
            body = line[len(opener) : len(line) - len(closer)]
            return opener, body.strip("/#-;%* \t") if opener not in _BLOCK_COMMENTS else body.strip("* \t")
    return "", line


def _unwrapped(body: str) -> tuple[str, bool, bool]:
    """Without ellipses and brackets around it: ``[... rest of code ...]`` is ``rest of code``."""
    has_ellipsis = has_brackets = False
    while True:
        bare = _ELLIPSES.sub("", body).strip()
        has_ellipsis = has_ellipsis or bare != body.strip()
        inner = bare.rstrip(".:,") if not has_ellipsis else bare
        if len(inner) > 1 and _BRACKETS.get(inner[0]) == inner[-1]:
            inner, has_brackets = inner[1:-1].strip(), True
        if inner == body:
            return body, has_ellipsis, has_brackets
        body = inner
