"""State manager of Omniagents that keeps sessions as branches of a git repository."""
