"""Files that hold secrets by their nature, and so are not sent to a forge unless asked for."""

from __future__ import annotations

__all__ = ["SECRET_FILES"]

#: In gitignore syntax; the last that matches counts.
SECRET_FILES: tuple[str, ...] = (
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "!.env.dist",
    ".envrc",
    ".netrc",
    ".pgpass",
    ".pypirc",
    ".git-credentials",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
)
