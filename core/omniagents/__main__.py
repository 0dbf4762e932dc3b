"""``python -m omniagents``: the same as the program ``omniagents``."""

import sys

from omniagents.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
