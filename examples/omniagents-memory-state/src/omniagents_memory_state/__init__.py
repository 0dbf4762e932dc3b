"""Keeps the snapshots of Omniagents in memory: an example of a plugin."""
