"""Saving, loading and going back over HTTP (two servers) and ssh, with every way to log in, and without one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.services import git_servers
from tests.services.git_servers import GitOverHttp, SshServer

from omniagents.errors import (
    StateAccessError,
    StateConfigurationError,
    StateUnavailableError,
)
from omniagents.workspace import Workspace
from omniagents_git.state_manager import GitStateManager

pytestmark = pytest.mark.service

TOKEN = "tok-4f1c8e0b9a7d46e2"
NewManager = Callable[..., GitStateManager]


def round_trip(new: Callable[[], GitStateManager], workspace: Workspace, fresh: Workspace) -> None:
    """Save twice, load the second, restore the first, each with another manager."""
    workspace.write_bytes("a.txt", b"one")
    workspace.write_bytes("data.bin", os.urandom(3 << 20))
    first = new().save("alice@example.com", workspace, "first")
    workspace.write_bytes("a.txt", b"two")
    second = new().save("alice@example.com", workspace, "second")
    assert new().load("alice@example.com", fresh) == second
    assert fresh.read_bytes("data.bin") == workspace.read_bytes("data.bin")
    assert new().restore("alice@example.com", first.id, fresh) == first
    assert fresh.read_bytes("a.txt") == b"one"
    assert [snapshot.message for snapshot in new().history("alice@example.com")] == ["second", "first"]
    assert new().projects() == ["alice@example.com"]


@pytest.fixture(params=["one machine", "another machine each time"])
def caches(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Path]:
    """Cache directories: one for all managers, or a new one for each."""
    numbers = iter(range(1000))
    return lambda: tmp_path / "cache" / (str(next(numbers)) if request.param.startswith("another") else "one")


def test_over_http_by_wsgi(
    http: GitOverHttp, new_manager: NewManager, workspace: Workspace, fresh: Workspace, caches: Callable[[], Path]
) -> None:
    round_trip(
        lambda: new_manager(f"{http.url}/states.git", username="alice", token=TOKEN, cache_directory=caches()),
        workspace,
        fresh,
    )


def test_over_http_by_nginx(
    nginx: GitOverHttp, new_manager: NewManager, workspace: Workspace, fresh: Workspace, caches: Callable[[], Path]
) -> None:
    round_trip(
        lambda: new_manager(f"{nginx.url}/states.git", username="alice", token=TOKEN, cache_directory=caches()),
        workspace,
        fresh,
    )


def test_over_ssh(
    ssh: SshServer,
    new_manager: NewManager,
    workspace: Workspace,
    fresh: Workspace,
    caches: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh.command)
    round_trip(lambda: new_manager(f"{ssh.url}/states.git", cache_directory=caches()), workspace, fresh)


def test_over_ssh_with_a_key_from_the_agent(
    ssh: SshServer, new_manager: NewManager, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = ssh.command.partition(" -i ")[2].split()[0]
    known = ssh.command.rpartition(" -o ")[2]
    socket = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while subprocess.run(["ssh-add", "-q", key], stderr=subprocess.DEVNULL, check=False).returncode:
            assert agent.poll() is None
        monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F none -o IdentityFile=none -o {known}")
        workspace.write_bytes("a.txt", b"x")
        saved = new_manager(f"{ssh.url}/states.git").save("alice", workspace)
        assert new_manager(f"{ssh.url}/states.git").history("alice") == [saved]
    finally:
        agent.terminate()
        agent.wait()


def test_credentials_from_the_variable_and_the_remote_too(
    http: GitOverHttp, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMNIAGENTS_GIT_REMOTE", f"{http.url}/states.git")
    monkeypatch.setenv("OMNIAGENTS_GIT_TOKEN", TOKEN)
    monkeypatch.setenv("OMNIAGENTS_GIT_USERNAME", "alice")
    workspace.write_bytes("a.txt", b"x")
    manager = GitStateManager(cache_directory=tmp_path / "cache")
    assert manager.save("alice", workspace) in manager.history("alice")


def test_a_token_may_come_from_a_function_that_is_asked_each_time(
    http: GitOverHttp, new_manager: NewManager, workspace: Workspace
) -> None:
    tokens = ["first", "second"]
    manager = new_manager(f"{http.url}/states.git", username="alice", token=lambda: tokens[0])
    http.accounts["alice"] = "first"
    workspace.write_bytes("a.txt", b"x")
    manager.save("alice", workspace)
    http.accounts["alice"] = tokens[0] = "second"
    assert len(manager.history("alice")) == 1


def test_credentials_from_the_users_own_helper(
    http: GitOverHttp, new_manager: NewManager, workspace: Workspace, home: Path
) -> None:
    (home / "secret").write_text(f"http://alice:{TOKEN}@{http.host}\n")
    (home / ".gitconfig").write_text(
        f"[credential]\n helper = store --file={home}/secret\n"
        f"[core]\n hooksPath = {home}\n[push]\n gpgSign = true\n[http]\n proxy = http://127.0.0.1:1\n"
    )
    try:
        workspace.write_bytes("a.txt", b"x")
        manager = new_manager(f"{http.url}/states.git")
        assert manager.history("alice") == []
        manager.save("alice", workspace)
        assert len(manager.history("alice")) == 1
    finally:
        (home / ".gitconfig").unlink()


def test_credentials_from_an_address_are_taken_out_of_it(
    http: GitOverHttp, new_manager: NewManager, workspace: Workspace
) -> None:
    manager = new_manager(f"{http.url.replace('//', f'//alice:{TOKEN}@')}/states.git")
    workspace.write_bytes("a.txt", b"x")
    manager.save("alice", workspace)
    assert repr(manager) == f"GitStateManager('{http.url}/states.git')"


def test_githubs_token_is_sent_to_no_other_host(
    http: GitOverHttp, new_manager: NewManager, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.accounts["x-access-token"] = TOKEN
    monkeypatch.setenv("GH_TOKEN", TOKEN)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with pytest.raises(StateAccessError, match="there are none for"):
        new_manager(f"{http.url}/states.git").history("alice")
    monkeypatch.setenv("GH_HOST", http.host)
    assert new_manager(f"{http.url}/states.git").history("alice") == []
    assert http.requests[-1][2] == "x-access-token"


def test_what_gh_auth_login_stored_is_used(
    repositories: Path, new_manager: NewManager, workspace: Workspace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        git_servers.need("gh")
        with git_servers.nginx_server(repositories, {"alice": TOKEN}, tls=True) as server:
            monkeypatch.setenv("GH_CONFIG_DIR", str(home / "gh"))
            monkeypatch.setenv("GIT_SSL_CAINFO", str(server.certificate))
            (home / "gh").mkdir()
            (home / "gh/hosts.yml").write_text(
                f'"{server.host}":\n    user: alice\n    oauth_token: {TOKEN}\n    git_protocol: https\n'
            )
            workspace.write_bytes("a.txt", b"x")
            manager = new_manager(f"{server.url}/states.git")
            manager.save("alice", workspace)
            assert len(manager.history("alice")) == 1
    except RuntimeError as error:
        pytest.skip(str(error))


def test_without_credentials_the_error_lists_every_way_in(http: GitOverHttp, new_manager: NewManager) -> None:
    with pytest.raises(StateAccessError) as raised:
        new_manager(f"{http.url}/states.git").history("alice")
    assert str(raised.value) == (
        f"reading the history of project 'alice': the git repository '{http.url}/states.git' wants credentials, and "
        f"there are none for '{http.host}': run `gh auth login`, set OMNIAGENTS_GIT_TOKEN (or GH_TOKEN with "
        f"GH_HOST={http.host}), pass token=, configure a git credential.helper, or use an ssh address. git said: "
        f"fatal: could not read Username for '{http.url}': terminal prompts disabled"
    )


def test_wrong_credentials_are_said_to_be_wrong_with_their_source(
    http: GitOverHttp, new_manager: NewManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNIAGENTS_GIT_TOKEN", "tok-wrong")
    with pytest.raises(StateAccessError) as raised:
        new_manager(f"{http.url}/states.git").history("alice")
    assert "refuses OMNIAGENTS_GIT_TOKEN: it is wrong, has expired, or may not read and write" in str(raised.value)
    assert "tok-wrong" not in str(raised.value)


def test_credentials_that_expire_between_two_saves(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace
) -> None:
    manager = new_http_manager()
    workspace.write_bytes("a.txt", b"one")
    manager.save("alice", workspace)
    http.accounts["alice"] = "renewed"
    workspace.write_bytes("a.txt", b"two")
    with pytest.raises(StateAccessError, match="refuses token=: it is wrong, has expired"):
        manager.save("alice", workspace)
    http.accounts["alice"] = TOKEN
    assert len(manager.history("alice")) == 1
    manager.save("alice", workspace)
    assert len(manager.history("alice")) == 2


def test_a_key_that_the_server_does_not_know(
    ssh: SshServer, new_manager: NewManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh.stranger)
    with pytest.raises(StateAccessError, match="refuses every key of this user: load one with ssh-add"):
        new_manager(f"{ssh.url}/states.git").history("alice")


def test_a_host_that_is_not_known_is_not_trusted(
    ssh: SshServer, new_manager: NewManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", ssh.unknown_host)
    with pytest.raises(StateAccessError, match="ssh key is not known, or has changed; check the key, then add it"):
        new_manager(f"{ssh.url}/states.git").history("alice")


def test_a_token_is_not_sent_in_the_open(new_manager: NewManager) -> None:
    with pytest.raises(StateAccessError) as raised:
        new_manager("http://git.example.com/states.git", token=TOKEN).history("alice")
    assert str(raised.value) == (
        "token= is not sent to 'git.example.com', because 'http://git.example.com/states.git' is plain HTTP to "
        "another machine, where anyone on the way could read it; use https:// or ssh"
    )


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_in_trouble_is_unavailable(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace, status: int
) -> None:
    workspace.write_bytes("a.txt", b"x")
    http.fault = lambda method, path: status
    manager = new_http_manager()
    with pytest.raises(StateUnavailableError, match="does not answer, or not to the end; save again"):
        manager.save("alice", workspace)
    http.fault = lambda method, path: None
    manager.save("alice", workspace)


def test_a_server_that_is_away(new_manager: NewManager, workspace: Workspace) -> None:
    workspace.write_bytes("a.txt", b"x")
    with pytest.raises(StateUnavailableError, match=r"Connection refused|Failed to connect"):
        new_manager("http://127.0.0.1:9/states.git").save("alice", workspace)


def test_a_server_that_never_answers_is_given_up_after_the_time_limit(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace
) -> None:
    new_http_manager().load("alice", workspace)  # else the limit is on making the copy on this machine, too
    http.fault = lambda method, path: "hang"
    workspace.write_bytes("a.txt", b"x")
    with pytest.raises(StateUnavailableError) as raised:
        new_http_manager(timeout_seconds=0.5).save("alice", workspace)
    assert str(raised.value) == (
        f"saving project 'alice': git ls-remote did not end within 0.5 s and was stopped ('{http.url}/states.git'); "
        "raise timeout_seconds, or try again"
    )


def test_a_repository_that_is_not_there(http: GitOverHttp, new_manager: NewManager, tmp_path: Path) -> None:
    with pytest.raises(StateConfigurationError, match="is not there, or these credentials do not show it; create it"):
        new_manager(f"{http.url}/other.git", username="alice", token=TOKEN).history("alice")
    with pytest.raises(StateConfigurationError, match="is not there; create it"):
        new_manager(tmp_path / "no.git").history("alice")


def test_a_first_save_and_a_change_over_a_slow_line_take_few_requests(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace
) -> None:
    manager = new_http_manager()
    for number in range(20):
        workspace.write_bytes(f"{number}.txt", b"x" * number)
    manager.load("alice", workspace)
    del http.requests[:]
    manager.save("alice", workspace)
    workspace.write_bytes("a.txt", b"x")
    manager.save("alice", workspace)
    # Each push: a request without credentials, the same with them, the pack (git asks in an empty one if it may).
    assert len([1 for _, _, user in http.requests if user]) <= 6


def test_saving_with_nothing_changed_makes_no_request(
    http: GitOverHttp, new_http_manager: NewManager, workspace: Workspace
) -> None:
    manager = new_http_manager()
    workspace.run("echo x > a.txt; touch -d '1 hour ago' a.txt")
    saved = manager.save("alice", workspace)
    del http.requests[:]
    assert manager.save("alice", workspace) == saved
    assert http.requests == []
