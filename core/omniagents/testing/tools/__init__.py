"""``ToolContract``: what the ten tools promise, tried through ``Tool.execute`` on a running backend."""

from __future__ import annotations

from omniagents.testing.tools.glob import GlobTests
from omniagents.testing.tools.list_directory import ListDirectoryTests
from omniagents.testing.tools.paths import ToolPathTests
from omniagents.testing.tools.read_file import ReadFileTests
from omniagents.testing.tools.read_many_files import ReadManyFilesTests
from omniagents.testing.tools.replace import ReplaceTests
from omniagents.testing.tools.run_shell_command import RunShellCommandTests
from omniagents.testing.tools.save_memory import SaveMemoryTests
from omniagents.testing.tools.search_file_content import SearchFileContentTests
from omniagents.testing.tools.shared import SharedTests
from omniagents.testing.tools.shell_background import ShellBackgroundTests
from omniagents.testing.tools.uv import UVTests
from omniagents.testing.tools.write_file import WriteFileTests

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
