"""Client-side encryption: what is stored tells nobody but the holder of a key what is in a workspace.

Each project has a random key of its own, kept in its ``format.json`` wrapped by yours (AES-256-GCM). Two keys are
derived from it (HKDF, SHA-256): one encrypts every object under a random nonce, with the sort of object, and for
history entries their name, as associated data; the other keys the hashes that name objects and chunks.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from omniagents.errors import MissingPluginError, StateError

__all__ = ["Encryption", "ProjectKeys"]

_KEY_BYTES = 32
_NONCE_BYTES = 12
_VARIABLE = "OMNIAGENTS_STATE_KEY"


class Encryption:
    """Where the key comes from; it is fetched when first needed, and then kept.

    Args:
        fetch: Answers with 32 bytes, or with what ``new_key`` made.
        origin: What error messages call it.

    Raises:
        MissingPluginError: The extra ``omniagents-snapshot[encryption]`` is not installed.
    """

    def __init__(self, fetch: Callable[[], bytes | str], origin: str) -> None:
        _require_cryptography()
        self._fetch = fetch
        self._origin = origin
        self._key: bytes | None = None

    @staticmethod
    def new_key() -> str:
        """A random key as one line of text. Without it nothing that it encrypted can be read again."""
        return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Encryption:
        """The key in a file, which others should not be able to read."""
        return cls(Path(path).read_bytes, f"the key file {os.fspath(path)!r}")

    @classmethod
    def from_environment(cls, variable: str = _VARIABLE) -> Encryption:
        """The key in an environment variable of this process; environments never get it."""
        return cls(lambda: os.environ.get(variable, ""), f"the environment variable {variable}")

    @classmethod
    def from_callable(cls, fetch: Callable[[], bytes | str]) -> Encryption:
        """The key that a function answers with: of a key manager, say."""
        return cls(fetch, "the function for the key")

    def __repr__(self) -> str:
        return f"Encryption({self._origin})"

    def wrap(self, project_key: bytes, project_id: str) -> bytes:
        """A project's key, for those only who have this one."""
        return _encrypt(self.key(), project_key, f"key of {project_id}")

    def unwrap(self, wrapped: bytes, project_id: str) -> bytes:
        """What ``wrap`` wrapped.

        Raises:
            StateError: By another key, for another project, or it was changed.
        """
        try:
            return _decrypt(self.key(), wrapped, f"key of {project_id}")
        except ValueError:
            raise StateError(
                f"project {project_id!r} is encrypted under another key than {self._origin} has, or its format.json "
                "was changed; give the key that it was saved with"
            ) from None

    def key(self) -> bytes:
        """The key.

        Raises:
            StateError: There is none, or it is none.
        """
        if self._key is None:
            self._key = self._fetched()
        return self._key

    def _fetched(self) -> bytes:
        try:
            found = self._fetch()
        except OSError as error:
            raise StateError(f"{self._origin} could not be read: {error.strerror or error}") from error
        raw = found.encode() if isinstance(found, str) else found
        if len(raw) == _KEY_BYTES:
            return raw
        try:
            decoded = base64.b64decode(raw.strip(), validate=True)
        except binascii.Error:
            decoded = b""
        if len(decoded) != _KEY_BYTES:
            what = f"holds {len(raw)} bytes" if raw else "is empty"
            raise StateError(
                f"{self._origin} {what}, not a key of 32 bytes or its base64; Encryption.new_key() makes one"
            )
        return decoded


class ProjectKeys:
    """What a project's key is used for: as a ``Cipher``, and as ``hash_key``."""

    def __init__(self, project_key: bytes) -> None:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        def derived(purpose: bytes) -> bytes:
            info = b"omniagents-snapshot " + purpose
            return HKDF(SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(project_key)

        self.hash_key = derived(b"hash")
        self._content_key = derived(b"content")

    def encrypt(self, data: bytes, kind: str) -> bytes:
        return _encrypt(self._content_key, data, kind)

    def decrypt(self, data: bytes, kind: str) -> bytes:
        return _decrypt(self._content_key, data, kind)


def _encrypt(key: bytes, data: bytes, kind: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, kind.encode())


def _decrypt(key: bytes, data: bytes, kind: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], kind.encode())
    except (InvalidTag, ValueError):
        raise ValueError("does not decrypt: it was changed, or is not what it is taken for") from None


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingPluginError(
            "encryption needs the package cryptography: pip install 'omniagents-snapshot[encryption]'"
        ) from error
