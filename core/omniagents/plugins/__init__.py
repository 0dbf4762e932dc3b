"""Composition by name: the hooks (``specs``), loading (``manager``) and names to classes (``registry``)."""
