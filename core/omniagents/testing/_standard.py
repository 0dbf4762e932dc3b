"""Standard tests are a promise: a subclass may expect one to fail, and say why, but not leave it out."""

from __future__ import annotations

from typing import Any

__all__ = ["StandardTests"]

_KIT = __name__.rpartition(".")[0]


class StandardTests:
    """Base of the contracts.

    Raises:
        TypeError: A subclass outside the kit replaces a standard test without ``@pytest.mark.xfail(reason=…)``.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if _is_of_the_kit(cls):
            return
        for name in vars(cls):
            standard = next((base for base in cls.__mro__[1:] if _is_of_the_kit(base) and name in vars(base)), None)
            if name.startswith("test_") and standard is not None and not _has_reason(vars(cls)[name]):
                raise TypeError(
                    f"{cls.__name__}.{name} replaces a standard test of {standard.__name__}; keep it, or mark yours "
                    "with @pytest.mark.xfail(reason=…) and call super()"
                )


def _is_of_the_kit(cls: type) -> bool:
    return cls.__module__.startswith(_KIT + ".")


def _has_reason(test: object) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
