"""Which system calls an environment may make.

Everything that Docker's default profile allows an unprivileged container, with these differences:
no new namespaces of any kind, no io_uring, no sockets but UNIX, TCP, UDP, ping and route netlink,
no terminal injection and no line disciplines, no space on disk without writing. Calls that are newer
than this list fail with ENOSYS, as on an older kernel: libraries know how to go on without.

``ptrace`` is allowed: gdb and strace belong to coding work, they reach only processes of the same
environment, and since Linux 4.8 a tracer cannot pass a system call by the filter.
"""

from __future__ import annotations

import errno
import functools
import platform
from collections.abc import Mapping
from typing import Final, NamedTuple

from omniagents_bubblewrap.bpf import ALLOW, ARCHITECTURE, KILL, NUMBER, Block, Program, argument, errno_action

__all__ = ["MACHINES", "Machine", "program", "program_of_this_machine"]

_REFUSED = errno_action(errno.EPERM)
_UNKNOWN = errno_action(errno.ENOSYS)

# Refused with EPERM: (x86_64, aarch64), from asm/unistd_64.h and asm-generic/unistd.h of Linux 6.18.
_DENIED: Final[Mapping[str, tuple[int | None, int | None]]] = {
    # mounts, roots and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "statmount": (457, 457), "listmount": (458, 458),
    # files by handle: past every mount, to the whole file system behind it (the "shocker" escape from Docker)
    "open_by_handle_at": (304, 265),
    # the kernel itself
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "create_module": (174, None), "query_module": (178, None),
    "get_kernel_syms": (177, None), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "syslog": (103, 116), "uselib": (134, None), "lookup_dcookie": (212, 18), "_sysctl": (156, None),
    "sysfs": (139, None), "nfsservctl": (180, 42), "afs_syscall": (183, None), "security": (185, None),
    "tuxcall": (184, None), "vserver": (236, None), "getpmsg": (181, None), "putpmsg": (182, None),
    # keyrings are not namespaced: they would be shared with the user of the host
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # the machine
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    "ioperm": (173, None), "iopl": (172, None), "modify_ldt": (154, None), "ustat": (136, None),
    "fanotify_init": (300, 262),
    # other processes' kernel objects, and their memory's place
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "mbind": (237, 235), "set_mempolicy": (238, 237), "set_mempolicy_home_node": (450, 450),
}  # fmt: skip

# As if the kernel had not got them: io_uring's calls pass seccomp by; clone3's flags lie in memory, where a filter
# cannot see them, and libc falls back to clone.
_ABSENT: Final[Mapping[str, tuple[int, int]]] = {
    "clone3": (435, 435), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
}  # fmt: skip
_NEWEST = 466  # removexattrat; from 424 on numbers are the same everywhere

# linux/sched.h: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME is for unshare only, its bit
# is part of clone's exit signal.
_NAMESPACES = 0x7E020000
_NEW_TIME = 0x80

# asm-generic/ioctls.h: typing into the terminal (CVE-2017-5226), pasting into it, taking /dev/console,
# and line disciplines, whose kernel modules are loaded by asking for them (CVE-2017-2636).
_IOCTLS = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCCONS": 0x541D, "TIOCSETD": 0x5423}

# linux/personality.h: Linux, 32-bit Linux, each with UNAME26, and without address space randomisation, for debuggers.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF)

# linux/falloc.h: PUNCH_HOLE | KEEP_SIZE gives space back. All others take it: as much as the disk has, in one call, and
# with KEEP_SIZE past the limit of a file's length. libc writes where it is unsupported.
_GIVES_BACK = 0x3

# linux/socket.h, linux/net.h, linux/in.h
_UNIX, _INTERNET, _INTERNET_6, _NETLINK = 1, 2, 10, 16
_TYPE_BITS = 0xF
_STREAM, _DATAGRAM = 1, 2
_PROTOCOLS = (0, 1, 6, 17, 58)  # by type, ICMP (ping), TCP, UDP, ICMPv6
_ROUTE = 0


class Machine(NamedTuple):
    """What differs between architectures.

    Attributes:
        audit: AUDIT_ARCH_* of linux/audit.h; calls of any other kill the process.
        column: Which of a pair of numbers is this one's.
        foreign_from: Numbers from here on belong to another ABI (x32), if it has one; they kill too.
    """

    audit: int
    column: int
    foreign_from: int | None
    clone: int
    unshare: int
    ioctl: int
    socket: int
    socketpair: int
    personality: int
    fallocate: int


MACHINES: Final[Mapping[str, Machine]] = {
    "x86_64": Machine(0xC000003E, 0, 0x40000000, 56, 272, 16, 41, 53, 135, 285),
    "aarch64": Machine(0xC00000B7, 1, None, 220, 97, 29, 198, 199, 92, 47),
}


@functools.cache
def program_of_this_machine() -> bytes:
    """The filter for the architecture we run on.

    Raises:
        NotImplementedError: There is none for it.
    """
    name = platform.machine()
    if name not in MACHINES:
        raise NotImplementedError(f"no system call filter for {name!r}; there is one for {', '.join(MACHINES)}")
    return program(MACHINES[name]).assemble()


def program(machine: Machine) -> Program:
    """The filter for one architecture."""
    filter = Program()
    filter.load(ARCHITECTURE).when_not_equal(machine.audit, Block().finish(KILL))
    filter.load(NUMBER)
    if machine.foreign_from is not None:
        filter.when_above(machine.foreign_from - 1, Block().finish(KILL))
    filter.when_above(_NEWEST, Block().finish(_UNKNOWN))
    for number in _numbers(_ABSENT, machine):
        filter.when_equal(number, Block().finish(_UNKNOWN))
    for number in _numbers(_DENIED, machine):
        filter.when_equal(number, Block().finish(_REFUSED))
    filter.when_equal(machine.clone, _unless_flagged(_NAMESPACES))
    filter.when_equal(machine.unshare, _unless_flagged(_NAMESPACES | _NEW_TIME))
    filter.when_equal(machine.ioctl, _ioctl())
    filter.when_equal(machine.socket, _socket())
    filter.when_equal(machine.socketpair, _socketpair())
    filter.when_equal(machine.personality, _personality())
    filter.when_equal(machine.fallocate, _fallocate())
    filter.finish(ALLOW)
    return filter


def _numbers(table: Mapping[str, tuple[int | None, int | None]], machine: Machine) -> list[int]:
    numbers = (pair[machine.column] for pair in table.values())
    return [number for number in numbers if number is not None]


def _unless_flagged(flags: int) -> Block:
    return Block().load(argument(0)).mask(flags).when_not_equal(0, Block().finish(_REFUSED)).finish(ALLOW)


def _ioctl() -> Block:
    block = Block().load(argument(1))
    for request in _IOCTLS.values():
        block.when_equal(request, Block().finish(_REFUSED))
    return block.finish(ALLOW)


def _personality() -> Block:
    return Block().load(argument(0)).when_none_of(_PERSONALITIES, Block().finish(_REFUSED)).finish(ALLOW)


def _fallocate() -> Block:
    unsupported = Block().finish(errno_action(errno.EOPNOTSUPP))
    return Block().load(argument(1)).when_not_equal(_GIVES_BACK, unsupported).finish(ALLOW)


def _socket() -> Block:
    unsupported = Block().finish(errno_action(errno.EPROTONOSUPPORT))
    route_only = Block().load(argument(2)).when_not_equal(_ROUTE, unsupported).finish(ALLOW)
    internet = (
        Block()
        .load(argument(1)).mask(_TYPE_BITS).when_none_of((_STREAM, _DATAGRAM), Block().finish(_REFUSED))
        .load(argument(2)).when_none_of(_PROTOCOLS, unsupported)
        .finish(ALLOW)
    )  # fmt: skip
    return (
        Block()
        .load(argument(0))
        .when_equal(_UNIX, Block().finish(ALLOW))
        .when_equal(_NETLINK, route_only)
        .when_none_of((_INTERNET, _INTERNET_6), Block().finish(errno_action(errno.EAFNOSUPPORT)))
        .then(internet)
    )


def _socketpair() -> Block:
    return (
        Block().load(argument(0)).when_not_equal(_UNIX, Block().finish(errno_action(errno.EAFNOSUPPORT))).finish(ALLOW)
    )
