"""Agents of frameworks: ``base`` is what they share; the other modules lead to plugins."""
