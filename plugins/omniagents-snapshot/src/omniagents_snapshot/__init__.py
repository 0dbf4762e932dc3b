"""Content-addressed, incremental snapshots of workspaces, and the ``directory`` state manager built on them."""
