"""Standard tests are a promise: a subclass may expect one to fail, and say why, but not leave it out."""

from __future__ import annotations

from typing import Any

__all__ = ["StandardTests"]

_KIT = __name__.rpartition(".")[0]


class StandardTests:
    """Base of the contracts.

    Raises:
        TypeError: A subclass replaces a standard test without ``@pytest.mark.xfail(reason=…)``; or, inside the
            kit, two parts of a contract have a test of one name, so that one of them would never run.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        owners: dict[str, type] = {}
        for base in cls.__mro__:
            for name in vars(base):
                if name.startswith("test_"):
                    hidden_by = owners.setdefault(name, base)
                    if hidden_by is not base and _is_of_the_kit(base) and not _has_reason(vars(hidden_by)[name]):
                        raise TypeError(
                            f"{hidden_by.__name__}.{name} replaces a standard test of {base.__name__}; keep it, or "
                            "mark yours with @pytest.mark.xfail(reason=…) and call super()"
                        )


def _is_of_the_kit(cls: type) -> bool:
    return cls.__module__.startswith(_KIT + ".")


def _has_reason(test: object) -> bool:
    marks = getattr(test, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
