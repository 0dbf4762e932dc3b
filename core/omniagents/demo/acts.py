"""What the processes of the demo play: ``python -m omniagents.demo.acts ACT``, with the cast on standard input."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import omniagents
from omniagents.backends.base import Backend
from omniagents.demo.stage import Cast, ClaimError, Part, claim, step
from omniagents.errors import OmniagentsError
from omniagents.records import FileInfo, ImportEntry
from omniagents.state.base import StateManager
from omniagents.tools._rendering import plural
from omniagents.tools.base import Tool, ToolResult

__all__ = ["main"]

_PLACED: Final = "source placed"


class _Desk:
    """A user at work: a backend, and the ten tools on it."""

    def __init__(self, part: Part, backend: Backend) -> None:
        self.part, self.name, self.work = part, part.name, part.work
        self.backend = backend
        self.notes = f"NOTES-{part.name}.md"
        self._tools: dict[str, Tool] = {tool.name: tool for tool in omniagents.create_tools(backend)}

    def try_out(self, tool: str, **arguments: Any) -> ToolResult:
        """The result of a tool, good or bad."""
        return self._tools[tool].execute(**arguments)

    def use(self, tool: str, **arguments: Any) -> ToolResult:
        """The result of a tool that must work."""
        result = self.try_out(tool, **arguments)
        claim(not result.is_error, f"{tool} works for {self.name}: {result.content[:500]}")
        return result

    def refused(self, tool: str, **arguments: Any) -> ToolResult:
        """The result of a tool that must refuse."""
        result = self.try_out(tool, **arguments)
        claim(result.is_error, f"{tool} refuses {arguments!r} of {self.name}: {result.content[:500]}")
        return result

    def start(self) -> None:
        with step(self.name, f"starts {self.backend}"):
            self.backend.start()

    def shut_down(self) -> None:
        with step(self.name, "shuts down; the workspace is saved and removed from this machine") as doing:
            # In an isolated environment a path that was never on this machine.
            root = Path(self.backend.workspace.root)
            self.backend.shutdown()
            claim(not root.exists(), f"the workspace {root} is gone")
            saved = self.backend.snapshot
            claim(saved is not None, "the workspace was saved")
            doing.text += f" ({saved.files} files)" if saved else ""

    def file_bytes(self) -> dict[str, bytes]:
        """Every file of the workspace."""
        workspace = self.backend.workspace
        paths = [entry.path for entry in workspace.scan().entries if entry.kind == "file"]
        return {entry.info.path: b"".join(entry.chunks) for entry in workspace.export(paths)}

    def test(self) -> None:
        with step(self.name, "run_shell_command") as doing:
            command = "python -m unittest"
            result = self.use("run_shell_command", command=command, directory=self.work.test_directory)
            doing.text += f" {command}: {_passed(self, result)}"


def first(cast: Cast) -> None:
    """One process, as in a product: both users at once, each in a workspace of their own."""
    desks = [*_desks(cast)]
    with contextlib.ExitStack() as backends:
        for desk in desks:
            desk.start()
            # On every way out; after shut_down it has nothing left to do.
            backends.callback(desk.backend.shutdown, save=False)
        for desk in desks:
            _place(desk)
        for desk in desks:
            _look(desk)
            _edit(desk)
            desk.test()
            _with_uv(desk)
            _remember(desk)
        for desk in desks:
            _sees_nothing_of_others(desk, cast)
            _is_kept_out(desk, [other for other in desks if other is not desk])
        for desk in desks:
            desk.shut_down()


def back(cast: Cast) -> None:
    """A new process, for one user alone, who goes back to an older point."""
    desk = _only(cast, "alice")
    with desk.backend:
        _found_again(desk, cast)
        kept = _history(desk)
        placed = next((one for one in kept if one.message == _PLACED), None)
        claim(placed is not None, f"the history has {_PLACED!r}")
        assert placed is not None
        with step(desk.name, f"restores {_PLACED!r}: the edit and the new files are gone, the source is as it came"):
            desk.backend.restore(placed.id)
            claim(desk.file_bytes() == _files_of(desk.work.tree), "the workspace equals the source, byte for byte")
        desk.shut_down()


def again(cast: Cast) -> None:
    """A new process for the other user, who finds everything, and sees nothing of the first."""
    desk = _only(cast, "bob")
    with desk.backend:
        _found_again(desk, cast)
        desk.test()
        _history(desk)
        desk.shut_down()


def last(cast: Cast) -> None:
    """A third process: what was restored is what is found now, and nothing of the history is lost."""
    desk = _only(cast, "alice")
    with desk.backend:
        with step(desk.name, "is back again, and finds the restored source"):
            claim(desk.file_bytes() == _files_of(desk.work.tree), "the workspace equals the source, byte for byte")
        kept = _history(desk)
        claim(len(kept) == 3, f"the history has three snapshots, not {len(kept)}")
        edited = kept[1].id
        with step(desk.name, "goes forward to the edited state once more: nothing was lost by going back"):
            desk.backend.restore(edited)
            claim(desk.work.test_file in desk.file_bytes(), f"{desk.work.test_file} is back")
        desk.test()
        desk.shut_down()


def _desks(cast: Cast) -> Iterator[_Desk]:
    state: StateManager = omniagents.create_state_manager("directory", directory=cast.snapshots)
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}  # caches would only blur what is compared
    if cast.backend == "local":
        # `python` in the workspaces is the Python that plays; an isolated environment has its own.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for part in cast.parts:
        backend = omniagents.create_backend(
            cast.backend, project_id=part.name, state_manager=state, environment=environment
        )
        yield _Desk(part, backend)


def _only(cast: Cast, name: str) -> _Desk:
    return next(desk for desk in _desks(cast) if desk.name == name)


def _place(desk: _Desk) -> None:
    with step(desk.name, f"receives {desk.work.title}") as doing:
        described = desk.backend.workspace.import_(_entries(Path(desk.work.tree)))
        size = sum(info.size for info in described)
        desk.backend.checkpoint(_PLACED)
        claim(desk.file_bytes() == _files_of(desk.work.tree), "the workspace equals the source, byte for byte")
        doing.text += f": {len(described)} files and directories, {size:,} bytes; a checkpoint keeps them"


def _look(desk: _Desk) -> None:
    work = desk.work
    with step(desk.name, "list_directory and glob") as doing:
        top = desk.use("list_directory", path=".").content
        claim(work.file.partition("/")[0] in top, f"list_directory shows the top of {work.file}")
        found = desk.use("glob", pattern="**/*.py").data["paths"]
        claim(work.file in found, f"glob finds {work.file}")
        doing.text += f": {len(found)} Python files"
    with step(desk.name, f"search_file_content for {work.definition}") as doing:
        found = desk.use("search_file_content", pattern=work.definition)
        places = re.findall(r"^L(\d+): ", found.content, re.MULTILINE)
        claim(found.data["matches"] == 1 and len(places) == 1, f"the definition is in one place: {found.content}")
        doing.text += f": line {places[0]} of {work.file}"
    with step(desk.name, "read_file from that line; read_many_files") as doing:
        page = desk.use("read_file", absolute_path=work.file, offset=int(places[0]) - 1, limit=5).content
        claim(
            re.search(work.definition, page, re.MULTILINE) is not None, f"the definition is where it was found: {page}"
        )
        many = desk.use("read_many_files", paths=["*", work.file]).content
        claim(f"--- {work.file} ---" in many, f"{work.file} is among the files")
        doing.text += f": {len(many):,} characters"


def _edit(desk: _Desk) -> None:
    work = desk.work
    with step(desk.name, f"replace in {work.file}; write_file {work.test_file} and {desk.notes}"):
        before = desk.backend.workspace.read_bytes(work.file)
        desk.use("replace", absolute_path=work.file, old_string=work.old, new_string=work.new)
        after = desk.backend.workspace.read_bytes(work.file)
        claim(
            after == before.replace(work.old.encode(), work.new.encode(), 1) != before, "exactly the one span changed"
        )
        desk.use("write_file", absolute_path=work.test_file, content=work.test)
        desk.use("write_file", absolute_path=desk.notes, content=f"{desk.part.marker}\n")


def _with_uv(desk: _Desk) -> None:
    words = ["run", "--no-project", "--offline", "python", "-m", "unittest"]
    with step(desk.name, f"uv {' '.join(words)}") as doing:
        result = desk.try_out("uv", args=words, directory=desk.work.test_directory)
        if result.error_type == "UV_NOT_FOUND":
            doing.text += ": not on this machine, which the tool says"
            return
        claim(not result.is_error, f"uv works for {desk.name}: {result.content[:500]}")
        doing.text += f": {_passed(desk, result)}"


def _remember(desk: _Desk) -> None:
    with step(desk.name, "save_memory"):
        desk.use("save_memory", key="task", value=f"edited {desk.work.file}")


def _found_again(desk: _Desk, cast: Cast) -> None:
    work = desk.work
    with step(desk.name, "is back in a new process, and finds the edit, the new files and the memory"):
        files = desk.file_bytes()
        claim(work.new.encode() in files[work.file], f"{work.file} is as it was left")
        claim(files[work.test_file] == work.test.encode(), f"{work.test_file} is as it was left")
        claim(files[desk.notes].decode().strip() == desk.part.marker, f"{desk.notes} is as it was left")
        memory = desk.use("read_file", absolute_path=".omniagents/memory.json").content
        claim(f"edited {work.file}" in memory, "the memory is as it was left")
    _sees_nothing_of_others(desk, cast)


def _sees_nothing_of_others(desk: _Desk, cast: Cast) -> None:
    with step(desk.name, "finds nothing of the other user") as doing:
        files = desk.file_bytes()
        everything = "\n".join(files).encode("utf-8", "surrogateescape") + b"\n".join(files.values())
        own = desk.use("search_file_content", pattern=desk.part.marker, fixed_strings=True, no_ignore=True)
        claim(own.data["matches"] == 1, f"{desk.name} finds their own marker")
        for other in cast.parts:
            if other.name == desk.name:
                continue
            result = desk.use("search_file_content", pattern=other.marker, fixed_strings=True, no_ignore=True)
            claim(result.data["matches"] == 0, f"{desk.name} finds no marker of {other.name}: {result.content}")
            claim(
                other.marker.encode() not in everything, f"no byte of {desk.name}'s files is the marker of {other.name}"
            )
            claim(f"NOTES-{other.name}".encode() not in everything, f"{desk.name} has no file of {other.name}")
        doing.text += f": every byte of {len(files)} files was looked at"


def _is_kept_out(desk: _Desk, others: list[_Desk]) -> None:
    for other in others:
        with step(desk.name, f"asks for a file of {other.name} by the path it has there, and is refused"):
            path = f"{other.backend.workspace.root}/{other.notes}"
            claim(other.backend.workspace.exists(other.notes), f"{path} is there to be asked for")
            refused = desk.refused("read_file", absolute_path=path)
            # On this machine it is a path of somebody else's; an isolated environment has no such path.
            is_same_path = desk.backend.workspace.root == other.backend.workspace.root
            expected = "FILE_NOT_FOUND" if is_same_path else "PATH_OUTSIDE_WORKSPACE"
            claim(refused.error_type == expected, f"the refusal says why: {refused.content}")
            claim(other.part.marker not in refused.content, "the refusal tells nothing")


def _history(desk: _Desk) -> list[Any]:
    kept = list(desk.backend.state_manager.history(desk.name))
    with step(desk.name, "looks at the history, newest first:") as doing:
        for one in kept:
            doing.text += (
                f"\n{one.id[:12]}  {one.files:>3} files  {one.changed:>3} changed  {one.message or 'saved at shutdown'}"
            )
        claim(all(one.project_id == desk.name for one in kept), "it is this user's own")
        ids = [one.id for one in kept]
        claim([one.parent_id for one in kept] == [*ids[1:], None], "each was made from the one before")
    return kept


def _passed(desk: _Desk, result: ToolResult) -> str:
    """How many tests ran; all of them must have passed."""
    ran = re.search(r"^Ran (\d+) tests? in ", result.content, re.MULTILINE)
    count = int(ran.group(1)) if ran else 0
    claim(count >= desk.work.least_tests, f"at least {desk.work.least_tests} tests run: {result.content[-500:]}")
    claim(re.search(r"^OK\b", result.content, re.MULTILINE) is not None, f"the tests pass: {result.content[-500:]}")
    return f"{plural(count, 'test')} passed"


def _files_of(tree: str) -> dict[str, bytes]:
    root = Path(tree)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _entries(root: Path) -> Iterator[ImportEntry]:
    for path in sorted(root.rglob("*")):
        facts, name = path.lstat(), path.relative_to(root).as_posix()
        common = (facts.st_mode & 0o777, facts.st_mtime_ns, 0, 0)
        if path.is_dir():
            yield ImportEntry(FileInfo(name, "directory", 0, *common))
        else:
            yield ImportEntry(FileInfo(name, "file", facts.st_size, *common), [path.read_bytes()])


_ACTS: Final[dict[str, Callable[[Cast], None]]] = {"first": first, "back": back, "again": again, "last": last}


def main(act: str) -> int:
    """Play one act; its steps are on standard output, what went wrong on standard error."""
    try:
        _ACTS[act](Cast.from_json(sys.stdin.read()))
    except (ClaimError, OmniagentsError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
