"""Pydantic AI agents and toolsets of Omniagents."""
