"""The kernel's own surface: namespaces, mounts, keys, handles, tracing, terminals."""

from __future__ import annotations

import pytest


# Most local privilege escalations of the last ten years begin with `unshare -U` (CVE-2022-0185, CVE-2023-32233,
# CVE-2024-1086).
def test_no_new_user_namespace_by_any_call(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
tell([call(272, 97, 0x10000000), call(56, 220, 0x10000000 | 17, 0, 0, 0, 0),
      call(435, 435, ctypes.create_string_buffer(88), 88),
      call(308, 268, os.open("/proc/self/ns/user", os.O_RDONLY), 0)])
""",
    )
    assert told == ["EPERM", "EPERM", "ENOSYS", "EPERM"]
    assert sandbox.workspace.run(["unshare", "-Ur", "true"]).exit_code != 0


# A sandbox in the sandbox would be a way around: bwrap itself is visible in /usr/bin.
@pytest.mark.only("bubblewrap")
def test_bwrap_cannot_be_used_inside(sandbox) -> None:
    result = sandbox.workspace.run("bwrap --unshare-all --ro-bind / / true")
    assert result.exit_code != 0


# Mounting anything, old and new interface; moving the root.
def test_nothing_can_be_mounted(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
text = ctypes.c_char_p
tell([call(165, 40, text(b"none"), text(b"/tmp"), text(b"tmpfs"), 0, 0), call(166, 39, text(b"/proc"), 2),
      call(165, 40, 0, text(b"/usr"), 0, 32 | 4096, 0), call(155, 41, text(b"/tmp"), text(b"/tmp")),
      call(428, 428, -100, text(b"/"), 1), call(430, 430, text(b"tmpfs"), 0), call(442, 442, -100, text(b"/"), 0, 0, 0),
      attempt(os.chroot, "/tmp")])
""",
    )
    assert told == ["EPERM"] * 8


# "shocker" (Docker 0.11): open the host's root by its handle, inode 2, through any file on the same file system.
def test_files_cannot_be_opened_by_handle(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
handle = struct.pack("IiII", 8, 1, 2, 0)
tell(call(304, 265, os.open("/workspace", os.O_RDONLY), ctypes.c_char_p(handle), 0))
""",
    )
    assert told == "EPERM"


# Keyrings are not namespaced: a sandbox could read the host user's Kerberos tickets, or fill its quota.
def test_no_keyring(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
tell([call(250, 219, 0, -3, 0), call(248, 217, b"user", b"x", b"y", 1, -3), call(249, 218, b"user", b"x", 0, 0)])
""",
    )
    assert told == ["EPERM"] * 3


# Interfaces with a long list of holes: bpf (CVE-2021-3490), userfaultfd, perf, modules, kexec.
@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((321, 280), "EPERM"),
        ((323, 282), "EPERM"),
        ((298, 241), "EPERM"),
        ((313, 273), "EPERM"),
        ((246, 104), "EPERM"),
        ((103, 116), "EPERM"),
        ((169, 142), "EPERM"),
        ((300, 262), "EPERM"),
    ],
    ids=["bpf", "userfaultfd", "perf", "module", "kexec", "kernel log", "reboot", "fanotify"],
)
def test_kernel_interfaces_that_coding_does_not_need(sandbox, attack, numbers: tuple[int, int], expected: str) -> None:
    assert attack(sandbox, f"tell(call({numbers[0]}, {numbers[1]}, 0, 0, 0, 0, 0))") == expected


# io_uring (CVE-2022-29582). Docker's own filter forbids it since Docker 25: documented.
def test_io_uring(arena, sandbox, attack) -> None:
    told = attack(sandbox, "tell(call(425, 425, 0, 0))")
    allowed = {"EFAULT"} if arena.name == "docker" and version_of(arena) < 25 else set()
    assert told in {"ENOSYS", "EPERM"} | allowed


def version_of(arena) -> int:
    return int(arena.engine.version()["Version"].partition(".")[0])


# A terminal of the host's could be typed into by whoever has it open.
def test_there_is_no_terminal_of_the_hosts(sandbox, attack) -> None:
    assert attack(sandbox, "tell(attempt(os.open, '/dev/tty', os.O_RDWR))") == "ENXIO"
    assert sandbox.workspace.run("ls -l /proc/[0-9]*/fd | grep -E 'pts|tty'").stdout == b""


# Typing into the terminal of whoever started us (CVE-2017-5226, found in bubblewrap); also with upper bits set, which
# filters have forgotten (CVE-2019-10063, found in Flatpak). There is no terminal of the host's at all.
@pytest.mark.only("bubblewrap")
def test_nothing_can_be_typed_into_a_terminal(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
leader, follower = os.openpty()
tell([call(16, 29, follower, request, ctypes.c_char_p(b"x")) for request in (0x5412, 0x5412 | 1 << 32, 0x541C, 0x5423)]
     + [attempt(os.open, "/dev/tty", os.O_RDWR), call(16, 29, follower, 0x5401, ctypes.create_string_buffer(64))])
""",
    )
    assert told == ["EPERM"] * 4 + ["ENXIO", "worked"]


# A program of another architecture has other numbers, which a filter that forgets to look does not know
# (CVE-2015-1335's time). Docker's filter knows them.
@pytest.mark.only("bubblewrap")
def test_32_bit_calls_kill_their_process(sandbox) -> None:
    code = r"""
#include <stdio.h>
int main(void) {
    int answer;
    __asm__ volatile ("int $0x80" : "=a"(answer) : "a"(20));
    printf("%d\n", answer);
    return 0;
}
"""
    sandbox.workspace.write_bytes("old.c", code.encode())
    result = sandbox.workspace.run("uname -m; gcc -o old old.c && ./old")
    if not result.stdout.startswith(b"x86_64") or b"gcc" in result.stderr:
        pytest.skip("needs x86_64 and gcc: apt-get install gcc libc6-dev")
    assert result.stdout == b"x86_64\n"
    assert result.exit_code == 128 + 31  # SIGSYS


# The guest is the one process inside that the host listens to: reading its memory or descriptors would be speaking for
# it. All that stand above a command are tried, and the first process: bwrap's own would hold the stream to the host,
# and could be traced.
def test_the_guest_cannot_be_traced_or_read(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
def parent(pid):
    return int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[1])
above, pid = [], parent(os.getpid())
while pid > 1:
    above.append(pid)
    pid = parent(pid)
above.append(1)
tell([[call(101, 117, 16, pid, 0, 0), attempt(os.listdir, "/proc/%d/fd" % pid),
       attempt(open, "/proc/%d/mem" % pid, "rb"), attempt(open, "/proc/%d/fd/1" % pid, "wb"),
       call(438, 438, os.pidfd_open(pid), 0, 0)] for pid in above])
""",
    )
    assert len(told) >= 2
    assert told == [["EPERM", "EACCES", "EACCES", "EACCES", "EPERM"]] * len(told)


# Nothing inside is above the first process: whoever traced it had all, its end ends the environment.
def test_the_first_process_has_nothing_to_give(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
traced = call(101, 117, 0x4206, 1, 0, 0)  # PTRACE_SEIZE
status = open("/proc/1/status").read()
field = lambda name: next(line.split()[1] for line in status.splitlines() if line.startswith(name + ":"))
tell([field("CapEff"), field("CapPrm"), field("CapBnd"), field("NoNewPrivs"), field("Seccomp"), traced,
      attempt(os.kill, 1, 9)])
""",
    )
    assert told[:6] == ["0" * 16, "0" * 16, "0" * 16, "1", "2", "EPERM"]
    assert sandbox.workspace.run("echo alive").stdout == b"alive\n"  # and its kill went nowhere


# Debuggers are allowed on purpose: what they reach is the environment's own.
def test_a_debugger_works_on_a_program_of_the_environment(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
child = os.fork()
if not child:
    libc.ptrace(0, 0, 0, 0); os.kill(os.getpid(), 19); os._exit(7)
stopped = os.WIFSTOPPED(os.waitpid(child, 0)[1])
libc.ptrace(7, child, 1, 0)
tell([stopped, os.WEXITSTATUS(os.waitpid(child, 0)[1])])
""",
    )
    assert told == [True, 7]


# Real-time priority or another's processor would starve the host.
def test_no_real_time_priority(sandbox, attack) -> None:
    assert (
        attack(
            sandbox,
            "tell([attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50)), attempt(os.nice, -5)])",
        )
        == ["EPERM"] * 2
    )
