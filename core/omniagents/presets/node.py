"""``node``: JavaScript and TypeScript projects, with npm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from omniagents.presets.base import ALL_TOOLS, Preset
from omniagents.presets.generic import GenericPreset

__all__ = ["NodePreset"]

# Written by hand, not by `npm init`, which makes a name of the directory's and so fails in some; ES modules, and a test
# script that needs no package.
_MAKE_PROJECT: Final = """\
if command -v node >/dev/null 2>&1 && [ ! -e package.json ]; then cat > package.json <<'END'
{
  "name": "app",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "scripts": {
    "test": "node --test"
  }
}
END
fi"""

_INSTRUCTIONS: Final = f"""\
{GenericPreset.instructions}
The workspace is a Node.js project; its dependencies are in package.json, and its modules are ES modules.
Add a package with `npm install express`, run a program with `node main.js`, and tests, in files named
`*.test.js` that import `node:test`, with `npm test`.\
"""


def _environment() -> dict[str, str]:
    return {"NPM_CONFIG_AUDIT": "false", "NPM_CONFIG_FUND": "false", "NPM_CONFIG_UPDATE_NOTIFIER": "false"}


@dataclass(frozen=True)
class NodePreset(Preset):
    """All tools but uv, an image with Node.js 22 and Python 3, and a new workspace that is an npm project."""

    name: str = "node"
    tools: tuple[str, ...] = tuple(tool for tool in ALL_TOOLS if tool != "uv")
    # Not one of the `slim` images: the guest needs Python, which the full ones have.
    image: str | None = "node:22-bookworm"
    environment: Mapping[str, str] = field(default_factory=_environment, hash=False)
    setup_commands: tuple[str, ...] = (_MAKE_PROJECT,)
    instructions: str = _INSTRUCTIONS
