"""Text that can be stored: what a model sends must be encodable as UTF-8."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

__all__ = ["SendableText"]


def _refuse_lone_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start + 1} is half of a surrogate pair (U+{ord(text[error.start]):04X}), "
            "which no file can hold; send the whole character"
        ) from error
    return text


#: A string without lone surrogates, which JSON's ``\\ud800`` escapes can smuggle in.
SendableText = Annotated[str, AfterValidator(_refuse_lone_surrogates)]
