"""What a branch looks like to a person with git, and that nothing of a workspace is lost in it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omniagents._ids import encode_project_id
from omniagents.errors import SnapshotNotFoundError, StateError
from omniagents.testing._trees import contents, described
from omniagents.workspace import Workspace
from omniagents_git.state_manager import GitStateManager
from omniagents_snapshot.progress import Progress

NewManager = Callable[..., GitStateManager]
Git = Callable[..., str]
BRANCH = f"omniagents/{encode_project_id('alice')}"


def files_of(git: Git, branch: str = BRANCH) -> list[str]:
    """Paths in a branch without the sidecar."""
    listed = git("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", branch).split("\n")
    return [path for path in listed if not path.startswith(".omniagents-state/")]


def test_ordinary_files_appear_as_themselves(
    new_manager: NewManager, workspace: Workspace, git: Git, tmp_path: Path
) -> None:
    workspace.run(
        "mkdir -p src; echo 'print(1)' > src/a.py; echo '# Hi' > README.md; ln -s src/a.py run; chmod +x src/a.py"
    )
    new_manager().save("alice", workspace, "Add a program")
    assert git("ls-tree", "-r", BRANCH, "README.md", "run", "src").split("\n")[0].startswith("100644 blob ")
    assert git("show", f"{BRANCH}:src/a.py") == "print(1)"
    assert git("ls-tree", BRANCH, "src/a.py").startswith("100755 blob")
    assert git("ls-tree", BRANCH, "run").startswith("120000 blob")
    subprocess.run(
        ["git", "clone", "-q", "-b", BRANCH, git("rev-parse", "--absolute-git-dir"), tmp_path / "c"], check=True
    )
    assert (tmp_path / "c/run").read_text() == "print(1)\n"


def test_commits_have_the_checkpoints_messages_and_honest_times(
    new_manager: NewManager, workspace: Workspace, git: Git
) -> None:
    manager = new_manager()
    for message in ("Try the other parser", "", "Two\n\nparagraphs"):
        workspace.write_bytes("a.txt", message.encode())
        saved = manager.save("alice", workspace, message)
        assert abs((datetime.now(UTC) - saved.created_at).total_seconds()) < 60
    assert git("log", "--format=%s", BRANCH).split("\n") == ["Two", "Save the workspace", "Try the other parser"]
    assert int(git("log", "-1", "--format=%ct", BRANCH)) == int(saved.created_at.timestamp())
    assert git("rev-parse", BRANCH) == saved.id
    assert [snapshot.message for snapshot in manager.history("alice")] == [
        "Two\n\nparagraphs",
        "",
        "Try the other parser",
    ]


@pytest.mark.parametrize(
    "message",
    ["a\0b", "\ud800", "x\n\nOmniagents-Snapshot: {}", " spaces \n", "\n\n", "é" * 5000, "-m", "#"],
    ids=ascii,
)
def test_any_message_comes_back_as_it_was(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, message: str
) -> None:
    workspace.write_bytes("a.txt", b"x")
    saved = new_manager().save("alice", workspace, message)
    assert saved.message == message
    assert new_manager().load("alice", fresh) == saved


HARD_NAMES = [
    ".git/config", ".GIT/x", ".git", ".gitmodules", ".gitattributes", ".gitignore", "git~1", "GITMOD~1", "gi7eba~4",
    ".g\u200cit", "\ufeff.git", ".git\u200d", ".git ", ".git.", "a\\.git", "back\\slash\\", "%", "%.git", "%25", "%5C",
    "x%parts", "x%parts/00000000", "%parts", ".omniagents-state/00", ".omniagents-state", ".mailmap", "CON", "a:b",
]  # fmt: skip


@pytest.mark.parametrize("name", HARD_NAMES, ids=ascii)
def test_names_that_git_or_a_server_minds_are_kept(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git, name: str
) -> None:
    git("config", "receive.fsckObjects", "true")
    git("config", "core.protectNTFS", "true")
    git("config", "core.protectHFS", "true")
    workspace.write_bytes(f"{name}/{name}", b'[submodule "x"]\n\tpath = ../x\n\turl = -u./payload\n')
    workspace.run(["ln", "-s", "../target", f"{name}/link"])
    new_manager().save("alice", workspace)
    assert git("fsck", "--strict") == ""
    new_manager().load("alice", fresh)
    assert described(fresh) == described(workspace)
    assert contents(fresh) == contents(workspace)


def test_files_and_their_likenesses_stay_apart(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git
) -> None:
    for number, name in enumerate(n for n in HARD_NAMES if "/" not in n):
        workspace.write_bytes(f"all/{name}", b"%d" % number)
    new_manager().save("alice", workspace)
    new_manager().load("alice", fresh)
    assert contents(fresh) == contents(workspace)


def test_what_git_add_would_change_or_lose_is_kept(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace
) -> None:
    script = r"""
        git init -q . && git config user.email a@b && git config user.name a
        printf '* text=auto eol=lf ident\n*.log export-ignore\n' > .gitattributes
        printf 'line\r\nmixed\n' > crlf.txt; printf '$Id$ $Id: 1 $\n' > id.txt
        printf '*.log\nbuild/\n' > .gitignore; echo ignored > a.log; mkdir build; echo x > build/out
        git add . && git commit -qm one && git init -q nested && echo n > nested/file
        git init -q --bare bare.git; mkdir -p empty/deep; printf '\000\377' > "$(printf 'b\351')"
        mkfifo pipe; chmod 600 id.txt; chmod 1777 empty; touch -d '2001-02-03 04:05:06.123456789' id.txt
        cp id.txt sqlite.db-wal
    """
    result = workspace.run(script, env={"HOME": "/nonexistent"})
    assert result.exit_code == 0, result.stderr_text
    workspace.remove("pipe")
    new_manager().save("alice", workspace)
    new_manager().load("alice", fresh)
    assert described(fresh) == described(workspace)
    assert contents(fresh) == contents(workspace)
    status = fresh.run("git -c safe.directory='*' fsck --strict && git -c safe.directory='*' status --porcelain a.log")
    assert (status.exit_code, status.stdout) == (0, b"")


def test_set_id_bits_are_not_kept(new_manager: NewManager, workspace: Workspace, fresh: Workspace) -> None:
    workspace.run("echo x > a; chmod 6755 a; mkdir d; chmod 6777 d")
    new_manager().save("alice", workspace)
    new_manager().load("alice", fresh)
    assert (fresh.stat("a").mode, fresh.stat("d").mode) == (0o755, 0o2777)


def test_a_large_file_is_stored_in_parts_and_a_small_change_of_it_is_small(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git
) -> None:
    content = os.urandom(20 << 20)
    workspace.write_bytes("video.mp4", content)
    workspace.write_bytes("image.iso", os.urandom(8 << 20))
    manager = new_manager()
    manager.save("alice", workspace)
    sizes = [int(row.split()[3]) for row in git("ls-tree", "-r", "-l", BRANCH, "video.mp4%parts/").split("\n")]
    assert sum(sizes) == len(content)
    assert max(sizes) <= 4 << 20
    assert git("ls-tree", "-l", BRANCH, "image.iso").split()[3] == str(8 << 20)
    git("repack", "-dq")
    before = int(git("count-objects", "-v").split("size-pack: ")[1].split()[0])
    changed = b"inserted" + content[: 10 << 20] + b"!" + content[10 << 20 :]
    workspace.write_bytes("video.mp4", changed)
    manager.save("alice", workspace)
    git("repack", "-dq")
    assert int(git("count-objects", "-v").split("size-pack: ")[1].split()[0]) - before < 12 << 10
    new_manager().load("alice", fresh)
    assert fresh.read_bytes("video.mp4") == changed


def test_secrets_stay_here_when_the_repository_is_elsewhere(
    new_manager: NewManager, workspace: Workspace, git: Git
) -> None:
    for name in (".env", ".env.local", ".env.example", "deep/.env", ".netrc", "keys/id_rsa", "keys/id_rsa.pub"):
        workspace.write_bytes(name, b"SECRET=1")
    saved = new_manager(keep_secrets=False).save("alice", workspace)
    assert files_of(git) == [".env.example", "keys/id_rsa.pub"]
    assert saved.left_out == (
        (".env", ".env"),
        (".env.local", ".env.*"),
        (".netrc", ".netrc"),
        ("deep/.env", ".env"),
        ("keys/id_rsa", "id_rsa"),
    )


def test_secrets_are_kept_on_this_disk_and_where_asked_for(
    new_http_manager: NewManager, new_manager: NewManager, workspace: Workspace
) -> None:
    workspace.write_bytes(".env", b"SECRET=1")
    assert new_manager().save("disk", workspace).files == 1
    assert new_http_manager().save("elsewhere", workspace).files == 0
    assert new_http_manager(keep_secrets=True).save("asked", workspace).files == 1


def test_what_a_person_changed_on_the_branch_is_loaded(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git, tmp_path: Path
) -> None:
    workspace.run("mkdir -p src empty; echo old > src/a.py; echo gone > gone.txt; echo x > tool; chmod 700 tool")
    ours = new_manager().save("alice", workspace, "ours")
    clone = tmp_path / "clone"
    script = f"""
        git clone -q -b {BRANCH} {git("rev-parse", "--absolute-git-dir")} {clone} && cd {clone}
        git config user.email bob@example.com && git config user.name Bob
        echo new > src/a.py; mkdir -p docs/deep; echo doc > docs/deep/x.md; git rm -q gone.txt; echo '#!/bin/sh' > run
        chmod +x run; git add . && git commit -qm 'By hand' && git push -q
    """
    subprocess.run(["bash", "-ec", script], check=True)
    manager = new_manager()
    loaded = manager.load("alice", fresh)
    assert loaded is not None
    assert (loaded.message, loaded.parent_id) == ("By hand", ours.id)
    assert contents(fresh) == {"src/a.py": b"new\n", "docs/deep/x.md": b"doc\n", "run": b"#!/bin/sh\n", "tool": b"x\n"}
    assert [fresh.stat(name).mode for name in ("run", "tool", "empty")] == [0o755, 0o700, 0o755]
    fresh.write_bytes("more.txt", b"x")
    saved = manager.save("alice", fresh, "on top")
    assert [snapshot.message for snapshot in manager.history("alice")] == ["on top", "By hand", "ours"]
    assert (saved.parent_id, saved.changed) == (loaded.id, 1)
    assert manager.projects() == ["alice"]


def test_the_sidecar_of_a_small_change_is_small(new_manager: NewManager, workspace: Workspace, git: Git) -> None:
    workspace.run("for d in $(seq 60); do mkdir $d; for i in $(seq 20); do echo $i > $d/$i; done; done")
    manager = new_manager()
    first = manager.save("alice", workspace)
    workspace.write_bytes("7/3", b"changed")
    second = manager.save("alice", workspace)
    changed = git("diff", "--name-only", first.id, second.id).split("\n")
    assert "7/3" in changed
    assert len(changed) <= 3
    assert len(git("ls-tree", "--name-only", f"{BRANCH}:.omniagents-state").split("\n")) > 30


def test_a_branch_gets_a_new_root_after_as_many_saves_as_are_kept(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git
) -> None:
    manager = new_manager(keep=4)
    saved = []
    for number in range(11):
        workspace.write_bytes("a.txt", b"%d" % number)
        saved.append(manager.save("alice", workspace, str(number)))
        history = new_manager(keep=4).history("alice")
        assert history == saved[-4:][::-1]
        assert len(git("rev-list", BRANCH).split()) <= 4
    assert [one.parent_id for one in saved] == [None, *(one.id for one in saved[:-1])]
    assert new_manager(keep=4).restore("alice", saved[-4].id, fresh) == saved[-4]
    assert fresh.read_bytes("a.txt") == b"7"
    git("gc", "--prune=now", "--quiet")
    with pytest.raises(subprocess.CalledProcessError):
        git("cat-file", "-e", saved[0].id)


def test_a_server_without_forced_pushes_keeps_a_longer_branch(
    new_manager: NewManager, workspace: Workspace, git: Git
) -> None:
    git("config", "receive.denyNonFastForwards", "true")
    manager = new_manager(keep=2)
    for number in range(5):
        workspace.write_bytes("a.txt", b"%d" % number)
        manager.save("alice", workspace, str(number))
    assert [snapshot.message for snapshot in manager.history("alice")] == ["4", "3"]
    assert len(git("rev-list", BRANCH).split()) == 5


def test_deleting_a_project_removes_every_branch_of_it(
    new_manager: NewManager, workspace: Workspace, git: Git, tmp_path: Path
) -> None:
    manager = new_manager(keep=2)
    for number in range(5):
        workspace.write_bytes("a.txt", b"%d" % number)
        manager.save("alice", workspace, str(number))
    manager.save("bob", workspace)
    manager.delete("alice")
    assert [ref.rpartition("/")[2][:4] for ref in git("for-each-ref", "--format=%(refname)").split()] == ["bob-"]
    assert not [path for path in (tmp_path / "cache").rglob("*alice*") if path.suffix != ".lock"]


def test_a_fork_is_a_commit_on_the_same_tree(new_manager: NewManager, workspace: Workspace, git: Git) -> None:
    manager = new_manager()
    workspace.write_bytes("a.txt", b"one")
    first = manager.save("alice", workspace, "one")
    workspace.write_bytes("a.txt", b"two")
    manager.save("alice", workspace, "two")
    manager.fork("alice", "bob", snapshot_id=first.id)
    forked = f"omniagents/{encode_project_id('bob')}"
    assert git("rev-parse", f"{forked}^{{tree}}") == git("rev-parse", f"{first.id}^{{tree}}")
    assert git("rev-list", "--count", forked) == "1"
    assert [snapshot.message for snapshot in manager.history("bob")] == ["one"]
    assert manager.projects() == ["alice", "bob"]


def test_a_fork_of_nothing_or_onto_something_is_refused(new_manager: NewManager, workspace: Workspace) -> None:
    manager = new_manager()
    with pytest.raises(SnapshotNotFoundError, match=r"^project 'alice' has no snapshot: nothing was saved yet$"):
        manager.fork("alice", "bob")
    workspace.write_bytes("a.txt", b"x")
    for project_id in ("alice", "bob"):
        manager.save(project_id, workspace)
    with pytest.raises(StateError, match=r"^project 'bob' exists already, at least in part; delete it first, or fork"):
        manager.fork("alice", "bob")


def test_lines_are_compared_whatever_the_branch_calls_the_file(new_manager: NewManager, workspace: Workspace) -> None:
    manager = new_manager()
    workspace.run("mkdir -p sub/.git; echo one > sub/.git/config; head -c 9000000 /dev/zero > large; ln -s one link")
    first = manager.save("alice", workspace)
    workspace.run("echo two > sub/.git/config; echo x >> large; ln -sfn two link; chmod 600 sub/.git/config")
    second = manager.save("alice", workspace)
    found = manager.diff("alice", first.id, second.id).changes
    assert [(one.path, one.parts) for one in found] == [
        ("large", ("content", "time")),
        ("link", ("time", "target")),
        ("sub/.git/config", ("content", "mode", "time")),
    ]
    assert "".join(manager.diff_text("alice", first.id, second.id)) == (
        "Binary or large files a/large and b/large differ\n"
        "--- a/link\n+++ b/link\n@@ -1 +1 @@\n-link to one\n+link to two\n"
        "--- a/sub/.git/config\n+++ b/sub/.git/config\n@@ -1 +1 @@\n-one\n+two\n"
    )


def test_progress_tells_what_is_done_of_how_much(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace
) -> None:
    told: list[Progress] = []
    manager = new_manager(progress=told.append)

    def phases() -> list[tuple[object, ...]]:
        ends = {one.phase: (one.phase, one.files, one.total_files, one.bytes, one.total_bytes) for one in told}
        told.clear()
        return list(ends.values())

    workspace.write_bytes("a", b"a" * 100_000)
    workspace.write_bytes("b", b"b" * 200_000)
    manager.save("alice", workspace)
    assert phases() == [("scan", 0, None, 0, None), ("read", 2, 2, 300_000, 300_000), ("store", 0, None, 0, None)]
    manager.load("alice", fresh)
    assert phases() == [("scan", 0, None, 0, None), ("write", 2, 2, 300_000, 300_000)]
    manager.check("alice")
    assert phases() == [("check", 1, 1, 0, None)]


def test_checking_finds_everything_whole(new_manager: NewManager, workspace: Workspace) -> None:
    manager = new_manager()
    for number in range(3):
        workspace.write_bytes(f"{number}.txt", b"x")
        manager.save("alice", workspace)
    report = manager.check("alice", read_data=True)
    assert (report.is_whole, report.snapshots, report.problems) == (True, 3, ())
    assert report.objects > 9
    assert manager.check("nobody").snapshots == 0


def test_checking_names_a_snapshot_that_cannot_be_restored(
    new_manager: NewManager, workspace: Workspace, git: Git
) -> None:
    manager = new_manager()
    workspace.write_bytes("a.txt", b"x")
    first = manager.save("alice", workspace)
    link = git("hash-object", "-w", "--stdin", input=b"x")
    tree = git("mktree", "--missing", input=f"160000 commit {first.id}\tmodule\n100644 blob {link}\ta.txt\n".encode())
    bad = git("-c", "user.name=x", "-c", "user.email=x", "commit-tree", tree, "-p", first.id, "-m", "bad")
    git("update-ref", f"refs/heads/{BRANCH}", bad)
    report = manager.check("alice")
    assert [(problem.name, problem.snapshots) for problem in report.problems] == [(bad, (bad,))]


def test_the_format_is_as_the_readme_says(new_manager: NewManager, workspace: Workspace, git: Git) -> None:
    workspace.run("echo x > a.txt; chmod 640 a.txt; touch -d @1000000000.5 a.txt; mkdir empty; touch -d @1 empty")
    new_manager().save("alice", workspace, "Say it")
    names = git("ls-tree", "--name-only", f"{BRANCH}:.omniagents-state").split()
    rows = [json.loads(row) for name in names if name != "format.json"
            for row in git("show", f"{BRANCH}:.omniagents-state/{name}").split("\n")]  # fmt: skip
    assert ["a.txt", 0o640, 1_000_000_000_500_000_000] in rows
    assert ["empty/", 0o755, 1_000_000_000] in rows
    assert json.loads(git("show", f"{BRANCH}:.omniagents-state/format.json"))["version"] == 1
    subject, blank, facts = git("log", "-1", "--format=%B", BRANCH).split("\n")[:3]
    assert (subject, blank) == ("Say it", "")
    assert json.loads(facts.removeprefix("Omniagents-Snapshot: "))["project"] == "alice"
