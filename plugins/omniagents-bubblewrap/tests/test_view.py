"""What of the host may be shown, and what an environment gets instead of the host's own files."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from omniagents_bubblewrap import host_user, view
from omniagents_bubblewrap.backend import BubblewrapBackend
from omniagents_bubblewrap.limits import Limits


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/", "would show all of "),
        ("/etc/ssl", "is in /etc, of which nothing is shown to an environment"),
        ("/run/docker.sock", "is in /run, of which nothing is shown to an environment"),
        ("/proc/self", "is in /proc, of which nothing is shown to an environment"),
        ("/var", "would show all of "),
        ("~", "would show all of "),
        ("~/.ssh", "is in ~/.ssh, where secrets are kept"),
        ("~/.config/gh", "is in ~/.config, where secrets are kept"),
    ],
)
def test_more_than_a_toolchain_is_never_shown(path: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        BubblewrapBackend(project_id="p", visible=[path])
    assert message in str(caught.value)


def test_what_holds_everybodys_workspaces_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        view.check_visible(["/usr"], [Path("/usr/share/omniagents")])
    assert str(caught.value) == (
        "visible='/usr' would show all of /usr/share/omniagents; name the directory of the toolchain itself"
    )


# An environment could put a link to a secret in its place, and kill its guest: the next sandbox would show the secret.
def test_what_an_environment_can_write_is_not_shown() -> None:
    with pytest.raises(ValueError) as caught:
        BubblewrapBackend(project_id="p", workspace_dir="/usr/local/project", visible=["/usr/local/project/tools"])
    assert str(caught.value) == "visible='/usr/local/project/tools' is in /usr/local/project, where environments write"


def test_a_link_to_a_secret_is_refused_like_the_secret(place: Path) -> None:
    link = place / "link"
    link.symlink_to("/etc")
    with pytest.raises(ValueError, match="of which nothing is shown"):
        view.check_visible([link], [])


def test_a_socket_is_refused(place: Path) -> None:
    path = place / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))
        with pytest.raises(ValueError, match="is neither a directory nor a file"):
            view.check_visible([path], [])


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        view.check_visible(["/usr/no-such-toolchain"], [])


def test_the_path_begins_with_what_the_user_named() -> None:
    assert view.search_path([sys.base_prefix]).split(":")[0] == f"{sys.base_prefix}/bin"
    assert view.search_path([os.path.realpath(sys.executable)]).split(":")[0] == os.path.dirname(
        os.path.realpath(sys.executable)
    )


def test_no_private_key_and_no_account_of_the_host_is_shown() -> None:
    shown = [*view.etc_directories(), *view.etc_files()]
    assert [path for path in shown if "private" in path or "shadow" in path or "ssh" in path] == []
    assert view.etc_files()["/etc/passwd"].count(b"\n") == 3


def test_the_systems_python_runs_the_guest_if_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda path: "/usr/bin/python3.9" if "bin/python3" in path else path)
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert view.find_python() == ("/usr/bin/python3", [])


def test_where_the_systems_python_is_too_old_ours_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path: "/usr/bin/python3.6" if path == "/usr/bin/python3" else real(path)
    )
    monkeypatch.setattr(sys, "base_prefix", "/somewhere/python")
    assert view.find_python() == (real(sys.executable), ["/somewhere/python"])


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        BubblewrapBackend(project_id="p", network=True)  # type: ignore[arg-type]
    assert str(caught.value) == "network=True; it is 'none' or 'host'"


@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_of_nothing_is_refused(value: int) -> None:
    with pytest.raises(ValueError) as caught:
        Limits(processes=value)
    assert str(caught.value) == f"limit processes is {value}; it must be positive, or None for no limit"


def test_each_project_of_roots_has_a_user_of_its_own() -> None:
    users = {host_user._user_of(f"project {number}") for number in range(20)}
    assert len(users) == 20
    assert all(user == group and user >= 1879048192 for user, group in users) or not host_user._exists(1879048192)
