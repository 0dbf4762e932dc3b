"""Speaking for the guest, or keeping it from speaking: forged frames, planted programs, kills and stops."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time

import pytest

from omniagents.backends.state_manager import DirectoryStateManager
from omniagents.errors import BackendError, GuestDiedError, WorkspaceError
from omniagents.records import FileInfo, ImportEntry


# What a command prints goes through the same stream as the guest's answers: it must not be able to look like one.
def test_forged_frames_are_output_like_any_other(sandbox) -> None:
    forged = b'\0\0\0\x1f\0\0\0\0{"type":"reply","id":1,"value":{}}' * 500
    sandbox.workspace.write_bytes("forged", forged)
    assert sandbox.workspace.run("cat forged; cat forged >&2").stdout == forged


# Every descriptor that a command inherits could be the stream to the host.
def test_a_command_inherits_no_descriptor_of_the_guests(sandbox, attack) -> None:
    told = attack(
        sandbox,
        "tell([os.readlink('/proc/self/fd/%d' % fd) for fd in range(64) if os.path.exists('/proc/self/fd/%d' % fd)])",
    )
    assert [each for each in told if "socket:" in each] == []
    assert len(told) == 3


# Speaking in the guest's place where it has ended: the host must not take up what answers with made-up frames.
def test_a_frame_that_breaks_the_rules_ends_the_connection_and_not_the_environment(make, attack) -> None:
    with make() as backend:
        stream = backend._link._connection._stream
        feed = stream.read
        stream.read = lambda: b"\0\0\0\x17\0\0\0\0" + b'{"type":"reply","id":1}' + feed()
        backend.workspace.run("true")  # its answer is read by the call that was waiting already
        with pytest.raises(GuestDiedError):
            backend.workspace.run("true")
        assert backend.workspace.run("echo back").stdout == b"back\n"


# sitecustomize, usercustomize, json.py and PYTHON* variables run in the next Python that starts in that directory or
# home.
def test_planted_python_modules_do_not_run_in_the_guest(make) -> None:
    with make() as backend:
        plant = "import os; open('/tmp/owned', 'a').write(str(os.getpid()) + '\\n')\n"
        for name in ("sitecustomize", "usercustomize", "json", "zlib", "base64", "selectors"):
            backend.workspace.write_bytes(f"{name}.py", plant.encode())
        backend.workspace.run(
            "d=$HOME/.local/lib/python3.$(python3 -c 'import sys; print(sys.version_info[1])')/site-packages;"
            " mkdir -p $d; cp *.py $d; echo 'export PYTHONPATH=/workspace' > ~/.profile; rm -f /tmp/owned",
            cwd="/", outside=True,
        )  # fmt: skip
        guest = restart_guest(backend)
        owned = backend.workspace.run("cat /tmp/owned 2>/dev/null").stdout.split()
        assert str(guest).encode() not in owned


# A python3 of one's own, first in PATH for whoever looks there.
def test_a_planted_python_is_not_what_the_next_guest_runs_in(make) -> None:
    with make() as backend:
        script = '#!/bin/sh\ntouch /workspace/owned\nexec /usr/bin/python3 "$@"\n'
        for place in ("python3", "~/.local/bin/python3", "~/bin/python3", "/usr/local/bin/python3", "/tmp/python3"):
            backend.workspace.run(f"mkdir -p ~/.local/bin ~/bin; printf '%s' '{script}' > {place}; chmod 755 {place}")
        restart_guest(backend)
        assert not backend.workspace.exists("owned")


# LD_PRELOAD by file: /etc/ld.so.preload. By variable: it reaches only processes that the attacker starts anyway.
def test_no_library_can_be_preloaded_into_the_guest(make) -> None:
    with make() as backend:
        result = backend.workspace.run("echo /workspace/evil.so > /etc/ld.so.preload")
        assert result.exit_code != 0
        backend.workspace.run("echo 'export LD_PRELOAD=/workspace/evil.so' | tee ~/.bashrc ~/.profile ~/.bash_profile")
        restart_guest(backend)
        assert backend.workspace.run("echo $LD_PRELOAD").stdout == b"\n"


# Start-up files of the shell would run before every command of every tool.
def test_planted_shell_start_up_files_do_not_run(make) -> None:
    with make() as backend:
        backend.workspace.run(
            "echo 'echo owned' | tee ~/.bashrc ~/.profile ~/.bash_profile ~/.bash_login ~/.shrc ~/.kshrc"
        )
        assert backend.workspace.run("echo mine").stdout == b"mine\n"
        assert backend.workspace.run("export BASH_ENV=~/.bashrc ENV=~/.profile").exit_code == 0
        assert backend.workspace.run("echo mine").stdout == b"mine\n"


# Killing the guest: the call says so, and the next one works.
def test_a_killed_guest_is_replaced(make) -> None:
    with make() as backend:
        with pytest.raises(GuestDiedError):
            backend.workspace.run("kill -9 $PPID $(cut -d' ' -f4 /proc/$PPID/stat); sleep 300")
        assert backend.workspace.run("echo back").stdout == b"back\n"


# A stopped guest answers nothing and sees no end of its stream. Shutting down must not wait for it.
def test_a_stopped_guest_cannot_keep_its_environment_alive(arena, make) -> None:
    backend = make()
    backend.start()
    backend.workspace.run("(sleep 0.2; kill -STOP -1) > /dev/null 2>&1 & sleep 0")
    wait_for(lambda: arena.is_stopped(backend))
    try:
        backend.shutdown(save=False)
    except BackendError:
        backend.shutdown(save=False)
    assert arena.is_gone(backend)


# What a killed guest leaves could go on unseen: a miner, or what waits for the next guest.
def test_nothing_outlives_the_guest_unseen(make) -> None:
    with make() as backend:
        backend.workspace.run("setsid nohup sleep 301 > /dev/null 2>&1 & (setsid sleep 301 &) & true")
        restart_guest(backend)
        assert backend.workspace.run("cat /proc/[0-9]*/cmdline | grep -ac '[s]leep.301'").stdout == b"0\n"


# "Zip slip": names in an archive that climb out, and links that lead out for the entry after them.
def test_archives_unpacked_inside_cannot_climb_out(sandbox, tmp_path) -> None:
    target = tmp_path / "climbed"
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w") as archive:
        for name in ("../../../../../../" + str(target)[1:], str(target), "../climbed"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("link/climbed"), io.BytesIO())
    sandbox.workspace.write_bytes("evil.tar", evil.getvalue())
    sandbox.workspace.run("tar -xPf evil.tar")
    sandbox.workspace.run("python3 -c 'import tarfile; tarfile.open(\"evil.tar\").extractall()'")
    assert not target.exists()


# The same names, where the host brings a tree in (a snapshot, an upload) and takes one out.
@pytest.mark.parametrize("name", ["../climbed", "/climbed", "folder/../../climbed", "trap/climbed", ""])
def test_trees_brought_in_or_taken_out_cannot_climb_out(sandbox, tmp_path, name: str) -> None:
    sandbox.workspace.run(["ln", "-sfn", str(tmp_path), "trap"])
    info = FileInfo(name, "file", 1, 0o644, 0, 0, 0, None)
    taken_out = []
    for act in (
        lambda: sandbox.workspace.import_([ImportEntry(info, [b"x"])]),
        lambda: taken_out.extend(entry.info.path for entry in sandbox.workspace.export([name])),
    ):
        with contextlib.suppress(OSError, ValueError, WorkspaceError):
            act()
    assert taken_out in ([], ["trap/climbed"])  # brought in, in the link's place
    assert list(tmp_path.iterdir()) == []
    assert not sandbox.workspace.exists("/climbed", outside=True)


# What may not be read cannot be saved, and would be lost with the environment: by malice, or by `chmod -R 600 .`
def test_what_forbids_to_be_read_is_saved_all_the_same(make, tmp_path) -> None:
    store = DirectoryStateManager(tmp_path)
    look = "find . | sort; cat src/deep/a locked/in/b none only/c"
    open_up = "chmod -R u+rwX /workspace"
    with make() as backend:
        backend.workspace.run(
            "mkdir -p src/deep locked/in only; echo 1 > src/deep/a; echo 2 > locked/in/b; echo 3 > none; "
            "echo 4 > only/c;"
            "chmod 000 none locked/in/b locked/in locked; chmod 300 only; chmod -R 600 src; chmod 000 ."
        )
        snapshot = store.save("p", backend.workspace)
        assert (snapshot.files, snapshot.left_out) == (4, ())
        assert backend.workspace.stat(".").mode == 0
        backend.workspace.run("chmod 700 /workspace", cwd="/", outside=True)
        modes = backend.workspace.run("stat -c '%a %n' src locked none only").stdout
        assert modes == b"600 src\n0 locked\n0 none\n300 only\n"
        backend.workspace.run(open_up)
        expected = backend.workspace.run(look).stdout
    with make() as backend:
        store.restore("p", snapshot.id, backend.workspace)
        assert backend.workspace.run("stat -c '%a %n' src locked none only").stdout == modes
        assert store.save("p", backend.workspace).id == snapshot.id
        backend.workspace.run(open_up)
        assert backend.workspace.run(look).stdout == expected


# Closing the workspace to oneself would keep every later session of the project from starting.
def test_a_closed_workspace_opens_for_the_next_guest(make) -> None:
    with make() as backend:
        backend.workspace.run("echo kept > file; chmod 000 .")
        restart_guest(backend)
        assert backend.workspace.read_bytes("file") == b"kept\n"


def restart_guest(backend) -> int:
    """Kill the guest; the number of the next one."""
    with pytest.raises(GuestDiedError):
        backend.workspace.run("kill -9 $PPID $(cut -d' ' -f4 /proc/$PPID/stat); sleep 300", cwd="/", outside=True)
    return int(backend.workspace.run("cut -d' ' -f4 /proc/$PPID/stat").stdout)


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()
