"""``ToolContract``: what the ten tools promise, tried through ``Tool.execute`` on a running backend."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "base", "glob", "list_directory", "paths", "read_file", "read_many_files", "replace", "run_shell_command",
            "save_memory", "search_file_content", "shared", "shell_background", "uv", "write_file",
        )
    )
)  # fmt: skip

from omniagents.testing.tools.glob import GlobTests  # noqa: E402
from omniagents.testing.tools.list_directory import ListDirectoryTests  # noqa: E402
from omniagents.testing.tools.paths import ToolPathTests  # noqa: E402
from omniagents.testing.tools.read_file import ReadFileTests  # noqa: E402
from omniagents.testing.tools.read_many_files import ReadManyFilesTests  # noqa: E402
from omniagents.testing.tools.replace import ReplaceTests  # noqa: E402
from omniagents.testing.tools.run_shell_command import RunShellCommandTests  # noqa: E402
from omniagents.testing.tools.save_memory import SaveMemoryTests  # noqa: E402
from omniagents.testing.tools.search_file_content import SearchFileContentTests  # noqa: E402
from omniagents.testing.tools.shared import SharedTests  # noqa: E402
from omniagents.testing.tools.shell_background import ShellBackgroundTests  # noqa: E402
from omniagents.testing.tools.uv import UVTests  # noqa: E402
from omniagents.testing.tools.write_file import WriteFileTests  # noqa: E402

__all__ = ["ToolContract"]


class ToolContract(
    SharedTests,
    ToolPathTests,
    WriteFileTests,
    ReadFileTests,
    ListDirectoryTests,
    GlobTests,
    SearchFileContentTests,
    ReplaceTests,
    RunShellCommandTests,
    ShellBackgroundTests,
    ReadManyFilesTests,
    SaveMemoryTests,
    UVTests,
):
    """Subclass this with a fixture ``backend_factory``."""
