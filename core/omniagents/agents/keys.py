"""The hint for a provider's key that is missing or refused. Frameworks read keys themselves; this only looks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

__all__ = ["credentials_hint"]

#: The variable a provider's key is read from, and words by which an error or a model is known to be that provider's.
_KEYS: Final = {
    "OPENAI_API_KEY": ("openai",),
    "ANTHROPIC_API_KEY": ("anthropic", "claude"),
    "HF_TOKEN": ("huggingface", "hugging face", "hf_token"),
}

# How the clients say that there is no key, or not the right one. The last is how h11 says that a header is "Bearer "
# and nothing, which a client reports as a connection error.
_SIGNS: Final = (
    "api key", "api_key", "apikey", "authentication", "unauthorized", "hf_token", "illegal header value b'bearer '",
)  # fmt: skip
_REFUSED: Final = (401, 403)


def credentials_hint(error: BaseException, model: object) -> str:
    """What to do about the key, where ``error`` is about one; else nothing.

    Args:
        error: What the framework raised.
        model: What the agent was given: a model object, or a name.
    """
    chain = list(_chain(error))
    if not any(_is_about_a_key(link) for link in chain):
        return _hint_of_name(chain, model) if isinstance(model, str) else ""
    about = [model if isinstance(model, str) else _origin(model), *(_origin(link) for link in chain), *map(str, chain)]
    for variable, words in _KEYS.items():
        if any(variable.lower() in text.lower() or _says(text, words) for text in about):
            return _hint(variable)
    return ""


def _is_about_a_key(link: BaseException) -> bool:
    return getattr(link, "status_code", None) in _REFUSED or _says(str(link), _SIGNS)


def _hint_of_name(chain: list[BaseException], model: str) -> str:
    """The hint where a client without a key did not get as far as being refused: a name has its key nowhere else."""
    if not any("Connect" in type(link).__name__ for link in chain):
        return ""
    provider = model.partition(":")[0].partition("-")[0]
    variables = [variable for variable, words in _KEYS.items() if provider in words and not os.environ.get(variable)]
    return _hint(variables[0]) if variables else ""


def _hint(variable: str) -> str:
    if os.environ.get(variable):
        return f"{variable} is set, but the provider did not take it: check the key and what it may be used for."
    return (
        f"{variable} is not set. Set it where this program runs, or give the key to the framework's model object; it "
        "is read on the host only and never enters an environment."
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _origin(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__name__}"


def _says(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text.lower() for word in words)
