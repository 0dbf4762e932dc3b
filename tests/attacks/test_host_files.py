"""Reading and writing what is not the environment's: through links, /proc, mounts, devices, set-user-id programs."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

import pytest

from omniagents import create_state_manager


@pytest.fixture
def secret(tmp_path: Path) -> tuple[Path, bytes]:
    """A file of the host that everybody may read, and what is in it."""
    path = tmp_path / "secret.txt"
    content = secrets.token_hex(16).encode()
    path.write_bytes(content)
    return path, content


# The oldest one: a link in the workspace that points out of it (CVE-2021-30465 of runc is its grandchild).
def test_a_link_out_of_the_workspace_leads_nowhere(sandbox, secret) -> None:
    path, content = secret
    result = sandbox.workspace.run(f"ln -sf {path} out; ln -sfn / root; cat out root{path} /proc/self/root{path}")
    assert content not in result.stdout
    assert result.stderr.count(b"No such file or directory") == 3


# The same links, for the host to follow when a tool reads them on the model's behalf.
def test_reading_through_a_link_out_of_the_workspace_is_refused(sandbox, secret) -> None:
    path, _ = secret
    sandbox.workspace.run(f"ln -sf {path} out; ln -sfn {path.parent} folder")
    for name in ("out", "folder/secret.txt", str(path), f"../..{path}"):
        with pytest.raises(OSError):
            sandbox.workspace.read_bytes(name)


# Planted while nobody runs, for the host to follow when it saves, measures or removes the workspace.
def test_removing_a_workspace_does_not_follow_its_links(arena, make, tmp_path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"kept")
    backend = make()
    backend.start()
    backend.workspace.run(["ln", "-s", str(precious), "trap"])
    backend.workspace.run(["ln", "-s", str(precious), f"{arena.home}/trap"])
    backend.shutdown()
    assert (precious / "file").read_bytes() == b"kept"


# A snapshot is taken by the host, which can read everything: a link must be saved as a link.
def test_a_snapshot_holds_nothing_that_links_lead_to(make, secret, tmp_path, monkeypatch) -> None:
    path, content = secret
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    backend = make()
    with backend:
        backend.workspace.run(f"ln -s {path} out; ln -s {path.parent} folder; ln {path} hard; echo mine > own")
        store = create_state_manager("directory")
        snapshot = store.save(backend.project_id, backend.workspace, "")
        backend.workspace.run("rm -r out folder own")
        store.restore(backend.project_id, snapshot.id, backend.workspace)
        assert backend.workspace.run(["readlink", "out"]).stdout_text.strip() == str(path)
        assert backend.workspace.read_bytes("own") == b"mine\n"
    saved = b"".join(file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file())
    assert content not in saved
    assert path.read_bytes() == content


# CVE-2019-5736: /proc/PID/exe and /proc/PID/root as doors into another mount namespace. Here no process of the host
# has a number.
def test_no_process_of_the_host_is_in_proc(arena, sandbox) -> None:
    names = sandbox.workspace.run("cat /proc/[0-9]*/comm").stdout.split()
    assert set(names) <= arena.first_processes | {b"cat", b"bash", b"sh"}


# The same CVE overwrote the host's runc through /proc/PID/exe, to be run as root at the next `docker exec`.
def test_no_program_that_runs_can_be_overwritten(sandbox, attack) -> None:
    told = attack(
        sandbox,
        "pids = [*filter(str.isdigit, os.listdir('/proc')), 'self']\n"
        "tell([attempt(open, f'/proc/{pid}/exe', 'r+b') for pid in pids])",
    )
    assert len(told) >= 3
    assert set(told) <= {"EACCES", "ETXTBSY", "EROFS", "EPERM"}


# CVE-2024-21626 ("Leaky Vessels"): a directory of the host left open in, or the working directory of, what was started.
# The first process was started outside: its root, directory and files must not be the host's.
def test_the_first_process_is_inside_too(sandbox, secret) -> None:
    path, content = secret
    found = sandbox.workspace.run(f"cat /proc/1/root{path} /proc/1/cwd{path}; ls -l /proc/[0-9]*/fd /proc/1/root")
    assert content not in found.stdout
    assert os.fsencode(path.parent) not in found.stdout


# What is told about the host by accident: arguments of the first process name directories of the host.
def test_no_argument_or_variable_names_a_directory_of_the_host(sandbox) -> None:
    told = sandbox.workspace.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; env").stdout
    assert os.fsencode(Path.home()) + b"/" not in told
    assert os.environb.get(b"XDG_DATA_HOME", b"?") not in told


# Keys of clouds and models are in the variables of whoever serves users.
def test_no_variable_of_the_host_process_is_inherited(make, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with make() as backend:
        assert b"hunter2" not in backend.workspace.run("env; cat /proc/[0-9]*/environ").stdout


# A wish list of every stealer of secrets.
@pytest.mark.parametrize(
    "path",
    ["/root", "/etc/shadow", "/etc/ssl/private", "/etc/ssh", "/etc/sudoers", "/run/user", "/run/dbus", "/mnt", "/media",
     "/boot", "/srv", "~/../other", "/tmp/.X11-unix", "/var/lib/docker", "/var/lib/containerd", "/proc/kcore",
     "/proc/sysrq-trigger", "/run/secrets", "/var/run/secrets/kubernetes.io", "~/.ssh", "~/.aws", "~/.docker"],
)  # fmt: skip
def test_nothing_of_a_stealers_list_can_be_read(sandbox, path: str) -> None:
    assert sandbox.workspace.run(f"cat {path} || ls -A {path}/").stdout == b""


# What an image may have of its own, and a view of the host must not have.
@pytest.mark.only("bubblewrap")
@pytest.mark.parametrize("path", ["/var/lib", "/var/log", "/sys", "/home/user/../../root"])
def test_nothing_of_the_hosts_own_is_shown(sandbox, path: str) -> None:
    assert sandbox.workspace.run(f"cat {path} || ls -A {path}/").stdout == b""


# Who has the engine's socket is root on the host. Looked for where it usually is, and everywhere.
def test_no_engines_socket_is_there(sandbox) -> None:
    usual = "/run/docker.sock /var/run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock"
    assert sandbox.workspace.run(f"ls {usual}; find / -type s 2>/dev/null; env | grep DOCKER").stdout == b""


# Everything the environment can write must be its own: no write reaches a file of the host.
def test_only_its_own_places_can_be_written(arena, sandbox) -> None:
    places = "/ /usr /usr/bin /usr/local/bin /etc /dev /proc /proc/sys/kernel /run /var /home /lib /opt /sys/fs/cgroup"
    result = sandbox.workspace.run(f"for d in {places}; do touch $d/x 2>/dev/null && echo $d; done; true")
    assert result.stdout == b""
    writable = sandbox.workspace.run("for d in /workspace ~ /tmp /dev/shm /var/tmp; do touch $d/x && echo $d; done")
    assert writable.stdout_text.split() == ["/workspace", arena.home, "/tmp", "/dev/shm", "/var/tmp"]


# Nothing may lie in wait in the image or the toolchain for the next program that runs. Whose user owns those files is
# kept out by the mount alone: by default nobody does, and for a root without capabilities the mode bits are no wall.
def test_what_programs_are_started_from_is_mounted_read_only(sandbox, attack) -> None:
    told = attack(
        sandbox, "tell([os.statvfs(place).f_flag & os.ST_RDONLY for place in ('/', '/etc', '/usr/bin', '/usr/lib')])"
    )
    assert told == [os.ST_RDONLY] * 4


@pytest.mark.only("docker")
def test_root_inside_cannot_write_into_the_image(make, attack) -> None:
    with make(uid=0, gid=0) as backend:
        told = attack(
            backend,
            """
def write(path):
    open(path, "a").close()
places = ("/x", "/etc/passwd", "/etc/ld.so.preload", "/usr/bin/id", "/usr/lib/x", "/root/.bashrc", "/var/lib/x")
tell([attempt(write, place) for place in places] + [attempt(write, "/workspace/x"), os.getuid()])
""",
        )
        assert told == ["EROFS"] * 7 + ["worked", 0]


# /proc/sys/kernel/core_pattern, /proc/sysrq-trigger and a cgroup's release_agent (CVE-2022-0492) are the classical
# ways from a root container to its host.
def test_the_kernels_settings_cannot_be_changed(sandbox) -> None:
    result = sandbox.workspace.run(
        "echo '|/workspace/evil' > /proc/sys/kernel/core_pattern; echo b > /proc/sysrq-trigger;"
        "echo /workspace/evil > /sys/fs/cgroup/release_agent; echo /workspace/evil > /proc/sys/kernel/modprobe"
    )
    assert len(re.findall(rb"Read-only file system|Permission denied|No such file", result.stderr)) == 4


# Devices: mknod for the host's disk, and those that are there anyway.
def test_devices_can_neither_be_made_nor_opened(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
import stat
made = [attempt(os.mknod, place + "/disk", stat.S_IFBLK | 0o666, os.makedev(8, 0))
        for place in ("/workspace", "/tmp", "/dev/shm")]
tell([made, sorted(os.listdir("/dev"))])
""",
    )
    assert told[0] == ["EPERM"] * 3
    assert set(told[1]) <= {
        "core", "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    }  # fmt: skip


# A set-user-id program of the toolchain (su, mount, sudo), and one that the environment makes for itself.
def test_set_user_id_programs_give_nothing(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
import shutil, subprocess
shutil.copy("/usr/bin/id", "/workspace/id"); os.chmod("/workspace/id", 0o6755)
status = open("/proc/self/status").read()
field = lambda name: next(line.split()[1] for line in status.splitlines() if line.startswith(name + ":"))
tell([subprocess.run(["/workspace/id", "-u"], capture_output=True, text=True).stdout.strip(),
      field("NoNewPrivs"), field("CapEff"), field("CapPrm"), field("CapBnd"), attempt(os.setuid, 0)])
""",
    )
    assert told[:5] == ["1000", "1", "0" * 16, "0" * 16, "0" * 16]
    assert told[5] in ("EINVAL", "EPERM")  # there is no such user, or one may not become it


@pytest.mark.only("bubblewrap")
def test_every_mount_ignores_set_user_id(sandbox) -> None:
    mounts = sandbox.workspace.run("grep -v ' /proc ' /proc/mounts").stdout.splitlines()
    assert [line for line in mounts if b"nosuid" not in line] == []


# Files that the environment leaves on the host's disk must be harmless there: no set-user-id file of root's.
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's files could be root's")
@pytest.mark.platform
def test_what_it_leaves_on_disk_is_not_roots(arena, make) -> None:
    backend = make()
    backend.start()
    backend.workspace.run("cp /usr/bin/id evil; chmod 6755 evil")
    left = (arena.workspace_on_host(backend) / "evil").stat()
    assert (left.st_uid, left.st_gid) != (0, 0)
    assert 0 not in (left.st_uid, left.st_gid)


# Two tenants on one machine: neither sees files or processes of the other.
def test_tenants_do_not_meet(make) -> None:
    alice, bob = make("alice attacks"), make("bob is attacked")
    with alice, bob:
        bob.workspace.write_bytes("private.txt", b"bob's")
        bob.workspace.run("cp private.txt /tmp; cp private.txt ~; cp private.txt /dev/shm; sleep 300 & true")
        seen = alice.workspace.run(
            "cat private.txt /tmp/private.txt ~/private.txt /dev/shm/*; cat /proc/[0-9]*/cmdline"
        )
        assert b"bob's" not in seen.stdout
        assert b"sleep" not in seen.stdout


# Where a hole in the namespaces would lead, the other tenant is another user.
@pytest.mark.only("bubblewrap")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give each project a user of its own")
@pytest.mark.platform
def test_tenants_are_different_users_outside(make) -> None:
    with make("alice") as alice, make("bob") as bob:
        assert alice.host_user != bob.host_user
