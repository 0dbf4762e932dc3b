"""The e2b backend of Omniagents: one managed cloud sandbox for each project."""
