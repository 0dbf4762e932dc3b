"""Scripted models, and a backend without isolation."""

from tests.frameworks.serving import homes, local_backend, serve

__all__ = ["homes", "local_backend", "serve"]
