"""What the filter decides, by an interpreter of BPF: for both architectures, on any machine."""

from __future__ import annotations

import errno
import struct

import pytest

from omniagents_bubblewrap import bpf, seccomp
from omniagents_bubblewrap.seccomp import MACHINES, Machine

KILLED = "killed"
ALLOWED = "allowed"
ARM_32, X86_32 = 0x40000028, 0x40000003  # AUDIT_ARCH_ARM, AUDIT_ARCH_I386
UPPER = 0xABCD << 32


def decide(machine: Machine, number: int, *arguments: int, audit: int | None = None) -> str:
    """Run the assembled filter as the kernel would, and name its answer."""
    code = seccomp.program(machine).assemble()
    data = struct.pack("<iIQ6Q", number, machine.audit if audit is None else audit, 0, *(*arguments, *[0] * 6)[:6])
    position, loaded = 0, 0
    while True:
        operation, if_true, if_false, value = struct.unpack_from("=HBBI", code, position * 8)
        position += 1
        if operation == 0x20:
            loaded = struct.unpack_from("<I", data, value)[0]
        elif operation == 0x54:
            loaded &= value
        elif operation == 0x15:
            position += if_true if loaded == value else if_false
        elif operation == 0x25:
            position += if_true if loaded > value else if_false
        else:
            assert operation == 0x06
            return name_of(value)


def name_of(action: int) -> str:
    if action == bpf.KILL:
        return KILLED
    return ALLOWED if action == bpf.ALLOW else errno.errorcode[action & 0xFFFF]


@pytest.fixture(params=MACHINES, ids=str)
def machine(request: pytest.FixtureRequest) -> Machine:
    return MACHINES[request.param]


def number(machine: Machine, x86_64: int, aarch64: int) -> int:
    return (x86_64, aarch64)[machine.column]


@pytest.mark.parametrize("audit", [ARM_32, X86_32])
def test_calls_of_another_architecture_kill(machine: Machine, audit: int) -> None:
    assert decide(machine, 1, audit=audit) == KILLED


def test_calls_of_the_x32_abi_kill() -> None:
    assert decide(MACHINES["x86_64"], 0x40000000 | 1) == KILLED


def test_what_everybody_needs_is_allowed(machine: Machine) -> None:
    calls = {"read": (0, 63), "openat": (257, 56), "execve": (59, 221), "mmap": (9, 222), "wait4": (61, 260),
             "futex": (202, 98), "ptrace": (101, 117), "memfd_create": (319, 279), "seccomp": (317, 277),
             "landlock_create_ruleset": (444, 444), "getrandom": (318, 278)}  # fmt: skip
    assert {name: decide(machine, number(machine, *pair)) for name, pair in calls.items()} == dict.fromkeys(
        calls, ALLOWED
    )


def test_mounts_keys_handles_and_the_kernel_itself_are_refused(machine: Machine) -> None:
    calls = {"mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "setns": (308, 268), "bpf": (321, 280),
             "open_by_handle_at": (304, 265), "keyctl": (250, 219), "add_key": (248, 217), "userfaultfd": (323, 282),
             "perf_event_open": (298, 241), "kexec_load": (246, 104), "init_module": (175, 105),
             "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "syslog": (103, 116)}  # fmt: skip
    assert {name: decide(machine, number(machine, *pair)) for name, pair in calls.items()} == dict.fromkeys(
        calls, "EPERM"
    )


def test_what_has_a_fallback_seems_not_to_exist(machine: Machine) -> None:
    calls = {"clone3": 435, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "tomorrow's": 467}
    assert {name: decide(machine, call) for name, call in calls.items()} == dict.fromkeys(calls, "ENOSYS")


@pytest.mark.parametrize("flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_kind_of_new_namespace(machine: Machine, flag: int) -> None:
    assert decide(machine, machine.clone, 0x11 | flag) == "EPERM"
    assert decide(machine, machine.unshare, flag) == "EPERM"


def test_threads_processes_and_unsharing_of_files_are_allowed(machine: Machine) -> None:
    thread = 0x3D0F00  # what glibc's pthread_create passes
    assert decide(machine, machine.clone, thread) == ALLOWED
    assert decide(machine, machine.clone, 0x1200011) == ALLOWED  # fork
    assert decide(machine, machine.clone, 0x4111) == ALLOWED  # vfork
    assert decide(machine, machine.unshare, 0x600) == ALLOWED  # CLONE_FS | CLONE_FILES


def test_a_new_time_namespace_is_refused_although_its_flag_is_a_signal_in_clone(machine: Machine) -> None:
    assert decide(machine, machine.unshare, 0x80) == "EPERM"


@pytest.mark.parametrize("request_number", [0x5412, 0x541C, 0x541D, 0x5423])
def test_terminal_requests_are_refused_whatever_the_upper_bits(machine: Machine, request_number: int) -> None:
    assert decide(machine, machine.ioctl, 0, request_number) == "EPERM"
    assert decide(machine, machine.ioctl, 0, UPPER | request_number) == "EPERM"


def test_other_terminal_requests_are_allowed(machine: Machine) -> None:
    assert decide(machine, machine.ioctl, 0, 0x5401) == ALLOWED  # TCGETS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, 1, 0), ALLOWED),
        ((1, 5, 0), ALLOWED),
        ((2, 1, 0), ALLOWED),
        ((2, 0x80801, 6), ALLOWED),
        ((10, 2, 17), ALLOWED),
        ((2, 2, 1), ALLOWED),
        ((16, 3, 0), ALLOWED),
        ((16, 3, 12), "EPROTONOSUPPORT"),
        ((2, 3, 255), "EPERM"),
        ((10, 3, 58), "EPERM"),
        ((2, 5, 132), "EPERM"),
        ((2, 1, 262), "EPROTONOSUPPORT"),
        ((17, 3, 3), "EAFNOSUPPORT"),
        ((40, 1, 0), "EAFNOSUPPORT"),
        ((38, 5, 0), "EAFNOSUPPORT"),
        ((UPPER | 17, 3, 3), "EAFNOSUPPORT"),
        ((UPPER | 2, UPPER | 3, 255), "EPERM"),
    ],
    ids=[
        "unix stream", "unix seqpacket", "tcp", "tcp nonblocking", "udp 6", "ping", "route netlink",
        "netfilter netlink", "raw", "raw 6", "sctp", "mptcp", "packet", "vsock", "kernel crypto",
        "packet with upper bits", "raw with upper bits",
    ],
)  # fmt: skip
def test_sockets(machine: Machine, arguments: tuple[int, ...], expected: str) -> None:
    assert decide(machine, machine.socket, *arguments) == expected


def test_socket_pairs_are_of_unix_only(machine: Machine) -> None:
    assert decide(machine, machine.socketpair, 1, 1, 0) == ALLOWED
    assert decide(machine, machine.socketpair, 30, 1, 0) == "EAFNOSUPPORT"


def test_a_debugger_may_switch_address_randomisation_off_and_nothing_may_make_memory_executable(
    machine: Machine,
) -> None:
    assert decide(machine, machine.personality, 0x40000) == ALLOWED
    assert decide(machine, machine.personality, 0xFFFFFFFF) == ALLOWED
    assert decide(machine, machine.personality, 0x400000) == "EPERM"  # READ_IMPLIES_EXEC


@pytest.mark.parametrize("mode", [0, 0x1, 0x10, 0x11, 0x20, 0x40, UPPER])
def test_no_space_is_taken_without_writing(machine: Machine, mode: int) -> None:
    assert decide(machine, machine.fallocate, 3, mode) == "ENOTSUP"


def test_space_may_be_given_back(machine: Machine) -> None:
    assert decide(machine, machine.fallocate, 3, 0x3) == ALLOWED
    assert decide(machine, machine.fallocate, 3, UPPER | 0x3) == ALLOWED


def test_a_machine_without_a_filter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    seccomp.program_of_this_machine.cache_clear()
    with pytest.raises(NotImplementedError) as caught:
        seccomp.program_of_this_machine()
    assert str(caught.value) == "no system call filter for 'pdp11'; there is one for x86_64, aarch64"


def test_a_jump_that_the_kernel_could_not_encode_is_refused() -> None:
    long = bpf.Block()
    for _ in range(256):
        long.finish(bpf.ALLOW)
    with pytest.raises(ValueError) as caught:
        bpf.Block().when_equal(0, long)
    assert str(caught.value) == "a jump over more than 255 instructions"
