"""What the genuine SDK is answered: the same questions that a real envd 0.6.13 was asked once.

Its answers are in ``golden/envd-0.6.13.json``. ``answers`` asks a sandbox of whatever server the SDK's variables name.
The checks run in order: later ones look at what earlier ones made.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2b import CommandExitException, Sandbox
from e2b.sandbox.commands.command_handle import PtySize

__all__ = ["GOLDEN", "answers"]

GOLDEN = Path(__file__).with_name("golden") / "envd-0.6.13.json"

_BASE = "/home/user/conf"
_CHECKS: dict[str, Callable[[Sandbox], Any]] = {}


def answers(sandbox: Sandbox) -> dict[str, Any]:
    """Every check's answer by name, as JSON values; an exception is its class and the start of its message."""
    found = {}
    for name, check in _CHECKS.items():
        try:
            found[name] = check(sandbox)
        except Exception as error:
            found[name] = {"exc": type(error).__name__, "msg": re.sub(r"\d{3,}", "N", str(error))[:180]}
    return {name: json.loads(json.dumps(answer)) for name, answer in found.items()}


def _check(check: Callable[[Sandbox], Any]) -> Callable[[Sandbox], Any]:
    _CHECKS[check.__name__] = check
    return check


def _result(result: Any) -> dict[str, Any]:
    return {"out": result.stdout, "err": result.stderr, "rc": result.exit_code, "error": result.error}


def _entry(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.name,
        "type": str(entry.type),
        "path": entry.path,
        "size": entry.size,
        "mode": oct(entry.mode),
        "perm": entry.permissions,
        "tgt": entry.symlink_target,
    }


def _failure(run: Callable[[], Any]) -> CommandExitException:
    try:
        run()
    except CommandExitException as error:
        return error
    raise AssertionError("the command did not fail")


@_check
def run_ok(sandbox: Sandbox) -> Any:
    return _result(sandbox.commands.run("echo hi; echo err >&2"))


@_check
def run_fail(sandbox: Sandbox) -> Any:
    error = _failure(lambda: sandbox.commands.run("echo out; echo bad >&2; exit 3"))
    return {**_result(error), "str": str(error)}


@_check
def run_sigkill_self(sandbox: Sandbox) -> Any:
    return _result(_failure(lambda: sandbox.commands.run("kill -9 $$")))


@_check
def run_env_cwd(sandbox: Sandbox) -> Any:
    return sandbox.commands.run("echo $FOO; pwd", envs={"FOO": "bar"}, cwd="/tmp").stdout


@_check
def default_cwd(sandbox: Sandbox) -> Any:
    return sandbox.commands.run("pwd").stdout


@_check
def run_bad_cwd(sandbox: Sandbox) -> Any:
    return _result(sandbox.commands.run("pwd", cwd="/nope/zzz"))


@_check
def callbacks_order(sandbox: Sandbox) -> Any:
    seen: list[str] = []
    sandbox.commands.run("for i in 1 2 3; do echo $i; sleep 0.1; done", on_stdout=seen.append)
    return "".join(seen)


@_check
def big_output(sandbox: Sandbox) -> Any:
    return len(sandbox.commands.run("head -c 3000000 /dev/zero | tr '\\0' x").stdout)


@_check
def utf8_split(sandbox: Sandbox) -> Any:
    return sandbox.commands.run("printf '\\xe2\\x82'; sleep 0.2; printf '\\xac\\xff'").stdout


@_check
def timeout(sandbox: Sandbox) -> Any:
    return _result(sandbox.commands.run("echo start; sleep 30", timeout=1.0))


@_check
def timeout_kills_child(sandbox: Sandbox) -> Any:
    time.sleep(0.5)
    return sandbox.commands.run("pgrep -fc '^sleep 30$' || true").stdout


@_check
def timeout_grandchild(sandbox: Sandbox) -> Any:
    kind = ""
    try:
        sandbox.commands.run("(sleep 31; echo never) & sleep 32; wait", timeout=1.0)
    except Exception as error:
        kind = type(error).__name__
    time.sleep(0.5)
    count = "pgrep -fc '^sleep 31$' || true; pkill -f '^sleep 31$'; pkill -f '^sleep 32$'; true"
    return kind, sandbox.commands.run(count).stdout


@_check
def bg_holds_stdout(sandbox: Sandbox) -> Any:
    start = time.time()
    result = sandbox.commands.run("echo a; sleep 3 & echo b", timeout=10)
    return _result(result), round(time.time() - start)


@_check
def background_kill(sandbox: Sandbox) -> Any:
    handle = sandbox.commands.run("echo bg; sleep 60", background=True)
    time.sleep(0.3)
    listed = [(each.cmd, each.args) for each in sandbox.commands.list() if each.pid == handle.pid]
    was_killed = handle.kill()
    return listed, was_killed, _result(_failure(handle.wait)), sandbox.commands.kill(handle.pid)


@_check
def kill_unknown(sandbox: Sandbox) -> Any:
    return sandbox.commands.kill(4194000)


@_check
def disconnect_reconnect(sandbox: Sandbox) -> Any:
    handle = sandbox.commands.run("for i in 1 2 3 4 5 6; do echo n$i; sleep 0.4; done; exit 7", background=True)
    time.sleep(0.2)
    handle.disconnect()
    time.sleep(0.5)
    error = _failure(sandbox.commands.connect(handle.pid).wait)
    return error.exit_code, error.stdout.endswith("n6\n"), error.stdout.startswith("n1")


@_check
def late_connect_after_exit(sandbox: Sandbox) -> Any:
    handle = sandbox.commands.run("sleep 0.3; exit 5", background=True)
    handle.disconnect()
    time.sleep(1.0)
    return _failure(sandbox.commands.connect(handle.pid).wait).exit_code


@_check
def stdin(sandbox: Sandbox) -> Any:
    handle = sandbox.commands.run("cat; echo done", background=True, stdin=True)
    handle.send_stdin("hello\n")
    time.sleep(0.2)
    handle.close_stdin()
    return _result(handle.wait())


@_check
def stream_input(sandbox: Sandbox) -> Any:
    handle = sandbox.commands.run("wc -c", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, [b"x" * 1000, "y" * 500])
    handle.close_stdin()
    return handle.wait().stdout.strip()


@_check
def stdin_default_devnull(sandbox: Sandbox) -> Any:
    return _result(sandbox.commands.run("cat; echo eof", timeout=5))


@_check
def pty(sandbox: Sandbox) -> Any:
    handle = sandbox.pty.create(PtySize(rows=30, cols=99), timeout=10)
    said = bytearray()
    sandbox.pty.send_stdin(handle.pid, b"stty size; exit\n")
    handle.wait(on_pty=said.extend)
    return b"30 99" in bytes(said)


@_check
def write(sandbox: Sandbox) -> Any:
    written = sandbox.files.write(f"{_BASE}/a/b.txt", "héllo")
    return written.name, str(written.type), written.path


@_check
def read(sandbox: Sandbox) -> Any:
    return sandbox.files.read(f"{_BASE}/a/b.txt")


@_check
def read_bytes(sandbox: Sandbox) -> Any:
    return bytes(sandbox.files.read(f"{_BASE}/a/b.txt", format="bytes")).hex()


@_check
def write_bin_stream(sandbox: Sandbox) -> Any:
    sandbox.files.write(f"{_BASE}/big.bin", io.BytesIO(b"\xa5" * 5_000_000))
    with sandbox.files.read(f"{_BASE}/big.bin", format="stream") as stream:
        return sum(map(len, stream)), sandbox.files.get_info(f"{_BASE}/big.bin").size


@_check
def write_gzip(sandbox: Sandbox) -> Any:
    sandbox.files.write(f"{_BASE}/gz.txt", "z" * 1000, gzip=True)
    return sandbox.files.read(f"{_BASE}/gz.txt", gzip=True) == "z" * 1000


@_check
def write_files(sandbox: Sandbox) -> Any:
    written = sandbox.files.write_files([{"path": f"{_BASE}/m/{i}.txt", "data": str(i)} for i in range(5)])
    return [each.path for each in written]


@_check
def write_rel(sandbox: Sandbox) -> Any:
    return sandbox.files.write("conf/rel.txt", "r").path


@_check
def write_on_dir(sandbox: Sandbox) -> Any:
    return sandbox.files.write(f"{_BASE}/a", "x").path


@_check
def read_missing(sandbox: Sandbox) -> Any:
    return sandbox.files.read(f"{_BASE}/none")


@_check
def read_dir(sandbox: Sandbox) -> Any:
    return sandbox.files.read(f"{_BASE}/a")


@_check
def mode_after_write(sandbox: Sandbox) -> Any:
    return oct(sandbox.files.get_info(f"{_BASE}/a/b.txt").mode)


@_check
def exists(sandbox: Sandbox) -> Any:
    return sandbox.files.exists(f"{_BASE}/a"), sandbox.files.exists(f"{_BASE}/zz")


@_check
def mkdir(sandbox: Sandbox) -> Any:
    return sandbox.files.make_dir(f"{_BASE}/d/e/f"), sandbox.files.make_dir(f"{_BASE}/d/e/f")


@_check
def mkdir_on_file(sandbox: Sandbox) -> Any:
    return sandbox.files.make_dir(f"{_BASE}/a/b.txt")


@_check
def list1(sandbox: Sandbox) -> Any:
    sandbox.commands.run(
        f"cd {_BASE} && ln -s a/b.txt link && ln -s /nowhere dangling && ln -s d dlink && chmod 750 gz.txt"
    )
    return [_entry(entry) for entry in sandbox.files.list(_BASE)]


@_check
def list_depth2(sandbox: Sandbox) -> Any:
    return [entry.path for entry in sandbox.files.list(f"{_BASE}/d", depth=2)]


@_check
def list_missing(sandbox: Sandbox) -> Any:
    return [_entry(entry) for entry in sandbox.files.list(f"{_BASE}/zz")]


@_check
def list_file(sandbox: Sandbox) -> Any:
    return [_entry(entry) for entry in sandbox.files.list(f"{_BASE}/gz.txt")]


@_check
def info_link(sandbox: Sandbox) -> Any:
    return _entry(sandbox.files.get_info(f"{_BASE}/link"))


@_check
def info_missing(sandbox: Sandbox) -> Any:
    return _entry(sandbox.files.get_info(f"{_BASE}/zz"))


@_check
def rename(sandbox: Sandbox) -> Any:
    return _entry(sandbox.files.rename(f"{_BASE}/gz.txt", f"{_BASE}/n/gz2.txt"))


@_check
def rename_missing(sandbox: Sandbox) -> Any:
    return _entry(sandbox.files.rename(f"{_BASE}/qq", f"{_BASE}/n/q2"))


@_check
def remove_dir(sandbox: Sandbox) -> Any:
    sandbox.files.remove(f"{_BASE}/d")
    return sandbox.files.exists(f"{_BASE}/d")


@_check
def remove_missing(sandbox: Sandbox) -> Any:
    sandbox.files.remove(f"{_BASE}/zz")


@_check
def empty_file(sandbox: Sandbox) -> Any:
    sandbox.files.write(f"{_BASE}/empty", "")
    return sandbox.files.read(f"{_BASE}/empty"), sandbox.files.get_info(f"{_BASE}/empty").size


@_check
def concurrent16(sandbox: Sandbox) -> Any:
    said: list[str] = [""] * 16

    def ask(number: int) -> None:
        said[number] = sandbox.commands.run(f"sleep 0.3; echo {number}").stdout.strip()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


@_check
def is_running(sandbox: Sandbox) -> Any:
    return sandbox.is_running()
