"""How the guest says no: one exception with a stable code, which travels to the host as data."""

from __future__ import annotations

import errno
import os

__all__ = ["CODE_OF_ERRNO", "GuestFailure", "failure_of_os_error"]

CODE_OF_ERRNO = {
    errno.ENOENT: "FILE_NOT_FOUND",
    errno.EEXIST: "FILE_EXISTS",
    errno.EISDIR: "IS_A_DIRECTORY",
    errno.ENOTDIR: "NOT_A_DIRECTORY",
    errno.ENXIO: "NOT_A_REGULAR_FILE",
    errno.ELOOP: "NOT_A_REGULAR_FILE",
    errno.EACCES: "PERMISSION_DENIED",
    errno.EPERM: "PERMISSION_DENIED",
    errno.EROFS: "PERMISSION_DENIED",
    errno.ETXTBSY: "PERMISSION_DENIED",
    errno.ENOSPC: "NO_SPACE",
    errno.EDQUOT: "NO_SPACE",
    errno.EFBIG: "FILE_TOO_LARGE",
    errno.ENAMETOOLONG: "INVALID_ARGUMENTS",
    errno.EINVAL: "INVALID_ARGUMENTS",
}


class GuestFailure(Exception):
    """A request was understood and refused.

    ``code`` is one of the stable codes of the tools' contract; ``message`` is written for the
    model that made the request and carries the cure. ``error_number`` is set where the refusal
    is an operating-system error, so that the host can raise the builtin exception.
    """

    def __init__(
        self, code: str, message: str, path: str | None = None, error_number: int | None = None, **details: object
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
        self.error_number = error_number
        self.details = details

    def as_header(self) -> dict[str, object]:
        """The JSON object that stands for this failure in a reply."""
        header: dict[str, object] = {"code": self.code, "message": self.message}
        if self.path is not None:
            header["path"] = self.path
        if self.error_number is not None:
            header["errno"] = self.error_number
        if self.details:
            header["details"] = self.details
        return header


def failure_of_os_error(error: OSError, path: str | None = None) -> GuestFailure:
    """Translate an ``OSError``; ``path`` is the name the caller used, not the resolved one."""
    number = error.errno or 0
    shown = path if path is not None else error.filename
    if isinstance(shown, bytes):
        shown = os.fsdecode(shown)
    reason = os.strerror(number) if number else str(error)
    message = "%s: %s" % (shown, reason) if shown is not None else reason
    return GuestFailure(CODE_OF_ERRNO.get(number, "INTERNAL"), message, path=shown, error_number=number or None)
