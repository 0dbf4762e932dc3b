"""Backends: ``base`` has what they promise and share; ``local_backend`` is the built-in one."""
