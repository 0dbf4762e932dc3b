"""Two writers, servers that refuse or break off, a cache that is gone or damaged, a host that is killed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.services import git_servers
from tests.services.git_servers import GitOverHttp

from omniagents._ids import encode_project_id
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import (
    StateAccessError,
    StateConfigurationError,
    StateConflictError,
    StateQuotaError,
    StateUnavailableError,
)
from omniagents.testing._trees import contents
from omniagents.workspace import Workspace
from omniagents_git import git as git_module
from omniagents_git.state_manager import GitStateManager

NewManager = Callable[..., GitStateManager]
Git = Callable[..., str]
BRANCH = f"omniagents/{encode_project_id('alice')}"
PUSH = "git-receive-pack"


def write_hook(bare: Path, script: str) -> None:
    hook = bare / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def test_the_second_writer_is_told_both_and_its_work_is_on_a_branch(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git, tmp_path: Path
) -> None:
    mine, theirs = new_manager(), new_manager(cache_directory=tmp_path / "theirs")
    workspace.write_bytes("shared", b"as it was")
    common = mine.save("alice", workspace, "common")
    theirs.load("alice", fresh)
    fresh.write_bytes("shared", b"theirs")
    latest = theirs.save("alice", fresh, "theirs")
    workspace.write_bytes("shared", b"mine")
    with pytest.raises(StateConflictError) as raised:
        mine.save("alice", workspace, "mine")
    (side,) = (branch for branch in git("branch", "--format=%(refname:short)").split() if "conflicts" in branch)
    ours = next(found for found in mine.history("alice") if found.id not in (latest.id, common.id))
    assert str(raised.value) == (
        f"another writer saved project 'alice' first: the latest is now {latest.id!r}, not {common.id!r}. This "
        f"workspace is kept in the history as {ours.id!r}, on the branch {side!r}. Restore one of the two, then save; "
        "or save with on_conflict='merge' or 'overwrite'"
    )
    assert (git("show", f"{side}:shared"), git("show", f"{BRANCH}:shared")) == ("mine", "theirs")
    assert (ours.message, ours.parent_id) == ("mine", common.id)


def test_a_conflict_lasts_until_one_of_the_two_is_restored_and_keeps_the_last_of_the_work(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git
) -> None:
    mine, theirs = new_manager(), new_manager()
    workspace.write_bytes("shared", b"as it was")
    mine.save("alice", workspace)
    theirs.load("alice", fresh)
    fresh.write_bytes("shared", b"theirs")
    latest = theirs.save("alice", fresh)
    for number in range(3):
        workspace.write_bytes("shared", b"mine %d" % number)
        for _ in range(2):
            with pytest.raises(StateConflictError):
                mine.save("alice", workspace, f"lost {number}")
    lost = [found for found in mine.history("alice") if found.message.startswith("lost")]
    assert [found.message for found in lost] == ["lost 2"]
    mine.restore("alice", lost[0].id, workspace)
    assert mine.save("alice", workspace, "mine again").parent_id == latest.id
    theirs.load("alice", fresh)
    assert fresh.read_bytes("shared") == b"mine 2"


def test_of_many_writers_at_once_exactly_one_wins_and_nothing_is_lost(
    new_http_manager: NewManager, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.write_bytes("shared", b"as it was")
    new_http_manager().save("alice", workspace)

    def save(number: int) -> bool:
        manager = new_http_manager(cache_directory=tmp_path / f"cache{number % 2}")
        with LocalBackend(f"writer {number}", checkpoint_interval_seconds=None) as backend:
            manager.load("alice", backend.workspace)
            backend.workspace.write_bytes("shared", b"%d" % number)
            try:
                manager.save("alice", backend.workspace, str(number))
            except StateConflictError:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(save, range(4)))
    history = new_http_manager().history("alice")
    assert sum(won) >= 1
    assert sorted(found.message for found in history) == ["", "0", "1", "2", "3"]
    assert new_http_manager().check("alice", read_data=True).is_whole


def test_a_project_deleted_meanwhile_is_a_conflict_once(new_manager: NewManager, workspace: Workspace) -> None:
    mine = new_manager()
    workspace.write_bytes("a.txt", b"x")
    mine.save("alice", workspace)
    new_manager().delete("alice")
    workspace.write_bytes("a.txt", b"y")
    with pytest.raises(StateConflictError, match="was deleted while this workspace was in use; it was not saved"):
        mine.save("alice", workspace)
    assert mine.save("alice", workspace, "anew").parent_id is None


@pytest.mark.service
@pytest.mark.parametrize("way", ["drop", 500, 503])
def test_a_server_down_in_the_middle_of_a_push_leaves_the_previous_snapshot(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace, way: int | str
) -> None:
    manager = new_http_manager()
    workspace.write_bytes("a.txt", b"one")
    first = manager.save("alice", workspace, "one")
    workspace.write_bytes("a.txt", b"two")
    workspace.write_bytes("big", os.urandom(3 << 20))
    http.fault = lambda method, path: way if method == "POST" and path.endswith(PUSH) else None
    with pytest.raises(StateUnavailableError, match=r"saving project 'alice'.*does not answer, or not to the end"):
        manager.save("alice", workspace, "two")
    http.fault = lambda method, path: None
    assert new_http_manager().history("alice") == [first]
    second = manager.save("alice", workspace, "two")
    assert new_http_manager().history("alice") == [second, first]


@pytest.mark.service
@pytest.mark.parametrize("is_first", [True, False])
def test_a_push_whose_answer_is_lost_is_found_to_have_taken_effect(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace, is_first: bool
) -> None:
    manager = new_http_manager()
    if not is_first:
        workspace.write_bytes("a.txt", b"one")
        manager.save("alice", workspace, "one")
    workspace.write_bytes("a.txt", b"two")
    http.fault = lambda method, path: "lose" if method == "POST" and path.endswith(PUSH) else None
    saved = manager.save("alice", workspace, "two")
    http.fault = lambda method, path: None
    assert manager.history("alice")[0] == saved


@pytest.mark.service
def test_a_push_whose_answer_is_lost_with_the_line_is_found_by_the_next_save(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace, fresh: Workspace
) -> None:
    manager = new_http_manager()
    workspace.write_bytes("a.txt", b"one")
    manager.save("alice", workspace, "one")
    is_down = False

    def fault(method: str, path: str) -> int | str | None:
        nonlocal is_down
        if is_down:
            return 503
        is_down = method == "POST" and path.endswith(PUSH)
        return "lose" if is_down else None

    http.fault = fault
    workspace.write_bytes("a.txt", b"two")
    with pytest.raises(StateUnavailableError):
        manager.save("alice", workspace, "two")
    http.fault = lambda method, path: None
    workspace.write_bytes("a.txt", b"three")
    manager.save("alice", workspace, "three")
    assert [snapshot.message for snapshot in manager.history("alice")] == ["three", "two", "one"]
    new_http_manager().load("alice", fresh)
    assert contents(fresh) == {"a.txt": b"three"}


@pytest.mark.service
def test_a_hook_that_refuses_is_quoted(new_http_manager: NewManager, workspace: Workspace, bare: Path) -> None:
    manager = new_http_manager()
    workspace.write_bytes("a.txt", b"one")
    first = manager.save("alice", workspace)
    write_hook(bare, "echo 'no pushes on Sundays' >&2; exit 1")
    workspace.write_bytes("a.txt", b"two")
    with pytest.raises(StateAccessError) as raised:
        manager.save("alice", workspace)
    assert "refused the branch: a hook or a protection rule of the server" in str(raised.value)
    assert "no pushes on Sundays" in str(raised.value)
    assert manager.history("alice") == [first]
    write_hook(bare, "exit 0")
    assert manager.save("alice", workspace).parent_id == first.id


@pytest.mark.service
def test_a_protected_branch_is_said_to_be_one(
    new_http_manager: NewManager, workspace: Workspace, git: Git, bare: Path
) -> None:
    manager = new_http_manager()
    workspace.write_bytes("a.txt", b"one")
    manager.save("alice", workspace)
    git("config", "receive.denyDeletes", "true")
    with pytest.raises(StateAccessError, match="deletion prohibited"):
        manager.delete("alice")
    (bare / "hooks").mkdir(exist_ok=True)
    hook = bare / "hooks/update"
    hook.write_text('#!/bin/sh\necho "error: GH006: Protected branch update failed for $1." >&2; exit 1\n')
    hook.chmod(0o755)
    workspace.write_bytes("a.txt", b"two")
    with pytest.raises(StateAccessError, match="GH006: Protected branch update failed for refs/heads/omniagents/alice"):
        manager.save("alice", workspace)


# As forges do it: no object of more than so many bytes.
_LIMIT = """
while read old new ref; do
  git rev-list --objects "$new" --not --all | cut -d' ' -f1 | git cat-file --batch-check='%(objecttype) %(objectsize)' |
  while read type size; do
    if [ "$type" = blob ] && [ "$size" -gt LIMIT ]; then
      echo "error: this exceeds the file size limit of LIMIT bytes" >&2; exit 1
    fi
  done || exit 1
done
"""


@pytest.mark.service
def test_a_file_above_a_servers_limit_is_stored_in_parts(
    new_http_manager: NewManager, workspace: Workspace, fresh: Workspace, bare: Path
) -> None:
    write_hook(bare, _LIMIT.replace("LIMIT", str(10 << 20)))
    workspace.write_bytes("large", os.urandom(30 << 20))
    new_http_manager().save("alice", workspace)
    new_http_manager().load("alice", fresh)
    assert fresh.read_bytes("large") == workspace.read_bytes("large")


@pytest.mark.service
def test_a_part_above_a_servers_limit_is_said_to_be_too_large(
    new_http_manager: NewManager, workspace: Workspace, bare: Path
) -> None:
    write_hook(bare, _LIMIT.replace("LIMIT", str(1 << 20)))
    workspace.write_bytes("large", os.urandom(2 << 20))
    manager = new_http_manager()
    with pytest.raises(StateQuotaError, match="takes no push this large; remove large files"):
        manager.save("alice", workspace)
    assert manager.history("alice") == []


@pytest.mark.service
def test_a_push_above_a_servers_limit_is_said_to_be_too_large(
    repositories: Path, new_manager: NewManager, workspace: Workspace, git: Git
) -> None:
    workspace.write_bytes("large", os.urandom(2 << 20))
    git("config", "receive.maxInputSize", "1m")
    with pytest.raises(StateQuotaError, match="pack exceeds maximum allowed size"):
        new_manager().save("alice", workspace)
    git("config", "--unset", "receive.maxInputSize")
    try:
        with git_servers.nginx_server(repositories, {"alice": "secret"}, max_body="1m") as server:
            manager = new_manager(f"{server.url}/states.git", username="alice", token="secret")
            with pytest.raises(StateQuotaError, match="HTTP 413"):
                manager.save("alice", workspace)
    except RuntimeError as error:
        pytest.skip(str(error))


def test_over_a_limit_of_the_manager_nothing_is_stored(new_manager: NewManager, workspace: Workspace, git: Git) -> None:
    workspace.write_bytes("a.txt", b"x" * 1001)
    with pytest.raises(StateQuotaError) as raised:
        new_manager(max_bytes=1000).save("alice", workspace)
    assert str(raised.value) == (
        "project 'alice' holds at least 1,001 bytes, more than the limit of 1,000 (max_bytes); remove some, list them "
        "in .omniagentsignore, or raise the limit"
    )
    workspace.write_bytes("b.txt", b"x")
    with pytest.raises(StateQuotaError, match=r"more than the limit of 1 \(max_files\)"):
        new_manager(max_files=1).save("alice", workspace)
    assert git("for-each-ref") == ""


def damage_nothing(cache: Path) -> None:
    """The control."""


def damage_all(cache: Path) -> None:
    shutil.rmtree(cache)


def damage_objects(cache: Path) -> None:
    for found in cache.rglob("objects"):
        shutil.rmtree(found)


def damage_bytes(cache: Path) -> None:
    for found in [path for path in cache.rglob("objects/*/*") if path.is_file()]:
        found.chmod(0o644)
        data = bytearray(found.read_bytes())
        data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
        found.write_bytes(data)


def damage_files(cache: Path) -> None:
    for name in ("HEAD", "config", "shallow", "packed-refs"):
        for repository in cache.rglob("*.git"):
            (repository / name).write_bytes(os.urandom(50))


def damage_locks(cache: Path) -> None:
    for repository in cache.rglob("*.git"):
        for name in ("shallow.lock", "packed-refs.lock", "HEAD.lock", "config.lock"):
            (repository / name).touch()
        for ref in [path for path in (repository / "refs").rglob("*") if path.is_file()]:
            ref.with_name(ref.name + ".lock").touch()


def damage_kind(cache: Path) -> None:
    for repository in list(cache.rglob("*.git")):
        if repository.is_dir():
            shutil.rmtree(repository)
        repository.write_bytes(b"a file")


def damage_seen(cache: Path) -> None:
    for found in cache.rglob("seen/*"):
        found.write_bytes(b'{"commit": 1, "files": [')


@pytest.mark.parametrize(
    "damage",
    [damage_nothing, damage_all, damage_objects, damage_bytes, damage_files, damage_locks, damage_kind, damage_seen],
)
@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_cache_that_is_gone_or_damaged_is_made_anew(
    new_manager: NewManager,
    workspace: Workspace,
    fresh: Workspace,
    tmp_path: Path,
    damage: Callable[[Path], None],
    is_new_process: bool,
) -> None:
    cache = tmp_path / "cache"
    manager = new_manager()
    workspace.write_bytes("kept.bin", os.urandom(300_000))
    workspace.write_bytes("a.txt", b"0")
    first = manager.save("alice", workspace, "0")
    for number in range(1, 3):
        damage(cache)
        if is_new_process:
            manager = new_manager()
        workspace.write_bytes("a.txt", b"%d" % number)
        manager.save("alice", workspace, str(number))
        damage(cache)
        assert [snapshot.message for snapshot in manager.history("alice")] == [str(n) for n in range(number, -1, -1)]
    damage(cache)
    manager.load("alice", fresh)
    assert contents(fresh) == contents(workspace)
    damage(cache)
    manager.restore("alice", first.id, fresh)
    assert fresh.read_bytes("a.txt") == b"0"
    assert manager.check("alice", read_data=True).is_whole


def test_a_cache_that_cannot_be_written_is_said_to_be(
    new_manager: NewManager, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    workspace.write_bytes("a.txt", b"x")
    with pytest.raises(NotADirectoryError, match=str(tmp_path / "file")):
        new_manager(cache_directory=tmp_path / "file").save("alice", workspace)


@pytest.mark.slow
def test_a_host_killed_at_random_moments_never_damages_what_was_saved(
    new_manager: NewManager, bare: Path, fresh: Workspace, tmp_path: Path
) -> None:
    moments = random.Random()
    done = -1
    for _ in range(20):
        command = [
            sys.executable,
            "-m",
            "git_support.saving_child",
            str(tmp_path / "data"),
            str(bare),
            str(tmp_path / "c"),
        ]
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            try:
                process.wait(moments.uniform(0.0, 0.6))
            except subprocess.TimeoutExpired:
                process.kill()
            said = process.stdout.read().split(b"\n")[:-1]
        assert process.returncode == -9
        done = int(said[-1]) if said else done
        loaded = new_manager(keep=5).load("alice", fresh)
        assert (loaded is None and done == -1) or (loaded is not None and int(loaded.message) >= done)
        if loaded is not None:
            assert fresh.read_bytes("latest") == loaded.message.encode()
    report = new_manager(keep=5).check("alice", read_data=True)
    assert report.problems == ()


@pytest.mark.slow
def test_two_processes_share_a_cache(bare: Path, tmp_path: Path, new_manager: NewManager) -> None:
    script = (
        "import sys, uuid; from omniagents.backends.local_backend import LocalBackend\n"
        "from omniagents_git.state_manager import GitStateManager\n"
        "from omniagents.errors import StateConflictError\n"
        "manager = GitStateManager(sys.argv[1], cache_directory=sys.argv[2])\n"
        "with LocalBackend(f'shares {uuid.uuid4()}', checkpoint_interval_seconds=None) as backend:\n"
        "    for number in range(8):\n"
        "        manager.load('alice', backend.workspace)\n"
        "        backend.workspace.write_bytes(sys.argv[3], str(number).encode())\n"
        "        try: manager.save('alice', backend.workspace, f'{sys.argv[3]} {number}')\n"
        "        except StateConflictError: pass\n"
    )
    arguments = [str(bare), str(tmp_path / "cache")]
    writers = [subprocess.Popen([sys.executable, "-c", script, *arguments, name]) for name in ("one", "two")]
    assert [writer.wait() for writer in writers] == [0, 0]
    messages = [snapshot.message for snapshot in new_manager().history("alice")]
    assert sorted(messages) == sorted(f"{name} {number}" for name in ("one", "two") for number in range(8))
    assert new_manager().check("alice", read_data=True).is_whole


def test_without_git_the_error_says_what_to_install(
    new_manager: NewManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StateConfigurationError) as raised:
        new_manager().history("alice")
    assert str(raised.value) == (
        "the state manager 'git' needs the program git 2.38 or newer, which is not on the PATH; install it "
        "(Debian and Ubuntu: apt-get install git)"
    )


@pytest.mark.parametrize("version", ["git version 2.30.2", "git version 1.9", "hello"])
def test_an_old_git_is_refused_with_both_versions(
    new_manager: NewManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    git_module._checked_program.cache_clear()
    with pytest.raises(StateConfigurationError) as raised:
        new_manager().history("alice")
    assert str(raised.value) == (
        f"the state manager 'git' needs git 2.38 or newer; {program} is {version}. Install a newer git"
    )


@pytest.mark.parametrize(
    ("remote", "problem"),
    [
        ("", "no git repository was named: set OMNIAGENTS_GIT_REMOTE"),
        ("-oProxyCommand=x", "not the address of a git repository"),
        ("ext::sh -c x", "is not there"),
        ("ftp://host/x.git", "has the scheme 'ftp'; supported are https, http, ssh, file"),
        ("https:///x.git", "names no host"),
        ("ssh://-oProxyCommand=x/y", "names no host"),
        ("git@-oProxyCommand=x:y", "not the address of a git repository"),
        ("https://user:secret@host:port/x", "not the address of a git repository: 'https://***@host:port/x'"),
        ("https://host/x\n.git", "not the address of a git repository"),
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, remote: str, problem: str) -> None:
    with pytest.raises(StateConfigurationError) as raised:
        GitStateManager(remote, cache_directory=tmp_path).history("alice")
    assert problem in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("prefix", ["omniagents", "/", "a//", "../", "-x/..", "a b/", ".a/", "a.lock/"])
def test_a_prefix_that_makes_no_branches_is_refused(bare: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="a branch prefix is made of"):
        GitStateManager(bare, branch_prefix=prefix)


def test_two_prefixes_in_one_repository_never_meet(new_manager: NewManager, workspace: Workspace) -> None:
    workspace.write_bytes("a.txt", b"x")
    for prefix in ("", "a/", "a/b/"):
        new_manager(branch_prefix=prefix).save(f"of {prefix}", workspace)
    assert [new_manager(branch_prefix=prefix).projects() for prefix in ("", "a/", "a/b/")] == [
        ["of "], ["of a/"], ["of a/b/"],
    ]  # fmt: skip


@pytest.fixture
def two(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, tmp_path: Path
) -> tuple[GitStateManager, GitStateManager]:
    """Managers on two machines; the workspaces were equal until the second's owner saved a change of ``b.txt``."""
    mine, theirs = new_manager(), new_manager(cache_directory=tmp_path / "theirs")
    workspace.run("mkdir d; echo a > a.txt; echo b > b.txt; echo c > d/c.txt")
    mine.save("alice", workspace, "common")
    theirs.load("alice", fresh)
    fresh.run("echo theirs > b.txt; echo new > d/theirs.txt")
    theirs.save("alice", fresh, "theirs")
    return mine, theirs


def test_work_on_different_files_is_merged_where_asked_for(
    two: tuple[GitStateManager, GitStateManager], workspace: Workspace, fresh: Workspace, git: Git
) -> None:
    mine, theirs = two
    workspace.run("echo mine > a.txt; rm d/c.txt; echo new > d/mine.txt")
    saved = mine.save("alice", workspace, "mine", on_conflict="merge")
    assert saved.files == 4
    assert theirs.load("alice", fresh) == saved
    assert contents(fresh) == {
        "a.txt": b"mine\n",
        "b.txt": b"theirs\n",
        "d/mine.txt": b"new\n",
        "d/theirs.txt": b"new\n",
    }
    assert [snapshot.message for snapshot in theirs.history("alice")] == ["mine", "mine", "theirs", "common"]
    assert len(git("rev-list", "--parents", "-n1", BRANCH).split()) == 3
    assert theirs.check("alice", read_data=True).is_whole


def test_after_a_merge_the_workspace_goes_on_and_loses_nothing_of_the_others(
    two: tuple[GitStateManager, GitStateManager], workspace: Workspace, fresh: Workspace, new_manager: NewManager
) -> None:
    mine, theirs = two
    workspace.run("echo mine > a.txt")
    merged = mine.save("alice", workspace, "mine", on_conflict="merge")
    assert mine.save("alice", workspace, "again", on_conflict="merge") == merged
    workspace.run("echo more > more.txt")
    mine.save("alice", workspace, "more", on_conflict="merge")
    workspace.run("echo last > last.txt")
    new_manager().save("alice", workspace, "by another process", on_conflict="merge")
    theirs.load("alice", fresh)
    assert contents(fresh) == {
        "a.txt": b"mine\n", "b.txt": b"theirs\n", "d/c.txt": b"c\n", "d/theirs.txt": b"new\n", "more.txt": b"more\n",
        "last.txt": b"last\n",
    }  # fmt: skip
    mine.load("alice", workspace)
    assert contents(workspace) == contents(fresh)
    workspace.run("rm last.txt")
    assert mine.save("alice", workspace).files == 5


def test_what_both_changed_is_not_merged_and_is_named(
    two: tuple[GitStateManager, GitStateManager], workspace: Workspace, fresh: Workspace
) -> None:
    mine, theirs = two
    workspace.run("echo mine > b.txt; echo mine > a.txt")
    with pytest.raises(
        StateConflictError, match=r"\. Both changed 'b\.txt'\. Restore .* with on_conflict='overwrite'$"
    ):
        mine.save("alice", workspace, "mine", on_conflict="merge")
    with pytest.raises(StateConflictError, match=r"on_conflict='merge' or 'overwrite'$"):
        mine.save("alice", workspace, "mine")
    saved = mine.save("alice", workspace, "mine", on_conflict="overwrite")
    assert theirs.load("alice", fresh) == saved
    assert contents(fresh) == {"a.txt": b"mine\n", "b.txt": b"mine\n", "d/c.txt": b"c\n"}


@pytest.mark.parametrize("on_conflict", ["error", "merge"])
def test_a_process_that_takes_a_workspace_over_does_not_save_over_what_others_saved(
    two: tuple[GitStateManager, GitStateManager],
    workspace: Workspace,
    fresh: Workspace,
    new_manager: NewManager,
    on_conflict: str,
) -> None:
    _, theirs = two
    workspace.run("echo mine > a.txt")
    successor = new_manager(on_conflict=on_conflict)
    if on_conflict == "error":
        with pytest.raises(StateConflictError):
            successor.save("alice", workspace, "mine")
    else:
        successor.save("alice", workspace, "mine")
    theirs.load("alice", fresh)
    assert fresh.read_bytes("b.txt") == b"theirs\n"
    assert fresh.read_bytes("a.txt") == (b"mine\n" if on_conflict == "merge" else b"a\n")


@pytest.fixture
def apart(two: tuple[GitStateManager, GitStateManager], fresh: Workspace, git: Git, tmp_path: Path) -> GitStateManager:
    """The first of ``two``; the second has saved so often since that what both come from is kept nowhere any more."""
    mine, _ = two
    common = git("rev-parse", f"{BRANCH}~1")
    often = GitStateManager(tmp_path / "repositories/states.git", keep=2, cache_directory=tmp_path / "theirs")
    often.load("alice", fresh)
    for number in range(5):
        fresh.write_bytes("count", b"%d" % number)
        often.save("alice", fresh, str(number))
    git("gc", "--prune=now", "--quiet")
    with pytest.raises(subprocess.CalledProcessError):
        git("cat-file", "-e", common)
    for copy in (tmp_path / "cache").rglob("*.git"):
        shutil.rmtree(copy)
    return mine


@pytest.mark.parametrize("is_new_process", [False, True])
def test_work_on_what_is_kept_nowhere_any_more_is_not_lost(
    apart: GitStateManager, workspace: Workspace, fresh: Workspace, new_manager: NewManager, is_new_process: bool
) -> None:
    manager = new_manager() if is_new_process else apart
    workspace.run("echo mine > a.txt; rm d/c.txt; head -c 9000000 /dev/urandom > large")
    with pytest.raises(StateConflictError, match=r"another writer saved project 'alice' first: the latest is now "):
        manager.save("alice", workspace, "mine")
    (ours,) = (snapshot for snapshot in manager.history("alice") if snapshot.message == "mine")
    assert manager.history("alice")[1].message == "4"
    before = contents(workspace)
    new_manager().restore("alice", ours.id, fresh)
    assert contents(fresh) == before


def test_work_on_what_is_kept_nowhere_any_more_is_merged_where_asked_for(
    apart: GitStateManager, workspace: Workspace, fresh: Workspace, new_manager: NewManager
) -> None:
    workspace.run("echo mine > a.txt; rm d/c.txt")
    saved = apart.save("alice", workspace, "mine", on_conflict="merge")
    assert new_manager().load("alice", fresh) == saved
    assert contents(fresh) == {"a.txt": b"mine\n", "b.txt": b"theirs\n", "count": b"4", "d/theirs.txt": b"new\n"}


def test_work_on_what_is_kept_nowhere_any_more_is_put_on_top_where_asked_for(
    apart: GitStateManager, workspace: Workspace, fresh: Workspace, new_manager: NewManager
) -> None:
    workspace.run("echo mine > a.txt")
    saved = apart.save("alice", workspace, "mine", on_conflict="overwrite")
    assert new_manager().load("alice", fresh) == saved
    assert contents(fresh) == contents(workspace)


def test_after_a_restore_of_what_is_kept_nowhere_any_more_a_save_is_not_lost(
    new_manager: NewManager, workspace: Workspace, fresh: Workspace, git: Git, tmp_path: Path
) -> None:
    manager = new_manager(keep=2)
    for number in range(3):
        workspace.write_bytes("a.txt", b"%d" % number)
        manager.save("alice", workspace, str(number))
    oldest = manager.history("alice")[-1]
    manager.restore("alice", oldest.id, workspace)
    git("update-ref", "-d", f"refs/previous/{BRANCH}")
    git("gc", "--prune=now", "--quiet")
    for copy in (tmp_path / "cache").rglob("*.git"):
        shutil.rmtree(copy)
    workspace.write_bytes("b.txt", b"mine")
    saved = manager.save("alice", workspace, "mine")
    assert new_manager().load("alice", fresh) == saved
    assert contents(fresh) == {"a.txt": b"1", "b.txt": b"mine"}


def test_a_project_deleted_meanwhile_is_one_also_where_nothing_is_here_any_more(
    new_manager: NewManager, workspace: Workspace, git: Git, tmp_path: Path
) -> None:
    mine = new_manager()
    workspace.write_bytes("a.txt", b"x")
    mine.save("alice", workspace)
    new_manager(cache_directory=tmp_path / "theirs").delete("alice")
    git("gc", "--prune=now", "--quiet")
    for copy in (tmp_path / "cache").rglob("*.git"):
        shutil.rmtree(copy)
    workspace.write_bytes("a.txt", b"y")
    with pytest.raises(StateConflictError, match="was deleted while this workspace was in use; it was not saved"):
        mine.save("alice", workspace)
    assert mine.save("alice", workspace, "anew").parent_id is None


def test_a_conflict_option_that_is_none_is_refused(bare: Path) -> None:
    with pytest.raises(ValueError, match="on_conflict is 'error', 'merge' or 'overwrite', not 'ours'"):
        GitStateManager(bare, on_conflict="ours")  # type: ignore[arg-type]
