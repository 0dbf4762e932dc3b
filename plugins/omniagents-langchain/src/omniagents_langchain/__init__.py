"""LangChain agents and tools of Omniagents."""
