"""What is saved is what is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.state import StateManager
from omniagents.testing._support import ODD_NAMES, run_python
from omniagents.testing._trees import contents, described, make_rich_tree
from omniagents.testing.state.base import StateTests
from omniagents.workspace import Workspace

__all__ = ["RoundTripTests"]

Again = Callable[[], Workspace]


class RoundTripTests(StateTests):
    """Content, names, modes, times, links and directories."""

    @pytest.fixture
    def again(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> Again:
        """Saves the workspace and loads it into a fresh one, with another manager, as the next session does."""

        def save_and_load() -> Workspace:
            saved = manager.save(project_id, workspace, "before")
            assert later.load(project_id, fresh) == saved
            return fresh

        return save_and_load

    def test_a_tree_of_everything_is_equal_after_loading(
        self, backend: LocalBackend, workspace: Workspace, again: Again
    ) -> None:
        make_rich_tree(backend)
        loaded = again()
        assert described(loaded) == described(workspace)
        assert contents(loaded) == contents(workspace)

    def test_bytes_are_equal(self, workspace: Workspace, again: Again) -> None:
        files = {"empty": b"", "nul": b"\0", "ends": b"\r\n\r", "binary": bytes(range(256)) * 1000}
        for name, content in files.items():
            workspace.write_bytes(name, content)
        assert contents(again()) == files

    def test_large_files_are_equal(self, workspace: Workspace, again: Again) -> None:
        files = {"random": os.urandom(9 << 20), "zeros": bytes(12 << 20), "twice": os.urandom(1 << 20) * 6}
        for name, content in files.items():
            workspace.write_bytes(name, content)
        loaded = again()
        assert {name: loaded.read_bytes(name) == content for name, content in files.items()} == dict.fromkeys(
            files, True
        )

    def test_thousands_of_small_files_are_equal(self, workspace: Workspace, again: Again) -> None:
        workspace.run("for d in a b c; do mkdir $d; for i in $(seq 700); do echo $d $i > $d/$i; done; done")
        assert contents(again()) == {f"{d}/{i}": b"%c %d\n" % (ord(d), i) for d in "abc" for i in range(1, 701)}

    def test_hidden_and_ignored_files_are_kept(self, workspace: Workspace, again: Again) -> None:
        files = {
            ".env": b"A=1",
            ".gitignore": b"*.log\n.env\n",
            "a.log": b"log",
            ".git/config": b"c",
            "db.sqlite": b"s",
        }
        for name, content in files.items():
            workspace.write_bytes(name, content)
        assert contents(again()) == files

    def test_repositories_in_the_workspace_are_kept_to_the_last_byte(self, workspace: Workspace, again: Again) -> None:
        for top in (".git", "vendor/lib/.git"):
            workspace.run(f"mkdir -p {top}/refs/tags {top}/refs/heads {top}/objects/info {top}/objects/0a {top}/hooks")
            workspace.write_bytes(f"{top}/HEAD", b"ref: refs/heads/main\n")
            workspace.write_bytes(f"{top}/refs/heads/main", b"0a" * 20 + b"\n")
            workspace.write_bytes(f"{top}/objects/0a/{'0a' * 19}", bytes(range(256)))
            workspace.write_bytes(f"{top}/index", b"DIRC\0\0\0\2")
            workspace.run(f"chmod 444 {top}/objects/0a/*; echo '#!/bin/sh' > {top}/hooks/x; chmod 755 {top}/hooks/x")
        workspace.write_bytes(".gitattributes", b"* text eol=crlf ident\n*.bin filter=lfs\n")
        workspace.write_bytes("a.txt", b"$Id$\r\nline\n")
        workspace.write_bytes(".gitmodules", b'[submodule "lib"]\n\tpath = vendor/lib\n')
        loaded = again()
        assert described(loaded) == described(workspace)
        assert contents(loaded) == contents(workspace)

    def test_what_agents_remember_is_kept_and_logs_are_not(self, workspace: Workspace, again: Again) -> None:
        workspace.write_bytes(".omniagents/memory.json", b"{}")
        workspace.write_bytes(".omniagents/logs/1.log", b"x")
        loaded = again()
        assert loaded.read_bytes(".omniagents/memory.json") == b"{}"
        assert not loaded.exists(".omniagents/logs/1.log")

    def test_modes_are_equal(self, workspace: Workspace, again: Again) -> None:
        modes = {"plain": 0o644, "private": 0o600, "program": 0o755, "read-only": 0o444, "none": 0o000}
        for name, mode in modes.items():
            workspace.write_bytes(name, b"x")
            workspace.run(["chmod", f"{mode:o}", name])
        workspace.run("mkdir -m 700 private-dir; mkdir -m 1777 sticky; mkdir sealed; touch sealed/a; chmod 555 sealed")
        loaded = again()
        assert {name: loaded.stat(name).mode for name in modes} == modes
        directories = ("private-dir", "sticky", "sealed")
        assert [loaded.stat(name).mode for name in directories] == [0o700, 0o1777, 0o555]

    def test_times_of_files_are_equal(self, backend: LocalBackend, again: Again) -> None:
        times = [0, 1, 1_234_567_890_123_456_789, 4_102_444_800_000_000_001]
        program = "import os, sys\nfor n in sys.argv[1:]: open(n, 'w').close(); os.utime(n, ns=(int(n), int(n)))"
        run_python(backend, program, *map(str, times))
        loaded = again()
        assert [loaded.stat(str(time)).mtime_ns for time in times] == times

    def test_a_time_that_is_too_late_for_64_bits_is_taken_for_the_latest(
        self, workspace: Workspace, again: Again
    ) -> None:
        workspace.run("touch -d 2400-01-01 file; mkdir dir; ln -s file link; touch -h -d 2400-01-01 link dir")
        loaded = again()
        for name in ("file", "link"):
            found, there = loaded.stat(name, follow=False), workspace.stat(name, follow=False)
            assert there.mtime_ns == found.mtime_ns <= (1 << 63) - 1

    def test_empty_directories_are_kept(self, workspace: Workspace, again: Again) -> None:
        workspace.run("mkdir -p a/b/c d")
        assert [entry.path for entry in again().scan().entries if not entry.path.startswith(".omniagents")] == [
            "a", "a/b", "a/b/c", "d",
        ]  # fmt: skip

    def test_links_are_kept_as_links(self, workspace: Workspace, again: Again) -> None:
        targets = {
            "to-file": "a.txt",
            "to-dir": "dir",
            "dangling": "no/where",
            "outside": "/etc/hostname",
            "loop": "loop",
        }
        workspace.write_bytes("a.txt", b"x")
        workspace.write_bytes("dir/b.txt", b"x")
        for name, target in targets.items():
            workspace.run(["ln", "-s", target, name])
        loaded = again()
        assert {name: loaded.stat(name, follow=False).target for name in targets} == targets
        assert loaded.read_bytes("to-dir/b.txt") == b"x"

    def test_what_is_behind_a_link_is_not_saved(self, workspace: Workspace, again: Again, fresh: Workspace) -> None:
        workspace.run(["ln", "-s", fresh.root, "link"])
        fresh.write_bytes("outside.txt", b"x")
        loaded = again()
        assert [entry.kind for entry in loaded.list() if entry.path == "link"] == ["link"]
        assert not loaded.exists("outside.txt")

    @pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
    def test_odd_names_are_equal(self, workspace: Workspace, again: Again, name: str) -> None:
        workspace.write_bytes(f"{name}/{name}", b"x")
        workspace.run(["ln", "-s", "--", name, "link"])
        loaded = again()
        assert contents(loaded) == {f"{name}/{name}": b"x"}
        assert loaded.stat("link", follow=False).target == name

    def test_a_tree_of_three_hundred_levels_is_equal(self, workspace: Workspace, again: Again) -> None:
        deep = "/".join(["d"] * 300)
        workspace.write_bytes(deep + "/a.txt", b"deep")
        assert again().read_bytes(deep + "/a.txt") == b"deep"

    def test_an_empty_workspace_can_be_saved_and_loaded(self, fresh: Workspace, again: Again) -> None:
        fresh.write_bytes("extra.txt", b"x")
        assert contents(again()) == {}

    def test_loading_removes_what_the_snapshot_has_not(
        self, workspace: Workspace, fresh: Workspace, again: Again
    ) -> None:
        workspace.write_bytes("kept/a.txt", b"a")
        for name in ("extra.txt", "kept/extra.txt", "extra/deep/b.txt"):
            fresh.write_bytes(name, b"x")
        fresh.run("ln -s nowhere link; mkdir sealed; touch sealed/x; chmod 500 sealed")
        loaded = again()
        assert [entry.path for entry in loaded.scan().entries] == ["kept", "kept/a.txt"]

    def test_loading_a_project_never_saved_does_nothing(
        self, manager: StateManager, project_id: str, fresh: Workspace
    ) -> None:
        fresh.write_bytes("mine.txt", b"x")
        assert manager.load(project_id, fresh) is None
        assert fresh.read_bytes("mine.txt") == b"x"

    def test_what_cannot_be_saved_is_reported_and_the_rest_is_saved(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        workspace.write_bytes("a.txt", b"x")
        workspace.run("mkfifo pipe")
        assert "pipe" in [left.path for left in manager.save(project_id, workspace).left_out]
        later.load(project_id, fresh)
        assert [entry.path for entry in fresh.list() if entry.path != ".omniagents"] == ["a.txt"]
