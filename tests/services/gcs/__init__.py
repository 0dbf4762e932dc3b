"""Cloud Storage for the tests: somebody else's emulator, and a server of ours that can go wrong."""
