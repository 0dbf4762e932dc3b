"""Deliberately broken plugins, each under its contract; run by test_kit.py, never by themselves."""
