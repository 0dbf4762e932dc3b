"""What the core itself provides, registered like any plugin's. Imports none of it."""

from omniagents.plugins.specs import Component, hookimpl


@hookimpl
def omniagents_register_backends() -> list[Component]:
    return [
        Component("local", "omniagents.backends.local_backend:LocalBackend", "This machine, for development only."),
    ]


@hookimpl
def omniagents_register_state_managers() -> list[Component]:
    return [Component("none", "omniagents.state.noop:NoOpStateManager", "Keeps nothing.")]


@hookimpl
def omniagents_register_tools() -> list[Component]:
    module = "omniagents.tools."
    return [
        Component("write_file", module + "write_file_tool:WriteFileTool", "Create or overwrite a file."),
        Component("read_file", module + "read_file_tool:ReadFileTool", "Read a text file, an image or a PDF."),
        Component("list_directory", module + "list_directory_tool:ListDirectoryTool", "List one directory."),
        Component("glob", module + "glob_tool:GlobTool", "Find files by the pattern of their path."),
        Component(
            "search_file_content", module + "search_file_content_tool:SearchFileContentTool", "Find lines by a pattern."
        ),
        Component("replace", module + "replace_tool:ReplaceTool", "Replace exact text in a file."),
        Component("run_shell_command", module + "run_shell_command_tool:RunShellCommandTool", "Run a shell command."),
        Component("read_many_files", module + "read_many_files_tool:ReadManyFilesTool", "Read several files at once."),
        Component("save_memory", module + "save_memory_tool:SaveMemoryTool", "Remember a fact for later sessions."),
        Component("uv", module + "uv_tool:UVTool", "Manage Python packages and environments with uv."),
    ]


@hookimpl
def omniagents_register_presets() -> list[Component]:
    return [
        Component("generic", "omniagents.presets.generic:GenericPreset", "All ten tools, nothing set up."),
        Component("python-uv", "omniagents.presets.python:PythonUVPreset", "A Python project managed with uv."),
        Component("python-pip", "omniagents.presets.python:PythonPipPreset", "A Python project managed with pip."),
        Component("node", "omniagents.presets.node:NodePreset", "A Node.js project managed with npm."),
    ]
