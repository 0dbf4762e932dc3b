"""The guest's loop: frames in, operations to workers, processes watched, replies out.

``main`` is called by the loader with the stream on descriptors 0 and 1. The first frame is
``{"type": "start", "root", "aliases", "create", "environment", "session", "previous"}``; the answer
is ``hello``, or a refusal with id 0. When the stream ends, everything that was started is killed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
from typing import Any, Dict, List, Tuple

from . import kernel, operations, protocol
from .channel import Channel, LiveCall
from .context import CallCancelled, Context, PathLocks
from .failure import GuestFailure, failure_of_os_error
from .launch import which
from .process import Processes
from .root import Root
from .workers import Workers

__all__ = ["PROTOCOL_VERSION", "main"]

PROTOCOL_VERSION = 1


class _Server:
    def __init__(self, channel: Channel, start: Dict[str, Any]) -> None:
        self._channel = channel
        self._is_open = True
        self._root = Root(start["root"], tuple(start.get("aliases", ())))
        self._locks = PathLocks()
        self._calls: Dict[int, LiveCall] = {}
        self._workers = Workers()
        self._selector = selectors.DefaultSelector()
        self._alias_directory: str | None = None
        self.environment = self._command_environment(start)
        self._processes = Processes(self._root, self._selector, self.environment, self._workers.submit)
        self._wake_read, wake_write = os.pipe()
        for fd in (self._wake_read, wake_write):
            os.set_blocking(fd, False)
        # A handler, even an empty one, is what makes SIGCHLD write to the wake-up descriptor.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._told_to_stop)
        # Handlers, too, where the host was started to ignore them (nohup, a background job): a command inherits
        # what is ignored, and could never be interrupted, but not what is handled.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: None)

    def run(self, early: List[protocol.Frame]) -> None:
        """Serve until the stream ends; ``early`` came in together with the start frame."""
        for header, payload in early:
            self._handle(header, payload)
        self._selector.register(self._channel.source, selectors.EVENT_READ, self._receive)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        while self._is_open:
            for key, _ in self._selector.select(self._processes.seconds_to_next_deadline()):
                # An earlier callback of this round may have dropped it.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._processes.expire()

    def _told_to_stop(self, number: int, frame: object) -> None:
        # What is raised while Python runs a weak reference's callback, as imports make them, is lost: the loop looks.
        self._is_open = False
        sys.exit(0)

    def stop(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._processes.stop()
        if self._alias_directory is not None:
            for name in os.listdir(self._alias_directory):
                os.unlink(os.path.join(self._alias_directory, name))
            os.rmdir(self._alias_directory)

    def hello(self, is_subreaper: bool) -> Dict[str, Any]:
        return {
            "type": "hello",
            "protocol": PROTOCOL_VERSION,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "system": sys.platform,
            "root": self._root.path,
            "guest": [os.getpid(), kernel.process_start(os.getpid())],
            "user": os.geteuid(),
            "cpus": os.cpu_count() or 1,
            "subreaper": is_subreaper,
            "clock_ns": time.time_ns(),
        }

    def _command_environment(self, start: Dict[str, Any]) -> Dict[str, str]:
        environment = {**os.environ, **start.get("environment", {}), "OMNIAGENTS_SESSION": start["session"]}
        path = environment.get("PATH") or os.defpath
        missing = [name for name in ("python", "python3") if which(name, path) is None]
        if missing:
            environment["PATH"] = path + os.pathsep + self._make_aliases(missing, path)
        return environment

    def _make_aliases(self, names: List[str], path: str) -> str:
        """A private directory where ``names`` are this environment's Python."""
        python = which("python3", path) or os.path.realpath(sys.executable)
        name = "omniagents-" + os.urandom(8).hex()
        self._alias_directory = os.path.join(os.environ.get("TMPDIR") or "/tmp", name)
        os.mkdir(self._alias_directory, 0o755)
        for name in names:
            os.symlink(python, os.path.join(self._alias_directory, name))
        return self._alias_directory

    def _receive(self) -> None:
        frames = self._channel.receive()
        if frames is None:
            self._is_open = False
            return
        for header, payload in frames:
            self._handle(header, payload)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 512):
                pass
        self._processes.collect()

    def _handle(self, header: Dict[str, Any], payload: bytes) -> None:
        kind = header["type"]
        if kind == "ping":
            self._channel.send({"type": "pong"})
            return
        call_id = header["id"]
        if kind == "call":
            # What a process reads goes to its pipe, and is not kept here.
            first = b"" if header["op"] == "run" else payload
            self._calls[call_id] = LiveCall(call_id, self._channel, first, header["more"], self._forget)
            self._begin(self._calls[call_id], header, payload)
            return
        call = self._calls.get(call_id)
        if call is None:
            return  # answered while the frame was on its way
        if kind == "data":
            if self._processes.feed(call_id, payload, header["more"]):
                payload = b""  # a process takes it, no operation will
            call.arrived(payload, header["more"])
        elif kind == "credit":
            call.credited(header["bytes"])
            self._processes.resume(call_id)
        elif kind == "cancel":
            call.cancel()
            self._processes.cancel(call_id)

    def _begin(self, call: LiveCall, header: Dict[str, Any], payload: bytes) -> None:
        name, arguments = header["op"], header["args"]
        if name not in ("run", "signal"):
            self._workers.submit(lambda: self._operate(call, name, arguments))
            return
        try:
            if name == "run":
                self._processes.start(call, arguments, payload, header["more"])
            else:
                self._processes.signal(arguments["call"], arguments["signal"])
                call.reply({}, b"")
        except GuestFailure as failure:
            call.refuse(failure)
        except OSError as error:
            call.refuse(failure_of_os_error(error))

    def _operate(self, call: LiveCall, name: str, arguments: Dict[str, Any]) -> None:
        try:
            context = Context(self._root, call, self._locks, self.environment)
            value, payload = operations.find(name)(context, arguments)
            call.reply(value, payload)
        except GuestFailure as failure:
            call.refuse(failure)
        except OSError as error:
            call.refuse(failure_of_os_error(error))
        except CallCancelled:
            call.refuse(GuestFailure("CANCELLED", "the call was given up"))
        except MemoryError:
            call.refuse(GuestFailure("FILE_TOO_LARGE", "not enough memory in the environment; ask for less at once"))
        except Exception:
            import traceback

            trace = traceback.format_exc(limit=-8)
            call.refuse(GuestFailure("INTERNAL", "defect in the guest's %s:\n%s" % (name, trace)))

    def _forget(self, call_id: int) -> None:
        self._calls.pop(call_id, None)


def _read_start(channel: Channel) -> Tuple[Dict[str, Any], List[protocol.Frame]]:
    while True:
        frames = channel.receive()
        if frames is None:
            sys.exit(0)
        if frames:
            return frames[0][0], frames[1:]


def main(text: bool, nonce: str) -> None:
    """Serve the stream on descriptors 0 and 1 until it ends; does not return."""
    # What is printed by accident must not reach the host as frames.
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    channel = Channel(source, sink, text)
    channel.send_frame(protocol.PREAMBLE + nonce.encode() + b"\n")
    start, early = _read_start(channel)
    try:
        if start.get("create"):
            os.makedirs(start["root"], exist_ok=True)
        if not os.path.isdir(start["root"]):
            raise GuestFailure("NOT_A_DIRECTORY", "the workspace %s is not a directory" % start["root"])
        _see_to_it_that_it_opens(start["root"])
        is_subreaper = kernel.subreaper()
        if start.get("previous") is not None:
            kernel.sweep(b"OMNIAGENTS_SESSION=" + start["session"].encode(), tuple(start["previous"]))
        server = _Server(channel, start)
    except (GuestFailure, OSError) as error:
        failure = error if isinstance(error, GuestFailure) else failure_of_os_error(error, start["root"])
        channel.send({"type": "refusal", "id": 0, "failure": failure.as_header()})
        sys.exit(1)
    try:
        channel.send(server.hello(is_subreaper))
        server.run(early)
    except SystemExit:
        pass  # told to stop: on to the orderly end
    finally:
        server.stop()
    # Daemon threads may hold locks the interpreter's own exit would wait for.
    os._exit(0)


def _see_to_it_that_it_opens(root: str) -> None:
    """A workspace that ``chmod 000 .`` was run in would never start again: its owner gets in."""
    status = os.stat(root)
    if 0 != status.st_uid == os.geteuid() and status.st_mode & 0o500 != 0o500:
        os.chmod(root, status.st_mode & 0o7777 | 0o500)
