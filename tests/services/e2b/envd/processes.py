"""envd's service ``process.Process``."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import queue
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator

from tests.services.e2b.envd.wire import Call, Message, Refusal, Service

_SIGNALS = {"SIGNAL_SIGTERM": signal.SIGTERM, "SIGNAL_SIGKILL": signal.SIGKILL}


class Processes(Service):
    """Commands and terminals. Output that nobody is subscribed to is dropped, as the real one drops it."""

    name = "process.Process"

    def __init__(self, environment: dict[str, str], home: str) -> None:
        super().__init__()
        self._environment = environment
        self._home = home
        self._processes: dict[int, _Process] = {}
        self.unary = {
            "List": self._list,
            "SendInput": self._send_input,
            "SendSignal": self._send_signal,
            "CloseStdin": self._close_stdin,
            "Update": self._update,
        }
        self.streams = {"Start": self._start, "Connect": self._connect}
        self.uploads = {"StreamInput": self._stream_input}

    def _list(self, message: Message, call: Call) -> Message:
        living = [process for process in self._processes.values() if process.end is None]
        return {"processes": [{"pid": each.pid, "config": each.config, **each.tag} for each in living]}

    def _start(self, message: Message, call: Call) -> Iterator[Message]:
        call.check_user()
        config = message["process"]
        directory = os.path.join(self._home, config.get("cwd") or "")
        if not os.path.isdir(directory):
            raise Refusal("invalid_argument", f"cwd '{config['cwd']}' does not exist")
        process = _Process(message, directory, {**self._environment, **config.get("envs", {})})
        events = process.subscribe()
        self._processes[process.pid] = process
        process.begin()
        return process.events(events, call)

    def _connect(self, message: Message, call: Call) -> Iterator[Message]:
        process = self._selected(message)
        return process.events(process.subscribe(), call)

    def _send_input(self, message: Message, call: Call) -> Message:
        self._living(message).write(message["input"])
        return {}

    def _stream_input(self, messages: Iterator[Message], call: Call) -> Message:
        process = self._living(next(messages)["start"])
        for message in messages:
            if "data" in message:
                process.write(message["data"]["input"])
        return {}

    def _send_signal(self, message: Message, call: Call) -> Message:
        self._living(message).send(_SIGNALS[message["signal"]])
        return {}

    def _close_stdin(self, message: Message, call: Call) -> Message:
        self._living(message).close_input()
        return {}

    def _update(self, message: Message, call: Call) -> Message:
        self._living(message).resize(message["pty"]["size"])
        return {}

    def _selected(self, message: Message) -> _Process:
        selector = message["process"]
        if "tag" in selector:
            found = next((each for each in self._processes.values() if each.tag == {"tag": selector["tag"]}), None)
            wanted = f"tag {selector['tag']}"
        else:
            found, wanted = self._processes.get(selector.get("pid", 0)), f"pid {selector.get('pid', 0)}"
        if found is None:
            raise Refusal("not_found", f"process with {wanted} not found")
        return found

    def _living(self, message: Message) -> _Process:
        process = self._selected(message)
        if process.end is not None:
            raise Refusal("not_found", f"process with pid {process.pid} not found")
        return process


class _Process:
    """One command. It has ended when it exited and nobody holds its output any more."""

    def __init__(self, message: Message, directory: str, environment: dict[str, str]) -> None:
        self.config: Message = message["process"]
        self.tag: Message = {"tag": message["tag"]} if "tag" in message else {}
        self.end: Message | None = None
        self._subscribers: list[queue.SimpleQueue[Message]] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._terminal: int | None = None
        command = [self.config["cmd"], *self.config.get("args", [])]
        if "pty" in message:
            self._terminal, inner = os.openpty()
            self.resize(message["pty"]["size"])
            stdin = stdout = stderr = inner
        else:
            stdin = subprocess.PIPE if message.get("stdin", True) else subprocess.DEVNULL
            stdout = stderr = subprocess.PIPE
        self._popen = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            env=environment,
            start_new_session=True,
            preexec_fn=_take_terminal if self._terminal is not None else None,
        )
        if self._terminal is not None:
            os.close(inner)
        self.pid = self._popen.pid

    def begin(self) -> None:
        """Read its output from now on."""
        if self._terminal is not None:
            readers = [threading.Thread(target=self._read, args=(self._terminal, "pty"), daemon=True)]
        else:
            assert self._popen.stdout is not None
            assert self._popen.stderr is not None
            outputs = ((self._popen.stdout.fileno(), "stdout"), (self._popen.stderr.fileno(), "stderr"))
            readers = [threading.Thread(target=self._read, args=output, daemon=True) for output in outputs]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._finish, args=(readers,), daemon=True).start()

    def subscribe(self) -> queue.SimpleQueue[Message]:
        """A queue that gets every event from now on; the end of one that has ended."""
        events: queue.SimpleQueue[Message] = queue.SimpleQueue()
        with self._lock:
            if self.end is None:
                self._subscribers.append(events)
            else:
                events.put(self.end)
        return events

    def events(self, events: queue.SimpleQueue[Message], call: Call) -> Iterator[Message]:
        """The stream of a caller. Its deadline kills the command, and only that: its children live on."""
        yield {"event": {"start": {"pid": self.pid}}}
        try:
            while True:
                now = time.monotonic()
                if call.deadline is not None and now >= call.deadline:
                    self.send(signal.SIGKILL)
                    raise Refusal("deadline_exceeded", "context deadline exceeded")
                left = call.ping_seconds if call.deadline is None else min(call.ping_seconds, call.deadline - now)
                try:
                    event = events.get(timeout=left)
                except queue.Empty:
                    if left == call.ping_seconds:
                        yield {"event": {"keepalive": {}}}
                    continue
                yield {"event": event}
                if "end" in event:
                    return
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._subscribers.remove(events)

    def write(self, given: Message) -> None:
        data = base64.b64decode(given.get("stdin") or given.get("pty") or "")
        with self._writing:
            if self._terminal is not None:
                os.write(self._terminal, data)
            elif self._popen.stdin is None:
                raise Refusal("failed_precondition", "stdin was not enabled or has been closed")
            else:
                try:
                    self._popen.stdin.write(data)
                    self._popen.stdin.flush()
                except (OSError, ValueError) as error:
                    raise Refusal("internal", f"error writing to stdin: {error}") from error

    def close_input(self) -> None:
        with self._writing:
            if self._popen.stdin is not None:
                self._popen.stdin.close()

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def resize(self, size: Message) -> None:
        assert self._terminal is not None
        packed = struct.pack("HHHH", size.get("rows", 24), size.get("cols", 80), 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)

    def _read(self, descriptor: int, name: str) -> None:
        with contextlib.suppress(OSError):  # a terminal without a program has an input/output error, not an end
            while data := os.read(descriptor, 1 << 15):
                self._publish({"data": {name: base64.b64encode(data).decode()}})

    def _finish(self, readers: list[threading.Thread]) -> None:
        code = self._popen.wait()
        for reader in readers:
            reader.join()
        if code < 0:
            status = f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
            end = {"exitCode": -1, "exited": False, "status": status, "error": status}
        else:
            status = f"exit status {code}"
            end = {"exitCode": code, "exited": True, "status": status, **({"error": status} if code else {})}
        with self._lock:
            self.end = {"end": end}
        self._publish(self.end)

    def _publish(self, event: Message) -> None:
        with self._lock:
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.put(event)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
