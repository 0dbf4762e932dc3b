"""Starting programs in a child that shares memory: the machine code, and what the programs find."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import unicorn
from tests.services import apt
from unicorn import arm64_const, x86_const

from omniagents.guest import spawning
from omniagents.guest.spawning import MACHINES, Program, spawn

GUEST = Path(spawning.__file__).parent
CODE, TABLE, STACK = 0x10000, 0x20000, 0x40000

# Where a system call has its number and arguments; its result is where the number or the first argument was.
X86 = ["RAX", "RDI", "RSI", "RDX", "R10", "R8"]
ARM = ["X8", "X0", "X1", "X2", "X3", "X4"]


class Emulated:
    """A processor that runs ``spawn`` and gets the results of its system calls from a list."""

    def __init__(self, machine: str, results: list[int]) -> None:
        self.is_x86 = machine == "x86_64"
        self._results = results
        self.asked: list[tuple[int, ...]] = []
        architecture = (unicorn.UC_ARCH_X86, unicorn.UC_MODE_64) if self.is_x86 else (unicorn.UC_ARCH_ARM64, 0)
        self._processor = processor = unicorn.Uc(*architecture)
        for address in (CODE, TABLE, STACK):
            processor.mem_map(address, 0x10000)
        processor.mem_write(CODE, MACHINES[machine].code)
        if self.is_x86:
            processor.hook_add(unicorn.UC_HOOK_INSN, self._call, None, 1, 0, x86_const.UC_X86_INS_SYSCALL)
        else:
            processor.hook_add(unicorn.UC_HOOK_INTR, self._call)

    def run(self, calls: list[list[int]]) -> tuple[int, list[int]]:
        """What it returned, and the two words of its report."""
        words = [0, 0, *(word for call in calls for word in call)]
        self._processor.mem_write(TABLE, struct.pack(f"<{len(words)}Q", *words))
        top = STACK + 0x8000
        if self.is_x86:
            self._processor.mem_write(top, struct.pack("<Q", CODE + 0x8000))
        self._set("RDI" if self.is_x86 else "X0", TABLE)
        self._set("RSP" if self.is_x86 else "SP", top)
        if not self.is_x86:
            self._set("X30", CODE + 0x8000)
        self._processor.emu_start(CODE, CODE + 0x8000, count=1000)
        report = struct.unpack("<2q", self._processor.mem_read(TABLE, 16))
        return self._get("RAX" if self.is_x86 else "X0"), list(report)

    def _call(self, processor: unicorn.Uc, *_: object) -> None:
        self.asked.append(tuple(self._get(name) for name in (X86 if self.is_x86 else ARM)))
        if not self._results:
            processor.emu_stop()
            return
        self._set("RAX" if self.is_x86 else "X0", self._results.pop(0) % 2**64)

    def _number(self, name: str) -> int:
        constants = x86_const if self.is_x86 else arm64_const
        return int(getattr(constants, f"UC_{'X86' if self.is_x86 else 'ARM64'}_REG_{name}"))

    def _get(self, name: str) -> int:
        return int(self._processor.reg_read(self._number(name)))

    def _set(self, name: str, value: int) -> None:
        self._processor.reg_write(self._number(name), value)


CLONE = {"x86_64": 56, "aarch64": 220}
EXIT_GROUP = {"x86_64": 231, "aarch64": 94}
FLAGS = 0x100 | 0x4000 | signal.SIGCHLD  # CLONE_VM, CLONE_VFORK
FIRST = [7, 1, 2, 3, 4, 5, 0]
OPTIONAL = [8, 11, 12, 13, 14, 15, 1]
LAST = [9, 21, 22, 23, 24, 25, 0]


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.platform
def test_the_machine_code_is_what_its_source_assembles_to(machine: str, tmp_path: Path) -> None:
    built, code = tmp_path / "spawn.o", tmp_path / "spawn"
    tools = f"{machine}-linux-gnu-"
    if apt.ensure([f"{tools}as"]):
        pytest.skip("no assembler; as root: python tests/services/apt.py")
    subprocess.run([f"{tools}as", "-o", built, GUEST / f"spawning_{machine}.s"], check=True)
    cut = ["--output-target=binary", "--only-section=.text"]
    subprocess.run([f"{tools}objcopy", *cut, built, code], check=True)
    assert code.read_bytes() == MACHINES[machine].code


def test_the_parent_gets_what_clone_returned_and_calls_nothing_else(machine: str) -> None:
    for returned in (4711, -errno.EAGAIN):
        emulated = Emulated(machine, [returned])
        assert emulated.run([FIRST, LAST]) == (returned % 2**64, [0, 0])
        assert [call[:3] for call in emulated.asked] == [(CLONE[machine], FLAGS, 0)]


def test_the_child_makes_every_call_in_order(machine: str) -> None:
    emulated = Emulated(machine, [0, 0, 12])
    assert emulated.run([FIRST, OPTIONAL, LAST])[1] == [0, 0]
    assert [list(call) for call in emulated.asked[1:]] == [FIRST[:6], OPTIONAL[:6], LAST[:6]]


def test_the_child_goes_on_after_a_call_that_may_fail(machine: str) -> None:
    emulated = Emulated(machine, [0, 0, -errno.ENOSYS])
    assert emulated.run([FIRST, OPTIONAL, LAST])[1] == [0, 0]
    assert [call[0] for call in emulated.asked[1:]] == [7, 8, 9]


@pytest.mark.parametrize("number", [1, 4095])
def test_the_child_reports_a_call_that_may_not_fail_and_ends(machine: str, number: int) -> None:
    emulated = Emulated(machine, [0, 0, 0, -number])
    assert emulated.run([FIRST, OPTIONAL, LAST, FIRST])[1] == [-number, TABLE + 16 + 2 * 56]
    assert [call[0] for call in emulated.asked[1:]] == [7, 8, 9, EXIT_GROUP[machine]]
    assert emulated.asked[-1][1] == 127


def test_a_large_result_is_no_failure(machine: str) -> None:
    emulated = Emulated(machine, [0, -4096])
    assert emulated.run([FIRST, LAST])[1] == [0, 0]
    assert [call[0] for call in emulated.asked[1:]] == [7, 9]


@pytest.mark.platform
def test_this_machine_starts_programs_without_copying_the_process() -> None:
    assert spawning._spawner() is not None


@pytest.fixture(params=["sharing", "copying"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to start a program."""
    if request.param == "copying":
        monkeypatch.setattr(spawning, "_spawner", lambda: None)
    return str(request.param)


def run(argv: list[str], name: str | None = None, kept: tuple[int, ...] = (), **environment: str) -> tuple[int, str]:
    """The wait status of a program in ``/`` and what it printed."""
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    try:
        variables = {"PATH": os.environ["PATH"], **environment}
        pid = spawn(Program(name or argv[0], argv, "/", variables, (null, writing, writing), kept))
    finally:
        os.close(writing)
        os.close(null)
        with open(reading, encoding="utf-8") as output:
            printed = output.read()
    return os.waitpid(pid, 0)[1], printed


def status_fields(**environment: str) -> dict[str, str]:
    """/proc/self/status of a program."""
    lines = run(["cat", "/proc/self/status"], **environment)[1].splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.usefixtures("either")
class TestEitherWay:
    def test_a_program_gets_its_argv_environment_directory_and_status(self) -> None:
        script = "echo $0 $1 $WORD; pwd; exit 7"
        assert run(["other", "-c", script, "a", "b"], "/bin/sh", WORD="c") == (7 << 8, "a b c\n/\n")

    def test_a_program_leads_a_session_of_its_own(self) -> None:
        assert run(["sh", "-c", "[ $$ = $(ps -o sid= -p $$) ] && echo leads"])[1] == "leads\n"

    def test_a_program_adopts_orphans_and_dies_with_its_parent(self) -> None:
        # linux/prctl.h: PR_GET_CHILD_SUBREAPER, PR_GET_PDEATHSIG
        program = (
            "import ctypes; value = ctypes.c_int()\n"
            "for option in (37, 2): ctypes.CDLL(None).prctl(option, ctypes.byref(value)); print(value.value)"
        )
        assert run([sys.executable, "-c", program])[1].split() == ["1", str(int(signal.SIGKILL))]

    def test_no_signal_is_blocked_ignored_or_handled(self) -> None:
        spawning._spawner()  # what is changed after it was made counts as well
        ignored = [signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGRTMIN + 3]
        before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: None)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
        try:
            fields = status_fields()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for number, action in before.items():
                signal.signal(number, action)
        assert {fields[name] for name in ("SigBlk", "SigIgn", "SigCgt")} == {"0" * 16}

    def test_starting_a_program_leaves_the_mask_of_signals_as_it_was(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        try:
            run(["true"])
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before | {signal.SIGUSR1}
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def test_only_the_descriptors_to_keep_stay_open(self) -> None:
        leaked, kept = os.open("/", os.O_RDONLY), os.open("/", os.O_RDONLY)
        try:
            _, printed = run(["ls", "/proc/self/fd"], kept=(kept,))
        finally:
            os.close(leaked)
            os.close(kept)
        assert str(kept) in printed.split()
        assert str(leaked) not in printed.split()

    @pytest.mark.parametrize(
        ("name", "number"),
        [("/nowhere", errno.ENOENT), ("nowhere", errno.ENOENT), ("/etc/passwd", errno.EACCES), ("/", errno.EACCES)],
    )
    def test_a_program_that_cannot_run_is_an_error_with_the_systems_number(self, name: str, number: int) -> None:
        with pytest.raises(OSError) as caught:
            run([name])
        assert caught.value.errno == number

    def test_a_script_without_an_interpreter_is_no_program(self, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("echo hi\n")
        (tmp_path / "script").chmod(0o755)
        with pytest.raises(OSError) as caught:
            run([str(tmp_path / "script")])
        assert caught.value.errno == errno.ENOEXEC

    def test_a_program_on_the_path_may_not_be_executable_in_every_directory(self, tmp_path: Path) -> None:
        (tmp_path / "true").write_text("")
        assert run(["true"], PATH=f"{tmp_path}:/usr/bin:/bin") == (0, "")
        with pytest.raises(PermissionError):
            run(["true"], PATH=str(tmp_path))

    def test_more_arguments_than_the_system_takes_are_an_error(self) -> None:
        with pytest.raises(OSError) as caught:
            run(["true", "x" * (1 << 20)])
        assert caught.value.errno == errno.E2BIG

    def test_a_directory_that_is_gone_is_named(self) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            spawn(Program("/bin/true", ["true"], "/nowhere", {}, (5, 5, 5), ()))
        assert caught.value.filename == "/nowhere"

    def test_a_nul_character_or_a_nameless_variable_is_an_error(self) -> None:
        for argv, environment in ((["true", "a\0b"], {}), (["true"], {"A": "\0"}), (["true"], {"A=B": "c"})):
            with pytest.raises(ValueError):
                run(argv, **environment)

    def test_a_failed_start_leaves_no_process(self) -> None:
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        before = children.read_text()
        with pytest.raises(FileNotFoundError):
            run(["/nowhere"])
        assert children.read_text() == before

    def test_names_that_are_not_text_arrive_as_they_are(self) -> None:
        word = os.fsdecode(b"caf\xe9")
        assert run(["sh", "-c", 'printf "%s" "$1" | od -An -tx1', "sh", word])[1].split() == ["63", "61", "66", "e9"]
