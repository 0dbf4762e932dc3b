"""smolagents agents and tools of Omniagents."""
