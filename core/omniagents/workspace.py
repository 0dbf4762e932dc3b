"""The host's client of the guest (being written)."""
