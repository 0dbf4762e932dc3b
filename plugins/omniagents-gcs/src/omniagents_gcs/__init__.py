"""State manager of Omniagents that keeps sessions in Google Cloud Storage."""
